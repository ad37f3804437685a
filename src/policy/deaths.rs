//! A worker ended: was it asked to, does it fail a reload, is it early, who serves what it left.
//!
//! `died` is told once per worker, when it has been reaped; afterwards nothing acts on that id.
//! Replacing it is `pool`'s business, delaying that `backoff`'s.

use super::turn::Turn;
use super::vocabulary::{Action, Level};
use super::{backoff, drain, printed, rescue, rollover, verdict, waiters};
use crate::model::fleet::Worker;
use crate::model::{Phase, WorkerId};

/// The worker says that it leaves on purpose.
pub fn leaving(turn: &mut Turn, id: WorkerId) {
    if let Some(worker) = turn.fleet.workers.get_mut(&id) {
        worker.leaving = worker.drain.is_some();
    }
}

/// The worker says what is wrong with it, and what its program printed last; its end follows.
pub fn failed(turn: &mut Turn, id: WorkerId, why: String, lines: Vec<String>) {
    let keeper =
        turn.fleet.workers.get(&id).and_then(|w| turn.fleet.plan_of(w)).is_some_and(|plan| plan.program);
    if let Some(worker) = turn.fleet.workers.get_mut(&id).filter(|w| w.failed.is_none()) {
        worker.failed = Some(why.clone());
        worker.printed = lines;
        // A keeper has said so last of all, and its end tells the same.
        let level = if keeper { Level::Debug } else { Level::Error };
        turn.note_worker(level, "failed", id, why);
    }
}

/// These workers stand still, before they are ready or later: they are killed. Counted at once, so that
/// their successors wait their turn, though their ends are still to come; and counted when all are down,
/// so that none of them is taken for a server of its seat.
pub fn stuck(turn: &mut Turn, found: Vec<(WorkerId, String)>) {
    for (id, how) in &found {
        if let Some(worker) = turn.fleet.workers.get_mut(id) {
            (worker.hung, worker.failed) = (true, Some(how.clone()));
            turn.note_worker(Level::Error, "hung", *id, format!("worker is killed: {how}"));
            drain::end_now(turn, *id);
        }
    }
    for (id, how) in found {
        let Some(worker) = turn.fleet.workers.get(&id).cloned() else {
            continue;
        };
        count(turn, &worker, &how);
        if worker.ready_at.is_none() {
            let Worker { service, seat, .. } = &worker;
            let text = format!("worker {service}/{seat} does not come up: {how}");
            waiters::settle_failed(turn, service, &text);
        }
    }
}

/// The fork, or what comes before it, failed: as good as a death before ready.
pub fn spawn_failed(turn: &mut Turn, id: WorkerId, why: String) {
    if let Some(worker) = turn.fleet.workers.get_mut(&id) {
        worker.failed = Some(why);
        died(turn, id, "could not be started", false);
    }
}

/// The worker has been reaped.
pub fn died(turn: &mut Turn, id: WorkerId, how: &str, gave_up: bool) {
    let Some(worker) = turn.fleet.workers.get(&id).cloned() else {
        return;
    };
    let asked = worker.leaving || (worker.phase == Phase::Stopping && !worker.hung);
    let how = match &worker.failed {
        Some(why) if gave_up => why.clone(),
        Some(why) => format!("{how}: {why}"),
        None => how.to_owned(),
    };
    if asked {
        turn.note_worker(Level::Info, "ended", id, format!("worker is gone: {how}"));
    } else {
        turn.note_worker(Level::Error, "died", id, format!("worker died: {how}"));
    }
    turn.fleet.workers.remove(&id);
    turn.push(Action::Forget { worker: id, death: !asked });
    rescue::release(turn, id);
    if worker.hung {
        remember(turn, &worker, &how);
    } else if !asked {
        count(turn, &worker, &how);
    }
}

/// What an end that nobody asked for means to the reload under way, or to the service.
fn count(turn: &mut Turn, worker: &Worker, how: &str) {
    let Worker { service, seat, generation, .. } = worker;
    if rollover::owns(turn, *generation) {
        let when = if worker.ready_at.is_some() { "before the verdict" } else { "before it was ready" };
        let why = format!("worker {service}/{seat} of generation {generation} ended {when}: {how}");
        return verdict::fail(turn, why, printed::quoted(&worker.printed));
    }
    remember(turn, worker, how);
    let early = worker.ready_at.is_none_or(|at| turn.now.since(at) < backoff::SETTLED);
    let in_force = turn.fleet.services.get(service).is_some_and(|s| s.generation == *generation);
    if early && in_force && worker.drain.is_none() {
        backoff::early_death(turn, service, *seat);
    }
}

/// Keeps the reason for `status`.
fn remember(turn: &mut Turn, worker: &Worker, how: &str) {
    let Worker { service, seat, generation, .. } = worker;
    let why = format!("worker {service}/{seat} of generation {generation} ended: {how}");
    if let Some(service) = turn.service(service) {
        service.last_death = Some(printed::brief(&why, &printed::quoted(&worker.printed)));
    }
}
