//! The checked config: what every other room reads. Nothing in it needs another look.
//!
//! `check` makes it in the config child; it crosses to the master as JSON (`serde`), so every type
//! here is plain data. Paths are absolute, names are resolved to ids, `auto` is a number.

pub use crate::model::plan::{Idle, Pool, Rollout};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// One whole checked config.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The main file, absolute.
    pub path: PathBuf,
    /// FNV-1a of the text of all files read, to tell generations apart in the log.
    pub checksum: u64,
    pub master: Master,
    /// In the order of the file; names are unique; addresses are unique over all services.
    pub services: Vec<Service>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Master {
    pub pid_file: Option<PathBuf>,
    pub control_socket: Option<PathBuf>,
    /// Identity of the workers when the master is root; ignored (with a warning) otherwise.
    pub user: Identity,
    pub sigterm: Sigterm,
    pub ready_timeout: Duration,
    pub max_draining_generations: usize,
    pub rollout: Rollout,
    pub watchdog: Duration,
    pub log: Log,
}

/// Resolved `user` and `group`. When the master is not root the workers keep its identity: then both
/// names are empty and both ids `u32::MAX`. `group` alone is empty when it is the user's primary group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub user: String,
    pub uid: u32,
    pub group: String,
    pub gid: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sigterm {
    Graceful,
    Fast,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
    /// `None` is stderr.
    pub file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub name: String,
    pub listen: Vec<Listen>,
    pub workers: Pool,
    /// Connections per worker; at the limit it stops accepting.
    pub connections: u32,
    pub drain: Drain,
    pub restart: Restart,
    pub limits: Limits,
    pub kind: Kind,
}

/// What the workers of a service do. One variant today; `tcp` and `exec` come beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Kind {
    Http(Http),
}

impl Kind {
    /// The word in `status` and in the config.
    pub fn word(&self) -> &'static str {
        match self {
            Kind::Http(_) => "http",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listen {
    pub address: Address,
    /// The name given, else the service's name (with `-N` from the second listener on).
    pub name: String,
    pub backlog: u32,
    pub accept: Accept,
    /// IPv6 listeners only.
    pub ipv6_only: bool,
    /// TCP_DEFER_ACCEPT; zero is off.
    pub defer_accept: Duration,
    /// Unix socket files only: permission bits.
    pub mode: u32,
    /// Unix socket files only: owner of the file, if asked for.
    pub owner: Option<Owner>,
}

/// Resolved `owner = "user"` or `"user:group"`; `None` leaves that id alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

/// Where a listener is bound.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Address {
    Tcp(SocketAddr),
    /// Absolute path, at most 107 bytes.
    Unix(PathBuf),
    /// Abstract name without the `@`, at most 107 bytes.
    Abstract(String),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Tcp(a) => write!(f, "{a}"),
            Address::Unix(p) => write!(f, "unix:{}", p.display()),
            Address::Abstract(n) => write!(f, "unix:@{n}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Accept {
    /// One SO_REUSEPORT socket per seat (TCP only).
    PerWorker,
    Shared,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    pub grace: Duration,
    pub delay: Duration,
    pub idle: Idle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    pub give_up: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    pub nofile: u64,
    /// RLIMIT_CORE in bytes; `None` is unlimited.
    pub core: Option<u64>,
    pub cpu_affinity: Affinity,
    pub nice: i32,
}

/// Which CPUs a worker may run on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Affinity {
    /// Leave it to the kernel.
    Off,
    /// One CPU per seat, round robin, when a service has as many workers as CPUs; else like `Off`.
    Auto,
    /// These CPUs, every worker.
    Cpus(Vec<usize>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Http {
    /// Longest prefix first within a host; ready to be searched from the front.
    pub routes: Vec<Route>,
    /// From the first byte of a request to the end of its head (and from accept to the first byte).
    pub header_timeout: Duration,
    /// Longest silence within a request body.
    pub body_timeout: Duration,
    /// Longest time a response makes no progress because the client does not read.
    pub write_timeout: Duration,
    /// Longest idle time between requests.
    pub keep_alive: Duration,
    /// Bytes of request line and headers together; 8192 at least.
    pub max_header_size: usize,
    pub max_headers: usize,
    /// Bytes of a request body that masterd reads itself (`respond` and the like).
    pub max_body: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    pub path: String,
    /// Lower case, without port; `None` matches every host.
    pub host: Option<String>,
    pub action: Action,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Action {
    Respond(Respond),
    Health(Health),
    /// The scoreboard as JSON, the document of `masterd status --json`.
    Status,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Respond {
    pub status: u16,
    /// `{pid}`, `{generation}` and `{seat}` are replaced; other braces are literal.
    pub body: String,
    /// Checked header names and values, in order.
    pub headers: Vec<(String, String)>,
    pub delay: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Health {
    Live,
    Ready,
}
