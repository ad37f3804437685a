//! What a worker is born with: the one thing `master` hands to `worker` across the fork.
//!
//! The master fills it in the child's side of the fork; `worker::run` takes it and never returns.
//! It stands between the two rooms so that neither imports the other.

use crate::config::{Config, Service};
use crate::model::{Generation, Seat, TicketSecret, WorkerId};
use std::os::fd::OwnedFd;

/// Everything a worker owns. Descriptors not in here are closed by `worker::startup`.
#[derive(Debug)]
pub struct Inheritance {
    pub worker: WorkerId,
    pub seat: Seat,
    pub generation: Generation,
    /// The service it serves, and the whole config (identity, log, timeouts).
    pub service: Service,
    pub config: Config,
    /// One per `service.listen`, in that order: the seat's own socket, or the shared one.
    pub listeners: Vec<OwnedFd>,
    /// SOCK_SEQPACKET, non-blocking: orders in, reports out, EOF is the master's death.
    pub channel: OwnedFd,
    /// The slot's memfd, read-write; mapped, then closed.
    pub slot: OwnedFd,
    /// Where log lines go; already open.
    pub log: OwnedFd,
    /// Session tickets of TLS are sealed with it; the worker lets it advance by itself.
    pub tickets: TicketSecret,
    /// Where the lines of `service.access_log` go; already open. `None` in a trial.
    pub access_log: Option<OwnedFd>,
    /// The soft limit of descriptors that masterd was started with, for programs; `None` if that is not known.
    pub nofile: Option<u64>,
    /// It only shows that it could come up: it takes no listener, says ready and ends.
    pub trial: bool,
    /// True when the master is root, so that `config.master.user` is to be taken on.
    pub drop_privileges: bool,
}

/// A worker's main: a built-in one never comes back.
pub type WorkerMain = fn(Inheritance) -> !;
