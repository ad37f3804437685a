//! Drain orders and every deadline of a worker: ready in time (or a bit later, if it asks for that), drained
//! in time, gone in time.
//!
//! Escalation: the worker cuts what is left at its own deadlines, of `grace` and of `long_lived_grace`; half
//! a second later it is told to finish; a second after that it is killed. It is let alone past the first as
//! long as its slot says that something is left which is meant to last: a liar gains the second, no more.
//! Draining ones may be told again with less time. A worker that has not said ready is told to drain as
//! well: the word may be on its way, and connections with it. It has a second to say so.

use super::turn::Turn;
use super::vocabulary::{Action, DrainOrder, KillSignal, Level};
use super::{deaths, rescue};
use crate::model::fleet::{DrainWhy, Draining, Worker};
use crate::model::plan::GOODBYE;
use crate::model::{Moment, Phase, WorkerId};
use std::time::Duration;

/// How much longer than its grace a worker gets before the master steps in.
pub const SLACK: Duration = Duration::from_millis(500);
/// From the order to finish to the kill.
pub const LAST_SECOND: Duration = Duration::from_secs(1);

/// Tells a worker to let its connections end and to leave.
pub fn start(turn: &mut Turn, id: WorkerId, why: DrainWhy) {
    match turn.fleet.workers.get(&id).map(|w| w.phase) {
        Some(Phase::Starting | Phase::Ready) => order(turn, id, why),
        Some(Phase::Draining) if why == DrainWhy::Stop => hurry(turn, id),
        Some(Phase::Draining | Phase::Stopping | Phase::Dead) | None => {}
    }
}

fn order(turn: &mut Turn, id: WorkerId, why: DrainWhy) {
    let Some(worker) = turn.fleet.workers.get(&id) else {
        return;
    };
    let Some(plan) = turn.fleet.plan_of(worker) else {
        return;
    };
    let (grace, idle, generation) = (plan.grace, plan.idle, worker.generation);
    let accepts = worker.phase == Phase::Ready;
    // What another one may have accepted meanwhile is too young to have a claim.
    let long_lived = if accepts { plan.long_lived_grace() } else { grace };
    turn.advance(id, if accepts { Phase::Draining } else { Phase::Stopping });
    rescue::release(turn, id);
    let now = turn.now;
    let drain = Draining { since: now, until: now + grace, long_lived_until: now + long_lived, why };
    if let Some(worker) = turn.fleet.workers.get_mut(&id) {
        worker.deadline = Some(if accepts { first_look(&drain) } else { now + LAST_SECOND });
        worker.drain = Some(drain);
    }
    let order = DrainOrder { grace, long_lived, idle, why };
    turn.push(Action::Drain { worker: id, order });
    let longer = if long_lived > grace { format!(", {long_lived:?} what lasts") } else { String::new() };
    let text = match accepts {
        true => format!("worker of generation {generation} drains, {grace:?} at most{longer}"),
        false => format!("worker of generation {generation} is not needed any more"),
    };
    turn.note_worker(Level::Info, "draining", id, text);
}

/// When a worker has to be gone unless it has something that is meant to last.
fn first_look(drain: &Draining) -> Moment {
    if drain.end() > drain.until { drain.until + SLACK } else { last_look(drain) }
}

/// When a worker has to be gone.
fn last_look(drain: &Draining) -> Moment {
    drain.end() + GOODBYE + SLACK
}

/// How many times `ready_timeout` a program may take that asks for more time again and again.
const PATIENCE: u32 = 10;

/// A program that is not ready yet asks for so much time from now on; never for less than it has.
pub fn extend(turn: &mut Turn, id: WorkerId, more: Duration) {
    let asked = turn.now + more;
    let Some(worker) = turn.fleet.workers.get(&id).filter(|w| w.phase == Phase::Starting) else {
        return;
    };
    let timeout = turn.fleet.plans.get(&worker.plan).map(|p| p.ready_timeout).unwrap_or_default();
    let last = worker.spawned + timeout.saturating_mul(PATIENCE);
    if let Some(worker) = turn.fleet.workers.get_mut(&id) {
        worker.deadline = worker.deadline.map(|at| at.max(asked.min(last)));
    }
}

/// A worker that was told to go before it was ready has come up meanwhile: it gets the whole grace for
/// what it has accepted.
pub fn came_up(turn: &mut Turn, id: WorkerId) {
    let now = turn.now;
    let Some(worker) = turn.fleet.workers.get_mut(&id) else {
        return;
    };
    if let (Some(drain), Some(_), None) = (worker.drain, worker.deadline, worker.ready_at) {
        worker.ready_at = Some(now);
        worker.deadline = Some(first_look(&drain));
    }
}

/// A worker that already drains learns that nobody comes after it.
fn hurry(turn: &mut Turn, id: WorkerId) {
    let now = turn.now;
    let Some(worker) = turn.fleet.workers.get_mut(&id) else {
        return;
    };
    let Some(drain) = worker.drain.as_mut() else {
        return;
    };
    drain.why = DrainWhy::Stop;
    let (grace, long_lived) = (drain.until.since(now), drain.end().since(now));
    let Some(idle) = turn.fleet.workers.get(&id).and_then(|w| turn.fleet.plan_of(w)).map(|p| p.idle) else {
        return;
    };
    let order = DrainOrder { grace, long_lived, idle, why: DrainWhy::Stop };
    turn.push(Action::Drain { worker: id, order });
}

/// Ends a worker without waiting for its connections; false if it has been told so before.
pub fn finish(turn: &mut Turn, id: WorkerId) -> bool {
    let last = turn.now + LAST_SECOND;
    let Some(worker) = turn.fleet.workers.get_mut(&id) else {
        return false;
    };
    match worker.phase {
        Phase::Starting | Phase::Ready | Phase::Draining => worker.phase = Phase::Stopping,
        Phase::Stopping if worker.deadline.is_some_and(|at| at > last) => {}
        Phase::Stopping | Phase::Dead => return false,
    }
    worker.deadline = Some(last);
    rescue::release(turn, id);
    turn.push(Action::Finish { worker: id });
    true
}

/// Kills a worker that does not listen, or that stands still.
pub fn end_now(turn: &mut Turn, id: WorkerId) {
    if turn.fleet.workers.get(&id).is_some_and(|w| w.phase.may_become(Phase::Stopping)) {
        turn.advance(id, Phase::Stopping);
        rescue::release(turn, id);
    }
    if let Some(worker) = turn.fleet.workers.get_mut(&id) {
        worker.deadline = None;
        turn.push(Action::Kill { worker: id, signal: KillSignal::Kill });
    }
}

/// Acts on every deadline that has passed.
pub fn deadlines(turn: &mut Turn) {
    let now = turn.now;
    let late = |w: &Worker| w.deadline.is_some_and(|at| at <= now);
    for worker in turn.fleet.workers.values_mut().filter(|w| late(w)) {
        worker.deadline = extended(worker).or(worker.deadline);
    }
    for id in turn.workers_where(|w| late(w) && w.phase == Phase::Draining) {
        overdue(turn, id);
    }
    for id in turn.workers_where(|w| late(w) && w.phase == Phase::Stopping) {
        turn.note_worker(Level::Warn, "killed", id, "worker did not leave when told to: killed");
        end_now(turn, id);
    }
    let how = |w: &Worker| format!("it was not ready after {:.1?}", now.since(w.spawned));
    let unready = turn.fleet.workers.iter().filter(|(_, w)| late(w) && w.phase == Phase::Starting);
    let unready = unready.map(|(id, w)| (*id, how(w))).collect();
    deaths::stuck(turn, unready);
}

/// The other deadline of a worker that has come to its first and may go on.
fn extended(worker: &Worker) -> Option<Moment> {
    let drain = worker.drain.filter(|_| worker.phase == Phase::Draining && worker.pulse.long_lived)?;
    // Any other deadline means that it was told to finish.
    (worker.deadline == Some(first_look(&drain))).then(|| last_look(&drain))
}

fn overdue(turn: &mut Turn, id: WorkerId) {
    let text = "worker is past its drain deadline and does not leave by itself: told to finish";
    turn.note_worker(Level::Warn, "overdue", id, text);
    finish(turn, id);
}
