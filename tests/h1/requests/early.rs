//! An answer before the request's body is there: what of the body comes later is never a request, neither
//! for the proxy nor for the origin, and the origin's connection serves nobody else.

use crate::case::{
    Act, Case, Extent, Reply, SMUGGLED, Step, Want, answer, case, join, post_with, request, want,
};

const KEPT: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly";
const CLOSED: &[u8] = b"HTTP/1.1 413 No\r\nContent-Length: 5\r\nConnection: close\r\n\r\nearly";

/// The first half is sent, the origin answers, and then comes the second half: a request by its looks.
struct Halves {
    name: &'static str,
    first: Vec<u8>,
    second: Vec<u8>,
}

fn halves() -> [Halves; 2] {
    let length = format!("Content-Length: {}\r\n", 5 + SMUGGLED.len());
    let size = format!("\r\n{:x}\r\n", SMUGGLED.len());
    [
        Halves { name: "a length", first: post_with(length, "hello"), second: SMUGGLED.to_vec() },
        Halves {
            name: "a coding",
            first: post_with("Transfer-Encoding: chunked\r\n", "5\r\nhello"),
            second: join(&[size.as_bytes(), SMUGGLED, b"\r\n0\r\n\r\n"]),
        },
    ]
}

fn seen() -> Want {
    want("POST /case").body(join(&[b"hello", SMUGGLED])).extent(Extent::WholeOrPart)
}

pub fn cases() -> Vec<Case> {
    halves().iter().flat_map(of).chain(others()).collect()
}

fn of(Halves { name, first, second }: &Halves) -> Vec<Case> {
    let early = |what: &str, acts: Vec<Act>| {
        case(format!("an early answer to {name}: {what}"), first).origin_early(acts).then(Step::Begun)
    };
    let send = |bytes: &[u8]| Act::Send(bytes.to_vec());
    let told = |status: u16| vec![Reply::Whole(answer(status, "early"))];
    let next = request("GET /next HTTP/1.1", "", "");
    let bad = |case: Case| {
        case.then_send(second).or(vec![seen()], vec![Reply::Own(&[502])], false).or(
            vec![seen()],
            vec![],
            true,
        )
    };
    vec![
        early("the rest comes", vec![send(KEPT)]).then(Step::Told(200)).then_send(second).or(
            vec![seen()],
            told(200),
            false,
        ),
        early("the rest comes, and the origin has closed", vec![send(CLOSED), Act::Fin])
            .then(Step::Told(413))
            .then_send(second)
            .or(vec![seen()], told(413), false),
        early("the rest never comes", vec![send(KEPT)]).then(Step::Told(200)).then(Step::Fin).or(
            vec![seen()],
            told(200),
            false,
        ),
        early("the rest comes, and one more", vec![send(KEPT)])
            .origin(vec![Act::Echo])
            .then(Step::Told(200))
            .then_send(join(&[second, &next]))
            .or(vec![seen(), want("GET /next")], vec![told(200).remove(0), Reply::Echo], false)
            .or(vec![seen()], told(200), true),
        bad(early("noise", vec![send(b"noise\r\n\r\n"), Act::Fin])),
        bad(early("nothing, and the end", vec![Act::Fin])),
        bad(early("a reset", vec![Act::Reset])),
        bad(early("half a head", vec![send(b"HTTP/1.1 200 OK\r\nContent-Le"), Act::Fin])),
        early("half of it", vec![send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nearly"), Act::Fin])
            .then_send(second)
            .or(vec![seen()], vec![Reply::Cut(answer(200, "early"))], true)
            .or(vec![seen()], vec![Reply::OwnOrEnd(&[502])], true),
    ]
}

/// The proxy's own early answers: a body that nobody reads is no request either.
fn others() -> Vec<Case> {
    let length = format!("Content-Length: {}\r\n", SMUGGLED.len());
    vec![
        case("a body behind a bad target", request("POST /case#x HTTP/1.1", &length, SMUGGLED))
            .refused(&[400]),
        case("a body behind a bad host", format!("POST /case HTTP/1.1\r\nHost: a@b\r\n{length}\r\n"))
            .then_send(SMUGGLED)
            .refused(&[400]),
        case("a body behind too many fields", post_with("X-A: 1\r\n".repeat(60) + &length, SMUGGLED))
            .refused(&[431]),
    ]
}
