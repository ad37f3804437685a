//! TCP services as clients and upstreams meet them: bytes in both directions, and how each side's end reaches the other.
//!
//! `bytes`: that all of them arrive. `ends`: half-closes, resets, silence. `upstreams`: which one, and what it is told.
//! `reload`: a tunnel outlives one, up to its grace.

mod bytes;
mod ends;
mod reload;
mod upstreams;

use super::harness::*;
use masterd::wire::status::Worker;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A master whose TCP service passes connections on to these origins.
#[track_caller]
fn tunnelling(place: &Place, origins: &[&Origin], more: &str) -> Master {
    let addresses: Vec<&str> = origins.iter().map(|origin| origin.address()).collect();
    Master::start(place, &Tcp::to(&addresses, more).text())
}

/// The only worker.
#[track_caller]
fn worker(master: &Master) -> Worker {
    master.workers("tcp").into_iter().next().expect("a worker")
}

/// Errors counted so far.
#[track_caller]
fn errors(master: &Master) -> u64 {
    master.service("tcp").totals.errors
}

/// A client's connection.
#[track_caller]
fn connect(master: &Master) -> Conn {
    Conn::open(&master.address_of("tcp")).expect("a connection")
}

/// The clients have gone: nothing is open, and nothing is left. The end of each test here.
#[track_caller]
fn end(master: Master) {
    master.wait_status("nothing is open any more", SOON, |s| {
        s.services.iter().flat_map(|s| &s.workers).all(|w| w.active.total() == 0)
    });
    let log = master.log();
    assert!(!log.contains("still held"), "{log}");
    master.finish();
}
