//! Seats in trouble, their rescuers, and the watchdog.

use super::sim::{GOOD, Life, MS, SECOND, STILLBORN, Sim, plan, service};
use crate::model::fleet::Trouble;
use crate::model::plan::Pool;
use crate::model::{Seat, ServiceName, WorkerId};
use crate::policy::{Action, Event, Queue, Reading, Request, Word, pulse_interval};
use std::time::Duration;

/// What a worker's slot shows while a test goes on.
#[derive(Clone, Copy, PartialEq)]
enum Looks {
    Well,
    Stuck,
    Silent,
    Full,
}

fn per_worker(workers: u32) -> Sim {
    let mut file = plan(vec![service("web", workers)]);
    file.services[0].per_worker = true;
    Sim::started(file)
}

/// One look: seats named look as said, all others well.
fn look(sim: &mut Sim, looks: &[(u32, Looks)], waiting: &[u32]) {
    let reading = |(id, w): (&WorkerId, &crate::model::fleet::Worker)| {
        let looks = looks.iter().find(|(seat, _)| *seat == w.seat.0).map_or(Looks::Well, |(_, l)| *l);
        let beat = if matches!(looks, Looks::Stuck | Looks::Silent) { 7 } else { sim.now.0 };
        let (busy, full) = (looks == Looks::Stuck, looks == Looks::Full);
        Reading { worker: *id, beat, busy, full, ..Reading::default() }
    };
    let workers = sim.fleet.workers.iter().map(reading).collect();
    let queue = |seat: &u32| Queue { service: "web".into(), seat: Some(Seat(*seat)), waiting: 3 };
    sim.tell(Event::Pulse { workers, queues: waiting.iter().map(queue).collect() });
}

/// Looks every 50 ms for this long.
fn watch(sim: &mut Sim, time: Duration, looks: &[(u32, Looks)], waiting: &[u32]) {
    let end = sim.now + time;
    while sim.now < end {
        sim.pass(50 * MS);
        look(sim, looks, waiting);
    }
}

fn trouble(sim: &Sim, seat: u32) -> Option<Trouble> {
    sim.fleet.services[&ServiceName::from("web")].trouble.get(&Seat(seat)).copied()
}

fn rescuer(sim: &Sim, seat: u32) -> Option<WorkerId> {
    trouble(sim, seat).and_then(|t| t.rescuer)
}

fn rescues(sim: &Sim) -> usize {
    sim.count(|a| matches!(a, Action::Rescue { .. }))
}

fn ends(sim: &Sim) -> usize {
    sim.count(|a| matches!(a, Action::EndRescue { .. }))
}

#[test]
fn workers_that_are_well_need_no_rescue() {
    let mut sim = per_worker(3);
    watch(&mut sim, 5 * SECOND, &[], &[0, 1, 2]);
    assert_eq!((rescues(&sim), trouble(&sim, 0)), (0, None));
}

#[test]
fn a_worker_stuck_in_one_piece_of_work_is_rescued_within_a_seventh_of_a_second() {
    let mut sim = per_worker(2);
    watch(&mut sim, 100 * MS, &[], &[]);
    watch(&mut sim, 150 * MS, &[(0, Looks::Stuck)], &[]);
    assert_eq!(rescuer(&sim, 0), Some(sim.worker_at(1)));
    assert_eq!(rescues(&sim), 1);
}

#[test]
fn a_short_piece_of_work_is_nobody_s_business() {
    let mut sim = per_worker(2);
    for _ in 0..20 {
        watch(&mut sim, 50 * MS, &[(0, Looks::Stuck)], &[]);
        watch(&mut sim, 50 * MS, &[], &[]);
    }
    assert_eq!(rescues(&sim), 0);
}

#[test]
fn a_worker_that_is_always_at_work_but_turns_is_well() {
    let mut sim = per_worker(2);
    for _ in 0..20 {
        sim.pass(50 * MS);
        let reading = |worker: &WorkerId| Reading {
            worker: *worker,
            beat: sim.now.0,
            busy: true,
            ..Reading::default()
        };
        let workers = sim.fleet.workers.keys().map(reading).collect();
        sim.tell(Event::Pulse { workers, queues: Vec::new() });
    }
    assert_eq!((rescues(&sim), trouble(&sim, 0)), (0, None));
}

#[test]
fn a_queue_that_is_empty_or_another_s_says_nothing_of_a_silent_worker() {
    let mut sim = per_worker(2);
    watch(&mut sim, 100 * MS, &[], &[]);
    for _ in 0..10 {
        sim.pass(50 * MS);
        let workers =
            sim.fleet.workers.keys().map(|id| Reading { worker: *id, beat: 7, ..Reading::default() });
        let queue = |service: &str, seat, waiting| Queue { service: service.into(), seat, waiting };
        let seat = Some(Seat(0));
        let queues = vec![queue("web", seat, 0), queue("api", seat, 3), queue("web", None, 3)];
        let workers = workers.collect();
        sim.tell(Event::Pulse { workers, queues });
    }
    assert_eq!(rescues(&sim), 0);
}

#[test]
fn an_idle_worker_that_was_woken_at_this_moment_is_not_stuck() {
    let mut sim = per_worker(2);
    watch(&mut sim, 100 * MS, &[], &[]);
    watch(&mut sim, 450 * MS, &[(0, Looks::Silent)], &[]);
    watch(&mut sim, 50 * MS, &[(0, Looks::Stuck)], &[0]);
    watch(&mut sim, 50 * MS, &[], &[]);
    assert_eq!(rescues(&sim), 0, "it beats twice a second only while it waits");
}

#[test]
fn a_silent_worker_with_a_waiting_queue_is_rescued() {
    let mut sim = per_worker(2);
    watch(&mut sim, 100 * MS, &[], &[]);
    watch(&mut sim, 300 * MS, &[(0, Looks::Silent)], &[0]);
    assert!(rescuer(&sim, 0).is_some());
}

#[test]
fn a_rescue_goes_on_while_the_worker_stands_still_though_the_rescuer_empties_its_queue() {
    let mut sim = per_worker(2);
    watch(&mut sim, 100 * MS, &[], &[]);
    watch(&mut sim, 300 * MS, &[(0, Looks::Silent)], &[0]);
    watch(&mut sim, 500 * MS, &[(0, Looks::Silent)], &[]);
    assert_eq!(ends(&sim), 0);
    watch(&mut sim, 100 * MS, &[], &[]);
    assert_eq!((rescuer(&sim, 0), rescues(&sim)), (None, 1));
}

#[test]
fn a_worker_silent_for_more_than_a_second_is_rescued_even_without_a_queue() {
    let mut sim = per_worker(2);
    watch(&mut sim, 100 * MS, &[], &[]);
    watch(&mut sim, SECOND, &[(0, Looks::Silent)], &[]);
    assert_eq!(rescuer(&sim, 0), None);
    watch(&mut sim, 500 * MS, &[(0, Looks::Silent)], &[]);
    assert!(rescuer(&sim, 0).is_some());
}

#[test]
fn a_full_worker_is_rescued_and_a_full_sibling_rescues_nobody() {
    let mut sim = per_worker(3);
    watch(&mut sim, 300 * MS, &[(0, Looks::Full), (1, Looks::Full)], &[]);
    let third = Some(sim.worker_at(2));
    assert_eq!((rescuer(&sim, 0), rescuer(&sim, 1)), (third, third));
}

#[test]
fn a_seat_whose_worker_is_dead_and_throttled_is_rescued_until_it_is_back() {
    let mut sim = per_worker(2);
    sim.at_seat(0, 0, STILLBORN);
    let worker = sim.worker_at(0);
    sim.kill(worker);
    watch(&mut sim, SECOND, &[], &[]);
    assert_eq!(rescuer(&sim, 0), Some(sim.worker_at(1)));
    sim.everybody(GOOD);
    watch(&mut sim, 30 * SECOND, &[], &[]);
    assert_eq!((trouble(&sim, 0), ends(&sim), rescues(&sim)), (None, 1, 1));
}

#[test]
fn a_worker_that_is_replaced_at_once_needs_no_rescue() {
    let mut sim = per_worker(2);
    watch(&mut sim, 100 * MS, &[], &[]);
    let worker = sim.worker_at(0);
    sim.kill(worker);
    watch(&mut sim, SECOND, &[], &[]);
    assert_eq!(rescues(&sim), 0);
}

#[test]
fn a_rescue_ends_when_the_worker_is_well_again() {
    let mut sim = per_worker(2);
    watch(&mut sim, 300 * MS, &[(0, Looks::Stuck)], &[]);
    let from = rescuer(&sim, 0).expect("it is rescued");
    look(&mut sim, &[], &[]);
    assert_eq!(trouble(&sim, 0), None);
    assert_eq!(sim.count(|a| matches!(a, Action::EndRescue { seat: Seat(0), from: f, .. } if *f == from)), 1);
}

#[test]
fn rescues_are_shared_among_the_siblings() {
    let mut sim = per_worker(4);
    watch(&mut sim, 300 * MS, &[(0, Looks::Full), (1, Looks::Full)], &[]);
    assert_ne!(rescuer(&sim, 0), rescuer(&sim, 1));
}

#[test]
fn a_rescuer_that_dies_is_followed_by_another() {
    let mut sim = per_worker(3);
    watch(&mut sim, 300 * MS, &[(0, Looks::Full)], &[]);
    let first = rescuer(&sim, 0).expect("it is rescued");
    sim.kill(first);
    let second = rescuer(&sim, 0);
    assert!(second.is_some() && second != Some(first));
    assert_eq!((rescues(&sim), ends(&sim)), (2, 0));
}

#[test]
fn a_rescuer_that_drains_is_followed_by_another() {
    let mut sim = per_worker(3);
    watch(&mut sim, 300 * MS, &[(0, Looks::Full), (1, Looks::Full)], &[]);
    assert_eq!(rescuer(&sim, 0), Some(sim.worker_at(2)));
    watch(&mut sim, 100 * MS, &[(0, Looks::Full)], &[]);
    sim.ask(Request::Scale { service: "web".into(), workers: 2 });
    assert_eq!(rescuer(&sim, 0), Some(sim.worker_at(1)));
}

#[test]
fn a_rescuer_that_gets_into_trouble_hands_over() {
    let mut sim = per_worker(3);
    watch(&mut sim, 300 * MS, &[(0, Looks::Full)], &[]);
    let first = rescuer(&sim, 0).expect("it is rescued");
    let seat = sim.fleet.workers[&first].seat.0;
    watch(&mut sim, 300 * MS, &[(0, Looks::Full), (seat, Looks::Stuck)], &[]);
    let last = Some(sim.worker_at(3 - seat));
    assert_eq!((rescuer(&sim, 0), rescuer(&sim, seat)), (last, last));
    assert_eq!(ends(&sim), 1);
}

#[test]
fn with_nobody_left_to_rescue_the_seats_wait_for_the_first_that_is_well() {
    let mut sim = per_worker(2);
    watch(&mut sim, 500 * MS, &[(0, Looks::Full), (1, Looks::Full)], &[]);
    assert_eq!(rescues(&sim), 0);
    watch(&mut sim, 50 * MS, &[(0, Looks::Full)], &[]);
    assert_eq!(rescuer(&sim, 0), Some(sim.worker_at(1)));
}

#[test]
fn shared_listeners_need_no_rescue() {
    let mut sim = Sim::running(2);
    watch(&mut sim, SECOND, &[(0, Looks::Full)], &[0]);
    assert_eq!((rescues(&sim), trouble(&sim, 0)), (0, None));
}

#[test]
fn a_seat_that_is_retired_is_rescued_no_longer() {
    let mut sim = per_worker(3);
    watch(&mut sim, 300 * MS, &[(2, Looks::Full)], &[]);
    assert!(rescuer(&sim, 2).is_some());
    sim.ask(Request::Scale { service: "web".into(), workers: 2 });
    assert_eq!((trouble(&sim, 2), ends(&sim)), (None, 1));
}

#[test]
fn a_held_service_is_not_in_trouble() {
    let mut sim = per_worker(2);
    watch(&mut sim, 300 * MS, &[(0, Looks::Full)], &[]);
    sim.signal(Word::Drain);
    assert_eq!(trouble(&sim, 0), None);
    sim.rest();
    watch(&mut sim, SECOND, &[], &[0, 1]);
    assert_eq!((trouble(&sim, 0), rescues(&sim)), (None, 1));
}

#[test]
fn a_rescue_goes_on_over_a_reload_until_the_new_worker_has_been_looked_at() {
    let mut sim = per_worker(2);
    watch(&mut sim, 300 * MS, &[(0, Looks::Full)], &[]);
    sim.reload();
    sim.until("it is decided", |s| s.fleet.rollover.is_none());
    assert_eq!(rescuer(&sim, 0), Some(sim.worker_at(1)), "a new sibling has taken over");
    look(&mut sim, &[], &[]);
    assert_eq!((trouble(&sim, 0), ends(&sim)), (None, 1));
}

#[test]
fn a_reload_to_shared_listeners_ends_every_rescue() {
    let mut sim = per_worker(2);
    watch(&mut sim, 300 * MS, &[(0, Looks::Full)], &[]);
    sim.file().services[0].per_worker = false;
    sim.reload();
    sim.rest();
    assert_eq!(trouble(&sim, 0), None);
}

#[test]
fn orphaned_sockets_get_a_sibling_or_else_the_last_that_drains() {
    let orphaned = |sim: &mut Sim, seat| {
        let event = Event::Orphaned { service: "web".into(), seat };
        sim.tell(event).iter().find_map(|a| match a {
            Action::LastRites { to, .. } => Some(*to),
            _ => None,
        })
    };
    let mut sim = per_worker(1);
    let worker = sim.worker_at(0);
    assert_eq!(orphaned(&mut sim, Some(Seat(4))), Some(Some(worker)));
    sim.signal(Word::Quit);
    assert_eq!(orphaned(&mut sim, None), Some(Some(worker)), "it drains, and can serve them to the end");
    sim.kill(worker);
    assert_eq!(orphaned(&mut sim, None), Some(None), "nobody is left: they are closed");
}

fn stands_still(sim: &mut Sim, seat: u32, time: Duration) {
    watch(sim, time, &[(seat, Looks::Silent)], &[]);
}

#[test]
fn the_watchdog_kills_a_worker_that_stands_still_and_its_end_is_a_death() {
    let mut sim = Sim::running(2);
    let worker = sim.worker_at(0);
    watch(&mut sim, 100 * MS, &[], &[]);
    stands_still(&mut sim, 0, 29 * SECOND);
    assert_eq!(sim.noted("hung"), 0);
    stands_still(&mut sim, 0, 2 * SECOND);
    assert_eq!(sim.noted("hung"), 1);
    assert!(!sim.fleet.workers.contains_key(&worker));
    assert_eq!(sim.count(|a| matches!(a, Action::Forget { death: true, .. })), 1);
    assert_eq!(sim.ready("web"), 2);
    let why = sim.fleet.services[&ServiceName::from("web")].last_death.clone().unwrap_or_default();
    assert!(why.contains("stood still for 30s (watchdog)"), "{why}");
}

#[test]
fn the_watchdog_is_off_at_zero() {
    let mut file = plan(vec![service("web", 1)]);
    file.watchdog = Duration::ZERO;
    let mut sim = Sim::started(file);
    stands_still(&mut sim, 0, 100 * SECOND);
    assert_eq!(sim.noted("hung"), 0);
}

#[test]
fn time_that_the_master_missed_is_nobody_s_silence() {
    let mut sim = Sim::running(2);
    watch(&mut sim, 100 * MS, &[], &[]);
    stands_still(&mut sim, 0, 20 * SECOND);
    sim.now = sim.now + 100 * SECOND;
    look(&mut sim, &[(0, Looks::Silent), (1, Looks::Silent)], &[]);
    stands_still(&mut sim, 0, 20 * SECOND);
    assert_eq!(sim.noted("hung"), 0);
    stands_still(&mut sim, 0, 11 * SECOND);
    assert_eq!(sim.noted("hung"), 1, "but it is found out after the whole time");
}

#[test]
fn a_worker_that_hangs_in_the_soak_fails_the_reload() {
    let mut sim = Sim::running(1);
    sim.file().rollout.soak = 100 * SECOND;
    sim.reload();
    sim.until("it soaks", |s| s.ready("web") == 2);
    let client = sim.reload();
    let newest = *sim.fleet.workers.keys().last().expect("the new one");
    while sim.fleet.serving.0 == 1 && sim.fleet.workers.contains_key(&newest) {
        sim.pass(50 * MS);
        let reading = |id: &WorkerId| Reading {
            worker: *id,
            beat: if *id == newest { 7 } else { sim.now.0 },
            ..Reading::default()
        };
        let workers = sim.fleet.workers.keys().map(reading).collect();
        sim.tell(Event::Pulse { workers, queues: Vec::new() });
    }
    assert!(sim.note_text("reload_failed").contains("stood still"));
    sim.hang_up(client);
}

#[test]
fn old_and_new_that_hang_together_leave_the_seat_to_whoever_is_well() {
    let mut sim = Sim::running(2);
    sim.file().rollout.soak = 100 * SECOND;
    sim.reload();
    sim.until("it soaks", |s| s.ready("web") == 4);
    // The old one of seat 0 and the new one of seat 1 stand still.
    let beats = |w: &crate::model::fleet::Worker| (w.seat.0 == 1) == (w.generation.0 == 1);
    for _ in 0..70 {
        sim.pass(500 * MS);
        let reading = |(id, w): (&WorkerId, &crate::model::fleet::Worker)| {
            let beat = if beats(w) { sim.now.0 } else { 7 };
            Reading { worker: *id, beat, ..Reading::default() }
        };
        let workers = sim.fleet.workers.iter().map(reading).collect();
        sim.tell(Event::Pulse { workers, queues: Vec::new() });
        if sim.fleet.rollover.is_none() {
            break;
        }
    }
    assert_eq!(sim.generations(), [(0, 2), (1, 1)], "the new one of seat 0 stands in");
    sim.rest();
    assert_eq!(sim.generations(), [(0, 1), (1, 1)]);
}

#[test]
fn a_worker_that_hangs_while_it_drains_is_killed_too() {
    let mut sim = Sim::running(1);
    let worker = sim.worker_at(0);
    sim.deafen(worker);
    sim.file().services[0].grace = 1000 * SECOND;
    sim.reload();
    sim.rest();
    let old = sim.worker_at(0);
    sim.deafen(old);
    sim.rules.push((None, None, 3..=3, Life { drains: None, ..GOOD }));
    sim.reload();
    sim.pass(SECOND);
    let mut looks = 0;
    while sim.fleet.workers.contains_key(&old) && looks < 1_000 {
        sim.pass(50 * MS);
        looks += 1;
        let reading = |id: &WorkerId| Reading {
            worker: *id,
            beat: if *id == old { 7 } else { sim.now.0 },
            ..Reading::default()
        };
        let workers = sim.fleet.workers.keys().map(reading).collect();
        sim.tell(Event::Pulse { workers, queues: Vec::new() });
    }
    assert!((580..=620).contains(&looks), "{looks} looks");
    assert_eq!(sim.ready("web"), 1);
}

#[test]
fn figures_are_wanted_closely_only_where_a_rescue_may_be_needed() {
    let interval = |sim: &Sim| pulse_interval(&sim.fleet).map(|d| d.as_millis());
    assert_eq!(interval(&Sim::new(plan(vec![service("web", 2)]))), None, "nobody is there");
    assert_eq!(interval(&Sim::running(2)), Some(500));
    let mut sim = per_worker(1);
    assert_eq!(interval(&sim), Some(500));
    sim.ask(Request::Scale { service: "web".into(), workers: 2 });
    sim.rest();
    assert_eq!(interval(&sim), Some(50));
    let mut file = plan(vec![service("api", 2), service("web", 1)]);
    file.services[1].per_worker = true;
    file.services[1].pool = Pool::Range { min: 1, max: 2 };
    assert_eq!(interval(&Sim::started(file)), Some(50));
}
