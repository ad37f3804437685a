//! What an `exec` service runs: a program, how it gets its sockets, and when it counts as ready.
//!
//! Read by the keeper (`worker/keeper`). The program is looked up once, when the config is read: every worker
//! of a generation executes the same file, whatever a `current` link says by then.

use super::Identity;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// At least one, as written, but the first absolute if it is a path; `{tokens}` in the others are not
    /// replaced yet (`config::replace`).
    pub command: Vec<String>,
    pub program: Program,
    /// Where it runs: absolute, without symlinks.
    pub directory: PathBuf,
    /// Added to what masterd was started with; `{tokens}` are not replaced yet.
    pub env: BTreeMap<String, String>,
    pub ready: Readiness,
    /// The number of the signal that asks its main process to end in good order.
    pub stop_signal: i32,
    pub output: Output,
    /// Whether its sockets are in non-blocking mode.
    pub nonblocking: bool,
    /// `None`: as masterd was started with.
    pub umask: Option<u32>,
    /// It must say WATCHDOG=1 that often; zero is off.
    pub watchdog: Duration,
    /// Instead of the master's `user` and `group`.
    pub user: Option<Identity>,
}

/// Which file is executed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Absolute, without symlinks.
    pub path: PathBuf,
    /// What the program is told it was called as: its folder without symlinks, the name as written.
    pub called: PathBuf,
    pub device: u64,
    pub inode: u64,
    /// CLOCK_REALTIME nanoseconds.
    pub modified: i64,
}

/// When a program counts as ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Readiness {
    /// It, or a child of it, waits on a socket that it was given.
    Accepting,
    /// It has said READY=1 (sd_notify(3)), and waits on a socket that it was given.
    Notify,
    /// It has written a newline to the descriptor `{ready_fd}`.
    Fd,
    /// It has lived for so long.
    Delay(Duration),
}

/// Where its standard output and error go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// Line by line into the log.
    Log,
    /// Where masterd's own go.
    Inherit,
}
