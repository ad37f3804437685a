//! A checked config taken apart into keys and TOML values: the common ground of `show` and `diff`.
//!
//! Every key of the table that a checked config can hold appears here under the path of its row
//! (a test compares the two), with text that `load` reads as the same value. Never: loses a value;
//! what has no text of its own (a derived id) has it through the key it came from.

use super::types::*;
use super::values::{duration_text, size_text};
use super::words::Word;
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
    leaves
}

/// The keys of a `[[service]]`, without its listeners and routes.
pub(super) fn service(service: &Service) -> Vec<Leaf> {
    let Kind::Http(http) = &service.kind;
    vec![
        ("service.name", text(&service.name)),
        ("service.workers", workers(service.workers)),
        ("service.connections", service.connections.to_string()),
        ("service.drain.grace", time(service.drain.grace)),
        ("service.drain.delay", time(service.drain.delay)),
        ("service.drain.idle", word(service.drain.idle)),
        ("service.restart.backoff_min", time(service.restart.backoff_min)),
        ("service.restart.backoff_max", time(service.restart.backoff_max)),
        ("service.restart.give_up", service.restart.give_up.to_string()),
        ("service.limits.nofile", service.limits.nofile.to_string()),
        ("service.limits.core", service.limits.core.map_or_else(|| text("unlimited"), size)),
        ("service.limits.cpu_affinity", affinity(&service.limits.cpu_affinity)),
        ("service.limits.nice", service.limits.nice.to_string()),
        ("service.http.header_timeout", time(http.header_timeout)),
        ("service.http.body_timeout", time(http.body_timeout)),
        ("service.http.write_timeout", time(http.write_timeout)),
        ("service.http.keep_alive", time(http.keep_alive)),
        ("service.http.max_header_size", size(http.max_header_size as u64)),
        ("service.http.max_headers", http.max_headers.to_string()),
        ("service.http.max_body", size(http.max_body)),
    ]
}

/// The keys of a listener that apply to its kind of address.
pub(super) fn listener(listen: &Listen) -> Vec<Leaf> {
    let mut leaves = vec![
        ("service.listen.address", text(&listen.address.to_string())),
        ("service.listen.name", text(&listen.name)),
        ("service.listen.backlog", listen.backlog.to_string()),
        ("service.listen.accept", word(listen.accept)),
    ];
    match &listen.address {
        Address::Tcp(ip) => {
            if ip.is_ipv6() {
                leaves.push(("service.listen.ipv6_only", listen.ipv6_only.to_string()));
            }
            leaves.push(("service.listen.defer_accept", time(listen.defer_accept)));
        }
        Address::Unix(_) => {
            leaves.push(("service.listen.mode", format!("\"{:04o}\"", listen.mode)));
            leaves.extend(listen.owner.map(|owner| ("service.listen.owner", owner_text(owner))));
        }
        Address::Abstract(_) => {}
    }
    leaves
}

/// The keys of a route.
pub(super) fn route(route: &Route) -> Vec<Leaf> {
    let mut leaves = vec![("service.http.route.path", text(&route.path))];
    leaves.extend(route.host.as_ref().map(|host| ("service.http.route.host", text(host))));
    match &route.action {
        Action::Respond(respond) => {
            let headers: Vec<String> = respond
                .headers
                .iter()
                .map(|(name, value)| format!("{} = {}", text(name), text(value)))
                .collect();
            let headers =
                if headers.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", headers.join(", ")) };
            leaves.extend([
                ("service.http.route.respond.status", respond.status.to_string()),
                ("service.http.route.respond.body", text(&respond.body)),
                ("service.http.route.respond.headers", headers),
                ("service.http.route.respond.delay", time(respond.delay)),
            ]);
        }
        Action::Health(health) => leaves.push(("service.http.route.health", word(*health))),
        Action::Status => leaves.push(("service.http.route.status", text("json"))),
    }
    leaves
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
