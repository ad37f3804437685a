//! `service.listen`: addresses as text or tables, and which options an address can have.

use super::master::{group_id, user_id};
use super::{name, tls};
use crate::config::notes::At;
use crate::config::read::{Section, must_be};
use crate::config::resolve::Resolver;
use crate::config::types::{Accept, Address, Listen, Owner};
use crate::config::values::{self, Wrong};
use std::time::Duration;
use toml::de::DeValue;

/// The listeners of a service whose address could be read, each with its place.
pub(super) fn listeners<'a>(
    section: &Section<'a>,
    service: &str,
    machine: &dyn Resolver,
) -> Vec<(Listen, At)> {
    if !section.has("listen") {
        // Notes that the key is missing.
        let _ = section.read::<()>("listen", |_, _| Ok(()));
        return Vec::new();
    }
    let elements = section.elements("listen");
    if elements.is_empty() && matches!(section.find("listen"), Some((_, DeValue::Array(_)))) {
        section.notes.error(
            section.at_key("listen"),
            "service.listen: a service needs at least one address",
            None,
        );
    }
    let mut found = Vec::new();
    for (index, (at, element)) in elements.into_iter().enumerate() {
        let plain_name = if index == 0 { service.to_owned() } else { format!("{service}-{}", index + 1) };
        if let Some((listen, at)) = listener(section, at, element, plain_name, machine) {
            found.push((listen, at));
        }
    }
    found
}

fn listener<'a>(
    section: &Section<'a>,
    at: At,
    element: &'a DeValue<'a>,
    plain_name: String,
    machine: &dyn Resolver,
) -> Option<(Listen, At)> {
    let notes = section.notes;
    if let DeValue::String(text) = element {
        let address = values::address(text, notes.folder)
            .map_err(|wrong| notes.wrong(at, section.row("listen"), wrong))
            .ok()?;
        let options = Section::empty(notes, section.row("listen").path, at);
        return Some((with_options(&options, address, plain_name, machine), at));
    }
    let options = section.as_table("listen", at, element)?;
    let address = options.read("address", |kind, value| match value.as_str() {
        Some(text) => values::address(text, notes.folder),
        None => Err(must_be(kind, value)),
    });
    let listen = with_options(&options, address?, plain_name, machine);
    let at = options.at_key("address");
    Some((listen, at))
}

fn with_options(
    options: &Section<'_>,
    address: Address,
    plain_name: String,
    machine: &dyn Resolver,
) -> Listen {
    let tcp = matches!(address, Address::Tcp(_));
    let v6 = matches!(address, Address::Tcp(ip) if ip.is_ipv6());
    let file = matches!(address, Address::Unix(_));
    for (key, fits, whose) in [
        ("ipv6_only", v6, "IPv6 addresses"),
        ("defer_accept", tcp, "IP addresses"),
        ("mode", file, "socket files"),
        ("owner", file, "socket files"),
    ] {
        if options.has(key) && !fits {
            let message = format!("{} is for {whose} only, and {address} is none", options.row(key).path);
            options.notes.error(options.at_key(key), message, Some("leave it out".to_owned()));
        }
    }
    let given = if options.has("name") { name(options) } else { None };
    Listen {
        name: given.unwrap_or(plain_name),
        backlog: options.integer("backlog").unwrap_or(1),
        accept: accept(options, tcp),
        ipv6_only: options.switch("ipv6_only").unwrap_or(true),
        defer_accept: defer_accept(options),
        mode: mode(options),
        owner: options.read("owner", |kind, value| match value.as_str() {
            Some(text) => owner(text, machine),
            None => Err(must_be(kind, value)),
        }),
        proxy_protocol: options.switch("proxy_protocol").unwrap_or_default(),
        tls: tls::tls(options, machine),
        address,
    }
}

fn accept(options: &Section<'_>, tcp: bool) -> Accept {
    match options.word("accept") {
        Some(Accept::PerWorker) if !tcp => {
            let message = "service.listen.accept: \"per-worker\" is for IP addresses only; a unix socket is always shared";
            options.notes.error(options.at_key("accept"), message, Some("leave it out".to_owned()));
            Accept::Shared
        }
        Some(accept) => accept,
        None if tcp => Accept::PerWorker,
        None => Accept::Shared,
    }
}

fn defer_accept(options: &Section<'_>) -> Duration {
    let wait = options.duration("defer_accept").unwrap_or_default();
    if wait.subsec_nanos() != 0 {
        let message = "service.listen.defer_accept: the kernel counts it in whole seconds";
        options.notes.error(options.at_key("defer_accept"), message, None);
    }
    wait
}

fn mode(options: &Section<'_>) -> u32 {
    let bits = options.read("mode", |kind, value| {
        let text = value
            .as_str()
            .filter(|text| (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b)));
        text.and_then(|text| u32::from_str_radix(text, 8).ok())
            .filter(|bits| *bits <= 0o777)
            .ok_or_else(|| must_be(kind, value))
    });
    bits.unwrap_or_default()
}

/// `user`, `user:group` or `:group`; names or numbers.
fn owner(text: &str, machine: &dyn Resolver) -> Result<Owner, Wrong> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let uid = match (user, group) {
        ("", Some(_)) => None,
        (user, _) => Some(user_id(machine, user)?.0),
    };
    Ok(Owner { uid, gid: group.map(|group| group_id(machine, group)).transpose()? })
}
