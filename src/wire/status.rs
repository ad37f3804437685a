//! The document of `masterd status --json`. Stable: keys may be added, none renamed.
//!
//! Times are RFC 3339 UTC, durations seconds, sizes bytes. The master makes it (`master/status`),
//! the CLI and the `status` route show it.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Of the masterd that serves, since when it does, and where the next one is looked for.
    pub version: String,
    #[serde(default)]
    pub version_since: String,
    #[serde(default)]
    pub binary: String,
    pub pid: i32,
    /// The serving one; 0 before the first is ready.
    pub generation: u64,
    /// `starting`, `running`, `reloading`, `upgrading`, `draining`, `drained`, `stopping`.
    pub state: String,
    pub started: String,
    pub config: String,
    pub last_reload: Option<LastReload>,
    pub last_upgrade: Option<LastUpgrade>,
    /// Log lines lost because the log could not be written.
    pub log_lines_dropped: u64,
    pub services: Vec<Service>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LastReload {
    pub at: String,
    pub ok: bool,
    pub generation: u64,
    pub error: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LastUpgrade {
    pub at: String,
    pub ok: bool,
    /// Of the new binary; null if it did not come to tell.
    pub version: Option<String>,
    pub error: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub name: String,
    pub kind: String,
    pub workers_wanted: u32,
    pub workers_ready: u32,
    /// Set while `scale`, TTIN or TTOU override the config's number.
    pub scaled: bool,
    pub why: Option<String>,
    pub listeners: Vec<Listener>,
    pub totals: Totals,
    pub workers: Vec<Worker>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Listener {
    pub name: String,
    pub address: String,
    pub queue: u32,
    pub queue_limit: u32,
    /// Open connections, of programs; null for built-in workers, which count them by class.
    #[serde(default)]
    pub active: Option<u64>,
    /// A sentence when something is wrong with it (its socket file was removed, …).
    pub why: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    pub accepted: u64,
    pub requests: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub errors: u64,
    pub migrated: u64,
    pub cut: u64,
    pub deaths: u64,
    /// Lines of the access log that were given up: nobody took them.
    #[serde(default)]
    pub access_log_lines_dropped: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    pub seat: u32,
    /// Of an `exec` service: the program's, 0 while there is none.
    pub pid: i32,
    /// Of an `exec` service: the process beside the program that looks after it.
    #[serde(default)]
    pub keeper: Option<i32>,
    pub generation: u64,
    /// `starting`, `ready`, `draining`, `stopping`.
    pub state: String,
    pub started: String,
    pub active: Active,
    pub idle: u64,
    pub in_flight: u64,
    pub accepted: u64,
    pub requests: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub errors: u64,
    pub migrated_in: u64,
    pub migrated_out: u64,
    pub drain: Option<Drain>,
    /// Seats whose queue this worker serves for a sibling in trouble.
    #[serde(default)]
    pub rescues: Vec<u32>,
    /// A sentence when something is wrong (its loop stands still since …, it is at its connection limit, …).
    #[serde(default)]
    pub why: Option<String>,
    /// Resident memory, of a program with all its processes, if it could be read.
    #[serde(default)]
    pub memory: Option<u64>,
    /// Only with `--connections`; at most 512 of each worker's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<Vec<Connection>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    pub http: u64,
    pub websocket: u64,
    pub grpc: u64,
    pub sse: u64,
    pub tcp: u64,
}

impl Active {
    /// Open connections of all classes.
    pub fn total(&self) -> u64 {
        self.http + self.websocket + self.grpc + self.sse + self.tcp
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Drain {
    /// Connections left.
    pub remaining: u64,
    /// Age of the oldest open connection, seconds (0 if unknown).
    pub oldest: f64,
    /// Seconds until what is left is cut.
    pub deadline: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// `127.0.0.1:5000`, or `unix`.
    pub peer: String,
    pub class: String,
    /// Age, seconds.
    pub age: f64,
    /// `new`, `head`, `request`, `idle`, `closing`.
    pub state: String,
    pub requests: u64,
}
