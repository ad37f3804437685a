//! TLS: handshakes, resumed ones, and requests over kept connections.

use super::board::{Column, Peer, in_turns};
use super::figures::heading;
use super::server::{Kind, Server, Setup};
use super::{tls_client, wrk};
use std::time::Duration;

const ROUNDS: usize = 3;
const TIME: Duration = Duration::from_millis(1500);
const CONNECTIONS: usize = 64;

pub fn run() {
    heading(
        "TLS",
        "One worker (HAProxy, Envoy: one thread; of Envoy all its threads count) on CPU 0, clients on CPU 1, a key \
         of ECDSA P-256. Handshakes: TLS 1.3 with X25519 and AES-128-GCM, a connection for each request of \
         12 bytes in answer, eight clients, without tickets and with them. A resumed handshake still has its key \
         exchange, and a new ticket. masterd sends one ticket after a full handshake, nginx and HAProxy two. \
         Requests: wrk with 64 kept connections. More is better everywhere. Three rounds.",
    );
    let setup = Setup { cpu: Some(0), tls: true, ..Setup::default() };
    let peers = [Kind::Masterd, Kind::Nginx, Kind::Haproxy, Kind::Envoy].map(|kind| Peer::new(kind, setup));
    let board = in_turns(ROUNDS, &peers, |server, column| {
        handshakes(server, column, false);
        handshakes(server, column, true);
        let url = format!("https://{}/", server.address);
        wrk::run(&url, CONNECTIONS, 1);
        let before = server.cpu_ns();
        let done = wrk::run(&url, CONNECTIONS, 2);
        let used = (server.cpu_ns() - before) as f64 / 1e9;
        column.note("requests over kept connections, per CPU second", 0, done.requests / used);
    });
    board.show();
}

fn handshakes(server: &Server, column: &mut Column<'_>, resume: bool) {
    let mut before = 0;
    let made = tls_client::storm(server.address, resume, TIME, || before = server.cpu_ns());
    let used = (server.cpu_ns() - before) as f64 / 1e9;
    let all = (made.full + made.resumed) as f64;
    if resume {
        column.note("connections with resumed handshakes, per CPU second", 0, all / used);
        column.note("… share that was resumed", 3, made.resumed as f64 / all);
    } else {
        assert_eq!(made.resumed, 0, "resumed without a ticket");
        column.note("connections with full handshakes, per CPU second", 0, all / used);
    }
}
