//! Who is missing: every seat of a pool has one worker that serves or is about to.
//!
//! `fill_all` runs after every event; `spawned` and `ready` take note of what became of it.
//! A reload's own workers are started by `rollover`; this room only keeps the pools in force full.

use super::turn::Turn;
use super::vocabulary::{Action, Level};
use super::{backoff, drain, recycle, rollout};
use crate::model::fleet::{DrainWhy, Hold, Pulse, Worker};
use crate::model::{Generation, Phase, PlanId, Seat, ServiceName, WorkerId};
use std::collections::BTreeSet;

/// Starts a worker; the id is its slot for good.
pub fn spawn(
    turn: &mut Turn,
    name: &ServiceName,
    seat: Seat,
    generation: Generation,
    plan: PlanId,
) -> WorkerId {
    let id = WorkerId(turn.fleet.last_worker.0 + 1);
    turn.fleet.last_worker = id;
    let timeout = turn.fleet.plans.get(&plan).map(|p| p.ready_timeout).unwrap_or_default();
    let worker = Worker {
        service: name.clone(),
        seat,
        generation,
        plan,
        pid: None,
        phase: Phase::Starting,
        spawned: turn.now,
        ready_at: None,
        deadline: Some(turn.now + timeout),
        drain: None,
        leaving: false,
        hung: false,
        failed: None,
        tired: None,
        printed: Vec::new(),
        pulse: Pulse::default(),
    };
    turn.fleet.workers.insert(id, worker);
    turn.push(Action::Spawn { worker: id, service: name.clone(), seat, generation, plan });
    id
}

/// The fork went well.
pub fn spawned(turn: &mut Turn, id: WorkerId, pid: i32) {
    if let Some(worker) = turn.fleet.workers.get_mut(&id) {
        worker.pid = Some(pid);
        turn.note_worker(Level::Debug, "spawned", id, "worker started");
    }
}

/// The worker accepts. Said twice, or by one that was told to go, it means nothing.
pub fn ready(turn: &mut Turn, id: WorkerId) {
    let now = turn.now;
    let Some(worker) = turn.fleet.workers.get_mut(&id) else {
        return;
    };
    match worker.phase {
        Phase::Starting => {}
        Phase::Stopping => return drain::came_up(turn, id),
        Phase::Ready | Phase::Draining | Phase::Dead => return,
    }
    worker.ready_at = Some(now);
    worker.deadline = None;
    worker.pulse.changed = Some(now);
    let took = now.since(worker.spawned);
    turn.advance(id, Phase::Ready);
    let text = match recycle::replaced_by(turn.fleet, id) {
        Some(why) => format!("worker is ready after {took:.1?} and replaces one that is used up: {why}"),
        None => format!("worker is ready after {took:.1?}"),
    };
    turn.note_worker(Level::Info, "ready", id, text);
    if !rollout::worker_ready(turn, id) {
        tell_unready(turn, id);
        relieve(turn, id);
    }
}

/// A worker that comes up while its service (or masterd) is about to stop accepting.
fn tell_unready(turn: &mut Turn, id: WorkerId) {
    let service = turn.fleet.workers.get(&id).and_then(|w| turn.fleet.services.get(&w.service));
    if service.is_some_and(|s| s.hold != Hold::No || s.fence_at.is_some()) {
        turn.push(Action::Readiness { worker: id, ready: false });
    }
}

/// A restored worker takes its seat back from whoever held it meanwhile, a fresh one from the tired one.
fn relieve(turn: &mut Turn, id: WorkerId) {
    let Some(worker) = turn.fleet.workers.get(&id) else {
        return;
    };
    let (name, seat, generation) = (worker.service.clone(), worker.seat, worker.generation);
    let newest = turn.fleet.rollover.as_ref().map(|r| r.generation);
    let why = |w: &Worker| match w.generation == generation {
        true => w.tired.is_some().then_some(DrainWhy::Recycled),
        false => Some(DrainWhy::Replaced).filter(|_| Some(w.generation) != newest),
    };
    let at_seat = turn.fleet.at_seat(&name, seat).filter(|(_, w)| w.phase == Phase::Ready);
    let others: Vec<(WorkerId, DrainWhy)> = at_seat.filter_map(|(id, w)| Some((id, why(w)?))).collect();
    for (other, why) in others {
        drain::start(turn, other, why);
    }
}

/// Spawns what is missing in every pool in force.
pub fn fill_all(turn: &mut Turn) {
    if turn.fleet.is_stopping() {
        return;
    }
    for name in turn.service_names() {
        fill(turn, &name);
    }
}

fn fill(turn: &mut Turn, name: &ServiceName) {
    let Some(service) = turn.fleet.services.get(name) else {
        return;
    };
    let streak = service.backoff;
    if service.removed || service.hold != Hold::No || streak.given_up || streak.retry_at.is_some() {
        return;
    }
    let (generation, plan) = (service.generation, service.plan);
    let filled = filled(turn, name, generation);
    let missing: Vec<Seat> = (0..service.wanted).map(Seat).filter(|seat| !filled.contains(seat)).collect();
    let seats = if streak.early_deaths == 0 { missing } else { probes(turn, name, missing) };
    for seat in seats {
        spawn(turn, name, seat, generation, plan);
    }
}

/// While throttled few workers are tried at a time: the seats after the one tried last come first.
fn probes(turn: &mut Turn, name: &ServiceName, missing: Vec<Seat>) -> Vec<Seat> {
    let room = backoff::room(turn.fleet, name, turn.now);
    let Some(service) = turn.service(name) else {
        return Vec::new();
    };
    let last = service.backoff.probed;
    let (next, again): (Vec<Seat>, Vec<Seat>) = missing.into_iter().partition(|seat| Some(*seat) > last);
    let tried: Vec<Seat> = next.into_iter().chain(again).take(room).collect();
    service.backoff.probed = tried.last().copied().or(last);
    tried
}

/// A seat is filled by a worker of its generation that is not tired, or by one of the generation coming up
/// that serves.
fn filled(turn: &Turn, name: &ServiceName, generation: Generation) -> BTreeSet<Seat> {
    let coming = turn.fleet.rollover.as_ref().map(|r| r.generation);
    let holds = |w: &Worker| match w.phase {
        Phase::Ready => (w.generation == generation && w.tired.is_none()) || Some(w.generation) == coming,
        Phase::Starting => w.generation == generation,
        Phase::Draining | Phase::Stopping | Phase::Dead => false,
    };
    turn.fleet.workers_of(name).filter(|(_, w)| holds(w)).map(|(_, w)| w.seat).collect()
}
