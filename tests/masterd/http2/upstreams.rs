//! Upstreams that speak HTTP/2, and turn a request away without having looked at it: it goes elsewhere.

use super::client::*;
use super::*;
use std::sync::{Arc, Mutex};

const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;

/// What a server does about its requests, connection by connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// Answers everything.
    Willing,
    /// Answers one, and goes when the second one comes.
    Leaving,
    /// Goes when the first comes, or its body if there is one.
    Gone,
    /// Refuses every stream.
    Refusing,
    /// Takes the first, and goes without an answer to it.
    Faithless,
    /// Takes each, and breaks off.
    Broken,
    /// Answers one, and breaks off all others.
    Fickle,
}

/// By which connection, and with which body.
type Answered = Arc<Mutex<Vec<(usize, Vec<u8>)>>>;

/// A server's connections behave so, the last mood being that of all others; what it has answered.
fn server(moods: &'static [Mood]) -> (Origin, Answered) {
    let answered = Arc::new(Mutex::new(Vec::new()));
    let ours = answered.clone();
    let origin = Origin::start(move |visit| {
        let number = visit.number;
        let mood = moods[number.min(moods.len() - 1)];
        let mut peer = Client::bare(visit.conn);
        let Ok(preface) = peer.conn.read_exactly(PREFACE.len()) else { return };
        assert_eq!(preface, PREFACE);
        peer.frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]).unwrap();
        let mut asked = 0;
        while let Ok(frame) = peer.turn() {
            asked += u32::from(frame.kind == HEADERS);
            let whole = frame.flags & END_STREAM != 0 && matches!(frame.kind, HEADERS | DATA);
            let goes = match mood {
                Mood::Leaving => asked > 1,
                Mood::Gone => frame.kind == HEADERS && whole || frame.kind == DATA,
                Mood::Faithless => frame.kind == HEADERS,
                Mood::Refusing | Mood::Broken | Mood::Fickle | Mood::Willing => false,
            };
            if goes {
                let last = if mood == Mood::Gone { 0u32 } else { 1 };
                let payload = [last.to_be_bytes(), NO_ERROR.to_be_bytes()].concat();
                peer.frame(GOAWAY, 0, 0, &payload).unwrap();
                if mood == Mood::Faithless {
                    return;
                }
                while peer.turn().is_ok() {}
                return;
            }
            let reset = match mood {
                Mood::Refusing => Some(REFUSED_STREAM),
                Mood::Broken => Some(INTERNAL_ERROR),
                Mood::Fickle if asked > 1 => Some(INTERNAL_ERROR),
                _ => None,
            };
            if let Some(code) = reset
                && frame.kind == HEADERS
            {
                peer.frame(RST_STREAM, 0, frame.stream, &code.to_be_bytes()).unwrap();
            } else if whole {
                ours.lock().unwrap().push((number, peer.streams[&frame.stream].body.clone()));
                let head = hpack::encode(&[(":status", "200")]);
                peer.frame(HEADERS, END_HEADERS, frame.stream, &head).unwrap();
                peer.frame(DATA, END_STREAM, frame.stream, b"answer").unwrap();
            }
        }
    });
    (origin, answered)
}

/// A master with one worker that passes everything on to these.
#[track_caller]
fn before(place: &Place, origins: &[&Origin], more: &str) -> Master {
    let addresses: Vec<&str> = origins.iter().map(|origin| origin.address()).collect();
    let action = proxy(&addresses, &format!("http2 = true, retries = 0{more}"));
    Master::start(place, &Web::new().workers(1).root(&action).text())
}

/// A request that must not be sent twice, and its answer.
#[track_caller]
fn post(conn: &mut Conn, body: &str) -> Response {
    let head = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    conn.send(head.as_bytes()).unwrap();
    conn.receive().unwrap()
}

#[test]
fn what_a_leaving_server_has_not_looked_at_goes_to_another_connection() {
    let place = Place::new();
    let (origin, answered) = server(&[Mood::Leaving, Mood::Willing]);
    let master = before(&place, &[&origin], "");
    let mut conn = Conn::open(&master.address()).unwrap();
    for _ in 0..3 {
        assert_eq!(post(&mut conn, "").body, "answer");
    }
    let by: Vec<usize> = answered.lock().unwrap().iter().map(|(number, _)| *number).collect();
    assert_eq!(by, [0, 1, 1], "each once");
    assert_eq!(master.service("web").totals.errors, 0);
    drop(conn);
    end(master);
}

#[test]
fn a_server_that_goes_at_once_is_given_another_connection_once() {
    let place = Place::new();
    for mood in [&[Mood::Gone, Mood::Willing], &[Mood::Refusing, Mood::Willing]] {
        let (origin, answered) = server(mood);
        let master = before(&place, &[&origin], "");
        let mut conn = Conn::open(&master.address()).unwrap();
        assert_eq!(post(&mut conn, "").body, "answer", "{mood:?}");
        assert_eq!(answered.lock().unwrap().len(), 1);
        drop(conn);
        end(master);
    }
    // One that never takes any: it is no circle.
    for mood in [&[Mood::Gone], &[Mood::Refusing]] {
        let (origin, _) = server(mood);
        let master = before(&place, &[&origin], "");
        let mut conn = Conn::open(&master.address()).unwrap();
        assert_eq!(post(&mut conn, "").status, 502, "{mood:?}");
        assert_eq!(origin.accepted(), 2);
        drop(conn);
        end(master);
    }
}

#[test]
fn another_server_takes_what_the_first_does_not() {
    let place = Place::new();
    let (first, _) = server(&[Mood::Refusing]);
    let (second, answered) = server(&[Mood::Willing]);
    let master = before(&place, &[&first, &second], "");
    let mut conn = Conn::open(&master.address()).unwrap();
    for _ in 0..6 {
        assert_eq!(post(&mut conn, "").body, "answer");
    }
    assert_eq!(answered.lock().unwrap().len(), 6);
    drop(conn);
    end(master);
}

#[test]
fn a_body_that_nobody_has_taken_goes_along_and_one_that_was_taken_does_not() {
    let place = Place::new();
    // It refuses the head, before the client has sent a byte of the body.
    let (origin, answered) = server(&[Mood::Refusing, Mood::Willing]);
    let master = before(&place, &[&origin], "");
    let mut conn = Conn::open(&master.address()).unwrap();
    conn.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n").unwrap();
    wait_until("it was turned away", SOON, || origin.accepted() == 2);
    conn.send(b"hello").unwrap();
    assert_eq!(conn.receive().unwrap().body, "answer");
    assert_eq!(*answered.lock().unwrap(), [(1, b"hello".to_vec())]);
    drop(conn);
    end(master);
    let (origin, answered) = server(&[Mood::Gone, Mood::Willing]);
    let master = before(&place, &[&origin], "");
    let mut conn = Conn::open(&master.address()).unwrap();
    assert_eq!(post(&mut conn, "hello").status, 502);
    assert_eq!((origin.accepted(), answered.lock().unwrap().len()), (1, 0));
    drop(conn);
    end(master);
}

#[test]
fn what_it_may_have_looked_at_is_not_sent_again() {
    let place = Place::new();
    for mood in [&[Mood::Faithless, Mood::Willing], &[Mood::Broken, Mood::Willing]] {
        let (origin, answered) = server(mood);
        let master = before(&place, &[&origin], "");
        let mut conn = Conn::open(&master.address()).unwrap();
        assert_eq!(post(&mut conn, "").status, 502, "{mood:?}");
        assert_eq!((origin.accepted(), answered.lock().unwrap().len()), (1, 0));
        drop(conn);
        end(master);
    }
}

#[test]
fn on_a_connection_that_was_in_use_it_is_sent_again_only_if_that_does_no_harm() {
    let place = Place::new();
    let (origin, answered) = server(&[Mood::Fickle, Mood::Willing]);
    let master = before(&place, &[&origin], "");
    let mut conn = Conn::open(&master.address()).unwrap();
    assert_eq!(post(&mut conn, "").body, "answer");
    assert_eq!(post(&mut conn, "").status, 502);
    assert_eq!((origin.accepted(), answered.lock().unwrap().len()), (1, 1));
    conn.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert_eq!(conn.receive().unwrap().body, "answer");
    assert_eq!(origin.accepted(), 2);
    drop(conn);
    end(master);
}
