//! `drain`, `resume` and WINCH: no workers, but the listeners (and what waits in them) stay.
//!
//! Readiness fails at once; accepting ends after the service's `delay`. A reload ends a hold; WINCH ends
//! a reload under way, for the later word counts.

use super::drain as orders;
use super::turn::Turn;
use super::vocabulary::{Action, Answer, Level};
use super::{rollover, upgrade, waiters};
use crate::model::fleet::{DrainWhy, Hold, Stage, Until, Waiter};
use crate::model::{ClientId, Phase, ServiceName};

/// WINCH.
pub fn drain_all(turn: &mut Turn) {
    if turn.fleet.stage != Stage::Running {
        return turn.note(Level::Warn, "ignored", "not running: nothing is drained");
    }
    waiters::refuse_remembered(turn, "all workers are drained: no reload");
    rollover::abort(turn, "all workers are drained");
    upgrade::abort(turn, "all workers are drained");
    in_force(turn).iter().for_each(|name| hold(turn, name));
}

fn in_force(turn: &Turn) -> Vec<ServiceName> {
    turn.fleet.services.iter().filter(|(_, s)| !s.removed).map(|(name, _)| name.clone()).collect()
}

/// `masterd drain [SERVICE]`.
pub fn drain(turn: &mut Turn, client: ClientId, only: Option<ServiceName>) {
    let Some(services) = named(turn, client, only) else {
        return;
    };
    services.iter().for_each(|name| hold(turn, name));
    turn.fleet.waiters.push(Waiter { client, until: Until::Empty { services } });
}

/// `masterd resume [SERVICE]`: also a second chance for a service that was given up.
pub fn resume(turn: &mut Turn, client: ClientId, only: Option<ServiceName>) {
    let Some(services) = named(turn, client, only) else {
        return;
    };
    for name in &services {
        let Some(service) = turn.service(name) else {
            continue;
        };
        let delayed = matches!(service.hold, Hold::Delayed(_));
        service.hold = Hold::No;
        service.backoff = Default::default();
        if delayed {
            let ready = turn.workers_where(|w| w.service == *name && w.phase == Phase::Ready);
            ready.into_iter().for_each(|worker| turn.push(Action::Readiness { worker, ready: true }));
        }
        turn.note_service(Level::Info, "resumed", name, format!("service {name} serves again"));
    }
    let until = Until::Settled { services, wanted: None, why: "resumed".to_owned() };
    turn.fleet.waiters.push(Waiter { client, until });
}

/// The services meant, or an answer that says why not.
fn named(turn: &mut Turn, client: ClientId, only: Option<ServiceName>) -> Option<Vec<ServiceName>> {
    let refused = match &only {
        _ if turn.fleet.is_stopping() => Some("masterd is stopping".to_owned()),
        _ if turn.fleet.rollover.is_some() => {
            Some("a reload is under way: try again when it is decided".to_owned())
        }
        Some(name) if !in_force(turn).contains(name) => Some(format!("there is no service named {name}")),
        _ => None,
    };
    if let Some(why) = refused {
        turn.push(Action::Answer { client, answer: Answer::bad(why) });
        return None;
    }
    Some(only.map_or_else(|| in_force(turn), |name| vec![name]))
}

fn hold(turn: &mut Turn, name: &ServiceName) {
    let delay = turn.fleet.service_plan(name).map(|p| p.delay).unwrap_or_default();
    let at = turn.now + delay;
    let Some(service) = turn.service(name) else {
        return;
    };
    if service.hold != Hold::No {
        return;
    }
    service.hold = Hold::Delayed(at);
    turn.note_service(Level::Info, "held", name, format!("service {name} drains; its listeners stay"));
    for worker in turn.workers_where(|w| w.service == *name && w.phase == Phase::Ready) {
        turn.push(Action::Readiness { worker, ready: false });
    }
}

/// Drains the services whose delay is over; a reload that may end the hold is waited for.
pub fn due(turn: &mut Turn) {
    let now = turn.now;
    for name in turn.service_names() {
        let Some(service) = turn.fleet.services.get(&name) else {
            continue;
        };
        if !matches!(service.hold, Hold::Delayed(at) if at <= now) || turn.fleet.is_replacing(&name) {
            continue;
        }
        if let Some(service) = turn.service(&name) {
            service.hold = Hold::Held;
        }
        for id in turn.workers_where(|w| w.service == name) {
            orders::start(turn, id, DrainWhy::Held);
        }
    }
}
