//! The first generation.

use super::sim::{GOOD, Life, MS, SECOND, SLEEPER, STILLBORN, Sim, plan, service};
use crate::model::fleet::Stage;
use crate::model::{Generation, Phase};
use crate::policy::{Action, Event, Request, Word};

#[test]
fn the_start_brings_up_every_seat_of_every_service() {
    let mut sim = Sim::new(plan(vec![service("web", 3), service("api", 2)]));
    sim.tell(Event::Boot);
    assert_eq!(sim.fleet.stage, Stage::Starting);
    assert_eq!(sim.fleet.state_word(), "starting");
    sim.rest();
    assert_eq!((sim.ready("web"), sim.ready("api")), (3, 2));
    assert_eq!(sim.fleet.stage, Stage::Running);
    assert_eq!(sim.fleet.serving, Generation(1));
    assert_eq!(sim.noted("started"), 1);
    assert_eq!(sim.fleet.last_reload, None, "the start is no reload");
    assert_eq!(sim.count(|a| matches!(a, Action::ReadConfig)), 0, "the plan is known already");
}

#[test]
fn the_start_is_one_step_and_does_not_soak() {
    let mut file = plan(vec![service("web", 4)]);
    file.rollout.step = Some(1);
    file.rollout.soak = 10 * SECOND;
    let mut sim = Sim::new(file);
    let began = sim.now;
    sim.tell(Event::Boot);
    sim.until("it runs", |s| s.fleet.stage == Stage::Running);
    assert_eq!(sim.spawns(), 4);
    assert!(sim.now.since(began) < SECOND);
}

fn fails_to_start(life: Life, reason: &str) {
    let mut sim = Sim::new(plan(vec![service("web", 2)]));
    sim.at_seat(1, 1, life);
    sim.tell(Event::Boot);
    sim.rest();
    assert_eq!(sim.left, Some(1));
    let text = sim.note_text("start_failed");
    assert!(text.starts_with("start failed") && text.contains(reason), "{text}");
    assert!(sim.fleet.workers.is_empty());
}

#[test]
fn a_start_whose_worker_dies_before_it_is_ready_fails_with_the_reason() {
    fails_to_start(STILLBORN, "worker web/1 of generation 1 ended before it was ready: killed by SIGSEGV");
}

#[test]
fn a_start_whose_worker_never_says_ready_fails_at_the_timeout() {
    fails_to_start(SLEEPER, "was not ready after 30.0s");
}

#[test]
fn a_start_that_cannot_fork_fails_with_the_reason() {
    fails_to_start(Life { forks: false, ..GOOD }, "could not be started: no more processes");
}

#[test]
fn a_start_that_cannot_bind_leaves_at_once_without_a_spawn() {
    let mut sim = Sim::new(plan(vec![service("web", 2)]));
    sim.open_fails = Some("127.0.0.1:80 is in use".to_owned());
    sim.tell(Event::Boot);
    sim.rest();
    assert_eq!((sim.left, sim.spawns()), (Some(1), 0));
    assert!(sim.note_text("start_failed").contains("127.0.0.1:80 is in use"));
}

#[test]
fn whoever_asks_for_a_reload_during_a_start_that_fails_is_told() {
    let mut sim = Sim::new(plan(vec![service("web", 1)]));
    sim.everybody(STILLBORN);
    sim.tell(Event::Boot);
    let client = sim.reload();
    sim.rest();
    assert!(sim.refused(client).contains("could not start"));
}

#[test]
fn a_reload_asked_for_during_the_start_runs_after_it() {
    let mut sim = Sim::new(plan(vec![service("web", 1)]));
    sim.tell(Event::Boot);
    let client = sim.reload();
    sim.rest();
    assert!(sim.answer(client).ok);
    assert_eq!(sim.fleet.serving, Generation(2));
}

#[test]
fn a_reload_asked_for_before_the_start_waits_for_it() {
    let mut sim = Sim::new(plan(vec![service("web", 1)]));
    sim.signal(Word::Reload);
    sim.tell(Event::Boot);
    sim.rest();
    assert_eq!((sim.fleet.serving, sim.ready("web")), (Generation(2), 1));
}

#[test]
fn nothing_is_scaled_drained_or_resumed_while_it_starts() {
    let mut sim = Sim::new(plan(vec![service("web", 2)]));
    sim.tell(Event::Boot);
    let scale = sim.ask(Request::Scale { service: "web".into(), workers: 3 });
    let drain = sim.ask(Request::Drain { service: None });
    let resume = sim.ask(Request::Resume { service: None });
    for word in [Word::Drain, Word::More, Word::Fewer] {
        sim.signal(word);
    }
    for client in [scale, drain, resume] {
        sim.refused(client);
    }
    sim.rest();
    assert_eq!(sim.ready("web"), 2);
}

#[test]
fn saying_boot_or_ready_twice_changes_nothing() {
    let mut sim = Sim::running(2);
    let (worker, spawns) = (sim.worker_at(0), sim.spawns());
    let ready_at = sim.fleet.workers[&worker].ready_at;
    sim.tell(Event::Boot);
    sim.tell(Event::Ready { worker });
    assert_eq!((sim.spawns(), sim.fleet.workers[&worker].ready_at), (spawns, ready_at));
    assert_eq!(sim.fleet.workers[&worker].phase, Phase::Ready);
}

#[test]
fn a_ready_word_that_is_read_together_with_its_deadline_counts() {
    let mut sim = Sim::new(plan(vec![service("web", 2)]));
    sim.everybody(Life { ready: Some(29 * SECOND), ..GOOD });
    sim.tell(Event::Boot);
    sim.pass(28 * SECOND);
    // The master was stopped meanwhile: all comes in one turn, and `Due` comes last.
    sim.now = sim.now + 60 * SECOND;
    let ids: Vec<_> = sim.fleet.workers.keys().copied().collect();
    for worker in ids {
        sim.tell(Event::Ready { worker });
    }
    sim.tell(Event::Due);
    assert_eq!((sim.ready("web"), sim.fleet.stage), (2, Stage::Running));
    sim.pass(MS);
}
