//! Content-Length and Transfer-Encoding of answers (RFC 9112, 6.3): what can be read in two ways is 502,
//! and its connection serves nobody any more.

use crate::case::{Act, Case, SMUGGLED, answer, answering, join};

/// Lengths that are none.
const BAD: &[(&str, &[u8])] = &[
    ("a plus", b"+5"),
    ("a minus", b"-5"),
    ("hexadecimal", b"0x5"),
    ("a fraction", b"5.0"),
    ("an exponent", b"5e0"),
    ("a word", b"five"),
    ("a blank within", b"5 5"),
    ("a semicolon", b"5;"),
    ("in quotes", b"\"5\""),
    ("two that differ in a list", b"5, 6"),
    ("a comma only", b","),
    ("2 to the 64th", b"18446744073709551616"),
    ("2 to the 64th and 5", b"18446744073709551621"),
    ("forty digits", b"1000000000000000000000000000000000000005"),
    ("a vertical tab before", b"\x0b5"),
    ("a NUL behind", b"5\0"),
    ("a no-break space before", b"\xa05"),
    ("a bare CR behind", b"5\r6"),
];

/// Lengths that may be read as one, in all fields of a head.
const SAME: &[(&str, &str)] = &[
    ("twice the same", "Content-Length: 5\r\nContent-Length: 5\r\n"),
    ("twice the same in a list", "Content-Length: 5, 5\r\n"),
    ("the same in two spellings", "Content-Length: 5\r\nContent-Length: 005\r\n"),
    ("leading zeros", "Content-Length: 0000005\r\n"),
    ("an empty element", "Content-Length: 5,\r\n"),
];

const DIFFERENT: &[(&str, &str)] = &[
    ("two, the right one first", "Content-Length: 5\r\nContent-Length: 46\r\n"),
    ("two, the right one last", "Content-Length: 46\r\nContent-Length: 5\r\n"),
    ("two, in two cases", "CONTENT-LENGTH: 5\r\nX-A: 1\r\ncontent-length: 0\r\n"),
    ("one and an empty one", "Content-Length: 5\r\nContent-Length:\r\n"),
    ("one and a bad one", "Content-Length: 5\r\nContent-Length: x\r\n"),
];

/// Both at once; the body is good chunks.
const BOTH: &[(&str, &str)] = &[
    ("length, then coding", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
    ("coding, then length", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
    ("a length of nothing", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"),
    ("a length of all", "Transfer-Encoding: chunked\r\nContent-Length: 56\r\n"),
    ("a length that is none", "Transfer-Encoding: chunked\r\nContent-Length: x\r\n"),
];

/// Codings that are not `chunked` alone. Some readers take the body for chunks, some read to the end.
const CODINGS: &[(&str, &str)] = &[
    ("chunked twice", "Transfer-Encoding: chunked, chunked\r\n"),
    ("chunked in two fields", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    ("gzip, then chunked", "Transfer-Encoding: gzip, chunked\r\n"),
    ("gzip, then chunked, in two fields", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"),
    ("chunked, then gzip", "Transfer-Encoding: chunked, gzip\r\n"),
    ("chunked, then identity", "Transfer-Encoding: chunked, identity\r\n"),
    ("identity, then chunked", "Transfer-Encoding: identity, chunked\r\n"),
    ("a word that ends so", "Transfer-Encoding: xchunked\r\n"),
    ("a parameter", "Transfer-Encoding: chunked;q=1\r\n"),
    ("in quotes", "Transfer-Encoding: \"chunked\"\r\n"),
    ("a vertical tab before", "Transfer-Encoding: \u{b}chunked\r\n"),
    ("a fold before", "Transfer-Encoding:\r\n chunked\r\n"),
    ("a blank before the colon", "Transfer-Encoding : chunked\r\n"),
];

const CHUNKS: &[u8] = b"5\r\nhello\r\n0\r\n\r\n";

fn head(fields: &[u8]) -> Vec<u8> {
    join(&[b"HTTP/1.1 200 OK\r\n", fields, b"\r\n"])
}

/// Another answer, which nobody has asked for.
fn stray() -> Vec<u8> {
    join(&[b"HTTP/1.1 200 OK\r\nContent-Length: 41\r\n\r\n", SMUGGLED])
}

pub fn cases() -> Vec<Case> {
    let with = |name: String, fields: &[u8], body: &[u8]| {
        answering(name, join(&[&head(fields), body, &stray()])).origin_closed()
    };
    let mut cases = Vec::new();
    for (name, value) in BAD {
        let fields = join(&[b"Content-Length: ", value, b"\r\n"]);
        cases.push(with(format!("an answer's length that is none: {name}"), &fields, b"hello").bad_gateway());
    }
    for (name, value) in [("nothing", ""), ("blanks only", "  ")] {
        let fields = format!("Content-Length: {value}\r\n");
        cases.push(
            with(format!("an answer's length that is none: {name}"), fields.as_bytes(), b"hello")
                .bad_gateway(),
        );
    }
    for (name, fields) in DIFFERENT {
        cases.push(
            with(format!("an answer's lengths that differ: {name}"), fields.as_bytes(), b"hello")
                .bad_gateway(),
        );
    }
    for (name, fields) in SAME {
        cases.push(
            answering(format!("an answer's length: {name}"), join(&[&head(fields.as_bytes()), b"hello"]))
                .bad_gateway()
                .answered(answer(200, "hello")),
        );
    }
    for (name, fields) in BOTH {
        cases.push(
            with(format!("an answer's length and coding: {name}"), fields.as_bytes(), CHUNKS).bad_gateway(),
        );
    }
    for (name, fields) in CODINGS {
        cases.push(
            with(format!("an answer that is not chunked alone: {name}"), fields.as_bytes(), CHUNKS)
                .and([Act::Fin])
                .bad_gateway(),
        );
    }
    cases.extend(others());
    cases
}

fn others() -> Vec<Case> {
    let chunked = |name: &str, value: &str| {
        let fields = format!("Transfer-Encoding: {value}\r\n");
        answering(format!("an answer in chunks: {name}"), join(&[&head(fields.as_bytes()), CHUNKS]))
    };
    let until_end = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhello";
    let old = b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let hello = || answer(200, "hello").absent(&["trailer"]);
    vec![
        answering("an answer's length: plain", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            .answered(hello()),
        answering("an answer's length: nothing", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .answered(answer(200, "")),
        chunked("plain", "chunked").answered(hello()),
        chunked("in capitals", "CHUNKED").answered(hello()),
        chunked("between tabs", "\tchunked\t").answered(hello()),
        chunked("a comma behind", "chunked,").answered(hello()).bad_gateway(),
        chunked("a comma before", ",chunked").answered(hello()).bad_gateway(),
        // Nobody uses it any more; then the body lasts until the end (RFC 9112, 6.3).
        answering("an answer in identity", until_end).and([Act::Fin]).answered(hello()).bad_gateway(),
        answering("an answer in an empty coding", b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\nhello")
            .and([Act::Fin])
            .answered(hello())
            .bad_gateway(),
        answering("an HTTP/1.0 answer in chunks", join(&[old, CHUNKS]))
            .and([Act::Fin])
            .answered(hello())
            .answered(answer(200, CHUNKS))
            .bad_gateway(),
    ]
}
