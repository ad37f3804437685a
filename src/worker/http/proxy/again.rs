//! What a request can be made from once more after an attempt has swallowed it.
//!
//! Hardly ever is that needed, and every request is to be ready for it: with HTTP/1.1 a `Duplicate` keeps the head's bytes as
//! they leave, which is read back only then; it has nothing of a request whose second delivery may do harm. Over HTTP/2 a
//! `Spare` is a list of the fields of any request: the server may say that it has not looked at it.
//! Never: decides whether a request is sent again, keeps a body.

use super::course::is_idempotent;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri, Version};
use std::cell::{Cell, RefCell};

/// Bytes for which a connection keeps room from one head to the next.
const ROOM: usize = 2048;

/// The head that a connection has sent last, as it was sent.
#[derive(Debug, Default)]
pub struct Duplicate {
    wanted: Cell<bool>,
    bytes: RefCell<Vec<u8>>,
}

impl Duplicate {
    /// The next head is about to be sent.
    pub fn prepare<B>(&self, request: &Request<B>) {
        let mut bytes = self.bytes.borrow_mut();
        bytes.clear();
        bytes.shrink_to(ROOM);
        self.wanted.set(is_idempotent(request.method()));
    }

    /// Bytes are sent: a head comes in one piece, perhaps with the beginning of its body.
    pub fn take(&self, bytes: &[u8]) {
        if self.wanted.replace(false) {
            self.bytes.borrow_mut().extend_from_slice(bytes);
        }
    }

    /// The request again, but for its body; `None` if it may do harm, or was not sent.
    pub fn read_back(&self) -> Option<Request<()>> {
        let bytes = self.bytes.borrow();
        let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
        let mut lines = vec![httparse::EMPTY_HEADER; lines];
        let mut head = httparse::Request::new(&mut lines);
        if !head.parse(&bytes).is_ok_and(|end| end.is_complete()) {
            return None;
        }
        let mut request = Request::new(());
        *request.method_mut() = Method::from_bytes(head.method?.as_bytes()).ok()?;
        *request.uri_mut() = Uri::try_from(head.path?).ok()?;
        for field in head.headers.iter() {
            let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
            request.headers_mut().append(name, HeaderValue::from_bytes(field.value).ok()?);
        }
        Some(request)
    }
}

/// A request's head without an index.
pub struct Spare {
    method: Method,
    uri: Uri,
    version: Version,
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Spare {
    /// What there is of a request but its body.
    pub fn of<B>(request: &Request<B>) -> Spare {
        let fields = request.headers().iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let (method, uri) = (request.method().clone(), request.uri().clone());
        Spare { method, uri, version: request.version(), fields }
    }

    /// The request again, but for its body.
    pub fn into_request(self) -> Request<()> {
        let mut headers = HeaderMap::with_capacity(self.fields.len());
        for (name, value) in self.fields {
            headers.append(name, value);
        }
        let mut request = Request::new(());
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.version_mut() = self.version;
        *request.headers_mut() = headers;
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str) -> Request<()> {
        let request = Request::builder().method(method).uri("/a?b=%20").header("host", "h:80");
        request.header("x-odd", &b"\xe4 \t b"[..]).header("x-two", "1").header("x-two", "2").body(()).unwrap()
    }

    /// As it is sent, in two pieces, of which the second one is no part of the head.
    fn sent(method: &str) -> Duplicate {
        let copy = Duplicate::default();
        copy.prepare(&request(method));
        let head = b"/a?b=%20 HTTP/1.1\r\nhost: h:80\r\nx-odd: \xe4 \t b\r\nx-two: 1\r\nx-two: 2\r\n\r\nbo";
        copy.take(&[method.as_bytes(), b" ", head].concat());
        copy.take(b"dy");
        copy
    }

    fn parts(request: Option<Request<()>>) -> Option<(Method, Uri, HeaderMap)> {
        let (parts, ()) = request?.into_parts();
        Some((parts.method, parts.uri, parts.headers))
    }

    #[test]
    fn what_was_sent_is_read_back_as_it_was() {
        let wanted = parts(Some(request("PUT")));
        assert_eq!(parts(sent("PUT").read_back()), wanted);
        for method in ["PUT", "POST"] {
            let spare = Spare::of(&request(method)).into_request();
            assert_eq!(parts(Some(spare)), parts(Some(request(method))), "{method}");
        }
    }

    #[test]
    fn what_may_do_harm_or_was_not_sent_is_not_there() {
        for method in ["POST", "PATCH", "put", "QUERY"] {
            assert_eq!(parts(sent(method).read_back()), None, "{method}");
        }
        let copy = sent("GET");
        copy.prepare(&request("GET"));
        assert_eq!(parts(copy.read_back()), None, "the one before");
    }

    #[test]
    fn a_large_head_does_not_stay() {
        let copy = Duplicate::default();
        copy.prepare(&request("GET"));
        copy.take(&[b'x'; 64 * ROOM]);
        copy.prepare(&request("GET"));
        assert!(copy.bytes.borrow().capacity() <= ROOM);
    }
}
