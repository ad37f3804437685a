//! `service.listen`: addresses as text or tables, and which options an address can have.

use super::master::{group_id, user_id};
use super::{name, tls};
use crate::config::notes::At;
use crate::config::problem::quoted;
use crate::config::read::{Section, must_be};
use crate::config::resolve::Resolver;
use crate::config::types::{Accept, Address, Listen, Owner};
use crate::config::values::{self, Wrong};
use std::path::Path;
use std::time::Duration;
use toml::de::DeValue;

/// The most sockets that a program is given: so many have a place of their own in the scoreboard.
const MOST_FOR_PROGRAMS: usize = 16;

/// What the listeners of a service have in common.
struct Common<'m> {
    service: &'m str,
    /// The connections are a program's, and masterd sees nothing of them.
    has_program: bool,
    machine: &'m dyn Resolver,
}

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
    let common = Common { service, has_program: section.has("exec"), machine };
    if let Some((at, _)) = elements.get(MOST_FOR_PROGRAMS).filter(|_| common.has_program) {
        let wrong =
            Wrong::new(format!("a program has at most {MOST_FOR_PROGRAMS}, and here are {}", elements.len()));
        section.notes.wrong(*at, section.row("listen"), wrong);
    }
    let elements = elements.into_iter().enumerate();
    elements.filter_map(|(index, (at, element))| listener(section, at, element, index, &common)).collect()
}

fn listener<'a>(
    section: &Section<'a>,
    at: At,
    element: &'a DeValue<'a>,
    index: usize,
    common: &Common<'_>,
) -> Option<(Listen, At)> {
    let notes = section.notes;
    if let DeValue::String(text) = element {
        let address = address(text, notes.folder, common)
            .map_err(|wrong| notes.wrong(at, section.row("listen"), wrong))
            .ok()?;
        let options = Section::empty(notes, section.row("listen").path, at);
        return Some((with_options(&options, address, index, common), at));
    }
    let options = section.as_table("listen", at, element)?;
    let address = options.read("address", |kind, value| match value.as_str() {
        Some(text) => address(text, notes.folder, common),
        None => Err(must_be(kind, value)),
    });
    let listen = with_options(&options, address?, index, common);
    let at = options.at_key("address");
    Some((listen, at))
}

fn address(text: &str, folder: &Path, common: &Common<'_>) -> Result<Address, Wrong> {
    match values::address(text, folder)? {
        Address::Udp(_) if !common.has_program => {
            let wrong = Wrong::new(format!("{} is for programs only", quoted(text)));
            Err(wrong.with("built-in workers take no datagrams: run a program with exec"))
        }
        address => Ok(address),
    }
}

fn with_options(options: &Section<'_>, address: Address, index: usize, common: &Common<'_>) -> Listen {
    note_unfit(options, &address);
    if common.has_program {
        note_not_for_programs(options);
    }
    let given = if options.has("name") { name(options) } else { None };
    let plain_name = || match index {
        0 => common.service.to_owned(),
        index => format!("{}-{}", common.service, index + 1),
    };
    let of_program = common.has_program;
    Listen {
        name: given.unwrap_or_else(plain_name),
        backlog: options.integer("backlog").unwrap_or(1),
        accept: accept(options, matches!(address, Address::Tcp(_)), of_program),
        ipv6_only: options.switch("ipv6_only").unwrap_or(true),
        defer_accept: defer_accept(options),
        mode: bits(options, "mode").unwrap_or_default(),
        owner: options.read("owner", |kind, value| match value.as_str() {
            Some(text) => owner(text, common.machine),
            None => Err(must_be(kind, value)),
        }),
        proxy_protocol: options.switch("proxy_protocol").unwrap_or_default(),
        tls: if of_program { None } else { tls::tls(options, common.machine) },
        address,
    }
}

/// Notes options that an address can't have.
fn note_unfit(options: &Section<'_>, address: &Address) {
    let tcp = matches!(address, Address::Tcp(_));
    let v6 = matches!(address, Address::Tcp(ip) | Address::Udp(ip) if ip.is_ipv6());
    let file = matches!(address, Address::Unix(_));
    let connected = !matches!(address, Address::Udp(_));
    for (key, fits, whose) in [
        ("backlog", connected, "addresses with connections"),
        ("ipv6_only", v6, "IPv6 addresses"),
        ("defer_accept", tcp, "TCP addresses"),
        ("mode", file, "socket files"),
        ("owner", file, "socket files"),
    ] {
        if options.has(key) && !fits {
            let message = format!("{} is for {whose} only, and {address} is none", options.row(key).path);
            options.notes.error(options.at_key(key), message, Some("leave it out".to_owned()));
        }
    }
}

/// Notes what masterd can't do with connections that a program takes.
fn note_not_for_programs(options: &Section<'_>) {
    let proxied = options.find("proxy_protocol").is_some_and(|(_, value)| value.as_bool() == Some(true));
    for (key, written, hint) in [
        ("tls", options.has("tls"), "let the program speak TLS, or put a service with http or tcp before it"),
        (
            "proxy_protocol",
            proxied,
            "let the program read the header, or put a service with http or tcp before it",
        ),
    ] {
        if written {
            let message = format!(
                "{}: masterd does not touch what a program's connections carry",
                options.row(key).path
            );
            options.notes.error(options.at_key(key), message, Some(hint.to_owned()));
        }
    }
}

fn accept(options: &Section<'_>, tcp: bool, of_program: bool) -> Accept {
    let fault = match (tcp, of_program) {
        (_, true) => "for built-in workers only; those of a program share its sockets",
        (false, false) => "for IP addresses only; a unix socket is always shared",
        (true, false) => return options.word("accept").unwrap_or(Accept::PerWorker),
    };
    if options.word("accept") == Some(Accept::PerWorker) {
        let message = format!("service.listen.accept: \"per-worker\" is {fault}");
        options.notes.error(options.at_key("accept"), message, Some("leave it out".to_owned()));
    }
    Accept::Shared
}

fn defer_accept(options: &Section<'_>) -> Duration {
    let wait = options.duration("defer_accept").unwrap_or_default();
    if wait.subsec_nanos() != 0 {
        let message = "service.listen.defer_accept: the kernel counts it in whole seconds";
        options.notes.error(options.at_key("defer_accept"), message, None);
    }
    wait
}

/// Permission bits, in octal text.
pub(super) fn bits(section: &Section<'_>, key: &str) -> Option<u32> {
    section.read(key, |kind, value| {
        let text = value
            .as_str()
            .filter(|text| (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b)));
        text.and_then(|text| u32::from_str_radix(text, 8).ok())
            .filter(|bits| *bits <= 0o777)
            .ok_or_else(|| must_be(kind, value))
    })
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
