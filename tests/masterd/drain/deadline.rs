//! The end of a drain: what is in flight finishes, what does not is cut at the grace, counted and named.

use crate::harness::{Conn, Lost, Master, Place, SOON, Web, get, wait_until};
use crate::meddle::end;
use masterd::wire::status::Status;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

#[test]
fn requests_in_flight_finish() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().slow("3s").text());
    let address = master.address();
    let mut slow: Vec<Conn> = (0..20).map(|_| Conn::open(&address).unwrap()).collect();
    for conn in &mut slow {
        conn.ask("/slow").unwrap();
    }
    let mut posts: Vec<Conn> = (0..20).map(|_| Conn::open(&address).unwrap()).collect();
    for conn in &mut posts {
        conn.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf").unwrap();
    }
    wait_until("all are under way", SOON, || {
        master.workers("web").iter().map(|w| w.in_flight).sum::<u64>() == 40
    });
    let mut waits = master.begin(&["reload", "--drained"]);
    master.wait_status("they drain", SOON, |s| {
        s.generation == 2 && s.services[0].workers.iter().any(|w| w.generation == 1 && w.drain.is_some())
    });
    for conn in &mut slow {
        let answer = conn.receive().unwrap();
        assert!(answer.number("gen") == 1 && answer.closes(), "{answer:?}");
    }
    drop(slow);
    let remaining = |s: &Status| -> u64 {
        s.services[0].workers.iter().filter_map(|w| w.drain.as_ref()).map(|d| d.remaining).sum()
    };
    let status = master.wait_status("twenty are left", SOON, |s| remaining(s) == 20);
    assert!(!waits.ended());
    let draining = status.services[0].workers.iter().find(|w| w.drain.is_some()).unwrap();
    assert_eq!(draining.state, "draining");
    let drain = draining.drain.as_ref().unwrap();
    assert!(drain.deadline > 20.0 && drain.deadline <= 30.0 && drain.oldest > 0.5, "{drain:?}");
    for conn in &mut posts {
        conn.send(b"whole!").unwrap();
        let answer = conn.receive().unwrap();
        assert!(answer.number("gen") == 1 && answer.closes(), "{answer:?}");
    }
    waits.finish().expect(0);
    assert_eq!(master.service("web").totals.cut, 0);
    end(master);
}

/// A client that asks for a long answer and reads none of it.
fn deaf(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /long HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    stream
}

#[test]
fn what_does_not_end_is_cut_at_the_deadline_counted_and_named() {
    let place = Place::new();
    let long = format!("respond = {{ body = \"{}\" }}", "x".repeat(300_000));
    let config = Web::new()
        .workers(1)
        .route("/long", &long)
        .service("drain = { grace = \"6s\" }")
        .http("body_timeout = \"60s\"\nheader_timeout = \"60s\"");
    let master = Master::start(&place, &config.text());
    let address = master.address();
    // Pipelined, so that it is more than any socket buffer takes.
    let mut reads_nothing = deaf(&address);
    for _ in 0..60 {
        reads_nothing.write_all(b"GET /long HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    }
    let mut never_ends = Conn::open(&address).unwrap();
    never_ends.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf").unwrap();
    let mut half_a_head = Conn::open(&address).unwrap();
    half_a_head.send(b"GET / HTTP/1.1\r\nHo").unwrap();
    let mut idle = Conn::open(&address).unwrap();
    idle.get("/").unwrap();
    wait_until("they are there", SOON, || master.workers("web")[0].active.http == 4);
    let waits = master.begin(&["reload", "--drained"]);
    // Before the deadline, or it would be cut and counted with the others.
    assert!(idle.closed_within(SOON), "the idle one goes in good order");
    assert!(matches!(never_ends.receive(), Err(Lost::NoAnswer | Lost::Reset(0))));
    waits.finish().expect(0);
    let grace = Duration::from_secs(6);
    let took = master.between("  draining (replaced): ", "  cut off 3 connections");
    assert!(
        took > grace - Duration::from_millis(20) && took < grace + Duration::from_millis(500),
        "{took:?}"
    );
    let took = master.between("  cut off 3 connections", "event=ended");
    assert!(took < Duration::from_secs(1), "and nobody holds up its end: {took:?}");
    drop(reads_nothing);
    let status = master.wait_generation(2);
    assert_eq!(status.services[0].totals.cut, 3, "{:?}", status.services[0].totals);
    assert_eq!(status.services[0].totals.deaths, 0);
    let log = master.log();
    assert!(log.contains("cut off 3 connections (3 http, "), "{log}");
    assert!(log.contains("the oldest was 127.0.0.1:"), "{log}");
    let progress = "draining gen 1: 4 active (4 http, 0 websocket, 0 sse, 0 grpc, 0 tcp), 0 migrated, ";
    let fallback = progress.replace("4 active (4", "3 active (3");
    let lines = log.lines().filter(|l| l.contains(progress) || l.contains(&fallback)).count();
    assert_eq!(lines, 1, "one line after five seconds of six: {log}");
    assert_eq!(get(&address, "/").unwrap().number("gen"), 2);
    end(master);
}

#[test]
fn a_worker_that_stands_still_does_not_outlive_its_grace() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(1).service("drain = { grace = \"1s\" }").text());
    let mut idle = Conn::open(&master.address()).unwrap();
    idle.get("/").unwrap();
    let old = master.ready_pids("web")[0];
    crate::meddle::freeze(old);
    master.cli(&["reload", "--drained"]).expect(0);
    let took = master.between("event=draining", "event=killed");
    // Grace, half a second of slack, a second to finish: then it is killed.
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(5), "{took:?}");
    assert!(master.log().contains("did not leave when told to: killed"), "{}", master.log());
    assert_eq!(get(&master.address(), "/").unwrap().number("gen"), 2);
    end(master);
}
