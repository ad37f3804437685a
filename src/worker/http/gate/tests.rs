//! Every fault, at every place where a head can be split; and what is no fault.

use super::*;
use proptest::prelude::*;

/// Fed at once and in two pieces, split anywhere: always the same end. The gate, and the bytes that were the head's.
fn fed(fresh: &Gate, bytes: &[u8]) -> (Gate, usize) {
    let mut whole = fresh.clone();
    let taken = whole.feed(bytes);
    for split in 0..=bytes.len() {
        let mut pieces = fresh.clone();
        let first = pieces.feed(&bytes[..split]);
        assert!(first == split || pieces.complete(), "only a complete head leaves bytes");
        let second = pieces.feed(&bytes[split..]);
        assert_eq!((&pieces, first + second), (&whole, taken), "{:?} split at {split}", bytes.escape_ascii());
    }
    (whole, taken)
}

fn request(text: &str) -> Option<Fault> {
    let (gate, _) = fed(&Gate::new(), text.as_bytes());
    assert!(gate.complete(), "{text:?}");
    gate.fault()
}

#[test]
fn an_ordinary_head_has_no_fault_and_what_follows_it_is_not_looked_at() {
    let head = "GET /a?b=1 HTTP/1.1\r\nHost: a\r\nContent-Type: x\r\nCookie: a=b\r\nTE: trailers\r\n\
                Content-Length: 3\r\n\r\n";
    assert_eq!(request(head), None);
    let body = format!("{head}a\n\0\r#");
    let (gate, taken) = fed(&Gate::new(), body.as_bytes());
    assert_eq!((gate.complete(), gate.fault(), taken), (true, None, head.len()));
}

#[test]
fn it_is_not_complete_before_the_empty_line() {
    for text in
        ["", "\r\n", "\r\n\r\n\r\n", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nA: b\r\n", "A\r\nB\r\n\r"]
    {
        let (gate, taken) = fed(&Gate::new(), text.as_bytes());
        assert_eq!((gate.complete(), gate.fault(), taken), (false, None, text.len()), "{text:?}");
    }
}

#[test]
fn empty_lines_before_the_first_are_skipped() {
    assert_eq!(request("\r\n\r\nGET / HTTP/1.1\r\n\r\n"), None);
    assert_eq!(request("\nGET / HTTP/1.1\r\n\r\n"), Some(Fault::BareLf));
    assert_eq!(request("\r\rGET / HTTP/1.1\r\n\r\n"), Some(Fault::BareCr));
}

#[test]
fn every_line_ends_in_cr_and_lf() {
    for text in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\n\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding\n: a\r\n\r\n",
    ] {
        assert_eq!(request(text), Some(Fault::BareLf), "{text:?}");
    }
    for text in [
        "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
        "GET / HTTP/1.1\r\r\nA: b\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\r\n\r\n",
        "GET / HTTP/1.1\r\n\rA: b\r\n\r\n",
        "GET /\r HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nA\r: b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\r\n\r\n",
    ] {
        assert_eq!(request(text), Some(Fault::BareCr), "{text:?}");
    }
}

#[test]
fn nul_bytes_are_found_wherever_they_are() {
    for text in [
        "\0GET / HTTP/1.1\r\n\r\n",
        "GET /\0 HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\n\0\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-\0Length: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nA: \0\r\n\r\n",
    ] {
        assert_eq!(request(text), Some(Fault::NulByte), "{text:?}");
    }
}

#[test]
fn length_beside_coding_is_found_in_any_order_and_case() {
    for (first, second) in [
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("TRANSFER-ENCODING:chunked", "content-LENGTH:5"),
        ("transfer-encoding \t: chunked", "Content-Length  : 5"),
        ("Transfer-Encoding:", "Content-Length:"),
    ] {
        let both = format!("X: y\r\n{first}\r\nX: y\r\n{second}\r\n\r\n");
        assert_eq!(request(&format!("POST / HTTP/1.1\r\n{both}")), Some(Fault::LengthAndCoding), "{both}");
    }
}

#[test]
fn names_that_only_look_like_the_two_are_none_of_them() {
    for other in [
        "Content-Length-X: 1",
        "Content-Lengt: 1",
        "X-Content-Length: 1",
        "Content-Length x: 1",
        "Content-Length",
        "X: Content-Length: 1",
        "Content_Length: 1",
    ] {
        let text = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{other}\r\n\r\n");
        assert_eq!(request(&text), None, "{other}");
    }
    // The first line is none of the fields.
    assert_eq!(request("Content-Length: 5 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), None);
}

#[test]
fn a_target_has_no_fragment_but_a_method_and_a_value_may_hold_its_sign() {
    for target in ["/a#b", "/#", "#", "/a?b#c", "http://a/#b"] {
        assert_eq!(request(&format!("GET {target} HTTP/1.1\r\n\r\n")), Some(Fault::Fragment), "{target}");
    }
    assert_eq!(request("GE#T / HTTP/1.1\r\nA#: #\r\n\r\n"), None);
}

#[test]
fn the_first_fault_is_the_one_that_is_told() {
    assert_eq!(request("GET /#a HTTP/1.1\nA: \0\r\n\r\n"), Some(Fault::Fragment));
}

#[test]
fn after_a_restart_it_is_as_new() {
    let mut gate = Gate::new();
    gate.feed(b"GET 100 # HTTP/1.1\nContent-Length: 1\r\n\r\n");
    gate.restart();
    assert_eq!(gate, Gate::new());
}

#[test]
fn every_fault_is_told_in_other_words() {
    let all = [Fault::BareLf, Fault::BareCr, Fault::NulByte, Fault::LengthAndCoding, Fault::Fragment];
    let texts: std::collections::BTreeSet<String> = all.iter().map(Fault::to_string).collect();
    assert_eq!(texts.len(), all.len());
}

/// Heads and near-heads, of the pieces that matter.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let pieces: &[&[u8]] = &[
        b"\r\n",
        b"\r\n",
        b"\r",
        b"\n",
        b"\0",
        b" ",
        b"#",
        b"GET",
        b"/",
        b"HTTP/1.1",
        b"100",
        b"101",
        b"200",
        b"Content-",
        b"Length",
        b"content-length:",
        b"Transfer-Encoding:",
        b"\t",
        b":",
        b"x",
        b"\xff",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn in_pieces_and_at_once_is_the_same(
        bytes in soup(),
        sizes in prop::collection::vec(0usize..6, 0..80),
    ) {
        let fresh = Gate::new();
        let mut whole = fresh.clone();
        let taken = whole.feed(&bytes);
        let (mut pieces, mut rest, mut sum) = (fresh, &bytes[..], 0);
        for size in sizes.into_iter().chain([usize::MAX]) {
            let (piece, after) = rest.split_at(size.min(rest.len()));
            sum += pieces.feed(piece);
            rest = after;
        }
        prop_assert_eq!((pieces, sum), (whole, taken));
    }

    /// What hyper's parser would take for the end of a head is one here too, unless there is a fault.
    #[test]
    fn without_a_fault_the_head_ends_at_the_first_empty_line(bytes in soup()) {
        let mut gate = Gate::new();
        let taken = gate.feed(&bytes);
        let start = bytes.chunks(2).take_while(|pair| pair == b"\r\n").count() * 2;
        let end = bytes[start..].windows(4).position(|four| four == b"\r\n\r\n").map(|at| start + at + 4);
        if gate.fault().is_none() {
            prop_assert_eq!(gate.complete().then_some(taken), end);
        }
    }
}
