//! Queues without a server: a seat in trouble is served by a sibling, an orphaned socket to its end.
//!
//! With one SO_REUSEPORT socket per seat, a worker that is blocked, full or gone would hold up its
//! share of all new connections. A seat that has had trouble for 100 ms gets a rescuer: the ready
//! sibling that rescues least. It ends when the seat's own worker is well. Shared listeners need none.
//! A worker that is told to go lets go of what it rescues: no `EndRescue` is sent then.

use super::turn::Turn;
use super::vocabulary::{Action, Level, Queue, Reading};
use crate::model::fleet::{Hold, Trouble, Worker};
use crate::model::{Moment, Phase, Seat, ServiceName, WorkerId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Trouble shorter than this is nobody's business.
pub const PATIENCE: Duration = Duration::from_millis(100);
/// A loop that stands still this long in one piece of work holds up its queue.
const STUCK: Duration = Duration::from_millis(80);
/// A loop that waits for events beats twice a second; later than this it is stopped.
const SILENT: Duration = Duration::from_millis(1200);

/// Looks at every seat of the services with per-worker sockets.
pub fn watch(turn: &mut Turn, readings: &[Reading], queues: &[Queue]) {
    let readings: BTreeMap<WorkerId, &Reading> = readings.iter().map(|r| (r.worker, r)).collect();
    for name in turn.service_names() {
        if !turn.fleet.service_plan(&name).is_some_and(|p| p.per_worker) {
            continue;
        }
        let Some(service) = turn.fleet.services.get(&name) else {
            continue;
        };
        let idle = service.hold != Hold::No || service.removed;
        let queued = queues.iter().filter(|q| q.service == name && q.waiting > 0);
        let seats = look(turn, &name, &readings, &queued.filter_map(|q| q.seat).collect());
        for seat in (0..service.wanted).map(Seat) {
            let since = seats.get(&seat).copied().unwrap_or(Some(turn.now)).filter(|_| !idle);
            judge(turn, &name, seat, since);
        }
    }
}

/// The seats that have a ready worker, and since when none of theirs takes connections (`None`: one does).
fn look(
    turn: &Turn,
    name: &ServiceName,
    readings: &BTreeMap<WorkerId, &Reading>,
    queued: &BTreeSet<Seat>,
) -> BTreeMap<Seat, Option<Moment>> {
    let mut seats = BTreeMap::new();
    let troubles = turn.fleet.services.get(name).map(|s| &s.trouble);
    for (id, worker) in turn.fleet.workers_of(name).filter(|(_, w)| w.phase == Phase::Ready) {
        let Some(reading) = readings.get(&id) else {
            continue;
        };
        // Once in trouble, an empty queue proves nothing: a sibling may have emptied it.
        let trouble = troubles.and_then(|t| t.get(&worker.seat)).map(|t| t.since);
        let silent = trouble.filter(|since| worker.pulse.changed.is_none_or(|at| at <= *since));
        let ill = || ill_since(worker, reading, queued.contains(&worker.seat), turn.now);
        let since = silent.or_else(ill);
        let both = seats.get(&worker.seat).copied().unwrap_or(since);
        seats.insert(worker.seat, both.and_then(|other: Moment| since.map(|at| at.min(other))));
    }
    seats
}

/// Since when a ready worker does not take connections, as far as can be told; `None` if it does.
fn ill_since(worker: &Worker, reading: &Reading, queued: bool, now: Moment) -> Option<Moment> {
    let still = worker.pulse.changed.map_or(Duration::ZERO, |at| now.since(at));
    let stuck = worker.pulse.busy_since.filter(|at| now.since(*at) >= STUCK);
    let ill = reading.full || stuck.is_some() || (queued && still >= STUCK) || still >= SILENT;
    ill.then(|| stuck.unwrap_or(now))
}

fn judge(turn: &mut Turn, name: &ServiceName, seat: Seat, ill_since: Option<Moment>) {
    let Some(service) = turn.service(name) else {
        return;
    };
    if let Some(since) = ill_since {
        service.trouble.entry(seat).or_insert(Trouble { since, rescuer: None });
    } else if let Some(trouble) = service.trouble.remove(&seat) {
        end(turn, name, seat, trouble);
    }
}

fn end(turn: &mut Turn, name: &ServiceName, seat: Seat, trouble: Trouble) {
    if let Some(from) = trouble.rescuer {
        turn.push(Action::EndRescue { service: name.clone(), seat, from });
        let text = format!("seat {name}/{seat} takes its own connections again");
        turn.note_service(Level::Info, "rescue_ended", name, text);
    }
}

/// Finds rescuers for seats whose trouble has lasted; forgets seats that need none any more.
pub fn mend(turn: &mut Turn) {
    for name in turn.service_names() {
        let per_worker = turn.fleet.service_plan(&name).is_some_and(|p| p.per_worker);
        let Some(service) = turn.fleet.services.get(&name) else {
            continue;
        };
        let rescues = per_worker && service.hold == Hold::No && !service.removed;
        let wanted = service.wanted;
        let troubles: Vec<(Seat, Trouble)> = service.trouble.iter().map(|(s, t)| (*s, *t)).collect();
        for (seat, trouble) in troubles {
            if seat.0 >= wanted || !rescues {
                turn.service(&name).and_then(|s| s.trouble.remove(&seat));
                end(turn, &name, seat, trouble);
            } else if trouble.since + PATIENCE <= turn.now {
                send(turn, &name, seat, trouble.rescuer);
            }
        }
    }
}

/// Gives the seat a rescuer, or another if the one it has got into trouble itself.
fn send(turn: &mut Turn, name: &ServiceName, seat: Seat, had: Option<WorkerId>) {
    let at = |id| turn.fleet.workers.get(&id).map(|w| w.seat);
    let service = turn.fleet.services.get(name);
    let ill = |id| at(id).is_some_and(|s| service.is_some_and(|known| known.trouble.contains_key(&s)));
    if had.is_some_and(|id| !ill(id)) {
        return;
    }
    let Some(to) = sibling(turn, name, Some(seat)) else {
        return;
    };
    if let Some(from) = had {
        turn.push(Action::EndRescue { service: name.clone(), seat, from });
    }
    if let Some(trouble) = turn.service(name).and_then(|s| s.trouble.get_mut(&seat)) {
        trouble.rescuer = Some(to);
    }
    turn.push(Action::Rescue { service: name.clone(), seat, to });
    let text = format!("seat {name}/{seat} is in trouble: a sibling takes its connections");
    turn.note_service(Level::Warn, "rescue", name, text);
}

/// The ready worker of the service, at another seat and in no trouble itself, that rescues least.
fn sibling(turn: &Turn, name: &ServiceName, not: Option<Seat>) -> Option<WorkerId> {
    let service = turn.fleet.services.get(name)?;
    let load = |id: WorkerId| service.trouble.values().filter(|t| t.rescuer == Some(id)).count();
    turn.fleet
        .workers_of(name)
        .filter(|(_, w)| w.phase == Phase::Ready && Some(w.seat) != not && !w.pulse.full)
        .filter(|(_, w)| !service.trouble.contains_key(&w.seat))
        .min_by_key(|(id, w)| (load(*id), std::cmp::Reverse(w.generation)))
        .map(|(id, _)| id)
}

/// This worker rescues nobody any more; whoever it served gets another.
pub fn release(turn: &mut Turn, id: WorkerId) {
    for service in turn.fleet.services.values_mut() {
        for trouble in service.trouble.values_mut().filter(|t| t.rescuer == Some(id)) {
            trouble.rescuer = None;
        }
    }
}

/// A worker says that it has served sockets to their end; from one that is not there it means nothing.
pub fn closed(turn: &mut Turn, worker: WorkerId, rites: Option<u64>) {
    if turn.fleet.workers.contains_key(&worker) {
        turn.push(Action::Served { worker, rites });
    }
}

/// Sockets that nobody names nor serves any more: somebody serves what waits in them.
pub fn orphaned(turn: &mut Turn, service: ServiceName, seat: Option<Seat>) {
    let last = turn
        .fleet
        .workers_of(&service)
        .filter(|(_, w)| matches!(w.phase, Phase::Ready | Phase::Draining))
        .max_by_key(|(_, w)| (w.phase == Phase::Ready, w.generation))
        .map(|(id, _)| id);
    let to = sibling(turn, &service, None).or(last);
    turn.push(Action::LastRites { service, seat, to });
}
