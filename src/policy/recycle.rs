//! Workers that have used up what they may use: one at a time gives its seat to a fresh one.
//!
//! A worker beyond `max_age`, `max_memory` or `max_requests` is *tired*. It serves on; its seat counts as
//! empty (`pool::filled`), so that another of its generation comes up beside it, and that one's being ready
//! drains it (`pool::relieve`). If the other does not come up, the service backs off as usual and the
//! tired one serves. Each worker's own limits are up to a tenth lower than the config's, so that a pool that was
//! started together is not tired together. Only a service that is whole spares a worker. Where workers have used
//! up memory or requests while they are young, the limit is too low, and one is replaced a minute, no more.

use super::turn::Turn;
use super::vocabulary::{Level, Reading};
use crate::model::fleet::{Fleet, Hold, Hurry, Worker};
use crate::model::plan::ServicePlan;
use crate::model::{Moment, Phase, Seat, ServiceName, WorkerId};
use std::collections::BTreeMap;
use std::time::Duration;

/// A worker that is tired before it has been ready for so long has too little to live on; and then so long
/// passes from one replacement in its service to the next.
const YOUNG: Duration = Duration::from_secs(60);

/// What a worker has used up.
struct Spent {
    /// To follow its name in a sentence.
    why: String,
    /// The key that allows so little, if that was used up soon: not by age.
    early: Option<(&'static str, Duration)>,
}

/// Finds, for each service that can spare one, a worker that is to be replaced.
pub fn watch(turn: &mut Turn, readings: &[Reading]) {
    let readings: BTreeMap<WorkerId, &Reading> = readings.iter().map(|r| (r.worker, r)).collect();
    for name in turn.service_names() {
        calm_down(turn, &name);
        if !is_whole(turn.fleet, &name) {
            continue;
        }
        let reading = |id| readings.get(&id).copied().copied().unwrap_or_default();
        let spent: Vec<(WorkerId, Spent)> = turn
            .fleet
            .workers_of(&name)
            .filter(|(_, w)| w.phase == Phase::Ready)
            .filter_map(|(id, w)| Some((id, spent(turn.fleet.plan_of(w)?, id, w, &reading(id), turn.now)?)))
            .collect();
        if let Some(early) = spent.iter().find_map(|(_, spent)| spent.early) {
            note_early(turn, &name, early);
        }
        let now = turn.now;
        let waits = |hurry: &Hurry| hurry.replaced.is_some_and(|at| now.since(at) < YOUNG);
        if let Some((id, Spent { why, .. })) = spent.into_iter().next()
            && !turn.service(&name).and_then(|s| s.hurry.as_ref()).is_some_and(waits)
        {
            tire(turn, &name, id, why);
        }
    }
}

fn tire(turn: &mut Turn, name: &ServiceName, id: WorkerId, why: String) {
    turn.note_worker(Level::Info, "tired", id, format!("worker is to be replaced: {why}"));
    let now = turn.now;
    if let Some(hurry) = turn.service(name).and_then(|s| s.hurry.as_mut()) {
        hurry.replaced = Some(now);
    }
    if let Some(worker) = turn.fleet.workers.get_mut(&id) {
        worker.tired = Some(why);
    }
}

/// Remembers for `status` that the workers of this service are used up while they are young; said once.
fn note_early(turn: &mut Turn, name: &ServiceName, (key, after): (&str, Duration)) {
    let now = turn.now;
    let Some(service) = turn.service(name) else { return };
    if let Some(hurry) = &mut service.hurry {
        hurry.seen = now;
        return;
    }
    let why =
        format!("its workers reach {key} within {}s of being ready: is it too low?", after.as_secs() + 1);
    let generation = service.generation;
    service.hurry = Some(Hurry { generation, replaced: None, seen: now, why: why.clone() });
    let text = format!("{why} One is replaced a minute");
    turn.note_service(Level::Warn, "short_lived", name, text);
}

/// Forgets what holds no longer: no young worker was used up since, or a reload may have changed the limits.
fn calm_down(turn: &mut Turn, name: &ServiceName) {
    let now = turn.now;
    let Some(service) = turn.service(name) else { return };
    let generation = service.generation;
    service.hurry.take_if(|hurry| hurry.generation != generation || now.since(hurry.seen) > 2 * YOUNG);
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

/// What a worker has used up, if anything.
fn spent(plan: &ServicePlan, id: WorkerId, worker: &Worker, reading: &Reading, now: Moment) -> Option<Spent> {
    let age = now.since(worker.ready_at?);
    let early = |key| (age < YOUNG).then_some((key, age));
    let beyond = |used: u128, limit: u128| limit > 0 && used >= varied(limit, id);
    if beyond(age.as_nanos(), plan.max_age.as_nanos()) {
        return Some(Spent { why: format!("it has served for {}s", age.as_secs()), early: None });
    }
    if beyond(reading.memory.into(), plan.max_memory.into()) {
        let why = format!("it has used {} MiB", reading.memory >> 20);
        return Some(Spent { why, early: early("restart.max_memory") });
    }
    let answered = reading.requests;
    beyond(answered.into(), plan.max_requests.into()).then(|| Spent {
        why: format!("it has answered {answered} requests"),
        early: early("restart.max_requests"),
    })
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
