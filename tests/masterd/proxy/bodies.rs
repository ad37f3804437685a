//! Bodies of every size and framing, whole in both directions, and nothing that was broken off taken for whole.

use super::super::harness::*;
use super::super::tools::*;
use super::*;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

#[test]
fn a_gibibyte_goes_each_way_and_the_worker_stays_small() {
    const LENGTH: usize = 1 << 30;
    let place = Place::new();
    let origin = Origin::start(move |mut visit| {
        let pattern = Pattern::new();
        while let Some(asked) = visit.request() {
            if asked.method() == "GET" {
                visit.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n"));
                let Ok(()) = pattern.write(&mut visit.conn, LENGTH) else { return };
                continue;
            }
            let mut at = 0;
            while at < LENGTH {
                let piece = visit.conn.read_any().expect("the rest of a body");
                assert!(!piece.is_empty(), "it ended after {at}");
                pattern.check(at, &piece);
                at += piece.len();
            }
            visit.say(ok(&format!("{at} bytes")));
        }
    });
    let master = fronting(&place, &[&origin], "");
    let pid = worker(&master).pid;
    let pattern = Pattern::new();
    assert_eq!(get(&master.address(), "/healthz").unwrap().status, 200);
    let before = peak(pid);
    let begun = Instant::now();
    let mut up = client(&master.address());
    write!(up, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {LENGTH}\r\n\r\n").unwrap();
    pattern.write(&mut up, LENGTH).unwrap();
    let answer = Conn::on(up).receive().unwrap();
    assert_eq!((answer.status, answer.body), (200, format!("{LENGTH} bytes")));
    let mut down = client(&master.address());
    write!(down, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let head = read_head(&mut down);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    pattern.read(&mut down, LENGTH);
    eprintln!("{LENGTH} bytes each way in {:?}, {} KiB more", begun.elapsed(), peak(pid) - before);
    assert!(peak(pid) - before < 8 << 10, "{} KiB, {before} before", peak(pid));
    drop(down);
    // What has come is counted a moment later.
    wait_until("all is counted", SOON, || {
        let totals = master.service("web").totals;
        totals.bytes_in > LENGTH as u64 && totals.bytes_out > LENGTH as u64
    });
    end(master);
}

/// Reads a head byte by byte: what follows is left in the socket.
fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("a head of text")
}

#[test]
fn clients_that_hardly_read_cost_a_buffer_each_and_nobody_else_anything() {
    const MANY: usize = 100;
    const LENGTH: usize = 1 << 20;
    let place = Place::new();
    let origin = Origin::start(|mut visit| {
        let pattern = Pattern::new();
        while let Some(asked) = visit.request() {
            let length = if asked.target() == "/small" { 5 } else { LENGTH };
            visit.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"));
            if pattern.write(&mut visit.conn, length).is_err() {
                return;
            }
        }
    });
    // The queue of a unix socket is short: the kernel takes little off the worker.
    let unix = format!("\"unix:{}\"", place.path("w.sock").display());
    let master = fronting_with(&place, &[&origin], "", |web| web.listen_raw(&[&unix, "\"127.0.0.1:0\""]));
    let listeners = master.service("web").listeners;
    let pid = worker(&master).pid;
    let before = peak(pid);
    let mut conns: Vec<Conn> = (0..MANY).map(|_| Conn::open(&listeners[0].address).unwrap()).collect();
    conns.iter_mut().for_each(|conn| conn.ask("/").unwrap());
    wait_until("all are being answered", SOON, || worker(&master).in_flight == MANY as u64);
    let others: Vec<Duration> = (0..20)
        .map(|_| {
            let begun = Instant::now();
            assert_eq!(get(&listeners[1].address, "/small").unwrap().body.len(), 5);
            begun.elapsed()
        })
        .collect();
    let more = (peak(pid) - before) / MANY as u64;
    eprintln!("{more} KiB for each client, others wait up to {:?}", others.iter().max());
    // What is read at once, what is being written, and half as much again for how they have grown.
    assert!(more < 400, "{more} KiB for each client");
    assert!(worker(&master).in_flight >= MANY as u64);
    let pattern = Pattern::new();
    for conn in &mut conns {
        assert_eq!(conn.receive_head().unwrap().status, 200);
        pattern.check(0, &conn.read_exactly(LENGTH).unwrap());
    }
    drop(conns);
    assert_eq!(errors(&master), 0);
    end(master);
}

#[test]
fn uploads_arrive_whole_however_they_are_sent() {
    let place = Place::new();
    let origin = Origin::answering(|asked| ok(&format!("{} bytes", asked.body.len())));
    let master = fronting(&place, &[&origin], "");
    let mut conn = Conn::open(&master.address()).unwrap();
    let body: Vec<u8> = Pattern::new().from(0)[..100_000].to_vec();
    for chunked in [false, true] {
        for piece in [1_000, 33_333, 100_000] {
            let framing = match chunked {
                true => "Transfer-Encoding: chunked".to_owned(),
                false => format!("Content-Length: {}", body.len()),
            };
            conn.send(format!("POST / HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n").as_bytes()).unwrap();
            for piece in body.chunks(piece) {
                if chunked {
                    conn.send(format!("{:x}\r\n", piece.len()).as_bytes()).unwrap();
                }
                conn.send(piece).unwrap();
                if chunked {
                    conn.send(b"\r\n").unwrap();
                }
                // The habit of a slow client.
                std::thread::sleep(Duration::from_millis(1));
            }
            if chunked {
                conn.send(b"0\r\n\r\n").unwrap();
            }
            let answer = conn.receive().unwrap();
            assert_eq!((answer.status, answer.body.as_str()), (200, "100000 bytes"), "{piece}");
            assert!(origin.asked().pop().unwrap().body == body, "chunked {chunked}, in pieces of {piece}");
        }
    }
    assert_eq!(origin.accepted(), 1);
    drop(conn);
    end(master);
}

#[test]
fn a_client_that_waits_for_a_100_gets_it_when_the_body_is_wanted() {
    let place = Place::new();
    let origin = Origin::answering(|asked| ok(std::str::from_utf8(&asked.body).unwrap()));
    let master = fronting(&place, &[&origin], "");
    let mut conn = Conn::open(&master.address()).unwrap();
    for body in ["hello", "again"] {
        conn.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
            .unwrap();
        assert_eq!(conn.receive().unwrap().status, 100);
        conn.send(body.as_bytes()).unwrap();
        assert_eq!(conn.receive().unwrap().body, body);
    }
    assert!(origin.asked().iter().all(|asked| asked.header("expect").is_none()));
    drop(conn);
    end(master);
}

#[test]
fn an_answer_that_comes_before_the_upload_is_over_reaches_the_client() {
    let place = Place::new();
    // One that closes with unread bytes (which resets), and one that goes on reading.
    let refusing = |closes: bool| {
        move |mut visit: Visit| {
            if visit.request().is_none() {
                return;
            }
            let body = "too large, and this is why\n".repeat(20);
            let length = body.len();
            let head = "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n";
            visit.say(format!("{head}Content-Length: {length}\r\n\r\n{body}"));
            if !closes {
                visit.wait_gone();
            }
        }
    };
    for closes in [true, false] {
        let origin = Origin::start(refusing(closes));
        let master = fronting(&place, &[&origin], "max_failures = 0");
        for round in 0..20 {
            let mut conn = Conn::open(&master.address()).unwrap();
            conn.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n").unwrap();
            // It goes on sending until it can't, and only then looks for an answer.
            conn.patience = SECOND / 5;
            let piece = vec![b'x'; 64 << 10];
            for _ in 0..round {
                if conn.send(&piece).is_err() {
                    break;
                }
            }
            conn.patience = SOON;
            let answer =
                conn.receive().unwrap_or_else(|lost| panic!("closes {closes}, round {round}: {lost}"));
            assert_eq!((answer.status, answer.body.len()), (413, 540), "closes {closes}, round {round}");
            // Its rest is not waited for.
            conn.patience = SECOND * 5;
            let end_of_it = conn.read_any();
            let over = matches!(&end_of_it, Ok(bytes) if bytes.is_empty());
            assert!(over || matches!(end_of_it, Err(Lost::Reset(0))), "{end_of_it:?}");
        }
        origin.wait_closed(SOON);
        end(master);
    }
}

#[test]
fn both_directions_may_flow_at_once() {
    let place = Place::new();
    let origin = Origin::start(|mut visit| {
        if visit.request().is_none() {
            return;
        }
        visit.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while let Ok(piece) = visit.conn.read_chunk() {
            visit.say([format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat());
            if piece.is_empty() {
                return;
            }
        }
    });
    let master = fronting(&place, &[&origin], "read_timeout = \"10s\"");
    let mut conn = Conn::open(&master.address()).unwrap();
    conn.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    assert_eq!(conn.receive_head().unwrap().status, 200);
    // Question and answer, a hundred times within one request.
    for n in 0..100 {
        conn.send(format!("5\r\n{n:05}\r\n").as_bytes()).unwrap();
        assert_eq!(conn.read_chunk().unwrap(), format!("{n:05}").as_bytes());
    }
    conn.send(b"0\r\n\r\n").unwrap();
    assert_eq!(conn.read_chunk().unwrap(), b"");
    drop(conn);
    assert_eq!(errors(&master), 0);
    end(master);
}

#[test]
fn an_upload_that_the_client_breaks_off_is_not_taken_for_whole() {
    let place = Place::new();
    let (whole, broken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (all, half) = (whole.clone(), broken.clone());
    let origin = Origin::start(move |mut visit| {
        while let Some(mut asked) = visit.request() {
            let ended = visit.body(&mut asked);
            if ended.is_err() {
                half.fetch_add(1, Relaxed);
                return;
            }
            all.fetch_add(1, Relaxed);
            visit.say(ok(""));
        }
    });
    let master = fronting(&place, &[&origin], "max_failures = 1");
    let mut count = 0;
    for framing in ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"] {
        for resets in [true, false] {
            let mut conn = Conn::open(&master.address()).unwrap();
            conn.send(format!("POST / HTTP/1.1\r\nHost: h\r\n{framing}").as_bytes()).unwrap();
            count += 1;
            wait_until("it is on its way", SOON, || origin.asked().len() == count);
            if resets {
                conn.reset()
            } else {
                drop(conn)
            }
            wait_until("the origin sees it break off", SOON, || broken.load(Relaxed) == count);
        }
    }
    // A body that is no body is the client's fault, too.
    let mut conn = Conn::open(&master.address()).unwrap();
    conn.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nZZ\r\n")
        .unwrap();
    let answer = conn.receive().unwrap();
    assert!(answer.status == 400 && answer.closes(), "{answer:?}");
    assert!(conn.closed_within(SOON));
    assert_eq!(whole.load(Relaxed), 0);
    wait_until("each is counted", SOON, || errors(&master) == count as u64 + 1);
    // None of it is held against the upstream.
    assert!(!master.log().contains("in a row"), "{}", master.log());
    end(master);
}
