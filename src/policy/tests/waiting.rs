//! Every client that waits is answered once, whatever becomes of what it asked for.

use super::sim::{GOOD, Life, MS, SECOND, STILLBORN, Sim, plan, service};
use crate::model::Generation;
use crate::policy::{Action, Request, Word};

fn scale(sim: &mut Sim, workers: u32) -> crate::model::ClientId {
    sim.ask(Request::Scale { service: "web".into(), workers })
}

#[test]
fn who_scales_is_answered_when_every_seat_is_served() {
    let mut sim = Sim::running(1);
    sim.everybody(Life { ready: Some(SECOND), ..GOOD });
    let client = scale(&mut sim, 3);
    sim.pass(900 * MS);
    assert_eq!(sim.unanswered(), Some(client));
    sim.pass(200 * MS);
    assert!(sim.answer(client).ok);
}

#[test]
fn two_workers_at_one_seat_are_not_two_seats() {
    let mut file = plan(vec![service("web", 4)]);
    file.rollout.step = Some(2);
    let mut sim = Sim::started(file);
    sim.at_seat(2, 2, STILLBORN);
    sim.rules.push((None, None, 1..=1, Life { ready: Some(SECOND), ..GOOD }));
    sim.reload();
    sim.until("it is taken back", |s| s.fleet.rollover.is_none());
    let worker = sim.worker_at(3);
    sim.kill(worker);
    let client = sim.ask(Request::Resume { service: None });
    sim.pass(500 * MS);
    assert_eq!(sim.unanswered(), Some(client), "seat 3 has nobody yet");
    sim.pass(SECOND);
    assert!(sim.answer(client).ok);
}

#[test]
fn a_size_that_another_has_changed_meanwhile_is_no_success() {
    let mut sim = Sim::running(1);
    sim.everybody(Life { ready: Some(SECOND), ..GOOD });
    let first = scale(&mut sim, 3);
    sim.pass(10 * MS);
    let second = scale(&mut sim, 2);
    assert!(sim.refused(first).contains("was set to 2 workers before it had the 3 asked for"));
    sim.rest();
    assert!(sim.answer(second).ok);
}

#[test]
fn a_reload_that_resets_a_pool_tells_who_waits_for_it() {
    let mut sim = Sim::running(1);
    sim.at_seat(2, 1, Life { ready: Some(20 * SECOND), ..GOOD });
    let client = scale(&mut sim, 3);
    sim.pass(SECOND);
    sim.reload();
    sim.rest();
    assert!(sim.refused(client).contains("was set to 1 workers"));
}

#[test]
fn a_service_that_a_reload_removes_tells_who_waits_for_it() {
    let mut sim = Sim::started(plan(vec![service("web", 1), service("api", 1)]));
    sim.everybody(Life { ready: Some(SECOND), ..GOOD });
    let scaled = sim.ask(Request::Scale { service: "api".into(), workers: 2 });
    sim.pass(MS);
    sim.file().services.remove(1);
    sim.everybody(GOOD);
    sim.reload();
    sim.pass(100 * MS);
    assert!(sim.refused(scaled).contains("api is gone"));
}

#[test]
fn a_drain_that_turns_into_a_removal_is_done_when_the_workers_are_gone() {
    let mut sim = Sim::started(plan(vec![service("web", 1), service("api", 1)]));
    let client = sim.ask(Request::Drain { service: Some("api".into()) });
    sim.file().services.remove(1);
    sim.reload();
    sim.rest();
    assert!(sim.answer(client).ok);
}

#[test]
fn winch_tells_who_waits_for_workers() {
    let mut sim = Sim::running(1);
    sim.everybody(Life { ready: Some(SECOND), ..GOOD });
    let client = scale(&mut sim, 2);
    sim.pass(10 * MS);
    sim.signal(Word::Drain);
    assert!(sim.refused(client).contains("was drained meanwhile"));
}

#[test]
fn a_client_that_is_gone_is_not_answered_and_what_it_asked_for_goes_on() {
    let mut sim = Sim::running(2);
    let requests = [
        Request::Reload { service: None, drained: true },
        Request::Reload { service: None, drained: false },
        Request::Stop { fast: false },
    ];
    for request in requests {
        let client = sim.ask(request);
        sim.hang_up(client);
    }
    sim.rest();
    assert_eq!((sim.answers.len(), sim.left), (0, Some(0)));
}

#[test]
fn a_client_that_is_gone_while_its_reload_is_remembered_does_not_unmake_it() {
    let mut sim = Sim::running(1);
    let (first, second) = (sim.reload(), sim.reload());
    sim.hang_up(first);
    sim.hang_up(second);
    sim.rest();
    assert_eq!((sim.answers.len(), sim.fleet.serving), (0, Generation(3)));
}

#[test]
fn a_drained_reload_of_one_service_waits_for_that_service_only() {
    let mut sim = Sim::started(plan(vec![service("web", 1), service("api", 1)]));
    let api = *sim.fleet.workers.iter().find(|(_, w)| w.service.0 == "api").expect("it lives").0;
    sim.deafen(api);
    sim.reload();
    sim.pass(SECOND);
    let client = sim.ask(Request::Reload { service: Some("web".into()), drained: true });
    sim.pass(5 * SECOND);
    assert!(sim.fleet.workers.contains_key(&api), "it drains still");
    assert!(sim.answer(client).ok);
}

#[test]
fn reopening_logs_is_passed_on_with_who_asked() {
    let mut sim = Sim::running(1);
    let client = sim.ask(Request::Reopen);
    sim.signal(Word::Reopen);
    let asked = |who| sim.count(|a| *a == Action::ReopenLogs { client: who });
    assert_eq!((asked(Some(client)), asked(None)), (1, 1));
}

#[test]
fn a_resume_of_what_serves_is_answered_at_once() {
    let mut sim = Sim::running(2);
    let client = sim.ask(Request::Resume { service: None });
    assert_eq!(sim.answer(client).text, "resumed: web has 2 workers");
}
