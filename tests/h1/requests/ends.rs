//! Clients that leave before their request is whole: the origin never takes it for whole.

use crate::case::{Case, Reply, Step, case, post_with, want};

/// Where in the head: none of these reaches the origin.
const HEADS: &[(&str, &str)] = &[
    ("at once", ""),
    ("within the method", "GE"),
    ("within the target", "GET /ca"),
    ("within the version", "GET /case HTTP/1."),
    ("within the CRLF of the request line", "GET /case HTTP/1.1\r"),
    ("behind the request line", "GET /case HTTP/1.1\r\n"),
    ("within a name", "GET /case HTTP/1.1\r\nHo"),
    ("within a value", "GET /case HTTP/1.1\r\nHost: h1"),
    ("behind the last field", "GET /case HTTP/1.1\r\nHost: h1.test\r\n"),
    ("within the last CRLF", "GET /case HTTP/1.1\r\nHost: h1.test\r\n\r"),
];

pub fn cases() -> Vec<Case> {
    let head = |(name, bytes): &(&str, &str)| {
        case(format!("a client that leaves {name}"), bytes).then(Step::Fin).or(
            vec![],
            vec![Reply::OwnOrEnd(&[400, 408])],
            true,
        )
    };
    let body = |(name, sent): &(&str, &str)| {
        case(format!("a client that leaves {name}"), post_with("Content-Length: 5\r\n", sent))
            .then(Step::Fin)
            .broken(want("POST /case").body("hello"), &[400, 408])
    };
    let bodies = [("before the body", ""), ("within the body", "he"), ("before the last byte", "hell")];
    // The same when the origin has begun to read.
    let begun = case("a client that leaves when the origin reads", post_with("Content-Length: 5\r\n", "he"))
        .then(Step::Begun)
        .then(Step::Fin)
        .broken(want("POST /case").body("hello"), &[400, 408]);
    HEADS.iter().map(head).chain(bodies.iter().map(body)).chain([begun]).collect()
}
