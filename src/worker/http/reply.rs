//! What is answered, before it is an HTTP message of one protocol.
//!
//! Actions give a `Reply`; `Reply::dress` makes it hyper's response, with what the route and the connection add.

use super::exchange::Exchange;
use super::payload::{Content, Payload};
use super::routes::{Canned, Dress};
use bytes::Bytes;
use hyper::ext::ReasonPhrase;
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};
use std::borrow::Cow;
use std::rc::Rc;

pub enum Reply {
    Canned(Rc<Canned>),
    /// Words of our own.
    Text(StatusCode, Cow<'static, str>),
    Json(Bytes),
    Made(Made),
}

/// An answer with a head of its own.
pub struct Made {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub reason: Option<ReasonPhrase>,
    pub content: Content,
}

impl Made {
    /// Without a body.
    pub fn new(status: StatusCode, headers: HeaderMap) -> Made {
        Made { status, headers, reason: None, content: Content::Bytes(Bytes::new()) }
    }
}

impl Reply {
    /// The response for hyper.
    pub fn dress(self, exchange: &Exchange, dress: Option<&Dress>) -> Response<Payload> {
        let Made { status, mut headers, reason, content } = self.made();
        if let Some(dress) = dress {
            dress.put_on(&mut headers);
        }
        if let Exchange::Alone(talk) = exchange
            && status != StatusCode::SWITCHING_PROTOCOLS
        {
            // More input that is here already is answered first: it was sent before the client could know.
            if talk.shared.draining.get() && talk.is_quiet() {
                talk.we_close.set(true);
            }
            if talk.we_close.get() {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
        }
        exchange.answered(status.as_u16());
        let mut response = Response::new(Payload::new(content, exchange.clone()));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        if let Some(reason) = reason {
            response.extensions_mut().insert(reason);
        }
        response
    }

    fn made(self) -> Made {
        let (status, headers, body) = match self {
            Reply::Made(made) => return made,
            Reply::Canned(canned) => (canned.status, canned.headers.clone(), canned.body.clone()),
            Reply::Text(status, Cow::Borrowed(text)) => {
                (status, plain(), Bytes::from_static(text.as_bytes()))
            }
            Reply::Text(status, Cow::Owned(text)) => (status, plain(), Bytes::from(text)),
            Reply::Json(document) => (StatusCode::OK, typed("application/json"), document),
        };
        Made { content: Content::Bytes(body), ..Made::new(status, headers) }
    }
}

fn plain() -> HeaderMap {
    typed("text/plain; charset=utf-8")
}

fn typed(kind: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers
}
