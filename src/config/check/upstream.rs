//! What is connected to: the keys that every table with upstreams has, and how a server is written.
//!
//! Names are not looked up here: whoever connects does, since what they mean changes. Never: says
//! what goes through the connections; `route` and `tcp` do.

use crate::config::problem::quoted;
use crate::config::read::{Section, must_be};
use crate::config::types::{Address, Server, Upstreams};
use crate::config::values::{self, Wrong};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// The upstreams of a table.
pub(super) fn upstreams(section: &Section<'_>) -> Upstreams {
    Upstreams {
        servers: servers(section),
        connect_timeout: section.duration("connect_timeout").unwrap_or_default(),
        max_failures: section.integer("max_failures").unwrap_or_default(),
        retry_after: section.duration("retry_after").unwrap_or_default(),
        proxy_protocol: section.word("proxy_protocol"),
    }
}

fn servers(section: &Section<'_>) -> Vec<Server> {
    let row = section.row("upstream");
    let Some((at, value)) = section.find("upstream") else {
        // Notes that the key is missing.
        let _ = section.read::<()>("upstream", |_, _| Ok(()));
        return Vec::new();
    };
    if value.as_array().is_some_and(|array| array.is_empty()) {
        section.notes.error(at, format!("{}: a proxy needs at least one upstream", row.path), None);
    }
    let mut found = Vec::new();
    for (at, element) in section.elements("upstream") {
        let read = match element.as_str() {
            Some(text) => server(text, section.notes.folder),
            None => Err(must_be(&row.kind, element)),
        };
        match read {
            Ok(server) => found.push(server),
            Err(wrong) => section.notes.wrong(at, row, wrong),
        }
    }
    found
}

/// `IP:PORT`, `[IPv6]:PORT`, `NAME:PORT`, `unix:PATH` (relative to `folder`) or `unix:@NAME`.
fn server(text: &str, folder: &Path) -> Result<Server, Wrong> {
    if let Some((scheme, rest)) = text.split_once("://") {
        return Err(no_url(text, scheme, rest));
    }
    if text.starts_with('/') || text.starts_with("./") {
        return Err(no_server(text).with(format!("did you mean {}?", quoted(&format!("unix:{text}")))));
    }
    if !text.starts_with("unix:") && text.parse::<SocketAddr>().is_err() {
        return named(text);
    }
    match values::address(text, folder)? {
        Address::Tcp(ip) if ip.port() == 0 => Err(port_zero(text)),
        Address::Tcp(ip) => Ok(Server::Ip(ip)),
        Address::Udp(_) => Err(no_server(text)),
        Address::Unix(path) => Ok(Server::Unix(path)),
        Address::Abstract(name) => Ok(Server::Abstract(name)),
    }
}

fn no_server(text: &str) -> Wrong {
    Wrong::new(format!("{} is no upstream", quoted(text)))
}

fn port_zero(text: &str) -> Wrong {
    Wrong::new(format!("nothing can be reached at port 0, as in {}", quoted(text)))
}

/// A URL: the address in it may be what is meant.
fn no_url(text: &str, scheme: &str, rest: &str) -> Wrong {
    let wrong = Wrong::new(format!("{} is a URL; an upstream is an address", quoted(text)));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "h2c" | "grpc" | "tcp" => {}
        "unix" => return wrong.with(format!("did you mean {}?", quoted(&format!("unix:{rest}")))),
        _ => return wrong.with("write \"NAME:PORT\"; TLS is not spoken to upstreams"),
    }
    // The way other servers name a socket file: `http://unix:PATH:/`.
    if rest.starts_with("unix:") {
        let socket = rest.strip_suffix(":/").unwrap_or(rest).trim_end_matches(':');
        return wrong.with(format!("did you mean {}?", quoted(socket)));
    }
    let with_port = [authority.to_owned(), format!("{authority}:80")];
    let meant = with_port.iter().find(|text| server(text, Path::new("/")).is_ok());
    match meant {
        Some(meant) => wrong.with(format!("did you mean {}?", quoted(meant))),
        None => wrong.with("write \"NAME:PORT\""),
    }
}

/// `NAME:PORT`, and what else people write that is no IP address with a port.
fn named(text: &str) -> Result<Server, Wrong> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let Some((host, port)) = text.rsplit_once(':').filter(|_| bare.len() == text.len()) else {
        return Err(without_port(text));
    };
    if let Ok(ip) = host.parse::<Ipv6Addr>() {
        return Err(no_server(text).with(format!("did you mean \"[{ip}]:{port}\"?")));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(without_port(text));
    }
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let port = match port.parse::<u16>() {
        Ok(0) if digits => return Err(port_zero(text)),
        Ok(port) if digits => port,
        _ => {
            let wrong = Wrong::new(format!("{} is no port, as in {}", quoted(port), quoted(text)));
            return Err(wrong.with("a port is a number from 1 to 65535"));
        }
    };
    match host_fault(host) {
        None => Ok(Server::Name { host: host.to_owned(), port }),
        Some(wrong) if matches!(host, "" | "*") => {
            Err(wrong.with(format!("did you mean \"127.0.0.1:{port}\"?")))
        }
        Some(wrong) => Err(wrong),
    }
}

fn without_port(text: &str) -> Wrong {
    if let Ok(port @ 1..) = text.parse::<u16>() {
        return no_server(text).with(format!("did you mean \"127.0.0.1:{port}\"?"));
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let shown = match bare.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
        Ok(IpAddr::V4(ip)) => ip.to_string(),
        Err(_) => match host_fault(text) {
            None => text.to_owned(),
            Some(wrong) => return wrong,
        },
    };
    Wrong::new(format!("{} has no port", quoted(text))).with(format!("write \"{shown}:PORT\""))
}

/// What keeps a text from being a host name (RFC 1123, 2.1; `_` is in use all the same).
fn host_fault(host: &str) -> Option<Wrong> {
    let wrong = |why: String| Some(Wrong::new(format!("{} is no host name{why}", quoted(host))));
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if let Some(bad) = host.chars().find(|c| !fits(*c)) {
        return wrong(format!("; it holds '{}'", bad.escape_debug()));
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let good =
        |label: &str| (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-');
    if name.len() > 253 || !name.split('.').all(good) {
        return wrong(String::new());
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return wrong(" and no IP address".to_owned());
    }
    None
}
