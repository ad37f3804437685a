//! WebSockets: granted or refused by the upstream, counted as what they are, and passed on byte by byte.

use super::super::harness::*;
use super::super::tools::*;
use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

#[test]
fn messages_of_every_size_go_both_ways() {
    let place = Place::new();
    let origin = Origin::start(ws::echoing);
    let master = fronting(&place, &[&origin], "");
    let mut conn = ws::open(&master.address());
    let asked = &origin.asked()[0];
    assert_eq!((asked.header("upgrade"), asked.header("connection")), (Some("websocket"), Some("upgrade")));
    assert_eq!(asked.header("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    // The answer is on its way before the books have changed.
    wait_until("it is counted as one", SOON, || worker(&master).active.websocket == 1);
    assert_eq!(worker(&master).active.total(), 1);
    let mut sent = 0;
    for size in [0, 1, 125, 126, 65_535, 65_536, 1 << 20, 3 << 20] {
        let payload: Vec<u8> = (0..size).map(|n| (n * 7 % 253) as u8).collect();
        ws::echo(&mut conn, ws::BINARY, &payload);
        sent += size as u64;
    }
    for _ in 0..200 {
        ws::echo(&mut conn, ws::TEXT, b"ping");
    }
    wait_until("all is counted", SOON, || worker(&master).bytes_out > sent);
    let now = worker(&master);
    assert_eq!((now.requests, now.in_flight, now.active.websocket), (1, 0, 1));
    assert!(now.bytes_in > sent, "{} of {sent}", now.bytes_in);
    // Both say goodbye, and mean it.
    ws::echo(&mut conn, ws::CLOSE, &[0x03, 0xe8]);
    assert!(conn.closed_within(SOON));
    origin.wait_closed(SOON);
    drop(conn);
    assert_eq!(errors(&master), 0);
    end(master);
}

#[test]
fn both_sides_may_send_at_once_and_as_much_as_they_like() {
    const MESSAGES: usize = 20;
    let place = Place::new();
    let origin = Origin::start(ws::echoing);
    let master = fronting(&place, &[&origin], "");
    let address = master.address();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut conn = ws::open(&address);
                let payload = vec![b'm'; 300_000];
                let bytes = ws::frame(ws::BINARY, &payload, true);
                // Ahead of the answers, as far as the buffers go.
                conn.send(&bytes).unwrap();
                for _ in 1..MESSAGES {
                    conn.send(&bytes).unwrap();
                    assert!(ws::read_frame(&mut conn).unwrap() == (ws::BINARY, payload.clone()));
                }
                assert!(ws::read_frame(&mut conn).unwrap() == (ws::BINARY, payload));
            });
        }
    });
    origin.wait_closed(SOON);
    assert_eq!(errors(&master), 0);
    end(master);
}

#[test]
fn what_a_client_sends_ahead_waits_for_the_upstreams_word() {
    let place = Place::new();
    let granted = Arc::new(AtomicBool::new(false));
    let ours = granted.clone();
    let origin = Origin::start(move |mut visit| {
        if visit.request().is_none() {
            return;
        }
        // Bytes that are here before the 101 would be those of another request.
        let mut early = false;
        visit.wait_for(|| ours.load(Relaxed));
        early |= visit.conn.unasked().is_some();
        visit.say(if early { "HTTP/1.1 400 Too Early\r\nContent-Length: 0\r\n\r\n" } else { ws::GRANTED });
        // A frame right behind the 101, in the same segment or not.
        visit.say(ws::frame(ws::TEXT, b"welcome", false));
        while let Ok((kind, payload)) = ws::read_frame(&mut visit.conn) {
            visit.say(ws::frame(kind, &payload, false));
        }
    });
    let master = fronting(&place, &[&origin], "");
    let mut conn = Conn::open(&master.address()).unwrap();
    let mut all = ws::HANDSHAKE.as_bytes().to_vec();
    all.extend(ws::frame(ws::TEXT, b"ahead", true));
    conn.send(&all).unwrap();
    conn.send(&ws::frame(ws::TEXT, b"and more", true)).unwrap();
    wait_until("the request is there", SOON, || origin.asked().len() == 1);
    holds_for("nobody answers", SECOND / 5, || conn.unasked().is_none());
    granted.store(true, Relaxed);
    assert_eq!(conn.receive().unwrap().status, 101);
    for text in [b"welcome".as_slice(), b"ahead", b"and more"] {
        assert_eq!(ws::read_frame(&mut conn).unwrap(), (ws::TEXT, text.to_vec()));
    }
    drop(conn);
    origin.wait_closed(SOON);
    end(master);
}

#[test]
fn an_upstream_may_refuse_and_the_connection_stays_http() {
    let place = Place::new();
    let origin = Origin::answering(|asked| match asked.target() {
        "/ws" => "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_owned(),
        "/plain" => ok("what upgrade"),
        "/other" => ws::GRANTED.replace("websocket", "something-else"),
        _ => ok("next"),
    });
    let master = fronting(&place, &[&origin], "max_failures = 0");
    let mut conn = Conn::open(&master.address()).unwrap();
    conn.send(ws::HANDSHAKE.as_bytes()).unwrap();
    let answer = conn.receive().unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (403, "no"));
    conn.send(ws::HANDSHAKE.replace("/ws", "/plain").as_bytes()).unwrap();
    assert_eq!(conn.receive().unwrap().body, "what upgrade");
    assert_eq!(conn.get("/").unwrap().body, "next");
    // Another protocol than the one that was asked for.
    conn.send(ws::HANDSHAKE.replace("/ws", "/other").as_bytes()).unwrap();
    assert_eq!(conn.receive().unwrap().status, 502);
    assert_eq!(conn.get("/").unwrap().body, "next");
    let active = worker(&master).active;
    assert_eq!((active.websocket, active.http), (0, 1));
    drop(conn);
    end(master);
}

#[test]
fn who_goes_takes_the_other_side_along() {
    const MANY: usize = 10;
    let place = Place::new();
    let origin = Origin::start(ws::echoing);
    let master = fronting(&place, &[&origin], "");
    let pid = worker(&master).pid;
    let before = at_rest(pid);
    let mut conns: Vec<Conn> = (0..MANY).map(|_| ws::open(&master.address())).collect();
    for conn in &mut conns {
        ws::echo(conn, ws::TEXT, b"hello");
    }
    wait_until("all are counted", SOON, || worker(&master).active.websocket == MANY as u64);
    let gone = Instant::now();
    for (n, conn) in conns.into_iter().enumerate() {
        if n % 2 == 0 { conn.reset() } else { drop(conn) }
    }
    origin.wait_closed(SOON);
    assert!(gone.elapsed() < SECOND * 2, "{:?}", gone.elapsed());
    // And the upstream its clients.
    let mut conns: Vec<Conn> = (0..MANY).map(|_| ws::open(&master.address())).collect();
    drop(origin);
    for conn in &mut conns {
        let end = conn.read_any();
        assert!(
            matches!(&end, Ok(bytes) if bytes.is_empty()) || matches!(end, Err(Lost::Reset(_))),
            "{end:?}"
        );
    }
    drop(conns);
    wait_until("descriptors are those of the beginning", SOON, || kinds(pid) == before);
    end(master);
}

#[test]
fn one_in_which_nothing_moves_is_closed_when_it_has_been_silent_for_too_long() {
    let place = Place::new();
    let closed = Arc::new(AtomicUsize::new(0));
    let ours = closed.clone();
    let origin = Origin::start(move |mut visit| {
        visit.request();
        visit.say(ws::GRANTED);
        while let Ok((kind, payload)) = ws::read_frame(&mut visit.conn) {
            if kind == ws::CLOSE {
                assert_eq!(payload, [0x03, 0xe9]);
                ours.fetch_add(1, Relaxed);
            }
            visit.say(ws::frame(kind, &payload, false));
        }
    });
    let master = fronting(&place, &[&origin], "read_timeout = \"100ms\", idle_timeout = \"2s\"");
    let mut conn = ws::open(&master.address());
    for _ in 0..5 {
        std::thread::sleep(SECOND * 6 / 10);
        ws::echo(&mut conn, ws::TEXT, b"still here");
    }
    let begun = Instant::now();
    // Both sides are told, and have a second to say something about it.
    assert_eq!(ws::read_frame(&mut conn).unwrap(), (ws::CLOSE, vec![0x03, 0xe9]));
    let took = begun.elapsed();
    assert!(took > SECOND * 19 / 10 && took < SECOND * 12, "{took:?}");
    assert_eq!(conn.read_to_end().unwrap(), b"");
    drop(conn);
    origin.wait_closed(SOON);
    assert_eq!(closed.load(Relaxed), 1, "the upstream has been told, too");
    assert_eq!(errors(&master), 0);
    end(master);
}

#[test]
fn one_that_falls_silent_within_a_frame_is_reset() {
    let place = Place::new();
    let origin = Origin::start(|mut visit| {
        visit.request();
        visit.say(ws::GRANTED);
        // The half of a frame.
        visit.say(&ws::frame(ws::TEXT, b"whole", false)[..4]);
        visit.wait_gone();
    });
    let master = fronting(&place, &[&origin], "idle_timeout = \"300ms\"");
    let mut conn = ws::open(&master.address());
    assert_eq!(conn.read_exactly(4).unwrap(), b"\x81\x05wh");
    let lost = conn.read_to_end();
    assert!(matches!(lost, Err(Lost::Reset(_))), "{lost:?}");
    drop(conn);
    origin.wait_closed(SOON);
    end(master);
}
