//! A reload in steps, forwards and taken back; reloads of one service; services that come and go.

use super::sim::{GOOD, Life, SECOND, SLEEPER, STILLBORN, Sim, plan, service};
use crate::model::fleet::DrainWhy;
use crate::model::{Generation, Phase, ServiceName};
use crate::policy::{Action, Request, Word};

/// `workers` of `web`, replaced `step` at a time.
fn stepwise(workers: u32, step: u32) -> Sim {
    let mut file = plan(vec![service("web", workers)]);
    file.rollout.step = Some(step);
    Sim::started(file)
}

fn unready(sim: &Sim) -> u32 {
    let served = (0..4).filter(|s| sim.generations().iter().any(|(seat, _)| seat == s));
    4 - u32::try_from(served.count()).expect("at most four")
}

#[test]
fn a_step_starts_when_the_one_before_is_ready_and_its_old_workers_drain() {
    let mut sim = stepwise(4, 2);
    sim.forget_log();
    let client = sim.reload();
    sim.until("the first step starts", |s| s.spawns() == 2);
    sim.until("the second step starts", |s| s.spawns() == 4);
    assert_eq!(sim.generations(), [(0, 2), (1, 2), (2, 1), (3, 1)]);
    assert_eq!(unready(&sim), 0);
    assert_eq!(sim.fleet.serving, Generation(1), "it is not decided yet");
    sim.rest();
    assert_eq!(sim.generations(), [(0, 2), (1, 2), (2, 2), (3, 2)]);
    assert!(sim.answer(client).ok);
}

#[test]
fn each_step_soaks() {
    let mut sim = stepwise(3, 1);
    sim.file().rollout.soak = 2 * SECOND;
    let (client, began) = (sim.reload(), sim.now);
    sim.until("it is decided", |s| s.answers.contains_key(&client));
    assert!(sim.now.since(began) >= 6 * SECOND);
}

/// Every seat is served by somebody at every moment until the world rests.
fn rest_without_a_gap(sim: &mut Sim) {
    loop {
        assert_eq!(unready(sim), 0, "a seat has nobody: {:?}", sim.generations());
        if !sim.step() {
            return;
        }
    }
}

#[test]
fn a_rollout_taken_back_restores_the_old_workers_before_the_new_ones_drain() {
    let mut sim = stepwise(4, 1);
    sim.at_seat(2, 2, STILLBORN);
    let client = sim.reload();
    rest_without_a_gap(&mut sim);
    assert_eq!(sim.generations(), [(0, 1), (1, 1), (2, 1), (3, 1)]);
    assert_eq!(sim.fleet.workers.len(), 4);
    assert!(sim.refused(client).contains("worker web/2 of generation 2"));
    let kills = sim.count(|a| matches!(a, Action::Kill { .. } | Action::Finish { .. }));
    assert_eq!(kills, 0, "who has accepted is drained");
}

#[test]
fn a_rollout_that_is_taken_back_for_a_worker_that_hangs_leaves_no_gap_either() {
    let mut sim = stepwise(4, 2);
    sim.at_seat(3, 2, SLEEPER);
    sim.reload();
    rest_without_a_gap(&mut sim);
    assert_eq!(sim.generations(), [(0, 1), (1, 1), (2, 1), (3, 1)]);
}

#[test]
fn a_new_worker_holds_its_seat_while_the_restored_one_crash_loops() {
    let mut sim = stepwise(4, 1);
    sim.at_seat(2, 2, STILLBORN);
    sim.rules.push((None, Some(0), 1..=1, STILLBORN));
    sim.reload();
    sim.pass(60 * SECOND);
    assert_eq!(unready(&sim), 0);
    assert_eq!(sim.generations(), [(0, 2), (1, 1), (2, 1), (3, 1)]);
    let web = &sim.fleet.services[&ServiceName::from("web")];
    assert!(web.backoff.early_deaths > 3, "the restored worker is throttled");
    sim.rules.pop();
    rest_without_a_gap(&mut sim);
    assert_eq!(sim.generations(), [(0, 1), (1, 1), (2, 1), (3, 1)]);
}

#[test]
fn a_stand_in_that_dies_leaves_its_seat_to_the_restored_worker() {
    let mut sim = stepwise(4, 1);
    sim.at_seat(1, 2, STILLBORN);
    sim.rules.push((None, Some(0), 1..=1, Life { ready: Some(3 * SECOND), ..GOOD }));
    sim.reload();
    sim.until("it is taken back", |s| s.fleet.rollover.is_none());
    let stand_in = sim.worker_at(0);
    assert_eq!(sim.fleet.workers[&stand_in].generation, Generation(2));
    sim.kill(stand_in);
    sim.rest();
    assert_eq!(sim.generations(), [(0, 1), (1, 1), (2, 1), (3, 1)]);
    let web = &sim.fleet.services[&ServiceName::from("web")];
    assert_eq!(web.backoff.early_deaths, 0, "its death is not the old generation's");
}

#[test]
fn the_next_reload_replaces_stand_ins_and_restored_workers_alike() {
    let mut sim = stepwise(4, 1);
    sim.at_seat(2, 2, STILLBORN);
    sim.rules.push((None, Some(0), 1..=1, STILLBORN));
    sim.reload();
    sim.pass(SECOND);
    sim.rules.clear();
    let client = sim.reload();
    rest_without_a_gap(&mut sim);
    assert!(sim.answer(client).ok);
    assert_eq!(sim.generations(), [(0, 3), (1, 3), (2, 3), (3, 3)]);
    assert_eq!(sim.fleet.workers.len(), 4);
}

#[test]
fn a_second_rollout_that_fails_over_stand_ins_leaves_no_gap() {
    let mut sim = stepwise(4, 1);
    sim.at_seat(2, 2, STILLBORN);
    sim.rules.push((None, Some(0), 1..=1, STILLBORN));
    sim.reload();
    sim.pass(SECOND);
    sim.reload();
    sim.rules.push((None, Some(0), 1..=1, GOOD));
    rest_without_a_gap(&mut sim);
    assert_eq!(sim.generations(), [(0, 1), (1, 1), (2, 1), (3, 1)]);
}

#[test]
fn an_old_worker_that_dies_at_a_seat_whose_step_is_done_is_not_missed() {
    let mut sim = stepwise(4, 1);
    sim.at_seat(1, 2, Life { ready: Some(10 * SECOND), ..GOOD });
    sim.reload();
    sim.until("seat 0 is replaced", |s| s.generations().contains(&(0, 2)) && s.generations().len() == 4);
    sim.forget_log();
    let old = *sim.fleet.workers.iter().find(|(_, w)| w.phase == Phase::Draining).expect("it drains").0;
    sim.kill(old);
    assert_eq!(sim.spawns(), 0);
    sim.rest();
    assert_eq!(sim.generations(), [(0, 2), (1, 2), (2, 2), (3, 2)]);
}

fn two_services() -> Sim {
    Sim::started(plan(vec![service("web", 2), service("api", 2)]))
}

fn reload_web(sim: &mut Sim) -> crate::model::ClientId {
    sim.ask(Request::Reload { service: Some("web".into()), drained: true })
}

fn generations_of(sim: &Sim, name: &str) -> Vec<u64> {
    sim.fleet.workers_of(&name.into()).map(|(_, w)| w.generation.0).collect()
}

#[test]
fn a_reload_of_one_service_leaves_the_others_alone() {
    let mut sim = two_services();
    sim.ask(Request::Scale { service: "api".into(), workers: 2 });
    sim.forget_log();
    let client = reload_web(&mut sim);
    sim.rest();
    assert!(sim.answer(client).ok);
    let plan = sim.fleet.plan;
    let opened = Action::OpenListeners { plan, seats: vec![("web".into(), 2)] };
    let adopted = Action::Adopt { plan, seats: vec![("web".into(), 2), ("api".into(), 2)] };
    assert_eq!((sim.count(|a| *a == opened), sim.count(|a| *a == adopted)), (1, 1));
    assert_eq!(generations_of(&sim, "web"), [2, 2]);
    assert_eq!(generations_of(&sim, "api"), [1, 1]);
    let api = sim.fleet.workers_of(&"api".into()).next().expect("it lives").0;
    sim.kill(api);
    sim.rest();
    assert_eq!(generations_of(&sim, "api"), [1, 1], "its successor is of the service's generation");
    sim.signal(Word::Reload);
    sim.rest();
    assert_eq!((generations_of(&sim, "web"), generations_of(&sim, "api")), (vec![3, 3], vec![3, 3]));
}

#[test]
fn a_reload_of_one_service_is_refused_if_others_differ() {
    let mut sim = two_services();
    sim.file().services[1].grace = 5 * SECOND;
    let client = reload_web(&mut sim);
    sim.rest();
    assert!(sim.refused(client).contains("also changes api"));
    assert_eq!(generations_of(&sim, "web"), [1, 1]);
    assert_eq!(sim.fleet.plans.len(), 1, "the plan is let go of");
}

#[test]
fn a_reload_of_a_service_that_the_config_does_not_have_is_refused() {
    let mut sim = two_services();
    let client = sim.ask(Request::Reload { service: Some("nobody".into()), drained: false });
    sim.rest();
    assert!(sim.refused(client).contains("no service named nobody"));
}

#[test]
fn a_remembered_reload_of_one_service_becomes_one_of_all_but_never_one_of_another() {
    let mut sim = two_services();
    sim.reload();
    let web = reload_web(&mut sim);
    let api = sim.ask(Request::Reload { service: Some("api".into()), drained: false });
    assert!(sim.refused(api).contains("reload of web alone is waiting"));
    let all = sim.reload();
    sim.rest();
    assert!(sim.answer(web).ok && sim.answer(all).ok);
    assert_eq!((generations_of(&sim, "web"), generations_of(&sim, "api")), (vec![3, 3], vec![3, 3]));
}

#[test]
fn a_service_that_is_added_comes_up_with_the_reload() {
    let mut sim = Sim::running(1);
    sim.file().services.push(service("api", 3));
    sim.reload();
    sim.rest();
    assert_eq!((sim.ready("web"), sim.ready("api")), (1, 3));
}

#[test]
fn a_service_that_is_added_and_fails_takes_the_whole_reload_back() {
    let mut sim = Sim::running(1);
    sim.file().services.push(service("api", 2));
    sim.rules.push((Some("api".into()), Some(1), 2..=2, Life { ready: Some(SECOND), ..SLEEPER }));
    sim.rules.push((Some("api".into()), Some(0), 2..=2, Life { dies_unready: Some(SECOND), ..SLEEPER }));
    sim.reload();
    sim.until("it is decided", |s| s.fleet.rollover.is_none());
    assert_eq!(sim.generations(), [(0, 1)]);
    sim.rest();
    assert_eq!(sim.fleet.workers.len(), 1);
    assert!(!sim.fleet.services.contains_key(&"api".into()));
}

#[test]
fn a_service_that_is_removed_serves_its_queue_to_the_end_and_is_gone() {
    let mut sim = two_services();
    sim.file().services.remove(1);
    sim.forget_log();
    sim.reload();
    sim.until("it is decided", |s| s.fleet.rollover.is_none());
    let api = ServiceName::from("api");
    assert!(sim.fleet.services[&api].removed);
    let surplus = |w: &crate::model::fleet::Worker| w.drain.is_some_and(|d| d.why == DrainWhy::Surplus);
    assert!(sim.fleet.workers_of(&api).all(|(_, w)| surplus(w)));
    let last_calls =
        sim.count(|a| matches!(a, Action::Drain { order, .. } if order.why == DrainWhy::Surplus));
    assert_eq!(last_calls, 2);
    let scale = sim.ask(Request::Scale { service: api.clone(), workers: 3 });
    assert!(sim.refused(scale).contains("no service named api"));
    let drain = sim.ask(Request::Drain { service: Some(api.clone()) });
    assert!(sim.refused(drain).contains("no service named api"));
    sim.rest();
    assert!(!sim.fleet.services.contains_key(&api));
    assert_eq!(sim.fleet.plans.len(), 1, "nobody lives by the old plan any more");
}

#[test]
fn a_service_that_is_removed_and_comes_back_while_it_drains_serves() {
    let mut sim = two_services();
    let both = sim.file.clone();
    sim.file().services.remove(1);
    sim.reload();
    sim.until("it is decided", |s| s.fleet.rollover.is_none());
    sim.file = both;
    sim.reload();
    sim.rest();
    assert_eq!((sim.ready("web"), sim.ready("api")), (2, 2));
}

#[test]
fn a_reload_to_a_smaller_pool_gives_the_last_seats_a_last_call() {
    let mut sim = Sim::running(4);
    sim.file().services[0].pool = crate::model::plan::Pool::Fixed(2);
    sim.forget_log();
    sim.reload();
    sim.rest();
    assert_eq!(sim.generations(), [(0, 2), (1, 2)]);
    let calls = |call| sim.count(|a| matches!(a, Action::Drain { order, .. } if order.why == call));
    assert_eq!((calls(DrainWhy::Replaced), calls(DrainWhy::Surplus)), (2, 2));
}

#[test]
fn a_larger_pool_that_is_taken_back_gives_its_extra_seats_a_last_call() {
    let mut sim = Sim::running(2);
    sim.file().services[0].pool = crate::model::plan::Pool::Fixed(4);
    sim.file().rollout.step = Some(3);
    sim.at_seat(3, 2, STILLBORN);
    sim.forget_log();
    sim.reload();
    sim.rest();
    assert_eq!(sim.generations(), [(0, 1), (1, 1)]);
    let calls = |call| sim.count(|a| matches!(a, Action::Drain { order, .. } if order.why == call));
    // Generation 1 drained in the first step and was restored; of generation 2 seat 2 has no old one.
    assert_eq!((calls(DrainWhy::Replaced), calls(DrainWhy::Surplus)), (4, 1));
}
