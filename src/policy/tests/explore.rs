//! Every order of events, to a depth: two workers, reloads, deaths, drains, and the end.
//!
//! Breadth first from a service that runs well. States that differ only by names and by how much time
//! has passed count once. Each decision is held to the rules of `watch`; from each state found, a
//! kind world must come to rest with a full pool.

use super::sim::{SECOND, Sim, plan, service};
use super::watch;
use crate::model::fleet::{Fleet, Hold, Step, UpgradeStep, Worker};
use crate::model::plan::Plan;
use crate::model::{Moment, Phase, PlanId, WorkerId};
use crate::policy::{Event, NewConfig, Proof, Reading, Refused, Word, decide, next_due};
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;

/// What images say, as far as the state lets them; a crash of the new one may come at any time.
fn upgrading(fleet: &Fleet) -> Vec<Event> {
    let lost = fleet.rollover.as_ref().is_some_and(|r| r.step == Step::Lost);
    let refused = Refused { version: None, why: "no".to_owned(), lines: Vec::new() };
    match fleet.upgrade.as_ref().map(|u| u.step) {
        None | Some(UpgradeStep::WaitingForRoom) => Vec::new(),
        Some(UpgradeStep::Candidate(_)) => {
            let proof = Proof { version: "2".to_owned() };
            vec![Event::Candidate(Ok(proof)), Event::Candidate(Err(refused))]
        }
        Some(UpgradeStep::Executing) => vec![Event::Restored, Event::ExecFailed { why: "no".to_owned() }],
        Some(UpgradeStep::Trial) if lost => vec![Event::Returned { why: None }],
        Some(UpgradeStep::Trial) => vec![Event::Returned { why: Some("crashed".to_owned()) }],
    }
}

/// What may happen in a state: whatever a worker or the shell could say now, and every word in turn.
fn possible(fleet: &Fleet) -> Vec<Event> {
    let mut events: Vec<Event> =
        [Word::Reload, Word::Upgrade, Word::Drain, Word::Quit, Word::Interrupt].map(Event::Signal).to_vec();
    match fleet.rollover.as_ref().map(|r| r.step) {
        Some(Step::ReadingConfig) => {
            let facts = fleet.plans[&fleet.plan].clone();
            let id = PlanId(1_000 + fleet.last_generation.0);
            events.push(Event::ConfigRead(Ok(NewConfig { id, plan: facts, changed: Vec::new() })));
            events.push(Event::ConfigRead(Err(vec!["no".to_owned()])));
        }
        Some(Step::OpeningListeners) => {
            events.push(Event::Opened);
            events.push(Event::OpenFailed { why: "no".to_owned() });
        }
        Some(Step::WaitingForRoom | Step::Starting | Step::Soaking(_) | Step::Lost) | None => {}
    }
    events.extend(upgrading(fleet));
    for (id, worker) in &fleet.workers {
        if matches!(worker.phase, Phase::Starting | Phase::Stopping) && worker.ready_at.is_none() {
            events.push(Event::Ready { worker: *id });
        }
        if worker.phase == Phase::Draining && !worker.leaving {
            events.push(Event::Leaving { worker: *id });
        }
        if worker.phase == Phase::Draining && !worker.pulse.long_lived {
            let reading = Reading { worker: *id, long_lived: true, ..Reading::default() };
            events.push(Event::Pulse { workers: vec![reading], queues: Vec::new() });
        }
        let limited = fleet.plan_of(worker).is_some_and(|p| p.max_requests > 0);
        if worker.phase == Phase::Ready && worker.tired.is_none() && limited {
            let reading = Reading { worker: *id, requests: u64::MAX, ..Reading::default() };
            events.push(Event::Pulse { workers: vec![reading], queues: Vec::new() });
        }
        events.push(Event::Died { worker: *id, how: "gone".to_owned(), gave_up: false });
    }
    if next_due(fleet).is_some() {
        events.push(Event::Due);
    }
    events
}

/// A state without what makes no difference: absolute times, and the numbers of what is no more.
fn key(fleet: &Fleet, now: Moment) -> String {
    let from_now = |at: Moment| i128::from(at.0) - i128::from(now.0);
    let future = |at: Option<Moment>| at.map(from_now);
    let numbers = fleet.workers.keys().enumerate().map(|(n, id)| (*id, n));
    let numbers: BTreeMap<WorkerId, usize> = numbers.collect();
    let mut text = format!("{:?} {:?}", fleet.stage, fleet.remembered.is_some());
    let age = |generation: crate::model::Generation| fleet.last_generation.0 - generation.0;
    if let Some(r) = &fleet.rollover {
        let step = match r.step {
            Step::Soaking(until) => format!("soaking {}", from_now(until)),
            step => format!("{step:?}"),
        };
        let current: Vec<usize> = r.current.iter().map(|id| numbers[id]).collect();
        let _ = write!(text, " {} {step} {:?} {current:?}", age(r.generation), r.left);
    }
    let upgrade = fleet.upgrade.as_ref().map(|u| match u.step {
        UpgradeStep::Candidate(until) => format!("candidate {}", from_now(until)),
        step => format!("{step:?}"),
    });
    let _ = write!(text, " {upgrade:?}");
    for s in fleet.services.values() {
        let hold = match s.hold {
            Hold::Delayed(at) => format!("{}", from_now(at)),
            hold => format!("{hold:?}"),
        };
        let b = &s.backoff;
        let streak = (b.early_deaths, future(b.retry_at), future(b.look_at), b.probed);
        let _ = write!(text, " {} {} {hold} {streak:?}", s.wanted, age(s.generation));
    }
    for Worker { seat, generation, phase, deadline, ready_at, drain, leaving, hung, pulse, tired, .. } in
        fleet.workers.values()
    {
        let settled = ready_at.map(|at| now.since(at).min(SECOND));
        let times = (future(*deadline), settled, drain.map(|d| (d.why, from_now(d.until))));
        let told = (leaving, hung, pulse.long_lived, tired.is_some());
        let _ = write!(text, " {seat}/{} {phase:?} {times:?} {told:?}", age(*generation));
    }
    text
}

/// From this state on nobody asks for anything and workers come up: it must end well.
fn ends_well(fleet: &Fleet, now: Moment) {
    let mut sim = Sim::resumed(fleet.clone(), now);
    sim.rest();
    if sim.fleet.is_stopping() {
        let left = sim.left == Some(0) || fleet.workers.is_empty();
        return assert!(left, "{fleet:?}\nends as {:?}", sim.fleet);
    }
    let held = sim.fleet.services.values().any(|s| s.hold == Hold::Held);
    let ready = sim.ready("web");
    let right = if held { ready == 0 } else { ready == 2 && sim.fleet.is_full(&"web".into()) };
    let alone = sim.fleet.workers.len() == ready as usize && sim.fleet.rollover.is_none();
    assert!(right && alone, "{fleet:?}\nends as {:?}", sim.fleet);
}

fn explore(facts: Plan, depth: usize) -> usize {
    let start = Sim::started(facts);
    let mut seen = HashSet::from([key(&start.fleet, start.now)]);
    let mut edge = vec![(start.fleet, start.now)];
    for _ in 0..depth {
        let mut next = Vec::new();
        for (fleet, now) in &edge {
            for event in possible(fleet) {
                let now = match event {
                    Event::Due => next_due(fleet).map_or(*now, |at| at.max(*now)),
                    _ => *now,
                };
                let mut after = fleet.clone();
                let actions = decide(&mut after, event.clone(), now);
                watch::check(fleet, &event, &after, &actions, now);
                if seen.insert(key(&after, now)) {
                    ends_well(&after, now);
                    next.push((after, now));
                }
            }
        }
        edge = next;
    }
    seen.len()
}

fn facts(step: Option<u32>, soak: u32, max_draining: usize) -> Plan {
    let mut facts = plan(vec![service("web", 2)]);
    facts.rollout.step = step;
    facts.rollout.soak = soak * SECOND;
    facts.max_draining = max_draining;
    facts
}

#[test]
fn a_rollout_in_one_go_survives_every_order_of_events() {
    let found = explore(facts(None, 0, 3), 7);
    assert!(found > 1_000, "only {found} states");
}

#[test]
fn the_replacement_of_tired_workers_survives_every_order_of_events() {
    let mut facts = facts(Some(1), 0, 2);
    facts.services[0].max_requests = 1_000;
    let found = explore(facts, 5);
    assert!(found > 500, "only {found} states");
}

#[test]
fn a_rollout_in_steps_survives_every_order_of_events() {
    let found = explore(facts(Some(1), 1, 1), 7);
    assert!(found > 1_000, "only {found} states");
}
