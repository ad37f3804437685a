//! Event streams: counted as what they are, passed on event by event, over when either side is.

use super::super::harness::*;
use super::super::tools::*;
use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

const END: usize = usize::MAX;

/// An origin that sends as many events as it is told to, and ends in good order when that is `END`.
fn streaming(events: &Arc<AtomicUsize>, chunked: bool) -> Origin {
    let events = events.clone();
    Origin::start(move |mut visit| {
        if visit.request().is_none() {
            return;
        }
        let framing = if chunked { "Transfer-Encoding: chunked\r\n" } else { "" };
        visit.say(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n{framing}\r\n"
        ));
        for id in 1.. {
            if !visit.wait_for(|| events.load(Relaxed) >= id) {
                return;
            }
            if events.load(Relaxed) == END {
                visit.say(if chunked { "0\r\n\r\n" } else { "" });
                return;
            }
            visit.say(event(id, chunked));
        }
    })
}

fn event(id: usize, chunked: bool) -> String {
    let text = format!("id: {id}\ndata: x\n\n");
    if chunked { format!("{:x}\r\n{text}\r\n", text.len()) } else { text }
}

/// A client that has seen the head of its stream.
#[track_caller]
fn listen(address: &str) -> Conn {
    let mut conn = Conn::open(address).unwrap();
    conn.ask("/events").unwrap();
    let head = conn.receive_head().unwrap();
    assert_eq!((head.status, head.header("transfer-encoding")), (200, Some("chunked")), "{head:?}");
    conn
}

#[test]
fn events_come_one_by_one_and_the_stream_is_counted_while_it_is_open() {
    let place = Place::new();
    for chunked in [true, false] {
        let events = Arc::new(AtomicUsize::new(0));
        let origin = streaming(&events, chunked);
        // Silence is what an event stream mostly is.
        let master = fronting(&place, &[&origin], "read_timeout = \"200ms\"");
        let mut conn = listen(&master.address());
        let active = worker(&master).active;
        assert_eq!((active.sse, active.http, active.total()), (1, 0, 1));
        for id in 1..=20 {
            events.store(id, Relaxed);
            let chunk = conn.read_chunk().unwrap();
            assert_eq!(String::from_utf8(chunk).unwrap(), event(id, false), "alone, and at once");
        }
        holds_for("its silence is no fault", SECOND / 2, || conn.unasked().is_none());
        events.store(END, Relaxed);
        assert_eq!(conn.read_chunk().unwrap(), b"");
        conn.until(b"\r\n").unwrap();
        // The next answer on the same connection is no stream.
        assert_eq!(conn.get("/healthz").unwrap().status, 200);
        let active = worker(&master).active;
        assert_eq!((active.sse, active.http), (0, 1));
        drop(conn);
        assert_eq!(errors(&master), 0);
        end(master);
    }
}

#[test]
fn a_listener_that_goes_frees_its_upstream_at_once() {
    const MANY: usize = 20;
    let place = Place::new();
    let events = Arc::new(AtomicUsize::new(0));
    let origin = streaming(&events, true);
    let master = fronting(&place, &[&origin], "");
    let pid = worker(&master).pid;
    let before = at_rest(pid);
    let mut conns: Vec<Conn> = (0..MANY).map(|_| listen(&master.address())).collect();
    assert_eq!((worker(&master).active.sse, origin.open()), (MANY as u64, MANY));
    events.store(1, Relaxed);
    for conn in &mut conns {
        assert!(!conn.read_chunk().unwrap().is_empty());
    }
    let gone = Instant::now();
    // Nothing is being sent: only the end of the client's side tells.
    for (n, conn) in conns.into_iter().enumerate() {
        if n % 2 == 0 { conn.reset() } else { drop(conn) }
    }
    origin.wait_closed(SOON);
    assert!(gone.elapsed() < SECOND * 2, "{:?}", gone.elapsed());
    wait_until("descriptors are those of the beginning", SOON, || kinds(pid) == before);
    assert_eq!(errors(&master), MANY as u64 / 2, "a reset is an error, an end is none");
    end(master);
}

#[test]
fn a_stream_that_its_upstream_breaks_off_ends_as_a_cut() {
    let place = Place::new();
    let origin = Origin::start(|mut visit| {
        visit.request();
        visit.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        visit.say(event(1, true));
    });
    let master = fronting(&place, &[&origin], "");
    let mut conn = listen(&master.address());
    assert_eq!(conn.read_chunk().unwrap(), event(1, false).as_bytes());
    let end_of_it = conn.read_chunk();
    assert!(matches!(end_of_it, Err(Lost::NoAnswer | Lost::Reset(_))), "{end_of_it:?}");
    wait_until("it is counted", SOON, || errors(&master) == 1);
    drop(conn);
    end(master);
}

#[test]
fn a_stream_that_is_silent_for_too_long_is_cut_and_one_that_speaks_now_and_then_is_not() {
    let place = Place::new();
    let events = Arc::new(AtomicUsize::new(0));
    let origin = streaming(&events, true);
    let master = fronting(&place, &[&origin], "read_timeout = \"100ms\", idle_timeout = \"2s\"");
    let mut conn = listen(&master.address());
    // Longer in all than it may be silent.
    for id in 1..=5 {
        std::thread::sleep(SECOND * 6 / 10);
        events.store(id, Relaxed);
        assert_eq!(String::from_utf8(conn.read_chunk().unwrap()).unwrap(), event(id, false));
    }
    let begun = Instant::now();
    assert!(conn.read_chunk().is_err(), "and not the last chunk, which would be its end");
    let took = begun.elapsed();
    assert!(took > SECOND * 19 / 10 && took < SECOND * 12, "{took:?}");
    master.wait_log("silent for 2s within its answer");
    drop(conn);
    assert_eq!(errors(&master), 1);
    end(master);
}
