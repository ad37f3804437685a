//! When the next decision is due although nothing happens, and how often figures are wanted.
//!
//! The shell asks after every turn. Pure questions over the fleet; no state of their own.

use super::rollover;
use crate::model::Moment;
use crate::model::fleet::{Fleet, Hold, Step, UpgradeStep};
use crate::model::plan::{Pool, ServicePlan};
use std::time::Duration;

/// Where seats have sockets of their own, trouble must be seen in time for a rescue within 100 ms.
const CLOSELY: Duration = Duration::from_millis(50);
const NOW_AND_THEN: Duration = Duration::from_millis(500);

/// The earliest deadline; `None` if nothing is due by itself. Every moment named here is consumed by the
/// decision at that moment: a deadline that could stay in the past would make the shell spin.
pub fn next_due(fleet: &Fleet) -> Option<Moment> {
    let workers = fleet.workers.values().filter_map(|w| w.deadline);
    let services = fleet.services.iter().flat_map(|(name, s)| {
        let hold = match s.hold {
            Hold::Delayed(at) if !fleet.is_replacing(name) => Some(at),
            Hold::Delayed(_) | Hold::No | Hold::Held => None,
        };
        [hold, s.fence_at, s.backoff.retry_at, s.backoff.look_at]
    });
    let soak = fleet.rollover.as_ref().and_then(|r| match r.step {
        Step::Soaking(until) => Some(until),
        Step::WaitingForRoom => rollover::room_at(fleet).map(|(_, at)| at),
        Step::ReadingConfig | Step::OpeningListeners | Step::Starting | Step::Lost => None,
    });
    let upgrade = fleet.upgrade.as_ref().and_then(|u| match u.step {
        UpgradeStep::WaitingForRoom => rollover::room_at(fleet).map(|(_, at)| at),
        UpgradeStep::Candidate(until) => Some(until),
        UpgradeStep::Executing | UpgradeStep::Trial => None,
    });
    workers.chain(services.flatten()).chain(soak).chain(upgrade).min()
}

/// How often the shell should look at the scoreboard; `None` while there is nobody to look at.
pub fn pulse_interval(fleet: &Fleet) -> Option<Duration> {
    if fleet.workers.is_empty() {
        return None;
    }
    let siblings = |s: &ServicePlan| {
        let wanted = fleet.services.get(&s.name).map_or(0, |known| known.wanted);
        matches!(s.pool, Pool::Range { .. }) || s.pool.initial().max(wanted) > 1
    };
    let closely = fleet.plans.values().flat_map(|p| &p.services).any(|s| s.per_worker && siblings(s));
    Some(if closely { CLOSELY } else { NOW_AND_THEN })
}
