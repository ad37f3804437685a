//! One answer to one request: those below 200 come before it, and whatever comes behind it is nobody's.

use crate::case::{
    Act, Case, Gate, Reply, SMUGGLED, Want, answer, answering, case, get_with, join, post_with, request, want,
};

const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const STRAY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray";

/// What comes before the answer, and whether the proxy may take offence.
const BEFORE: &[(&str, &str)] = &[
    ("100", "HTTP/1.1 100 Continue\r\n\r\n"),
    ("100 without words", "HTTP/1.1 100 \r\n\r\n"),
    ("100 with fields", "HTTP/1.1 100 Continue\r\nX-A: 1\r\nConnection: close\r\n\r\n"),
    ("102", "HTTP/1.1 102 Processing\r\n\r\n"),
    ("103", "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"),
    ("199", "HTTP/1.1 199 Word\r\n\r\n"),
    (
        "three",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n",
    ),
];

/// The same, with framing that none of them has (RFC 9110, 8.6; RFC 9112, 6.1): ignored, or 502.
const FRAMED: &[(&str, &str)] = &[
    ("100 with a length", "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n"),
    ("103 with a length of an answer", "HTTP/1.1 103 Early Hints\r\nContent-Length: 43\r\n\r\n"),
    ("103 with a coding", "HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n"),
];

pub fn cases() -> Vec<Case> {
    let mut cases = behind();
    for (name, before) in BEFORE {
        let bytes = join(&[before.as_bytes(), HELLO]);
        cases.push(
            answering(format!("before the answer: {name}"), &bytes)
                .interim(&[100, 102, 103, 199])
                .answered(answer(200, "hello").absent(&["link", "x-a"])),
        );
        // HTTP/1.0 does not know them.
        cases.push(
            case(format!("before the answer to HTTP/1.0: {name}"), request("GET /case HTTP/1.0", "", ""))
                .origin(vec![Act::Send(bytes)])
                .answered(answer(200, "hello")),
        );
    }
    for (name, before) in FRAMED {
        cases.push(
            answering(format!("before the answer: {name}"), join(&[before.as_bytes(), HELLO]))
                .interim(&[100, 103])
                .bad_gateway()
                .answered(answer(200, "hello")),
        );
    }
    cases.extend(interim());
    cases.extend(unasked());
    cases.extend(empty());
    cases
}

fn interim() -> Vec<Case> {
    let early = "HTTP/1.1 103 Early Hints\r\n\r\n";
    let no_final = |name: &str, acts: Vec<Act>| {
        case(format!("before no answer: {name}"), get_with("")).origin(acts).interim(&[103]).bad_gateway()
    };
    vec![
        answering("before the answer: fifty", join(&[early.repeat(50).as_bytes(), HELLO]))
            .interim(&[103])
            .bad_gateway()
            .answered(answer(200, "hello")),
        answering("before the answer: at another time", early)
            .and([Act::After(Gate::Sent), Act::Send(HELLO.to_vec())])
            .interim(&[103])
            .answered(answer(200, "hello")),
        case("before the answer to a body: 100", post_with("Content-Length: 5\r\n", "hello"))
            .origin(vec![Act::Send(join(&[b"HTTP/1.1 100 Continue\r\n\r\n", HELLO]))])
            .interim(&[100])
            .or(vec![want("POST /case").body("hello")], vec![Reply::Whole(answer(200, "hello"))], false),
        case("before the answer to HEAD: 103", request("HEAD /case HTTP/1.1", "", ""))
            .origin(vec![Act::Send(format!("{early}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n").into())])
            .interim(&[103])
            .or(vec![want("HEAD /case")], vec![Reply::Whole(answer(200, ""))], false),
        no_final("103, and the end", vec![Act::Send(early.into()), Act::Fin]),
        no_final("103, and a reset", vec![Act::Send(early.into()), Act::Reset]),
        no_final("103, and noise", vec![Act::Send(format!("{early}noise\r\n\r\n").into())]).origin_closed(),
    ]
}

/// 101 changes the protocol of a connection whose client has asked for it, and of no other.
fn unasked() -> Vec<Case> {
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let acts = || vec![Act::Send(join(&[switch, STRAY]))];
    let again = Want { again: true, ..want("GET /case") };
    let with = |name: &str, bytes: Vec<u8>| case(format!("101 {name}"), bytes).origin(acts()).origin_closed();
    vec![
        with("unasked", get_with("")).bad_gateway(),
        with("unasked, with a request behind", join(&[&get_with("Connection: close\r\n"), SMUGGLED])).or(
            vec![again],
            vec![Reply::Own(&[502])],
            true,
        ),
        with("to another upgrade", get_with("Connection: Upgrade\r\nUpgrade: h2c\r\n")).bad_gateway(),
        with("to an upgrade that nobody named", get_with("Upgrade: websocket\r\n")).bad_gateway(),
        with("to a body", post_with("Content-Length: 5\r\n", "hello")).or(
            vec![want("POST /case").body("hello")],
            vec![Reply::Own(&[502])],
            false,
        ),
        answering("101 without an upgrade", b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            .origin_closed()
            .bad_gateway(),
    ]
}

/// Bytes behind an answer, in the same write or when the connection is idle.
fn behind() -> Vec<Case> {
    const ROWS: &[(&str, &[u8])] = &[
        ("another", STRAY),
        (
            "two more",
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray",
        ),
        ("one without a body", b"HTTP/1.1 204 No\r\n\r\n"),
        ("one below 200", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        ("101", b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"),
        ("408", b"HTTP/1.1 408 Late\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
        ("half of one", b"HTTP/1.1 200 OK\r\nContent-Le"),
        ("one byte", b"x"),
        ("noise", b"\x15\x03\x03\0\x02\x02\x46"),
        ("a chunk's end", b"0\r\n\r\n"),
        ("a request", b"GET /case HTTP/1.1\r\n\r\n"),
    ];
    let hello = || answer(200, "hello");
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let later = |name: &str, acts: Vec<Act>| {
        answering(format!("later: {name}"), HELLO).and([Act::After(Gate::Answer)]).and(acts).answered(hello())
    };
    let two = join(&[&get_with(""), &request("GET /next HTTP/1.1", "", "")]);
    let mut cases = vec![
        later("the end", vec![Act::Fin]),
        later("a reset", vec![Act::Reset]),
        later("408, and the end", vec![Act::Send(ROWS[5].1.to_vec()), Act::Fin]),
        // Harmless, if it is taken for what it is.
        answering("behind the answer: an empty line", join(&[HELLO, b"\r\n"])).answered(hello()),
        // The next request of the same client is another request.
        case("behind the answer: another, for the next request", two)
            .origin(vec![Act::Send(join(&[HELLO, STRAY]))])
            .origin(vec![Act::Echo])
            .or(vec![want("GET /case"), want("GET /next")], vec![Reply::Whole(hello()), Reply::Echo], false),
    ];
    for (name, bytes) in ROWS {
        let all = |first: &[u8]| join(&[first, bytes]);
        cases.extend([
            answering(format!("behind the answer: {name}"), all(HELLO)).origin_closed().answered(hello()),
            answering(format!("behind chunks: {name}"), all(chunked)).origin_closed().answered(hello()),
            later(name, vec![Act::Send(bytes.to_vec())]).origin_closed(),
        ]);
    }
    cases
}

/// No answer at all: a request that may not be repeated is not.
fn empty() -> Vec<Case> {
    let post = |name: &str, acts: Vec<Act>| {
        case(format!("no answer to a POST: {name}"), post_with("Content-Length: 5\r\n", "hello"))
            .origin(acts)
            .or(vec![want("POST /case").body("hello")], vec![Reply::Own(&[502])], false)
    };
    let send = |bytes: &[u8]| Act::Send(bytes.to_vec());
    vec![
        post("the end", vec![Act::Fin]),
        post("a reset", vec![Act::Reset]),
        post("noise", vec![send(b"noise\r\n\r\n"), Act::Fin]),
        post("half a head", vec![send(b"HTTP/1.1 200 OK\r\nX-"), Act::Fin]),
        post(
            "two lengths",
            vec![send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"), Act::Fin],
        ),
    ]
}
