//! What a config asks for, reduced to what decisions need.
//!
//! `config::plan_of` makes a `Plan` from a checked config; `policy` reads it and nothing else of
//! the config. A plan names listeners by index: what they are bound to is the shell's business.

use super::ids::ServiceName;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// At the end of a drain a worker tells what is left to end, and waits so long for it to do so.
pub const GOODBYE: Duration = Duration::from_secs(1);

/// The parts of one checked config that `policy` decides by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// How long a generation may take to become ready.
    pub ready_timeout: Duration,
    /// A reload that would leave more draining generations than this waits.
    pub max_draining: usize,
    pub rollout: Rollout,
    /// A built-in worker whose loop stands still this long is killed; zero is off.
    pub watchdog: Duration,
    pub sigterm_fast: bool,
    pub services: Vec<ServicePlan>,
}

impl Plan {
    /// The plan of one service, if the config has it.
    pub fn service(&self, name: &ServiceName) -> Option<&ServicePlan> {
        self.services.iter().find(|s| s.name == *name)
    }
}

/// How a new generation comes up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Workers replaced at a time; `None` is all at once.
    pub step: Option<u32>,
    /// How long each step must stay alive after its last worker became ready.
    pub soak: Duration,
}

/// One service as decisions see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServicePlan {
    pub name: ServiceName,
    pub pool: Pool,
    /// True if any listener has one socket per seat (`accept = "per-worker"`).
    pub per_worker: bool,
    pub grace: Duration,
    /// For connections that are meant to last; not below `grace` (a plan recorded before there was such a
    /// thing has zero here: see `ServicePlan::long_lived_grace`).
    #[serde(default)]
    pub long_lived: Duration,
    pub idle: Idle,
    /// On stop, `drain` and `WINCH`: readiness fails this long before accepting ends.
    pub delay: Duration,
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    /// Early deaths in a row after which a service is given up; zero is never.
    pub give_up: u32,
    /// Its workers run programs.
    #[serde(default)]
    pub program: bool,
    /// A worker that has answered so many requests is replaced; 0 is never.
    #[serde(default)]
    pub max_requests: u64,
    /// One that uses more bytes of memory is; 0 is never.
    #[serde(default)]
    pub max_memory: u64,
    /// One that has lived so long is; zero is never.
    #[serde(default)]
    pub max_age: Duration,
}

impl ServicePlan {
    /// How long a drain may take altogether.
    pub fn long_lived_grace(&self) -> Duration {
        self.long_lived.max(self.grace)
    }
}

/// What becomes of idle keep-alive connections when a worker drains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Idle {
    /// Their next request is answered with `Connection: close`; they stay until then or the grace ends.
    Announce,
    /// Closed, spread over one second.
    Close,
}

/// How many workers a service has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pool {
    /// A number, or `auto` already resolved to one.
    Fixed(u32),
    /// Grown and shrunk by load between the bounds.
    Range { min: u32, max: u32 },
}

impl Pool {
    /// The size a generation starts with.
    pub fn initial(self) -> u32 {
        match self {
            Pool::Fixed(n) => n,
            Pool::Range { min, .. } => min,
        }
    }
}
