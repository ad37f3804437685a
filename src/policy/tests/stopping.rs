//! The end, asked for at any time.

use super::sim::{GOOD, Life, MS, SECOND, SLEEPER, Sim, plan, service};
use crate::model::fleet::{DrainWhy, Stage, Step};
use crate::model::plan::Plan;
use crate::model::{Moment, Phase};
use crate::policy::{Action, Event, KillSignal, Request, Word};

fn orders(sim: &Sim) -> Vec<crate::policy::DrainOrder> {
    let order = |a: &Action| match a {
        Action::Drain { order, .. } => Some(*order),
        _ => None,
    };
    sim.log.iter().filter_map(|(_, a)| order(a)).collect()
}

fn first(sim: &Sim, test: impl Fn(&Action) -> bool) -> Moment {
    sim.log.iter().find(|(_, a)| test(a)).map(|(at, _)| *at).expect("it was done")
}

fn with_delay(seconds: u32) -> Plan {
    let mut file = plan(vec![service("web", 2)]);
    file.services[0].delay = seconds * SECOND;
    file
}

#[test]
fn a_graceful_stop_fences_then_serves_what_is_there_to_its_end() {
    let mut sim = Sim::running(2);
    sim.forget_log();
    let client = sim.ask(Request::Stop { fast: false });
    assert_eq!(sim.count(|a| matches!(a, Action::Fence { .. })), 1);
    let orders = orders(&sim);
    assert_eq!(orders.len(), 2);
    assert!(orders.iter().all(|o| o.why == DrainWhy::Stop));
    assert!(sim.unanswered().is_some());
    sim.rest();
    assert_eq!(sim.left, Some(0));
    assert!(sim.answer(client).ok);
    assert_eq!(sim.count(|a| matches!(a, Action::Kill { .. } | Action::Finish { .. })), 0);
    assert_eq!(sim.fleet.state_word(), "stopping");
}

#[test]
fn readiness_fails_for_the_delay_before_the_fence() {
    let mut sim = Sim::started(with_delay(10));
    sim.forget_log();
    sim.signal(Word::Quit);
    assert_eq!(sim.count(|a| matches!(a, Action::Readiness { ready: false, .. })), 2);
    assert_eq!(sim.ready("web"), 2, "new connections are welcome");
    let began = sim.now;
    sim.rest();
    let fenced = first(&sim, |a| matches!(a, Action::Fence { .. })).since(began);
    assert_eq!(fenced, 10 * SECOND);
    assert_eq!(sim.left, Some(0));
}

#[test]
fn a_worker_that_comes_up_during_the_delay_helps_until_the_fence() {
    let mut sim = Sim::started(with_delay(10));
    sim.everybody(Life { ready: Some(SECOND), ..GOOD });
    let worker = sim.worker_at(0);
    sim.kill(worker);
    sim.signal(Word::Quit);
    sim.pass(2 * SECOND);
    assert_eq!(sim.ready("web"), 2);
    let late = sim.worker_at(0);
    let unready = |a: &Action| matches!(a, Action::Readiness { worker, ready: false } if *worker == late);
    assert_eq!(sim.count(unready), 1);
    sim.rest();
    assert_eq!(sim.left, Some(0));
}

#[test]
fn a_stop_whose_workers_all_die_does_not_wait_for_the_delay() {
    let mut sim = Sim::started(with_delay(1000));
    sim.signal(Word::Quit);
    for seat in [0, 1] {
        let worker = sim.worker_at(seat);
        sim.kill(worker);
    }
    assert_eq!(sim.left, Some(0));
}

#[test]
fn a_client_that_does_not_end_holds_the_stop_until_the_grace_and_no_longer() {
    let mut sim = Sim::running(1);
    let worker = sim.worker_at(0);
    sim.deafen(worker);
    sim.signal(Word::Quit);
    let began = sim.now;
    sim.rest();
    let took = sim.now.since(began);
    assert!(took >= 30 * SECOND && took <= 31 * SECOND, "{took:?}");
    assert_eq!(sim.left, Some(0));
}

#[test]
fn a_fast_stop_cuts_at_once_and_kills_after_a_second() {
    let mut sim = Sim::running(2);
    sim.everybody(Life { finishes: false, ..GOOD });
    let worker = sim.worker_at(0);
    sim.kill(worker);
    sim.pass(2 * SECOND);
    sim.forget_log();
    let began = sim.now;
    sim.signal(Word::Interrupt);
    assert_eq!(sim.count(|a| matches!(a, Action::Finish { .. })), 2);
    assert_eq!(sim.count(|a| matches!(a, Action::Kill { signal: KillSignal::Term, .. })), 2);
    sim.rest();
    let killed = first(&sim, |a| matches!(a, Action::Kill { signal: KillSignal::Kill, .. }));
    assert_eq!(killed.since(began), SECOND);
    assert_eq!(sim.count(|a| matches!(a, Action::Kill { signal: KillSignal::Kill, .. })), 1);
    assert_eq!(sim.left, Some(0));
}

#[test]
fn term_is_graceful_and_a_second_term_is_fast() {
    let mut sim = Sim::running(1);
    let worker = sim.worker_at(0);
    sim.deafen(worker);
    sim.signal(Word::Terminate);
    assert_eq!(sim.fleet.stage, Stage::Stopping { fast: false, code: 0 });
    sim.pass(SECOND);
    sim.signal(Word::Terminate);
    assert_eq!(sim.fleet.stage, Stage::Stopping { fast: true, code: 0 });
    let began = sim.now;
    sim.rest();
    assert!(sim.now.since(began) <= 10 * MS);
    assert_eq!(sim.left, Some(0));
}

#[test]
fn term_is_fast_at_once_if_the_config_says_so() {
    let mut file = plan(vec![service("web", 1)]);
    file.sigterm_fast = true;
    let mut sim = Sim::started(file);
    sim.signal(Word::Terminate);
    assert_eq!(sim.fleet.stage, Stage::Stopping { fast: true, code: 0 });
}

#[test]
fn quit_twice_is_still_graceful_and_quit_after_int_is_still_fast() {
    let mut sim = Sim::running(1);
    sim.signal(Word::Quit);
    sim.signal(Word::Quit);
    assert_eq!(sim.fleet.stage, Stage::Stopping { fast: false, code: 0 });
    sim.signal(Word::Interrupt);
    sim.signal(Word::Quit);
    assert_eq!(sim.fleet.stage, Stage::Stopping { fast: true, code: 0 });
}

#[test]
fn a_fast_stop_ends_the_delay_of_a_graceful_one() {
    let mut sim = Sim::started(with_delay(1000));
    sim.signal(Word::Quit);
    sim.pass(SECOND);
    let began = sim.now;
    sim.signal(Word::Interrupt);
    sim.rest();
    assert!(sim.now.since(began) <= 2 * SECOND);
    assert_eq!(sim.left, Some(0));
}

#[test]
fn a_fast_stop_cuts_workers_short_that_a_reload_has_let_drain() {
    let mut sim = Sim::running(1);
    let worker = sim.worker_at(0);
    sim.deafen(worker);
    sim.reload();
    sim.pass(SECOND);
    let began = sim.now;
    sim.signal(Word::Interrupt);
    sim.rest();
    assert!(sim.now.since(began) <= 10 * MS);
}

#[test]
fn a_stop_takes_a_reload_back_and_tells_who_asked() {
    let steps: [fn(&Sim) -> bool; 3] = [
        |s| s.is_reading(),
        |s| s.fleet.rollover.as_ref().is_some_and(|r| r.step == Step::Starting),
        |s| matches!(s.fleet.rollover.as_ref().map(|r| r.step), Some(Step::Soaking(_))),
    ];
    for step in steps {
        let mut sim = Sim::running(2);
        sim.file().rollout.soak = 10 * SECOND;
        let (first, second) = (sim.reload(), sim.reload());
        sim.until("the step is reached", step);
        let stop = sim.ask(Request::Stop { fast: false });
        assert_eq!(sim.refused(first), "masterd is stopping");
        assert!(sim.refused(second).contains("stopping: no reload"));
        sim.rest();
        assert_eq!(sim.left, Some(0));
        assert!(sim.answer(stop).ok);
        assert_eq!(sim.count(|a| matches!(a, Action::Kill { .. })), 0);
    }
}

#[test]
fn a_stop_in_a_stepped_rollout_lets_stand_ins_serve_until_the_fence() {
    let mut file = with_delay(10);
    file.rollout.step = Some(1);
    let mut sim = Sim::started(file);
    sim.at_seat(1, 2, Life { ready: Some(20 * SECOND), ..GOOD });
    sim.reload();
    sim.until("the first step is done", |s| s.generations() == [(0, 2), (1, 1)]);
    sim.signal(Word::Quit);
    assert_eq!(sim.generations(), [(0, 2), (1, 1)]);
    sim.rest();
    assert_eq!(sim.left, Some(0));
    let last = sim.count(|a| matches!(a, Action::Drain { order, .. } if order.why == DrainWhy::Stop));
    assert_eq!(last, 2, "each seat's queue has somebody who serves it to the end");
}

#[test]
fn a_reload_is_refused_while_masterd_stops() {
    let mut sim = Sim::running(1);
    sim.signal(Word::Quit);
    let client = sim.reload();
    sim.signal(Word::Reload);
    assert!(sim.refused(client).contains("stopping"));
    sim.rest();
    assert_eq!(sim.left, Some(0));
}

#[test]
fn a_stop_while_the_config_is_read_lets_go_of_the_plan_that_comes_too_late() {
    let mut sim = Sim::running(1);
    let worker = sim.worker_at(0);
    sim.deafen(worker);
    sim.reload();
    sim.signal(Word::Quit);
    sim.pass(SECOND);
    assert_eq!(sim.count(|a| matches!(a, Action::DropPlan { .. })), 1);
    assert_eq!(sim.fleet.plans.len(), 1);
}

#[test]
fn a_stop_during_the_start_ends_what_has_come_up_and_what_has_not() {
    for word in [Word::Quit, Word::Terminate, Word::Interrupt] {
        let mut sim = Sim::new(plan(vec![service("web", 3)]));
        sim.at_seat(1, 1, Life { ready: Some(500 * MS), ..GOOD });
        sim.at_seat(2, 1, SLEEPER);
        sim.tell(Event::Boot);
        sim.until("one is ready", |s| s.ready("web") == 1);
        let began = sim.now;
        sim.signal(word);
        sim.rest();
        assert_eq!(sim.left, Some(0), "{word:?}");
        assert!(sim.now.since(began) < 4 * SECOND);
    }
}

#[test]
fn a_stop_before_anything_has_started_leaves_at_once() {
    let mut sim = Sim::new(plan(vec![service("web", 1)]));
    sim.signal(Word::Quit);
    assert_eq!(sim.left, Some(0));
}

#[test]
fn a_stop_of_a_drained_master_leaves_at_once() {
    let mut sim = Sim::started(with_delay(10));
    sim.signal(Word::Drain);
    sim.rest();
    sim.signal(Word::Quit);
    assert_eq!(sim.left, Some(0));
}

#[test]
fn a_stop_within_the_delay_of_a_drain_serves_the_queues_to_their_end() {
    let mut sim = Sim::started(with_delay(10));
    sim.signal(Word::Drain);
    sim.pass(4 * SECOND);
    let began = sim.now;
    sim.signal(Word::Quit);
    sim.rest();
    let fenced = first(&sim, |a| matches!(a, Action::Fence { .. })).since(began);
    assert_eq!(fenced, 6 * SECOND, "readiness has failed for four seconds already");
    assert!(orders(&sim).iter().all(|o| o.why == DrainWhy::Stop));
}

#[test]
fn a_worker_that_drains_already_is_told_that_nobody_comes_after_it() {
    let mut sim = Sim::running(1);
    let worker = sim.worker_at(0);
    sim.deafen(worker);
    sim.reload();
    sim.pass(10 * SECOND);
    sim.forget_log();
    sim.signal(Word::Quit);
    let again = sim.log.iter().find_map(|(_, a)| match a {
        Action::Drain { worker: id, order } if *id == worker => Some(*order),
        _ => None,
    });
    let again = again.expect("it is told again");
    assert_eq!(again.why, DrainWhy::Stop);
    assert!(again.grace < 21 * SECOND, "its time runs from the first order");
    assert_eq!(sim.fleet.workers[&worker].drain.map(|d| d.why), Some(DrainWhy::Stop));
    sim.rest();
    assert_eq!(sim.left, Some(0));
}

#[test]
fn a_stop_answers_everybody_who_waits() {
    let mut sim = Sim::running(2);
    let worker = sim.worker_at(0);
    sim.deafen(worker);
    let drained = sim.ask(Request::Reload { service: None, drained: true });
    sim.pass(SECOND);
    sim.since_generation(0, SLEEPER);
    let scaled = sim.ask(Request::Scale { service: "web".into(), workers: 4 });
    sim.pass(SECOND);
    let stop = sim.ask(Request::Stop { fast: false });
    let fast = sim.ask(Request::Stop { fast: true });
    sim.rest();
    assert_eq!(sim.unanswered(), None);
    assert!(sim.refused(scaled).contains("stopping"));
    assert!(sim.answer(drained).ok && sim.answer(stop).ok && sim.answer(fast).ok);
}

#[test]
fn nobody_is_started_after_the_word_to_stop() {
    let mut sim = Sim::running(2);
    let worker = sim.worker_at(0);
    sim.kill(worker);
    sim.forget_log();
    sim.signal(Word::Quit);
    sim.rest();
    assert_eq!(sim.spawns(), 0);
    assert!(sim.fleet.workers.values().all(|w| w.phase != Phase::Starting));
}

#[test]
fn the_first_term_after_a_quit_is_still_graceful() {
    let mut sim = Sim::running(2);
    sim.signal(Word::Quit);
    sim.signal(Word::Terminate);
    assert!(matches!(sim.fleet.stage, Stage::Stopping { fast: false, .. }));
    sim.signal(Word::Terminate);
    assert!(matches!(sim.fleet.stage, Stage::Stopping { fast: true, .. }));
}

#[test]
fn a_stop_during_the_start_lets_what_it_bound_be_served_to_its_end() {
    let mut sim = Sim::new(plan(vec![service("web", 2)]));
    sim.tell(Event::Boot);
    let plan = sim.fleet.plan;
    sim.signal(Word::Quit);
    assert_eq!(sim.count(|a| *a == Action::Abandon { plan }), 1);
}
