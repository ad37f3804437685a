//! Requests one behind the other (RFC 9112, 9.3.2): each is answered in its turn, and the first bad one
//! ends it. Where one request ends is where the next begins, to the byte.

use crate::case::{
    Act, Case, Extent, Gate, Reply, SMUGGLED, Step, answer, case, get_with, join, post_with, request, want,
};

const BAD: &[(&str, &[u8])] = &[
    ("noise", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\r\n\r\n"),
    ("no host", b"GET /bad HTTP/1.1\r\n\r\n"),
    ("two hosts", b"GET /bad HTTP/1.1\r\nHost: h1.test\r\nHost: other.test\r\n\r\n"),
    (
        "length and coding",
        b"POST /bad HTTP/1.1\r\nHost: h1.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n\
          0\r\n\r\n",
    ),
    ("a bad length", b"POST /bad HTTP/1.1\r\nHost: h1.test\r\nContent-Length: +5\r\n\r\nhello"),
    ("a bad coding", b"POST /bad HTTP/1.1\r\nHost: h1.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("a bare LF", b"GET /bad HTTP/1.1\nHost: h1.test\r\n\r\n"),
    ("a bad name", b"GET /bad HTTP/1.1\r\nHost: h1.test\r\nX A: 1\r\n\r\n"),
    ("a fragment", b"GET /bad#part HTTP/1.1\r\nHost: h1.test\r\n\r\n"),
    ("another version", b"GET /bad HTTP/3.1\r\nHost: h1.test\r\n\r\n"),
];

fn get(path: &str) -> Vec<u8> {
    request(&format!("GET {path} HTTP/1.1"), "", "")
}

pub fn cases() -> Vec<Case> {
    let first = get_with("");
    let length = format!("Content-Length: {}\r\n", SMUGGLED.len());
    let post = post_with(&length, SMUGGLED);
    let chunks = format!("{:x}\r\n", SMUGGLED.len());
    let chunked =
        post_with("Transfer-Encoding: chunked\r\n", join(&[chunks.as_bytes(), SMUGGLED, b"\r\n0\r\n\r\n"]));
    let with_trailer = post_with("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n");
    let body = || want("POST /case").body(SMUGGLED);
    let next = || want("GET /next");
    let all: Vec<u8> = (0..10).flat_map(|n| get(&format!("/{n}"))).collect();
    let line = |name: &str, parts: &[&[u8]]| case(format!("a pipeline: {name}"), join(parts));
    let mut cases = vec![
        line("two", &[&first, &get("/next")]).forwarded([want("GET /case"), next()]),
        line("ten", &[&all]).forwarded((0..10).map(|n| want(&format!("GET /{n}")))),
        line("behind a length", &[&post, &get("/next")]).forwarded([body(), next()]),
        line("behind chunks", &[&chunked, &get("/next")]).forwarded([body(), next()]),
        line("behind a trailer", &[&with_trailer, &get("/next")])
            .forwarded([want("POST /case").body("hello").trailers(&["x-t"]), next()]),
        line("behind an empty body", &[&post_with("Content-Length: 0\r\n", ""), &get("/next")])
            .forwarded([want("POST /case"), next()]),
        line("behind no body", &[&post_with("", ""), &get("/next")]).forwarded([want("POST /case"), next()]),
        line("behind no chunks", &[&post_with("Transfer-Encoding: chunked\r\n", "0\r\n\r\n"), &get("/next")])
            .forwarded([want("POST /case").body(""), next()]),
        line("two bodies", &[&post, &chunked, &get("/next")]).forwarded([body(), body(), next()]),
        line("behind HEAD", &[&request("HEAD /case HTTP/1.1", "", ""), &get("/next")])
            .forwarded([want("HEAD /case"), next()]),
        line("behind a GET with a body", &[&request("GET /case HTTP/1.1", &length, SMUGGLED), &get("/next")])
            .forwarded([want("GET /case").body(SMUGGLED), next()]),
        line("an empty line between", &[&post, b"\r\n", &get("/next")]).forwarded([body(), next()]).or(
            vec![body()],
            vec![Reply::Echo, Reply::OwnOrEnd(&[400])],
            true,
        ),
        line(
            "the second within a body's length",
            &[&post_with("Content-Length: 41\r\n", SMUGGLED), SMUGGLED],
        )
        .forwarded([body(), want("GET /smuggled")]),
        // Whoever says that it closes wants no more (RFC 9112, 9.6).
        line("behind a close", &[&get_with("Connection: close\r\n"), SMUGGLED]).or(
            vec![want("GET /case")],
            vec![Reply::Echo],
            true,
        ),
        line("behind HTTP/1.0", &[&request("GET /case HTTP/1.0", "", ""), SMUGGLED]).or(
            vec![want("GET /case")],
            vec![Reply::Echo],
            true,
        ),
        line(
            "behind HTTP/1.0 that is kept",
            &[&request("GET /case HTTP/1.0", "Connection: keep-alive\r\n", ""), &get("/next")],
        )
        .forwarded([want("GET /case"), next()])
        .or(vec![want("GET /case")], vec![Reply::Echo], true),
        line("the first is answered late", &[&first, &get("/next")])
            .origin(vec![Act::After(Gate::Sent), Act::Echo])
            .origin(vec![Act::Echo])
            .forwarded([want("GET /case"), next()]),
        line("the origin closes behind the first", &[&first, &get("/next")])
            .origin(vec![
                Act::Send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nfirst".to_vec()),
                Act::Fin,
            ])
            .origin(vec![Act::Echo])
            .or(vec![want("GET /case"), next()], vec![whole("first"), Reply::Echo], false),
        line("the second is half", &[&first, b"GET /half HTTP/1.1\r\nHo"])
            .then(Step::Told(200))
            .then(Step::Fin)
            .or(vec![want("GET /case")], vec![Reply::Echo, Reply::OwnOrEnd(&[400, 408])], true),
        line("the body of the second is half", &[&first, &post_with("Content-Length: 9\r\n", "hello")])
            .then(Step::Told(200))
            .then(Step::Fin)
            .or(
                vec![want("GET /case"), want("POST /case").body("hello").extent(Extent::Broken)],
                vec![Reply::Echo, Reply::OwnOrEnd(&[400, 408])],
                true,
            ),
    ];
    for (name, bytes) in BAD {
        for (before, sent, wanted) in [("a GET", &first, want("GET /case")), ("a body", &post, body())] {
            cases.push(line(&format!("behind {before} {name}"), &[sent, bytes, SMUGGLED]).or(
                vec![wanted],
                vec![Reply::Echo, Reply::Own(&[400, 501, 505])],
                true,
            ));
        }
    }
    cases
}

fn whole(body: &str) -> Reply {
    Reply::Whole(answer(200, body))
}
