//! What must hold of every single decision, checked by the simulated world after each.

use crate::model::fleet::{DrainWhy, Fleet, Hold, Service};
use crate::model::{Moment, Phase, Seat, ServiceName, WorkerId};
use crate::policy::{Action, Event, next_due};
use std::collections::{BTreeMap, BTreeSet};

pub fn check(before: &Fleet, event: &Event, after: &Fleet, actions: &[Action], now: Moment) {
    let complain = |what: String| {
        panic!("{what}\nevent {event:?} at {now:?}\nactions {actions:?}\nbefore {before:?}\nafter {after:?}")
    };
    if let Err(what) = after.check_invariants() {
        complain(what);
    }
    if let Err(what) = no_busy_loop(event, after, now) {
        complain(what);
    }
    if let Err(what) = targets_exist(before, after, actions) {
        complain(what);
    }
    if let Err(what) = replaced_only_by_ready(before, after, actions) {
        complain(what);
    }
    if let Err(what) = reload_costs_nobody(before, event, after) {
        complain(what);
    }
    if let Err(what) = rescues_are_kept_account_of(before, after, actions) {
        complain(what);
    }
    if after.last_generation < before.last_generation || after.serving < before.serving {
        complain("generations run backwards".to_owned());
    }
}

/// A deadline in the past after `Due` would make the master spin.
fn no_busy_loop(event: &Event, after: &Fleet, now: Moment) -> Result<(), String> {
    match next_due(after) {
        Some(at) if at <= now && matches!(event, Event::Due) => Err(format!("due again at {at:?}")),
        _ => Ok(()),
    }
}

/// Nothing is told to a worker that is not there, or not any more.
fn targets_exist(before: &Fleet, after: &Fleet, actions: &[Action]) -> Result<(), String> {
    let mut known: BTreeSet<WorkerId> = before.workers.keys().copied().collect();
    for action in actions {
        let target = match action {
            Action::Spawn { worker, .. } => {
                known.insert(*worker);
                continue;
            }
            Action::Forget { worker, .. } => {
                if !known.remove(worker) {
                    return Err(format!("{worker} is forgotten twice"));
                }
                continue;
            }
            Action::Readiness { worker, .. }
            | Action::Drain { worker, .. }
            | Action::Finish { worker }
            | Action::Served { worker, .. }
            | Action::Kill { worker, .. } => *worker,
            Action::Rescue { to, .. } => *to,
            Action::EndRescue { from, .. } => *from,
            Action::LastRites { to: Some(to), .. } => *to,
            _ => continue,
        };
        if !known.contains(&target) {
            return Err(format!("{target} is told something and is not there"));
        }
    }
    match known.iter().eq(after.workers.keys()) {
        true => Ok(()),
        false => Err("workers come or go without an action".to_owned()),
    }
}

fn rescuers(fleet: &Fleet) -> BTreeMap<(ServiceName, Seat), WorkerId> {
    let of = |(name, service): (&ServiceName, &Service)| {
        let rescued = service.trouble.iter().filter_map(|(seat, t)| Some((*seat, t.rescuer?)));
        rescued.map(|(seat, id)| ((name.clone(), seat), id)).collect::<Vec<_>>()
    };
    fleet.services.iter().flat_map(of).collect()
}

/// Each rescue that the fleet knows of has been sent, and each that it forgets has been ended, if only
/// by sending the rescuer away.
fn rescues_are_kept_account_of(before: &Fleet, after: &Fleet, actions: &[Action]) -> Result<(), String> {
    let mut account = rescuers(before);
    for action in actions {
        let right = match action {
            Action::Rescue { service, seat, to } => account.insert((service.clone(), *seat), *to).is_none(),
            Action::EndRescue { service, seat, from } => {
                account.remove(&(service.clone(), *seat)) == Some(*from)
            }
            Action::Drain { worker, .. }
            | Action::Finish { worker }
            | Action::Kill { worker, .. }
            | Action::Forget { worker, .. } => {
                account.retain(|_, rescuer| rescuer != worker);
                true
            }
            _ => true,
        };
        if !right {
            return Err(format!("{action:?} is not in order"));
        }
    }
    match account == rescuers(after) {
        true => Ok(()),
        false => Err(format!("rescues in fact: {account:?}")),
    }
}

/// Who is drained because it is replaced leaves a ready one at its seat.
fn replaced_only_by_ready(before: &Fleet, after: &Fleet, actions: &[Action]) -> Result<(), String> {
    for action in actions {
        let Action::Drain { worker, .. } = action else {
            continue;
        };
        let was_ready = before.workers.get(worker).is_some_and(|w| w.phase == Phase::Ready);
        let Some(w) = after.workers.get(worker).filter(|_| was_ready) else {
            continue;
        };
        let replaced = w.drain.is_some_and(|d| matches!(d.why, DrainWhy::Replaced | DrainWhy::Recycled));
        let served = after.at_seat(&w.service, w.seat).any(|(_, w)| w.phase == Phase::Ready);
        let held = |f: &Fleet| f.services.get(&w.service).is_some_and(|s| s.hold == Hold::Held);
        if replaced && !served && !held(before) && !held(after) && !after.is_stopping() {
            return Err(format!("{worker} is drained and nobody is ready at its seat"));
        }
    }
    Ok(())
}

/// While a reload is undecided, or when it is decided, no seat that was served before is unserved
/// after, unless a worker died, or the config or the operator says so.
fn reload_costs_nobody(before: &Fleet, event: &Event, after: &Fleet) -> Result<(), String> {
    let death = matches!(event, Event::Died { .. } | Event::SpawnFailed { .. });
    if before.rollover.is_none() || after.is_stopping() || death {
        return Ok(());
    }
    for (name, service) in before.services.iter().filter(|(_, s)| s.hold == Hold::No && !s.removed) {
        let Some(now) = after.services.get(name).filter(|s| !s.removed && s.hold == Hold::No) else {
            continue;
        };
        let served = |f: &Fleet, seat| f.at_seat(name, seat).any(|(_, w)| w.phase == Phase::Ready);
        let hung = |seat| after.at_seat(name, seat).any(|(_, w)| w.hung);
        for seat in (0..service.wanted.min(now.wanted)).map(Seat) {
            if served(before, seat) && !served(after, seat) && !hung(seat) {
                return Err(format!("{name}/{seat} was served before and is not after"));
            }
        }
    }
    Ok(())
}
