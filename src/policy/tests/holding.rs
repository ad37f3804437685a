//! `drain`, `resume` and WINCH.

use super::sim::{GOOD, Life, MS, SECOND, STILLBORN, Sim, plan, service};
use crate::model::fleet::{DrainWhy, Hold};
use crate::model::{Generation, Phase, ServiceName, WorkerId};
use crate::policy::{Action, Request, Word};

fn with_delay(seconds: u32) -> Sim {
    let mut file = plan(vec![service("web", 2)]);
    file.services[0].delay = seconds * SECOND;
    Sim::started(file)
}

fn hold(sim: &Sim) -> Hold {
    sim.fleet.services[&ServiceName::from("web")].hold
}

fn told(sim: &Sim, ready: bool) -> Vec<WorkerId> {
    let readiness = |a: &Action| match a {
        Action::Readiness { worker, ready: said } if *said == ready => Some(*worker),
        _ => None,
    };
    sim.log.iter().filter_map(|(_, a)| readiness(a)).collect()
}

fn drain_web(sim: &mut Sim) -> crate::model::ClientId {
    sim.ask(Request::Drain { service: Some("web".into()) })
}

fn resume_web(sim: &mut Sim) -> crate::model::ClientId {
    sim.ask(Request::Resume { service: Some("web".into()) })
}

#[test]
fn a_drained_service_has_no_workers_and_keeps_its_listeners() {
    let mut sim = Sim::running(2);
    sim.forget_log();
    let client = drain_web(&mut sim);
    assert_eq!(sim.fleet.state_word(), "draining");
    sim.rest();
    assert!(sim.answer(client).ok && sim.fleet.workers.is_empty());
    assert_eq!(sim.fleet.state_word(), "drained");
    let kept = |a: &Action| matches!(a, Action::Drain { order, .. } if order.why == DrainWhy::Held);
    assert_eq!(sim.count(kept), 2);
    assert_eq!(sim.count(|a| matches!(a, Action::Fence { .. } | Action::RetireSeats { .. })), 0);
    assert_eq!(sim.spawns(), 0);
}

#[test]
fn readiness_fails_first_and_accepting_ends_after_the_delay() {
    let mut sim = with_delay(10);
    sim.forget_log();
    drain_web(&mut sim);
    assert_eq!(told(&sim, false).len(), 2);
    sim.pass(9900 * MS);
    assert_eq!(sim.ready("web"), 2, "new connections are welcome");
    sim.pass(200 * MS);
    assert!(sim.fleet.workers.values().all(|w| w.drain.is_some_and(|d| d.why == DrainWhy::Held)));
    assert_eq!(hold(&sim), Hold::Held);
}

#[test]
fn a_resume_within_the_delay_takes_the_drain_back() {
    let mut sim = with_delay(10);
    let drained = drain_web(&mut sim);
    sim.pass(SECOND);
    sim.forget_log();
    let resumed = resume_web(&mut sim);
    assert_eq!(told(&sim, true).len(), 2, "ready again");
    assert!(sim.refused(drained).contains("serve again"), "whoever waited for the drain is told");
    assert!(sim.answer(resumed).ok);
    sim.rest();
    assert_eq!((sim.ready("web"), sim.spawns(), hold(&sim)), (2, 0, Hold::No));
}

#[test]
fn a_resume_after_the_drain_brings_new_workers() {
    let mut sim = Sim::running(2);
    drain_web(&mut sim);
    sim.rest();
    let resumed = resume_web(&mut sim);
    sim.rest();
    assert!(sim.answer(resumed).ok);
    assert_eq!(sim.generations(), [(0, 1), (1, 1)]);
}

#[test]
fn a_resume_while_the_workers_drain_does_not_wait_for_them() {
    let mut sim = Sim::running(2);
    let drained = drain_web(&mut sim);
    let resumed = resume_web(&mut sim);
    sim.pass(10 * MS);
    assert!(sim.answer(resumed).ok);
    sim.refused(drained);
    assert_eq!((sim.ready("web"), sim.fleet.workers.len()), (2, 4));
}

#[test]
fn a_resume_whose_workers_do_not_come_up_is_refused() {
    let mut sim = Sim::running(2);
    drain_web(&mut sim);
    sim.rest();
    sim.everybody(STILLBORN);
    let resumed = resume_web(&mut sim);
    sim.pass(5 * SECOND);
    assert!(sim.refused(resumed).contains("does not come up"));
}

#[test]
fn a_worker_that_comes_up_within_the_delay_is_not_ready_for_balancers() {
    let mut sim = with_delay(10);
    sim.everybody(Life { ready: Some(SECOND), ..GOOD });
    let worker = sim.worker_at(0);
    sim.kill(worker);
    sim.forget_log();
    drain_web(&mut sim);
    assert_eq!(told(&sim, false).len(), 1);
    sim.pass(2 * SECOND);
    let late = sim.worker_at(0);
    assert!(told(&sim, false).contains(&late));
}

#[test]
fn a_worker_that_starts_when_the_delay_ends_goes_with_the_others() {
    let mut sim = Sim::running(2);
    sim.everybody(Life { ready: Some(500 * MS), ..GOOD });
    let worker = sim.worker_at(0);
    sim.kill(worker);
    drain_web(&mut sim);
    sim.rest();
    assert!(sim.fleet.workers.is_empty());
    assert_eq!(sim.count(|a| matches!(a, Action::Kill { .. })), 0);
}

#[test]
fn winch_drains_every_service_and_hup_brings_them_back() {
    let mut sim = Sim::started(plan(vec![service("web", 2), service("api", 1)]));
    sim.signal(Word::Drain);
    sim.rest();
    assert!(sim.fleet.workers.is_empty());
    sim.signal(Word::Reload);
    sim.rest();
    assert_eq!((sim.ready("web"), sim.ready("api"), hold(&sim)), (2, 1, Hold::No));
    assert_eq!(sim.fleet.serving, Generation(2));
}

#[test]
fn winch_respects_the_delay() {
    let mut sim = with_delay(5);
    sim.signal(Word::Drain);
    sim.pass(4 * SECOND);
    assert_eq!(sim.ready("web"), 2);
    sim.pass(2 * SECOND);
    assert_eq!(sim.ready("web"), 0);
}

#[test]
fn a_reload_that_is_good_ends_the_hold_without_a_gap() {
    let mut sim = with_delay(10);
    let drained = drain_web(&mut sim);
    sim.since_generation(2, Life { ready: Some(20 * SECOND), ..GOOD });
    sim.reload();
    sim.pass(15 * SECOND);
    assert_eq!(sim.ready("web"), 2, "the verdict decides, though the delay is over");
    sim.rest();
    assert_eq!((sim.generations(), hold(&sim)), (vec![(0, 2), (1, 2)], Hold::No));
    sim.refused(drained);
}

#[test]
fn a_reload_that_fails_leaves_the_hold_as_it_was() {
    let mut sim = with_delay(10);
    let drained = drain_web(&mut sim);
    sim.since_generation(2, Life { ready: None, dies_unready: Some(20 * SECOND), ..GOOD });
    sim.reload();
    sim.pass(15 * SECOND);
    assert_eq!(sim.ready("web"), 2);
    sim.rest();
    assert!(sim.fleet.workers.is_empty());
    assert!(sim.answer(drained).ok);
    sim.reload();
    sim.until("it is decided", |s| s.fleet.rollover.is_none());
    assert_eq!(hold(&sim), Hold::Held);
}

#[test]
fn a_reload_of_another_service_does_not_end_the_hold() {
    let mut sim = Sim::started(plan(vec![service("web", 2), service("api", 1)]));
    drain_web(&mut sim);
    sim.rest();
    sim.ask(Request::Reload { service: Some("api".into()), drained: false });
    sim.rest();
    assert_eq!((sim.ready("web"), sim.ready("api"), hold(&sim)), (0, 1, Hold::Held));
}

#[test]
fn winch_during_a_reload_ends_it_and_what_is_remembered() {
    let mut sim = Sim::running(2);
    sim.since_generation(2, Life { ready: Some(SECOND), ..GOOD });
    let (first, second) = (sim.reload(), sim.reload());
    sim.pass(100 * MS);
    sim.signal(Word::Drain);
    assert!(sim.refused(first).contains("all workers are drained"));
    assert!(sim.refused(second).contains("all workers are drained"));
    sim.rest();
    assert!(sim.fleet.workers.is_empty() && sim.fleet.rollover.is_none());
    assert_eq!(sim.fleet.serving, Generation(1));
}

#[test]
fn winch_in_the_middle_of_a_stepped_rollout_drains_both_generations() {
    let mut file = plan(vec![service("web", 4)]);
    file.rollout.step = Some(2);
    let mut sim = Sim::started(file);
    sim.at_seat(2, 2, Life { ready: Some(10 * SECOND), ..GOOD });
    sim.reload();
    sim.until("the second step starts", |s| s.generations() == [(0, 2), (1, 2), (2, 1), (3, 1)]);
    sim.signal(Word::Drain);
    assert_eq!(sim.ready("web"), 0);
    sim.rest();
    assert!(sim.fleet.workers.is_empty());
    resume_web(&mut sim);
    sim.rest();
    assert_eq!(sim.generations(), [(0, 1), (1, 1), (2, 1), (3, 1)]);
}

#[test]
fn a_drain_during_a_reload_is_refused() {
    let mut sim = Sim::running(1);
    sim.reload();
    let drain = drain_web(&mut sim);
    let resume = resume_web(&mut sim);
    assert!(sim.refused(drain).contains("reload is under way"));
    assert!(sim.refused(resume).contains("reload is under way"));
}

#[test]
fn a_drain_of_no_such_service_is_refused() {
    let mut sim = Sim::running(1);
    let client = sim.ask(Request::Drain { service: Some("nobody".into()) });
    assert!(sim.refused(client).contains("no service named nobody"));
}

#[test]
fn a_drain_asked_for_twice_is_one_drain_and_both_are_answered() {
    let mut sim = with_delay(2);
    let first = drain_web(&mut sim);
    sim.pass(SECOND);
    let second = drain_web(&mut sim);
    sim.pass(1100 * MS);
    assert_eq!(sim.ready("web"), 0, "the second does not begin the delay again");
    sim.rest();
    assert!(sim.answer(first).ok && sim.answer(second).ok);
    let third = drain_web(&mut sim);
    assert!(sim.answer(third).ok, "it is drained already");
}

#[test]
fn a_drain_cuts_nothing_before_the_grace() {
    let mut sim = Sim::running(1);
    let worker = sim.worker_at(0);
    sim.deafen(worker);
    drain_web(&mut sim);
    sim.pass(30 * SECOND);
    assert_eq!(sim.fleet.workers[&worker].phase, Phase::Draining);
    sim.rest();
    assert!(sim.fleet.workers.is_empty());
}
