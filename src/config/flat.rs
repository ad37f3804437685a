//! A checked config taken apart into keys and TOML values: the common ground of `show` and `diff`.
//!
//! Every key of the table that a checked config can hold appears here under the path of its row
//! (a test compares the two), with text that `load` reads as the same value. Never: loses a value;
//! what has no text of its own (a derived id) has it through the key it came from.

use super::table;
use super::types::*;
use super::values::{duration_text, size_text};
use super::words::{Word, stop_signal_word};
use std::time::Duration;

/// A key, by the path of its row, and its value as TOML.
pub(super) type Leaf = (&'static str, String);

/// The keys of `[master]`.
pub(super) fn master(master: &Master) -> Vec<Leaf> {
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| text(&path.to_string_lossy()));
    let name = |name: &str| (!name.is_empty()).then(|| text(name));
    let some = [
        ("master.pid_file", path(&master.pid_file)),
        ("master.control_socket", path(&master.control_socket)),
        ("master.user", name(&master.user.user)),
        ("master.group", name(&master.user.group)),
        ("master.log.file", path(&master.log.file)),
    ];
    let mut leaves = vec![
        ("master.sigterm", word(master.sigterm)),
        ("master.ready_timeout", time(master.ready_timeout)),
        ("master.max_draining_generations", master.max_draining_generations.to_string()),
        ("master.watchdog", time(master.watchdog)),
        ("master.rollout.step", master.rollout.step.map_or_else(|| text("all"), |step| step.to_string())),
        ("master.rollout.soak", time(master.rollout.soak)),
        ("master.log.level", word(master.log.level)),
        ("master.log.format", word(master.log.format)),
    ];
    leaves.extend(some.into_iter().filter_map(|(path, value)| Some((path, value?))));
    leaves.extend(access_log(&master.access_log, ["master.access_log.file", "master.access_log.format"]));
    leaves
}

fn access_log(log: &Option<AccessLog>, [file, format]: [&'static str; 2]) -> Vec<Leaf> {
    let leaves = |log: &AccessLog| [(file, text(&log.file.to_string_lossy())), (format, word(log.format))];
    log.as_ref().into_iter().flat_map(leaves).collect()
}

/// The keys of a `[[service]]`, without its listeners and routes.
pub(super) fn service(service: &Service) -> Vec<Leaf> {
    let Service { drain, restart, limits, .. } = service;
    let mut leaves = vec![
        ("service.name", text(&service.name)),
        ("service.workers", workers(service.workers)),
        ("service.drain.grace", time(drain.grace)),
        ("service.drain.delay", time(drain.delay)),
        ("service.restart.backoff_min", time(restart.backoff_min)),
        ("service.restart.backoff_max", time(restart.backoff_max)),
        ("service.restart.give_up", restart.give_up.to_string()),
        ("service.restart.max_requests", restart.max_requests.to_string()),
        ("service.restart.max_memory", size(restart.max_memory)),
        ("service.restart.max_age", time(restart.max_age)),
        ("service.limits.core", limits.core.map_or_else(|| text("unlimited"), size)),
        ("service.limits.cpu_affinity", affinity(&limits.cpu_affinity)),
        ("service.limits.nice", limits.nice.to_string()),
    ];
    leaves.extend(limits.nofile.map(|nofile| ("service.limits.nofile", nofile.to_string())));
    match &service.kind {
        Kind::Http(http) => leaves.extend(built_in(service).into_iter().chain(self::http(http))),
        Kind::Tcp(tcp) => leaves.extend(built_in(service).into_iter().chain(self::tcp(tcp))),
        Kind::Exec(exec) => leaves.extend(self::exec(exec)),
    }
    leaves
}

/// The keys of a `[[service]]` that mean nothing to programs.
fn built_in(service: &Service) -> Vec<Leaf> {
    let log = &service.access_log;
    let mut leaves = vec![
        ("service.connections", service.connections.to_string()),
        ("service.drain.idle", word(service.drain.idle)),
        ("service.drain.long_lived_grace", time(service.drain.long_lived_grace)),
        ("service.access_log.enabled", log.is_some().to_string()),
    ];
    leaves.extend(access_log(log, ["service.access_log.file", "service.access_log.format"]));
    leaves
}

fn http(http: &Http) -> Vec<Leaf> {
    vec![
        ("service.http.header_timeout", time(http.header_timeout)),
        ("service.http.body_timeout", time(http.body_timeout)),
        ("service.http.write_timeout", time(http.write_timeout)),
        ("service.http.keep_alive", time(http.keep_alive)),
        ("service.http.max_header_size", size(http.max_header_size as u64)),
        ("service.http.max_headers", http.max_headers.to_string()),
        ("service.http.max_body", size(http.max_body)),
        ("service.http.http2", http.http2.to_string()),
        ("service.http.max_streams", http.max_streams.to_string()),
    ]
}

fn tcp(tcp: &Tcp) -> Vec<Leaf> {
    let mut leaves = vec![("service.tcp.idle_timeout", time(tcp.idle_timeout))];
    match &tcp.action {
        TcpAction::Echo => leaves.push(("service.tcp.echo", true.to_string())),
        TcpAction::Proxy(proxied) => leaves.extend(upstreams("service.tcp.proxy", proxied)),
    }
    leaves
}

fn exec(exec: &Exec) -> Vec<Leaf> {
    let command: Vec<String> = exec.command.iter().map(|argument| text(argument)).collect();
    let env: Vec<(String, String)> = exec.env.clone().into_iter().collect();
    let ready = match exec.ready {
        Readiness::Accepting => "accepting".to_owned(),
        Readiness::Notify => "notify".to_owned(),
        Readiness::Fd => "fd".to_owned(),
        Readiness::Delay(delay) => format!("delay:{}", duration_text(delay)),
    };
    let mut leaves = vec![
        ("service.exec.command", format!("[{}]", command.join(", "))),
        ("service.exec.directory", text(&exec.directory.to_string_lossy())),
        ("service.exec.env", pairs(&env)),
        ("service.exec.ready", text(&ready)),
        ("service.exec.stop_signal", text(stop_signal_word(exec.stop_signal).unwrap_or_default())),
        ("service.exec.output", word(exec.output)),
        ("service.exec.nonblocking", exec.nonblocking.to_string()),
        ("service.exec.watchdog", time(exec.watchdog)),
    ];
    leaves.extend(exec.umask.map(|bits| ("service.exec.umask", octal(bits))));
    if let Some(Identity { user, group, .. }) = &exec.user {
        leaves.push(("service.exec.user", text(user)));
        leaves.extend((!group.is_empty()).then(|| ("service.exec.group", text(group))));
    }
    leaves
}

/// The keys of a listener that apply to its kind of address.
pub(super) fn listener(listen: &Listen) -> Vec<Leaf> {
    let mut leaves = vec![
        ("service.listen.address", text(&listen.address.to_string())),
        ("service.listen.name", text(&listen.name)),
        ("service.listen.accept", word(listen.accept)),
        ("service.listen.proxy_protocol", listen.proxy_protocol.to_string()),
    ];
    if let Address::Tcp(ip) | Address::Udp(ip) = &listen.address
        && ip.is_ipv6()
    {
        leaves.push(("service.listen.ipv6_only", listen.ipv6_only.to_string()));
    }
    if !matches!(listen.address, Address::Udp(_)) {
        leaves.push(("service.listen.backlog", listen.backlog.to_string()));
    }
    match &listen.address {
        Address::Tcp(_) => leaves.push(("service.listen.defer_accept", time(listen.defer_accept))),
        Address::Unix(_) => {
            leaves.push(("service.listen.mode", octal(listen.mode)));
            leaves.extend(listen.owner.map(|owner| ("service.listen.owner", owner_text(owner))));
        }
        Address::Udp(_) | Address::Abstract(_) => {}
    }
    listen.tls.iter().for_each(|tls| leaves.extend(tls_keys(tls)));
    leaves
}

/// The keys of a listener's `tls`: where files are, never what is in them.
fn tls_keys(tls: &Tls) -> Vec<Leaf> {
    let path = |path: &std::path::Path| text(&path.to_string_lossy());
    let mut leaves = vec![
        ("service.listen.tls.certificate", path(&tls.certificate.chain.path)),
        ("service.listen.tls.key", path(&tls.certificate.key)),
    ];
    let named = |sni: &Sni| {
        let hosts: Vec<String> = sni.hosts.iter().map(|host| text(host)).collect();
        let Certificate { chain, key, .. } = &sni.certificate;
        let (chain, key) = (path(&chain.path), path(key));
        format!("{{ certificate = {chain}, key = {key}, hosts = [{}] }}", hosts.join(", "))
    };
    if !tls.sni.is_empty() {
        let all: Vec<String> = tls.sni.iter().map(named).collect();
        leaves.push(("service.listen.tls.sni", format!("[{}]", all.join(", "))));
    }
    if let Some(clients) = &tls.clients {
        leaves.push(("service.listen.tls.client_ca", path(&clients.ca.path)));
        leaves.push(("service.listen.tls.client_auth", word(clients.auth)));
    }
    leaves
}

/// The keys of a route.
pub(super) fn route(route: &Route) -> Vec<Leaf> {
    let mut leaves = vec![
        ("service.http.route.path", text(&route.path)),
        ("service.http.route.headers", pairs(&route.headers)),
    ];
    leaves.extend(route.host.as_ref().map(|host| ("service.http.route.host", text(host))));
    match &route.action {
        Action::Respond(respond) => leaves.extend([
            ("service.http.route.respond.status", respond.status.to_string()),
            ("service.http.route.respond.body", text(&respond.body)),
            ("service.http.route.respond.headers", pairs(&respond.headers)),
            ("service.http.route.respond.delay", time(respond.delay)),
        ]),
        Action::Proxy(proxy) => leaves.extend(self::proxy(proxy)),
        Action::Redirect(redirect) => leaves.extend([
            ("service.http.route.redirect.to", text(&redirect.to)),
            ("service.http.route.redirect.status", redirect.status.to_string()),
        ]),
        Action::Files(files) => leaves.extend([
            ("service.http.route.files.root", text(&files.root.to_string_lossy())),
            ("service.http.route.files.index", text(&files.index)),
            ("service.http.route.files.precompressed", files.precompressed.to_string()),
        ]),
        Action::Health(health) => leaves.push(("service.http.route.health", word(*health))),
        Action::Status => leaves.push(("service.http.route.status", text("json"))),
    }
    leaves
}

fn proxy(proxy: &Proxy) -> Vec<Leaf> {
    let mut leaves = upstreams("service.http.route.proxy", &proxy.upstreams);
    leaves.extend([
        ("service.http.route.proxy.http2", proxy.http2.to_string()),
        ("service.http.route.proxy.read_timeout", time(proxy.read_timeout)),
        ("service.http.route.proxy.write_timeout", time(proxy.write_timeout)),
        ("service.http.route.proxy.idle_timeout", time(proxy.idle_timeout)),
        ("service.http.route.proxy.keep_alive", proxy.keep_alive.to_string()),
        ("service.http.route.proxy.keep_alive_timeout", time(proxy.keep_alive_timeout)),
        ("service.http.route.proxy.retries", proxy.retries.to_string()),
    ]);
    leaves
}

/// The keys of the upstreams in a table, by its path.
fn upstreams(table: &str, upstreams: &Upstreams) -> Vec<Leaf> {
    let servers: Vec<String> = upstreams.servers.iter().map(|server| text(&server.to_string())).collect();
    let keys = [
        ("upstream", Some(format!("[{}]", servers.join(", ")))),
        ("connect_timeout", Some(time(upstreams.connect_timeout))),
        ("max_failures", Some(upstreams.max_failures.to_string())),
        ("retry_after", Some(time(upstreams.retry_after))),
        ("proxy_protocol", upstreams.proxy_protocol.map(word)),
    ];
    let leaf = |(key, value)| Some((table::row(&format!("{table}.{key}"))?.path, value?));
    keys.into_iter().filter_map(leaf).collect()
}

/// A table of names and values.
fn pairs(pairs: &[(String, String)]) -> String {
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{} = {}", text(name), text(value))).collect();
    if pairs.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", pairs.join(", ")) }
}

/// A TOML basic string.
pub(super) fn text(value: &str) -> String {
    let mut quoted = String::from("\"");
    for c in value.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

fn word<T: Word>(value: T) -> String {
    text(value.word())
}

fn time(value: Duration) -> String {
    text(&duration_text(value))
}

fn octal(bits: u32) -> String {
    format!("\"{bits:04o}\"")
}

fn size(value: u64) -> String {
    text(&size_text(value))
}

fn workers(pool: Pool) -> String {
    match pool {
        Pool::Fixed(n) => n.to_string(),
        Pool::Range { min, max } => format!("{{ min = {min}, max = {max} }}"),
    }
}

fn affinity(affinity: &Affinity) -> String {
    match affinity {
        Affinity::Auto => text("auto"),
        Affinity::Off => text("off"),
        Affinity::Cpus(cpus) => format!("{cpus:?}"),
    }
}

/// Numbers, since the names are gone; `user` without a group stays without.
fn owner_text(owner: Owner) -> String {
    match (owner.uid, owner.gid) {
        (uid, Some(gid)) => text(&format!("{}:{gid}", uid.map(|uid| uid.to_string()).unwrap_or_default())),
        (uid, None) => text(&uid.map(|uid| uid.to_string()).unwrap_or_default()),
    }
}
