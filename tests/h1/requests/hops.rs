//! Fields that speak of one connection (RFC 9110, 7.6.1): what Connection names goes no further, nor do
//! the usual ones; what the proxy itself has to say can't be taken from it that way.

use crate::case::{Act, Case, Gate, Reply, SMUGGLED, Want, case, get_with, join, post_with, request, want};
use crate::message::Framing;

/// What a client sends, what must be gone, and what must be left.
type Row = (&'static str, &'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

const ROWS: &[Row] = &[
    ("one named field", "Connection: X-Foo\r\nX-Foo: 1\r\nX-Bar: 2\r\n", &["x-foo"], &[("x-bar", "2")]),
    ("a named field before it", "X-Foo: 1\r\nConnection: X-Foo\r\n", &["x-foo"], &[]),
    ("close, and a named field", "Connection: close, X-Foo\r\nX-Foo: 1\r\n", &["x-foo"], &[]),
    ("keep-alive, and a named field", "Connection: keep-alive, X-Foo\r\nX-Foo: 1\r\n", &["x-foo"], &[]),
    ("two named fields", "Connection: X-Foo, X-Bar\r\nX-Foo: 1\r\nX-Bar: 2\r\n", &["x-foo", "x-bar"], &[]),
    (
        "two fields that name",
        "Connection: X-Foo\r\nConnection: X-Bar\r\nX-Foo: 1\r\nX-Bar: 2\r\n",
        &["x-foo", "x-bar"],
        &[],
    ),
    ("a named field twice", "Connection: X-Foo\r\nX-Foo: 1\r\nX-Foo: 2\r\n", &["x-foo"], &[]),
    ("in other cases", "cONNECTION: x-fOO\r\nX-Foo: 1\r\n", &["x-foo"], &[]),
    ("empty elements", "Connection: ,, X-Foo ,,\r\nX-Foo: 1\r\n", &["x-foo"], &[]),
    ("no blanks", "Connection: close,X-Foo,X-Bar\r\nX-Foo: 1\r\nX-Bar: 2\r\n", &["x-foo", "x-bar"], &[]),
    ("tabs", "Connection: close,\tX-Foo\t\r\nX-Foo: 1\r\n", &["x-foo"], &[]),
    ("a name that is not there", "Connection: X-Foo\r\nX-Foot: 1\r\n", &["x-foo"], &[("x-foot", "1")]),
    ("an empty Connection", "Connection:\r\nX-Foo: 1\r\n", &[], &[("x-foo", "1")]),
    ("itself", "Connection: Connection\r\nX-Foo: 1\r\n", &[], &[("x-foo", "1")]),
    ("keep-alive", "Connection: keep-alive\r\nKeep-Alive: timeout=5, max=9\r\n", &["keep-alive"], &[]),
    ("keep-alive that nobody named", "Keep-Alive: timeout=5\r\n", &["keep-alive"], &[]),
    ("a connection to a proxy", "Proxy-Connection: keep-alive\r\n", &["proxy-connection"], &[]),
    (
        "another connection to a proxy",
        "Proxy-Connection: close\r\nConnection: close\r\n",
        &["proxy-connection"],
        &[],
    ),
    ("codings of answers", "Connection: TE\r\nTE: gzip, deflate;q=0.5\r\n", &["te"], &[]),
    ("codings that nobody named", "TE: gzip\r\n", &["te"], &[]),
    (
        "an upgrade to HTTP/2",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        &["upgrade", "http2-settings"],
        &[],
    ),
    ("an upgrade to TLS", "Connection: Upgrade\r\nUpgrade: TLS/1.2, HTTP/1.1\r\n", &["upgrade"], &[]),
    ("an upgrade that nobody named", "Upgrade: h2c\r\n", &["upgrade"], &[]),
    ("an upgrade to nothing", "Connection: Upgrade\r\nUpgrade:\r\n", &["upgrade"], &[]),
    ("Upgrade as a name only", "Connection: Upgrade\r\n", &["upgrade"], &[]),
    ("an unknown upgrade", "Connection: keep-alive, Upgrade\r\nUpgrade: foo/2\r\n", &["upgrade"], &[]),
];

pub fn cases() -> Vec<Case> {
    let mut cases = not_theirs();
    for (name, fields, absent, left) in ROWS {
        cases.push(
            case(format!("of one hop: {name}"), get_with(fields))
                .forwarded([want("GET /case").absent(absent).fields(left)]),
        );
    }
    cases.push(
        case(
            "of one hop: with a body",
            post_with("Connection: X-Foo\r\nX-Foo: 1\r\nContent-Length: 5\r\n", "hello"),
        )
        .forwarded([want("POST /case").body("hello").absent(&["x-foo"])]),
    );
    // Trailers are the one thing that may be said of them.
    for te in ["trailers", "trailers, gzip;q=0.5", "gzip, Trailers"] {
        let fields = format!("Connection: TE\r\nTE: {te}\r\n");
        cases.push(case(format!("of one hop: TE: {te}"), get_with(fields)).forwarded([want("GET /case")]));
    }
    let old = request("GET /case HTTP/1.0", "Connection: keep-alive, X-Foo\r\nX-Foo: 1\r\n", "");
    cases.push(case("of one hop: HTTP/1.0", old).forwarded([want("GET /case").absent(&["x-foo"])]));
    for bad in ["@", "close; X-Foo", "\"close\"", "a b"] {
        let fields = format!("Connection: {bad}\r\n");
        cases.push(
            case(format!("of one hop: Connection: {bad}"), get_with(fields))
                .refused(&[400])
                .forwarded([want("GET /case")]),
        );
    }
    cases.extend(upgrades());
    cases
}

/// Named by Connection, and not the client's to take away: passed on all the same, or all refused.
fn not_theirs() -> Vec<Case> {
    let get = |name: &str, fields: &str, wanted: Want| {
        case(format!("not to be named: {name}"), get_with(fields)).refused(&[400]).forwarded([wanted])
    };
    let length = "Connection: Content-Length\r\nContent-Length: 41\r\n";
    let behind = want("POST /case").body(SMUGGLED).framing(&[Framing::Length, Framing::Chunked]);
    vec![
        get("Host", "Connection: close, Host\r\n", want("GET /case")),
        get("Host in another case", "Connection: hOST\r\n", want("GET /case")),
        get(
            "the client's address",
            "Connection: X-Forwarded-For\r\n",
            want("GET /case").fields(&[("x-forwarded-for", "127.0.0.1")]),
        ),
        case("not to be named: a length", post_with(length, SMUGGLED)).refused(&[400]).forwarded([behind]),
        // May be taken away by the letter; then the origin knows less, and nothing that is wrong.
        get("a credential", "Connection: Authorization\r\nAuthorization: Basic eDp4\r\n", want("GET /case")),
        get("a cookie", "Connection: Cookie\r\nCookie: a=b\r\n", want("GET /case")),
        get("an expectation", "Connection: Expect\r\nExpect: 100-continue\r\n", want("GET /case"))
            .interim(&[100]),
        case("credentials for a proxy", get_with("Proxy-Authorization: Basic eDp4\r\n"))
            .forwarded([want("GET /case")]),
        case("the client's address", get_with(""))
            .forwarded([want("GET /case").fields(&[("x-forwarded-for", "127.0.0.1")])]),
    ]
}

/// Bytes behind a request to change the protocol: nobody has agreed yet, so they are no tunnel's.
fn upgrades() -> Vec<Case> {
    let websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let second = request("GET /second HTTP/1.1", "", "");
    let mut cases = Vec::new();
    for (name, fields) in [
        ("a websocket", websocket),
        ("HTTP/2", "Connection: Upgrade\r\nUpgrade: h2c\r\n"),
        ("a name", "Upgrade: foo\r\n"),
    ] {
        let first = want("GET /case").upgrade();
        cases.push(
            case(
                format!("a request behind an upgrade that is not made: {name}"),
                join(&[&get_with(fields), &second]),
            )
            .origin(vec![Act::After(Gate::Sent), Act::Echo])
            .origin(vec![Act::Echo])
            .forwarded([first.clone(), want("GET /second")])
            .or(vec![first], vec![Reply::Echo], true),
        );
    }
    cases.push(
        case(
            "a body of an upgrade that is not made",
            post_with(format!("{websocket}Content-Length: 41\r\n"), SMUGGLED),
        )
        .refused(&[400])
        .forwarded([want("POST /case").body(SMUGGLED).upgrade()]),
    );
    cases.push(
        case(
            "noise behind an upgrade that is not made",
            join(&[&get_with(websocket), b"\x81\x85\x01\x02\x03\x04\0\r\n\r\n"]),
        )
        .origin(vec![Act::After(Gate::Sent), Act::Echo])
        .or(vec![want("GET /case").upgrade()], vec![Reply::Echo, Reply::OwnOrEnd(&[400])], true),
    );
    cases
}
