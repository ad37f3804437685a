//! The reverse proxy as clients and upstreams meet it, through the whole program.
//!
//! `answers`: what comes back, by which upstream and connection. `forwarded`: what an upstream is told. `bodies`: whole and
//! broken ones, in both directions, however slow. `failures`: upstreams that fail, each in its way. `health`: when one is
//! passed over, and for how long. `websocket`, `sse`: what lasts. `reload`: what a reload and a crash cost.
//! `descriptors`: what happens when they run out.

mod answers;
mod bodies;
mod descriptors;
mod failures;
mod forwarded;
mod health;
mod introduced;
mod reload;
mod slow;
mod sse;
mod websocket;

use super::harness::*;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A master with one worker that passes every request on to these origins.
#[track_caller]
fn fronting(place: &Place, origins: &[&Origin], more: &str) -> Master {
    fronting_with(place, origins, more, |web| web)
}

/// The same, with something else about its config.
#[track_caller]
fn fronting_with(place: &Place, origins: &[&Origin], more: &str, touch: impl Fn(Web) -> Web) -> Master {
    let addresses: Vec<&str> = origins.iter().map(|origin| origin.address()).collect();
    let web = Web::new().workers(1).root(&proxy(&addresses, more));
    Master::start(place, &touch(web).text())
}

/// The only worker.
#[track_caller]
fn worker(master: &Master) -> masterd::wire::status::Worker {
    master.workers("web").into_iter().next().expect("a worker")
}

/// Errors counted so far.
#[track_caller]
fn errors(master: &Master) -> u64 {
    master.service("web").totals.errors
}

/// The clients have gone: nothing is open, nothing in flight, and the books are closed. The end of most tests here.
#[track_caller]
fn end(master: Master) {
    master.wait_status("nothing is open any more", SOON, |s| {
        s.services.iter().flat_map(|s| &s.workers).all(|w| w.active.total() == 0 && w.in_flight == 0)
    });
    let log = master.log();
    assert!(!log.contains("still held"), "{log}");
    master.finish();
}
