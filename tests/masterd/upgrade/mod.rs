//! Binary upgrades: under load, nothing lost, the pid unchanged; whatever goes wrong, the old one goes on.

mod done;

use crate::harness::{Launch, Master, Place, Web, install};

/// A master that runs a copy of the binary under test, at `masterd` in its place, and may be replaced there.
#[track_caller]
fn start(place: &Place, web: &Web) -> Master {
    place.config(&web.text());
    Launch::of(place, &install(place, "masterd", &[])).start()
}
