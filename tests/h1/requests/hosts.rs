//! Host (RFC 9112, 3.2): once in HTTP/1.1, `host[:port]` and nothing else; whoever routes or caches by it
//! must see what the origin sees.

use crate::case::{Case, HOST, SMUGGLED, case, join, want};

/// Values that are no host.
const BAD: &[(&str, &[u8])] = &[
    ("a user", b"user@h1.test"),
    ("a user and a password", b"user:word@h1.test"),
    ("an empty user", b"@h1.test"),
    ("a port before a user", b"h1.test:80@other.test"),
    ("a path", b"h1.test/case"),
    ("a slash", b"h1.test/"),
    ("a scheme", b"http://h1.test"),
    ("a query", b"h1.test?a"),
    ("a fragment", b"h1.test#other.test"),
    ("a backslash", b"h1.test\\other.test"),
    ("two with a comma and a blank", b"h1.test, other.test"),
    ("two with a blank", b"h1.test other.test"),
    ("two with a tab", b"h1.test\tother.test"),
    ("a port that is a word", b"h1.test:http"),
    ("a port and a word", b"h1.test:80x"),
    ("a port that is too large", b"h1.test:65536"),
    ("a port of six digits", b"h1.test:999999"),
    ("a port with a sign", b"h1.test:+80"),
    ("a negative port", b"h1.test:-1"),
    ("two ports", b"h1.test:80:81"),
    ("a port after a blank", b"h1.test: 80"),
    ("a blank before the port", b"h1.test :80"),
    ("quotes", b"\"h1.test\""),
    ("angle brackets", b"<h1.test>"),
    ("braces", b"{h1.test}"),
    ("a bar", b"h1|test"),
    ("a caret", b"h1^test"),
    ("a backtick", b"h1`test"),
    ("a NUL", b"h1.test\0.other.test"),
    ("a control character", b"h1.\x01test"),
    ("a vertical tab behind", b"h1.test\x0b"),
    ("a DEL", b"h1.\x7ftest"),
    ("a byte of more than 7 bits", b"h1.t\xe9st"),
    ("UTF-8", b"h1.t\xc3\xa9st"),
    ("a bare CR behind", b"h1.test\rx"),
    ("a bracket that stays open", b"[::1"),
    ("a bracket that was not open", b"::1]"),
    ("an address in brackets that is none", b"[h1.test]"),
    ("something behind a bracket", b"[::1]x"),
    ("a zone", b"[fe80::1%25eth0]:80 x"),
    ("an escape that is none", b"h1.%zztest"),
];

const GOOD: &[(&str, &str)] = &[
    ("a port", "h1.test:8080"),
    ("the largest port", "h1.test:65535"),
    ("in capitals", "H1.TEST"),
    ("an IPv4 address", "127.0.0.1"),
    ("an IPv4 address and a port", "127.0.0.1:80"),
    ("an IPv6 address", "[::1]"),
    ("an IPv6 address and a port", "[::1]:80"),
    ("a dot behind", "h1.test."),
    ("an underscore", "h_1.test"),
    ("one label", "h1"),
    ("a hyphen", "h-1.test"),
    ("Punycode", "xn--h1-qja.test"),
];

/// Odd, and good by the letter: as it is, or refused.
const EITHER: &[(&str, &str)] = &[
    ("an empty port", "h1.test:"),
    ("only a port", ":80"),
    ("port 0", "h1.test:0"),
    ("a port with zeros", "h1.test:00080"),
    ("an escape", "h1.%74est"),
    ("marks", "h1!$&'()*+;=.test"),
    ("two dots", "h1..test"),
    ("an IPv6 address without brackets", "::1"),
    ("a number", "2130706433"),
    ("two with a comma", "h1.test,other.test"),
];

fn with_host(value: &[u8]) -> Vec<u8> {
    join(&[b"GET /case HTTP/1.1\r\nHost: ", value, b"\r\n\r\n"])
}

pub fn cases() -> Vec<Case> {
    let mut cases = numbers();
    for (name, value) in BAD {
        let bytes = join(&[&with_host(value), SMUGGLED]);
        cases.push(case(format!("no host: {name}"), bytes).refused(&[400]));
    }
    for (name, value) in GOOD {
        let wanted = want("GET /case").host(value);
        cases.push(case(format!("a host: {name}"), with_host(value.as_bytes())).forwarded([wanted]));
    }
    for (name, value) in EITHER {
        let wanted = want("GET /case").host(value);
        cases.push(
            case(format!("a host: {name}"), with_host(value.as_bytes())).refused(&[400]).forwarded([wanted]),
        );
    }
    cases
}

/// None, one or two.
fn numbers() -> Vec<Case> {
    let ask = |name: &str, version: &str, fields: &str| {
        case(format!("hosts: {name}"), format!("GET /case {version}\r\n{fields}\r\n"))
    };
    let bad = |name: &str, fields: &str| ask(name, "HTTP/1.1", fields).refused(&[400]);
    vec![
        bad("none", ""),
        bad("none, but other fields", "X-Forwarded-Host: h1.test\r\nX-Host: h1.test\r\n"),
        bad("twice the same", "Host: h1.test\r\nHost: h1.test\r\n"),
        bad("twice, in two cases", "Host: h1.test\r\nHOST: h1.test\r\n"),
        bad("two", "Host: h1.test\r\nHost: other.test\r\n"),
        bad("two, apart", "Host: h1.test\r\nX-A: 1\r\nX-B: 2\r\nhost: other.test\r\n"),
        bad("an empty one, and one", "Host:\r\nHost: h1.test\r\n"),
        bad("one, and an empty one", "Host: h1.test\r\nHost:\r\n"),
        bad("a blank before the colon", "Host : h1.test\r\n"),
        bad("behind a blank", "X-A: 1\r\n Host: h1.test\r\n"),
        bad("a fold", "Host: h1.test\r\n other.test\r\n"),
        bad("a fold before", "Host:\r\n h1.test\r\n"),
        bad("a second one in a fold", "Host: h1.test\r\n Host: other.test\r\nHost: third.test\r\n"),
        // Good by the letter, for addresses that have no authority.
        ask("an empty one", "HTTP/1.1", "Host:\r\n")
            .refused(&[400])
            .forwarded([want("GET /case").any_host()]),
        ask("one in another case", "HTTP/1.1", &format!("hOsT:{HOST}\r\n")).forwarded([want("GET /case")]),
        ask("one behind other fields", "HTTP/1.1", &format!("X-A: 1\r\nX-B: 2\r\nHost: {HOST}\r\n"))
            .forwarded([want("GET /case")]),
        ask("none in HTTP/1.0", "HTTP/1.0", "").forwarded([want("GET /case").any_host()]),
        ask("one in HTTP/1.0", "HTTP/1.0", &format!("Host: {HOST}\r\n")).forwarded([want("GET /case")]),
        ask("two in HTTP/1.0", "HTTP/1.0", "Host: h1.test\r\nHost: other.test\r\n").refused(&[400]),
        ask("none that is one in HTTP/1.0", "HTTP/1.0", "Host: a@b\r\n").refused(&[400]),
    ]
}
