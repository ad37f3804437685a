//! The two deadlines of a drain: `grace`, and `long_lived_grace` for what is meant to last.

use super::sim::{GOOD, Life, MS, SECOND, SLEEPER, Sim, plan, service};
use crate::model::fleet::{Draining, Step};
use crate::model::{Moment, WorkerId};
use crate::policy::{Action, DrainOrder, Event, KillSignal, Reading, Word};
use std::time::Duration;

/// What the slots of these workers say, all of them alive.
fn look(sim: &mut Sim, long_lived: bool) {
    let beat = sim.now.0;
    let reading = |id: &WorkerId| Reading { worker: *id, beat, long_lived, ..Reading::default() };
    let workers = sim.fleet.workers.keys().map(reading).collect();
    sim.tell(Event::Pulse { workers, queues: Vec::new() });
}

/// The master looks twice a second, and this is what it sees.
fn pass_looking(sim: &mut Sim, time: Duration, long_lived: bool) {
    let end = sim.now + time;
    while sim.now < end {
        sim.pass((500 * MS).min(end.since(sim.now)));
        look(sim, long_lived);
    }
}

/// A world in which the only worker does not do what a drain order says, just told to drain.
fn deaf() -> (Sim, WorkerId, Moment) {
    let mut sim = Sim::running(1);
    let worker = sim.worker_at(0);
    sim.deafen(worker);
    sim.reload();
    sim.until("it drains", |s| s.fleet.workers[&worker].drain.is_some());
    let began = sim.now;
    (sim, worker, began)
}

fn orders(sim: &Sim) -> Vec<DrainOrder> {
    let order = |a: &Action| match a {
        Action::Drain { order, .. } => Some(*order),
        _ => None,
    };
    sim.log.iter().filter_map(|(_, a)| order(a)).collect()
}

fn finished(sim: &Sim, worker: WorkerId) -> Moment {
    let test = |a: &Action| *a == Action::Finish { worker };
    sim.log.iter().find(|(_, a)| test(a)).map(|(at, _)| *at).expect("it was told to finish")
}

fn drain(sim: &Sim, worker: WorkerId) -> Draining {
    sim.fleet.workers[&worker].drain.expect("it drains")
}

#[test]
fn an_order_has_both_graces_and_the_longer_one_is_never_the_shorter() {
    for (long_lived, expected) in [(300, 300), (30, 30), (0, 30)] {
        let mut file = plan(vec![service("web", 1)]);
        file.services[0].long_lived = long_lived * SECOND;
        let mut sim = Sim::started(file);
        sim.reload();
        sim.rest();
        let [order] = orders(&sim)[..] else { panic!("one order: {:?}", orders(&sim)) };
        assert_eq!((order.grace, order.long_lived), (30 * SECOND, expected * SECOND));
    }
}

#[test]
fn who_has_nothing_that_lasts_is_gone_after_its_grace() {
    let (mut sim, worker, began) = deaf();
    pass_looking(&mut sim, 40 * SECOND, false);
    assert_eq!(finished(&sim, worker).since(began), 30 * SECOND + 500 * MS);
    assert!(!sim.fleet.workers.contains_key(&worker));
}

#[test]
fn who_has_something_that_lasts_is_let_alone_until_the_other_deadline() {
    let (mut sim, worker, began) = deaf();
    pass_looking(&mut sim, 299 * SECOND, true);
    assert_eq!(sim.count(|a| matches!(a, Action::Finish { .. } | Action::Kill { .. })), 0);
    let drain = drain(&sim, worker);
    assert_eq!([false, true].map(|lasts| drain.cut_at(lasts).since(began)), [30 * SECOND, 300 * SECOND]);
    pass_looking(&mut sim, 5 * SECOND, true);
    // The worker itself says goodbye for a second from then on.
    assert_eq!(finished(&sim, worker).since(began), 301 * SECOND + 500 * MS);
    assert_eq!(sim.noted("overdue"), 1);
}

#[test]
fn a_liar_gains_the_long_grace_and_no_more() {
    let mut sim = Sim::new(plan(vec![service("web", 1)]));
    sim.rules.push((None, None, 1..=1, Life { drains: None, finishes: false, ..GOOD }));
    sim.tell(Event::Boot);
    sim.rest();
    let worker = sim.worker_at(0);
    sim.reload();
    sim.until("it drains", |s| s.fleet.workers[&worker].drain.is_some());
    let began = sim.now;
    pass_looking(&mut sim, 302 * SECOND, true);
    assert_eq!(finished(&sim, worker).since(began), 301 * SECOND + 500 * MS);
    pass_looking(&mut sim, 2 * SECOND, true);
    assert!(!sim.fleet.workers.contains_key(&worker));
    assert_eq!(sim.count(|a| matches!(a, Action::Kill { signal: KillSignal::Kill, .. })), 1);
}

#[test]
fn what_lasted_and_has_ended_before_the_grace_gives_no_more_time() {
    let (mut sim, worker, began) = deaf();
    pass_looking(&mut sim, 20 * SECOND, true);
    pass_looking(&mut sim, 20 * SECOND, false);
    assert_eq!(finished(&sim, worker).since(began), 30 * SECOND + 500 * MS);
}

#[test]
fn where_both_deadlines_are_one_there_is_time_for_a_goodbye() {
    let mut file = plan(vec![service("web", 1)]);
    file.services[0].long_lived = 30 * SECOND;
    let mut sim = Sim::started(file);
    let worker = sim.worker_at(0);
    sim.deafen(worker);
    sim.reload();
    sim.until("it drains", |s| s.fleet.workers[&worker].drain.is_some());
    let began = sim.now;
    sim.pass(40 * SECOND);
    assert_eq!(finished(&sim, worker).since(began), 31 * SECOND + 500 * MS);
}

#[test]
fn a_worker_that_uses_its_time_is_not_told_to_finish() {
    let mut sim = Sim::running(2);
    sim.everybody(Life { drains: Some(1000 * SECOND), lasts: true, ..GOOD });
    for seat in [0, 1] {
        let worker = sim.worker_at(seat);
        sim.kill(worker);
    }
    sim.pass(5 * SECOND);
    sim.forget_log();
    sim.reload();
    pass_looking(&mut sim, 310 * SECOND, true);
    assert_eq!(sim.count(|a| matches!(a, Action::Finish { .. } | Action::Kill { .. })), 0);
    assert_eq!(sim.fleet.workers.len(), 2, "they left by themselves");
    assert_eq!(sim.count(|a| matches!(a, Action::Forget { death: true, .. })), 0);
}

#[test]
fn a_stop_gives_what_lasts_its_time_too() {
    let mut sim = Sim::running(1);
    let worker = sim.worker_at(0);
    sim.deafen(worker);
    sim.signal(Word::Quit);
    let began = sim.now;
    assert_eq!(orders(&sim)[0].long_lived, 300 * SECOND);
    pass_looking(&mut sim, 310 * SECOND, true);
    assert_eq!(finished(&sim, worker).since(began), 301 * SECOND + 500 * MS);
    assert_eq!(sim.left, Some(0));
}

#[test]
fn a_stop_during_a_drain_moves_neither_deadline() {
    let (mut sim, worker, began) = deaf();
    pass_looking(&mut sim, 100 * SECOND, true);
    let before = drain(&sim, worker);
    sim.forget_log();
    sim.signal(Word::Quit);
    let again = |a: &Action| {
        matches!(a, Action::Drain { worker: id, order } if *id == worker
        && (order.grace, order.long_lived) == (Duration::ZERO, (began + 300 * SECOND).since(sim.now)))
    };
    assert_eq!(sim.count(again), 1, "{:?}", orders(&sim));
    let after = drain(&sim, worker);
    assert_eq!((after.until, after.end()), (before.until, before.end()));
    pass_looking(&mut sim, 210 * SECOND, true);
    assert_eq!(finished(&sim, worker).since(began), 301 * SECOND + 500 * MS);
    assert_eq!(sim.left, Some(0));
}

#[test]
fn a_fast_stop_waits_for_nothing_that_lasts() {
    let (mut sim, worker, _) = deaf();
    pass_looking(&mut sim, 100 * SECOND, true);
    let asked = sim.now;
    sim.signal(Word::Interrupt);
    assert_eq!(finished(&sim, worker), asked);
    sim.rest();
    assert!(sim.now.since(asked) < 2 * SECOND);
}

#[test]
fn a_reload_that_waits_for_room_gives_the_oldest_its_grace_and_not_the_long_one() {
    let mut file = plan(vec![service("web", 1)]);
    file.max_draining = 1;
    let mut sim = Sim::started(file);
    let worker = sim.worker_at(0);
    sim.deafen(worker);
    sim.reload();
    sim.until("it drains", |s| s.fleet.workers[&worker].drain.is_some());
    let began = sim.now;
    pass_looking(&mut sim, 10 * SECOND, true);
    sim.reload();
    pass_looking(&mut sim, 15 * SECOND, true);
    assert_eq!(sim.fleet.rollover.as_ref().map(|r| r.step), Some(Step::WaitingForRoom));
    pass_looking(&mut sim, 10 * SECOND, true);
    assert_eq!(finished(&sim, worker).since(began), 30 * SECOND);
    assert_eq!(sim.noted("cut_short"), 1);
    assert_eq!(sim.fleet.serving.0, 3);
}

#[test]
fn a_reload_that_comes_after_the_grace_of_what_lasts_waits_for_nothing() {
    let mut file = plan(vec![service("web", 1)]);
    file.max_draining = 1;
    let mut sim = Sim::started(file);
    let worker = sim.worker_at(0);
    sim.deafen(worker);
    sim.reload();
    pass_looking(&mut sim, 100 * SECOND, true);
    let asked = sim.now;
    sim.reload();
    assert_eq!(finished(&sim, worker), asked);
    pass_looking(&mut sim, SECOND, true);
    assert_eq!(sim.fleet.serving.0, 3);
}

#[test]
fn a_worker_that_stands_still_is_killed_in_its_drain_as_well() {
    let (mut sim, worker, began) = deaf();
    pass_looking(&mut sim, 100 * SECOND, true);
    let since = sim.now;
    while sim.fleet.workers.contains_key(&worker) {
        sim.pass(500 * MS);
        let reading = |id: &WorkerId| {
            let beat = if *id == worker { since.0 } else { sim.now.0 };
            Reading { worker: *id, beat, long_lived: true, ..Reading::default() }
        };
        let workers = sim.fleet.workers.keys().map(reading).collect();
        sim.tell(Event::Pulse { workers, queues: Vec::new() });
        assert!(sim.now.since(began) < 200 * SECOND, "the watchdog sees it");
    }
    assert_eq!(sim.noted("hung"), 1);
    assert!(sim.now.since(since) >= 30 * SECOND);
}

#[test]
fn who_was_not_ready_when_told_has_one_grace_for_everything() {
    let mut sim = Sim::running(2);
    sim.at_seat(0, 2, Life { ready: Some(500 * MS), drains: None, ..GOOD });
    sim.at_seat(1, 2, Life { dies_unready: Some(MS), ..SLEEPER });
    sim.reload();
    sim.until("it is decided", |s| s.fleet.rollover.is_none());
    let late = *sim.fleet.workers.iter().find(|(_, w)| w.generation.0 == 2).expect("one is left").0;
    let told = drain(&sim, late);
    assert_eq!(told.end(), told.until);
    pass_looking(&mut sim, 60 * SECOND, true);
    assert!(!sim.fleet.workers.contains_key(&late), "gone with its grace");
}
