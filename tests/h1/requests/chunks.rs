//! Chunks (RFC 9112, 7.1): a size in hexadecimal digits, CRLF, that many bytes, CRLF; at last a size of 0
//! and trailers. A fault within them shows when the head may have gone on already: then the origin's
//! connection must end before the request does.

use crate::case::{Case, SMUGGLED, Step, case, join, post_with, want};

/// Odd and good: what is sent, and the body that it is.
const GOOD: &[(&str, &str, &str)] = &[
    ("one", "5\r\nhello\r\n0\r\n\r\n", "hello"),
    ("none", "0\r\n\r\n", ""),
    ("of one byte each", "1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n0\r\n\r\n", "hello"),
    ("a size in lower case", "a\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
    ("a size in upper case", "A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
    ("data with line ends", "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", "\r\n0\r\n\r\n"),
    ("a leading zero", "05\r\nhello\r\n0\r\n\r\n", "hello"),
    ("an extension", "5;a\r\nhello\r\n0\r\n\r\n", "hello"),
    ("an extension with a value", "5;a=b\r\nhello\r\n0\r\n\r\n", "hello"),
    ("two extensions", "5;a=b;c=d\r\nhello\r\n0\r\n\r\n", "hello"),
    ("an extension in quotes", "5;a=\"b;c d\"\r\nhello\r\n0\r\n\r\n", "hello"),
    ("an extension of the last chunk", "5\r\nhello\r\n0;a=b\r\n\r\n", "hello"),
    ("an extension that looks like a size", "5;0\r\nhello\r\n0;5\r\n\r\n", "hello"),
];

/// Read in one way only, if at all: normalised or refused.
const EITHER: &[(&str, &str, &str)] = &[
    ("sixteen digits", "0000000000000005\r\nhello\r\n0\r\n\r\n", "hello"),
    ("seventeen digits", "00000000000000005\r\nhello\r\n0\r\n\r\n", "hello"),
    ("a blank behind the size", "5 \r\nhello\r\n0\r\n\r\n", "hello"),
    ("a tab behind the size", "5\t\r\nhello\r\n0\r\n\r\n", "hello"),
    ("blanks about an extension", "5 ; a = b\r\nhello\r\n0\r\n\r\n", "hello"),
    ("a blank behind the last size", "5\r\nhello\r\n0 \r\n\r\n", "hello"),
    ("an extension without a name", "5;\r\nhello\r\n0\r\n\r\n", "hello"),
    ("an extension without a value", "5;a=\r\nhello\r\n0\r\n\r\n", "hello"),
    ("a control character in an extension", "5;a=\x01\r\nhello\r\n0\r\n\r\n", "hello"),
    ("a NUL in an extension", "5;a=\0\r\nhello\r\n0\r\n\r\n", "hello"),
];

/// Faults, and the data before them.
const BAD: &[(&str, &[u8], &str)] = &[
    ("a size with a plus", b"+5\r\nhello\r\n0\r\n\r\n", ""),
    ("a size with a minus", b"-5\r\nhello\r\n0\r\n\r\n", ""),
    ("minus nothing", b"5\r\nhello\r\n-0\r\n\r\n", "hello"),
    ("plus nothing", b"5\r\nhello\r\n+0\r\n\r\n", "hello"),
    ("a size with a prefix", b"0x5\r\nhello\r\n0\r\n\r\n", ""),
    ("a last size with a prefix", b"5\r\nhello\r\n0x0\r\n\r\n", "hello"),
    ("a size in quotes", b"\"5\"\r\nhello\r\n0\r\n\r\n", ""),
    ("a size with a letter behind", b"5g\r\nhello\r\n0\r\n\r\n", ""),
    ("a size that is a letter", b"g\r\nhello\r\n0\r\n\r\n", ""),
    ("a size with an underscore", b"0_5\r\nhello\r\n0\r\n\r\n", ""),
    ("a size with a comma", b"5,0\r\nhello\r\n0\r\n\r\n", ""),
    ("a size with a dot", b"5.0\r\nhello\r\n0\r\n\r\n", ""),
    ("two sizes", b"5 5\r\nhello\r\n0\r\n\r\n", ""),
    ("a size behind a blank", b" 5\r\nhello\r\n0\r\n\r\n", ""),
    ("a size behind a tab", b"\t5\r\nhello\r\n0\r\n\r\n", ""),
    ("a second size behind a blank", b"5\r\nhello\r\n 5\r\nworld\r\n0\r\n\r\n", "hello"),
    ("a last size behind a blank", b"5\r\nhello\r\n 0\r\n\r\n", "hello"),
    ("a size behind a vertical tab", b"\x0b5\r\nhello\r\n0\r\n\r\n", ""),
    ("a size before a vertical tab", b"5\x0b\r\nhello\r\n0\r\n\r\n", ""),
    ("a size before a NUL", b"5\0\r\nhello\r\n0\r\n\r\n", ""),
    ("a full-width size", b"\xef\xbc\x95\r\nhello\r\n0\r\n\r\n", ""),
    ("no size", b"\r\nhello\r\n0\r\n\r\n", ""),
    ("no second size", b"5\r\nhello\r\n\r\n0\r\n\r\n", "hello"),
    ("an extension without a size", b";a=b\r\nhello\r\n0\r\n\r\n", ""),
    ("2 to the 64th", b"10000000000000000\r\nhello\r\n0\r\n\r\n", ""),
    ("2 to the 64th and 5", b"10000000000000005\r\nhello\r\n0\r\n\r\n", ""),
    ("2 to the 68th and 5", b"100000000000000005\r\nhello\r\n0\r\n\r\n", ""),
    ("all bits and more", b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n", ""),
    ("2 to the 64th in the second", b"5\r\nhello\r\n10000000000000000\r\n\r\n", "hello"),
    ("a bare LF behind the size", b"5\nhello\r\n0\r\n\r\n", ""),
    ("a bare CR behind the size", b"5\rhello\r\n0\r\n\r\n", ""),
    ("CR CR LF behind the size", b"5\r\r\nhello\r\n0\r\n\r\n", ""),
    ("LF CR behind the size", b"5\n\rhello\r\n0\r\n\r\n", ""),
    ("a bare LF behind the data", b"5\r\nhello\n0\r\n\r\n", "hello"),
    ("a bare CR behind the data", b"5\r\nhello\r0\r\n\r\n", "hello"),
    ("CR and another byte behind the data", b"5\r\nhello\rX0\r\n\r\n", "hello"),
    ("another byte and LF behind the data", b"5\r\nhelloX\n0\r\n\r\n", "hello"),
    ("two other bytes behind the data", b"5\r\nhelloXX0\r\n\r\n", "hello"),
    ("two bare LFs behind the data", b"5\r\nhello\n\n0\r\n\r\n", "hello"),
    ("nothing behind the data", b"5\r\nhello0\r\n\r\n", "hello"),
    ("more data than said", b"5\r\nhello world\r\n0\r\n\r\n", "hello"),
    ("less data than said", b"6\r\nhello\r\n0\r\n\r\n", "hello\r"),
    ("a bare LF behind the last size", b"5\r\nhello\r\n0\n\r\n", "hello"),
    ("only bare LFs at the end", b"5\r\nhello\r\n0\n\n", "hello"),
    ("a bare CR at the end", b"5\r\nhello\r\n0\r\n\rX", "hello"),
    ("only bare LFs", b"5\nhello\n0\n\n", ""),
    ("a bare LF in an extension", b"5;a\nhello\r\n0\r\n\r\n", ""),
    ("a bare LF in an extension, and a line more", b"5;\nxx\r\nhello\r\n0\r\n\r\n", ""),
    ("a bare LF in a quoted extension", b"5;a=\"\n\"\r\nhello\r\n0\r\n\r\n", ""),
    ("a bare CR in an extension", b"5;a\rb\r\nhello\r\n0\r\n\r\n", ""),
    ("a bare LF in the last extension", b"5\r\nhello\r\n0;a\n\r\n", "hello"),
];

/// Ends behind the last chunk that every reader finds at the same byte: what is passed on must end by CRLF.
const LAX_ENDS: &[(&str, &[u8])] = &[
    ("a bare LF at the end", b"\n"),
    ("a trailer that ends with a bare LF", b"X-T: 1\n\r\n"),
    ("a bare LF behind a trailer", b"X-T: 1\r\n\n"),
];

/// Trailers that are none. All agree where they end, so they may be left out instead of being refused.
const BAD_TRAILERS: &[(&str, &[u8])] = &[
    ("no colon", b"X-T"),
    ("no name", b": 1"),
    ("a blank before the colon", b"X-T : 1"),
    ("a blank before the name", b" X-T: 1"),
    ("a NUL", b"X-T: \x001"),
    ("a bare CR", b"X-T: 1\rX-U: 2"),
    ("a request", b"GET /smuggled HTTP/1.1\r\nHost: h1.test"),
];

/// Where a client leaves.
const TRUNCATED: &[(&str, &str)] = &[
    ("behind the head", ""),
    ("within the first size line", "5"),
    ("within its CRLF", "5\r"),
    ("behind it", "5\r\n"),
    ("within an extension", "5;a"),
    ("within the data", "5\r\nhel"),
    ("behind the data", "5\r\nhello"),
    ("within the CRLF of the data", "5\r\nhello\r"),
    ("behind a chunk", "5\r\nhello\r\n"),
    ("within the last size line", "5\r\nhello\r\n0"),
    ("within the CRLF of the last size", "5\r\nhello\r\n0\r"),
    ("behind the last size", "5\r\nhello\r\n0\r\n"),
    ("within the last CRLF", "5\r\nhello\r\n0\r\n\r"),
    ("within a trailer", "5\r\nhello\r\n0\r\nX-T: 1"),
    ("behind a trailer", "5\r\nhello\r\n0\r\nX-T: 1\r\n"),
];

/// Trailers that say what no trailer may (RFC 9110, 6.5.1), and must not reach the origin.
const FORBIDDEN: &[(&str, &str)] = &[
    ("a length", "Content-Length: 41\r\n"),
    ("a coding", "Transfer-Encoding: chunked\r\n"),
    ("a host", "Host: other.test\r\n"),
    ("a connection", "Connection: close\r\n"),
    ("a credential", "Authorization: Basic eDp4\r\n"),
    ("a body's coding", "Content-Encoding: gzip\r\n"),
    ("a range", "Content-Range: bytes 0-1/2\r\n"),
    ("an upgrade", "Upgrade: websocket\r\n"),
    ("a field that Connection names", "X-Named: 1\r\n"),
];

fn chunked(raw: impl AsRef<[u8]>) -> Vec<u8> {
    post_with("Transfer-Encoding: chunked\r\n", raw)
}

pub fn cases() -> Vec<Case> {
    let mut cases = trailers();
    for (name, raw, body) in GOOD {
        cases.push(case(format!("chunks: {name}"), chunked(raw)).forwarded([want("POST /case").body(body)]));
    }
    for (name, raw, body) in EITHER {
        cases.push(
            case(format!("odd chunks: {name}"), chunked(raw))
                .forwarded([want("POST /case").body(body)])
                .broken(want("POST /case").body(body), &[400, 413]),
        );
    }
    for (name, raw, body) in BAD {
        cases.push(
            case(format!("bad chunks: {name}"), chunked(join(&[raw, SMUGGLED])))
                .broken(want("POST /case").body(body), &[400, 413]),
        );
    }
    for (name, raw) in TRUNCATED {
        cases.push(
            case(format!("a client that leaves {name}"), chunked(raw))
                .then(Step::Fin)
                .broken(want("POST /case").body("hello"), &[400, 408]),
        );
    }
    cases.extend(large());
    cases
}

fn large() -> Vec<Case> {
    let long = vec![b'c'; 200_000];
    let mut many = Vec::new();
    for byte in &long[..2000] {
        many.extend_from_slice(&[b'1', b'\r', b'\n', *byte, b'\r', b'\n']);
    }
    many.extend_from_slice(b"0\r\n\r\n");
    let one = join(&[format!("{:x}\r\n", long.len()).as_bytes(), &long, b"\r\n0\r\n\r\n"]);
    let rest = join(&[b"hello", SMUGGLED]);
    let endless = |name: &str, size: &str| {
        case(name, chunked(join(&[size.as_bytes(), b"\r\n", &rest])))
            .then(Step::Fin)
            .broken(want("POST /case").body(&rest), &[400, 408, 413])
    };
    let extension = format!("5;a={}\r\nhello\r\n0\r\n\r\n", "x".repeat(100_000));
    let trailer = format!("5\r\nhello\r\n0\r\nX-T: {}\r\n\r\n", "x".repeat(100_000));
    let trailers = format!("5\r\nhello\r\n0\r\n{}\r\n", "X-T: 1\r\n".repeat(5000));
    let zeros = format!("5\r\nhello\r\n{}\r\n\r\n", "0".repeat(100));
    let tail = format!("5;a={}\r\nhello\r\n0\r\n\r\n", "x".repeat(100));
    let either = |name: &str, raw: &str| {
        case(name, chunked(raw))
            .forwarded([want("POST /case").body("hello")])
            .broken(want("POST /case").body("hello"), &[400, 413])
    };
    let too_much = |name: &str, raw: &str| {
        case(name, chunked(raw)).broken(want("POST /case").body("hello"), &[400, 413, 431])
    };
    vec![
        case("a large chunk", chunked(one)).forwarded([want("POST /case").body(&long)]),
        case("2000 small chunks", chunked(many)).forwarded([want("POST /case").body(&long[..2000])]),
        endless("a chunk of 2 to the 63rd", "8000000000000000"),
        endless("a chunk of 2 to the 64th, less one", "ffffffffffffffff"),
        endless("a chunk of 2 to the 32nd and 5", "100000005"),
        either("a last size of a hundred zeros", &zeros),
        either("an extension of 100 bytes", &tail),
        too_much("an extension of 100 kB", &extension),
        too_much("a trailer of 100 kB", &trailer).forwarded([want("POST /case").body("hello")]),
        too_much("5000 trailers", &trailers).forwarded([want("POST /case").body("hello")]),
    ]
}

fn trailers() -> Vec<Case> {
    let with = |name: &str, fields: &str, trailers: &str| {
        let coding = format!("{fields}Transfer-Encoding: chunked\r\n");
        let raw = format!("5\r\nhello\r\n0\r\n{trailers}\r\n");
        case(format!("trailers: {name}"), post_with(coding, raw))
    };
    let hello = || want("POST /case").body("hello");
    let mut cases = vec![
        with("one", "", "X-T: 1\r\n").forwarded([hello().trailers(&["x-t"])]),
        with("one that was announced", "Trailer: X-T\r\n", "X-T: 1\r\n")
            .forwarded([hello().trailers(&["x-t"])]),
        with("two", "TE: trailers\r\nTrailer: X-T, X-U\r\n", "X-T: 1\r\nX-U: 2\r\n")
            .forwarded([hello().trailers(&["x-t", "x-u"])]),
        with("an empty one", "", "X-T:\r\n").forwarded([hello().trailers(&["x-t"])]),
        with("a fold", "", "X-T: 1\r\n 2\r\n")
            .forwarded([hello().trailers(&["x-t"])])
            .broken(hello(), &[400]),
    ];
    for (name, end) in LAX_ENDS {
        let raw = join(&[b"5\r\nhello\r\n0\r\n", end, SMUGGLED]);
        cases.push(
            case(format!("a lax end: {name}"), chunked(raw))
                .broken(hello(), &[400])
                .forwarded([hello(), want("GET /smuggled")]),
        );
    }
    for (name, trailer) in BAD_TRAILERS {
        let raw = join(&[b"5\r\nhello\r\n0\r\n", trailer, b"\r\n\r\n", SMUGGLED]);
        cases.push(
            case(format!("no trailer: {name}"), chunked(raw))
                .broken(hello(), &[400])
                .forwarded([hello(), want("GET /smuggled")]),
        );
    }
    for (name, trailer) in FORBIDDEN {
        cases.push(
            with(&format!("forbidden, {name}"), "Connection: x-named\r\n", trailer)
                .forwarded([hello()])
                .broken(hello(), &[400]),
        );
    }
    cases
}
