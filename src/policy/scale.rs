//! Another pool size without a reload: `scale`, TTIN, TTOU, and the pool-size rule.
//!
//! Growing opens the new seats' sockets first; shrinking retires the highest seats, steered away
//! from before their workers take the last call. Ends at the next reload.

use super::drain;
use super::turn::Turn;
use super::vocabulary::{Action, Answer, Level};
use crate::model::fleet::{DrainWhy, Growth, Hold, Until, Waiter};
use crate::model::plan::Pool;
use crate::model::{ClientId, ServiceName};

/// The most workers a service may have, however asked for.
pub const MOST: u32 = 512;

/// TTIN (+1) and TTOU (-1): every service, within its bounds.
pub fn step(turn: &mut Turn, by: i32) {
    for name in turn.service_names() {
        let Some(service) = turn.fleet.services.get(&name) else {
            continue;
        };
        let wanted = service.wanted.saturating_add_signed(by);
        match refusal(turn, &name, wanted) {
            Some(why) => turn.note_service(Level::Warn, "scale_refused", &name, why),
            None => set(turn, &name, wanted, true),
        }
    }
}

/// `masterd scale SERVICE N`.
pub fn asked(turn: &mut Turn, client: ClientId, name: ServiceName, wanted: u32) {
    if let Some(why) = refusal(turn, &name, wanted) {
        return turn.push(Action::Answer { client, answer: Answer::bad(why) });
    }
    set(turn, &name, wanted, true);
    let until = Until::Settled { services: vec![name], wanted: Some(wanted), why: "scaled".to_owned() };
    turn.fleet.waiters.push(Waiter { client, until });
}

fn refusal(turn: &Turn, name: &ServiceName, wanted: u32) -> Option<String> {
    if turn.fleet.is_stopping() {
        return Some("masterd is stopping".to_owned());
    }
    let service = turn.fleet.services.get(name).filter(|s| !s.removed);
    let (Some(service), Some(plan)) = (service, turn.fleet.service_plan(name)) else {
        return Some(format!("there is no service named {name}"));
    };
    if turn.fleet.rollover.is_some() {
        return Some("a reload is under way: try again when it is decided".to_owned());
    }
    if turn.fleet.growing.contains_key(name) {
        return Some(format!("service {name} is just growing: try again"));
    }
    if service.hold != Hold::No {
        return Some(format!("service {name} is drained: resume it first"));
    }
    match plan.pool {
        Pool::Range { min, max } if wanted < min || wanted > max => {
            Some(format!("service {name} has between {min} and {max} workers by its config, not {wanted}"))
        }
        _ if wanted == 0 => {
            Some(format!("service {name} needs a worker; to take all of them away use: masterd drain {name}"))
        }
        _ if wanted > MOST => Some(format!("service {name} can't have more than {MOST} workers")),
        _ => None,
    }
}

/// Grows or shrinks a pool; `by_hand` shows in `status`.
pub fn set(turn: &mut Turn, name: &ServiceName, wanted: u32, by_hand: bool) {
    let Some(service) = turn.service(name) else {
        return;
    };
    let now = service.wanted;
    if wanted > now {
        turn.fleet.growing.insert(name.clone(), Growth { wanted, by_hand });
        turn.push(Action::OpenSeats { service: name.clone(), seats: wanted });
    } else if wanted < now {
        service.wanted = wanted;
        service.scaled |= by_hand;
        turn.push(Action::RetireSeats { service: name.clone(), keep: wanted });
        for id in turn.workers_where(|w| w.service == *name && w.seat.0 >= wanted) {
            drain::start(turn, id, DrainWhy::Surplus);
        }
    }
}

/// The sockets for the larger pool are there, or can't be had.
pub fn seats_opened(turn: &mut Turn, name: &ServiceName, result: Result<(), String>) {
    let Some(Growth { wanted, by_hand }) = turn.fleet.growing.remove(name) else {
        return unwanted(turn, name, result.is_ok());
    };
    match result {
        Ok(()) => {
            if let Some(service) = turn.service(name) {
                service.wanted = wanted;
                service.scaled |= by_hand;
            }
        }
        Err(why) => {
            let text = format!("service {name} can't grow to {wanted} workers: {why}");
            turn.note_service(Level::Error, "scale_failed", name, text.clone());
            super::waiters::settle_failed(turn, name, &text);
        }
    }
}

/// Sockets for a growth that a reload has made pointless: without workers they would swallow connections.
fn unwanted(turn: &mut Turn, name: &ServiceName, opened: bool) {
    if let Some(keep) = turn.fleet.services.get(name).filter(|_| opened).map(|s| s.wanted) {
        turn.push(Action::RetireSeats { service: name.clone(), keep });
    }
}
