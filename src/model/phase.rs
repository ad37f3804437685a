//! The life of a worker as the master knows it, and every legal move.
//!
//! ```text
//!             ready             drain             deadline
//!  starting ─────────► ready ─────────► draining ─────────► stopping
//!     │ │                │ ask to stop      │                   │
//!     │ └────────────────┼──────────────────┼────► stopping     │
//!     └──────────────────┴───── dead ◄──────┴───────────────────┘
//! ```
//!
//! `policy` moves workers; everybody else reads. A worker that is dead leaves the fleet.

use serde::{Deserialize, Serialize};

/// The exit status of a worker that can't go on and has said why.
pub const GAVE_UP: i32 = 1;

/// Where a worker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Forked (or about to be), has not said ready.
    Starting,
    /// Accepts connections.
    Ready,
    /// Was told to let its connections end.
    Draining,
    /// Was told to end now; killed if it does not.
    Stopping,
    /// Reaped.
    Dead,
}

impl Phase {
    /// The word in `status` and logs.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Ready => "ready",
            Phase::Draining => "draining",
            Phase::Stopping => "stopping",
            Phase::Dead => "dead",
        }
    }

    /// Whether a worker may go from `self` to `next`.
    pub fn may_become(self, next: Phase) -> bool {
        match self {
            Phase::Starting => matches!(next, Phase::Ready | Phase::Stopping | Phase::Dead),
            Phase::Ready => matches!(next, Phase::Draining | Phase::Stopping | Phase::Dead),
            Phase::Draining => matches!(next, Phase::Stopping | Phase::Dead),
            Phase::Stopping => matches!(next, Phase::Dead),
            Phase::Dead => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Phase::{self, *};

    #[test]
    fn moves_only_go_forward() {
        let all = [Starting, Ready, Draining, Stopping, Dead];
        for from in all {
            for to in all {
                assert!(!from.may_become(to) || from < to, "{from:?} -> {to:?}");
            }
            assert!(from == Dead || from.may_become(Dead), "{from:?} can die");
        }
        assert!(!Phase::Starting.may_become(Draining), "what never accepted is stopped, not drained");
    }
}
