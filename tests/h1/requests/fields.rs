//! Names and values of fields (RFC 9112, 5; RFC 9110, 5.5 and 5.6.2), and how many and how large.

use crate::case::{Case, SMUGGLED, case, get_with, join, request, want};

/// Lines that are no field.
const BAD: &[(&str, &[u8])] = &[
    ("no colon", b"X-A\r\n"),
    ("no colon but a blank", b"X-A 1\r\n"),
    ("no name", b": 1\r\n"),
    ("only a colon", b":\r\n"),
    ("a blank before the colon", b"X-A : 1\r\n"),
    ("a tab before the colon", b"X-A\t: 1\r\n"),
    ("a blank within the name", b"X A: 1\r\n"),
    ("a NUL in the name", b"X\0A: 1\r\n"),
    ("a control character in the name", b"X\x01A: 1\r\n"),
    ("a DEL in the name", b"X\x7fA: 1\r\n"),
    ("a byte of more than 7 bits in the name", b"X\xe9A: 1\r\n"),
    ("UTF-8 in the name", b"X\xc3\xa9A: 1\r\n"),
    ("a NUL in the value", b"X-A: 1\x002\r\n"),
    ("a NUL for a value", b"X-A: \0\r\n"),
    ("a control character in the value", b"X-A: 1\x012\r\n"),
    ("a backspace in the value", b"X-A: 1\x082\r\n"),
    ("a vertical tab in the value", b"X-A: 1\x0b2\r\n"),
    ("a form feed in the value", b"X-A: 1\x0c2\r\n"),
    ("an escape in the value", b"X-A: \x1b[1m\r\n"),
    ("a unit separator in the value", b"X-A: 1\x1f\r\n"),
    ("a DEL in the value", b"X-A: 1\x7f\r\n"),
    ("a second request line", b"GET /smuggled HTTP/1.1\r\n"),
];

/// Punctuation that no name may have.
const NO_TOKEN: &str = "\"(),/;<=>?@[\\]{}";

/// Old lines that go on (RFC 9112, 5.2): refused, or made one.
const FOLDS: &[(&str, &str)] = &[
    ("a blank", "X-A: 1\r\n 2\r\n"),
    ("a tab", "X-A: 1\r\n\t2\r\n"),
    ("many blanks", "X-A: 1\r\n     2\r\n"),
    ("of an empty value", "X-A:\r\n 2\r\n"),
    ("twice", "X-A: 1\r\n 2\r\n 3\r\n"),
    ("that looks like a field", "X-A: 1\r\n X-B: 2\r\n"),
    ("that is empty", "X-A: 1\r\n \r\n"),
    ("that is empty, and a field", "X-A: 1\r\n \r\nX-B: 2\r\n"),
];

/// Good fields that look odd: each is called X-A, and its value must arrive as it is.
const GOOD: &[(&str, &[u8], &str)] = &[
    ("blanks around", b"X-A:   1   \r\n", "1"),
    ("no blank", b"X-A:1\r\n", "1"),
    ("tabs around", b"X-A:\t1\t\r\n", "1"),
    ("a tab within", b"X-A: 1\t2\r\n", "1\t2"),
    ("nothing", b"X-A:\r\n", ""),
    ("blanks only", b"X-A:    \r\n", ""),
    ("colons", b"X-A: 1:2:3\r\n", "1:2:3"),
    ("a colon first", b"X-A::\r\n", ":"),
    ("commas and semicolons", b"X-A: ,;, ;,\r\n", ",;, ;,"),
    ("quotes", b"X-A: \"1\\\"2\"\r\n", "\"1\\\"2\""),
    ("an unfinished quote", b"X-A: \"1\r\n", "\"1"),
    ("a name in capitals", b"X-A: V\r\n", "V"),
    ("a name in small letters", b"x-a: v\r\n", "v"),
    ("what looks like a request", b"X-A: GET /smuggled HTTP/1.1\r\n", "GET /smuggled HTTP/1.1"),
    ("an escaped CRLF", b"X-A: %0d%0aX-B: 2\r\n", "%0d%0aX-B: 2"),
];

fn refused(name: String, fields: &[u8]) -> Case {
    case(name, join(&[&get_with(fields), SMUGGLED])).refused(&[400])
}

pub fn cases() -> Vec<Case> {
    let mut cases = sizes();
    for (name, line) in BAD {
        cases.push(refused(format!("no field: {name}"), line));
        let first = join(&[b"GET /case HTTP/1.1\r\n", line, b"Host: h1.test\r\n\r\n", SMUGGLED]);
        cases.push(case(format!("no field, before all others: {name}"), first).refused(&[400]));
    }
    for (name, blank) in [("a blank", " "), ("a tab", "\t")] {
        for what in ["X-A: 1", "Host: h1.test", "Transfer-Encoding: chunked"] {
            let first = format!("GET /case HTTP/1.1\r\n{blank}{what}\r\nHost: h1.test\r\n\r\n");
            cases.push(case(format!("{name} before the first field, {what}"), first).refused(&[400]));
        }
    }
    for mark in NO_TOKEN.chars() {
        cases.push(refused(format!("a name with {mark}"), format!("X{mark}A: 1\r\n").as_bytes()));
    }
    for (name, fields) in FOLDS {
        cases.push(
            case(format!("a fold: {name}"), get_with(fields))
                .refused(&[400])
                .forwarded([want("GET /case").absent(&["x-b"])]),
        );
    }
    // The last of the folds is followed by a field of its own.
    cases.last_mut().expect("a fold").outcomes[1].seen[0].absent = &[];
    for (name, field, value) in GOOD {
        let fields: &'static [(&'static str, &'static str)] = Vec::leak(vec![("x-a", *value)]);
        cases.push(
            case(format!("a field: {name}"), get_with(field))
                .forwarded([want("GET /case").fields(fields).absent(&["x-b"])]),
        );
    }
    cases.extend(odd());
    cases
}

/// Legal, seldom seen, and dropped by some.
fn odd() -> Vec<Case> {
    let seldom = |name: &str, fields: &[u8]| case(name, get_with(fields)).forwarded([want("GET /case")]);
    vec![
        seldom("a name with an underscore", b"X_A: 1\r\n"),
        seldom("a name with a dot", b"X.A: 1\r\n"),
        seldom("a name with every mark of a token", b"X!#$%&'*+-.^_`|~9: 1\r\n"),
        seldom("a name that begins with a hyphen", b"-X: 1\r\n"),
        seldom("a name that is a number", b"1: 1\r\n"),
        // Bytes that text may have since it was Latin-1: as they are, or not at all.
        seldom("bytes of more than 7 bits in a value", b"X-A: \xe9\xff\x80\r\n").refused(&[400]),
        seldom("UTF-8 in a value", b"X-A: \xc3\xa9\r\n").refused(&[400]),
        seldom("a field twice", b"X-A: 1\r\nX-A: 2\r\n"),
        seldom(
            "fields that others believe",
            b"X-Forwarded-Host: other.test\r\nX-Original-URL: /smuggled\r\nX-HTTP-Method-Override: DELETE\r\n",
        ),
    ]
}

/// The limits are 16 KiB and 50 fields.
fn sizes() -> Vec<Case> {
    let many = |n: usize| (0..n).map(|i| format!("X-{i}: 1\r\n")).collect::<String>();
    let long = |n: usize| format!("X-A: {}\r\n", "v".repeat(n));
    let too_large = |name: &str, fields: &str| case(name, get_with(fields)).refused(&[431]);
    let named = format!("X-{}: 1\r\n", "n".repeat(20_000));
    let target = |n: usize| request(&format!("GET /{} HTTP/1.1", "t".repeat(n)), "", "");
    let method = request(&format!("{} /case HTTP/1.1", "M".repeat(20_000)), "", "");
    let last = format!("GET /{}", "t".repeat(3999));
    vec![
        case("40 fields", get_with(many(40))).forwarded([want("GET /case")]),
        too_large("60 fields", &many(60)),
        too_large("5000 fields", &many(5000)),
        case("a field of 8 KB", get_with(long(8000))).forwarded([want("GET /case")]),
        too_large("a field of 20 KB", &long(20_000)),
        too_large("a field of 300 KB", &long(300_000)),
        too_large("a name of 20 KB", &named),
        too_large("30 fields of 1 KB", &long(1000).repeat(30)),
        case("a target of 4 KB", target(3999)).forwarded([want(&last)]),
        case("a target of 20 KB", target(20_000)).refused(&[414, 431]),
        case("a target of 300 KB", target(300_000)).refused(&[414, 431]),
        case("a method of 20 KB", method).refused(&[400, 414, 431, 501]),
    ]
}
