//! Clients that wait: each is answered once, when what it asked for is true or can't become so.
//!
//! `answer` runs after every event. A client that goes away is forgotten; what it asked for goes on.

use super::turn::Turn;
use super::vocabulary::{Action, Answer};
use crate::model::fleet::{Ask, Fleet, Hold, Service, Until, Waiter, Worker};
use crate::model::{ClientId, Generation, ServiceName};

/// After so many early deaths in a row whoever waits for a service is told that it does not come up.
const HOPELESS: u32 = 3;

/// The client has hung up.
pub fn forget(turn: &mut Turn, client: ClientId) {
    turn.fleet.waiters.retain(|w| w.client != client);
    if let Some(upgrade) = turn.fleet.upgrade.as_mut() {
        upgrade.client = upgrade.client.filter(|(c, _)| *c != client);
    }
    let asks = turn.fleet.rollover.as_mut().map(|r| &mut r.ask).into_iter();
    for ask in asks.chain(turn.fleet.remembered.as_mut()) {
        ask.clients.retain(|(c, _)| *c != client);
    }
}

/// A reload's verdict is good: answer now, or when the old generation is gone.
pub fn reload_done(turn: &mut Turn, ask: &Ask, generation: Generation) {
    for (client, drained) in &ask.clients {
        if *drained {
            let until = Until::Drained { before: generation, service: ask.only.clone() };
            turn.fleet.waiters.push(Waiter { client: *client, until });
        } else {
            let answer = Answer::good(format!("generation {generation} serves"), generation);
            turn.push(Action::Answer { client: *client, answer });
        }
    }
}

/// The reload that is remembered will not run.
pub fn refuse_remembered(turn: &mut Turn, why: &str) {
    for (client, _) in turn.fleet.remembered.take().map(|ask| ask.clients).unwrap_or_default() {
        turn.push(Action::Answer { client, answer: Answer::bad(why) });
    }
}

/// A pool could not grow or come up: whoever waits for it is told.
pub fn settle_failed(turn: &mut Turn, name: &ServiceName, text: &str) {
    let concerned =
        |w: &Waiter| matches!(&w.until, Until::Settled { services, .. } if services.contains(name));
    let (told, still) = std::mem::take(&mut turn.fleet.waiters).into_iter().partition(concerned);
    turn.fleet.waiters = still;
    let told: Vec<Waiter> = told;
    for waiter in told {
        turn.push(Action::Answer { client: waiter.client, answer: Answer::bad(text) });
    }
}

/// Answers everybody whose wait is over.
pub fn answer(turn: &mut Turn) {
    let waiters = std::mem::take(&mut turn.fleet.waiters);
    let mut still = Vec::new();
    for waiter in waiters {
        match verdict(turn.fleet, &waiter.until) {
            Some(answer) => turn.push(Action::Answer { client: waiter.client, answer }),
            None => still.push(waiter),
        }
    }
    turn.fleet.waiters = still;
}

fn verdict(fleet: &Fleet, until: &Until) -> Option<Answer> {
    match until {
        Until::Drained { before, service } => drained(fleet, *before, service.as_ref()),
        Until::Settled { .. } | Until::Empty { .. } if fleet.is_stopping() => {
            Some(Answer::bad("masterd is stopping"))
        }
        Until::Settled { services, wanted, why } => settled(fleet, services, *wanted, why),
        Until::Empty { services } => empty(fleet, services),
        Until::Stopped => {
            let gone = fleet.is_stopping() && fleet.workers.is_empty();
            gone.then(|| Answer::good("masterd has stopped", fleet.serving))
        }
    }
}

fn drained(fleet: &Fleet, before: Generation, service: Option<&ServiceName>) -> Option<Answer> {
    let old = |w: &Worker| w.generation < before && service.is_none_or(|s| *s == w.service);
    let gone = !fleet.workers.values().any(old);
    gone.then(|| Answer::good(format!("generation {before} serves, the old one is gone"), before))
}

fn empty(fleet: &Fleet, services: &[ServiceName]) -> Option<Answer> {
    let serves =
        |name: &&ServiceName| fleet.services.get(*name).is_some_and(|s| s.hold == Hold::No && !s.removed);
    if let Some(name) = services.iter().find(serves) {
        return Some(Answer::bad(format!("service {name} was told to serve again before it was drained")));
    }
    let busy = fleet.workers.values().any(|w| services.contains(&w.service));
    (!busy).then(|| Answer::good(format!("drained: {}", join(services)), fleet.serving))
}

fn settled(fleet: &Fleet, services: &[ServiceName], wanted: Option<u32>, why: &str) -> Option<Answer> {
    let known = |name| fleet.services.get(name).filter(|s: &&Service| !s.removed);
    for name in services {
        let Some(service) = known(name) else {
            return Some(Answer::bad(format!("service {name} is gone")));
        };
        if let Some(why) = hopeless(fleet, name, service, wanted) {
            return Some(Answer::bad(why));
        }
    }
    let there = |name| fleet.is_full(name) && !fleet.growing.contains_key(name);
    if !services.iter().all(there) {
        return None;
    }
    let size = |name| known(name).map(|s| format!("{name} has {} workers", s.wanted));
    let sizes: Vec<String> = services.iter().filter_map(size).collect();
    Some(Answer::good(format!("{why}: {}", sizes.join(", ")), fleet.serving))
}

/// Why a service will not have the workers that somebody waits for.
fn hopeless(fleet: &Fleet, name: &ServiceName, service: &Service, wanted: Option<u32>) -> Option<String> {
    let growing = fleet.growing.contains_key(name);
    if let Some(asked) = wanted.filter(|n| *n != service.wanted && !growing) {
        let now = service.wanted;
        return Some(format!("service {name} was set to {now} workers before it had the {asked} asked for"));
    }
    if service.hold != Hold::No {
        return Some(format!("service {name} was drained meanwhile"));
    }
    if service.backoff.given_up || service.backoff.early_deaths >= HOPELESS {
        let reason = service.last_death.clone().unwrap_or_default();
        return Some(format!("service {name} does not come up: {reason}"));
    }
    None
}

fn join(services: &[ServiceName]) -> String {
    services.iter().map(|s| s.0.as_str()).collect::<Vec<_>>().join(", ")
}
