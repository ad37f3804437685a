//! Transfer-Encoding (RFC 9112, 6.1 to 6.3): `chunked`, once, in HTTP/1.1, without a length. Whatever else
//! it says is refused: no two readers agree on it.

use crate::case::{Case, SMUGGLED, case, join, post_with, request, want};

/// Both framings at once. By the coding the body ends before the second request, by the length behind
/// it, or the other way round.
const BOTH: &[(&str, &str)] = &[
    ("length, then coding", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
    ("coding, then length", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
    ("a length of all", "Content-Length: 46\r\nTransfer-Encoding: chunked\r\n"),
    ("a length of nothing", "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"),
    ("other fields between", "Content-Length: 46\r\nX-A: 1\r\nX-B: 2\r\nTransfer-Encoding: chunked\r\n"),
    ("in lower case", "content-length: 46\r\ntransfer-encoding: chunked\r\n"),
    ("in upper case", "TRANSFER-ENCODING: CHUNKED\r\nCONTENT-LENGTH: 46\r\n"),
    ("a length that is none", "Content-Length: x\r\nTransfer-Encoding: chunked\r\n"),
    ("a length that is empty", "Transfer-Encoding: chunked\r\nContent-Length:\r\n"),
    ("two lengths", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nContent-Length: 46\r\n"),
    ("a length, and identity", "Content-Length: 46\r\nTransfer-Encoding: identity\r\n"),
    ("a length, and an empty coding", "Content-Length: 46\r\nTransfer-Encoding:\r\n"),
    ("a length, and an unknown coding", "Transfer-Encoding: xchunked\r\nContent-Length: 46\r\n"),
    (
        "a length named by Connection",
        "Connection: content-length\r\nContent-Length: 46\r\nTransfer-Encoding: chunked\r\n",
    ),
    (
        "a coding named by Connection",
        "Connection: transfer-encoding\r\nContent-Length: 46\r\nTransfer-Encoding: chunked\r\n",
    ),
];

/// Codings that are not `chunked` alone. The statuses of RFC 9112: 400, or 501 for one that is unknown.
const BAD: &[(&str, &[u8])] = &[
    ("chunked twice", b"chunked, chunked"),
    ("chunked three times", b"chunked,chunked,chunked"),
    ("identity", b"identity"),
    ("identity, then chunked", b"identity, chunked"),
    ("chunked, then identity", b"chunked, identity"),
    ("gzip", b"gzip"),
    ("gzip, then chunked", b"gzip, chunked"),
    ("chunked, then gzip", b"chunked, gzip"),
    ("a word that ends so", b"xchunked"),
    ("a word that begins so", b"chunkedx"),
    ("two words", b"x chunked"),
    ("two words, the other way", b"chunked x"),
    ("a number", b"chunked 1"),
    ("a hyphen", b"-chunked"),
    ("in double quotes", b"\"chunked\""),
    ("in single quotes", b"'chunked'"),
    ("a parameter", b"chunked;q=1"),
    ("a parameter behind a blank", b"chunked ; a=b"),
    ("a semicolon", b"chunked;"),
    ("a colon", b": chunked"),
    ("a part of the word", b"chunk"),
    ("another letter", b"chunKed\xc3\xa9"),
    ("a Kelvin sign for its k", b"chun\xe2\x84\xaaed"),
    ("a vertical tab before", b"\x0bchunked"),
    ("a vertical tab behind", b"chunked\x0b"),
    ("a form feed before", b"\x0cchunked"),
    ("a NUL before", b"\0chunked"),
    ("a NUL behind", b"chunked\0"),
    ("a NUL within", b"chu\0nked"),
    ("a backspace behind", b"chunked\x08"),
    ("a no-break space before", b"\xa0chunked"),
    ("a bare CR before", b"\rchunked"),
    ("a bare CR behind", b"chunked\rx"),
    ("a fold before", b"\r\n chunked"),
    ("a fold with a tab before", b"\r\n\tchunked"),
    ("a fold behind", b"chunked\r\n x"),
    ("a fold within", b"chun\r\n ked"),
    ("a fold behind a coding", b"identity,\r\n chunked"),
];

/// Two fields.
const TWO: &[(&str, &str)] = &[
    ("chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    ("chunked, identity", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
    ("identity, chunked", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"),
    ("gzip, chunked", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"),
    ("chunked, a word", "Transfer-Encoding: chunked\r\nTransfer-encoding: cow\r\n"),
    ("a word, chunked", "Transfer-encoding: cow\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n"),
];

/// The field's name, not quite.
const BAD_NAMES: &[(&str, &[u8])] = &[
    ("a blank before the colon", b"Transfer-Encoding : chunked\r\n"),
    ("a tab before the colon", b"Transfer-Encoding\t: chunked\r\n"),
    ("a vertical tab before the colon", b"Transfer-Encoding\x0b: chunked\r\n"),
    ("a NUL before the colon", b"Transfer-Encoding\0: chunked\r\n"),
    ("a blank for the hyphen", b"Transfer Encoding: chunked\r\n"),
    ("behind a blank", b"X-A: 1\r\n Transfer-Encoding: chunked\r\n"),
    ("behind a tab", b"X-A: 1\r\n\tTransfer-Encoding: chunked\r\n"),
    ("behind a bare LF", b"X-A: 1\nTransfer-Encoding: chunked\r\n"),
    ("behind a bare CR", b"X-A: 1\rTransfer-Encoding: chunked\r\n"),
    ("behind LF CR", b"X-A: 1\n\rTransfer-Encoding: chunked\r\n"),
    ("behind a NUL", b"X-A: 1\0Transfer-Encoding: chunked\r\n"),
    ("folded in its name", b"Transfer-\r\n Encoding: chunked\r\n"),
    ("a colon before", b":Transfer-Encoding: chunked\r\n"),
    ("a byte of more than 7 bits before", b"\xffTransfer-Encoding: chunked\r\n"),
    ("the colon on the next line", b"Transfer-Encoding\r\n : chunked\r\n"),
];

/// `chunked`, in a list with nothing else in it. A list may have empty elements (RFC 9110, 5.6.1), which
/// must not be passed on; so it is normalised or refused.
const LISTS: &[(&str, &str)] = &[
    ("a comma behind", "chunked,"),
    ("a comma and a blank behind", "chunked, "),
    ("a comma before", ",chunked"),
    ("commas around", ", ,chunked,,"),
];

const GOOD: &[(&str, &str)] = &[
    ("plain", " chunked"),
    ("without a blank", "chunked"),
    ("with a capital", " Chunked"),
    ("in capitals", " CHUNKED"),
    ("between tabs", "\tchunked\t"),
    ("between blanks", "   chunked   "),
];

/// By the coding: nothing, and then a request.
fn behind() -> Vec<u8> {
    join(&[b"0\r\n\r\n", SMUGGLED])
}

pub fn cases() -> Vec<Case> {
    let mut cases = good();
    let refused = |name: String, fields: &[u8], statuses: &'static [u16]| {
        case(name, post_with(fields, behind())).refused(statuses)
    };
    for (name, fields) in BOTH {
        cases.push(refused(format!("length and coding: {name}"), fields.as_bytes(), &[400, 501]));
    }
    for (name, value) in BAD {
        let fields = join(&[b"Transfer-Encoding: ", value, b"\r\n"]);
        cases.push(refused(format!("not chunked alone: {name}"), &fields, &[400, 501]));
    }
    for (name, fields) in TWO {
        cases.push(refused(format!("two codings: {name}"), fields.as_bytes(), &[400, 501]));
    }
    for (name, fields) in BAD_NAMES {
        cases.push(refused(format!("a coding under another name: {name}"), fields, &[400]));
    }
    let whole = "5\r\nhello\r\n0\r\n\r\n";
    for (name, value) in LISTS {
        let fields = format!("Transfer-Encoding: {value}\r\n");
        cases.push(
            case(format!("chunked in a list: {name}"), post_with(fields, whole))
                .refused(&[400, 501])
                .forwarded([want("POST /case").body("hello")]),
        );
    }
    for (name, value) in GOOD {
        let fields = format!("Transfer-Encoding:{value}\r\n");
        cases.push(
            case(format!("chunked: {name}"), post_with(fields, whole))
                .forwarded([want("POST /case").body("hello")]),
        );
    }
    cases.extend(old());
    cases
}

fn good() -> Vec<Case> {
    let chunk = join(&[b"29\r\n", SMUGGLED, b"\r\n0\r\n\r\n"]);
    assert_eq!(SMUGGLED.len(), 0x29, "the size of that chunk");
    let coding = "Transfer-Encoding: chunked\r\n";
    let mut cases = vec![
        // Nothing says that a body follows, and an empty coding must not be passed on.
        case("an empty coding", post_with("Transfer-Encoding:\r\n", ""))
            .refused(&[400, 501])
            .forwarded([want("POST /case")]),
        case(
            "an empty coding, then chunked",
            post_with(format!("Transfer-Encoding:\r\n{coding}"), "0\r\n\r\n"),
        )
        .refused(&[400, 501])
        .forwarded([want("POST /case")]),
        // Other fields, whatever they say.
        case("a coding under another name: an underscore", post_with("Transfer_Encoding: chunked\r\n", ""))
            .forwarded([want("POST /case")]),
        case("a coding under another name: Content-Encoding", post_with("Content-Encoding: chunked\r\n", ""))
            .forwarded([want("POST /case")]),
        case("a coding under another name: TE", post_with("TE: chunked\r\n", ""))
            .forwarded([want("POST /case")]),
        case(
            "a coding that Connection names",
            post_with(format!("Connection: Transfer-Encoding\r\n{coding}"), &chunk),
        )
        .refused(&[400])
        .forwarded([want("POST /case").body(SMUGGLED)]),
    ];
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "PUT"] {
        let bytes = request(&format!("{method} /case HTTP/1.1"), coding, &chunk);
        cases.push(
            case(format!("a chunk that looks like a request: {method}"), bytes)
                .forwarded([want(&format!("{method} /case")).body(SMUGGLED)]),
        );
    }
    cases
}

/// HTTP/1.0 knows no coding: whoever passed this on has read it otherwise.
fn old() -> Vec<Case> {
    let fields: &[(&str, &str)] = &[
        ("a coding", "Transfer-Encoding: chunked\r\n"),
        ("a coding and a length", "Transfer-Encoding: chunked\r\nContent-Length: 46\r\n"),
        ("a coding, kept alive", "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n"),
        ("an unknown coding", "Transfer-Encoding: identity\r\n"),
    ];
    let refused = |(name, fields): &(&str, &str)| {
        case(format!("HTTP/1.0 with {name}"), request("POST /case HTTP/1.0", fields, behind()))
            .refused(&[400, 501])
    };
    fields.iter().map(refused).collect()
}
