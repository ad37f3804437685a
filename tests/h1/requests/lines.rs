//! Where lines end (RFC 9112, 2.2): by CRLF. A bare LF or CR ends a line for some readers and none for
//! others, so a head with one is refused.

use crate::case::{Case, HOST, SMUGGLED, case, join, want};

/// Heads in which a line ends otherwise. What a lenient reader would take from them goes to `/smuggled`
/// or to an origin that must not hear of it.
const BAD: &[(&str, &[u8])] = &[
    ("LF behind the request line", b"GET /case HTTP/1.1\nHost: h1.test\r\n\r\n"),
    ("LF behind a field", b"GET /case HTTP/1.1\r\nHost: h1.test\nX-A: 1\r\n\r\n"),
    ("LF behind the last field", b"GET /case HTTP/1.1\r\nHost: h1.test\n\r\n"),
    ("LF for the empty line", b"GET /case HTTP/1.1\r\nHost: h1.test\r\n\n"),
    ("LF twice at the end", b"GET /case HTTP/1.1\r\nHost: h1.test\n\n"),
    ("LF everywhere", b"GET /case HTTP/1.1\nHost: h1.test\nX-A: 1\n\n"),
    ("LF before a body", b"POST /case HTTP/1.1\r\nHost: h1.test\r\nContent-Length: 5\r\n\nhello"),
    ("LF CR behind the request line", b"GET /case HTTP/1.1\n\rHost: h1.test\r\n\r\n"),
    ("LF CR at the end", b"GET /case HTTP/1.1\r\nHost: h1.test\r\n\n\r\r\n\r\n"),
    ("LF within a value", b"GET /case HTTP/1.1\r\nHost: h1.test\r\nX-A: 1\n2\r\n\r\n"),
    ("LF and a blank within a value", b"GET /case HTTP/1.1\r\nHost: h1.test\r\nX-A: 1\n 2\r\n\r\n"),
    ("LF within a name", b"GET /case HTTP/1.1\r\nHost: h1.test\r\nX-\nA: 1\r\n\r\n"),
    ("LF before a name", b"GET /case HTTP/1.1\r\nHost: h1.test\r\n\nX-A: 1\r\n\r\n"),
    ("LF within the target", b"GET /ca\nse HTTP/1.1\r\nHost: h1.test\r\n\r\n"),
    ("LF within the version", b"GET /case HTTP\n/1.1\r\nHost: h1.test\r\n\r\n"),
    ("LF before the version", b"GET /case \nHTTP/1.1\r\nHost: h1.test\r\n\r\n"),
    ("CR behind the request line", b"GET /case HTTP/1.1\rHost: h1.test\r\n\r\n"),
    ("CR behind a field", b"GET /case HTTP/1.1\r\nHost: h1.test\rX-A: 1\r\n\r\n"),
    ("CR everywhere", b"GET /case HTTP/1.1\rHost: h1.test\rX-A: 1\r\r"),
    ("CR for the empty line", b"GET /case HTTP/1.1\r\nHost: h1.test\r\n\rX-A: 1\r\n\r\n"),
    ("CR within a value", b"GET /case HTTP/1.1\r\nHost: h1.test\r\nX-A: 1\r2\r\n\r\n"),
    ("CR at the start of a value", b"GET /case HTTP/1.1\r\nHost: h1.test\r\nX-A:\r1\r\n\r\n"),
    ("CR CR LF behind a field", b"GET /case HTTP/1.1\r\nHost: h1.test\r\nX-A: 1\r\r\n\r\n"),
    ("CR CR LF behind the request line", b"GET /case HTTP/1.1\r\r\nHost: h1.test\r\n\r\n"),
    ("CR CR LF at the end", b"GET /case HTTP/1.1\r\nHost: h1.test\r\n\r\r\n"),
    ("CR before a name", b"GET /case HTTP/1.1\r\nHost: h1.test\r\n\rX-A: 1\r\n\r\n"),
    ("CR within a name", b"GET /case HTTP/1.1\r\nHost: h1.test\r\nX-\rA: 1\r\n\r\n"),
    ("CR before the colon", b"GET /case HTTP/1.1\r\nHost: h1.test\r\nX-A\r: 1\r\n\r\n"),
    ("CR within the method", b"GE\rT /case HTTP/1.1\r\nHost: h1.test\r\n\r\n"),
    ("CR within the target", b"GET /ca\rse HTTP/1.1\r\nHost: h1.test\r\n\r\n"),
    ("CR before the version", b"GET /case\r HTTP/1.1\r\nHost: h1.test\r\n\r\n"),
    ("CR for a blank", b"GET\r/case\rHTTP/1.1\r\nHost: h1.test\r\n\r\n"),
    ("CR before the request line", b"\rGET /case HTTP/1.1\r\nHost: h1.test\r\n\r\n"),
    ("CRLF within the method", b"GE\r\nT /case HTTP/1.1\r\nHost: h1.test\r\n\r\n"),
    ("CRLF behind the method", b"GET\r\n /case HTTP/1.1\r\nHost: h1.test\r\n\r\n"),
    ("CRLF behind the target", b"GET /case\r\n HTTP/1.1\r\nHost: h1.test\r\n\r\n"),
    ("a line separator of Unicode", b"GET /case HTTP/1.1\xe2\x80\xa8Host: h1.test\r\n\r\n"),
    ("a next-line character", b"GET /case HTTP/1.1\x85Host: h1.test\r\n\r\n"),
];

/// Before a request, empty lines may be passed over (at least one should be).
const BEFORE: &[(&str, &str)] = &[("three", "\r\n\r\n\r\n"), ("a hundred", "")];

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = BAD
        .iter()
        .map(|(name, bytes)| case(format!("a line end: {name}"), join(&[bytes, SMUGGLED])).refused(&[400]))
        .collect();
    let good = format!("GET /case HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    cases.push(case("an empty line first", format!("\r\n{good}")).forwarded([want("GET /case")]));
    cases.push(case("a bare LF first", format!("\n{good}")).refused(&[400]).forwarded([want("GET /case")]));
    for (name, lines) in BEFORE {
        let lines = if lines.is_empty() { "\r\n".repeat(100) } else { (*lines).to_owned() };
        cases.push(
            case(format!("empty lines first: {name}"), lines + &good)
                .refused(&[400])
                .dropped()
                .forwarded([want("GET /case")]),
        );
    }
    for (name, blank) in [("a blank", " "), ("a tab", "\t"), ("a NUL", "\0"), ("a mark of order", "\u{feff}")]
    {
        cases.push(case(format!("{name} first"), format!("{blank}{good}")).refused(&[400]));
    }
    cases
}
