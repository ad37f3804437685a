//! Restart delay for workers that die early: per service, doubling, giving up if asked to.
//!
//! Early is before a second of being ready. Several early deaths in one delay count once, so that
//! a pool of eight that cannot start does not count eight steps at a time. While a service is
//! throttled it tries one worker at a time (`pool`), and twice as many each second that the tries
//! stay alive. A full pool that has been ready for a second ends it. Never touches another service.

use super::turn::Turn;
use super::vocabulary::Level;
use crate::model::fleet::{Backoff, Fleet, Service, Worker};
use crate::model::plan::ServicePlan;
use crate::model::{Moment, Phase, Seat, ServiceName};
use std::time::Duration;

/// Alive this long after ready, a worker's death is not early.
pub const SETTLED: Duration = Duration::from_secs(1);

/// The delay after `deaths` early deaths in a row (at least one).
pub fn delay(deaths: u32, plan: &ServicePlan) -> Duration {
    let doubled = plan.backoff_min.saturating_mul(1u32 << deaths.saturating_sub(1).min(20));
    doubled.min(plan.backoff_max)
}

/// Counts an early death at a seat and decides when the service tries again.
pub fn early_death(turn: &mut Turn, name: &ServiceName, seat: Seat) {
    let Some(plan) = turn.fleet.service_plan(name).cloned() else {
        return;
    };
    let now = turn.now;
    let Some(service) = turn.service(name) else {
        return;
    };
    service.backoff.probed = Some(seat);
    service.backoff.last = Some(now);
    if service.backoff.retry_at.is_some() || service.backoff.given_up {
        return;
    }
    service.backoff.early_deaths = service.backoff.early_deaths.saturating_add(1);
    let deaths = service.backoff.early_deaths;
    if plan.give_up > 0 && deaths >= plan.give_up {
        service.backoff.given_up = true;
        let text = format!(
            "service {name} is given up after {deaths} early deaths in a row; mend it and reload (or resume) it"
        );
        turn.note_service(Level::Error, "given_up", name, text);
        return;
    }
    let wait = delay(deaths, &plan);
    service.backoff.retry_at = Some(now + wait);
    let text = format!("service {name} is throttled: next try in {wait:?} ({deaths} early deaths in a row)");
    turn.note_service(Level::Warn, "throttled", name, text);
}

/// Ends delays that are over, forgets streaks that a settled pool has disproved, and notes when the
/// next worker will have proved itself.
pub fn due(turn: &mut Turn) {
    for name in turn.service_names() {
        let now = turn.now;
        if let Some(service) = turn.service(&name).filter(|s| s.backoff.retry_at.is_some_and(|at| at <= now))
        {
            service.backoff.retry_at = None;
        }
        if turn.fleet.services.get(&name).is_none_or(|s| s.backoff.early_deaths == 0) {
            continue;
        }
        let well = is_well(turn.fleet, &name, now);
        let look_at = next_proof(turn.fleet, &name, now);
        let Some(service) = turn.service(&name) else {
            continue;
        };
        service.backoff.look_at = look_at;
        if well {
            service.backoff = Backoff::default();
            turn.note_service(
                Level::Info,
                "recovered",
                &name,
                format!("service {name} is not throttled any more"),
            );
        }
    }
}

/// How many more workers a throttled service may try now.
pub fn room(fleet: &Fleet, name: &ServiceName, now: Moment) -> usize {
    let Some(service) = fleet.services.get(name) else {
        return 0;
    };
    let since_then = |w: &&Worker| w.ready_at.is_some() && w.ready_at >= service.backoff.last;
    let ours = || members(fleet, name, service);
    let proved = ours().filter(since_then).filter(|w| proof_of(w).is_some_and(|at| at <= now)).count();
    let tried = ours().filter(|w| proof_of(w).is_none_or(|at| at > now)).count();
    (proved + 1).saturating_sub(tried)
}

/// The workers that stand for the service: of the generation in force, and not on their way out. One that
/// waits for its replacement proves nothing about that.
fn members<'a>(
    fleet: &'a Fleet,
    name: &'a ServiceName,
    service: &'a Service,
) -> impl Iterator<Item = &'a Worker> {
    let stays = |w: &&Worker| matches!(w.phase, Phase::Starting | Phase::Ready) && w.tired.is_none();
    fleet.workers_of(name).map(|(_, w)| w).filter(|w| w.generation == service.generation).filter(stays)
}

/// When a worker has been ready for long enough; `None` while it is not ready.
fn proof_of(worker: &Worker) -> Option<Moment> {
    worker.ready_at.map(|at| at + SETTLED)
}

fn next_proof(fleet: &Fleet, name: &ServiceName, now: Moment) -> Option<Moment> {
    let service = fleet.services.get(name)?;
    members(fleet, name, service).filter_map(proof_of).filter(|at| *at > now).min()
}

/// A full pool, each worker of which has proved itself.
fn is_well(fleet: &Fleet, name: &ServiceName, now: Moment) -> bool {
    let Some(service) = fleet.services.get(name) else {
        return false;
    };
    let proved = members(fleet, name, service).filter(|w| proof_of(w).is_some_and(|at| at <= now)).count();
    service.backoff.retry_at.is_none() && proved >= service.wanted as usize
}
