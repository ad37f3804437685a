//! Loading, plan and `show`.

use super::*;
use crate::config::types::*;
use crate::config::{plan_of, show};

/// Every key at a value that is not its default.
pub const FULL: &str = r#"
[master]
pid_file = "run/m.pid"
control_socket = "run/m.sock"
user = "www"
group = "web"
sigterm = "fast"
ready_timeout = "1m1s"
max_draining_generations = 5
watchdog = "0s"
rollout = { step = 2, soak = "1500ms" }
log = { level = "debug", format = "json", file = "run/m.log" }
access_log = { file = "run/a.log", format = "json" }

[[service]]
name = "web-1.x_"
listen = [
  "127.0.0.1:8080",
  { address = "[::1]:8080", name = "six", backlog = 5, accept = "shared", ipv6_only = false, defer_accept = "3s" },
  { address = "unix:run/w.sock", mode = "0640", owner = "www:web" },
  { address = "unix:run/v.sock", owner = ":web" },
  { address = "unix:run/u.sock", owner = "www" },
  { address = "unix:@ab\"c", proxy_protocol = true },
  { address = "127.0.0.1:8443", tls = { certificate = "tls/a.pem", key = "tls/a.key", client_ca = "tls/ca.pem", client_auth = "optional", sni = [{ certificate = "tls/b.pem", key = "tls/b.key", hosts = ["B.example", "*.b.example"] }] } },
]
workers = { min = 2, max = 8 }
connections = 7
drain = { grace = "5m", long_lived_grace = "1h", delay = "2s", idle = "close" }
restart = { backoff_min = "1s", backoff_max = "1s", give_up = 3, max_requests = 4, max_memory = "1GiB", max_age = "1d" }
limits = { nofile = 1024, core = "unlimited", cpu_affinity = [2, 0, 2], nice = -3 }
access_log = { file = "run/w.log" }

[service.http]
header_timeout = "1s"
body_timeout = "2s"
write_timeout = "3s"
keep_alive = "4s"
max_header_size = "8KiB"
max_headers = 10
max_body = "0"
http2 = false
max_streams = 7
route = [
  { path = "/", respond = { status = 201, body = "a\"\\\n\té\u0000{pid}", headers = { X-B = "1", "x-a" = "t\t\"", "x.c" = "" }, delay = "20ms" } },
  { path = "/h", health = "ready" },
  { path = "/abc", health = "live", headers = { X-Z = "1", Server = "" } },
  { path = "/old", redirect = { to = "https://{host}:8443/new{target}", status = 301 } },
  { path = "/f", files = { root = "/srv/now", index = "", precompressed = false } },
  { path = "/g", proxy = { upstream = ["[::1]:9000", "a_b.example:80"], http2 = true, keep_alive = 5, keep_alive_timeout = "6s", retries = 0 } },
  { path = "/", host = "Example.COM", status = "json" },
]

[[service]]
name = "two"
workers = "auto"
listen = ["127.0.0.1:8081"]
access_log = { enabled = false }

[[service.http.route]]
path = "/"
respond = {}

[[service.http.route]]
path = "/p"

[service.http.route.proxy]
upstream = ["127.0.0.1:9000", "unix:run/./up.sock", "unix:@up"]
connect_timeout = "1s"
max_failures = 0
retry_after = "2s"
proxy_protocol = "v2"
read_timeout = "3s"
write_timeout = "4s"
idle_timeout = "5s"

[[service]]
name = "three"
listen = ["127.0.0.1:8082"]
tcp = { echo = true, idle_timeout = "9s" }

[[service]]
name = "four"
listen = [{ address = "unix:run/t.sock", proxy_protocol = true }]

[service.tcp.proxy]
upstream = ["db.example:5432", "[::1]:5432", "unix:/run/db.sock", "unix:@db"]
connect_timeout = "1s"
max_failures = 1
retry_after = "2s"
proxy_protocol = "v1"

[[service]]
name = "five"
listen = ["127.0.0.1:8083", "udp:127.0.0.1:8083", { address = "udp:[::]:8084", ipv6_only = false, name = "wide" }]
limits.nofile = 512

[service.exec]
command = ["/bin/sh", "-c", "exec server --fd {fd:wide} \"$0\"", ""]
directory = "/srv/now"
env = { B = "{ready_fd}", "A b" = "é\"\n" }
ready = "fd"
stop_signal = "SIGQUIT"
output = "inherit"
nonblocking = true
umask = "0077"
watchdog = "2s"
user = "www"
group = "web"

[[service]]
name = "timed"
listen = ["unix:run/six.sock"]
exec = { command = ["sh", "x"], directory = "/srv/www", ready = "delay:1500ms" }
"#;

#[test]
fn the_defaults() {
    let loaded = load_text(SERVICE, false).unwrap();
    assert_eq!(loaded.warnings, []);
    let Config { master, services, .. } = loaded.config;
    assert_eq!(
        (master.sigterm, master.max_draining_generations, master.rollout.step),
        (Sigterm::Graceful, 3, None)
    );
    assert_eq!((master.ready_timeout.as_secs(), master.watchdog.as_secs()), (30, 30));
    assert_eq!((master.user.user.as_str(), master.user.uid), ("", u32::MAX));
    let web = &services[0];
    assert_eq!((web.workers, web.connections, web.limits.nofile), (Pool::Fixed(2), 20_000, Some(65_536)));
    assert_eq!(
        (web.listen[0].name.as_str(), web.listen[0].accept, web.listen[0].backlog),
        ("web", Accept::PerWorker, 4096)
    );
    let Kind::Http(http) = &web.kind else { panic!("{:?}", web.kind) };
    assert_eq!((http.keep_alive.as_secs(), http.max_header_size, http.max_body), (75, 32_768, 1 << 20));
}

#[test]
fn every_key_is_read() {
    let loaded = load_text(FULL, true).unwrap();
    let config = loaded.config;
    assert_eq!(config.master.user, Identity { user: "www".into(), uid: 33, group: "web".into(), gid: 80 });
    assert_eq!(config.master.rollout.step, Some(2));
    assert!(config.master.pid_file.unwrap().is_absolute());
    let web = &config.services[0];
    let names: Vec<_> = web.listen.iter().map(|listen| listen.name.as_str()).collect();
    assert_eq!(
        names,
        ["web-1.x_", "six", "web-1.x_-3", "web-1.x_-4", "web-1.x_-5", "web-1.x_-6", "web-1.x_-7"]
    );
    let owners: Vec<_> = web.listen[2..5].iter().map(|listen| listen.owner.map(|o| (o.uid, o.gid))).collect();
    assert_eq!(owners, [Some((Some(33), Some(80))), Some((None, Some(80))), Some((Some(33), None))]);
    assert_eq!(
        (web.listen[2].mode, web.listen[3].mode, web.listen[5].accept),
        (0o640, 0o666, Accept::Shared)
    );
    assert_eq!((&web.limits.cpu_affinity, web.limits.core), (&Affinity::Cpus(vec![0, 2]), None));
    let Kind::Http(http) = &web.kind else { panic!("{:?}", web.kind) };
    let order: Vec<_> =
        http.routes.iter().map(|route| (route.host.as_deref(), route.path.as_str())).collect();
    assert_eq!(
        order,
        [
            (Some("example.com"), "/"),
            (None, "/abc"),
            (None, "/old"),
            (None, "/f"),
            (None, "/g"),
            (None, "/h"),
            (None, "/")
        ]
    );
    let Action::Respond(respond) = &http.routes[6].action else { panic!("{:?}", http.routes[6]) };
    let headers: Vec<_> =
        respond.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(headers, [("X-B", "1"), ("x-a", "t\t\""), ("x.c", "")], "in the order written");
    assert_eq!(config.services[1].workers, Pool::Fixed(2));
}

#[test]
fn what_show_prints_is_the_same_config() {
    for (text, root) in [(FULL, true), (FULL, false), (SERVICE, false), (SERVICE, true)] {
        let first = load_text(text, root).unwrap().config;
        let printed = show(&first);
        let second =
            load_text(&printed, root).unwrap_or_else(|problems| panic!("{:?}\n{printed}", shown(&problems)));
        assert_eq!(
            second.warnings.len(),
            usize::from(!root && text == FULL),
            "only nice: {:?}",
            shown(&second.warnings)
        );
        assert_eq!(
            (&second.config.master, &second.config.services),
            (&first.master, &first.services),
            "{printed}"
        );
    }
}

#[test]
fn the_config_crosses_as_json() {
    let loaded = load_text(FULL, true).unwrap();
    let json = serde_json::to_string(&loaded).unwrap();
    assert_eq!(serde_json::from_str::<Loaded>(&json).unwrap(), loaded);
}

/// A state recorded before a key existed is read as if the key had its default.
#[test]
fn what_an_older_version_recorded_has_the_defaults() {
    let config = load_text(SERVICE, false).unwrap().config;
    let mut value = serde_json::to_value(&config).unwrap();
    let mut take = |place: &str, key: &str| {
        let table = value.pointer_mut(place).and_then(serde_json::Value::as_object_mut);
        assert!(table.unwrap().remove(key).is_some(), "{key}");
    };
    take("/services/0/drain", "long_lived_grace");
    take("/services/0/listen/0", "proxy_protocol");
    take("/services/0/kind/Http", "http2");
    take("/services/0/kind/Http", "max_streams");
    take("/services/0/kind/Http/routes/0", "headers");
    assert_eq!(serde_json::from_value::<Config>(value).unwrap(), config);
}

#[test]
fn what_lasts_has_no_less_than_the_grace() {
    let long = |drain: &str| {
        let loaded = load_text(&format!("{SERVICE}{drain}\n"), false).unwrap();
        loaded.config.services[0].drain.long_lived_grace.as_secs()
    };
    assert_eq!((long(""), long("drain.grace = '10m'")), (300, 600));
    assert_eq!(long("drain = { grace = '1s', long_lived_grace = '1s' }"), 1);
}

#[test]
fn actions_and_upstreams_are_read() {
    let config = load_text(FULL, true).unwrap().config;
    let folder = config.path.parent().unwrap();
    let route = |service: usize, path: &str| {
        let route = config.services[service].kind.routes().iter().find(|route| route.path == path);
        route.unwrap_or_else(|| panic!("{path}"))
    };
    let headers = [("X-Z".to_owned(), "1".to_owned()), ("Server".to_owned(), String::new())];
    assert_eq!(route(0, "/abc").headers, headers);
    let redirect = Redirect { to: "https://{host}:8443/new{target}".into(), status: 301 };
    assert_eq!(route(0, "/old").action, Action::Redirect(redirect));
    let files = Files { root: "/srv/www".into(), index: String::new(), precompressed: false };
    assert_eq!(route(0, "/f").action, Action::Files(files), "a symlink is followed");
    let Action::Proxy(shared) = &route(0, "/g").action else { panic!() };
    let name = |host: &str, port| Server::Name { host: host.into(), port };
    let v6 = |port| Server::Ip(([0, 0, 0, 0, 0, 0, 0, 1], port).into());
    assert_eq!(shared.upstreams.servers, [v6(9000), name("a_b.example", 80)]);
    assert!(shared.http2 && shared.keep_alive == 5 && shared.retries == 0);
    assert_eq!((shared.upstreams.max_failures, shared.upstreams.proxy_protocol), (3, None));
    let Action::Proxy(own) = &route(1, "/p").action else { panic!() };
    let sockets = [Server::Unix(folder.join("run/up.sock")), Server::Abstract("up".into())];
    assert_eq!(own.upstreams.servers[1..], sockets);
    assert_eq!((own.idle_timeout.as_secs(), shared.idle_timeout.as_secs()), (5, 600));
    assert_eq!((own.upstreams.max_failures, own.upstreams.retry_after.as_secs()), (0, 2));
    assert_eq!(own.upstreams.proxy_protocol, Some(ProxyProtocol::V2));
    assert_eq!((own.keep_alive, own.retries), (0, 1), "the header names one client for a connection");
    let echo = Tcp { action: TcpAction::Echo, idle_timeout: std::time::Duration::from_secs(9) };
    assert_eq!(config.services[2].kind, Kind::Tcp(echo));
    let Kind::Tcp(Tcp { action: TcpAction::Proxy(db), idle_timeout }) = &config.services[3].kind else {
        panic!()
    };
    assert_eq!(
        (db.servers.len(), &db.servers[0], idle_timeout.as_secs()),
        (4, &name("db.example", 5432), 600)
    );
    assert_eq!(db.proxy_protocol, Some(ProxyProtocol::V1));
    let listens: Vec<bool> = config.services[0].listen.iter().map(|listen| listen.proxy_protocol).collect();
    assert_eq!(listens, [false, false, false, false, false, true, false]);
}

#[test]
fn the_plan() {
    let plan = plan_of(&load_text(FULL, true).unwrap().config);
    assert!(plan.sigterm_fast && plan.services[0].per_worker && plan.services[1].per_worker);
    assert_eq!(plan.services[0].pool, Pool::Range { min: 2, max: 8 });
    assert_eq!((plan.max_draining, plan.rollout.step, plan.services[0].give_up), (5, Some(2), 3));
    let shared = SERVICE.replace("127.0.0.1:8080", "unix:w.sock");
    assert!(!plan_of(&load_text(&shared, false).unwrap().config).services[0].per_worker);
}
