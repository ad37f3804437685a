//! A worker ends: asked or not, in each phase of its life.

use super::sim::{GOOD, Life, MS, SECOND, SLEEPER, Sim, plan, service};
use crate::model::{Phase, ServiceName, WorkerId};
use crate::policy::{Action, Event, Level, Request, Word};

fn deaths(sim: &Sim) -> usize {
    sim.count(|a| matches!(a, Action::Forget { death: true, .. }))
}

fn last_death(sim: &Sim) -> &str {
    sim.fleet.services[&ServiceName::from("web")].last_death.as_deref().unwrap_or_default()
}

fn one_in(sim: &Sim, phase: Phase) -> WorkerId {
    *sim.fleet.workers.iter().find(|(_, w)| w.phase == phase).expect("one is in that phase").0
}

#[test]
fn a_ready_worker_that_dies_is_a_death_with_its_reason() {
    let mut sim = Sim::running(2);
    let worker = sim.worker_at(1);
    sim.kill(worker);
    assert_eq!(deaths(&sim), 1);
    assert_eq!(last_death(&sim), "worker web/1 of generation 1 ended: killed by SIGKILL");
    assert_eq!(sim.noted("died"), 1);
}

#[test]
fn what_the_worker_said_was_wrong_is_part_of_the_reason() {
    let mut sim = Sim::running(1);
    let worker = sim.worker_at(0);
    let failed = |why: &str| Event::Failed { worker, why: why.to_owned(), lines: Vec::new() };
    sim.tell(failed("no memory"));
    sim.tell(failed("and again"));
    assert_eq!(sim.noted("failed"), 1, "said once");
    sim.kill(worker);
    assert!(last_death(&sim).ends_with("killed by SIGKILL: no memory"));
}

#[test]
fn what_is_wrong_with_a_program_is_an_error_once() {
    let errors = |program: bool| {
        let mut file = plan(vec![service("web", 1)]);
        file.services[0].program = program;
        let mut sim = Sim::started(file);
        sim.forget_log();
        let worker = sim.worker_at(0);
        program_fails(&mut sim, worker);
        sim.count(|a| matches!(a, Action::Note(note) if note.level == Level::Error))
    };
    assert_eq!((errors(false), errors(true)), (2, 1));
}

/// The worker tells how its program ended and what that printed, and leaves with status 1.
fn program_fails(sim: &mut Sim, worker: WorkerId) {
    let lines = vec!["Traceback:".to_owned(), "ImportError: no app".to_owned()];
    sim.tell(Event::Failed { worker, why: "exited with status 3".to_owned(), lines });
    sim.tell(Event::Died { worker, how: "exited with status 1".to_owned(), gave_up: true });
}

#[test]
fn how_a_program_ended_is_the_reason_and_not_how_its_worker_left() {
    let mut sim = Sim::running(1);
    let worker = sim.worker_at(0);
    program_fails(&mut sim, worker);
    let expected =
        "worker web/0 of generation 1 ended: exited with status 3; it printed last: ImportError: no app";
    assert_eq!(last_death(&sim), expected);
}

#[test]
fn what_a_program_printed_goes_to_whoever_waits_for_the_reload() {
    let mut sim = Sim::running(1);
    let client = sim.reload();
    sim.until("it starts", |s| s.fleet.workers.len() == 2);
    let new = one_in(&sim, Phase::Starting);
    program_fails(&mut sim, new);
    let answer = sim.answer(client).clone();
    let why = "worker web/0 of generation 2 ended before it was ready: exited with status 3";
    assert_eq!(answer.text, format!("{why}; generation 1 serves on"));
    assert_eq!(answer.lines, ["it printed last:", "  Traceback:", "  ImportError: no app"]);
    let error = sim.fleet.last_reload.as_ref().and_then(|r| r.error.clone());
    assert_eq!(error, Some(format!("{why}; it printed last: ImportError: no app")));
}

#[test]
fn what_a_program_printed_goes_to_whoever_waits_for_the_start() {
    let mut sim = Sim::new(plan(vec![service("web", 1)]));
    sim.tell(Event::Boot);
    sim.until("it starts", |s| s.fleet.workers.len() == 1);
    let worker = one_in(&sim, Phase::Starting);
    program_fails(&mut sim, worker);
    let failed = sim.log.iter().find_map(|(_, a)| match a {
        Action::Note(note) if note.event == "start_failed" => Some(note.clone()),
        _ => None,
    });
    let failed = failed.expect("it is noted");
    assert!(failed.text.ends_with("before it was ready: exited with status 3"), "{}", failed.text);
    assert!(failed.brief().ends_with("3; it printed last: ImportError: no app"), "{}", failed.brief());
    assert_eq!(failed.lines.len(), 3);
}

#[test]
fn a_program_that_asks_for_time_gets_it_but_not_for_ever() {
    let mut sim = Sim::running(1);
    sim.file().ready_timeout = 5 * SECOND;
    sim.since_generation(2, SLEEPER);
    sim.reload();
    sim.until("it starts", |s| s.fleet.workers.len() == 2);
    let worker = one_in(&sim, Phase::Starting);
    let began = sim.now;
    let left = |sim: &Sim| sim.fleet.workers[&worker].deadline.map(|at| at.since(began));
    sim.tell(Event::Extend { worker, more: SECOND });
    assert_eq!(left(&sim), Some(5 * SECOND), "it had more");
    sim.tell(Event::Extend { worker, more: 20 * SECOND });
    assert_eq!(left(&sim), Some(20 * SECOND));
    sim.pass(19 * SECOND);
    sim.tell(Event::Extend { worker, more: std::time::Duration::MAX });
    assert_eq!(left(&sim), Some(50 * SECOND), "ten times ready_timeout");
    sim.pass(30 * SECOND);
    assert!(sim.fleet.rollover.is_some());
    sim.pass(2 * SECOND);
    assert!(sim.fleet.rollover.is_none() && sim.noted("hung") == 1);
}

#[test]
fn time_that_a_worker_asks_for_when_it_is_ready_or_drains_changes_nothing() {
    let mut sim = Sim::running(1);
    let worker = sim.worker_at(0);
    sim.tell(Event::Extend { worker, more: SECOND });
    assert_eq!(sim.fleet.workers[&worker].deadline, None);
    sim.deafen(worker);
    sim.reload();
    sim.until("it drains", |s| s.fleet.workers.get(&worker).is_some_and(|w| w.phase == Phase::Draining));
    let deadline = sim.fleet.workers[&worker].deadline;
    sim.tell(Event::Extend { worker, more: 9_000 * SECOND });
    assert_eq!(sim.fleet.workers[&worker].deadline, deadline);
}

#[test]
fn a_starting_worker_that_dies_is_an_early_death() {
    let mut sim = Sim::running(1);
    let worker = sim.worker_at(0);
    sim.kill(worker);
    let starting = one_in(&sim, Phase::Starting);
    sim.kill(starting);
    assert_eq!(deaths(&sim), 2);
    assert_eq!(sim.fleet.services[&ServiceName::from("web")].backoff.early_deaths, 1);
}

#[test]
fn a_draining_worker_that_leaves_is_no_death() {
    let mut sim = Sim::running(2);
    sim.reload();
    sim.rest();
    assert_eq!((deaths(&sim), sim.noted("ended")), (0, 2));
    assert_eq!(last_death(&sim), "");
}

#[test]
fn a_draining_worker_that_crashes_is_a_death_but_slows_nobody() {
    let mut sim = Sim::running(1);
    sim.ask(Request::Scale { service: "web".into(), workers: 2 });
    sim.pass(100 * MS);
    sim.ask(Request::Scale { service: "web".into(), workers: 1 });
    let draining = one_in(&sim, Phase::Draining);
    sim.kill(draining);
    assert_eq!(deaths(&sim), 1);
    assert!(last_death(&sim).contains("web/1"));
    assert_eq!(sim.fleet.services[&ServiceName::from("web")].backoff.early_deaths, 0);
}

#[test]
fn a_worker_that_was_told_to_finish_has_not_died() {
    let mut sim = Sim::running(1);
    let worker = sim.worker_at(0);
    sim.deafen(worker);
    sim.reload();
    sim.rest();
    assert_eq!((sim.noted("overdue"), deaths(&sim)), (1, 0));
}

#[test]
fn a_worker_cannot_hide_its_death_by_saying_that_it_leaves() {
    let mut sim = Sim::running(1);
    let worker = sim.worker_at(0);
    sim.tell(Event::Leaving { worker });
    sim.kill(worker);
    assert_eq!(deaths(&sim), 1, "nobody had told it to");
}

#[test]
fn a_worker_past_its_drain_deadline_is_told_to_finish_and_then_killed() {
    let mut sim = Sim::running(1);
    sim.everybody(Life { drains: None, finishes: false, ..GOOD });
    sim.reload();
    sim.rest();
    sim.forget_log();
    sim.reload();
    sim.until("it drains", |s| s.fleet.workers.values().any(|w| w.phase == Phase::Draining));
    let began = sim.now;
    let at = |sim: &Sim, test: fn(&Action) -> bool| {
        sim.log.iter().find(|(_, a)| test(a)).map(|(at, _)| at.since(began).as_millis())
    };
    sim.rest();
    assert_eq!(at(&sim, |a| matches!(a, Action::Finish { .. })), Some(30_500));
    assert_eq!(at(&sim, |a| matches!(a, Action::Kill { .. })), Some(31_500));
    assert_eq!(sim.fleet.workers.len(), 1);
}

#[test]
fn the_old_worker_that_dies_during_a_reload_is_replaced_at_once() {
    let mut sim = Sim::running(2);
    sim.since_generation(2, Life { ready: Some(10 * SECOND), ..GOOD });
    let client = sim.reload();
    sim.pass(SECOND);
    let old = sim.worker_at(0);
    sim.kill(old);
    sim.pass(SECOND);
    assert_eq!(sim.generations(), [(0, 1), (1, 1)]);
    assert!(sim.fleet.rollover.is_some(), "the reload goes on");
    sim.rest();
    assert!(sim.answer(client).ok);
    assert_eq!(sim.generations(), [(0, 2), (1, 2)]);
}

#[test]
fn the_old_worker_that_dies_in_the_soak_is_not_missed_at_a_seat_with_a_new_one() {
    let mut sim = Sim::running(1);
    sim.file().rollout.soak = 5 * SECOND;
    sim.reload();
    sim.until("both are ready", |s| s.ready("web") == 2);
    sim.forget_log();
    let old = *sim.fleet.workers.keys().next().expect("the old one");
    sim.kill(old);
    assert_eq!(sim.spawns(), 0);
    sim.rest();
    assert_eq!(sim.generations(), [(0, 2)]);
}

#[test]
fn fifty_deaths_at_once_are_fifty_successors_at_once() {
    let mut sim = Sim::running(50);
    sim.forget_log();
    let all: Vec<_> = sim.fleet.workers.keys().copied().collect();
    all.into_iter().for_each(|id| sim.kill(id));
    assert_eq!(sim.spawns(), 50);
    sim.pass(10 * MS);
    assert_eq!(sim.ready("web"), 50);
}

#[test]
fn words_about_a_worker_that_is_gone_mean_nothing() {
    let mut sim = Sim::running(1);
    let worker = sim.worker_at(0);
    sim.kill(worker);
    sim.pass(100 * MS);
    let before = format!("{:?}", sim.fleet);
    for event in [
        Event::Ready { worker },
        Event::Leaving { worker },
        Event::Spawned { worker, pid: 3 },
        Event::Failed { worker, why: String::new(), lines: Vec::new() },
        Event::Extend { worker, more: SECOND },
        Event::SpawnFailed { worker, why: String::new() },
        Event::Died { worker, how: String::new(), gave_up: false },
    ] {
        assert_eq!(sim.tell(event), []);
    }
    assert_eq!(format!("{:?}", sim.fleet), before);
}

#[test]
fn a_worker_that_dies_while_masterd_stops_is_not_replaced() {
    let mut sim = Sim::running(2);
    sim.signal(Word::Quit);
    sim.forget_log();
    let worker = one_in(&sim, Phase::Draining);
    sim.kill(worker);
    assert_eq!((sim.spawns(), deaths(&sim)), (0, 1));
    sim.rest();
    assert_eq!(sim.left, Some(0));
}
