//! Another pool size without a reload: `scale`, TTIN, TTOU, and the pool-size rule.

use super::sim::{GOOD, Life, MS, SECOND, STILLBORN, Sim, plan, service};
use crate::model::fleet::{DrainWhy, Load, Service};
use crate::model::plan::Pool;
use crate::model::{Moment, ServiceName, WorkerId};
use crate::policy::pool_size::{Change, observe};
use crate::policy::{Action, Event, Queue, Reading, Request, Word};
use std::time::Duration;

fn web(sim: &Sim) -> &Service {
    &sim.fleet.services[&ServiceName::from("web")]
}

fn scale(sim: &mut Sim, workers: u32) -> crate::model::ClientId {
    sim.ask(Request::Scale { service: "web".into(), workers })
}

fn ranged(min: u32, max: u32) -> Sim {
    let mut file = plan(vec![service("web", 1)]);
    file.services[0].pool = Pool::Range { min, max };
    Sim::started(file)
}

#[test]
fn growing_opens_the_sockets_before_the_workers_start() {
    let mut sim = Sim::running(2);
    sim.forget_log();
    let client = scale(&mut sim, 4);
    assert_eq!(sim.count(|a| matches!(a, Action::OpenSeats { seats: 4, .. })), 1);
    assert_eq!((sim.spawns(), web(&sim).wanted), (0, 2));
    sim.rest();
    assert_eq!((sim.ready("web"), web(&sim).wanted, web(&sim).scaled), (4, 4, true));
    assert_eq!(sim.answer(client).text, "scaled: web has 4 workers");
}

#[test]
fn sockets_that_cannot_be_had_leave_the_pool_as_it_was() {
    let mut sim = Sim::running(2);
    sim.seats_fail = Some("too many open files".to_owned());
    let client = scale(&mut sim, 4);
    sim.rest();
    assert_eq!((sim.ready("web"), web(&sim).wanted, web(&sim).scaled), (2, 2, false));
    assert!(sim.refused(client).contains("can't grow to 4 workers: too many open files"));
}

#[test]
fn shrinking_steers_away_from_the_highest_seats_before_they_take_the_last_call() {
    let mut sim = Sim::running(4);
    sim.forget_log();
    let client = scale(&mut sim, 2);
    let of = |test: fn(&Action) -> bool| sim.log.iter().position(|(_, a)| test(a)).expect("it is done");
    let retired = of(|a| matches!(a, Action::RetireSeats { keep: 2, .. }));
    let drained = of(|a| matches!(a, Action::Drain { order, .. } if order.why == DrainWhy::Surplus));
    assert!(retired < drained);
    assert_eq!(sim.generations(), [(0, 1), (1, 1)]);
    assert!(sim.answer(client).ok);
    let why: Vec<_> = sim.fleet.workers.values().filter_map(|w| w.drain.map(|d| d.why)).collect();
    assert_eq!(why, [DrainWhy::Surplus, DrainWhy::Surplus]);
    sim.rest();
    assert_eq!(sim.fleet.workers.len(), 2);
}

#[test]
fn a_pool_may_grow_again_while_its_surplus_drains() {
    let mut sim = Sim::running(2);
    scale(&mut sim, 1);
    scale(&mut sim, 2);
    sim.rest();
    assert_eq!(sim.generations(), [(0, 1), (1, 1)]);
}

#[test]
fn more_and_fewer_move_every_service_by_one() {
    let mut sim = Sim::started(plan(vec![service("web", 2), service("api", 1)]));
    sim.signal(Word::More);
    sim.rest();
    assert_eq!((sim.ready("web"), sim.ready("api")), (3, 2));
    assert!(web(&sim).scaled, "it is shown in status");
    sim.signal(Word::Fewer);
    sim.rest();
    assert_eq!((sim.ready("web"), sim.ready("api")), (2, 1));
    sim.signal(Word::Fewer);
    sim.rest();
    assert_eq!((sim.ready("web"), sim.ready("api")), (1, 1), "the last one stays");
    assert_eq!(sim.noted("scale_refused"), 1);
}

#[test]
fn bounds_of_the_config_hold_for_everybody() {
    let mut sim = ranged(2, 3);
    let (few, many) = (scale(&mut sim, 1), scale(&mut sim, 4));
    assert!(sim.refused(few).contains("between 2 and 3"));
    assert!(sim.refused(many).contains("between 2 and 3"));
    (0..3).for_each(|_| {
        sim.signal(Word::More);
        sim.rest();
    });
    assert_eq!(sim.ready("web"), 3);
    (0..3).for_each(|_| sim.signal(Word::Fewer));
    sim.rest();
    assert_eq!(sim.ready("web"), 2);
}

#[test]
fn no_worker_and_too_many_workers_are_refused() {
    let mut sim = Sim::running(1);
    let (none, most) = (scale(&mut sim, 0), scale(&mut sim, 513));
    assert!(sim.refused(none).contains("masterd drain web"));
    assert!(sim.refused(most).contains("more than 512"));
    let nobody = sim.ask(Request::Scale { service: "nobody".into(), workers: 2 });
    assert!(sim.refused(nobody).contains("no service named nobody"));
}

#[test]
fn scaling_during_a_reload_a_hold_or_a_growth_is_refused() {
    let mut sim = Sim::running(1);
    let first = scale(&mut sim, 2);
    let second = scale(&mut sim, 3);
    assert!(sim.refused(second).contains("just growing"));
    sim.rest();
    assert!(sim.answer(first).ok);
    sim.reload();
    let during = scale(&mut sim, 3);
    assert!(sim.refused(during).contains("reload is under way"));
    sim.signal(Word::More);
    sim.rest();
    sim.signal(Word::Drain);
    let held = scale(&mut sim, 3);
    assert!(sim.refused(held).contains("resume it first"));
    sim.rest();
    assert_eq!(web(&sim).wanted, 1, "the reload has set it back, and nobody moved it since");
}

#[test]
fn a_size_set_by_hand_survives_a_crash_and_ends_at_the_next_good_reload() {
    let mut sim = Sim::running(1);
    scale(&mut sim, 3);
    sim.rest();
    sim.pass(2 * SECOND);
    let worker = sim.worker_at(2);
    sim.kill(worker);
    sim.rest();
    assert_eq!(sim.ready("web"), 3);
    sim.rules.push((None, None, 2..=2, STILLBORN));
    sim.reload();
    sim.rest();
    assert_eq!((sim.ready("web"), web(&sim).scaled), (3, true), "a reload that fails changes nothing");
    sim.reload();
    sim.rest();
    assert_eq!((sim.ready("web"), web(&sim).scaled), (1, false));
}

#[test]
fn sockets_that_come_after_a_reload_made_them_pointless_are_retired() {
    let mut sim = Sim::running(1);
    let client = scale(&mut sim, 3);
    sim.lose_answer();
    sim.reload();
    sim.rest();
    assert!(sim.refused(client).contains("was set to 1 workers before it had the 3 asked for"));
    sim.forget_log();
    sim.tell(Event::SeatsOpened { service: "web".into(), result: Ok(()) });
    assert_eq!(sim.count(|a| matches!(a, Action::RetireSeats { keep: 1, .. })), 1);
    sim.rest();
    assert_eq!(sim.ready("web"), 1);
}

#[test]
fn who_waits_for_a_pool_that_does_not_come_up_is_told_why() {
    let mut sim = Sim::running(1);
    sim.at_seat(1, 0, STILLBORN);
    let client = scale(&mut sim, 2);
    sim.pass(2 * SECOND);
    let text = sim.refused(client);
    assert!(
        text.contains("does not come up") && text.contains("web/1") && text.contains("SIGSEGV"),
        "{text}"
    );
}

#[test]
fn who_waits_for_a_worker_that_is_never_ready_is_told_at_the_timeout() {
    let mut sim = Sim::running(1);
    sim.at_seat(1, 0, super::sim::SLEEPER);
    let client = scale(&mut sim, 2);
    sim.pass(31 * SECOND);
    assert!(sim.refused(client).contains("not ready after 30.0s"));
}

const START: Moment = Moment(1_000_000_000_000);

/// Looks every 100 ms for this long; a busy share of 0..=1 over all workers. The first change, and when.
fn look(load: &mut Load, from: Duration, time: Duration, busy: f64, queued: bool) -> Option<(Change, u64)> {
    let mut at = from;
    while at <= from + time {
        let total = (at.as_nanos() as f64 * busy * 2.0) as u64;
        if let Some(change) = observe(load, START + at, total, 2, queued) {
            return Some((change, u64::try_from((at - from).as_millis()).unwrap_or(u64::MAX)));
        }
        at += 100 * MS;
    }
    None
}

#[test]
fn above_three_quarters_busy_for_a_second_wants_one_more() {
    let mut load = Load::default();
    assert_eq!(look(&mut load, SECOND, 5 * SECOND, 0.8, false), Some((Change::More, 1_000)));
    assert!((load.busy - 0.8).abs() < 0.01);
    assert_eq!(look(&mut Load::default(), SECOND, 100 * SECOND, 0.7, false), None);
}

#[test]
fn a_queue_that_is_not_empty_for_a_second_wants_one_more() {
    assert_eq!(look(&mut Load::default(), SECOND, 5 * SECOND, 0.1, true), Some((Change::More, 1_000)));
    let mut load = Load::default();
    assert_eq!(look(&mut load, SECOND, 900 * MS, 0.5, true), None);
    assert_eq!(look(&mut load, 2 * SECOND, 100 * MS, 0.5, false), None);
    assert_eq!(look(&mut load, 3 * SECOND, 900 * MS, 0.5, true), None, "it was empty once");
}

#[test]
fn below_a_quarter_busy_for_a_minute_wants_one_fewer() {
    assert_eq!(look(&mut Load::default(), SECOND, 100 * SECOND, 0.2, false), Some((Change::Fewer, 60_000)));
    assert_eq!(look(&mut Load::default(), SECOND, 100 * SECOND, 0.3, false), None);
}

#[test]
fn a_busy_second_begins_the_quiet_minute_again() {
    let mut load = Load::default();
    assert_eq!(look(&mut load, SECOND, 50 * SECOND, 0.1, false), None);
    // From 0.1 to 0.5 in all: a burst within one window, and quiet again.
    assert_eq!(look(&mut load, 52 * SECOND, SECOND, 0.11, false), None);
    assert_eq!(look(&mut load, 53 * SECOND, 50 * SECOND, 0.11, false), None);
}

/// Figures every 100 ms: each worker's loop has this share of work.
fn pulses(sim: &mut Sim, time: Duration, busy: f64, waiting: u32) {
    let end = sim.now + time;
    while sim.now < end {
        sim.pass(100 * MS);
        let busy_total = (sim.now.0 as f64 * busy) as u64;
        let reading =
            |id: &WorkerId| Reading { worker: *id, beat: sim.now.0, busy_total, ..Reading::default() };
        let workers = sim.fleet.workers.keys().map(reading).collect();
        let queues = vec![Queue { service: "web".into(), seat: None, waiting }];
        sim.tell(Event::Pulse { workers, queues });
    }
}

#[test]
fn a_busy_pool_grows_to_its_most_and_a_quiet_one_shrinks_to_its_least() {
    let mut sim = ranged(1, 3);
    pulses(&mut sim, 5 * SECOND, 0.9, 0);
    assert_eq!((sim.ready("web"), web(&sim).scaled), (3, false));
    pulses(&mut sim, 59 * SECOND, 0.1, 0);
    assert_eq!(sim.ready("web"), 3);
    pulses(&mut sim, 5 * SECOND, 0.1, 0);
    assert_eq!(sim.ready("web"), 2);
    pulses(&mut sim, 200 * SECOND, 0.1, 0);
    assert_eq!(sim.ready("web"), 1);
}

#[test]
fn a_queue_makes_a_pool_grow() {
    let mut sim = ranged(1, 2);
    pulses(&mut sim, 2 * SECOND, 0.3, 7);
    assert_eq!(sim.ready("web"), 2);
}

#[test]
fn a_fixed_pool_a_held_one_and_one_that_crash_loops_keep_their_size() {
    let mut fixed = Sim::running(1);
    pulses(&mut fixed, 5 * SECOND, 0.9, 7);
    assert_eq!(web(&fixed).wanted, 1);
    let mut held = ranged(1, 3);
    held.signal(Word::Drain);
    pulses(&mut held, 5 * SECOND, 0.9, 7);
    assert_eq!(web(&held).wanted, 1);
    let mut crashing = ranged(1, 3);
    crashing.everybody(Life { dies_unready: Some(MS), ..GOOD });
    let worker = crashing.worker_at(0);
    crashing.kill(worker);
    pulses(&mut crashing, 5 * SECOND, 0.9, 7);
    assert_eq!(web(&crashing).wanted, 1);
}

#[test]
fn sockets_that_cannot_be_had_are_asked_for_once_a_second_at_most() {
    let mut sim = ranged(1, 3);
    sim.seats_fail = Some("no".to_owned());
    pulses(&mut sim, 10 * SECOND, 0.9, 7);
    let asked = sim.count(|a| matches!(a, Action::OpenSeats { .. }));
    assert!((5..=10).contains(&asked), "{asked}");
}
