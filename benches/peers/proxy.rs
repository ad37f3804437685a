//! HTTP/1.1 passed on to an HTTP/1.1 server, connections kept on both sides.

use super::board::{Peer, in_turns};
use super::figures::heading;
use super::server::{Kind, Server, Setup, Work};
use super::wrk::{self, Done};

const ROUNDS: usize = 11;
const MANY: usize = 64;
const FEW: usize = 8;

pub fn run() {
    heading(
        "HTTP/1.1 proxy",
        "One worker (HAProxy: one thread) on CPU 0; on CPU 1 wrk and the origin, an nginx that answers with 12 bytes \
         or with a file of 100 KiB. Connections are kept on both sides: nginx with `keepalive` and \
         `proxy_http_version 1.1`, HAProxy with `http-reuse always`. The client's address, protocol and host go \
         along in `X-Forwarded-For`, `-Proto` and `-Host`; masterd says the same in `Forwarded` besides. CPU is \
         that of the worker, with 64 connections; times are those that wrk sees with 8, and as it shares its CPU \
         with the origin, both have their part in them. Eleven rounds.",
    );
    let origin = origin();
    let work = Work::Proxy { origin: origin.address, websocket: false };
    let setup = Setup { cpu: Some(0), work, ..Setup::default() };
    let peers = [Kind::Masterd, Kind::Nginx, Kind::Haproxy].map(|kind| Peer::new(kind, setup));
    let board = in_turns(ROUNDS, &peers, |server, column| {
        let tiny = format!("http://{}/", server.address);
        wrk::run(&tiny, MANY, 1);
        let (each, many) = cost(server, &tiny, MANY);
        column.note("12 bytes: µs of CPU per request", 2, each);
        column.note("12 bytes: requests per second", 0, many.rate);
        let few = wrk::run(&tiny, FEW, 1);
        column.note("12 bytes: median time, µs", 0, few.p50);
        column.note("12 bytes: 99th percentile, µs", 0, few.p99);
        let (each, many) = cost(server, &format!("{tiny}100k"), MANY);
        column.note("100 KiB: µs of CPU per request", 1, each);
        column.note("100 KiB: requests per second", 0, many.rate);
    });
    board.show();
}

/// An nginx on the load's CPU.
pub fn origin() -> Server {
    Server::start(Kind::Nginx, Setup { cpu: Some(1), work: Work::Files, ..Setup::default() })
}

/// Microseconds of the worker's CPU per request, in a second of load.
pub fn cost(server: &Server, url: &str, connections: usize) -> (f64, Done) {
    let before = server.cpu_ns();
    let done = wrk::run(url, connections, 1);
    ((server.cpu_ns() - before) as f64 / 1e3 / done.requests, done)
}
