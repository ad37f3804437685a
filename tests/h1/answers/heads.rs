//! Heads of answers (RFC 9112, 4 and 5): what is no answer is 502; what is one, with faults that a proxy
//! may mend, reaches the client mended.

use crate::case::{Act, Answer, Case, answer, answering, join};

/// Status lines that are none.
const BAD_LINES: &[(&str, &[u8])] = &[
    ("two digits", b"HTTP/1.1 20 OK"),
    ("four digits", b"HTTP/1.1 2000 OK"),
    ("one digit", b"HTTP/1.1 2 OK"),
    ("a word for the digits", b"HTTP/1.1 OK"),
    ("letters among the digits", b"HTTP/1.1 2x0 OK"),
    ("a minus", b"HTTP/1.1 -20 OK"),
    ("a plus", b"HTTP/1.1 +20 OK"),
    ("hexadecimal", b"HTTP/1.1 0xC OK"),
    ("000", b"HTTP/1.1 000 No"),
    ("099", b"HTTP/1.1 099 No"),
    ("no status", b"HTTP/1.1"),
    ("no status but a blank", b"HTTP/1.1 "),
    ("a tab before the status", b"HTTP/1.1\t200 OK"),
    ("a comma behind the status", b"HTTP/1.1 200, OK"),
    ("a bare CR in the words", b"HTTP/1.1 200 O\rK"),
    ("a NUL in the words", b"HTTP/1.1 200 O\0K"),
    ("a bare CR behind the status", b"HTTP/1.1 200\rOK"),
    ("HTTP/2.0", b"HTTP/2.0 200 OK"),
    ("HTTP/2", b"HTTP/2 200 OK"),
    ("HTTP/0.9", b"HTTP/0.9 200 OK"),
    ("HTTP/1.10", b"HTTP/1.10 200 OK"),
    ("HTTP/11", b"HTTP/11 200 OK"),
    ("HTTP/1", b"HTTP/1 200 OK"),
    ("http/1.1", b"http/1.1 200 OK"),
    ("ICY", b"ICY 200 OK"),
    ("another protocol", b"SSH-2.0-OpenSSH_9.2"),
    ("no protocol", b"200 OK"),
    ("a blank before it", b" HTTP/1.1 200 OK"),
    ("a NUL before it", b"\0HTTP/1.1 200 OK"),
    ("a letter before it", b"XHTTP/1.1 200 OK"),
    ("a request", b"GET /case HTTP/1.1"),
    ("a field", b"Status: 200"),
];

/// Odd, and either mended or 502.
const ODD_LINES: &[(&str, &[u8])] = &[
    ("no words", b"HTTP/1.1 200"),
    ("two blanks", b"HTTP/1.1  200 OK"),
    ("two blanks behind the status", b"HTTP/1.1 200  OK"),
    ("bytes of more than 7 bits in the words", b"HTTP/1.1 200 \xc3\xa9"),
    ("a control character in the words", b"HTTP/1.1 200 O\x01K"),
    ("an empty line before it", b"\r\nHTTP/1.1 200 OK"),
    ("HTTP/1.2", b"HTTP/1.2 200 OK"),
    ("HTTP/1.9", b"HTTP/1.9 200 OK"),
];

/// Lines that are no field.
const BAD_FIELDS: &[(&str, &[u8])] = &[
    ("no colon", b"X-A 1\r\n"),
    ("no name", b": 1\r\n"),
    ("a blank within the name", b"X A: 1\r\n"),
    ("a NUL in the name", b"X\0A: 1\r\n"),
    ("a control character in the name", b"X\x01A: 1\r\n"),
    ("UTF-8 in the name", b"X\xc3\xa9: 1\r\n"),
    ("a bracket in the name", b"X(A: 1\r\n"),
    ("a blank before the first field", b" X-A: 1\r\n"),
];

/// Mended or 502. A reader that mends finds no Set-Cookie in them.
const ODD_FIELDS: &[(&str, &[u8])] = &[
    ("a fold", b"X-A: 1\r\n 2\r\n"),
    ("a fold with a tab", b"X-A: 1\r\n\t2\r\n"),
    ("a fold that looks like a field", b"X-A: 1\r\n Set-Cookie: a=b\r\n"),
    ("an empty fold", b"X-A: 1\r\n \r\n"),
    ("a blank before the colon", b"X-A : 1\r\n"),
    ("a tab before the colon", b"X-A\t: 1\r\n"),
    ("a bare LF behind a field", b"X-A: 1\nX-B: 2\r\n"),
    ("bytes of more than 7 bits in the value", b"X-A: \xe9\xff\r\n"),
    ("UTF-8 in the value", b"X-A: \xc3\xa9\r\n"),
    ("a NUL in the value", b"X-A: 1\x002\r\n"),
    ("a bare CR in the value", b"X-A: 1\rSet-Cookie: a=b\r\n"),
    ("a bare CR at the end of the value", b"X-A: 1\r\r\n"),
    ("a control character in the value", b"X-A: 1\x012\r\n"),
    ("a value of 10 KB", b""),
];

const GOOD_FIELDS: &[(&str, &str)] = &[
    ("none of its own", ""),
    ("blanks around a value", "X-A:   1   \r\n"),
    ("an empty value", "X-A:\r\n"),
    ("an underscore", "X_A: 1\r\n"),
    ("a tab in a value", "X-A: 1\t2\r\n"),
    ("colons in a value", "X-A: ::\r\n"),
    ("two cookies", "Set-Cookie: a=b\r\nSet-Cookie: c=d\r\n"),
    ("another server", "Server: other\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"),
];

fn whole(line: &[u8], fields: &[u8]) -> Vec<u8> {
    join(&[line, b"\r\n", fields, b"Content-Length: 5\r\n\r\nhello"])
}

fn hello() -> Answer {
    answer(200, "hello")
}

pub fn cases() -> Vec<Case> {
    const OK: &[u8] = b"HTTP/1.1 200 OK";
    let mut cases = others();
    for (name, line) in BAD_LINES {
        cases.push(
            answering(format!("no status line: {name}"), whole(line, b"")).origin_closed().bad_gateway(),
        );
    }
    for (name, line) in ODD_LINES {
        cases.push(
            answering(format!("an odd status line: {name}"), whole(line, b""))
                .bad_gateway()
                .answered(hello()),
        );
    }
    for (name, field) in BAD_FIELDS {
        cases.push(
            answering(format!("an answer's bad field: {name}"), whole(OK, field))
                .origin_closed()
                .bad_gateway(),
        );
    }
    for (name, field) in ODD_FIELDS {
        let long = format!("X-A: {}\r\n", "v".repeat(10_000));
        let field = if field.is_empty() { long.as_bytes() } else { field };
        cases.push(
            answering(format!("an answer's odd field: {name}"), whole(OK, field))
                .bad_gateway()
                .answered(hello().absent(&["set-cookie"])),
        );
    }
    for (name, field) in GOOD_FIELDS {
        cases.push(
            answering(format!("an answer's fields: {name}"), whole(OK, field.as_bytes())).answered(hello()),
        );
    }
    for status in [200, 203, 418, 451, 511, 599] {
        let bytes = whole(format!("HTTP/1.1 {status} Word").as_bytes(), b"");
        cases.push(answering(format!("the status {status}"), bytes).answered(answer(status, "hello")));
    }
    for status in [600, 777, 999] {
        let bytes = whole(format!("HTTP/1.1 {status} Word").as_bytes(), b"");
        cases.push(
            answering(format!("the status {status}"), bytes).bad_gateway().answered(answer(status, "hello")),
        );
    }
    cases
}

fn others() -> Vec<Case> {
    let ends = |name: &str, bytes: &[u8]| {
        answering(format!("no answer: {name}"), bytes).and([Act::Fin]).bad_gateway()
    };
    let fields = |n: usize, size: usize| {
        (0..n).map(|i| format!("X-{i}: {}\r\n", "v".repeat(size))).collect::<String>()
    };
    let large = |name: &str, fields: String| {
        answering(format!("an answer's head: {name}"), whole(b"HTTP/1.1 200 OK", fields.as_bytes()))
            .bad_gateway()
    };
    let lines =
        |name: &str, bytes: &[u8]| answering(format!("line ends of an answer: {name}"), bytes).bad_gateway();
    vec![
        ends("nothing", b""),
        ends("an empty line", b"\r\n"),
        ends("noise", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"),
        ends("a word", b"hello"),
        ends("HTTP/0.9", b"<html><body>hello</body></html>\r\n"),
        ends("an error of another protocol", b"-ERR unknown command 'GET'\r\n"),
        ends("part of the protocol", b"HTT"),
        ends("part of the status line", b"HTTP/1.1 200 O"),
        ends("a status line", b"HTTP/1.1 200 OK\r\n"),
        ends("part of a field", b"HTTP/1.1 200 OK\r\nContent-Len"),
        ends("all but the empty line", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"),
        ends("half of the empty line", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r"),
        answering("no answer: a reset", b"").and([Act::Reset]).bad_gateway(),
        answering("no answer: a reset within a head", b"HTTP/1.1 200 OK\r\nX")
            .and([Act::Reset])
            .bad_gateway(),
        large("20 fields of 1 KB", fields(20, 1000)).answered(hello()),
        large("90 fields", fields(90, 1)).answered(hello()),
        large("1000 fields", fields(1000, 1)).answered(hello()),
        large("2 MB in fields", fields(2000, 1000)).origin_closed(),
        large("2 MB in one field", fields(1, 2_000_000)).origin_closed(),
        large("2 MB in a name", format!("X-{}: 1\r\n", "n".repeat(2_000_000))).origin_closed(),
        lines("a bare LF behind the status line", b"HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\nhello")
            .answered(hello()),
        lines("only bare LFs", b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello").answered(hello()),
        lines("a bare LF for the empty line", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\nhello")
            .answered(hello()),
        lines("a bare CR for the empty line", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\rhello\r\n\r\n")
            .origin_closed(),
        lines("bare CRs", b"HTTP/1.1 200 OK\rContent-Length: 5\r\rhello\r\n\r\n").origin_closed(),
    ]
}
