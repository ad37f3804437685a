//! The resolved config as TOML: what `masterd -T` prints.
//!
//! Every key is written, in the order of the key table, paths absolute and `auto` as the number it
//! came to; what has no value that could be written stands there as a comment. Loaded again it gives an equal config, but for `path` and `checksum`.

use super::flat::{self, Leaf};
use super::table::rows;
use super::types::{Config, Service};

/// A config as TOML text that `load` reads as the same config.
pub fn show(config: &Config) -> String {
    let mut out =
        format!("# resolved from {}, checksum {:016x}\n\n[master]\n", config.path.display(), config.checksum);
    out.push_str(&lines(flat::master(&config.master), "master"));
    for service in &config.services {
        out.push_str(&shown_service(service));
    }
    out
}

fn shown_service(service: &Service) -> String {
    let kind = format!("service.{}", service.kind.word());
    let (of_kind, own): (Vec<Leaf>, Vec<Leaf>) =
        flat::service(service).into_iter().partition(|(path, _)| path.starts_with(&format!("{kind}.")));
    let mut out = format!("\n[[service]]\n{}", lines(own, "service"));
    if service.limits.nofile.is_none() {
        out.push_str("# limits.nofile is what masterd was started with\n");
    }
    out.push_str("listen = [\n");
    for listen in &service.listen {
        out.push_str(&format!("    {},\n", inline(flat::listener(listen), "service.listen")));
    }
    out.push_str(&format!("]\n\n[{kind}]\n"));
    if let Some(exec) = service.kind.exec() {
        out.push_str(&format!("# the program is {}\n", exec.program.path.display()));
    }
    out.push_str(&lines(of_kind, &kind));
    for route in service.kind.routes() {
        out.push_str(&format!(
            "\n[[service.http.route]]\n{}",
            lines(flat::route(route), "service.http.route")
        ));
    }
    out
}

/// One line for each key below `parent`; keys of a table within it share a line.
fn lines(leaves: Vec<Leaf>, parent: &str) -> String {
    let mut out = String::new();
    for (key, below) in grouped(leaves, parent) {
        out.push_str(&format!("{key} = {}\n", value(below, parent, key)));
    }
    out
}

/// The keys below `parent` as an inline table.
pub(super) fn inline(leaves: Vec<Leaf>, parent: &str) -> String {
    let pairs: Vec<String> = grouped(leaves, parent)
        .into_iter()
        .map(|(key, below)| format!("{key} = {}", value(below, parent, key)))
        .collect();
    format!("{{ {} }}", pairs.join(", "))
}

/// The value of a key: its own, or a table of the keys below it.
fn value(mut leaves: Vec<Leaf>, parent: &str, key: &str) -> String {
    let path = format!("{parent}.{key}");
    match leaves.first() {
        Some((own, _)) if *own == path => leaves.remove(0).1,
        _ => inline(leaves, &path),
    }
}

/// The leaves in the order of the table, gathered by the part of their path after `parent`.
fn grouped(mut leaves: Vec<Leaf>, parent: &str) -> Vec<(&'static str, Vec<Leaf>)> {
    leaves.sort_by_key(|(path, _)| rows().position(|row| row.path == *path));
    let mut groups: Vec<(&'static str, Vec<Leaf>)> = Vec::new();
    for leaf in leaves {
        let rest = leaf.0.strip_prefix(parent).map_or(leaf.0, |rest| rest.trim_start_matches('.'));
        let key = rest.split('.').next().unwrap_or(rest);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, group)) => group.push(leaf),
            None => groups.push((key, vec![leaf])),
        }
    }
    groups
}
