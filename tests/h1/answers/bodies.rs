//! Answers whose body is told by their status, their request, or the end of the connection (RFC 9112,
//! 6.3): bytes behind an answer that has no body are nobody's.

use crate::case::{Act, Case, Gate, Reply, SMUGGLED, answer, answering, case, join, request, want};

/// An answer that nobody has asked for, where a body would be.
const STRAY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray";

pub fn cases() -> Vec<Case> {
    let mut cases = until_end();
    for status in [204, 304] {
        let name = |what: &str| format!("{status} {what}");
        let head = |fields: &str| format!("HTTP/1.1 {status} No\r\n{fields}\r\n");
        let plain = |what: &str, fields: &str, body: &[u8]| {
            answering(name(what), join(&[head(fields).as_bytes(), body])).answered(answer(status, ""))
        };
        cases.extend([
            plain("alone", "", b""),
            plain("with an empty length", "Content-Length: 0\r\n", b"").bad_gateway(),
            plain("with a length", "Content-Length: 5\r\n", b"").bad_gateway(),
            plain("with a coding", "Transfer-Encoding: chunked\r\n", b"").bad_gateway(),
            plain("with a length and a body", "Content-Length: 5\r\n", b"stray")
                .bad_gateway()
                .origin_closed(),
            plain("with a coding and a body", "Transfer-Encoding: chunked\r\n", b"5\r\nstray\r\n0\r\n\r\n")
                .bad_gateway()
                .origin_closed(),
            plain("with a body", "", b"stray").bad_gateway().origin_closed(),
            plain("with another answer", "", STRAY).bad_gateway().origin_closed(),
            plain("with two lengths", "Content-Length: 0\r\nContent-Length: 5\r\n", STRAY)
                .bad_gateway()
                .origin_closed(),
            plain("with a body that comes later", "", b"")
                .and([Act::After(Gate::Answer), Act::Send(STRAY.to_vec())])
                .origin_closed(),
            plain("and the end", "", b"").and([Act::Fin]),
        ]);
    }
    cases.extend(to_head());
    cases.extend(statuses());
    cases
}

/// Statuses that mean nothing for the body.
fn statuses() -> Vec<Case> {
    let with = |status: u16, fields: &str, body: &str| {
        let length = body.len();
        let bytes = format!("HTTP/1.1 {status} Word\r\n{fields}Content-Length: {length}\r\n\r\n{body}");
        answering(format!("{status} with a body"), bytes).answered(answer(status, body))
    };
    let not_modified = b"GET /case HTTP/1.1\r\nHost: h1.test\r\nIf-None-Match: \"a\"\r\n\r\n";
    let fields = "ETag: \"a\"\r\nContent-Length: 5\r\n";
    vec![
        with(201, "", "made"),
        with(205, "", ""),
        with(206, "Content-Range: bytes 0-3/9\r\n", "part"),
        with(299, "", "fine"),
        with(301, "Location: /there\r\n", "moved"),
        with(404, "", "none"),
        with(407, "", "who"),
        with(426, "", "new"),
        with(500, "", "oh"),
        with(503, "Retry-After: 1\r\n", "later"),
        case("304 to a condition", not_modified)
            .origin(vec![Act::Send(format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n").into())])
            .answered(answer(304, "").fields(&[("etag", "\"a\"")])),
    ]
}

fn to_head() -> Vec<Case> {
    let head = |name: &str, fields: &str, body: &[u8]| {
        case(format!("to HEAD: {name}"), request("HEAD /case HTTP/1.1", "", ""))
            .origin(vec![Act::Send(join(&[format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes(), body]))])
    };
    let good = |case: Case| case.or(vec![want("HEAD /case")], vec![Reply::Whole(answer(200, ""))], false);
    // 502 with a body that only a GET would have: it has none here.
    let or_bad =
        |case: Case| good(case).or(vec![want("HEAD /case")], vec![Reply::Own(&[502])], false).origin_closed();
    vec![
        good(head("a length", "Content-Length: 5\r\n", b"")),
        good(head("a huge length", "Content-Length: 5000000000\r\n", b"")),
        good(head("a length of nothing", "Content-Length: 0\r\n", b"")),
        good(head("no length", "", b"")),
        good(head("a coding", "Transfer-Encoding: chunked\r\n", b"")),
        or_bad(head("a length and a body", "Content-Length: 5\r\n", b"stray")),
        or_bad(head("a coding and a body", "Transfer-Encoding: chunked\r\n", b"5\r\nstray\r\n0\r\n\r\n")),
        or_bad(head("an answer for a body", "Content-Length: 43\r\n", STRAY)),
        or_bad(head("a body without a length", "", b"stray")),
        good(head("a body that comes later", "Content-Length: 5\r\n", b""))
            .and([Act::After(Gate::Answer), Act::Send(b"stray".to_vec())])
            .origin_closed(),
        good(head("an answer that comes later", "Content-Length: 43\r\n", b""))
            .and([Act::After(Gate::Answer), Act::Send(STRAY.to_vec())])
            .origin_closed(),
    ]
}

/// No length and no coding: the body lasts until the origin ends it in good order.
fn until_end() -> Vec<Case> {
    let large = vec![b'x'; 300_000];
    let until_end = |name: &str, head: &str, body: &[u8]| {
        answering(format!("until the end: {name}"), join(&[head.as_bytes(), b"\r\n\r\n", body]))
            .and([Act::Fin])
    };
    let whole = |case: Case, body: &[u8]| case.answered(answer(200, body));
    let plain = "HTTP/1.1 200 OK\r\nX-A: 1";
    vec![
        whole(until_end("a body", plain, b"hello"), b"hello"),
        whole(until_end("nothing", plain, b""), b""),
        whole(until_end("a large body", plain, &large), &large),
        whole(until_end("a word for it", "HTTP/1.1 200 OK\r\nConnection: close", b"hello"), b"hello"),
        whole(until_end("HTTP/1.0", "HTTP/1.0 200 OK\r\nX-A: 1", b"hello"), b"hello"),
        whole(until_end("HTTP/1.0 without a field", "HTTP/1.0 200 OK", b"hello"), b"hello"),
        whole(until_end("another answer, which is body too", plain, STRAY), STRAY),
        whole(until_end("a request, which is body too", plain, SMUGGLED), SMUGGLED),
        answering("until the end: in two parts", join(&[plain.as_bytes(), b"\r\n\r\nhel"]))
            .and([Act::After(Gate::Head), Act::Send(b"lo".to_vec()), Act::Fin])
            .answered(answer(200, "hello")),
        // Not in good order: nobody knows whether that was all.
        answering("until a reset", join(&[plain.as_bytes(), b"\r\n\r\nhello"]))
            .and([Act::After(Gate::Head), Act::Reset])
            .cut(answer(200, "hello")),
        case("until the end: to HTTP/1.0", b"GET /case HTTP/1.0\r\nHost: h1.test\r\n\r\n")
            .origin(vec![Act::Send(join(&[plain.as_bytes(), b"\r\n\r\nhello"])), Act::Fin])
            .answered(answer(200, "hello")),
    ]
}
