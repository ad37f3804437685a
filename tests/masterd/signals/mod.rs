//! What each signal does: from `kill`, from a terminal, and in every phase of the master's life.

mod acts;
mod phases;
mod terminal;

use super::harness::*;
use std::time::Duration;

/// Opens a connection and has so many requests in flight in all afterwards.
#[track_caller]
fn in_flight(master: &Master, address: &str, path: &str, count: u64) -> Conn {
    let mut conn = Conn::open(address).expect("a connection");
    conn.ask(path).expect("a request");
    master.wait_status("the request is in flight", SOON, |s| {
        s.services.iter().flat_map(|s| &s.workers).map(|w| w.in_flight).sum::<u64>() == count
    });
    conn
}

/// Waits until the pool of `web` has this size and nothing else is left.
#[track_caller]
fn wait_pool(master: &Master, size: u32) {
    master.wait_status(&format!("{size} workers are ready"), SOON, |s| {
        let web = &s.services[0];
        web.workers_wanted == size && web.workers_ready == size && web.workers.len() == size as usize
    });
}

const SECOND: Duration = Duration::from_secs(1);
