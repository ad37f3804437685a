//! What every end-to-end test stands on: a place, a master in it, clients and load.
//!
//! ```ignore
//! let place = Place::new();
//! let master = Master::start(&place, &Web::new().workers(2).text());
//! let load = Load::start(&master.address());
//! assert_eq!(master.cli(&["reload"]).code, 0);
//! load.stop().assert_nothing_lost();
//! master.finish();      // or let it drop: QUIT, exit status 0, nothing left behind
//! ```
//! Nothing here sleeps for a time to be over: everything waits for a condition and has a deadline.
//! `MASTERD_TEST_KEEP=1` keeps the folders; those of failed tests are kept always.

// Not every test file uses everything that is offered.
#![allow(dead_code)]

pub mod config;
pub mod http;
pub mod image;
pub mod load;
pub mod master;
pub mod origin;
pub mod pattern;
pub mod place;
pub mod procs;
pub mod stamps;
pub mod tls;
pub mod ws;

#[allow(unused_imports)]
pub use config::{Tcp, Web, proxy};
#[allow(unused_imports)]
pub use http::{Conn, Lost, Response, get};
#[allow(unused_imports)]
pub use image::install;
#[allow(unused_imports)]
pub use load::{Load, Mix, Report};
#[allow(unused_imports)]
pub use master::{Launch, Master};
#[allow(unused_imports)]
pub use nix::sys::signal::Signal;
#[allow(unused_imports)]
pub use origin::{Asked, Hole, Origin, Port, Visit, conversation, marked, ok};
#[allow(unused_imports)]
pub use pattern::Pattern;
#[allow(unused_imports)]
pub use place::{Output, Place, Running, free_port};
#[allow(unused_imports)]
pub use tls::{Authority, Caller};

use std::time::{Duration, Instant};

/// Long enough for anything that should happen soon, on a machine that is busy with other things.
pub const SOON: Duration = Duration::from_secs(20);

/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(3);

/// Waits until `condition` holds; panics with `what` when `limit` is over.
#[track_caller]
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    assert!(came_true(limit, &mut condition), "waited {limit:?} in vain until {what}");
}

/// Whether `condition` came to hold within `limit`.
pub fn came_true(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(LOOK);
    }
}

/// Watches that `condition` holds all through `span`; panics with `what` at once when it does not.
/// For "nothing happens": the one case in which time itself is the condition.
#[track_caller]
pub fn holds_for(what: &str, span: Duration, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + span;
    while Instant::now() < end {
        assert!(condition(), "did not stay so: {what}");
        std::thread::sleep(LOOK);
    }
}

/// Whether this process is root: what workers do about privileges depends on it.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
