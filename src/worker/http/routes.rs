//! Which route answers a request.
//!
//! Routes come sorted from the config: the first whose host and path prefix match wins. A prefix is
//! plain, as in nginx: `/a` matches `/a`, `/a/b` and `/ab`. Answers are made ready once, tokens and all.

use crate::config;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, StatusCode};
use std::rc::Rc;
use std::time::Duration;

/// What replaces `{pid}`, `{generation}` and `{seat}`.
#[derive(Clone, Copy, Debug)]
pub struct Tokens {
    pub pid: i32,
    pub generation: u64,
    pub seat: u32,
}

#[derive(Debug)]
pub struct Routes {
    list: Vec<Route>,
    any_host: bool,
}

#[derive(Debug)]
struct Route {
    host: Option<String>,
    path: String,
    action: Action,
}

/// What a route does.
#[derive(Clone, Debug)]
pub enum Action {
    Respond(Rc<Canned>),
    Live,
    Ready,
    Status,
}

/// An answer made ready.
#[derive(Debug)]
pub struct Canned {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub delay: Duration,
}

impl Routes {
    pub fn new(routes: &[config::Route], tokens: &Tokens) -> Routes {
        let list = routes.iter().map(|route| Route {
            host: route.host.clone(),
            path: route.path.clone(),
            action: match &route.action {
                config::Action::Respond(respond) => Action::Respond(Rc::new(Canned::new(respond, tokens))),
                config::Action::Health(config::Health::Live) => Action::Live,
                config::Action::Health(config::Health::Ready) => Action::Ready,
                config::Action::Status => Action::Status,
            },
        });
        Routes { list: list.collect(), any_host: routes.iter().all(|route| route.host.is_none()) }
    }

    /// The action for a request, if a route matches.
    pub fn find<B>(&self, request: &Request<B>) -> Option<&Action> {
        let path = request.uri().path();
        let host = if self.any_host { None } else { host_of(request) };
        let matches = |route: &&Route| {
            path.starts_with(route.path.as_str())
                && route
                    .host
                    .as_deref()
                    .is_none_or(|want| host.is_some_and(|host| host.eq_ignore_ascii_case(want)))
        };
        self.list.iter().find(matches).map(|route| &route.action)
    }
}

/// The host asked for, without port: of an absolute target, else of the `Host` header (RFC 9112, 3.3).
fn host_of<B>(request: &Request<B>) -> Option<&str> {
    if let Some(host) = request.uri().host() {
        return Some(host);
    }
    let value = request.headers().get(hyper::header::HOST)?.to_str().ok()?.trim();
    if value.starts_with('[') {
        return value.find(']').map(|end| &value[..=end]);
    }
    Some(value.split(':').next().unwrap_or(value))
}

impl Canned {
    fn new(respond: &config::Respond, tokens: &Tokens) -> Canned {
        let body = respond
            .body
            .replace("{pid}", &tokens.pid.to_string())
            .replace("{generation}", &tokens.generation.to_string())
            .replace("{seat}", &tokens.seat.to_string());
        let mut headers = HeaderMap::new();
        for (name, value) in &respond.headers {
            // The config has checked both; a pair that is no header all the same is left out.
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()))
            {
                headers.append(name, value);
            }
        }
        if !body.is_empty() && !headers.contains_key(CONTENT_TYPE) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        }
        let status = StatusCode::from_u16(respond.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Canned { status, headers, body: Bytes::from(body), delay: respond.delay }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Health, Respond};

    fn respond(body: &str) -> config::Action {
        let respond = Respond { status: 200, body: body.into(), headers: vec![], delay: Duration::ZERO };
        config::Action::Respond(respond)
    }

    fn routes() -> Routes {
        let route = |path: &str, host: Option<&str>, action| config::Route {
            path: path.into(),
            host: host.map(Into::into),
            action,
        };
        let list = [
            route("/", Some("a.example"), respond("a")),
            route("/live", None, config::Action::Health(Health::Live)),
            route("/long", None, respond("{pid} {generation} {seat} {other}")),
            route("/", None, respond("any")),
        ];
        Routes::new(&list, &Tokens { pid: 11, generation: 7, seat: 3 })
    }

    fn body(target: &str, host: &str) -> String {
        let request = Request::builder().uri(target).header("host", host).body(()).unwrap();
        match routes().find(&request) {
            Some(Action::Respond(canned)) => String::from_utf8(canned.body.to_vec()).unwrap(),
            Some(action) => format!("{action:?}"),
            None => "none".into(),
        }
    }

    #[test]
    fn the_first_match_wins_and_a_prefix_is_plain() {
        assert_eq!(body("/long?x=1", "h"), "11 7 3 {other}");
        assert_eq!(body("/longer/than", "h"), "11 7 3 {other}");
        assert_eq!(body("/lon", "h"), "any");
        assert_eq!(body("/live/x", "h"), "Live");
        assert_eq!(body("*", "h"), "none");
    }

    #[test]
    fn the_host_comes_without_port_and_in_any_case() {
        assert_eq!(body("/live", "A.Example:8080"), "a");
        assert_eq!(body("/live", "a.example.org"), "Live");
        assert_eq!(body("http://a.example/x", "b"), "a");
        assert_eq!(body("/live", "[::1]:80"), "Live");
    }
}
