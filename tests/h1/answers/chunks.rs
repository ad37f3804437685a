//! Chunked answers with faults, and bodies that end too early: a client can always tell that something is
//! missing.

use crate::case::{Act, Case, Gate, Reply, answer, answering, case, get_with, join, want};

/// Faults, and the data before them.
const BAD: &[(&str, &[u8], &str)] = &[
    ("a size with a plus", b"+5\r\nhello\r\n0\r\n\r\n", ""),
    ("a size with a minus", b"-5\r\nhello\r\n0\r\n\r\n", ""),
    ("a size with a prefix", b"0x5\r\nhello\r\n0\r\n\r\n", ""),
    ("a size behind a blank", b" 5\r\nhello\r\n0\r\n\r\n", ""),
    ("a size that is a word", b"five\r\nhello\r\n0\r\n\r\n", ""),
    ("a size with a letter behind", b"5g\r\nhello\r\n0\r\n\r\n", ""),
    ("a size before a NUL", b"5\0\r\nhello\r\n0\r\n\r\n", ""),
    ("no size", b"\r\nhello\r\n0\r\n\r\n", ""),
    ("an extension without a size", b";a\r\nhello\r\n0\r\n\r\n", ""),
    ("2 to the 64th", b"10000000000000000\r\nhello\r\n0\r\n\r\n", ""),
    ("2 to the 64th and 5", b"10000000000000005\r\nhello\r\n0\r\n\r\n", ""),
    ("2 to the 64th in the second", b"5\r\nhello\r\n10000000000000000\r\n\r\n", "hello"),
    ("a bare LF behind the size", b"5\nhello\r\n0\r\n\r\n", ""),
    ("a bare CR behind the size", b"5\rhello\r\n0\r\n\r\n", ""),
    ("a bare LF behind the data", b"5\r\nhello\n0\r\n\r\n", "hello"),
    ("nothing behind the data", b"5\r\nhello0\r\n\r\n", "hello"),
    ("two other bytes behind the data", b"5\r\nhelloXX0\r\n\r\n", "hello"),
    ("more data than said", b"5\r\nhello world\r\n0\r\n\r\n", "hello"),
    ("minus nothing", b"5\r\nhello\r\n-0\r\n\r\n", "hello"),
    ("a bare LF in an extension", b"5;a\nhello\r\n0\r\n\r\n", ""),
    ("only bare LFs at the end", b"5\r\nhello\r\n0\n\n", "hello"),
    ("a trailer without a colon", b"5\r\nhello\r\n0\r\nX-T\r\n\r\n", "hello"),
    (
        "another answer for a trailer",
        b"5\r\nhello\r\n0\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "hello",
    ),
];

const GOOD: &[(&str, &str, &str)] = &[
    ("many", "1\r\nh\r\n1\r\ne\r\n3\r\nllo\r\n0\r\n\r\n", "hello"),
    ("none", "0\r\n\r\n", ""),
    ("zeros", "0005\r\nhello\r\n000\r\n\r\n", "hello"),
    ("extensions", "5;a=b;c\r\nhello\r\n0;d\r\n\r\n", "hello"),
    ("trailers", "5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n", "hello"),
];

/// Where the origin leaves: chunks, and what of their data may have come.
const TRUNCATED: &[(&str, &str)] = &[
    ("before the first size", ""),
    ("within the first size", "5"),
    ("behind the first size", "5\r\n"),
    ("within the data", "5\r\nhel"),
    ("behind the data", "5\r\nhello"),
    ("behind a chunk", "5\r\nhello\r\n"),
    ("within the last size", "5\r\nhello\r\n0"),
    ("behind the last size", "5\r\nhello\r\n0\r\n"),
    ("within the last CRLF", "5\r\nhello\r\n0\r\n\r"),
    ("within a trailer", "5\r\nhello\r\n0\r\nX-T: 1\r\n"),
];

/// Trailers that would frame the answer if they stood in its head.
const FORBIDDEN: &[u8] =
    b"5\r\nhello\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const LENGTH: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, raw, body) in GOOD {
        cases.push(
            answering(format!("an answer's chunks: {name}"), join(&[CHUNKED, raw.as_bytes()]))
                .answered(answer(200, body)),
        );
    }
    for (name, raw, body) in BAD {
        let stray = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray";
        cases.push(
            answering(format!("an answer's bad chunks: {name}"), join(&[CHUNKED, raw, stray]))
                .origin_closed()
                .bad_gateway()
                .cut(answer(200, body)),
        );
    }
    let stray = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray";
    // Every reader finds this end at the same byte; what is passed on must end by CRLF.
    cases.push(
        answering("an answer's lax end: a bare LF", join(&[CHUNKED, b"5\r\nhello\r\n0\r\n\n", stray]))
            .origin_closed()
            .answered(answer(200, "hello"))
            .cut(answer(200, "hello")),
    );
    for (name, raw) in TRUNCATED {
        let cut =
            |how: &str| answering(format!("an origin that {how} {name}"), join(&[CHUNKED, raw.as_bytes()]));
        let hello = || answer(200, "hello");
        cases.push(cut("ends").and([Act::Fin]).bad_gateway().cut(hello()));
        cases.push(cut("resets").and([Act::After(Gate::Head), Act::Reset]).cut(hello()));
    }
    for (name, sent) in [("before the body", ""), ("within the body", "he"), ("before the last byte", "hell")]
    {
        let cut =
            |how: &str| answering(format!("an origin that {how} {name}"), join(&[LENGTH, sent.as_bytes()]));
        cases.push(cut("ends").and([Act::Fin]).bad_gateway().cut(answer(200, sent)));
        cases.push(cut("resets").and([Act::After(Gate::Head), Act::Reset]).cut(answer(200, sent)));
    }
    cases.extend(others());
    cases
}

fn others() -> Vec<Case> {
    let send = |bytes: &[u8]| Act::Send(bytes.to_vec());
    let old = |name: &str, acts: Vec<Act>| {
        case(format!("to HTTP/1.0: {name}"), b"GET /case HTTP/1.0\r\nHost: h1.test\r\n\r\n").origin(acts)
    };
    vec![
        answering(
            "an answer of the largest length",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\nhello",
        )
        .and([Act::Fin])
        .bad_gateway()
        .cut(answer(200, "hello")),
        answering("a last chunk that does not come at once", join(&[CHUNKED, b"5\r\nhello\r\n"]))
            .and([Act::After(Gate::Head), send(b"0\r\n\r\n")])
            .answered(answer(200, "hello")),
        answering("an answer's trailers that are forbidden", join(&[CHUNKED, FORBIDDEN]))
            .answered(answer(200, "hello"))
            .cut(answer(200, "hello")),
        // No coding is known to HTTP/1.0: the body comes as it is, and the end tells its end.
        old("chunks", vec![send(CHUNKED), send(b"5\r\nhello\r\n0\r\n\r\n")]).answered(answer(200, "hello")),
        old("a length", vec![send(LENGTH), send(b"hello")]).answered(answer(200, "hello")),
        old("a length, cut", vec![send(LENGTH), send(b"hel"), Act::After(Gate::Head), Act::Fin])
            .cut(answer(200, "hel")),
        case(
            "to HTTP/1.0: kept alive",
            b"GET /case HTTP/1.0\r\nHost: h1.test\r\nConnection: keep-alive\r\n\r\n",
        )
        .origin(vec![send(CHUNKED), send(b"5\r\nhello\r\n0\r\n\r\n")])
        .answered(answer(200, "hello")),
        case("to HEAD: chunks that never come", b"HEAD /case HTTP/1.1\r\nHost: h1.test\r\n\r\n")
            .origin(vec![send(CHUNKED)])
            .or(vec![want("HEAD /case")], vec![Reply::Whole(answer(200, ""))], false),
        case("cut, and asked again", get_with(""))
            .origin(vec![send(LENGTH), send(b"he"), Act::After(Gate::Head), Act::Fin])
            .cut(answer(200, "he")),
    ]
}
