//! What the access log's line of a request needs, kept from its head to the end of its answer.
//!
//! A `Docket` goes with each exchange; it stays empty where there is no access log. What is kept are references to
//! what hyper has read, not copies.

use crate::model::Class;
use crate::sys::net::Peer;
use crate::worker::access_log::{AccessLog, Entry, Request, UNANSWERED, Upstream, What};
use crate::worker::shared::Shared;
use crate::worker::who::Who;
use hyper::header::{HOST, HeaderValue, REFERER, USER_AGENT};
use hyper::{Method, Uri, Version};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::time::Duration;

/// One request's notes.
#[derive(Debug, Default)]
pub struct Docket {
    noted: RefCell<Option<Box<Noted>>>,
    status: Cell<u16>,
    /// Bytes of the answer's body that hyper has taken.
    sent: Cell<u64>,
    /// Who answered, and how long that took.
    upstream: RefCell<Option<(String, Duration)>>,
}

#[derive(Debug)]
struct Noted {
    method: Method,
    uri: Uri,
    version: Version,
    referer: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    host: Option<HeaderValue>,
}

impl Docket {
    /// A request has begun.
    pub fn open<B>(&self, shared: &Shared, request: &hyper::Request<B>) {
        if shared.access_log.is_none() {
            return;
        }
        let header = |name| request.headers().get(name).cloned();
        let noted = Noted {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            referer: header(REFERER),
            user_agent: header(USER_AGENT),
            host: header(HOST),
        };
        *self.noted.borrow_mut() = Some(Box::new(noted));
        self.status.set(UNANSWERED);
        self.sent.set(0);
        self.upstream.take();
    }

    pub fn answered(&self, status: u16) {
        self.status.set(status);
    }

    pub fn sent(&self, bytes: u64) {
        self.sent.set(self.sent.get() + bytes);
    }

    /// An upstream has sent its head, or has failed to.
    pub fn upstream(&self, name: &str, took: Duration) {
        if self.noted.borrow().is_some() {
            *self.upstream.borrow_mut() = Some((name.to_owned(), took));
        }
    }

    /// The request is over: writes its line.
    pub fn close(&self, shared: &Shared, peer: Peer, class: Class, took: Duration) {
        let (Some(log), Some(noted)) = (&shared.access_log, self.noted.take()) else { return };
        let upstream = self.upstream.take();
        let upstream = upstream.as_ref().map(|(address, took)| Upstream { address, took: *took });
        // An absolute target, as for a proxy, or an authority alone is rare enough to be put together.
        let target = match (noted.uri.authority(), noted.uri.path_and_query()) {
            (_, Some(path)) if noted.version == Version::HTTP_2 => Cow::Borrowed(path.as_str()),
            (None, Some(path)) => Cow::Borrowed(path.as_str()),
            _ => Cow::Owned(noted.uri.to_string()),
        };
        let host = noted.host.as_ref().map(HeaderValue::as_bytes);
        let request = Request {
            method: noted.method.as_str(),
            target: target.as_bytes(),
            version: version(noted.version),
            status: self.status.get(),
            referer: noted.referer.as_ref().map(HeaderValue::as_bytes),
            user_agent: noted.user_agent.as_ref().map(HeaderValue::as_bytes),
            host: host.or_else(|| noted.uri.authority().map(|authority| authority.as_str().as_bytes())),
        };
        let (peer, bytes, what) = (Who::new(peer), self.sent.get(), What::Request(request));
        log.write(&Entry { peer, class, bytes, took, upstream, what });
    }
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// The line of what could not be read as a request, or did not come in time.
pub fn no_request(log: &AccessLog, peer: Peer, status: u16, took: Duration) {
    let what = What::NoRequest { status };
    log.write(&Entry { peer: Who::new(peer), class: Class::Http, bytes: 0, took, upstream: None, what });
}
