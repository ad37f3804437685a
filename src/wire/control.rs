//! CLI ↔ master: one JSON document per line over the control socket.
//!
//! The client sends one `Request`, the master answers with any number of `Reply::Progress`,
//! `Reply::Event` or `Reply::Status` lines and, except for `Events` and watching, one `Reply::Done`,
//! and closes. Unknown fields are ignored both ways, so that versions may differ.

use super::status::Status;
use crate::model::{Generation, ServiceName};
use serde::{Deserialize, Serialize};

/// Longest request line, bytes; a client that sends more is dropped.
pub const REQUEST_LIMIT: usize = 4096;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verb")]
pub enum Request {
    Status {
        #[serde(default)]
        service: Option<ServiceName>,
        /// Fill `Worker::connections`.
        #[serde(default)]
        connections: bool,
        /// Send a new document every second until the client goes.
        #[serde(default)]
        watch: bool,
    },
    Reload {
        #[serde(default)]
        service: Option<ServiceName>,
        #[serde(default)]
        dry_run: bool,
        /// Answer only when the old generation is gone.
        #[serde(default)]
        drained: bool,
    },
    Upgrade {
        /// The program, absolute; else where the running one came from.
        #[serde(default)]
        binary: Option<String>,
        /// Answer only when the old generation is gone.
        #[serde(default)]
        drained: bool,
    },
    Stop {
        #[serde(default)]
        fast: bool,
    },
    Scale {
        service: ServiceName,
        workers: u32,
    },
    Drain {
        #[serde(default)]
        service: Option<ServiceName>,
    },
    Resume {
        #[serde(default)]
        service: Option<ServiceName>,
    },
    Reopen,
    Events,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reply")]
pub enum Reply {
    /// How far it is; sent when it changes.
    Progress(Progress),
    Status {
        status: Box<Status>,
    },
    Event {
        event: EventLine,
    },
    Done(Done),
}

/// What a waiting client is shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// One word: what was asked at first (`reload`), then `reading`, `starting`, `soaking`, `draining`, …
    pub stage: String,
    /// Workers (or connections, while draining) done and in all: a bar.
    pub done: u64,
    pub total: u64,
    /// One line for people, e.g. `draining gen 6: 45 active (40 http, …), 25.0s left`.
    pub text: String,
}

/// The verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Done {
    pub outcome: Outcome,
    /// One sentence.
    pub text: String,
    /// Further lines: every config error, a dry run's changes, what a failing program printed.
    #[serde(default)]
    pub lines: Vec<String>,
    #[serde(default)]
    pub generation: Option<Generation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Ok,
    /// Tried and failed, or refused: exit status 1.
    Failed,
    /// The caller may not: exit status 4.
    NotPermitted,
    /// The request could not be read: exit status 2.
    BadRequest,
}

/// One act of the master, as `masterd events` prints it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventLine {
    /// RFC 3339 UTC.
    pub at: String,
    /// error, warn, info, debug.
    pub level: String,
    /// A stable word: `spawned`, `ready`, `died`, `reload_started`, `reload_done`, `draining`, …
    pub event: String,
    pub text: String,
    #[serde(default)]
    pub service: Option<String>,
    #[serde(default)]
    pub seat: Option<u32>,
    #[serde(default)]
    pub generation: Option<u64>,
    #[serde(default)]
    pub pid: Option<i32>,
}
