//! Workers that die early: how soon their successors are tried, and when no more.

use super::sim::{GOOD, Life, MS, SECOND, SLEEPER, STILLBORN, Sim, plan, service};
use crate::model::fleet::Backoff;
use crate::model::{Moment, Phase, ServiceName};
use crate::policy::{Action, Request};
use std::time::Duration;

/// Ready, and dead half a second later: early all the same.
const SHORT: Life = Life { dies_ready: Some(Duration::from_millis(500)), ..GOOD };

fn streak(sim: &Sim) -> Backoff {
    sim.fleet.services[&ServiceName::from("web")].backoff
}

/// When workers were spawned, in milliseconds since the first early death.
fn spawn_times(sim: &Sim, since: Moment) -> Vec<u128> {
    let spawned =
        |(at, a): &(Moment, Action)| matches!(a, Action::Spawn { .. }).then_some(at.since(since).as_millis());
    sim.log.iter().filter_map(spawned).collect()
}

/// All workers are killed, and from then on their successors live like this.
fn crash(workers: u32, life: Life) -> Sim {
    let mut sim = Sim::running(workers);
    sim.everybody(life);
    sim.forget_log();
    let all: Vec<_> = sim.fleet.workers.keys().copied().collect();
    all.into_iter().for_each(|id| sim.kill(id));
    sim
}

#[test]
fn a_worker_that_dies_after_a_second_of_being_ready_is_replaced_at_once() {
    let mut sim = Sim::running(2);
    sim.forget_log();
    let worker = sim.worker_at(1);
    sim.kill(worker);
    assert_eq!(sim.spawns(), 1);
    assert_eq!(streak(&sim), Backoff::default());
    sim.pass(10 * MS);
    assert_eq!(sim.ready("web"), 2);
}

#[test]
fn delays_double_from_the_least_to_the_most() {
    let mut sim = crash(1, STILLBORN);
    let began = sim.now;
    sim.pass(200 * SECOND);
    let times = spawn_times(&sim, began);
    let gaps: Vec<u128> = times.windows(2).map(|w| w[1] - w[0]).collect();
    let expected = [102, 202, 402, 802, 1602, 3202, 6402, 12802, 25602, 30002, 30002];
    assert_eq!(gaps[..expected.len()], expected, "each try lives for 2 ms");
}

#[test]
fn the_least_and_the_most_are_the_config_s() {
    let mut file = plan(vec![service("web", 1)]);
    (file.services[0].backoff_min, file.services[0].backoff_max) = (SECOND, 2 * SECOND);
    let mut sim = Sim::started(file);
    sim.everybody(STILLBORN);
    sim.forget_log();
    let (worker, began) = (sim.worker_at(0), sim.now);
    sim.kill(worker);
    sim.pass(20 * SECOND);
    assert_eq!(spawn_times(&sim, began)[..4], [0, 1002, 3004, 5006]);
}

fn at_most_ten_in_ten_seconds(workers: u32, life: Life) {
    let mut sim = crash(workers, life);
    sim.until("the first dies early", |s| streak(s).early_deaths > 0);
    let replaced_at_once = sim.spawns();
    assert_eq!(replaced_at_once, workers as usize);
    sim.pass(10 * SECOND);
    let tries = sim.spawns() - replaced_at_once;
    assert!((4..=10).contains(&tries), "{tries} tries");
    assert!(streak(&sim).early_deaths >= 4);
}

#[test]
fn a_crash_loop_before_ready_spawns_at_most_ten_in_ten_seconds() {
    [1, 4, 64].into_iter().for_each(|workers| at_most_ten_in_ten_seconds(workers, STILLBORN));
}

#[test]
fn a_crash_loop_after_ready_spawns_at_most_ten_in_ten_seconds() {
    [1, 4, 64].into_iter().for_each(|workers| at_most_ten_in_ten_seconds(workers, SHORT));
}

#[test]
fn a_fork_that_fails_again_and_again_is_a_crash_loop() {
    [1, 4, 64].into_iter().for_each(|n| at_most_ten_in_ten_seconds(n, Life { forks: false, ..GOOD }));
}

#[test]
fn a_pool_of_ten_or_fewer_crash_loops_within_ten_spawns_in_all() {
    for life in [STILLBORN, SHORT] {
        let mut sim = crash(4, life);
        sim.pass(10 * SECOND);
        assert!(sim.spawns() <= 10, "{} spawns", sim.spawns());
    }
}

#[test]
fn a_worker_that_is_never_ready_counts_when_it_is_killed() {
    let mut sim = crash(1, SLEEPER);
    sim.until("it is killed", |s| s.noted("hung") == 1);
    assert_eq!(streak(&sim).early_deaths, 1);
    assert_eq!(sim.spawns(), 1, "its successor waits");
    sim.pass(50 * MS);
    assert_eq!(streak(&sim).early_deaths, 1, "and its end does not count again");
    sim.pass(60 * MS);
    assert_eq!(sim.spawns(), 2);
}

#[test]
fn one_worker_is_tried_at_a_time_until_it_has_proved_itself() {
    let mut sim = crash(4, STILLBORN);
    sim.until("it is throttled", |s| streak(s).early_deaths == 1);
    sim.everybody(GOOD);
    sim.until("all are gone", |s| s.fleet.workers.is_empty());
    sim.until("one is tried", |s| s.fleet.workers.len() == 1);
    sim.pass(900 * MS);
    assert_eq!(sim.fleet.workers.len(), 1);
    sim.pass(200 * MS);
    assert_eq!(sim.fleet.workers.len(), 3, "then two more");
    sim.pass(SECOND);
    assert_eq!(sim.fleet.workers.len(), 4);
}

#[test]
fn each_proof_makes_room_for_more_tries_at_once() {
    let mut sim = crash(8, STILLBORN);
    sim.until("it is throttled", |s| streak(s).early_deaths == 1);
    sim.everybody(GOOD);
    sim.until("all are gone", |s| s.fleet.workers.is_empty());
    sim.until("one is tried", |s| s.ready("web") == 1);
    sim.everybody(Life { ready: Some(900 * MS), ..GOOD });
    sim.pass(500 * MS);
    sim.rules.pop();
    sim.pass(600 * MS);
    assert_eq!(sim.fleet.workers.len(), 3, "the first has proved itself");
    let slow = *sim.fleet.workers.keys().last().expect("the newest");
    sim.tell(crate::policy::Event::Ready { worker: slow });
    assert_eq!(sim.ready("web"), 3);
    sim.pass(SECOND);
    assert_eq!(sim.fleet.workers.len(), 7);
}

#[test]
fn a_large_pool_recovers_in_seconds_by_doubling() {
    let mut sim = crash(64, STILLBORN);
    sim.until("it is throttled", |s| streak(s).early_deaths == 1);
    sim.everybody(GOOD);
    sim.pass(8 * SECOND);
    assert_eq!(sim.ready("web"), 64);
    sim.rest();
    assert_eq!(streak(&sim), Backoff::default());
}

#[test]
fn the_tries_go_round_the_seats() {
    let mut sim = crash(3, STILLBORN);
    sim.pass(4 * SECOND);
    let seats: Vec<u32> = sim
        .log
        .iter()
        .filter_map(|(_, a)| match a {
            Action::Spawn { seat, .. } => Some(seat.0),
            _ => None,
        })
        .skip(3)
        .take(5)
        .collect();
    let mut cycle = [0, 1, 2].iter().cycle().skip_while(|s| **s != seats[0]);
    assert!(seats.iter().all(|s| cycle.next() == Some(s)), "{seats:?}");
}

#[test]
fn one_bad_seat_does_not_keep_the_others_from_coming_up() {
    let mut sim = Sim::running(3);
    sim.at_seat(0, 0, STILLBORN);
    let all: Vec<_> = sim.fleet.workers.keys().copied().collect();
    all.into_iter().for_each(|id| sim.kill(id));
    sim.pass(10 * SECOND);
    assert_eq!(sim.generations(), [(1, 1), (2, 1)]);
    assert!(streak(&sim).early_deaths >= 5, "while the bad one is tried ever more rarely");
}

#[test]
fn several_early_deaths_in_one_delay_count_once() {
    let mut sim = crash(8, STILLBORN);
    sim.pass(50 * MS);
    assert_eq!(streak(&sim).early_deaths, 1);
}

#[test]
fn a_crash_loop_of_one_service_slows_no_other() {
    let mut sim = Sim::started(plan(vec![service("web", 1), service("api", 1)]));
    sim.rules.push((Some("api".into()), None, 0..=9, STILLBORN));
    let api = sim.fleet.workers_of(&"api".into()).next().expect("it lives").0;
    sim.kill(api);
    sim.pass(10 * SECOND);
    let (worker, began) = (sim.worker_at(0), sim.now);
    sim.kill(worker);
    sim.until("it is back", |s| s.ready("web") == 1);
    assert!(sim.now.since(began) < 10 * MS);
    assert_eq!(streak(&sim), Backoff::default());
}

#[test]
fn a_service_is_given_up_after_as_many_early_deaths_as_the_config_says() {
    let mut file = plan(vec![service("web", 2)]);
    file.services[0].give_up = 3;
    let mut sim = Sim::started(file);
    sim.everybody(STILLBORN);
    let all: Vec<_> = sim.fleet.workers.keys().copied().collect();
    all.into_iter().for_each(|id| sim.kill(id));
    sim.rest();
    assert!(streak(&sim).given_up);
    assert_eq!((streak(&sim).early_deaths, sim.noted("given_up")), (3, 1));
    sim.forget_log();
    sim.pass(1000 * SECOND);
    assert_eq!(sim.spawns(), 0);
    sim.everybody(GOOD);
    let client = sim.ask(Request::Resume { service: Some("web".into()) });
    sim.rest();
    assert!(sim.answer(client).ok);
    assert_eq!((sim.ready("web"), streak(&sim)), (2, Backoff::default()));
}

#[test]
fn a_reload_is_a_new_chance_for_a_service_that_was_given_up() {
    let mut file = plan(vec![service("web", 1)]);
    file.services[0].give_up = 1;
    let mut sim = Sim::started(file);
    sim.rules.push((None, None, 1..=1, STILLBORN));
    let worker = sim.worker_at(0);
    sim.kill(worker);
    sim.rest();
    assert_eq!(sim.ready("web"), 0);
    let failing = sim.rules.len();
    sim.rules.push((None, None, 2..=2, STILLBORN));
    sim.reload();
    sim.rest();
    assert!(streak(&sim).given_up, "a reload that fails is none");
    sim.rules.truncate(failing);
    sim.reload();
    sim.rest();
    assert_eq!(sim.ready("web"), 1);
}

#[test]
fn a_streak_is_forgotten_when_the_full_pool_has_been_ready_for_a_second() {
    let mut sim = crash(2, STILLBORN);
    sim.until("it dies three times", |s| streak(s).early_deaths == 3);
    sim.everybody(GOOD);
    sim.until("all are ready", |s| s.ready("web") == 2);
    assert_eq!(streak(&sim).early_deaths, 3, "not at once");
    let began = sim.now;
    sim.until("it is forgotten", |s| streak(s) == Backoff::default());
    assert!(sim.now.since(began) >= SECOND && sim.now.since(began) < 1100 * MS);
    assert_eq!(sim.noted("recovered"), 1);
}

#[test]
fn a_death_within_that_second_continues_the_streak() {
    let mut sim = crash(1, STILLBORN);
    sim.until("it dies three times", |s| streak(s).early_deaths == 3);
    sim.everybody(SHORT);
    sim.until("it dies again", |s| streak(s).early_deaths == 4);
    let wait = streak(&sim).retry_at.map(|at| at.since(sim.now));
    assert_eq!(wait, Some(800 * MS));
}

#[test]
fn a_shrunk_pool_forgives_the_seat_that_is_gone() {
    let mut sim = Sim::running(3);
    sim.at_seat(2, 0, STILLBORN);
    let worker = sim.worker_at(2);
    sim.kill(worker);
    sim.pass(5 * SECOND);
    assert!(streak(&sim).early_deaths > 2);
    sim.ask(Request::Scale { service: "web".into(), workers: 2 });
    sim.rest();
    assert_eq!(streak(&sim), Backoff::default());
    assert!(sim.fleet.workers.values().all(|w| w.phase == Phase::Ready));
}
