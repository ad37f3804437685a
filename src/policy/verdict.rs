//! How a reload (or the start) ends: `done` puts the new generation in force, `fail` takes it back.
//!
//! Whatever fails before the verdict, what served goes on. Never kills a worker that has accepted: ready
//! ones drain, and one that alone holds its seat stays until the restored worker is there
//! (`pool` starts it, `pool::relieve` hands over).

use super::turn::Turn;
use super::vocabulary::{Action, Answer, Level, Note};
use super::{drain, printed, rollover, upgrade, waiters};
use crate::model::fleet::{Backoff, DrainWhy, Hold, Load, Outcome, Rollover, Service, Stage, Worker};
use crate::model::{Generation, Phase, PlanId, ServiceName};
use std::collections::BTreeMap;

/// The verdict is good: the new plan is in force, the old generation drains.
pub fn done(turn: &mut Turn) {
    let Some(rollover) = turn.fleet.rollover.take() else {
        return;
    };
    let Some(plan) = rollover.plan else { return };
    let generation = rollover.generation;
    turn.fleet.serving = generation;
    turn.fleet.plan = plan;
    if turn.fleet.stage == Stage::Starting {
        turn.fleet.stage = Stage::Running;
    }
    let seats = adopt_services(turn, &rollover);
    turn.push(Action::Adopt { plan, seats });
    drain_old(turn, &rollover);
    if turn.fleet.upgrade.is_some() {
        return upgrade::done(turn, generation);
    }
    if !rollover.first {
        turn.fleet.last_reload = Some(Outcome { at: turn.now, generation, error: None });
    }
    let text = format!("generation {generation} serves");
    turn.note_generation(
        Level::Info,
        if rollover.first { "started" } else { "reload_done" },
        generation,
        text,
    );
    waiters::reload_done(turn, &rollover.ask, generation);
}

/// Puts the plan in force for the services it replaces; those it no longer names are going.
fn adopt_services(turn: &mut Turn, rollover: &Rollover) -> Vec<(ServiceName, u32)> {
    let Some(plan) = rollover.plan else {
        return Vec::new();
    };
    let facts = turn.fleet.plans.get(&plan).cloned().unwrap_or_default();
    let mut seats = Vec::new();
    for service in &facts.services {
        let replaced = rollover.ask.only.as_ref().is_none_or(|only| *only == service.name);
        if replaced {
            let wanted = rollover::size_of(turn, service);
            let trial = upgrade::on_trial(turn);
            let mut fresh = fresh_service(plan, rollover.generation, wanted);
            if let Some(old) = turn.service(&service.name) {
                // Seats in trouble stay so until somebody looks: their rescuers serve on.
                fresh.trouble = std::mem::take(&mut old.trouble);
                if trial {
                    (fresh.scaled, fresh.hold) = (old.scaled, old.hold);
                    // The streak goes on until they have lived for a while; they need not wait to be tried.
                    fresh.backoff = Backoff { retry_at: None, given_up: false, ..old.backoff };
                    fresh.last_death = old.last_death.take();
                }
            }
            turn.fleet.growing.remove(&service.name);
            turn.fleet.services.insert(service.name.clone(), fresh);
        }
        if let Some(known) = turn.service(&service.name) {
            known.plan = plan;
            seats.push((service.name.clone(), known.wanted));
        }
    }
    for (name, service) in &mut turn.fleet.services {
        service.removed = facts.service(name).is_none();
        if service.removed {
            turn.fleet.growing.remove(name);
        }
    }
    seats
}

/// A service as its plan wants it.
fn fresh_service(plan: PlanId, generation: Generation, wanted: u32) -> Service {
    Service {
        plan,
        generation,
        wanted,
        scaled: false,
        hold: Hold::No,
        backoff: Backoff::default(),
        trouble: BTreeMap::new(),
        load: Load::default(),
        fence_at: None,
        removed: false,
        last_death: None,
        hurry: None,
    }
}

fn drain_old(turn: &mut Turn, rollover: &Rollover) {
    let generation = rollover.generation;
    let only = rollover.ask.only.clone();
    let old = turn
        .workers_where(|w| w.generation != generation && only.as_ref().is_none_or(|name| *name == w.service));
    for id in old {
        let Some(worker) = turn.fleet.workers.get(&id) else {
            continue;
        };
        let kept = turn.fleet.services.get(&worker.service);
        let why = match kept {
            Some(s) if !s.removed && worker.seat.0 < s.wanted => DrainWhy::Replaced,
            _ => DrainWhy::Surplus,
        };
        drain::start(turn, id, why);
    }
}

/// The reload came to nothing: what it started goes, what served goes on. Where there is no room for `lines`,
/// the last that a program printed stands in the sentence.
pub fn fail(turn: &mut Turn, why: String, lines: Vec<String>) {
    if upgrade::on_trial(turn) {
        return upgrade::lost(turn, why, lines);
    }
    let Some(rollover) = turn.fleet.rollover.take() else {
        return;
    };
    let generation = rollover.generation;
    let what = if rollover.first { "start" } else { "reload" };
    let brief = printed::brief(&why, &lines);
    let event = if rollover.first { "start_failed" } else { "reload_failed" };
    let text = format!("{what} failed (generation {generation}): {why}");
    let note = Note { generation: Some(generation), ..Note::new(Level::Error, event, text) };
    turn.push(Action::Note(Note { lines: lines.clone(), ..note }));
    if rollover.first {
        return super::stop::give_up(turn);
    }
    undo(turn, &rollover);
    // Only a stop ends a trial here: this image stays for the rest.
    upgrade::fail(turn, why.clone(), Vec::new());
    turn.fleet.last_reload = Some(Outcome { at: turn.now, generation, error: Some(brief) });
    let served = turn.fleet.serving;
    let text = match turn.fleet.is_stopping() {
        true => why,
        false => format!("{why}; generation {served} serves on"),
    };
    for (client, _) in rollover.ask.clients {
        let answer = Answer { ok: false, text: text.clone(), lines: lines.clone(), generation: Some(served) };
        turn.push(Action::Answer { client, answer });
    }
}

/// Takes back what a reload has bound and started.
pub fn undo(turn: &mut Turn, rollover: &Rollover) {
    if let Some(plan) = rollover.plan.filter(|p| *p != turn.fleet.plan) {
        turn.push(Action::Abandon { plan });
    }
    take_back(turn, rollover.generation);
}

/// What was started of a generation that is not to be goes, but for those who alone hold a seat.
fn take_back(turn: &mut Turn, generation: Generation) {
    for id in turn.workers_where(|w| w.generation == generation) {
        let Some(worker) = turn.fleet.workers.get(&id) else {
            continue;
        };
        let (name, seat) = (&worker.service, worker.seat);
        let service = turn.fleet.services.get(name).filter(|s| !s.removed && seat.0 < s.wanted);
        let stands_in = |(_, w): (_, &Worker)| w.generation != generation && w.phase == Phase::Ready;
        let served = turn.fleet.at_seat(name, seat).any(stands_in);
        let needed = service.is_some_and(|s| s.hold != Hold::Held) && !served;
        let why = if service.is_some() { DrainWhy::Replaced } else { DrainWhy::Surplus };
        if worker.phase != Phase::Ready || !needed {
            drain::start(turn, id, why);
        }
    }
}
