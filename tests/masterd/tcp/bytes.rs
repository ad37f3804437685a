//! Every byte arrives, in its order, however many there are and whichever way they go.

use super::super::harness::*;
use super::super::tools::*;
use super::*;
use std::io::Write;
use std::net::TcpStream;
use std::time::Instant;

/// What it sends back: everything, until the other side has ended.
fn echoing(mut visit: Visit) {
    while let Ok(bytes) = visit.conn.read_any() {
        if bytes.is_empty() || !visit.say(bytes) {
            return;
        }
    }
}

/// Sends so many bytes and holds the same to come back.
#[track_caller]
fn round_trip(stream: &TcpStream, length: usize) {
    let pattern = Pattern::new();
    std::thread::scope(|scope| {
        scope.spawn(|| pattern.write(stream, length).expect("send"));
        pattern.read(stream, length);
    });
}

#[test]
fn two_hundred_mebibytes_go_each_way_and_the_worker_stays_small() {
    const LENGTH: usize = 200 << 20;
    let place = Place::new();
    let origin = Origin::start(echoing);
    let master = tunnelling(&place, &[&origin], "");
    let pid = worker(&master).pid;
    let before = peak(pid);
    let stream = client(&master.address_of("tcp"));
    let begun = Instant::now();
    round_trip(&stream, LENGTH);
    eprintln!("{LENGTH} bytes each way in {:?}, {} KiB more", begun.elapsed(), peak(pid) - before);
    assert!(peak(pid) - before < 8 << 10, "{} KiB, {before} before", peak(pid));
    wait_until("the last of them are counted", SOON, || worker(&master).bytes_out == LENGTH as u64);
    let now = worker(&master);
    assert_eq!((now.active.tcp, now.active.total(), now.accepted), (1, 1, 1));
    assert_eq!(now.bytes_in, LENGTH as u64);
    drop(stream);
    origin.wait_closed(SOON);
    assert_eq!(errors(&master), 0);
    end(master);
}

#[test]
fn small_messages_go_to_and_fro_at_once() {
    const MESSAGES: usize = 2000;
    let place = Place::new();
    let origin = Origin::start(echoing);
    let master = tunnelling(&place, &[&origin], "");
    let mut conn = connect(&master);
    let begun = Instant::now();
    for n in 0..MESSAGES {
        let message = format!("message {n}");
        conn.send(message.as_bytes()).unwrap();
        assert_eq!(conn.read_exactly(message.len()).unwrap(), message.as_bytes());
    }
    // Forty milliseconds each, if somebody waited to send more at a time.
    assert!(begun.elapsed() < Duration::from_millis(10) * MESSAGES as u32, "{:?}", begun.elapsed());
    drop(conn);
    end(master);
}

#[test]
fn small_and_large_pieces_follow_one_another_over_every_kind_of_socket() {
    let place = Place::new();
    let name = place.dir().file_name().unwrap().to_str().unwrap().to_owned();
    let origins = [
        Origin::start(echoing),
        Origin::unix(place.path("o.sock").to_str().unwrap(), echoing),
        Origin::unix(&format!("@{name}-o"), echoing),
    ];
    let addresses: Vec<&str> = origins.iter().map(Origin::address).collect();
    for listen in ["127.0.0.1:0", "unix:t.sock"] {
        let master = Master::start(&place, &Tcp::to(&addresses, "").listen(listen).text());
        let address = master.address_of("tcp");
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    let mut conn = Conn::open(&address).unwrap();
                    let pattern = Pattern::new();
                    for size in [1, 100_000, 3, 16_384, 2, 65_536, 65_537, 7, 131_000] {
                        let bytes = &pattern.from(size)[..size];
                        conn.send(bytes).unwrap();
                        assert!(conn.read_exactly(size).unwrap() == bytes, "{size} bytes");
                    }
                });
            }
        });
        for origin in &origins {
            origin.wait_closed(SOON);
        }
        assert_eq!(errors(&master), 0);
        end(master);
    }
    assert_eq!(origins.map(|origin| origin.accepted()), [4, 4, 4], "they took turns");
}

#[test]
fn an_echo_service_needs_nobody_else() {
    let place = Place::new();
    let master = Master::start(&place, &Tcp::echo().text());
    let stream = client(&master.address_of("tcp"));
    round_trip(&stream, 20 << 20);
    let mut conn = connect(&master);
    conn.send(b"hello").unwrap();
    assert_eq!(conn.read_exactly(5).unwrap(), b"hello");
    assert_eq!(worker(&master).active.tcp, 2);
    // Its end comes back, too, behind everything else.
    conn.send(b"last").unwrap();
    conn.shut_write();
    assert_eq!(conn.read_to_end().unwrap(), b"last");
    drop((stream, conn));
    assert_eq!(errors(&master), 0);
    end(master);
}

#[test]
fn waiting_costs_no_time() {
    let place = Place::new();
    let origin = Origin::start(|mut visit| {
        visit.say("hello");
        if visit.number == 1 {
            visit.conn.shut_write();
        }
        visit.ignore_until(|| false);
    });
    let master = tunnelling(&place, &[&origin], "");
    let mut conns: Vec<Conn> = (0..4).map(|_| connect(&master)).collect();
    for conn in &mut conns {
        assert_eq!(conn.read_exactly(5).unwrap(), b"hello");
    }
    // Silent, half-closed by the upstream, half-closed by the client, and full.
    conns[2].shut_write();
    conns[3].patience = SECOND / 5;
    let piece = vec![b'x'; 1 << 20];
    while conns[3].send(&piece).is_ok() {}
    wait_until("nothing moves any more", SOON, || cpu_share(worker(&master).pid, SECOND / 4) < 0.1);
    assert_eq!((worker(&master).active.tcp, errors(&master)), (4, 0));
    drop((conns, origin));
    end(master);
}

#[test]
fn who_does_not_read_slows_only_its_own_sender() {
    const MANY: usize = 50;
    let place = Place::new();
    let origin = Origin::start(|mut visit| {
        // The first word says what is wanted.
        match visit.conn.read_any() {
            Ok(word) if word == b"flood" => {
                let piece = vec![b'x'; 64 << 10];
                while visit.say(&piece) {}
            }
            Ok(word) => _ = visit.say(word),
            Err(_) => {}
        }
    });
    let master = tunnelling(&place, &[&origin], "");
    let pid = worker(&master).pid;
    let before = peak(pid);
    let mut greedy: Vec<TcpStream> = (0..MANY).map(|_| client(&master.address_of("tcp"))).collect();
    greedy.iter_mut().for_each(|stream| stream.write_all(b"flood").unwrap());
    let full = || worker(&master).bytes_out;
    let mut last = (0, Instant::now());
    wait_until("nothing moves any more", SOON, || {
        let now = full();
        if now != last.0 {
            last = (now, Instant::now());
        }
        last.1.elapsed() > SECOND / 5
    });
    for _ in 0..20 {
        let mut conn = connect(&master);
        conn.send(b"hello").unwrap();
        assert_eq!(conn.read_exactly(5).unwrap(), b"hello");
    }
    let more = (peak(pid) - before) / MANY as u64;
    assert!(more < 100, "{more} KiB for each");
    drop(greedy);
    origin.wait_closed(SOON);
    end(master);
}
