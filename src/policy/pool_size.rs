//! How many workers a pool with bounds has: one more when busy, one fewer when idle.
//!
//! Busy is the share of time the workers' loops worked, over a window of a second. One more when it
//! is above 75 % for a window, or when the accept queues have not been empty for a second; one fewer
//! after a minute below 25 %. `scale` and TTIN/TTOU move within the bounds and start a new count.

use super::scale;
use super::turn::Turn;
use super::vocabulary::{Level, Queue, Reading};
use crate::model::fleet::{Hold, Load};
use crate::model::plan::Pool;
use crate::model::{Moment, Phase, ServiceName};
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(1);
const BUSY: f64 = 0.75;
const QUIET: f64 = 0.25;
const QUEUED: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);

pub fn watch(turn: &mut Turn, readings: &[Reading], queues: &[Queue]) {
    if turn.fleet.is_stopping() || turn.fleet.rollover.is_some() {
        return;
    }
    for name in turn.service_names() {
        let Some(plan) = turn.fleet.service_plan(&name) else {
            continue;
        };
        let Pool::Range { min, max } = plan.pool else {
            continue;
        };
        let queued = queues.iter().any(|q| q.service == name && q.waiting > 0);
        let busy_total = busy_total(turn, &name, readings);
        let now = turn.now;
        let growing = turn.fleet.growing.contains_key(&name);
        let Some(service) = turn.service(&name).filter(|_| !growing) else {
            continue;
        };
        if service.hold != Hold::No || service.removed || service.backoff.early_deaths > 0 {
            continue;
        }
        let wanted = service.wanted;
        match observe(&mut service.load, now, busy_total, wanted, queued) {
            Some(Change::More) if wanted < max => resize(turn, &name, wanted + 1, "busy"),
            Some(Change::Fewer) if wanted > min => resize(turn, &name, wanted - 1, "quiet"),
            _ => {}
        }
    }
}

fn busy_total(turn: &Turn, name: &ServiceName, readings: &[Reading]) -> u64 {
    let ours = |r: &&Reading| {
        turn.fleet.workers.get(&r.worker).is_some_and(|w| w.service == *name && w.phase == Phase::Ready)
    };
    readings.iter().filter(ours).fold(0, |sum, r| sum.saturating_add(r.busy_total))
}

fn resize(turn: &mut Turn, name: &ServiceName, wanted: u32, why: &str) {
    let text = format!("service {name} is {why}: {wanted} workers wanted");
    turn.note_service(Level::Info, "pool_resized", name, text);
    if let Some(service) = turn.service(name) {
        service.load = Load { busy: service.load.busy, ..Load::default() };
    }
    scale::set(turn, name, wanted, false);
}

#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    More,
    Fewer,
}

/// Takes one look and says whether the size should change.
pub fn observe(load: &mut Load, now: Moment, busy_total: u64, workers: u32, queued: bool) -> Option<Change> {
    load.queue_since = if queued { load.queue_since.or(Some(now)) } else { None };
    if load.queue_since.is_some_and(|since| now.since(since) >= QUEUED) {
        return Some(Change::More);
    }
    let Some(began) = load.window_since else {
        (load.window_since, load.busy_then) = (Some(now), busy_total);
        return None;
    };
    let window = now.since(began);
    if window < WINDOW {
        return None;
    }
    let available = window.as_nanos() as f64 * f64::from(workers.max(1));
    // A worker that ended takes its share with it: the sum may go down.
    load.busy = (busy_total.saturating_sub(load.busy_then) as f64 / available).min(1.0);
    (load.window_since, load.busy_then) = (Some(now), busy_total);
    load.low_since = if load.busy < QUIET { load.low_since.or(Some(began)) } else { None };
    if load.busy > BUSY {
        return Some(Change::More);
    }
    let quiet = load.low_since.is_some_and(|since| now.since(since) >= PATIENCE);
    quiet.then_some(Change::Fewer)
}
