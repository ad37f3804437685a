//! Which route answers a request.
//!
//! Routes come sorted from the config: the first whose host and path prefix match wins. A prefix is
//! plain, as in nginx: `/a` matches `/a`, `/a/b` and `/ab`. Answers are made ready once, tokens and all.

use super::files::Site;
use super::proxy::Proxy;
use super::proxy::pool::Pools;
use crate::config;
use crate::worker::engine::Handle;
use crate::worker::engine::helpers::Helpers;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, StatusCode};
use slog::Logger;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What replaces `{pid}`, `{generation}` and `{seat}`.
#[derive(Clone, Copy, Debug)]
pub struct Tokens {
    pub pid: i32,
    pub generation: u64,
    pub seat: u32,
}

/// What routes are made with.
#[derive(Debug)]
pub struct Means {
    pub tokens: Tokens,
    pub engine: Rc<Handle>,
    pub helpers: Rc<Helpers>,
    pub log: Logger,
}

#[derive(Debug)]
pub struct Routes {
    list: Vec<Route>,
    any_host: bool,
}

#[derive(Debug)]
pub struct Route {
    host: Option<String>,
    path: String,
    pub action: Action,
    pub dress: Option<Rc<Dress>>,
}

/// What a route does.
#[derive(Clone, Debug)]
pub enum Action {
    Respond(Rc<Canned>),
    Live,
    Ready,
    Status,
    Proxy(Rc<Proxy>),
    Redirect(Rc<config::Redirect>),
    Files(Arc<Site>, Rc<Helpers>),
}

/// An answer made ready.
#[derive(Debug)]
pub struct Canned {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub delay: Duration,
}

/// Headers that a route sets on each of its answers, or takes away.
#[derive(Debug)]
pub struct Dress(Vec<(HeaderName, Option<HeaderValue>)>);

impl Dress {
    fn new(headers: &[(String, String)]) -> Option<Rc<Dress>> {
        // The config has checked both; a pair that is no header all the same is left out.
        let pair = |(name, value): &(String, String)| {
            let name = HeaderName::try_from(name.as_str()).ok()?;
            if value.is_empty() {
                return Some((name, None));
            }
            Some((name, Some(HeaderValue::try_from(value.as_str()).ok()?)))
        };
        let list: Vec<_> = headers.iter().filter_map(pair).collect();
        (!list.is_empty()).then(|| Rc::new(Dress(list)))
    }

    pub fn put_on(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.0 {
            match value {
                Some(value) => _ = headers.insert(name.clone(), value.clone()),
                None => _ = headers.remove(name),
            }
        }
    }
}

impl Action {
    fn new(action: &config::Action, means: &Means, pools: &Rc<Pools>) -> Result<Action, String> {
        let Means { tokens, helpers, log, .. } = means;
        Ok(match action {
            config::Action::Respond(respond) => Action::Respond(Rc::new(Canned::new(respond, tokens))),
            config::Action::Health(config::Health::Live) => Action::Live,
            config::Action::Health(config::Health::Ready) => Action::Ready,
            config::Action::Status => Action::Status,
            config::Action::Proxy(proxy) => Action::Proxy(Proxy::new(proxy, means, pools)),
            config::Action::Redirect(redirect) => Action::Redirect(Rc::new(redirect.clone())),
            config::Action::Files(config::Files { root, index, precompressed }) => {
                let site = Site::new(root, index, *precompressed, log.clone());
                let site =
                    site.map_err(|e| format!("the files of {} can't be served: {e}", root.display()))?;
                Action::Files(Arc::new(site), helpers.clone())
            }
        })
    }
}

impl Routes {
    /// Errors: a folder of files that can't be opened, in a sentence.
    pub fn new(routes: &[config::Route], means: &Means) -> Result<Routes, String> {
        let pools = Rc::new(Pools::default());
        let list = routes.iter().map(|route| {
            Ok(Route {
                host: route.host.clone(),
                path: route.path.clone(),
                action: Action::new(&route.action, means, &pools)?,
                dress: Dress::new(&route.headers),
            })
        });
        let any_host = routes.iter().all(|route| route.host.is_none());
        Ok(Routes { list: list.collect::<Result<_, String>>()?, any_host })
    }

    /// Every proxy there is.
    pub fn proxies(&self) -> impl Iterator<Item = &Rc<Proxy>> {
        self.list.iter().filter_map(|route| match &route.action {
            Action::Proxy(proxy) => Some(proxy),
            _ => None,
        })
    }

    /// The route for a request, if one matches.
    ///
    /// A path that can be read in several ways gets the longest route of any reading: what guards a path can't be
    /// gone round by spelling it otherwise.
    pub fn find<B>(&self, request: &Request<B>) -> Option<&Route> {
        let host = if self.any_host { None } else { host_of(request) };
        let of_host = |route: &Route| {
            route.host.as_deref().is_none_or(|want| host.is_some_and(|host| host.eq_ignore_ascii_case(want)))
        };
        let path = request.uri().path();
        if !path.contains('%') && !path.contains("/.") && !path.contains("//") {
            return self.list.iter().find(|route| path.starts_with(route.path.as_str()) && of_host(route));
        }
        let mut first = self.list.len();
        read(path, |reading| {
            let matches = |route: &Route| reading.starts_with(route.path.as_bytes()) && of_host(route);
            first = self.list[..first].iter().position(matches).unwrap_or(first);
        });
        self.list.get(first)
    }
}

/// Shows a path as whoever serves it may read it: `%61` is `a`, `/x/../y` is `/y`. What is passed on stays as it came.
///
/// The last reading is that of who decodes everything and follows each `..`. Those before it end at one of them: to
/// some an encoded slash is none, and then there is no `..` behind it.
fn read(path: &str, mut show: impl FnMut(&[u8])) {
    let decoded = decode(path.as_bytes());
    let mut reading = Vec::with_capacity(decoded.len() + 1);
    let mut in_folder = false;
    for part in decoded.split(|byte| *byte == b'/') {
        in_folder = matches!(part, b"" | b"." | b"..");
        match part {
            b"" | b"." => {}
            b".." => {
                reading.push(b'/');
                show(&reading);
                reading.pop();
                let up = reading.iter().rposition(|byte| *byte == b'/');
                reading.truncate(up.unwrap_or(0));
            }
            part => {
                reading.push(b'/');
                reading.extend_from_slice(part);
            }
        }
    }
    if in_folder {
        reading.push(b'/');
    }
    show(&reading);
}

/// Percent-encoded bytes as they are meant; what is no encoding stays.
fn decode(path: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, more)) = rest.split_first() {
        rest = more;
        let meant = match more {
            [high, low, ..] if byte == b'%' => digit(*high).zip(digit(*low)),
            _ => None,
        };
        match meant {
            Some((high, low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &more[2..];
            }
            None => bytes.push(byte),
        }
    }
    bytes
}

/// The host asked for, without port: of an absolute target, else of the `Host` header (RFC 9112, 3.3).
pub fn host_of<B>(request: &Request<B>) -> Option<&str> {
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
            headers: vec![],
        };
        let list = [
            route("/", Some("a.example"), respond("a")),
            route("/live", None, config::Action::Health(Health::Live)),
            route("/long", None, respond("{pid} {generation} {seat} {other}")),
            route("/", None, respond("any")),
        ];
        let poll = mio::Poll::new().unwrap();
        let engine = Rc::new(Handle::new(poll.registry()).unwrap());
        let log = Logger::root(slog::Discard, slog::o!());
        let tokens = Tokens { pid: 11, generation: 7, seat: 3 };
        Routes::new(&list, &Means { tokens, engine, helpers: Rc::new(Helpers::new()), log }).unwrap()
    }

    fn body(target: &str, host: &str) -> String {
        let request = Request::builder().uri(target).header("host", host).body(()).unwrap();
        match routes().find(&request).map(|route| &route.action) {
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
    fn another_spelling_of_a_path_is_the_same_path() {
        for path in
            ["/%6cive", "/x/../live", "//live", "/./live", "/x/%2e%2e/live", "/%2flive", "/%6Cive/%ff"]
        {
            assert_eq!(body(path, "h"), "Live", "{path}");
        }
        for path in
            ["/%6", "/%zz", "/..", "/%ff", "/li%00ve", "/%+6cive", "/%256cive", "/l/ive", "/x/..", "/%"]
        {
            assert_eq!(body(path, "h"), "any", "{path}");
        }
    }

    #[test]
    fn who_reads_less_into_a_path_is_led_nowhere_else() {
        for path in [
            "/live/..%2fx",
            "/live/../x",
            "/%6cive/%2e%2e/x",
            "/x/../live/..%2fx",
            "/live//../../x",
            "/a/b/..%2f..%2flive%2f..",
            "/live/../long",
        ] {
            assert_eq!(body(path, "h"), "Live", "{path}");
        }
        let mut seen = Vec::new();
        read("/a/./b//c/../%2e%2E/d/", |reading| seen.push(String::from_utf8_lossy(reading).into_owned()));
        assert_eq!(seen, ["/a/b/c/", "/a/b/", "/a/d/"]);
    }

    #[test]
    fn the_host_comes_without_port_and_in_any_case() {
        assert_eq!(body("/live", "A.Example:8080"), "a");
        assert_eq!(body("/live", "a.example.org"), "Live");
        assert_eq!(body("http://a.example/x", "b"), "a");
        assert_eq!(body("/live", "[::1]:80"), "Live");
    }
}
