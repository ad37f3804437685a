//! One `service.http.route`: where it applies, its one action, its headers.

use super::{folder, upstream};
use crate::config::notes::At;
use crate::config::problem::quoted;
use crate::config::read::{Section, must_be};
use crate::config::resolve::Resolver;
use crate::config::suggest;
use crate::config::types::{Action, Files, Proxy, Redirect, Respond, Route};
use crate::config::values::{self, Wrong};
use crate::config::words::StatusForm;

/// `None` if it has no path or no action, which has been noted.
pub(super) fn route(section: &Section<'_>, machine: &dyn Resolver) -> Option<Route> {
    let path = path(section);
    let host = host(section);
    let action = action(section, machine);
    let headers = headers(section);
    note_repeated(section, &headers);
    Some(Route { path: path?, host, action: action?, headers })
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

const ACTIONS: [&str; 6] = ["respond", "proxy", "redirect", "files", "health", "status"];

fn action(section: &Section<'_>, machine: &dyn Resolver) -> Option<Action> {
    let written: Vec<&str> = ACTIONS.into_iter().filter(|key| section.has(key)).collect();
    match written[..] {
        ["respond"] => Some(Action::Respond(respond(&section.table("respond")))),
        ["proxy"] => Some(Action::Proxy(proxy(&section.table("proxy")))),
        ["redirect"] => redirect(&section.table("redirect")).map(Action::Redirect),
        ["files"] => files(&section.table("files"), machine).map(Action::Files),
        ["health"] => section.word("health").map(Action::Health),
        ["status"] => section.word("status").map(|form| match form {
            StatusForm::Json => Action::Status,
        }),
        _ => {
            let has = if written.is_empty() { "none".to_owned() } else { written.join(" and ") };
            let [most @ .., last] = ACTIONS;
            let message =
                format!("a route has exactly one of {} and {last}; this one has {has}", most.join(", "));
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

fn proxy(section: &Section<'_>) -> Proxy {
    let upstreams = upstream::upstreams(section);
    let http2 = section.switch("http2").unwrap_or_default();
    let mut keep_alive = section.integer("keep_alive").unwrap_or(64);
    // Such a header names the client of a whole connection, which others must not share.
    if upstreams.proxy_protocol.is_some() {
        if http2 {
            let message = "service.http.route.proxy.http2: its connections are shared, but a PROXY protocol header names one client for the whole of one";
            let hint = "leave out http2 or proxy_protocol".to_owned();
            section.notes.error(section.at_key("http2"), message, Some(hint));
        }
        if section.has("keep_alive") && keep_alive > 0 {
            let message = "service.http.route.proxy.keep_alive: a kept connection is used for other clients, but a PROXY protocol header names one for the whole of it";
            let hint = "leave out keep_alive or proxy_protocol".to_owned();
            section.notes.error(section.at_key("keep_alive"), message, Some(hint));
        }
        keep_alive = 0;
    }
    Proxy {
        upstreams,
        http2,
        read_timeout: section.duration("read_timeout").unwrap_or_default(),
        write_timeout: section.duration("write_timeout").unwrap_or_default(),
        idle_timeout: section.duration("idle_timeout").unwrap_or_default(),
        keep_alive,
        keep_alive_timeout: section.duration("keep_alive_timeout").unwrap_or_default(),
        retries: section.integer("retries").unwrap_or_default(),
    }
}

fn redirect(section: &Section<'_>) -> Option<Redirect> {
    let to = section.read("to", |kind, value| match value.as_str() {
        Some(text) => redirect_fault(text).map_or_else(|| Ok(text.to_owned()), Err),
        None => Err(must_be(kind, value)),
    });
    let status = section.integer("status");
    Some(Redirect { to: to?, status: status? })
}

/// The tokens of `redirect.to`.
const TOKENS: [&str; 2] = ["host", "target"];

/// What keeps a text from being an http or https URL with tokens (RFC 3986).
fn redirect_fault(text: &str) -> Option<Wrong> {
    let schemes = ["http://", "https://"];
    let Some(rest) = schemes.iter().find_map(|scheme| text.strip_prefix(scheme)) else {
        let wrong = Wrong::new(format!("{} does not begin with \"http://\" or \"https://\"", quoted(text)));
        let meant = match text {
            _ if text.contains("://") || text.is_empty() => None,
            _ if text.starts_with('/') => Some(format!("https://{{host}}{text}")),
            _ => Some(format!("https://{text}")),
        };
        return Some(match meant {
            Some(meant) => wrong.with(format!("did you mean {}?", quoted(&meant))),
            None => wrong,
        });
    };
    if rest.is_empty() || rest.starts_with(['/', '?', '#']) || rest.starts_with("{target}") {
        let wrong = Wrong::new(format!("{} names no host", quoted(text)));
        return Some(wrong.with("write, for example, \"https://{host}{target}\""));
    }
    token_fault(rest)
}

/// The first brace that is no token's, or character that no URL holds.
fn token_fault(text: &str) -> Option<Wrong> {
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| !c.is_ascii_graphic() || "\"<>\\^`{|}".contains(c)) {
        let found = &rest[at..];
        if let Some(after) =
            TOKENS.iter().find_map(|token| found.strip_prefix('{')?.strip_prefix(token)?.strip_prefix('}'))
        {
            rest = after;
            continue;
        }
        let token = found.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        return Some(match token {
            Some((name, _)) => {
                let wrong = Wrong::new(format!("there is no token {}", quoted(&format!("{{{name}}}"))));
                match suggest::nearest(name, TOKENS) {
                    Some(known) => wrong.with(format!("did you mean \"{{{known}}}\"?")),
                    None => wrong.with("{host} and {target} are replaced"),
                }
            }
            None => {
                let bad = found.chars().next().unwrap_or_default();
                Wrong::new(format!("it holds '{}', which a URL can't", bad.escape_debug()))
            }
        });
    }
    None
}

fn files(section: &Section<'_>, machine: &dyn Resolver) -> Option<Files> {
    let root = section.read("root", |kind, value| match value.as_str() {
        Some(text) => {
            let path = values::absolute(text, section.notes.folder)?;
            folder(&path, "name the folder that holds the files", machine)
        }
        None => Err(must_be(kind, value)),
    });
    let index = section.read("index", |kind, value| match value.as_str() {
        Some(text) => index_fault(text).map_or_else(|| Ok(text.to_owned()), Err),
        None => Err(must_be(kind, value)),
    });
    let precompressed = section.switch("precompressed");
    Some(Files { root: root?, index: index?, precompressed: precompressed? })
}

fn index_fault(index: &str) -> Option<Wrong> {
    if index.contains('/') || matches!(index, "." | "..") {
        let wrong = Wrong::new(format!("{} is no bare file name", quoted(index)));
        return Some(wrong.with("an index is looked for in each folder: leave the folder out"));
    }
    let holds_control = index.contains(char::is_control);
    holds_control.then(|| Wrong::new(format!("the file name {} holds a control character", quoted(index))))
}

/// A header as written: offset of its name, name, value if that is text.
type Written = (usize, String, Option<String>);

/// The headers of a route or of its response, in the order written.
fn headers(section: &Section<'_>) -> Vec<(String, String)> {
    let Some((table_at, _)) = section.find("headers") else { return Vec::new() };
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
    let mut headers = Vec::new();
    for (offset, name, value) in written.unwrap_or_default() {
        match header_fault(&name, value.as_deref()) {
            Some(fault) => {
                let at = At { offset, ..table_at };
                section.notes.error(at, format!("{}: {fault}", section.row("headers").path), None);
            }
            None => headers.push((name, value.unwrap_or_default())),
        }
    }
    headers
}

/// A header can be set to one value only; names are compared as HTTP does, without case.
fn note_repeated(section: &Section<'_>, headers: &[(String, String)]) {
    for (index, (name, _)) in headers.iter().enumerate() {
        if headers[..index].iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            let message = format!("service.http.route.headers: {} is there twice", quoted(name));
            section.notes.error(section.at_key("headers"), message, Some("keep one of the two".to_owned()));
        }
    }
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
