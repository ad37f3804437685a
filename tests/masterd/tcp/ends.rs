//! How the end of one side reaches the other: a FIN as a FIN, a reset as a reset, silence as an end.

use super::super::harness::*;
use super::super::tools::*;
use super::*;
use std::io::Read;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

const LARGE: usize = 5 << 20;

#[test]
fn a_client_that_has_said_all_still_gets_its_whole_answer() {
    let place = Place::new();
    let script = |mut visit: Visit| {
        let asked = visit.conn.read_to_end().unwrap();
        assert_eq!(asked, b"all of it");
        Pattern::new().write(&mut visit.conn, LARGE).unwrap();
    };
    let path = place.path("o.sock");
    for origin in [Origin::start(script), Origin::unix(path.to_str().unwrap(), script)] {
        let master = tunnelling(&place, &[&origin], "");
        let mut stream = client(&master.address_of("tcp"));
        std::io::Write::write_all(&mut stream, b"all of it").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        Pattern::new().read(&stream, LARGE);
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "and a FIN behind it");
        drop(stream);
        assert_eq!(errors(&master), 0, "{}", origin.address());
        end(master);
    }
}

#[test]
fn an_upstream_that_has_said_all_still_gets_everything() {
    let place = Place::new();
    let got = Arc::new(AtomicUsize::new(0));
    let ours = got.clone();
    let origin = Origin::start(move |mut visit| {
        visit.say("go on");
        visit.conn.shut_write();
        // Slow to begin with, so that much is on its way when the client's FIN comes.
        visit.ignore_until(|| ours.load(Relaxed) == 1);
        let bytes = visit.conn.read_to_end().unwrap();
        Pattern::new().check(0, &bytes);
        ours.store(bytes.len(), Relaxed);
    });
    let master = tunnelling(&place, &[&origin], "");
    let mut conn = connect(&master);
    assert_eq!(conn.read_to_end().unwrap(), b"go on");
    conn.patience = SOON;
    Pattern::new().write(&mut conn, LARGE).unwrap();
    conn.shut_write();
    got.store(1, Relaxed);
    wait_until("the upstream has it all", SOON, || got.load(Relaxed) == LARGE);
    origin.wait_closed(SOON);
    drop(conn);
    assert_eq!(errors(&master), 0);
    end(master);
}

#[test]
fn an_upstream_that_closes_altogether_has_its_last_word_heard() {
    // No more than fits on the way.
    const LENGTH: usize = 256 << 10;
    let place = Place::new();
    let script = |mut visit: Visit| {
        visit.conn.read_exactly(3).unwrap();
        Pattern::new().write(&mut visit.conn, LENGTH).unwrap();
    };
    let path = place.path("o.sock");
    for origin in [Origin::start(script), Origin::unix(path.to_str().unwrap(), script)] {
        let master = tunnelling(&place, &[&origin], "");
        for round in 1..=5 {
            let mut stream = client(&master.address_of("tcp"));
            nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::RcvBuf, &65536).unwrap();
            std::io::Write::write_all(&mut stream, b"ask").unwrap();
            // The client reads when all of it has been sent.
            wait_until("it is on its way", SOON, || worker(&master).bytes_in == 3 * round);
            origin.wait_closed(SOON);
            Pattern::new().read(&stream, LENGTH);
            assert_eq!(stream.read(&mut [0]).unwrap(), 0, "{}: and a FIN behind it", origin.address());
        }
        assert_eq!(errors(&master), 0, "{}", origin.address());
        end(master);
    }
}

#[test]
fn a_reset_is_passed_on_as_one() {
    let place = Place::new();
    let resets = Arc::new(AtomicUsize::new(0));
    let ours = resets.clone();
    let origin = Origin::start(move |mut visit| {
        visit.say("hello");
        if visit.conn.read_exactly(5).is_ok_and(|word| word == b"break") {
            return visit.reset();
        }
        if matches!(visit.conn.read_to_end(), Err(Lost::Reset(_))) {
            ours.fetch_add(1, Relaxed);
        }
    });
    let master = tunnelling(&place, &[&origin], "");
    let mut conn = connect(&master);
    conn.send(b"break").unwrap();
    let end_of_it = conn.read_to_end();
    assert!(matches!(end_of_it, Err(Lost::Reset(_))), "{end_of_it:?}");
    let mut conn = connect(&master);
    assert_eq!(conn.read_exactly(5).unwrap(), b"hello");
    conn.send(b"stay.").unwrap();
    wait_until("it has come", SOON, || worker(&master).bytes_in == 10);
    conn.reset();
    wait_until("the upstream sees a reset", SOON, || resets.load(Relaxed) == 1);
    wait_until("both are counted", SOON, || errors(&master) == 2);
    end(master);
}

#[test]
fn a_client_that_goes_after_its_last_word_frees_the_upstream() {
    const MANY: usize = 20;
    let place = Place::new();
    let silent = Origin::start(|mut visit| {
        visit.conn.read_to_end().unwrap();
        // The client's FIN has come, and nothing is said for long.
        visit.ignore_until(|| visit.conn.has_failed());
    });
    let master = tunnelling(&place, &[&silent], "");
    let pid = worker(&master).pid;
    let before = at_rest(pid);
    let conns: Vec<Conn> = (0..MANY)
        .map(|_| {
            let mut conn = connect(&master);
            conn.send(b"last").unwrap();
            conn.shut_write();
            conn
        })
        .collect();
    wait_until("all are there", SOON, || worker(&master).bytes_in == 4 * MANY as u64);
    holds_for("nobody is closed", SECOND / 5, || silent.open() == MANY);
    let gone = Instant::now();
    conns.into_iter().for_each(Conn::reset);
    silent.wait_closed(SOON);
    assert!(gone.elapsed() < SECOND * 2, "{:?}", gone.elapsed());
    wait_until("descriptors are those of the beginning", SOON, || kinds(pid) == before);
    end(master);
}

#[test]
fn a_client_that_has_gone_altogether_has_said_what_it_has_said() {
    let place = Place::new();
    let got = Arc::new(AtomicUsize::new(0));
    let ours = got.clone();
    let script = move |mut visit: Visit| {
        // Slow to begin with: the client has long gone when it reads.
        visit.ignore_until(|| ours.load(Relaxed) == 1);
        let all = visit.conn.read_to_end().unwrap_or_default();
        Pattern::new().check(0, &all);
        ours.store(all.len(), Relaxed);
    };
    let path = place.path("o.sock");
    let origin = Origin::unix(path.to_str().unwrap(), script);
    // Larger than what the sockets on the way hold, or the client would wait.
    const LENGTH: usize = 300_000;
    for listen in ["127.0.0.1:0", "unix:t.sock"] {
        let master = Master::start(&place, &Tcp::to(&[origin.address()], "").listen(listen).text());
        got.store(0, Relaxed);
        let mut conn = Conn::open(&master.address_of("tcp")).unwrap();
        Pattern::new().write(&mut conn, LENGTH).unwrap();
        drop(conn);
        wait_until("it has come", SOON, || origin.open() == 1);
        got.store(1, Relaxed);
        wait_until("all of it arrives", SOON, || got.load(Relaxed) != 1);
        assert_eq!(got.load(Relaxed), LENGTH, "{listen}");
        origin.wait_closed(SOON);
        assert_eq!(errors(&master), 0, "{listen}");
        end(master);
    }
}

#[test]
fn an_upstream_that_takes_no_more_still_has_its_word_heard() {
    let place = Place::new();
    let script = |mut visit: Visit| {
        visit.conn.read_exactly(1).unwrap();
        visit.say("too much");
        // Closed with unread bytes: a reset.
    };
    let path = place.path("o.sock");
    for origin in [Origin::start(script), Origin::unix(path.to_str().unwrap(), script)] {
        let master = tunnelling(&place, &[&origin], "");
        for _ in 0..10 {
            let mut conn = connect(&master);
            conn.patience = SECOND / 5;
            let piece = vec![b'x'; 1 << 20];
            while conn.send(&piece).is_ok() {}
            conn.patience = SOON;
            assert_eq!(conn.read_exactly(8).unwrap(), b"too much", "{}", origin.address());
        }
        end(master);
    }
}

#[test]
fn silence_in_both_directions_ends_a_connection() {
    let place = Place::new();
    let origin =
        Origin::start(|mut visit| while visit.conn.read_any().is_ok_and(|bytes| !bytes.is_empty()) {});
    let config = Tcp::to(&[origin.address()], "").tcp("idle_timeout = \"1s\"");
    let master = Master::start(&place, &config.text());
    let mut silent = connect(&master);
    let mut talking = connect(&master);
    let begun = Instant::now();
    wait_until("the silent one is closed", SOON, || {
        talking.send(b"x").unwrap();
        silent.unasked().is_some()
    });
    assert!((SECOND..SECOND * 4).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert!(silent.closed_within(SOON), "in good order");
    assert!(talking.unasked().is_none(), "one direction is enough");
    assert!(talking.closed_within(SOON), "until that is silent, too");
    origin.wait_closed(SOON);
    drop((silent, talking));
    assert_eq!(errors(&master), 0);
    end(master);
}
