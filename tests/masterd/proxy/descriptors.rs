//! Idle connections to upstreams, when there are no descriptors left for anything else.

use super::*;
use crate::http2::client::{Client, getting};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Connections that are idle, of the 80 descriptors that a worker has here.
const IDLE: usize = 60;
/// Clients that a worker takes at once with so many: half of what it has for connections.
const CLIENTS: usize = 20;

#[test]
fn idle_connections_make_room_for_clients_and_for_what_they_ask() {
    let place = Place::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let ours = asked.clone();
    // Each answers when all are there: every request has a connection of its own.
    let origin = Origin::start(move |mut visit| {
        while let Some(head) = visit.request() {
            let all = if head.target() == "/a" { IDLE } else { IDLE + CLIENTS };
            ours.fetch_add(1, Relaxed);
            if !visit.wait_for(|| ours.load(Relaxed) >= all) || !visit.say(ok("here")) {
                return;
            }
        }
    });
    let master = fronting_with(&place, &[&origin], "", |web| {
        web.service("limits = { nofile = 80, cpu_affinity = \"off\" }")
            .route("/b", &proxy(&[origin.address()], ""))
    });
    let mut many = Client::open(&master.address());
    let streams: Vec<u32> = (0..IDLE).map(|_| many.ask(&getting("/a"), true)).collect();
    for stream in streams {
        assert_eq!(many.answer(stream).text(), "here");
    }
    assert_eq!(origin.open(), IDLE, "all are kept");
    let mut clients = Vec::new();
    for n in 0..CLIENTS {
        let mut conn = Conn::open(&master.address()).unwrap();
        assert_eq!(conn.get("/healthz").unwrap().status, 200, "client {n}");
        clients.push(conn);
    }
    assert!(origin.open() < IDLE, "some have made room");
    for conn in &mut clients {
        conn.send(b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    }
    for conn in &mut clients {
        assert_eq!(conn.receive().unwrap().body, "here");
    }
    assert_eq!(errors(&master), 0);
    let log = master.log();
    assert!(!log.contains("can't accept") && !log.contains("upstream"), "{log}");
    drop((many, clients));
    end(master);
}
