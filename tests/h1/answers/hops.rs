//! Fields of answers that speak of the origin's connection go no further than to the proxy.

use crate::case::{Act, Case, Reply, answer, answering, case, get_with, want};

type Row = (&'static str, &'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

const ROWS: &[Row] = &[
    ("a named field", "Connection: X-Foo\r\nX-Foo: 1\r\nX-Bar: 2\r\n", &["x-foo"], &[("x-bar", "2")]),
    ("two named fields", "Connection: X-Foo, x-bar\r\nX-Foo: 1\r\nX-Bar: 2\r\n", &["x-foo", "x-bar"], &[]),
    (
        "two fields that name",
        "Connection: X-Foo\r\nConnection: X-Bar\r\nX-Bar: 2\r\nX-Foo: 1\r\n",
        &["x-foo", "x-bar"],
        &[],
    ),
    ("a named field twice", "X-Foo: 1\r\nConnection: X-Foo\r\nX-Foo: 2\r\n", &["x-foo"], &[]),
    ("empty elements", "Connection: ,X-Foo,,\r\nX-Foo: 1\r\n", &["x-foo"], &[]),
    ("keep-alive", "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n", &["keep-alive"], &[]),
    ("keep-alive that nobody named", "Keep-Alive: timeout=5\r\n", &["keep-alive"], &[]),
    ("a connection to a proxy", "Proxy-Connection: keep-alive\r\n", &["proxy-connection"], &[]),
    ("an upgrade", "Connection: Upgrade\r\nUpgrade: h2c\r\n", &["upgrade"], &[]),
    ("an upgrade that nobody named", "Upgrade: h2c\r\n", &["upgrade"], &[]),
    ("codings", "Connection: TE\r\nTE: trailers\r\n", &["te"], &[]),
    ("a length that is named", "Connection: Content-Length\r\n", &[], &[]),
];

pub fn cases() -> Vec<Case> {
    let hello = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 5\r\n\r\nhello");
    let mut cases: Vec<Case> = ROWS
        .iter()
        .map(|(name, fields, absent, left)| {
            answering(format!("of the origin's hop: {name}"), hello(fields))
                .answered(answer(200, "hello").absent(absent).fields(left))
        })
        .collect();
    let chunks = "HTTP/1.1 200 OK\r\nConnection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n\
                  5\r\nhello\r\n0\r\n\r\n";
    cases.extend([
        answering("of the origin's hop: a coding that is named", chunks).answered(answer(200, "hello")),
        answering("of the origin's hop: close", hello("Connection: close\r\n"))
            .and([Act::Fin])
            .answered(answer(200, "hello")),
        // It says that it closes and does not: nobody may be sent there any more.
        answering("of the origin's hop: close, and open", hello("Connection: close\r\n"))
            .origin_closed()
            .answered(answer(200, "hello")),
        answering("of the origin's hop: close in a list", hello("Connection: x-foo, CLOSE\r\nX-Foo: 1\r\n"))
            .origin_closed()
            .answered(answer(200, "hello").absent(&["x-foo"])),
        answering("of the origin's hop: HTTP/1.0, and open", hello("").replace("HTTP/1.1", "HTTP/1.0"))
            .origin_closed()
            .answered(answer(200, "hello")),
        answering(
            "of the origin's hop: HTTP/1.0, kept",
            hello("Connection: keep-alive\r\n").replace("1.1", "1.0"),
        )
        .answered(answer(200, "hello")),
        // What a client sends to a proxy, an origin has no business to ask for; to pass it on does no harm.
        answering("of the origin's hop: credentials", hello("Proxy-Authenticate: Basic realm=\"x\"\r\n"))
            .answered(answer(200, "hello")),
        // The client's wish to close is its own connection's.
        case("of the client's hop: close", get_with("Connection: close\r\n"))
            .origin(vec![Act::Send(hello("Connection: keep-alive\r\n").into())])
            .or(vec![want("GET /case")], vec![Reply::Whole(answer(200, "hello"))], true),
    ]);
    cases
}
