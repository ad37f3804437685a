//! `service.http`: limits, timeouts, and the order of its routes. What a route holds is `route`'s.

use super::route::route;
use crate::config::notes::At;
use crate::config::problem::quoted;
use crate::config::read::Section;
use crate::config::resolve::Resolver;
use crate::config::types::{Http, Route};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

pub(super) fn http(section: &Section<'_>, machine: &dyn Resolver) -> Http {
    Http {
        routes: routes(section, machine),
        header_timeout: section.duration("header_timeout").unwrap_or_default(),
        body_timeout: section.duration("body_timeout").unwrap_or_default(),
        write_timeout: section.duration("write_timeout").unwrap_or_default(),
        keep_alive: section.duration("keep_alive").unwrap_or_default(),
        max_header_size: section.size("max_header_size").unwrap_or_default(),
        max_headers: section.integer("max_headers").unwrap_or_default(),
        max_body: section.size("max_body").unwrap_or_default(),
        http2: section.switch("http2").unwrap_or_default(),
        max_streams: section.integer("max_streams").unwrap_or_default(),
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
        http2: false,
        max_streams: 0,
    }
}

fn routes(section: &Section<'_>, machine: &dyn Resolver) -> Vec<Route> {
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
        let Some(route) = route(section, machine) else { continue };
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
