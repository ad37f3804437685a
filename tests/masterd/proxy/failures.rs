//! Upstreams that fail, each in its way: what the client sees, and that nothing has its effect twice.

use super::super::harness::*;
use super::super::tools::*;
use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// Sends a request of this method with a small body, and gives back the answer.
#[track_caller]
fn send(conn: &mut Conn, method: &str) -> Response {
    conn.send(format!("{method} / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello").as_bytes())
        .unwrap();
    conn.receive().unwrap()
}

#[test]
fn who_refuses_is_passed_over_and_nobody_notices() {
    let place = Place::new();
    let (down, up) = (Port::reserve(), Origin::answering(|_| ok("up")));
    let gone = format!("unix:{}", place.path("nothing.sock").display());
    let action = proxy(&[&down.address(), up.address(), &gone], "max_failures = 0, retries = 2");
    let master = Master::start(&place, &Web::new().workers(1).root(&action).text());
    let mut conn = Conn::open(&master.address()).unwrap();
    for _ in 0..6 {
        // Nothing has been sent where nobody listens: a POST goes elsewhere, too.
        assert_eq!(send(&mut conn, "POST").body, "up");
        assert_eq!(conn.get("/").unwrap().body, "up");
    }
    assert_eq!(up.asked().len(), 12);
    let log = master.log();
    let why = format!("upstream {}: ", down.address());
    assert!(log.contains(&why) && log.contains("Connection refused"), "{log}");
    drop(conn);
    assert_eq!(errors(&master), 0);
    end(master);
}

#[test]
fn a_connection_that_is_not_made_in_time_is_a_504() {
    let place = Place::new();
    let (hole, up) = (Hole::new(), Origin::answering(|_| ok("up")));
    let limits = "connect_timeout = \"300ms\", max_failures = 0";
    let both = proxy(&[hole.address(), up.address()], limits);
    let web = Web::new().workers(1).root(&proxy(&[hole.address()], limits)).route("/both", &both);
    let master = Master::start(&place, &web.text());
    let begun = Instant::now();
    let answer = get(&master.address(), "/").unwrap();
    assert_eq!(answer.status, 504, "{answer:?}");
    assert!((SECOND * 3 / 10..SECOND * 5).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert!(master.log().contains("no connection within 300ms"));
    // With somebody else to ask it only takes longer.
    for _ in 0..2 {
        assert_eq!(get(&master.address(), "/both").unwrap().body, "up");
    }
    end(master);
}

#[test]
fn a_name_that_nobody_knows_is_an_upstream_that_fails() {
    let place = Place::new();
    let up = Origin::answering(|_| ok("up"));
    let addresses = ["no-such-host.invalid:80", up.address()];
    let action = proxy(&addresses, "connect_timeout = \"2s\", max_failures = 1");
    let master = Master::start(&place, &Web::new().workers(1).root(&action).text());
    for _ in 0..4 {
        assert_eq!(get(&master.address(), "/").unwrap().body, "up");
    }
    master.wait_log("upstream no-such-host.invalid:80 has failed 1 times in a row");
    end(master);
}

#[test]
fn an_answer_that_does_not_begin_in_time_is_a_504_and_is_not_asked_for_again() {
    let place = Place::new();
    let origin = Origin::start(|mut visit| {
        visit.request();
        visit.wait_gone();
    });
    let master = fronting(&place, &[&origin], "read_timeout = \"300ms\", retries = 5, max_failures = 0");
    let mut conn = Conn::open(&master.address()).unwrap();
    for method in ["GET", "POST"] {
        let begun = Instant::now();
        let answer = send(&mut conn, method);
        assert_eq!(answer.status, 504, "{answer:?}");
        assert!((SECOND * 3 / 10..SECOND * 5).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        assert!(answer.body.contains("silent for 300ms"), "{answer:?}");
        origin.wait_closed(SOON);
    }
    assert_eq!(origin.asked().len(), 2);
    drop(conn);
    end(master);
}

#[test]
fn an_upstreams_silence_begins_when_it_has_the_whole_request() {
    let place = Place::new();
    let origin = Origin::start(|mut visit| {
        let Some(mut asked) = visit.request() else { return };
        visit.body(&mut asked).unwrap();
        let begun = Instant::now();
        visit.ignore_until(|| begun.elapsed() > SECOND * 3 / 10);
        visit.say(ok("thanks"));
    });
    let master = fronting(&place, &[&origin], "read_timeout = \"500ms\"");
    for framing in [
        "Content-Length: 10\r\n\r\n|hello|world",
        "Transfer-Encoding: chunked\r\n\r\n|5\r\nhello\r\n|0\r\n\r\n",
    ] {
        let mut pieces = framing.split('|');
        let mut conn = Conn::open(&master.address()).unwrap();
        conn.send(format!("POST / HTTP/1.1\r\nHost: h\r\n{}", pieces.next().unwrap()).as_bytes()).unwrap();
        conn.send(pieces.next().unwrap().as_bytes()).unwrap();
        // Not at a multiple of the timeout, where a timer would just have been set anew.
        holds_for("nothing is answered", SECOND * 9 / 10, || conn.unasked().is_none());
        conn.send(pieces.next().unwrap().as_bytes()).unwrap();
        assert_eq!(conn.receive().unwrap().body, "thanks", "{framing}");
    }
    end(master);
}

#[test]
fn an_upstream_that_takes_nothing_is_a_504() {
    let place = Place::new();
    let origin = Origin::start(|mut visit| {
        visit.request();
        visit.ignore_until(|| false);
    });
    let master = fronting(&place, &[&origin], "write_timeout = \"500ms\", read_timeout = \"30s\"");
    let mut conn = Conn::open(&master.address()).unwrap();
    let length = 64 << 20;
    conn.send(format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n").as_bytes()).unwrap();
    conn.patience = SECOND;
    let piece = vec![b'x'; 64 << 10];
    let mut sent = 0;
    while sent < length && conn.unasked().is_none() {
        match conn.send(&piece) {
            Ok(()) => sent += piece.len(),
            Err(_) => break,
        }
    }
    assert!(sent < length, "it was all taken");
    conn.patience = SOON;
    let answer = conn.receive().unwrap();
    assert_eq!(answer.status, 504, "{answer:?}");
    assert!(answer.body.contains("not reading for 500ms") && answer.closes(), "{answer:?}");
    drop(conn);
    drop(origin);
    end(master);
}

#[test]
fn who_breaks_off_before_the_head_is_a_502_and_a_post_is_sent_once() {
    let place = Place::new();
    // How each breaks off: the request's target says so.
    let breaking = |mut visit: Visit| {
        let Some(mut asked) = visit.request() else { return };
        let _ = visit.body(&mut asked);
        match asked.header("x-how").unwrap_or_default() {
            "reset" => visit.reset(),
            "half" => _ = visit.say("HTTP/1.1 200 OK\r\nContent-Le"),
            _ => {}
        }
    };
    let origins = [Origin::start(breaking), Origin::start(breaking)];
    let master = fronting(&place, &[&origins[0], &origins[1]], "max_failures = 0");
    let mut conn = Conn::open(&master.address()).unwrap();
    let mut seen = 0;
    for how in ["reset", "half", "close"] {
        for (method, times) in [("GET", 2), ("POST", 1), ("PATCH", 1), ("PUT", 1)] {
            let head = format!("{method} / HTTP/1.1\r\nHost: h\r\nX-How: {how}\r\n");
            let body = if method == "GET" { "\r\n" } else { "Content-Length: 5\r\n\r\nhello" };
            conn.send((head + body).as_bytes()).unwrap();
            let answer = conn.receive().unwrap();
            assert_eq!(answer.status, 502, "{method} {how}: {answer:?}");
            assert!(!answer.closes(), "{method} {how}: {answer:?}");
            let asked = origins[0].asked().len() + origins[1].asked().len();
            // A GET is asked of the other one, too; nothing that may have had its effect is repeated.
            assert_eq!(asked - seen, times, "{method} {how}");
            seen = asked;
        }
    }
    drop(conn);
    end(master);
}

#[test]
fn what_breaks_off_within_an_answer_is_cut_where_the_client_sees_it() {
    let place = Place::new();
    let origin = Origin::start(|mut visit| {
        let Some(asked) = visit.request() else { return };
        let (how, what) =
            asked.target()[1..].split_once('/').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        visit.say(match what.as_str() {
            "length" => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_owned(),
            "chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n".to_owned(),
            "in-chunk" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf".to_owned(),
            _ => "HTTP/1.1 200 OK\r\n\r\nhalf".to_owned(),
        });
        // The client has the first half before the rest fails.
        match how.as_str() {
            "reset" => visit.reset(),
            "silent" => visit.wait_gone(),
            _ => {}
        }
    });
    let master = fronting(&place, &[&origin], "read_timeout = \"200ms\", max_failures = 0");
    let address = master.address();
    let mut broken = 0;
    for version in ["1.1", "1.0"] {
        for how in ["reset", "close", "silent"] {
            for what in ["length", "chunked", "in-chunk", "open"] {
                let name = format!("HTTP/{version} {how} {what}");
                let mut conn = Conn::open(&address).unwrap();
                conn.send(format!("GET /{how}/{what} HTTP/{version}\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
                let end = conn.receive();
                // An answer that the upstream itself ends by closing can't be told from a whole one.
                if (how, what) == ("close", "open") {
                    assert_eq!(end.unwrap().body, "half", "{name}");
                    continue;
                }
                broken += 1;
                match end {
                    Err(Lost::Cut(_) | Lost::Reset(_)) => {}
                    // The head had not left yet.
                    Ok(answer) if answer.status == 502 => {}
                    other => panic!("{name}: {other:?}"),
                }
            }
        }
    }
    wait_until("each is counted", SOON, || errors(&master) == broken);
    let log = master.log();
    assert!(log.contains("silent for 200ms within its answer"), "{log}");
    origin.wait_closed(SOON);
    end(master);
}

#[test]
fn a_pooled_connection_that_was_closed_meanwhile_costs_nobody_anything() {
    const ROUNDS: usize = 30;
    let place = Place::new();
    // Closes each connection after its second request has come, unanswered, or while it is idle.
    let closes_idle = Arc::new(AtomicBool::new(false));
    let ours = closes_idle.clone();
    let origin = Origin::start(move |mut visit| {
        let Some(mut asked) = visit.request() else { return };
        if visit.body(&mut asked).is_err() || !visit.say(ok("fresh")) || ours.load(Relaxed) {
            return;
        }
        visit.request();
    });
    let master = fronting(&place, &[&origin], "max_failures = 0");
    let mut conn = Conn::open(&master.address()).unwrap();
    for round in 0..ROUNDS {
        let answer = conn.get("/").unwrap();
        assert_eq!(answer.body, "fresh", "round {round}");
    }
    // The first is fresh; each further one meets the used connection, and then a fresh one.
    assert_eq!((origin.accepted(), origin.asked().len()), (ROUNDS, 2 * ROUNDS - 1));
    assert_eq!(errors(&master), 0);
    // A POST may have had its effect: it is not sent again, and says so.
    let (accepted, asked) = (origin.accepted(), origin.asked().len());
    let answer = send(&mut conn, "POST");
    assert_eq!(answer.status, 502, "{answer:?}");
    assert_eq!((origin.accepted() - accepted, origin.asked().len() - asked), (0, 1));
    // What is known to be closed is not used at all, by nobody.
    closes_idle.store(true, Relaxed);
    let accepted = origin.accepted();
    for round in 0..ROUNDS {
        let answer = send(&mut conn, "POST");
        assert_eq!((answer.status, answer.body.as_str()), (200, "fresh"), "round {round}");
        origin.wait_closed(SOON);
    }
    assert_eq!(origin.accepted() - accepted, ROUNDS);
    drop(conn);
    end(master);
}

#[test]
fn an_origin_that_is_restarted_costs_no_get() {
    let place = Place::new();
    let port = Port::reserve();
    let script = || conversation(|_| ok("whole"));
    let mut origin = Origin::on(&port, script());
    let action = proxy(&[&port.address()], "");
    let master = Master::start(&place, &Web::new().workers(1).root(&action).text());
    let mut conns: Vec<Conn> = (0..10).map(|_| Conn::open(&master.address()).unwrap()).collect();
    for _ in 0..5 {
        for conn in &mut conns {
            conn.ask("/").unwrap();
        }
        for conn in &mut conns {
            assert_eq!(conn.receive().unwrap().body, "whole");
        }
        drop(origin);
        origin = Origin::on(&port, script());
    }
    drop(conns);
    assert_eq!(errors(&master), 0);
    end(master);
}

#[test]
fn clients_that_go_take_their_upstream_connections_with_them() {
    const MANY: usize = 200;
    let place = Place::new();
    let begun = Arc::new(AtomicUsize::new(0));
    let ours = begun.clone();
    let origin = Origin::start(move |mut visit| {
        if visit.request().is_none() {
            return;
        }
        visit.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        ours.fetch_add(1, Relaxed);
        let piece = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
        while visit.say(&piece) {}
    });
    let master = fronting(&place, &[&origin], "");
    let address = master.address();
    let pid = worker(&master).pid;
    let before = at_rest(pid);
    for round in 0..MANY / 20 {
        let mut conns: Vec<Conn> = (0..20).map(|_| Conn::open(&address).unwrap()).collect();
        conns.iter_mut().for_each(|conn| conn.ask("/").unwrap());
        for conn in &mut conns {
            assert_eq!(conn.receive_head().unwrap().status, 200);
        }
        let gone = Instant::now();
        for (n, conn) in conns.into_iter().enumerate() {
            // Half of them by a reset; the others leave what they have not read, which is one, too.
            if n % 2 == 0 { conn.reset() } else { drop(conn) }
        }
        origin.wait_closed(SOON);
        assert!(gone.elapsed() < SECOND * 3, "round {round}: {:?}", gone.elapsed());
    }
    assert_eq!(begun.load(Relaxed), MANY);
    wait_until("descriptors are those of the beginning", SOON, || kinds(pid) == before);
    end(master);
}

#[test]
fn who_has_sent_all_may_wait_for_its_answer_and_may_go() {
    let place = Place::new();
    let granted = Arc::new(AtomicBool::new(false));
    let ours = granted.clone();
    let origin = Origin::start(move |mut visit| {
        if visit.request().is_some() && visit.wait_for(|| ours.load(Relaxed)) {
            visit.say(ok("at last"));
        }
    });
    let master = fronting(&place, &[&origin], "");
    let ask = || {
        let mut conn = Conn::open(&master.address()).unwrap();
        conn.ask("/").unwrap();
        conn.shut_write();
        conn
    };
    // Nobody answers yet: a reset is all that tells of one that has gone.
    let (mut stays, goes) = (ask(), ask());
    wait_until("both have been passed on", SOON, || origin.asked().len() == 2);
    holds_for("both are waited for", SECOND / 5, || origin.open() == 2);
    let gone = Instant::now();
    goes.reset();
    wait_until("its upstream connection goes, too", SOON, || origin.open() == 1);
    assert!(gone.elapsed() < SECOND * 3, "{:?}", gone.elapsed());
    granted.store(true, Relaxed);
    assert_eq!(stays.receive().unwrap().body, "at last");
    assert!(stays.closed_within(SOON));
    drop(stays);
    end(master);
}
