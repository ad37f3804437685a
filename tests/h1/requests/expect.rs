//! Expect (RFC 9110, 10.1.1): a client that waits is told to go on, once somebody will read; what it then
//! sends is a body and nothing else.

use crate::case::{
    Act, Answer, Case, Extent, Reply, SMUGGLED, Step, answer, case, get_with, post_with, request, want,
};

const ASKS: &str = "Expect: 100-continue\r\n";

pub fn cases() -> Vec<Case> {
    let hello = || want("POST /case").body("hello");
    let length = format!("{ASKS}Content-Length: 5\r\n");
    let coding = format!("{ASKS}Transfer-Encoding: chunked\r\n");
    let smuggled = want("POST /case").body(SMUGGLED);
    let long = format!("{ASKS}Content-Length: {}\r\n", SMUGGLED.len());
    let mut cases = vec![
        waiting("a length", post_with(&length, ""), "hello").forwarded([hello()]),
        waiting("a coding", post_with(&coding, ""), "5\r\nhello\r\n0\r\n\r\n").forwarded([hello()]),
        waiting("in another case", post_with("expect: 100-CONTINUE\r\nContent-Length: 5\r\n", ""), "hello")
            .forwarded([hello()]),
        waiting("a body that looks like a request", post_with(&long, ""), SMUGGLED).forwarded([smuggled]),
        waiting("then a bad chunk", post_with(&coding, ""), "5\r\nhello\r\nx\r\n").broken(hello(), &[400]),
        waiting(
            "then a body, and a second request",
            post_with(&length, ""),
            [b"hello", &get_with("")[..]].concat(),
        )
        .forwarded([hello(), want("GET /case")]),
        case("an expectation: not waited for", post_with(&length, "hello"))
            .interim(&[100])
            .forwarded([hello()]),
        case("an expectation: no body", get_with(ASKS)).interim(&[100]).forwarded([want("GET /case")]),
        case("an expectation: an empty body", post_with(format!("{ASKS}Content-Length: 0\r\n"), ""))
            .interim(&[100])
            .forwarded([want("POST /case")]),
        // HTTP/1.0 knows no answers below 200.
        case("an expectation: HTTP/1.0", request("POST /case HTTP/1.0", &length, "hello"))
            .forwarded([hello()]),
        case("an expectation: and a client that leaves", post_with(&length, ""))
            .interim(&[100])
            .then(Step::Fin)
            .broken(hello(), &[400, 408]),
    ];
    for other in ["200-ok", "100-continue-please", "x=y", "100-continue, x=y", ""] {
        let fields = format!("Expect: {other}\r\nContent-Length: 5\r\n");
        cases.push(
            case(format!("another expectation: {other:?}"), post_with(fields, "hello"))
                .interim(&[100])
                .declined(&[400, 417])
                .forwarded([hello()]),
        );
    }
    cases.extend(refused_early());
    cases
}

/// A client that waits for 100 and then goes on.
fn waiting(name: &str, head: Vec<u8>, body: impl AsRef<[u8]>) -> Case {
    case(format!("an expectation: {name}"), head).then(Step::Told(100)).then_send(body).interim(&[100])
}

/// An origin that wants no body: the client may still send it, and it is none the less a body.
fn refused_early() -> Vec<Case> {
    let fields = format!("{ASKS}Content-Length: {}\r\n", SMUGGLED.len());
    let no: Answer = answer(403, "no");
    let kept = b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno".to_vec();
    let closed = b"HTTP/1.1 403 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno".to_vec();
    let seen = || want("POST /case").body(SMUGGLED).extent(Extent::WholeOrPart);
    let early = |name: &str, acts: Vec<Act>| {
        case(format!("an expectation that is not met: {name}"), post_with(&fields, ""))
            .interim(&[100])
            .origin_early(acts)
            .or(vec![seen()], vec![Reply::Whole(no.clone())], false)
    };
    vec![
        early("the body comes", vec![Act::Send(kept.clone())]).then(Step::Told(403)).then_send(SMUGGLED),
        early("the body comes, and the origin closes", vec![Act::Send(closed), Act::Fin])
            .then(Step::Told(403))
            .then_send(SMUGGLED),
        early("the client leaves", vec![Act::Send(kept)]).then(Step::Told(403)).then(Step::Fin),
    ]
}
