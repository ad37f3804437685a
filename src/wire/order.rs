//! What the master tells a worker. Sent by `master/outbox`, read by `worker/mailbox`.
//!
//! Descriptors travel beside the message (SCM_RIGHTS) in the order the variant names them.

use crate::model::Seat;
use crate::model::plan::Idle;
use serde::{Deserialize, Serialize};

/// Largest message either way, in bytes.
pub const MESSAGE_LIMIT: usize = 16 * 1024;

/// One order. Durations are milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Whether `health = "ready"` answers 200; everything else goes on (the `delay` before a drain
    /// sends `false`, a drain taken back in time `true`).
    Readiness { ready: bool },
    /// Stop accepting and let connections end. A second one may only shorten the deadlines.
    Drain(Drain),
    /// Cut what is left and leave now; who can be told so in passing is told.
    Stop,
    /// Serve the queue of a troubled sibling's seat too; its TCP listeners come as descriptors.
    Rescue { seat: Seat },
    /// The sibling recovered: close the descriptors that came with the rescue of that seat.
    EndRescue { seat: Seat },
    /// Serve what waits in the listeners that come as descriptors (their worker is gone and no config
    /// names them) until they have stayed empty for a second, then close them and report
    /// `Closed { rites: Some(id) }`. Comes to draining workers too. `described`: the last descriptor is a sealed memfd with
    /// what a config said last of each of them, a list of `config::Listen` in JSON; an older master does not say it.
    LastRites {
        id: u64,
        #[serde(default)]
        described: bool,
    },
    /// Those listeners are somebody's again: close the descriptors that came with these rites.
    EndRites { id: u64 },
    /// Write the log to the descriptor that comes with this.
    ReopenLog,
    /// Write the access log to the descriptor that comes with this.
    ReopenAccessLog,
    /// Answer to `Report::StatusWanted`: the document is in the sealed memfd that comes with this.
    Status,
    /// To keepers: look at the program's connections now, and answer with `Report::Sampled`.
    Sample,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drain {
    /// From now; what is short and open then is cut and counted.
    pub grace_ms: u64,
    /// From now; the rest is cut and counted then. Below `grace_ms` (an older master does not say it):
    /// as that.
    #[serde(default)]
    pub long_lived_ms: u64,
    pub idle: Idle,
    /// `health = "ready"` answers 503 (stop, drain; not a reload).
    pub unready: bool,
    /// Listeners (indices into the service's `listen`) whose queue nobody else will serve: they are
    /// served until they have stayed empty for a second (unix: until empty), then closed and
    /// reported. All others are let go at once.
    pub last_call: Vec<usize>,
    /// Nobody comes after: idle connections are announced for a second, then closed.
    pub final_stop: bool,
    /// One word for the log: `replaced`, `recycled`, `surplus`, `held`, `stop`.
    #[serde(default)]
    pub why: String,
}
