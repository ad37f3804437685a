//! Workers that have used up what they may use: one at a time gives its seat to a fresh one.
//!
//! A worker beyond `max_age`, `max_memory` or `max_requests` is *tired*. It serves on; its seat counts as
//! empty (`pool::filled`), so that another of its generation comes up beside it, and that one's being ready
//! drains it (`pool::relieve`). If the other does not come up, the service backs off as usual and the
//! tired one serves. Each worker's own limits are up to a tenth lower than the config's, so that a pool that was
//! started together is not tired together. Only a service that is whole spares a worker.

use super::turn::Turn;
use super::vocabulary::{Level, Reading};
use crate::model::fleet::{Fleet, Hold, Worker};
use crate::model::plan::ServicePlan;
use crate::model::{Moment, Phase, Seat, ServiceName, WorkerId};
use std::collections::BTreeMap;

/// Finds, for each service that can spare one, a worker that is to be replaced.
pub fn watch(turn: &mut Turn, readings: &[Reading]) {
    let readings: BTreeMap<WorkerId, &Reading> = readings.iter().map(|r| (r.worker, r)).collect();
    for name in turn.service_names() {
        if !is_whole(turn.fleet, &name) {
            continue;
        }
        let reading = |id| readings.get(&id).copied().copied().unwrap_or_default();
        let spent = turn
            .fleet
            .workers_of(&name)
            .filter(|(_, w)| w.phase == Phase::Ready)
            .filter_map(|(id, w)| Some((id, spent(turn.fleet.plan_of(w)?, id, w, &reading(id), turn.now)?)))
            .next();
        if let Some((id, why)) = spent {
            turn.note_worker(Level::Info, "tired", id, format!("worker is to be replaced: {why}"));
            if let Some(worker) = turn.fleet.workers.get_mut(&id) {
                worker.tired = Some(why);
            }
        }
    }
}

/// Whether nothing is under way with a service, and each of its seats has one worker and no more: what a
/// seat's last one has left behind is gone before it is replaced again.
fn is_whole(fleet: &Fleet, name: &ServiceName) -> bool {
    let Some(service) = fleet.services.get(name) else {
        return false;
    };
    let busy = fleet.is_stopping()
        || fleet.rollover.is_some()
        || fleet.upgrade.is_some()
        || fleet.growing.contains_key(name)
        || service.removed
        || service.hold != Hold::No
        || service.fence_at.is_some()
        || service.backoff.given_up
        || service.backoff.early_deaths > 0;
    let alone = |seat| {
        let mut there = fleet.at_seat(name, seat).map(|(_, w)| w);
        let fit = |w: &Worker| w.phase == Phase::Ready && w.generation == service.generation;
        there.next().is_some_and(|w| fit(w) && w.tired.is_none()) && there.next().is_none()
    };
    !busy && (0..service.wanted).map(Seat).all(alone)
}

/// What a worker has used up, to follow its name in a sentence.
fn spent(
    plan: &ServicePlan,
    id: WorkerId,
    worker: &Worker,
    reading: &Reading,
    now: Moment,
) -> Option<String> {
    let age = now.since(worker.ready_at?);
    let beyond = |used: u128, limit: u128| limit > 0 && used >= varied(limit, id);
    if beyond(age.as_nanos(), plan.max_age.as_nanos()) {
        return Some(format!("it has served for {}s", age.as_secs()));
    }
    if beyond(reading.memory.into(), plan.max_memory.into()) {
        return Some(format!("it has used {} MiB", reading.memory >> 20));
    }
    let answered = reading.requests;
    beyond(answered.into(), plan.max_requests.into()).then(|| format!("it has answered {answered} requests"))
}

/// The limit of this worker: between nine tenths of it and all of it, the same whenever asked. At least 1.
fn varied(limit: u128, id: WorkerId) -> u128 {
    // SplitMix64: neighbours are to be far from each other.
    let mut hash = id.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    let less = limit * u128::from(hash % 1001) / 10_000;
    (limit - less).max(1)
}

/// Why the worker at the seat of this one is tired that this one replaces, if it does.
pub fn replaced_by(fleet: &Fleet, id: WorkerId) -> Option<String> {
    let fresh = fleet.workers.get(&id)?;
    let mut others = fleet.at_seat(&fresh.service, fresh.seat).map(|(_, w)| w);
    let tired =
        others.find(|w| w.phase == Phase::Ready && w.generation == fresh.generation && w.tired.is_some());
    tired.and_then(|w| w.tired.clone())
}

#[cfg(test)]
mod tests {
    use super::{WorkerId, varied};
    use std::collections::BTreeSet;

    #[test]
    fn limits_are_spread_over_a_tenth_and_never_zero_nor_beyond() {
        let limits: BTreeSet<u128> = (0..100).map(|n| varied(1_000_000, WorkerId(n))).collect();
        assert!(limits.iter().all(|l| (900_000..=1_000_000).contains(l)), "{limits:?}");
        assert!(limits.len() > 80, "{limits:?}");
        let (least, most) = (limits.first().unwrap(), limits.last().unwrap());
        assert!(*least < 910_000 && *most > 990_000, "{least} {most}");
        assert!((0..100).all(|n| varied(1, WorkerId(n)) == 1));
        // The longest duration in nanoseconds does not overflow.
        let most = std::time::Duration::MAX.as_nanos();
        assert!((0..100).all(|n| varied(most, WorkerId(n)) <= most));
    }
}
