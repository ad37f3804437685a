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

[[service]]
name = "web-1.x_"
listen = [
  "127.0.0.1:8080",
  { address = "[::1]:8080", name = "six", backlog = 5, accept = "shared", ipv6_only = false, defer_accept = "3s" },
  { address = "unix:run/w.sock", mode = "0640", owner = "www:web" },
  { address = "unix:run/v.sock", owner = ":web" },
  { address = "unix:run/u.sock", owner = "www" },
  "unix:@ab\"c",
]
workers = { min = 2, max = 8 }
connections = 7
drain = { grace = "5m", delay = "2s", idle = "close" }
restart = { backoff_min = "1s", backoff_max = "1s", give_up = 3 }
limits = { nofile = 1024, core = "unlimited", cpu_affinity = [2, 0, 2], nice = -3 }

[service.http]
header_timeout = "1s"
body_timeout = "2s"
write_timeout = "3s"
keep_alive = "4s"
max_header_size = "8KiB"
max_headers = 10
max_body = "0"
route = [
  { path = "/", respond = { status = 201, body = "a\"\\\n\té\u0000{pid}", headers = { X-B = "1", "x-a" = "t\t\"", "x.c" = "" }, delay = "20ms" } },
  { path = "/h", health = "ready" },
  { path = "/abc", health = "live" },
  { path = "/", host = "Example.COM", status = "json" },
]

[[service]]
name = "two"
workers = "auto"
listen = ["127.0.0.1:8081"]
http.route = [{ path = "/", respond = {} }]
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
    assert_eq!((web.workers, web.connections, web.limits.nofile), (Pool::Fixed(2), 20_000, 65_536));
    assert_eq!(
        (web.listen[0].name.as_str(), web.listen[0].accept, web.listen[0].backlog),
        ("web", Accept::PerWorker, 4096)
    );
    let Kind::Http(http) = &web.kind;
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
    assert_eq!(names, ["web-1.x_", "six", "web-1.x_-3", "web-1.x_-4", "web-1.x_-5", "web-1.x_-6"]);
    let owners: Vec<_> = web.listen[2..5].iter().map(|listen| listen.owner.map(|o| (o.uid, o.gid))).collect();
    assert_eq!(owners, [Some((Some(33), Some(80))), Some((None, Some(80))), Some((Some(33), None))]);
    assert_eq!(
        (web.listen[2].mode, web.listen[3].mode, web.listen[5].accept),
        (0o640, 0o666, Accept::Shared)
    );
    assert_eq!((&web.limits.cpu_affinity, web.limits.core), (&Affinity::Cpus(vec![0, 2]), None));
    let Kind::Http(http) = &web.kind;
    let order: Vec<_> =
        http.routes.iter().map(|route| (route.host.as_deref(), route.path.as_str())).collect();
    assert_eq!(order, [(Some("example.com"), "/"), (None, "/abc"), (None, "/h"), (None, "/")]);
    let Action::Respond(respond) = &http.routes[3].action else { panic!("{:?}", http.routes[3]) };
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

#[test]
fn the_plan() {
    let plan = plan_of(&load_text(FULL, true).unwrap().config);
    assert!(plan.sigterm_fast && plan.services[0].per_worker && plan.services[1].per_worker);
    assert_eq!(plan.services[0].pool, Pool::Range { min: 2, max: 8 });
    assert_eq!((plan.max_draining, plan.rollout.step, plan.services[0].give_up), (5, Some(2), 3));
    let shared = SERVICE.replace("127.0.0.1:8080", "unix:w.sock");
    assert!(!plan_of(&load_text(&shared, false).unwrap().config).services[0].per_worker);
}
