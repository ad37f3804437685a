//! What of a message's head goes on to the next hop: rules of RFC 9110, 7.6.1 and 7.2, without I/O.
//!
//! `request` and `response` change a head in place, or say why it can't be forwarded. Framing is not passed on:
//! hyper frames each hop by itself, from a length that was checked here, or in chunks.
//! Never: lets a head through that another parser could read in another way.

use super::fields::Fields;
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
            // A copy: a reference would hold all that was read with it for as long as the connection lives.
            host: host.and_then(|host| HeaderValue::from_bytes(host.as_bytes()).ok()),
            address: value(address).unwrap_or_else(|_| nothing()),
            forwarded: value(element).unwrap_or_else(|_| nothing()),
        }
    }

    /// The last request that was passed on was for this host, too, and that is one.
    pub fn is_for(&self, host: &HeaderValue) -> bool {
        self.host.as_ref() == Some(host)
    }
}

impl Client<'_> {
    fn proto(self) -> &'static str {
        if self.encrypted { "https" } else { "http" }
    }
}

/// Whether a request asks for a WebSocket (RFC 6455, 4.1; HTTP/1.1 only).
fn wants_websocket(parts: &request::Parts) -> bool {
    parts.version == Version::HTTP_11
        && parts.method == Method::GET
        && names_token(&parts.headers, &CONNECTION, "upgrade")
        && is_single(&parts.headers, &UPGRADE, b"websocket")
}

/// Makes a client's head one for the upstream; true if it asks for a WebSocket and may. `http2` is the upstream's protocol.
pub fn request(parts: &mut request::Parts, client: Client<'_>, http2: bool) -> Result<bool, Refusal> {
    let fields = Fields::of(&parts.headers);
    framing(&mut parts.headers, fields)?;
    if fields.has(Fields::EXPECT) {
        expectation(&mut parts.headers)?;
    }
    let websocket = !http2 && fields.has(Fields::UPGRADE) && wants_websocket(parts);
    let trailers = fields.has(Fields::TE) && names_token(&parts.headers, &TE, "trailers");
    let host = host(parts)?;
    if parts.version == Version::HTTP_2 {
        one_cookie(&mut parts.headers);
    }
    drop_hop_by_hop(&mut parts.headers, fields);
    if websocket {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    } else if trailers {
        parts.headers.insert(TE, HeaderValue::from_static("trailers"));
        if !http2 {
            parts.headers.insert(CONNECTION, HeaderValue::from_static("te"));
        }
    }
    say_who(&mut parts.headers, fields, client, host.as_ref());
    target(parts, host, http2)?;
    Ok(websocket)
}

/// The lengths and codings that a request's body may be framed by.
fn framing(headers: &mut HeaderMap, fields: Fields) -> Result<(), Refusal> {
    let refused = |why| Err((StatusCode::BAD_REQUEST, why));
    if fields.has(Fields::TRANSFER_ENCODING) {
        if fields.has(Fields::CONTENT_LENGTH) {
            return refused("both Content-Length and Transfer-Encoding\n");
        }
        if !is_single(headers, &TRANSFER_ENCODING, b"chunked") {
            return Err((StatusCode::NOT_IMPLEMENTED, "no Transfer-Encoding but chunked is understood\n"));
        }
    }
    match one_length(headers, fields) {
        Ok(()) => Ok(()),
        Err(()) => refused("the Content-Length is no length\n"),
    }
}

/// Several equal lengths become one; anything but digits is an error.
fn one_length(headers: &mut HeaderMap, fields: Fields) -> Result<(), ()> {
    if !fields.has(Fields::ODD_LENGTH) {
        return Ok(());
    }
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
    if !is_single(headers, &EXPECT, b"100-continue") {
        return Err((StatusCode::EXPECTATION_FAILED, "no expectation but 100-continue can be met\n"));
    }
    headers.remove(EXPECT);
    Ok(())
}

/// The host that is asked for (RFC 9112, 3.2.2): the target's authority, which a Host must agree with.
fn host(parts: &request::Parts) -> Result<Option<HeaderValue>, Refusal> {
    let refused = |why| Err((StatusCode::BAD_REQUEST, why));
    // That both can be a Host at all is looked at before any route is.
    let given = parts.headers.get(HOST);
    let Some(authority) = parts.uri.authority() else { return Ok(given.cloned()) };
    if given.is_some_and(|given| !given.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes())) {
        return refused("the target and the Host disagree\n");
    }
    match HeaderValue::from_str(authority.as_str()) {
        Ok(value) => Ok(Some(value)),
        Err(_) => refused("the target's host is none\n"),
    }
}

/// The bytes that a name may be made of (RFC 3986, 3.2.2), as a table: each request's Host is held against it.
static IN_NAMES: [bool; 256] = {
    let (mut legal, mut byte) = ([false; 256], 0);
    while byte < 256 {
        let others = b"-._~%!$&'()*+;=";
        let mut at = 0;
        while at < others.len() {
            legal[others[at] as usize] = true;
            at += 1;
        }
        legal[byte] = legal[byte] || (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    legal
};

/// `host` or `host:port`, an IPv6 address in brackets (RFC 3986, 3.2.2), and nothing beside it.
pub fn is_authority(host: &[u8]) -> bool {
    let end = |of: u8| host.iter().position(|byte| *byte == of);
    if host.first() == Some(&b'[') {
        let Some(end) = end(b']') else { return false };
        let is_address =
            std::str::from_utf8(&host[1..end]).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok());
        return is_address && is_port(&host[end + 1..]);
    }
    let (name, port) = host.split_at(end(b':').unwrap_or(host.len()));
    is_name(name) && is_port(port)
}

fn is_name(name: &[u8]) -> bool {
    let escaped = |rest: &[u8]| rest.len() > 1 && rest[..2].iter().all(u8::is_ascii_hexdigit);
    let escapes = || name.split(|byte| *byte == b'%').skip(1).all(escaped);
    let legal = !name.is_empty() && name.iter().all(|byte| IN_NAMES[usize::from(*byte)]);
    legal && (!name.contains(&b'%') || escapes())
}

/// Nothing, or a colon and a number of sixteen bits, which may be left out.
fn is_port(port: &[u8]) -> bool {
    let digit = |number: u32, byte: &u8| Some(number * 10 + char::from(*byte).to_digit(10)?);
    match port {
        [] => true,
        [b':', digits @ ..] => {
            digits.len() <= 5
                && digits.iter().try_fold(0, digit).is_some_and(|number| number <= u16::MAX.into())
        }
        _ => false,
    }
}

/// Drops what concerns one hop only: what `Connection` names, and what everybody knows.
fn drop_hop_by_hop(headers: &mut HeaderMap, fields: Fields) {
    if fields.has(Fields::NAMING) {
        let lines = headers.get_all(CONNECTION).iter();
        let named: Vec<HeaderName> =
            lines.flat_map(tokens).filter_map(|token| HeaderName::from_bytes(token).ok()).collect();
        // A client can't have dropped what the message needs to be understood.
        for name in named.into_iter().filter(|name| *name != HOST && *name != CONTENT_LENGTH) {
            headers.remove(name);
        }
    }
    let everywhere = [
        (Fields::CONNECTION, &CONNECTION),
        (Fields::KEEP_ALIVE, &KEEP_ALIVE),
        (Fields::PROXY_CONNECTION, &PROXY_CONNECTION),
        (Fields::TE, &TE),
        (Fields::TRANSFER_ENCODING, &TRANSFER_ENCODING),
        (Fields::UPGRADE, &UPGRADE),
    ];
    for (_, name) in everywhere.into_iter().filter(|(field, _)| fields.has(*field)) {
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
fn say_who(headers: &mut HeaderMap, fields: Fields, client: Client<'_>, host: Option<&HeaderValue>) {
    let mut known = client.known.borrow_mut();
    let known = match &mut *known {
        Some(known) if known.host.as_ref() == host => known,
        other => other.insert(Known::new(client, host)),
    };
    append(headers, &X_FORWARDED_FOR, &known.address, fields.has(Fields::X_FORWARDED_FOR));
    append(headers, &FORWARDED, &known.forwarded, fields.has(Fields::FORWARDED));
    headers.insert(X_FORWARDED_PROTO.clone(), HeaderValue::from_static(client.proto()));
    if let Some(host) = host {
        headers.insert(X_FORWARDED_HOST.clone(), host.clone());
    }
}

/// Adds one element to a list, in one line. `begun` if there may be one already.
fn append(headers: &mut HeaderMap, name: &HeaderName, element: &HeaderValue, begun: bool) {
    if !begun {
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
    if !http2 && parts.uri.authority().is_none() && parts.uri.path_and_query().is_some() {
        // As nearly every client says it: no authority but in a Host, which stays.
        parts.version = Version::HTTP_11;
        if host.is_none() {
            parts.headers.insert(HOST, HeaderValue::from_static(""));
        }
        return Ok(());
    }
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
    let fields = Fields::of(headers);
    if fields.has(Fields::TRANSFER_ENCODING) {
        if fields.has(Fields::CONTENT_LENGTH) {
            return Err("its answer has both Content-Length and Transfer-Encoding");
        }
        if version != Version::HTTP_11 || !is_single(headers, &TRANSFER_ENCODING, b"chunked") {
            return Err("its answer has a Transfer-Encoding that is not chunked");
        }
    }
    one_length(headers, fields).map_err(|()| "its answer has a Content-Length that is none")?;
    drop_hop_by_hop(headers, fields);
    if fields.has(Fields::PROXY_AUTHENTICATE) {
        headers.remove(PROXY_AUTHENTICATE);
    }
    if status == StatusCode::NO_CONTENT {
        // RFC 9110, 8.6: a 204 has none, whatever it says.
        headers.remove(CONTENT_LENGTH);
    }
    Ok(())
}

/// Makes the head of a 101 one for the client.
pub fn switched(headers: &mut HeaderMap) {
    drop_hop_by_hop(headers, Fields::of(headers));
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Trailers without what only a head may say (RFC 9110, 6.5.1).
pub fn trailers(headers: &mut HeaderMap) {
    drop_hop_by_hop(headers, Fields::of(headers));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_told_from_what_is_none() {
        for host in [
            "a",
            "A-1.example:80",
            "a:",
            "a:65535",
            "a:00080",
            "1.2.3.4",
            "[::1]",
            "[::1]:443",
            "a%2fb",
            "~!$&'()*+,;=_",
        ] {
            assert_eq!(is_authority(host.as_bytes()), !host.contains(','), "{host}");
        }
        for host in [
            "", ":80", "a:65536", "a:000080", "a:8x", "a:+8", "a:b:1", "a b", "a/b", "a@b", "a%", "a%2",
            "a%2g", "[::1", "::1", "[a]", "[::1]x", "[]", "a]", "\u{e4}", "a\0",
        ] {
            assert!(!is_authority(host.as_bytes()), "{host:?}");
        }
    }
}
