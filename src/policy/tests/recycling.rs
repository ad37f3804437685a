//! Workers that have used up what they may use.

use super::sim::{GOOD, Life, MS, SECOND, STILLBORN, Sim, plan, service};
use crate::model::fleet::DrainWhy;
use crate::model::plan::ServicePlan;
use crate::model::{Moment, Phase, ServiceName, WorkerId};
use crate::policy::{Action, Event, Reading, Request, Word};
use std::time::Duration;

const MIB: u64 = 1 << 20;

fn limited(workers: u32, limit: impl Fn(&mut ServicePlan)) -> Sim {
    let mut file = plan(vec![service("web", workers)]);
    limit(&mut file.services[0]);
    Sim::started(file)
}

/// Figures every half second for this long: memory and requests of each worker.
fn pulses(sim: &mut Sim, time: Duration, figures: impl Fn(WorkerId) -> (u64, u64)) {
    let end = sim.now + time;
    while sim.now < end {
        sim.pass(500 * MS);
        let reading = |id: &WorkerId| {
            let (memory, requests) = figures(*id);
            Reading { worker: *id, beat: sim.now.0, memory, requests, ..Reading::default() }
        };
        let workers = sim.fleet.workers.keys().map(reading).collect();
        sim.tell(Event::Pulse { workers, queues: Vec::new() });
    }
}

fn idle(sim: &mut Sim, time: Duration) {
    pulses(sim, time, |_| (0, 0));
}

fn tired(sim: &Sim) -> Vec<WorkerId> {
    let tired = sim.fleet.workers.iter().filter(|(_, w)| w.phase == Phase::Ready && w.tired.is_some());
    tired.map(|(id, _)| *id).collect()
}

fn recycled(sim: &Sim) -> usize {
    sim.count(|a| matches!(a, Action::Drain { order, .. } if order.why == DrainWhy::Recycled))
}

#[test]
fn without_limits_nobody_is_ever_tired() {
    let mut sim = Sim::running(2);
    sim.forget_log();
    pulses(&mut sim, 100 * SECOND, |_| (u64::MAX, u64::MAX));
    assert_eq!((tired(&sim), sim.spawns()), (vec![], 0));
}

#[test]
fn a_worker_that_uses_too_much_memory_gives_its_seat_to_a_fresh_one() {
    let mut sim = limited(1, |s| s.max_memory = 512 * MIB);
    let old = sim.worker_at(0);
    pulses(&mut sim, SECOND, |_| (400 * MIB, 0));
    assert_eq!(tired(&sim), []);
    sim.since_generation(1, Life { ready: Some(3 * SECOND), ..GOOD });
    pulses(&mut sim, SECOND, |id| if id == old { (512 * MIB, 0) } else { (MIB, 0) });
    assert_eq!(tired(&sim), [old]);
    assert_eq!(sim.note_text("tired"), "worker is to be replaced: it has used 512 MiB");
    assert_eq!((sim.fleet.workers.len(), recycled(&sim)), (2, 0), "it serves on until the other is ready");
    idle(&mut sim, 4 * SECOND);
    let expected = "worker is ready after 3.0s and replaces one that is used up: it has used 512 MiB";
    assert_eq!(sim.note_text("ready"), expected);
    assert_eq!(recycled(&sim), 1);
    assert!(sim.unready.is_empty(), "no balancer hears of it");
    sim.rest();
    assert_eq!((sim.fleet.workers.len(), sim.ready("web"), tired(&sim)), (1, 1, vec![]));
    assert!(sim.worker_at(0) > old && sim.generations() == [(0, 1)]);
    assert_eq!(sim.count(|a| matches!(a, Action::Forget { death: true, .. })), 0);
}

#[test]
fn a_worker_that_has_answered_enough_is_replaced() {
    let mut sim = limited(1, |s| s.max_requests = 1_000);
    let old = sim.worker_at(0);
    pulses(&mut sim, SECOND, |_| (0, 899));
    assert_eq!(tired(&sim), []);
    pulses(&mut sim, SECOND, |id| if id == old { (0, 1_000) } else { (0, 0) });
    assert_eq!(recycled(&sim), 1);
    assert!(sim.note_text("ready").ends_with("it has answered 1000 requests"));
}

#[test]
fn old_workers_are_replaced_one_after_the_other_and_not_all_at_one_age() {
    let mut sim = limited(4, |s| s.max_age = 1_000 * SECOND);
    sim.forget_log();
    idle(&mut sim, 890 * SECOND);
    assert_eq!(sim.spawns(), 0);
    let mut most = 0;
    let mut at = Vec::new();
    while sim.now.0 < 2_050_000_000_000 {
        let before = recycled(&sim);
        idle(&mut sim, 500 * MS);
        most = most.max(tired(&sim).len());
        at.extend((recycled(&sim) > before).then_some(sim.now));
    }
    assert_eq!((recycled(&sim), sim.spawns()), (4, 4), "each once");
    assert!(at[3].since(at[0]) >= 5 * SECOND, "{at:?}");
    assert_eq!((sim.ready("web"), sim.fleet.workers.len()), (4, 4));
}

#[test]
fn one_at_a_time_is_replaced_and_a_seat_only_when_its_last_one_has_gone() {
    let mut sim = limited(3, |s| s.max_requests = 10);
    sim.since_generation(1, Life { ready: Some(2 * SECOND), drains: Some(70 * SECOND), ..GOOD });
    sim.forget_log();
    let end = sim.now + 200 * SECOND;
    while sim.now < end {
        let grown = |at: Moment| sim.now.since(at) >= 60 * SECOND;
        let grown = sim.fleet.workers.iter().filter(|(_, w)| w.ready_at.is_some_and(grown));
        let grown: Vec<WorkerId> = grown.map(|(id, _)| *id).collect();
        pulses(&mut sim, 500 * MS, |id| (0, if grown.contains(&id) { 10 } else { 0 }));
        let count = |phase| sim.fleet.workers.values().filter(|w| w.phase == phase).count();
        assert!(tired(&sim).len() <= 1 && count(Phase::Starting) <= 1);
        assert!(count(Phase::Draining) <= 3, "what drains does not pile up");
        assert!(sim.ready("web") >= 3);
    }
    assert!(recycled(&sim) >= 6, "{}", recycled(&sim));
    assert_eq!(sim.noted("short_lived"), 0);
}

#[test]
fn a_tired_worker_serves_on_when_its_replacement_does_not_come_up() {
    let mut sim = limited(2, |s| s.max_requests = 10);
    let old = sim.worker_at(0);
    let figures = |id| if id == old { (0, 10) } else { (0, 0) };
    sim.since_generation(1, STILLBORN);
    sim.forget_log();
    pulses(&mut sim, 60 * SECOND, figures);
    let streak = sim.fleet.services[&ServiceName::from("web")].backoff;
    assert!((6..=11).contains(&sim.spawns()), "the delay grows: {}", sim.spawns());
    assert!(streak.early_deaths >= 5, "{streak:?}");
    assert_eq!((tired(&sim), sim.ready("web"), recycled(&sim)), (vec![old], 2, 0));
    sim.since_generation(1, GOOD);
    pulses(&mut sim, 60 * SECOND, figures);
    assert_eq!((tired(&sim), recycled(&sim), sim.noted("recovered")), (vec![], 1, 1));
    assert!(sim.worker_at(0) > old);
}

#[test]
fn a_tired_worker_that_dies_is_replaced_by_the_one_that_is_coming_up() {
    let mut sim = limited(1, |s| s.max_requests = 10);
    let old = sim.worker_at(0);
    sim.since_generation(1, Life { ready: Some(2 * SECOND), ..GOOD });
    pulses(&mut sim, SECOND, |_| (0, 10));
    sim.forget_log();
    sim.kill(old);
    assert_eq!(sim.spawns(), 0);
    sim.rest();
    assert_eq!((sim.ready("web"), recycled(&sim)), (1, 0));
}

#[test]
fn nobody_is_tired_during_a_reload_and_who_was_goes_with_it() {
    let mut sim = limited(2, |s| s.max_requests = 10);
    sim.since_generation(2, Life { ready: Some(5 * SECOND), ..GOOD });
    sim.reload();
    pulses(&mut sim, 2 * SECOND, |_| (0, 10));
    assert_eq!(tired(&sim), []);
    idle(&mut sim, 10 * SECOND);

    // The other way round: tired first, then a reload before its replacement is ready.
    sim.since_generation(2, Life { ready: Some(3 * SECOND), ..GOOD });
    pulses(&mut sim, 500 * MS, |_| (0, 10));
    assert_eq!(tired(&sim).len(), 1);
    let client = sim.reload();
    idle(&mut sim, 20 * SECOND);
    assert!(sim.answer(client).ok);
    assert_eq!(sim.generations(), [(0, 3), (1, 3)]);
    assert_eq!(sim.fleet.workers.len(), 2);
}

#[test]
fn a_reload_that_fails_leaves_a_tired_worker_to_its_replacement() {
    let mut sim = limited(1, |s| s.max_requests = 10);
    let old = sim.worker_at(0);
    sim.since_generation(1, Life { ready: Some(4 * SECOND), ..GOOD });
    pulses(&mut sim, 500 * MS, |_| (0, 10));
    assert_eq!(tired(&sim), [old]);
    sim.since_generation(2, STILLBORN);
    let client = sim.reload();
    sim.pass(SECOND);
    assert!(!sim.answer(client).ok);
    assert_eq!(tired(&sim), [old]);
    sim.rest();
    assert_eq!((sim.generations(), recycled(&sim)), (vec![(0, 1)], 1));
}

#[test]
fn nobody_is_tired_while_the_service_is_held_throttled_or_stops() {
    let mut held = limited(2, |s| s.max_requests = 10);
    held.file().services[0].delay = 5 * SECOND;
    held.reload();
    held.rest();
    held.ask(Request::Drain { service: None });
    pulses(&mut held, SECOND, |_| (0, 10));
    assert_eq!(tired(&held), [], "it drains soon");

    let mut throttled = limited(2, |s| s.max_requests = 10);
    throttled.since_generation(1, STILLBORN);
    let victim = throttled.worker_at(1);
    throttled.kill(victim);
    pulses(&mut throttled, 5 * SECOND, |_| (0, 10));
    assert_eq!(tired(&throttled), []);

    let mut stopping = limited(2, |s| s.max_requests = 10);
    stopping.signal(Word::Quit);
    pulses(&mut stopping, SECOND, |_| (0, 10));
    assert_eq!(tired(&stopping), []);
}

#[test]
fn to_an_earlier_image_a_recycled_worker_is_a_replaced_one() {
    let written = serde_json::to_value(DrainWhy::Recycled).unwrap();
    assert_eq!(serde_json::from_value::<DrainWhy>(written).unwrap(), DrainWhy::Replaced);
    assert!(!DrainWhy::Recycled.unready());
}

fn hurry(sim: &Sim) -> Option<&str> {
    sim.fleet.services[&ServiceName::from("web")].hurry.as_ref().map(|hurry| hurry.why.as_str())
}

#[test]
fn a_limit_below_what_a_worker_needs_at_once_is_told_and_costs_one_worker_a_minute() {
    let mut sim = limited(2, |s| s.max_memory = 64 * MIB);
    sim.forget_log();
    pulses(&mut sim, 2 * SECOND, |_| (80 * MIB, 0));
    assert_eq!((recycled(&sim), sim.noted("short_lived")), (1, 1), "the first is replaced at once");
    let told = hurry(&sim).unwrap();
    assert!(told.starts_with("its workers reach restart.max_memory within ") && told.ends_with("too low?"));
    pulses(&mut sim, 55 * SECOND, |_| (80 * MIB, 0));
    assert_eq!(recycled(&sim), 1);
    pulses(&mut sim, 243 * SECOND, |_| (80 * MIB, 0));
    assert_eq!((recycled(&sim), sim.noted("short_lived")), (5, 1), "in five minutes");
    assert!(hurry(&sim).is_some());

    pulses(&mut sim, 122 * SECOND, |_| (MIB, 0));
    assert_eq!(hurry(&sim), None, "it has got better");
}

#[test]
fn a_limit_that_is_reached_late_is_no_trouble() {
    let mut sim = limited(2, |s| s.max_memory = 64 * MIB);
    idle(&mut sim, 61 * SECOND);
    sim.forget_log();
    let last = sim.worker_at(0).max(sim.worker_at(1));
    pulses(&mut sim, 5 * SECOND, |id| (if id <= last { 80 * MIB } else { 0 }, 0));
    assert_eq!((recycled(&sim), hurry(&sim)), (2, None));
}

#[test]
fn another_generation_begins_without_the_old_ones_trouble() {
    let mut sim = limited(1, |s| s.max_requests = 10);
    pulses(&mut sim, 2 * SECOND, |_| (0, 10));
    assert!(hurry(&sim).unwrap().contains("restart.max_requests"));
    sim.tell(Event::Signal(Word::Reload));
    sim.rest();
    idle(&mut sim, SECOND);
    assert_eq!(hurry(&sim), None);
}
