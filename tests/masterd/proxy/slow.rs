//! Whose slowness it is: a client that stalls is let go, one whose upstream is slow is not.

use super::super::harness::*;
use super::super::tools::*;
use super::*;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

#[test]
fn an_upload_that_stalls_gets_408_and_frees_its_upstream() {
    let place = Place::new();
    let origin = Origin::start(|mut visit| {
        let Some(mut asked) = visit.request() else { return };
        let _ = visit.body(&mut asked);
    });
    let master =
        fronting_with(&place, &[&origin], "max_failures = 1", |web| web.http("body_timeout = \"500ms\""));
    for framing in ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"] {
        let mut conn = Conn::open(&master.address()).unwrap();
        let begun = Instant::now();
        conn.send(format!("POST / HTTP/1.1\r\nHost: h\r\n{framing}").as_bytes()).unwrap();
        let answer = conn.receive().unwrap();
        assert!(answer.status == 408 && answer.closes(), "{answer:?}");
        assert!((SECOND / 2..SECOND * 5).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        origin.wait_closed(SOON);
    }
    assert_eq!(errors(&master), 2);
    assert!(!master.log().contains("in a row"), "{}", master.log());
    end(master);
}

#[test]
fn an_upstream_that_takes_its_time_is_not_held_against_the_client() {
    let place = Place::new();
    // It takes nothing for longer than a client may be silent, then everything.
    let script = |mut visit: Visit| {
        let Some(mut asked) = visit.request() else { return };
        let begun = Instant::now();
        visit.ignore_until(|| begun.elapsed() > SECOND * 3 / 2);
        if visit.body(&mut asked).is_ok() {
            visit.say(ok(&format!("{} bytes", asked.body.len())));
        }
    };
    // The queue of a unix socket is short: bodies of these sizes end up in every place on the way.
    let origin = Origin::unix(place.path("o.sock").to_str().unwrap(), script);
    let master = fronting_with(&place, &[&origin], "", |web| web.http("body_timeout = \"500ms\""));
    let address = master.address();
    std::thread::scope(|scope| {
        for size in (1..=40).map(|n| n << 14) {
            let address = &address;
            scope.spawn(move || {
                let mut stream = client(address);
                write!(stream, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n").unwrap();
                Pattern::new().write(&mut stream, size).unwrap();
                let answer = Conn::on(stream).receive().unwrap();
                assert_eq!((answer.status, answer.body), (200, format!("{size} bytes")));
            });
        }
    });
    assert_eq!(errors(&master), 0);
    end(master);
}

#[test]
fn a_client_is_not_hurried_while_its_upstream_is_looked_for() {
    let place = Place::new();
    // One that takes no connection comes first; meanwhile the client waits for its 100.
    let (hole, origin) = (Hole::new(), Origin::answering(|asked| ok(&format!("{} bytes", asked.body.len()))));
    let action = proxy(&[hole.address(), origin.address()], "connect_timeout = \"1500ms\", max_failures = 0");
    let web = Web::new().workers(1).root(&action).http("body_timeout = \"500ms\"");
    let master = Master::start(&place, &web.text());
    let mut conn = Conn::open(&master.address()).unwrap();
    conn.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n").unwrap();
    assert_eq!(conn.receive().unwrap().status, 100);
    conn.send(b"hello").unwrap();
    assert_eq!(conn.receive().unwrap().body, "5 bytes");
    drop(conn);
    assert_eq!(errors(&master), 0);
    end(master);
}

#[test]
fn an_upstream_that_hardly_reads_costs_a_buffer_for_each_upload() {
    const MANY: usize = 50;
    const LENGTH: usize = 1 << 20;
    let place = Place::new();
    let open = Arc::new(AtomicBool::new(false));
    let ours = open.clone();
    let script = move |mut visit: Visit| {
        let Some(mut asked) = visit.request() else { return };
        visit.ignore_until(|| ours.load(Relaxed));
        visit.body(&mut asked).unwrap();
        Pattern::new().check(0, &asked.body);
        visit.say(ok(&format!("{} bytes", asked.body.len())));
    };
    let origin = Origin::unix(place.path("o.sock").to_str().unwrap(), script);
    let unix = format!("\"unix:{}\"", place.path("w.sock").display());
    let master = fronting_with(&place, &[&origin], "", |web| web.listen_raw(&[&unix]));
    let address = master.address();
    let pid = worker(&master).pid;
    let before = peak(pid);
    std::thread::scope(|scope| {
        for _ in 0..MANY {
            let address = &address;
            scope.spawn(move || {
                let mut conn = Conn::open(address).unwrap();
                conn.send(
                    format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {LENGTH}\r\n\r\n").as_bytes(),
                )
                .unwrap();
                Pattern::new().write(&mut conn, LENGTH).unwrap();
                assert_eq!(conn.receive().unwrap().body, format!("{LENGTH} bytes"));
            });
        }
        let mut last = (0, Instant::now());
        wait_until("nothing moves any more", SOON, || {
            let now = worker(&master).bytes_in;
            if now != last.0 {
                last = (now, Instant::now());
            }
            origin.asked().len() == MANY && last.1.elapsed() > SECOND / 5
        });
        let more = (peak(pid) - before) / MANY as u64;
        eprintln!("{more} KiB for each upload");
        assert!(more < 400, "{more} KiB for each upload");
        open.store(true, Relaxed);
    });
    assert_eq!(errors(&master), 0);
    end(master);
}

#[test]
fn who_has_said_his_last_word_is_answered_and_who_has_gone_frees_his_upstream() {
    let place = Place::new();
    let open = Arc::new(AtomicBool::new(false));
    let ours = open.clone();
    let origin = Origin::start(move |mut visit| {
        let Some(asked) = visit.request() else { return };
        if asked.target() == "/late" {
            visit.wait_for(|| ours.load(Relaxed));
            visit.say(ok("late"));
        }
        visit.wait_gone();
    });
    let master = fronting(&place, &[&origin], "keep_alive = 0");
    let mut conn = Conn::open(&master.address()).unwrap();
    conn.send(b"GET /late HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    conn.shut_write();
    wait_until("it is asked", SOON, || origin.asked().len() == 1);
    // A FIN alone tells only that no more requests come.
    holds_for("it is waited for", SECOND / 2, || conn.unasked().is_none() && origin.open() == 1);
    open.store(true, Relaxed);
    assert_eq!(conn.receive().unwrap().body, "late");
    drop(conn);
    origin.wait_closed(SOON);
    let whole = "GET /never HTTP/1.1\r\nHost: h\r\n\r\n";
    let half = "POST /never HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf";
    for (n, (request, fin)) in [(whole, true), (whole, false), (half, false)].into_iter().enumerate() {
        let mut conn = Conn::open(&master.address()).unwrap();
        conn.send(request.as_bytes()).unwrap();
        if fin {
            conn.shut_write();
        }
        wait_until("it is asked", SOON, || origin.asked().len() == n + 2);
        holds_for("it is waited for", SECOND / 5, || origin.open() == 1);
        conn.reset();
        origin.wait_closed(SECOND);
    }
    wait_until("nothing is in flight", SOON, || worker(&master).in_flight == 0);
    end(master);
}

#[test]
fn waiting_costs_no_time() {
    let place = Place::new();
    let origin = Origin::start(|mut visit| {
        let Some(asked) = visit.request() else { return };
        match asked.target() {
            "/events" => visit.say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"),
            "/ws" => visit.say(ws::GRANTED),
            "/huge" => visit.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"),
            _ => true,
        };
        if asked.target() == "/huge" {
            let piece = vec![b'x'; 1 << 20];
            while visit.say(&piece) {}
        }
        visit.ignore_until(|| false);
    });
    let hole = Hole::new();
    let nowhere = proxy(&[hole.address()], "connect_timeout = \"60s\"");
    let master = fronting_with(&place, &[&origin], "", |web| web.route("/nowhere", &nowhere));
    let address = master.address();
    let ask = |request: &str| {
        let mut conn = Conn::open(&address).unwrap();
        conn.send(request.as_bytes()).unwrap();
        conn
    };
    let get = |path: &str| ask(&format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
    let conns = [
        get("/events"),
        get("/huge"),
        get("/silent"),
        get("/nowhere"),
        ask(ws::HANDSHAKE),
        ask("POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf"),
    ];
    let half = get("/half");
    half.shut_write();
    let mut full = ask("POST /full HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n");
    full.patience = SECOND / 5;
    let piece = vec![b'x'; 1 << 20];
    while full.send(&piece).is_ok() {}
    wait_until("all are under way", SOON, || {
        origin.asked().len() == 7 && worker(&master).active.websocket == 1
    });
    let mut share = 1.0;
    wait_until("nothing moves any more", SOON, || {
        share = cpu_share(worker(&master).pid, SECOND / 4);
        share < 0.1
    });
    assert_eq!(errors(&master), 0, "nobody has been let go: {share}");
    // A FIN alone would not tell that nobody waits for an answer any more.
    let gone = Instant::now();
    conns.into_iter().chain([half, full]).for_each(Conn::reset);
    wait_until("all are let go", SOON, || worker(&master).active.total() == 0);
    assert!(gone.elapsed() < SECOND * 3, "{:?}", gone.elapsed());
    end(master);
}
