//! Who is too slow is let go at the deadline, and costs nobody else anything.

use super::super::harness::*;
use super::super::tools::*;
use nix::sys::socket::{setsockopt, sockopt};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);
/// Timeouts are looked at twice a second; the rest is for the machine. Nothing here has a default of less
/// than thirty seconds.
const LATE: Duration = Duration::from_secs(10);

/// A master with one worker whose timeouts are a second each.
fn impatient(place: &Place) -> Master {
    let web = Web::new()
        .workers(1)
        .slow("2s")
        .http("header_timeout = \"1s\"\nbody_timeout = \"1s\"\nwrite_timeout = \"1s\"\nkeep_alive = \"1s\"")
        .http("max_body = \"1KiB\"");
    Master::start(place, &web.text())
}

/// After how long something became of a client.
#[track_caller]
fn in_time(begun: Instant, limit: Duration) {
    let took = begun.elapsed();
    assert!(took >= limit - Duration::from_millis(20) && took < LATE, "{took:?}");
}

#[track_caller]
fn nothing_open(master: &Master) -> masterd::wire::status::Service {
    let status = master.wait_status("nothing is open", SOON, |s| {
        s.services[0].workers.iter().all(|w| w.active.total() == 0 && w.in_flight == 0 && w.idle == 0)
    });
    status.services.into_iter().next().expect("a service")
}

#[test]
fn heads_that_trickle_get_408_at_their_first_deadline() {
    const MANY: usize = 100;
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(1).http("header_timeout = \"3s\"").text());
    let address = master.address();
    let load = Load::with(&address, Mix { fresh: 1, kept: 1, ..Mix::none() });
    let begun = Instant::now();
    let mut slow: Vec<(TcpStream, Vec<u8>)> = (0..MANY)
        .map(|_| {
            let mut stream = TcpStream::connect(&address).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ").unwrap();
            stream.set_nonblocking(true).unwrap();
            (stream, Vec::new())
        })
        .collect();
    // All of them are in the middle of a head when these are answered: no 408 has been sent.
    load.wait_answers(20);
    let meanwhile = master.service("web").totals.errors;
    assert_eq!(meanwhile, 0, "others are served while {MANY} trickle");
    let mut answered = 0;
    let mut sent = Instant::now();
    wait_until("each has its answer", LATE * 2, || {
        let drip = sent.elapsed() > Duration::from_millis(100);
        if drip {
            sent = Instant::now();
        }
        for (stream, text) in slow.iter_mut().filter(|(_, text)| !text.ends_with(b"\r\n\r\n")) {
            if drip {
                // It may have been closed just now.
                let _ = stream.write_all(b"x");
            }
            let mut chunk = [0; 512];
            match stream.read(&mut chunk) {
                Ok(n) => text.extend_from_slice(&chunk[..n]),
                Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock, "{e}"),
            }
            if text.ends_with(b"\r\n\r\n") {
                in_time(begun, 3 * SECOND);
                answered += 1;
            }
        }
        answered == MANY
    });
    for (_, text) in &slow {
        let text = String::from_utf8_lossy(text);
        assert!(text.starts_with("HTTP/1.1 408 ") && text.contains("connection: close"), "{text}");
    }
    drop(slow);
    let report = load.stop();
    report.assert_nothing_lost();
    let service = nothing_open(&master);
    assert_eq!(service.totals.errors, MANY as u64);
    master.finish();
}

#[test]
fn silence_is_ended_without_a_word() {
    let place = Place::new();
    let master = impatient(&place);
    let address = master.address();
    let begun = Instant::now();
    let mut silent = Conn::open(&address).unwrap();
    assert!(silent.closed_within(LATE));
    in_time(begun, SECOND);
    // Each request begins the wait anew. After a pause that the machine has made too long, once more.
    let mut others = 0;
    let (mut idle, begun) = loop {
        let mut idle = Conn::open(&address).unwrap();
        idle.get("/").unwrap();
        let used = Instant::now();
        wait_until("more than half of its time is over", SOON, || used.elapsed() > SECOND * 6 / 10);
        let begun = Instant::now();
        match idle.get("/") {
            Ok(_) => break (idle, begun),
            Err(lost) => assert!(used.elapsed() >= SECOND && others < 10, "closed too early: {lost}"),
        }
        others += 1;
    };
    assert!(idle.closed_within(LATE));
    in_time(begun, SECOND);
    // The time a request takes is nobody's silence.
    let mut slow = Conn::open(&address).unwrap();
    assert_eq!(slow.get("/slow").unwrap().status, 200);
    assert_eq!(slow.get("/").unwrap().status, 200);
    drop((silent, idle, slow));
    let service = nothing_open(&master);
    let totals = &service.totals;
    assert_eq!((totals.accepted, totals.requests, totals.errors), (3 + others, 4 + others, 0));
    master.finish();
}

#[test]
fn a_body_that_stops_gets_408_and_one_that_goes_on_does_not() {
    let place = Place::new();
    let master = impatient(&place);
    let address = master.address();
    // It begins first and ends last: the other's deadline comes while it is at it.
    let mut steady = Conn::open(&address).unwrap();
    steady.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n").unwrap();
    let begun = Instant::now();
    let mut stopped = Conn::open(&address).unwrap();
    stopped.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc").unwrap();
    let mut left = 1000;
    wait_until("the one that stopped has its answer", LATE, || {
        steady.send(b"x").unwrap();
        left -= 1;
        std::thread::sleep(Duration::from_millis(20));
        stopped.unasked().is_some()
    });
    in_time(begun, SECOND);
    let answer = stopped.receive().unwrap();
    assert!(answer.status == 408 && answer.closes(), "{answer:?}");
    steady.send(&vec![b'x'; left]).unwrap();
    assert_eq!(steady.receive().unwrap().status, 200);
    drop((stopped, steady));
    assert_eq!(nothing_open(&master).totals.errors, 1);
    master.finish();
}

#[test]
fn who_asks_and_never_reads_is_closed() {
    let place = Place::new();
    let body = "y".repeat(64 << 10);
    let web = Web::new()
        .workers(1)
        .http("write_timeout = \"3s\"")
        .route("/big", &format!("respond = {{ body = \"{body}\" }}"));
    let master = Master::start(&place, &web.text());
    let mut greedy: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(master.address()).unwrap()).collect();
    let before = resident(master.ready_pids("web")[0]);
    for stream in &mut greedy {
        setsockopt(stream, sockopt::RcvBuf, &4096).unwrap();
        let ask = b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n".repeat(500);
        stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        // It takes what it has room for.
        let _ = stream.write_all(&ask);
    }
    assert_eq!(get(&master.address(), "/").unwrap().status, 200);
    assert_eq!(master.service("web").totals.errors, 0, "others are served while they all are open");
    let after = resident(master.ready_pids("web")[0]);
    assert!(after < before + 20 * 1024, "{after} KiB, {before} before: bounded by what is being sent");
    let service = nothing_open(&master);
    assert_eq!((service.totals.accepted, service.totals.errors), (21, 20));
    // A client that reads slowly is not one that does not read.
    let mut slow = TcpStream::connect(master.address()).unwrap();
    slow.write_all(b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut all = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        // Its habit: sixteen pieces, longer in all than a client that does not read would be waited for.
        std::thread::sleep(SECOND / 4);
        match slow.read(&mut chunk).unwrap() {
            0 => break,
            n => all.extend_from_slice(&chunk[..n]),
        }
    }
    assert!(all.ends_with(body.as_bytes()), "{} bytes", all.len());
    master.finish();
}
