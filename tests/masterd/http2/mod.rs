//! HTTP/2 as clients meet it, by a client of our own that can also misbehave.
//!
//! `requests`: what is asked and answered. `heads`: those that are refused. `floods`: who asks for too much.
//! `stalls`: streams that stand still. `life`: how a connection ends. `upstreams`: servers that speak it.
//! `client` and `hpack` are the client.

pub mod client;
mod floods;
mod heads;
mod hpack;
mod life;
mod requests;
mod stalls;
mod upstreams;

use super::harness::*;
use super::tls::end;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A master with one worker and the usual routes.
#[track_caller]
fn plain(place: &Place) -> Master {
    Master::start(place, &Web::new().workers(1).text())
}

/// A master with one worker that passes every request on.
#[track_caller]
fn fronting(place: &Place, origin: &Origin) -> Master {
    Master::start(place, &Web::new().workers(1).root(&proxy(&[origin.address()], "")).text())
}
