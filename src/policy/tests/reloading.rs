//! A reload that replaces everything in one step: how it comes through, and how it fails.

use super::sim::{GOOD, Life, MS, SECOND, SLEEPER, STILLBORN, Sim, plan, service};
use crate::model::Generation;
use crate::model::fleet::{DrainWhy, Step};
use crate::policy::{Action, Event, Request, Word};

/// Two workers of generation 1 serve on, nothing was drained, and the reason is kept.
fn old_serves_on(sim: &Sim, reason: &str) {
    assert_eq!(sim.generations(), [(0, 1), (1, 1)]);
    assert_eq!(sim.fleet.serving, Generation(1));
    let outcome = sim.fleet.last_reload.as_ref().expect("the outcome is kept");
    assert_eq!(outcome.generation, Generation(2), "a failed reload uses up its number");
    let error = outcome.error.as_deref().expect("it failed");
    assert!(error.contains(reason), "{error}");
}

fn drained(sim: &Sim, generation: u64) -> bool {
    sim.fleet.workers.values().any(|w| w.generation.0 == generation && w.drain.is_some())
}

#[test]
fn a_reload_brings_up_the_new_generation_and_then_drains_the_old_one() {
    let mut sim = Sim::running(2);
    sim.forget_log();
    let client = sim.reload();
    assert_eq!(sim.fleet.state_word(), "reloading");
    sim.until("the new ones start", |s| s.fleet.workers.len() == 4);
    assert!(!drained(&sim, 1), "nothing drains before the verdict");
    sim.until("it is decided", |s| s.fleet.rollover.is_none());
    assert_eq!(sim.generations(), [(0, 2), (1, 2)]);
    assert!(drained(&sim, 1));
    assert_eq!(sim.answer(client).generation, Some(Generation(2)));
    assert!(sim.answer(client).ok);
    sim.rest();
    assert_eq!(sim.fleet.workers.len(), 2);
    let deaths = sim.count(|a| matches!(a, Action::Forget { death: true, .. }));
    assert_eq!(deaths, 0, "a worker that was told to leave has not died");
}

#[test]
fn the_plan_is_adopted_before_the_old_generation_is_told_to_drain() {
    let mut sim = Sim::started(plan(vec![service("web", 2), service("api", 1)]));
    sim.file().services[0].pool = crate::model::plan::Pool::Fixed(3);
    sim.forget_log();
    sim.reload();
    sim.until("it is decided", |s| s.fleet.rollover.is_none());
    let at = |test: fn(&Action) -> bool| sim.log.iter().position(|(_, a)| test(a)).expect("it is done");
    let adopted = at(|a| matches!(a, Action::Adopt { .. }));
    assert!(adopted < at(|a| matches!(a, Action::Drain { .. })));
    let (plan, seats) = (sim.fleet.plan, vec![("web".into(), 3), ("api".into(), 1)]);
    assert_eq!(sim.log[adopted].1, Action::Adopt { plan, seats: seats.clone() });
    let opened = sim.count(|a| *a == Action::OpenListeners { plan, seats: seats.clone() });
    assert_eq!(opened, 1);
}

#[test]
fn who_asks_to_wait_for_the_drain_is_answered_when_the_old_generation_is_gone() {
    let mut sim = Sim::running(2);
    let client = sim.ask(Request::Reload { service: None, drained: true });
    sim.until("it is decided", |s| s.fleet.rollover.is_none());
    assert!(sim.unanswered().is_some());
    sim.rest();
    assert!(sim.answer(client).ok && sim.answer(client).text.contains("gone"));
}

#[test]
fn a_drain_for_a_reload_leaves_listeners_and_readiness_alone() {
    let mut sim = Sim::running(1);
    sim.reload();
    sim.rest();
    let orders = sim.log.iter().filter_map(|(_, a)| match a {
        Action::Drain { order, .. } => Some(*order),
        _ => None,
    });
    let orders: Vec<_> = orders.collect();
    assert_eq!(orders.len(), 1);
    assert_eq!(orders[0].why, DrainWhy::Replaced);
    assert!(!orders[0].why.unready());
    assert_eq!(orders[0].grace, 30 * SECOND);
}

#[test]
fn a_bad_config_changes_nothing_and_every_error_is_told() {
    let mut sim = Sim::running(2);
    sim.file = Err(vec!["line 3: no such key".to_owned(), "line 9: neither".to_owned()]);
    sim.forget_log();
    let client = sim.reload();
    sim.rest();
    old_serves_on(&sim, "line 3: no such key");
    assert!(sim.refused(client).contains("generation 1 serves on"));
    assert_eq!(sim.answer(client).lines, ["line 9: neither"]);
    assert_eq!(sim.spawns(), 0);
    assert_eq!(sim.count(|a| matches!(a, Action::OpenListeners { .. })), 0);
}

#[test]
fn a_listener_that_cannot_be_bound_fails_the_reload_whole() {
    let mut sim = Sim::running(2);
    sim.open_fails = Some("127.0.0.1:81 is in use".to_owned());
    sim.forget_log();
    let client = sim.reload();
    sim.rest();
    old_serves_on(&sim, "127.0.0.1:81 is in use");
    assert!(sim.refused(client).contains("in use"));
    assert_eq!(sim.spawns(), 0);
    assert_eq!(sim.count(|a| matches!(a, Action::Abandon { .. })), 1);
    assert_eq!(sim.count(|a| matches!(a, Action::DropPlan { .. })), 1);
    assert_eq!(sim.fleet.plans.len(), 1);
}

#[test]
fn a_worker_that_never_becomes_ready_fails_the_reload_at_the_timeout() {
    let mut sim = Sim::running(2);
    sim.at_seat(1, 2, SLEEPER);
    let (client, began) = (sim.reload(), sim.now);
    sim.until("it is decided", |s| s.fleet.rollover.is_none());
    assert!(sim.now.since(began) >= 30 * SECOND && sim.now.since(began) < 31 * SECOND);
    old_serves_on(&sim, "worker web/1 of generation 2");
    assert!(sim.refused(client).contains("not ready after 30.0s"));
    sim.rest();
    assert_eq!(sim.fleet.workers.len(), 2);
}

#[test]
fn a_worker_that_dies_before_it_is_ready_fails_the_reload_at_once() {
    let mut sim = Sim::running(2);
    sim.at_seat(0, 2, STILLBORN);
    let (client, began) = (sim.reload(), sim.now);
    sim.until("it is decided", |s| s.fleet.rollover.is_none());
    assert!(sim.now.since(began) < 100 * MS);
    old_serves_on(&sim, "killed by SIGSEGV");
    sim.refused(client);
    sim.forget_log();
    sim.rest();
    assert_eq!(sim.spawns(), 0, "a generation that was taken back is not tried again");
}

#[test]
fn a_fork_that_fails_fails_the_reload() {
    let mut sim = Sim::running(2);
    sim.at_seat(1, 2, Life { forks: false, ..GOOD });
    let client = sim.reload();
    sim.rest();
    old_serves_on(&sim, "no more processes");
    sim.refused(client);
}

#[test]
fn a_worker_that_dies_in_the_soak_takes_the_generation_back_by_draining() {
    let mut sim = Sim::running(2);
    sim.file().rollout.soak = 5 * SECOND;
    sim.at_seat(1, 2, Life { dies_ready: Some(3 * SECOND), ..GOOD });
    sim.forget_log();
    let client = sim.reload();
    sim.until("it soaks", |s| matches!(s.fleet.rollover.as_ref().map(|r| r.step), Some(Step::Soaking(_))));
    assert_eq!(sim.generations().len(), 4);
    sim.until("it is decided", |s| s.fleet.rollover.is_none());
    old_serves_on(&sim, "ended before the verdict");
    sim.refused(client);
    let kills = sim.count(|a| matches!(a, Action::Kill { .. } | Action::Finish { .. }));
    assert_eq!(kills, 0, "what has accepted is drained");
    let back = sim.fleet.workers.values().find(|w| w.generation == Generation(2)).expect("the other drains");
    assert_eq!(back.drain.map(|d| d.why), Some(DrainWhy::Replaced));
    sim.rest();
    assert_eq!(sim.fleet.workers.len(), 2);
}

#[test]
fn a_soak_that_all_survive_ends_in_a_good_verdict_after_its_time() {
    let mut sim = Sim::running(2);
    sim.file().rollout.soak = 5 * SECOND;
    let (client, began) = (sim.reload(), sim.now);
    sim.until("it is decided", |s| s.fleet.rollover.is_none());
    assert!(sim.now.since(began) >= 5 * SECOND);
    assert!(sim.answer(client).ok);
}

#[test]
fn a_new_worker_that_said_ready_while_it_was_taken_back_keeps_what_it_has_accepted() {
    let mut sim = Sim::running(2);
    sim.at_seat(0, 2, Life { dies_unready: Some(4 * MS), ready: None, ..GOOD });
    sim.at_seat(1, 2, Life { drains: Some(20 * SECOND), ..GOOD });
    sim.reload();
    sim.until("it is decided", |s| s.fleet.rollover.is_none());
    sim.forget_log();
    let began = sim.now;
    sim.rest();
    assert_eq!(sim.count(|a| matches!(a, Action::Kill { .. })), 0);
    assert!(sim.now.since(began) >= 20 * SECOND, "its word was on the way: it drained");
}

#[test]
fn a_new_worker_that_is_taken_back_and_does_not_come_up_is_killed_after_a_second() {
    let mut sim = Sim::running(2);
    sim.at_seat(0, 2, STILLBORN);
    sim.at_seat(1, 2, SLEEPER);
    sim.reload();
    sim.until("it is decided", |s| s.fleet.rollover.is_none());
    let began = sim.now;
    sim.rest();
    assert!(sim.now.since(began) < 1100 * MS);
    assert_eq!(sim.fleet.workers.len(), 2);
}

#[test]
fn a_thousand_reloads_during_a_reload_are_one_more() {
    let mut sim = Sim::running(2);
    let first = sim.reload();
    let later: Vec<_> = (0..1_000).map(|_| sim.reload()).collect();
    (0..100).for_each(|_| sim.signal(Word::Reload));
    sim.rest();
    assert_eq!(sim.fleet.last_generation, Generation(3), "the one under way, and one more");
    assert_eq!(sim.answer(first).generation, Some(Generation(2)));
    assert!(later.iter().all(|c| sim.answer(*c).generation == Some(Generation(3))));
    assert_eq!(sim.ready("web"), 2);
}

#[test]
fn a_remembered_reload_runs_after_one_that_failed() {
    let mut sim = Sim::running(1);
    sim.file = Err(vec!["bad".to_owned()]);
    let first = sim.reload();
    sim.file = Ok(plan(vec![service("web", 1)]));
    let second = sim.reload();
    sim.rest();
    sim.refused(first);
    assert!(sim.answer(second).ok);
    assert_eq!(sim.fleet.last_reload.as_ref().and_then(|o| o.error.clone()), None);
}

#[test]
fn a_reload_that_is_remembered_begins_in_the_turn_that_ends_the_soak() {
    let mut sim = Sim::running(1);
    sim.file().rollout.soak = SECOND;
    sim.reload();
    sim.until("it soaks", |s| matches!(s.fleet.rollover.as_ref().map(|r| r.step), Some(Step::Soaking(_))));
    sim.reload();
    sim.until("generation 2 serves", |s| s.fleet.serving == Generation(2));
    assert_eq!(sim.fleet.rollover.as_ref().map(|r| r.generation), Some(Generation(3)));
}

fn crowded(max: usize, reloads: usize) -> Sim {
    let mut file = plan(vec![service("web", 1)]);
    file.max_draining = max;
    let mut sim = Sim::started(file);
    sim.everybody(Life { drains: Some(1000 * SECOND), ..GOOD });
    sim.rules.push((None, None, 1..=1, Life { drains: None, ..GOOD }));
    let worker = sim.worker_at(0);
    sim.deafen(worker);
    for _ in 0..reloads {
        sim.reload();
        sim.until("it is decided", |s| s.fleet.rollover.is_none());
        sim.pass(SECOND);
    }
    sim
}

#[test]
fn a_reload_that_would_leave_too_many_generations_draining_waits_for_the_oldest_to_have_its_grace() {
    let mut sim = crowded(2, 2);
    assert_eq!(sim.fleet.draining_generations().len(), 2);
    let first_drain = sim.fleet.workers.values().filter_map(|w| w.drain.map(|d| d.since)).min();
    let client = sim.reload();
    assert_eq!(sim.fleet.rollover.as_ref().map(|r| r.step), Some(Step::WaitingForRoom));
    sim.until("the config is read", |s| s.is_reading());
    let waited = sim.now.since(first_drain.expect("one drains"));
    assert!(waited >= 30 * SECOND && waited < 32 * SECOND, "{waited:?}");
    assert_eq!(sim.noted("cut_short"), 1);
    assert!(sim.note_text("cut_short").contains("generation 1"));
    sim.until("it is decided", |s| s.answers.contains_key(&client));
    assert!(sim.fleet.draining_generations().len() <= 2);
}

#[test]
fn there_is_room_as_soon_as_an_old_generation_is_gone() {
    let mut sim = crowded(2, 2);
    sim.reload();
    sim.pass(SECOND);
    assert!(!sim.is_reading());
    let oldest = *sim.fleet.workers.keys().next().expect("the oldest worker");
    sim.kill(oldest);
    assert!(sim.is_reading());
}

#[test]
fn the_serving_generation_may_shrink_without_taking_room_from_a_reload() {
    let mut file = plan(vec![service("web", 3)]);
    file.max_draining = 1;
    let mut sim = Sim::started(file);
    sim.ask(Request::Scale { service: "web".into(), workers: 1 });
    assert_eq!(sim.fleet.draining_generations().len(), 1);
    sim.reload();
    assert!(sim.is_reading(), "it would drain with the others anyway");
}

#[test]
fn answers_that_come_too_late_mean_nothing() {
    let mut sim = Sim::running(1);
    let before = format!("{:?}", sim.fleet);
    for event in [Event::Opened, Event::OpenFailed { why: "late".to_owned() }, Event::ConfigRead(Err(vec![]))]
    {
        sim.tell(event);
    }
    assert_eq!(format!("{:?}", sim.fleet), before);
    sim.reload();
    sim.tell(Event::OpenFailed { why: "late".to_owned() });
    assert!(sim.fleet.rollover.is_some(), "it is not this reload's listener");
}
