//! The steps of a rollout: start some seats, all ready, soak, drain what they replace, go on.
//!
//! With `step = "all"` (and at the start) there is one step. Until the last one is done nothing of the
//! old generation is drained but the seats of finished steps. The verdict is `verdict`'s.

use super::turn::Turn;
use super::vocabulary::Level;
use super::{drain, pool, rollover, verdict};
use crate::model::fleet::{DrainWhy, Step};
use crate::model::{Phase, Seat, ServiceName, WorkerId};

/// Starts the next seats, as many as the plan allows at a time.
pub fn next_step(turn: &mut Turn) {
    let Some(rollover) = turn.fleet.rollover.as_mut() else {
        return;
    };
    let Some(plan) = rollover.plan else { return };
    let Some(facts) = turn.fleet.plans.get(&plan) else {
        return;
    };
    let all = rollover.left.len();
    let count = facts.rollout.step.filter(|_| !rollover.first).map_or(all, |n| n.max(1) as usize).min(all);
    let seats: Vec<(ServiceName, Seat)> = rollover.left.drain(..count).collect();
    let generation = rollover.generation;
    rollover.current.clear();
    rollover.step = Step::Starting;
    for (name, seat) in seats {
        let id = pool::spawn(turn, &name, seat, generation, plan);
        if let Some(rollover) = turn.fleet.rollover.as_mut() {
            rollover.current.insert(id);
        }
    }
    check_step(turn);
}

/// Takes note of a ready worker; false if it belongs to no reload.
pub fn worker_ready(turn: &mut Turn, id: WorkerId) -> bool {
    let Some(generation) = turn.fleet.workers.get(&id).map(|w| w.generation) else {
        return false;
    };
    if !rollover::owns(turn, generation) {
        return false;
    }
    check_step(turn);
    true
}

fn check_step(turn: &mut Turn) {
    let Some(rollover) = turn.fleet.rollover.as_ref() else {
        return;
    };
    let ready = |id: &WorkerId| turn.fleet.workers.get(id).is_some_and(|w| w.phase == Phase::Ready);
    if rollover.step != Step::Starting || !rollover.current.iter().all(ready) {
        return;
    }
    let soak = rollover.plan.and_then(|p| turn.fleet.plans.get(&p)).map(|p| p.rollout.soak);
    match soak {
        Some(soak) if !soak.is_zero() && !rollover.first => {
            let until = turn.now + soak;
            rollover::set_step(turn, Step::Soaking(until));
            turn.note(Level::Info, "soaking", format!("all ready; watched for {soak:?}"));
        }
        _ => step_done(turn),
    }
}

/// The step has come through: what it replaces may go.
pub fn step_done(turn: &mut Turn) {
    let Some(rollover) = turn.fleet.rollover.as_ref() else {
        return;
    };
    if rollover.left.is_empty() {
        return verdict::done(turn);
    }
    let generation = rollover.generation;
    let at: Vec<(ServiceName, Seat)> = rollover
        .current
        .iter()
        .filter_map(|id| turn.fleet.workers.get(id))
        .map(|w| (w.service.clone(), w.seat))
        .collect();
    for (name, seat) in at {
        let old: Vec<WorkerId> = turn
            .fleet
            .at_seat(&name, seat)
            .filter(|(_, w)| w.generation != generation)
            .map(|(id, _)| id)
            .collect();
        old.into_iter().for_each(|id| drain::start(turn, id, DrainWhy::Replaced));
    }
    next_step(turn);
}
