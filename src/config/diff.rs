//! What a reload would do: two checked configs compared, key by key.
//!
//! `diff` serves `masterd reload --dry-run`; `keep_frozen` is called by every reload before the new
//! config is used. What a reload does with a key is said by its row in the key table. Services are
//! the same when their names are, listeners when their addresses are, routes when host and path are.
//! Never: changes anything but the `new` given to `keep_frozen`.

use super::flat::{self, Leaf};
use super::key::{Reload, Type};
use super::show;
use super::table;
use super::types::{Address, Config, Listen, Route, Service, Tls};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// One difference between two configs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// `service "web"`, `listener 127.0.0.1:80`, `master.log.level`, `service "web": drain.grace`.
    pub what: String,
    pub effect: Effect,
    /// TOML values; `None` where the key is not set, for things that come or go as a whole, and for what a file
    /// holds.
    pub old: Option<String>,
    pub new: Option<String>,
}

/// What a reload makes of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    Added,
    Removed,
    /// The workers of the new generation have it.
    Restarted,
    /// The master, or a socket that stays open, has it.
    Applied,
    /// A reload can't change it.
    Ignored,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { what, effect, old, new } = self;
        match effect {
            Effect::Added => return write!(f, "{what} is added"),
            Effect::Removed => return write!(f, "{what} is removed"),
            Effect::Restarted | Effect::Applied | Effect::Ignored => {}
        }
        match (old, new) {
            (Some(old), Some(new)) => write!(f, "{what} changes from {} to {}", short(old), short(new))?,
            (None, Some(new)) => write!(f, "{what} is set to {}", short(new))?,
            (Some(old), None) => write!(f, "{what} is no longer set; it was {}", short(old))?,
            (None, None) => write!(f, "{what} is another file")?,
        }
        match effect {
            Effect::Restarted => write!(f, ": new workers have it"),
            Effect::Ignored => {
                write!(f, ": ignored, because a reload can't change it; stop masterd and start it again")
            }
            Effect::Applied | Effect::Added | Effect::Removed => Ok(()),
        }
    }
}

/// A value for one line: a body can be long.
fn short(value: &str) -> String {
    match value.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

/// Everything in which `new` differs from `old`, master first, then services, listeners and routes.
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = changed_keys("", flat::master(&old.master), flat::master(&new.master));
    let (old_services, new_services) = (services(old), services(new));
    compare(&old_services, &new_services, &mut changes, |name| format!("service \"{name}\""));
    compare(&listeners(old), &listeners(new), &mut changes, |address| format!("listener {address}"));
    changes.extend(changed_files(old, new));
    changes.extend(changed_programs(old, new));
    for name in new_services.keys() {
        if old_services.contains_key(name) {
            compare(&routes(old, name), &routes(new, name), &mut changes, |route| {
                format!("service \"{name}\": route {route}")
            });
        }
    }
    changes
}

type Things = BTreeMap<String, Vec<Leaf>>;

fn services(config: &Config) -> Things {
    config.services.iter().map(|service| (service.name.clone(), flat::service(service))).collect()
}

fn listeners(config: &Config) -> Things {
    let all =
        config.services.iter().flat_map(|service| service.listen.iter().map(move |listen| (service, listen)));
    let leaves = |(service, listen): (&Service, &Listen)| {
        let mut leaves = flat::listener(listen);
        leaves.push(("service", flat::text(&service.name)));
        (listen.address.to_string(), leaves)
    };
    all.map(leaves).collect()
}

/// Files that listeners name as before, and that hold something else.
fn changed_files(old: &Config, new: &Config) -> Vec<Change> {
    let (old, new) = (files(old), files(new));
    let differing =
        new.into_iter().filter(|(place, text)| old.get(place).is_some_and(|before| before != text));
    let change = |((address, what, path), _): ((&Address, &str, &Path), &str)| Change {
        what: format!("listener {address}: {what} {}", path.display()),
        effect: Effect::Restarted,
        old: None,
        new: None,
    };
    differing.map(change).collect()
}

/// Programs that are another file than before, though the command says the same.
fn changed_programs(old: &Config, new: &Config) -> Vec<Change> {
    let change = |service: &Service| {
        let before = old.services.iter().find(|old| old.name == service.name)?.kind.exec()?;
        let now = service.kind.exec()?;
        if before.program == now.program || before.command.first() != now.command.first() {
            return None;
        }
        let thing = format!("service \"{}\": program", service.name);
        let [from, to] = [before, now].map(|exec| exec.program.path.display().to_string());
        Some(match from == to {
            true => Change { what: format!("{thing} {to}"), effect: Effect::Restarted, old: None, new: None },
            false => {
                let [old, new] = [from, to].map(|path| Some(flat::text(&path)));
                Change { what: thing, effect: Effect::Restarted, old, new }
            }
        })
    };
    new.services.iter().filter_map(change).collect()
}

/// What each file holds that a listener names, by listener, purpose and path.
fn files(config: &Config) -> BTreeMap<(&Address, &str, &Path), &str> {
    let mut files = BTreeMap::new();
    let listeners = config.services.iter().flat_map(|service| &service.listen);
    for (address, tls) in listeners.filter_map(|listen| Some((&listen.address, listen.tls.as_ref()?))) {
        let Tls { certificate, sni, clients } = tls;
        for certificate in std::iter::once(certificate).chain(sni.iter().map(|sni| &sni.certificate)) {
            let (chain, key) = (&certificate.chain, &certificate.key_text.0);
            files.insert((address, "certificate", chain.path.as_path()), chain.text.as_str());
            files.insert((address, "key", certificate.key.as_path()), key.as_str());
        }
        if let Some(clients) = clients {
            files.insert((address, "client_ca", clients.ca.path.as_path()), clients.ca.text.as_str());
        }
    }
    files
}

fn routes(config: &Config, service: &str) -> Things {
    let routes = config.services.iter().filter(|s| s.name == service).flat_map(|s| s.kind.routes());
    routes.map(|route| (route_name(route), flat::route(route))).collect()
}

fn route_name(route: &Route) -> String {
    format!("{}{}", route.host.as_deref().unwrap_or(""), route.path)
}

fn compare(old: &Things, new: &Things, changes: &mut Vec<Change>, name: impl Fn(&str) -> String) {
    let whole = |what: &String, effect| Change { what: name(what), effect, old: None, new: None };
    changes.extend(old.keys().filter(|key| !new.contains_key(*key)).map(|key| whole(key, Effect::Removed)));
    for (key, leaves) in new {
        match old.get(key) {
            None => changes.push(whole(key, Effect::Added)),
            Some(before) => {
                changes.extend(changed_keys(&format!("{}: ", name(key)), before.clone(), leaves.clone()))
            }
        }
    }
}

/// The keys whose values differ, tables that are on one side only as a whole. Below a thing's name, keys are shown as they are written within it.
fn changed_keys(thing: &str, old: Vec<Leaf>, new: Vec<Leaf>) -> Vec<Change> {
    let (old, new): (Values, Values) = (old.into_iter().collect(), new.into_iter().collect());
    let (old, new) = (gathered(&old, &new), gathered(&new, &old));
    let mut paths: Vec<&str> =
        old.keys().chain(new.keys().filter(|path| !old.contains_key(*path))).copied().collect();
    let place = |path: &str| table::rows().position(|row| row.path == path);
    paths.sort_by_key(|path| place(path).unwrap_or(usize::MAX));
    let differing = paths.into_iter().filter(|path| old.get(path) != new.get(path));
    differing
        .map(|path| Change {
            what: format!("{thing}{}", if thing.is_empty() { path } else { within(path) }),
            effect: effect(path),
            old: old.get(path).cloned(),
            new: new.get(path).cloned(),
        })
        .collect()
}

type Values = BTreeMap<&'static str, String>;

/// The values of `side`, in which a table that `other` has nothing of is one value: a route that
/// proxies no longer is one change, not one for each key of `proxy`.
fn gathered(side: &Values, other: &Values) -> Values {
    let mut tables: BTreeMap<&'static str, Vec<Leaf>> = BTreeMap::new();
    let mut values = Values::new();
    for (path, value) in side {
        match missing_table(path, other) {
            Some(table) => tables.entry(table).or_default().push((path, value.clone())),
            None => _ = values.insert(path, value.clone()),
        }
    }
    values.extend(tables.into_iter().map(|(table, leaves)| (table, show::inline(leaves, table))));
    values
}

/// The outermost table around a key that holds none of the keys of `other`.
fn missing_table(path: &str, other: &Values) -> Option<&'static str> {
    let around = path.match_indices('.').filter_map(|(at, _)| table::row(&path[..at]));
    let holds = |table: &str, key: &str| key.strip_prefix(table).is_some_and(|rest| rest.starts_with('.'));
    around
        .filter(|row| matches!(row.kind, Type::Table))
        .find(|row| !other.keys().any(|key| holds(row.path, key)))
        .map(|row| row.path)
}

fn within(path: &str) -> &str {
    let things = ["service.http.route.", "service.listen.", "service."];
    things.into_iter().find_map(|thing| path.strip_prefix(thing)).unwrap_or(path)
}

fn effect(path: &str) -> Effect {
    match table::row(path).map(|row| row.reload) {
        Some(Reload::Master | Reload::Socket) => Effect::Applied,
        Some(Reload::Kept) => Effect::Ignored,
        // A thing's own name never differs; a listener that moves to another service gets other workers.
        Some(Reload::Workers | Reload::Identity) | None => Effect::Restarted,
    }
}

/// Gives the keys that a reload can't change their running value again, and says so, one sentence
/// for each: key, running value, new value, what to do.
pub fn keep_frozen(running: &Config, new: &mut Config) -> Vec<String> {
    let mut said = Vec::new();
    let before = flat::master(&new.master);
    new.master.pid_file.clone_from(&running.master.pid_file);
    new.master.control_socket.clone_from(&running.master.control_socket);
    let differing = changed_keys("", flat::master(&new.master), before);
    said.extend(differing.iter().map(|change| kept(change, "stop masterd and start it again")));
    for listen in new.services.iter_mut().flat_map(|service| &mut service.listen) {
        let running = running.services.iter().flat_map(|service| &service.listen);
        let Some(same) = running.into_iter().find(|other| other.address == listen.address) else { continue };
        let before = flat::listener(listen);
        listen.accept = same.accept;
        listen.ipv6_only = same.ipv6_only;
        let thing = format!("listener {}: ", listen.address);
        let differing = changed_keys(&thing, flat::listener(listen), before);
        said.extend(
            differing
                .iter()
                .map(|change| kept(change, "use another address, or stop masterd and start it again")),
        );
    }
    said
}

fn kept(change: &Change, remedy: &str) -> String {
    let value = |value: &Option<String>| value.as_deref().map_or_else(|| "unset".to_owned(), short);
    format!(
        "{} stays {} and does not become {}: a reload can't change it; to change it, {remedy}",
        change.what,
        value(&change.old),
        value(&change.new)
    )
}
