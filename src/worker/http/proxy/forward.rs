//! What of a message's head goes on to the next hop: rules of RFC 9110, 7.6.1 and 7.2, without I/O.
//!
//! `request` and `response` change a head in place, or say why it can't be forwarded. Framing is not passed on:
//! hyper frames each hop by itself, from a length that was checked here, or in chunks.
//! Never: lets a head through that another parser could read in another way.

use crate::sys::net::Peer;
use bytes::Bytes;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, TE, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request;
use hyper::http::uri::{Authority, PathAndQuery, Uri};
use hyper::{Method, StatusCode, Version};
use std::cell::RefCell;
use std::fmt::Write;
use std::net::Ipv6Addr;

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// A request that is answered here: with what, and why.
pub type Refusal = (StatusCode, &'static str);

/// Who asks, and how he reached us.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    pub peer: Peer,
    pub encrypted: bool,
    /// What was said of him last: most requests of a connection are for the same host.
    pub known: &'a RefCell<Option<Known>>,
}

/// What is said of a client to upstreams, made once.
#[derive(Clone, Debug)]
pub struct Known {
    host: Option<HeaderValue>,
    address: HeaderValue,
    forwarded: HeaderValue,
}

impl Known {
    fn new(client: Client<'_>, host: Option<&HeaderValue>) -> Known {
        let proto = client.proto();
        let (address, mut element) = match client.peer {
            Peer::Tcp(address) if address.is_ipv4() => {
                let ip = address.ip().to_string();
                (ip.clone(), format!("for={ip}"))
            }
            Peer::Tcp(address) => {
                let ip = address.ip().to_string();
                let element = format!("for=\"[{ip}]\"");
                (ip, element)
            }
            Peer::Unix => ("unix:".to_owned(), "for=unknown".to_owned()),
        };
        // Writing to a string can't fail. A host that needs quoting is quoted; it holds no quote itself.
        if let Some(host) = host.and_then(|host| host.to_str().ok()).filter(|host| !host.is_empty()) {
            let _ = write!(element, ";host=\"{host}\"");
        }
        let _ = write!(element, ";proto={proto}");
        let value = |text: String| HeaderValue::from_maybe_shared(Bytes::from(text));
        let nothing = || HeaderValue::from_static("");
        Known {
            host: host.cloned(),
            address: value(address).unwrap_or_else(|_| nothing()),
            forwarded: value(element).unwrap_or_else(|_| nothing()),
        }
    }
}

impl Client<'_> {
    fn proto(self) -> &'static str {
        if self.encrypted { "https" } else { "http" }
    }
}

/// Whether a request asks for a WebSocket (RFC 6455, 4.1; HTTP/1.1 only).
pub fn wants_websocket(parts: &request::Parts) -> bool {
    parts.version == Version::HTTP_11
        && parts.method == Method::GET
        && names_token(&parts.headers, &CONNECTION, "upgrade")
        && is_single(&parts.headers, &UPGRADE, b"websocket")
}

/// Makes a client's head one for the upstream. `http2` is the upstream's protocol.
pub fn request(parts: &mut request::Parts, client: Client<'_>, http2: bool) -> Result<(), Refusal> {
    framing(parts)?;
    expectation(&mut parts.headers)?;
    let websocket = !http2 && wants_websocket(parts);
    let trailers = names_token(&parts.headers, &TE, "trailers");
    let host = host(parts)?;
    if parts.version == Version::HTTP_2 {
        one_cookie(&mut parts.headers);
    }
    drop_hop_by_hop(&mut parts.headers);
    if websocket {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    } else if trailers {
        parts.headers.insert(TE, HeaderValue::from_static("trailers"));
        if !http2 {
            parts.headers.insert(CONNECTION, HeaderValue::from_static("te"));
        }
    }
    say_who(&mut parts.headers, client, host.as_ref());
    target(parts, host, http2)
}

/// The lengths and codings that a request's body may be framed by.
fn framing(parts: &mut request::Parts) -> Result<(), Refusal> {
    let headers = &mut parts.headers;
    let refused = |why| Err((StatusCode::BAD_REQUEST, why));
    if headers.contains_key(TRANSFER_ENCODING) {
        if headers.contains_key(CONTENT_LENGTH) {
            return refused("both Content-Length and Transfer-Encoding\n");
        }
        if !is_single(headers, &TRANSFER_ENCODING, b"chunked") {
            return Err((StatusCode::NOT_IMPLEMENTED, "no Transfer-Encoding but chunked is understood\n"));
        }
    }
    match one_length(headers) {
        Ok(()) => Ok(()),
        Err(()) => refused("the Content-Length is no length\n"),
    }
}

/// Several equal lengths become one; anything but digits is an error.
fn one_length(headers: &mut HeaderMap) -> Result<(), ()> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = values.next() else { return Ok(()) };
    let digits = |value: &HeaderValue| {
        let bytes = value.as_bytes();
        !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit)
    };
    let number = |value: &HeaderValue| value.to_str().ok().and_then(|text| text.parse::<u64>().ok());
    let length = number(first).filter(|_| digits(first)).ok_or(())?;
    let mut several = first.len() > 1 && first.as_bytes()[0] == b'0';
    for other in values {
        if !digits(other) || number(other) != Some(length) {
            return Err(());
        }
        several = true;
    }
    if several {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(())
}

/// hyper answers `100-continue` by itself when the body is first wanted.
fn expectation(headers: &mut HeaderMap) -> Result<(), Refusal> {
    if headers.contains_key(EXPECT) {
        if !is_single(headers, &EXPECT, b"100-continue") {
            return Err((StatusCode::EXPECTATION_FAILED, "no expectation but 100-continue can be met\n"));
        }
        headers.remove(EXPECT);
    }
    Ok(())
}

/// The host that is asked for (RFC 9112, 3.2.2): the target's authority, which a Host must agree with.
fn host(parts: &request::Parts) -> Result<Option<HeaderValue>, Refusal> {
    let refused = |why| Err((StatusCode::BAD_REQUEST, why));
    // That it can be a Host at all is looked at before any route is.
    let given = parts.headers.get(HOST);
    let Some(authority) = parts.uri.authority() else { return Ok(given.cloned()) };
    if authority.as_str().contains('@') {
        return refused("the target names a user\n");
    }
    if given.is_some_and(|given| !given.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes())) {
        return refused("the target and the Host disagree\n");
    }
    match HeaderValue::from_str(authority.as_str()) {
        Ok(value) => Ok(Some(value)),
        Err(_) => refused("the target's host is none\n"),
    }
}

/// `host` or `host:port`, an IPv6 address in brackets (RFC 3986, 3.2.2), and nothing beside it.
pub fn is_authority(host: &[u8]) -> bool {
    let (name, port) = match (host.first(), host.iter().position(|b| *b == b']')) {
        (Some(b'['), Some(end)) => (&host[1..end], &host[end + 1..]),
        (Some(b'['), None) => return false,
        _ => {
            let colon = host.iter().position(|b| *b == b':').unwrap_or(host.len());
            (&host[..colon], &host[colon..])
        }
    };
    let port = match port {
        [] => true,
        [b':', digits @ ..] => {
            digits.len() <= 5
                && digits.iter().all(u8::is_ascii_digit)
                && std::str::from_utf8(digits)
                    .is_ok_and(|text| text.is_empty() || text.parse::<u16>().is_ok())
        }
        _ => false,
    };
    let is_name = || {
        let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(byte);
        let escaped = |rest: &[u8]| rest.len() > 1 && rest[..2].iter().all(u8::is_ascii_hexdigit);
        let escapes = name.split(|byte| *byte == b'%').skip(1).all(escaped);
        !name.is_empty() && name.iter().all(legal) && escapes
    };
    let is_address = || std::str::from_utf8(name).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
    port && if host.first() == Some(&b'[') { is_address() } else { is_name() }
}

/// Drops what concerns one hop only: what `Connection` names, and what everybody knows.
fn drop_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let mut named = Vec::new();
        for value in headers.get_all(CONNECTION) {
            named.extend(tokens(value).filter_map(|token| HeaderName::from_bytes(token).ok()));
        }
        // A client can't have dropped what the message needs to be understood.
        for name in named.into_iter().filter(|name| *name != HOST && *name != CONTENT_LENGTH) {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    for name in [&KEEP_ALIVE, &PROXY_CONNECTION, &TE, &TRANSFER_ENCODING, &UPGRADE] {
        headers.remove(name);
    }
}

/// HTTP/2 clients may send a cookie in pieces, which HTTP/1.1 has to have in one (RFC 9113, 8.2.3).
fn one_cookie(headers: &mut HeaderMap) {
    let mut pieces = headers.get_all(COOKIE).iter();
    if pieces.next().is_none() || pieces.next().is_none() {
        return;
    }
    let pieces: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(whole) = HeaderValue::from_bytes(&pieces.join(&b"; "[..])) {
        headers.insert(COOKIE, whole);
    }
}

/// `X-Forwarded-*` and `Forwarded` (RFC 7239): the client's address behind those that others have noted.
fn say_who(headers: &mut HeaderMap, client: Client<'_>, host: Option<&HeaderValue>) {
    let mut known = client.known.borrow_mut();
    let known = match &mut *known {
        Some(known) if known.host.as_ref() == host => known,
        other => other.insert(Known::new(client, host)),
    };
    append(headers, &X_FORWARDED_FOR, &known.address);
    append(headers, &FORWARDED, &known.forwarded);
    headers.insert(X_FORWARDED_PROTO.clone(), HeaderValue::from_static(client.proto()));
    if let Some(host) = host {
        headers.insert(X_FORWARDED_HOST.clone(), host.clone());
    }
}

/// Adds one element to a list, in one line.
fn append(headers: &mut HeaderMap, name: &HeaderName, element: &HeaderValue) {
    if !headers.contains_key(name) {
        headers.insert(name.clone(), element.clone());
        return;
    }
    let mut whole = Vec::new();
    for value in headers.get_all(name) {
        whole.extend_from_slice(value.as_bytes());
        whole.extend_from_slice(b", ");
    }
    whole.extend_from_slice(element.as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&whole) {
        headers.insert(name.clone(), value);
    }
}

/// The target as the upstream is to see it: origin-form, or all of it for HTTP/2.
fn target(parts: &mut request::Parts, host: Option<HeaderValue>, http2: bool) -> Result<(), Refusal> {
    let refused = || (StatusCode::BAD_REQUEST, "the target can't be passed on\n");
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    if http2 {
        let authority = host.as_ref().and_then(|host| Authority::try_from(host.as_bytes()).ok());
        let authority = authority.unwrap_or_else(|| Authority::from_static("localhost"));
        let whole = Uri::builder().scheme("http").authority(authority).path_and_query(path);
        parts.uri = whole.build().map_err(|_| refused())?;
        parts.headers.remove(HOST);
        parts.version = Version::HTTP_2;
        return Ok(());
    }
    parts.uri = Uri::from(path);
    parts.version = Version::HTTP_11;
    // HTTP/1.1 has a Host always (RFC 9112, 3.2); an HTTP/1.0 client may have none to give.
    parts.headers.insert(HOST, host.unwrap_or_else(|| HeaderValue::from_static("")));
    Ok(())
}

/// Makes an upstream's head one for the client, or says what is wrong with it.
pub fn response(status: StatusCode, version: Version, headers: &mut HeaderMap) -> Result<(), &'static str> {
    if headers.contains_key(TRANSFER_ENCODING) {
        if headers.contains_key(CONTENT_LENGTH) {
            return Err("its answer has both Content-Length and Transfer-Encoding");
        }
        if version != Version::HTTP_11 || !is_single(headers, &TRANSFER_ENCODING, b"chunked") {
            return Err("its answer has a Transfer-Encoding that is not chunked");
        }
    }
    one_length(headers).map_err(|()| "its answer has a Content-Length that is none")?;
    drop_hop_by_hop(headers);
    headers.remove(PROXY_AUTHENTICATE);
    if status == StatusCode::NO_CONTENT {
        // RFC 9110, 8.6: a 204 has none, whatever it says.
        headers.remove(CONTENT_LENGTH);
    }
    Ok(())
}

/// Makes the head of a 101 one for the client.
pub fn switched(headers: &mut HeaderMap) {
    drop_hop_by_hop(headers);
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Trailers without what only a head may say (RFC 9110, 6.5.1).
pub fn trailers(headers: &mut HeaderMap) {
    drop_hop_by_hop(headers);
    let forbidden = [
        HOST,
        CONTENT_LENGTH,
        TRANSFER_ENCODING,
        EXPECT,
        hyper::header::AUTHORIZATION,
        hyper::header::CONTENT_ENCODING,
        hyper::header::CONTENT_TYPE,
        hyper::header::CONTENT_RANGE,
        hyper::header::TRAILER,
        hyper::header::SET_COOKIE,
        COOKIE,
        hyper::header::MAX_FORWARDS,
        hyper::header::CACHE_CONTROL,
        hyper::header::RANGE,
    ];
    for name in forbidden {
        headers.remove(name);
    }
}

/// The elements of a list of tokens.
fn tokens(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

fn names_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers.get_all(name).iter().any(|value| {
        tokens(value).any(|found| {
            let bare = found.split(|byte| *byte == b';').next().unwrap_or(found).trim_ascii();
            bare.eq_ignore_ascii_case(token.as_bytes())
        })
    })
}

/// One line of this header, with this value and nothing else.
fn is_single(headers: &HeaderMap, name: &HeaderName, wanted: &[u8]) -> bool {
    let mut values = headers.get_all(name).iter();
    values.next().is_some_and(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(wanted))
        && values.next().is_none()
}
