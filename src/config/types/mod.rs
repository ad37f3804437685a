//! The checked config: what every other room reads. Nothing in it needs another look.
//!
//! `check` makes it in the config child; it crosses to the master as JSON (`serde`), so every type
//! here is plain data. Paths are absolute, names are resolved to ids, `auto` is a number.

mod exec;
mod tls;
mod work;

pub use crate::model::plan::{Idle, Pool, Rollout};
pub use exec::*;
pub use tls::*;
pub use work::*;

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
    /// What services without a word of their own have.
    #[serde(default)]
    pub access_log: Option<AccessLog>,
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

/// Where a line for each request goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessLog {
    /// To be appended to, absolute. Services may share it, then in one format.
    pub file: PathBuf,
    pub format: LogFormat,
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
    /// Its own, or the master's.
    #[serde(default)]
    pub access_log: Option<AccessLog>,
}

/// What the workers of a service do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Kind {
    Http(Http),
    Tcp(Tcp),
    Exec(Box<Exec>),
}

impl Kind {
    /// The word in `status` and in the config.
    pub fn word(&self) -> &'static str {
        match self {
            Kind::Http(_) => "http",
            Kind::Tcp(_) => "tcp",
            Kind::Exec(_) => "exec",
        }
    }

    /// The routes of an HTTP service; none of another.
    pub fn routes(&self) -> &[Route] {
        match self {
            Kind::Http(http) => &http.routes,
            Kind::Tcp(_) | Kind::Exec(_) => &[],
        }
    }

    /// The program of an exec service.
    pub fn exec(&self) -> Option<&Exec> {
        match self {
            Kind::Exec(exec) => Some(exec),
            Kind::Http(_) | Kind::Tcp(_) => None,
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
    /// Every connection begins with a PROXY protocol header, v1 or v2; one without it is not served.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// Connections speak TLS.
    #[serde(default)]
    pub tls: Option<Tls>,
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
    /// Datagrams, for programs only.
    Udp(SocketAddr),
    /// Absolute path, at most 107 bytes.
    Unix(PathBuf),
    /// Abstract name without the `@`, at most 107 bytes.
    Abstract(String),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Tcp(a) => write!(f, "{a}"),
            Address::Udp(a) => write!(f, "udp:{a}"),
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
    /// `grace` of what is meant to last: WebSocket, server-sent events, gRPC, TCP, and TLS. Not below `grace`.
    #[serde(default = "five_minutes")]
    pub long_lived_grace: Duration,
}

/// The default of `long_lived_grace`, for states recorded before there was one.
fn five_minutes() -> Duration {
    Duration::from_secs(300)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    pub give_up: u32,
    /// A worker that has answered so many requests is replaced; 0 is never.
    #[serde(default)]
    pub max_requests: u64,
    /// One whose memory grows beyond so many bytes is; 0 is never.
    #[serde(default)]
    pub max_memory: u64,
    /// One that has lived so long is; zero is never.
    #[serde(default)]
    pub max_age: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// `None`: as masterd was started with.
    pub nofile: Option<u64>,
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
