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
    Failed { why: String },
    /// A `status` route was asked.
    StatusWanted,
}
