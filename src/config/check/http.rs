//! `service.http`: limits, timeouts and routes.

use crate::config::notes::At;
use crate::config::problem::quoted;
use crate::config::read::{Section, must_be};
use crate::config::types::{Action, Http, Respond, Route};
use crate::config::words::StatusForm;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

pub(super) fn http(section: &Section<'_>) -> Http {
    Http {
        routes: routes(section),
        header_timeout: section.duration("header_timeout").unwrap_or_default(),
        body_timeout: section.duration("body_timeout").unwrap_or_default(),
        write_timeout: section.duration("write_timeout").unwrap_or_default(),
        keep_alive: section.duration("keep_alive").unwrap_or_default(),
        max_header_size: section.size("max_header_size").unwrap_or_default(),
        max_headers: section.integer("max_headers").unwrap_or_default(),
        max_body: section.size("max_body").unwrap_or_default(),
    }
}

/// What stands for `http` when it is missing, which has been noted.
pub(super) fn nothing() -> Http {
    let never = Duration::ZERO;
    Http {
        routes: Vec::new(),
        header_timeout: never,
        body_timeout: never,
        write_timeout: never,
        keep_alive: never,
        max_header_size: 0,
        max_headers: 0,
        max_body: 0,
    }
}

fn routes(section: &Section<'_>) -> Vec<Route> {
    let sections = section.tables("route");
    let none =
        section.find("route").is_none_or(|(_, value)| value.as_array().is_some_and(|array| array.is_empty()));
    if none {
        let message = "service.http: there is no route, so every request would be answered with 404";
        section.notes.error(
            section.at_key("route"),
            message,
            Some("add route = [{ path = \"/\", … }]".to_owned()),
        );
    }
    let mut routes = Vec::new();
    let mut seen: HashMap<(Option<String>, String), At> = HashMap::new();
    for section in &sections {
        let Some(route) = route(section) else { continue };
        let at = section.at_key("path");
        match seen.get(&(route.host.clone(), route.path.clone())) {
            None => _ = seen.insert((route.host.clone(), route.path.clone()), at),
            Some(first) => {
                let message =
                    format!("the route {} exists already, at {}", shown(&route), section.notes.place(*first));
                section.notes.error(at, message, Some("remove one of the two".to_owned()));
            }
        }
        routes.push(route);
    }
    routes.sort_by(|a, b| order(a).cmp(&order(b)));
    routes
}

/// Routes with a host first, by host; then the longest path; the text only to be deterministic.
fn order(route: &Route) -> (bool, Option<&str>, Reverse<usize>, &str) {
    (route.host.is_none(), route.host.as_deref(), Reverse(route.path.len()), &route.path)
}

fn shown(route: &Route) -> String {
    quoted(&format!("{}{}", route.host.as_deref().unwrap_or(""), route.path))
}

fn route(section: &Section<'_>) -> Option<Route> {
    let path = path(section);
    let host = host(section);
    let action = action(section);
    Some(Route { path: path?, host, action: action? })
}

fn path(section: &Section<'_>) -> Option<String> {
    let path = section.text("path")?;
    let fault = if !path.starts_with('/') {
        Some("starts with \"/\"".to_owned())
    } else {
        let never = |c: char| !c.is_ascii_graphic() || matches!(c, '?' | '#' | '"' | '<' | '>');
        path.chars()
            .find(|c| never(*c))
            .map(|c| format!("holds no '{}', which no request's path does", c.escape_debug()))
    };
    match fault {
        None => Some(path),
        Some(fault) => {
            let message = format!("service.http.route.path: {} can't match; a path {fault}", quoted(&path));
            section.notes.error(section.at_key("path"), message, None);
            None
        }
    }
}

fn host(section: &Section<'_>) -> Option<String> {
    let host = section.text("host")?.to_ascii_lowercase();
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let good = match bare {
        Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        }
    };
    if good {
        return Some(host);
    }
    let hint = match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') && port.parse::<u16>().is_ok() => {
            Some("leave the port out".to_owned())
        }
        _ => None,
    };
    section.notes.error(
        section.at_key("host"),
        format!("service.http.route.host: {} is no host name", quoted(&host)),
        hint,
    );
    None
}

fn action(section: &Section<'_>) -> Option<Action> {
    let written: Vec<&str> =
        ["respond", "health", "status"].into_iter().filter(|key| section.has(key)).collect();
    match written[..] {
        ["respond"] => Some(Action::Respond(respond(&section.table("respond")))),
        ["health"] => section.word("health").map(Action::Health),
        ["status"] => section.word("status").map(|form| match form {
            StatusForm::Json => Action::Status,
        }),
        _ => {
            let has = if written.is_empty() { "none".to_owned() } else { written.join(" and ") };
            let message =
                format!("a route has exactly one of respond, health and status; this one has {has}");
            section.notes.error(section.at, message, None);
            None
        }
    }
}

fn respond(section: &Section<'_>) -> Respond {
    let status = section.integer("status").unwrap_or_default();
    let body = section.text("body").unwrap_or_default();
    if matches!(status, 204 | 205 | 304) && !body.is_empty() {
        section.notes.error(
            section.at_key("body"),
            format!("service.http.route.respond.body: a response {status} has no body"),
            None,
        );
    }
    Respond { status, body, headers: headers(section), delay: section.duration("delay").unwrap_or_default() }
}

/// A header as written: offset of its name, name, value if that is text.
type Written = (usize, String, Option<String>);

fn headers(section: &Section<'_>) -> Vec<(String, String)> {
    let written = section.read("headers", |kind, value| match value.as_table() {
        Some(table) => {
            let mut written: Vec<Written> = table
                .iter()
                .map(|(name, value)| {
                    (
                        name.span().start,
                        name.get_ref().to_string(),
                        value.get_ref().as_str().map(str::to_owned),
                    )
                })
                .collect();
            written.sort();
            Ok(written)
        }
        None => Err(must_be(kind, value)),
    });
    let file = section.at_key("headers").file;
    let mut headers = Vec::new();
    for (offset, name, value) in written.unwrap_or_default() {
        match header_fault(&name, value.as_deref()) {
            Some(fault) => section.notes.error(
                At { file, offset },
                format!("service.http.route.respond.headers: {fault}"),
                None,
            ),
            None => headers.push((name, value.unwrap_or_default())),
        }
    }
    headers
}

/// Names are tokens of RFC 9110, 5.6.2; values visible ASCII, spaces and tabs.
fn header_fault(name: &str, value: Option<&str>) -> Option<String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let Some(value) = value else {
        return Some(format!("the value of {} is not text", quoted(name)));
    };
    if name.is_empty() || name.len() > 256 || !name.bytes().all(token) {
        return Some(format!("{} is no header name", quoted(name)));
    }
    if let Some(bad) = value.chars().find(|c| !(c.is_ascii_graphic() || matches!(c, ' ' | '\t'))) {
        return Some(format!(
            "the value of {} holds '{}', which a header can't carry",
            quoted(name),
            bad.escape_debug()
        ));
    }
    if ["content-length", "transfer-encoding", "connection"].contains(&name.to_ascii_lowercase().as_str()) {
        return Some(format!("{} is masterd's own; leave it out", quoted(name)));
    }
    None
}
