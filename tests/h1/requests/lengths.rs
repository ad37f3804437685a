//! Content-Length (RFC 9110, 8.6; RFC 9112, 6.3): digits, once; anything else is refused before the origin
//! hears of it. What lies behind the body looks like a request, and is never taken for one.

use crate::case::{Case, SMUGGLED, Step, case, get_with, join, post_with, request, want};
use crate::message::Framing;

/// Values that are no length; a lenient reader takes most of them for 5 or 0.
const BAD: &[(&str, &[u8])] = &[
    ("a plus", b"+5"),
    ("a minus", b"-5"),
    ("minus one", b"-1"),
    ("minus zero", b"-0"),
    ("hexadecimal", b"0x5"),
    ("hexadecimal without a prefix", b"a"),
    ("octal with a prefix", b"0o5"),
    ("an exponent", b"5e0"),
    ("a fraction", b"5.0"),
    ("an underscore", b"0_5"),
    ("a word", b"five"),
    ("a blank within", b"5 5"),
    ("a tab within", b"5\t5"),
    ("a semicolon", b"5;"),
    ("a parameter", b"5;q=1"),
    ("in quotes", b"\"5\""),
    ("two that differ in a list", b"5, 6"),
    ("a list with a word", b"5, x"),
    ("nothing", b""),
    ("blanks only", b"  "),
    ("a comma only", b","),
    ("2 to the 64th", b"18446744073709551616"),
    ("2 to the 64th and 5", b"18446744073709551621"),
    ("2 to the 65th and 5", b"36893488147419103237"),
    ("forty digits", b"1000000000000000000000000000000000000005"),
    ("a vertical tab before", b"\x0b5"),
    ("a vertical tab behind", b"5\x0b"),
    ("a form feed behind", b"5\x0c"),
    ("a NUL behind", b"5\x005"),
    ("a DEL behind", b"5\x7f"),
    ("a no-break space before", b"\xa05"),
    ("a full-width digit", b"\xef\xbc\x95"),
    ("a bare CR before", b"\r5"),
    ("a bare CR behind", b"5\r5"),
    ("a fold before", b"\r\n 5"),
    ("a fold behind", b"5\r\n "),
    ("a fold within", b"0\r\n 5"),
];

/// Good ones that look odd, all of them 5.
const GOOD: &[(&str, &[u8])] = &[
    ("plain", b" 5"),
    ("without a blank", b"5"),
    ("between tabs", b"\t5\t"),
    ("between blanks", b"   5   "),
];

/// More than one, which may be read as one or be refused.
const SAME: &[(&str, &str)] = &[
    ("twice the same", "Content-Length: 5\r\nContent-Length: 5\r\n"),
    ("three times the same", "Content-Length: 5\r\nContent-Length: 5\r\ncontent-length: 5\r\n"),
    ("twice the same in a list", "Content-Length: 5, 5\r\n"),
    ("one and nothing in a list", "Content-Length: 5,\r\n"),
    ("nothing and one in a list", "Content-Length: ,5\r\n"),
    ("the same value in two spellings", "Content-Length: 5\r\nContent-Length: 05\r\n"),
    ("a leading zero", "Content-Length: 05\r\n"),
    ("thirty leading zeros", "Content-Length: 0000000000000000000000000000005\r\n"),
];

/// More than one, in contradiction.
const DIFFERENT: &[(&str, &str)] = &[
    ("the right one first", "Content-Length: 5\r\nContent-Length: 6\r\n"),
    ("the right one last", "Content-Length: 0\r\nContent-Length: 5\r\n"),
    ("apart from each other", "Content-Length: 5\r\nX-Between: 1\r\nContent-Length: 46\r\n"),
    ("in two cases", "CONTENT-LENGTH: 46\r\ncontent-length: 5\r\n"),
    ("one of them empty, first", "Content-Length:\r\nContent-Length: 5\r\n"),
    ("one of them empty, last", "Content-Length: 5\r\nContent-Length:\r\n"),
    ("one of them bad", "Content-Length: 5\r\nContent-Length: +5\r\n"),
    ("one of them in a list", "Content-Length: 5\r\nContent-Length: 5, 6\r\n"),
];

/// A length that says 5 in a field whose name is not quite right.
const BAD_NAMES: &[(&str, &[u8])] = &[
    ("a blank before the colon", b"Content-Length : 5\r\n"),
    ("a tab before the colon", b"Content-Length\t: 5\r\n"),
    ("a blank within the name", b"Content Length: 5\r\n"),
    ("a NUL in the name", b"Content-Length\0: 5\r\n"),
    ("a vertical tab in the name", b"Content-Length\x0b: 5\r\n"),
    ("a soft hyphen in the name", b"Content\xad-Length: 5\r\n"),
    ("behind a blank", b"X-Before: 1\r\n Content-Length: 5\r\n"),
    ("behind a bare LF", b"X-Before: 1\nContent-Length: 5\r\n"),
    ("behind a bare CR", b"X-Before: 1\rContent-Length: 5\r\n"),
    ("folded in its name", b"Content-\r\n Length: 5\r\n"),
    ("an equals sign", b"Content-Length= 5\r\n"),
];

pub fn cases() -> Vec<Case> {
    let behind = join(&[b"hello", SMUGGLED]);
    let refused = |name: String, fields: &[u8]| case(name, post_with(fields, &behind)).refused(&[400]);
    let mut cases = good();
    for (name, value) in BAD {
        let fields = join(&[b"Content-Length: ", value, b"\r\n"]);
        cases.push(refused(format!("a length that is none: {name}"), &fields));
    }
    for (name, fields) in DIFFERENT {
        cases.push(refused(format!("lengths that differ: {name}"), fields.as_bytes()));
    }
    for (name, fields) in BAD_NAMES {
        cases.push(refused(format!("a length under another name: {name}"), fields));
    }
    for (name, value) in GOOD {
        let fields = join(&[b"Content-Length:", value, b"\r\n"]);
        cases.push(
            case(format!("a length: {name}"), post_with(fields, "hello"))
                .forwarded([want("POST /case").body("hello").framing(&[Framing::Length])]),
        );
    }
    for (name, fields) in SAME {
        cases.push(
            case(format!("a length: {name}"), post_with(fields, "hello"))
                .refused(&[400])
                .forwarded([want("POST /case").body("hello")]),
        );
    }
    cases
}

/// Bodies, and requests without.
fn good() -> Vec<Case> {
    let looks = want("POST /case").body(SMUGGLED).framing(&[Framing::Length]);
    let length = format!("Content-Length: {}\r\n", SMUGGLED.len());
    let long = vec![b'l'; 300_000];
    let mut cases = vec![
        case("no body", get_with("")).forwarded([want("GET /case")]),
        case("a POST without a body", post_with("", "")).forwarded([want("POST /case")]),
        case("a POST with an empty body", post_with("Content-Length: 0\r\n", ""))
            .forwarded([want("POST /case")]),
        case("a body that looks like a request", post_with(&length, SMUGGLED)).forwarded([looks]),
        case("a long body", post_with(format!("Content-Length: {}\r\n", long.len()), &long))
            .forwarded([want("POST /case").body(&long).framing(&[Framing::Length])]),
        case("a length in another case", post_with("CONTENT-length: 5\r\n", "hello")).forwarded([want(
            "POST /case",
        )
        .body("hello")
        .framing(&[Framing::Length])]),
        // An underscore makes it another field, which says nothing about the body.
        case("a length under another name: an underscore", post_with("Content_Length: 5\r\n", ""))
            .forwarded([want("POST /case")]),
        // Numbers that exist, of bodies that do not: the end never comes.
        huge("2 to the 63rd", "9223372036854775808"),
        huge("2 to the 63rd, less one", "9223372036854775807"),
        huge("2 to the 32nd and 5", "4294967301"),
    ];
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "PUT", "PATCH", "QUERY"] {
        let bytes = request(&format!("{method} /case HTTP/1.1"), &length, SMUGGLED);
        cases.push(
            case(format!("a body that looks like a request: {method}"), bytes)
                .forwarded([want(&format!("{method} /case")).body(SMUGGLED)]),
        );
    }
    cases
}

fn huge(name: &str, length: &str) -> Case {
    let body = join(&[b"hello", SMUGGLED]);
    case(format!("a huge length: {name}"), post_with(format!("Content-Length: {length}\r\n"), &body))
        .then(Step::Fin)
        .broken(want("POST /case").body(&body).framing(&[Framing::Length]), &[400, 408, 413])
}
