//! What a worker tells the master. Hostile input: a worker may say anything at any time.

use serde::{Deserialize, Serialize};

/// One report, tagged by the channel it came through; a worker can't speak for another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// Set up; accepts from now on.
    Ready,
    /// The listeners of its last call have been served and closed; with `rites`, those of that
    /// `Order::LastRites`.
    Closed { rites: Option<u64> },
    /// The last thing before leaving on purpose: what the deadline cut.
    Leaving { cut: u64 },
    /// It can't come up or go on; shown as the reason. At most 512 bytes are kept.
    Failed {
        why: String,
        /// What a program printed last; at most 20 lines of 256 bytes are kept.
        #[serde(default)]
        lines: Vec<String>,
    },
    /// Of a keeper: this is the program's main process now. For people to see; nothing is done with it.
    Program { pid: i32 },
    /// Of a keeper: the program asks for more time to become ready (EXTEND_TIMEOUT_USEC), from now.
    Extend { ms: u64 },
    /// Of a keeper: what there is to say of the program, for people to see; `None` takes it back.
    Says { text: Option<String> },
    /// Of a keeper: the figures in the slot are of this moment.
    Sampled,
    /// A `status` route was asked.
    StatusWanted,
}
