//! The parent's hands: the shell around `policy::decide`.
//!
//! `boot` makes a `Shell` (config, lock, log, control socket) and starts the first generation;
//! `turn` is the loop: `inbox` turns readiness into events, `decide` answers with actions, `outbox`
//! performs them, what comes of them are events again. `spawn` forks, `sockets` owns listeners, `access_logs`
//! files, `crew` the handles on workers, `control` and `clients` the people, `status` and `progress` tell
//! them. `handover` is what one image leaves to the next, `upgrade` how it gets there. Single-threaded, never blocks, runs nobody else's code, and makes no decision.

mod access_logs;
mod aftermath;
mod asks;
mod boot;
mod clients;
mod config_child;
mod control;
mod crew;
mod handover;
mod holders;
mod inbox;
mod modes;
mod notes;
mod outbox;
mod progress;
mod samples;
mod socket_files;
mod sockets;
mod spawn;
mod status;
mod turn;
mod upgrade;

pub use boot::{Options, run};
pub use handover::record;
pub use upgrade::inherited;
