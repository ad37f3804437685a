//! Storms: random events in any order, sense or nonsense. Every decision is held to the rules of
//! `watch`; afterwards, in a world where workers come up, everything settles, and a stop ends it.

use super::sim::{GOOD, Life, MS, SECOND, SLEEPER, STILLBORN, Sim, plan, service};
use crate::model::fleet::{Hold, Service};
use crate::model::plan::{Plan, Pool, ServicePlan};
use crate::model::{ClientId, Phase, PlanId, Seat, ServiceName, WorkerId};
use crate::policy::{Event, NewConfig, Queue, Reading, Request, Word};
use proptest::prelude::*;
use std::time::Duration;

/// One gust. Numbers choose among what is there when it comes.
#[derive(Clone, Debug)]
enum Gust {
    Signal(Word),
    Ask(Request),
    Gone(u64),
    Pass(Duration),
    Kill(usize),
    /// An event about a worker, living or not, that it has no reason for.
    Untimely(usize, u8),
    /// An answer that nobody waits for.
    Stray(u8),
    Pulse(Vec<Marks>, u32),
    File(Option<Plan>),
    Lives(Life),
    Fails(bool, bool),
}

/// Whether a worker beats, is busy, is full, has what is meant to last, and has answered all it is to answer.
type Marks = (bool, bool, bool, bool, bool);

fn names() -> impl Strategy<Value = ServiceName> {
    prop_oneof![5 => Just("web"), 3 => Just("api"), 1 => Just("none")].prop_map(ServiceName::from)
}

fn lives() -> impl Strategy<Value = Life> {
    prop_oneof![
        4 => Just(GOOD),
        1 => Just(STILLBORN),
        1 => Just(SLEEPER),
        1 => Just(Life { forks: false, ..GOOD }),
        1 => Just(Life { drains: None, finishes: false, ..GOOD }),
        1 => Just(Life { drains: Some(5 * SECOND), lasts: true, ..GOOD }),
        1 => Just(Life { drains: Some(MS), ready: Some(900 * MS), ..GOOD }),
        1 => Just(Life { dies_ready: Some(500 * MS), ..GOOD }),
        1 => Just(Life { dies_ready: Some(1500 * MS), ..GOOD }),
    ]
}

fn plans() -> impl Strategy<Value = Plan> {
    let pools = prop_oneof![
        3 => (1u32..4).prop_map(Pool::Fixed),
        1 => Just(Pool::Range { min: 1, max: 3 }),
    ];
    let graces = (1u64..8, 0u64..20);
    let knobs = (any::<bool>(), prop_oneof![Just(0u64), Just(1)], graces, prop_oneof![Just(0u32), Just(3)]);
    let services = prop::collection::vec((pools, knobs), 1..3);
    let rollouts = (prop_oneof![Just(None), Just(Some(1)), Just(Some(2))], 0u64..2, 1usize..4, 0u64..4);
    (services, rollouts).prop_map(|(services, (step, soak, max_draining, watchdog))| {
        let made = services.into_iter().zip(["web", "api"]).map(|((pool, knobs), name)| {
            let (per_worker, delay, (grace, long_lived), give_up) = knobs;
            let [delay, grace, long_lived] = [delay, grace, long_lived].map(Duration::from_secs);
            let graces = ServicePlan { grace, long_lived, max_requests: 1_000, ..service(name, 1) };
            ServicePlan { pool, per_worker, delay, give_up, ..graces }
        });
        let mut made = plan(made.collect());
        made.rollout = crate::model::plan::Rollout { step, soak: Duration::from_secs(soak) };
        made.ready_timeout = 5 * SECOND;
        made.max_draining = max_draining;
        made.watchdog = Duration::from_secs(watchdog);
        made
    })
}

fn requests() -> impl Strategy<Value = Request> {
    prop_oneof![
        4 => (prop::option::of(names()), any::<bool>())
            .prop_map(|(service, drained)| Request::Reload { service, drained }),
        2 => (names(), 0u32..5).prop_map(|(service, workers)| Request::Scale { service, workers }),
        1 => prop::option::of(names()).prop_map(|service| Request::Drain { service }),
        2 => prop::option::of(names()).prop_map(|service| Request::Resume { service }),
    ]
}

fn gusts() -> impl Strategy<Value = Gust> {
    let words = prop_oneof![
        6 => Just(Word::Reload), 1 => Just(Word::Reopen), 1 => Just(Word::Drain),
        1 => Just(Word::More), 1 => Just(Word::Fewer),
    ];
    let marks = prop::collection::vec(any::<Marks>(), 1..8);
    prop_oneof![
        4 => words.prop_map(Gust::Signal),
        4 => requests().prop_map(Gust::Ask),
        1 => (0u64..200).prop_map(Gust::Gone),
        4 => prop_oneof![Just(0u64), 1u64..20, 20u64..400, 400u64..3_000, 3_000u64..70_000]
            .prop_map(|ms| Gust::Pass(Duration::from_millis(ms))),
        3 => (0usize..40).prop_map(Gust::Kill),
        3 => (0usize..40, any::<u8>()).prop_map(|(who, what)| Gust::Untimely(who, what)),
        1 => any::<u8>().prop_map(Gust::Stray),
        3 => (marks, 0u32..3).prop_map(|(marks, queue)| Gust::Pulse(marks, queue)),
        2 => prop_oneof![4 => plans().prop_map(Some), 1 => Just(None)].prop_map(Gust::File),
        2 => lives().prop_map(Gust::Lives),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(listen, seats)| Gust::Fails(listen, seats)),
    ]
}

fn blow(sim: &mut Sim, gust: Gust) {
    match gust {
        Gust::Signal(word) => sim.signal(word),
        Gust::Ask(request) => {
            sim.ask(request);
        }
        Gust::Gone(client) => sim.hang_up(ClientId(client)),
        Gust::Pass(time) => sim.pass(time),
        Gust::Kill(who) => sim.kill(some_worker(sim, who)),
        Gust::Untimely(who, what) => untimely(sim, who, what),
        Gust::Stray(what) => stray(sim, what),
        Gust::Pulse(marks, queue) => pulse(sim, &marks, queue),
        Gust::File(file) => sim.file = file.ok_or_else(|| vec!["line 1: what is this?".to_owned()]),
        Gust::Lives(life) => sim.everybody(life),
        Gust::Fails(listen, seats) => {
            sim.open_fails = listen.then(|| "address in use".to_owned());
            sim.seats_fail = seats.then(|| "too many open files".to_owned());
        }
    }
}

/// A worker of the fleet, or one that never was.
fn some_worker(sim: &Sim, who: usize) -> WorkerId {
    let living: Vec<WorkerId> = sim.fleet.workers.keys().copied().collect();
    living.get(who % (living.len() + 1)).copied().unwrap_or(WorkerId(999_999))
}

fn untimely(sim: &mut Sim, who: usize, what: u8) {
    let worker = some_worker(sim, who);
    let why = "it says so".to_owned();
    let event = match what % 7 {
        0 => Event::Ready { worker },
        1 => Event::Leaving { worker },
        2 => Event::Failed { worker, why, lines: vec!["it printed this".to_owned()] },
        6 => Event::Extend { worker, more: 30 * SECOND },
        3 => Event::Spawned { worker, pid: 1 },
        4 => Event::Died { worker: WorkerId(999_999), how: why, gave_up: false },
        _ => Event::SpawnFailed { worker: WorkerId(999_999), why },
    };
    sim.tell(event);
}

fn stray(sim: &mut Sim, what: u8) {
    let service: ServiceName = if what < 128 { "web".into() } else { "none".into() };
    let new = NewConfig { id: PlanId(777_777 + u64::from(what)), plan: plan(vec![]), changed: Vec::new() };
    let reading = sim.is_reading();
    let event = match what % 7 {
        0 if !reading => Event::ConfigRead(Ok(new)),
        1 if !reading => Event::ConfigRead(Err(Vec::new())),
        2 => Event::Opened,
        3 => Event::OpenFailed { why: "late".to_owned() },
        4 => Event::SeatsOpened { service, result: Ok(()) },
        5 => Event::Orphaned { service, seat: Some(Seat(0)) },
        _ => Event::Boot,
    };
    sim.tell(event);
}

fn pulse(sim: &mut Sim, marks: &[Marks], waiting: u32) {
    let ids: Vec<WorkerId> = sim.fleet.workers.keys().copied().collect();
    let reading = |(worker, &(beats, busy, full, long_lived, spent)): (WorkerId, &Marks)| {
        let beat = if beats { sim.now.0 } else { 0 };
        let requests = if spent { u64::MAX } else { 0 };
        Reading { worker, beat, busy, busy_total: sim.now.0, full, long_lived, requests, memory: 0 }
    };
    let workers = ids.into_iter().zip(marks.iter().cycle()).map(reading).collect();
    let queues = (0..3).map(|n| Queue { service: "web".into(), seat: Some(Seat(n)), waiting }).collect();
    sim.tell(Event::Pulse { workers, queues });
}

/// The world turns kind, and nobody asks for anything any more.
fn calm(sim: &mut Sim) {
    sim.everybody(GOOD);
    (sim.open_fails, sim.seats_fail) = (None, None);
    sim.rest();
}

/// Why the fleet is not what it should be after a calm, if so.
fn unsettled(sim: &Sim) -> Result<(), String> {
    let fleet = &sim.fleet;
    if fleet.rollover.is_some() || fleet.remembered.is_some() || !fleet.growing.is_empty() {
        return Err("something is still under way".to_owned());
    }
    if let Some(client) = sim.unanswered() {
        return Err(format!("client {client} waits for ever: {:?}", fleet.waiters));
    }
    if let Some((id, _)) = fleet.workers.iter().find(|(id, _)| sim.unready.contains(id)) {
        return Err(format!("worker {id} serves and tells balancers that it does not"));
    }
    let on_its_way = |w: &crate::model::fleet::Worker| w.phase != Phase::Ready;
    if let Some(worker) = fleet.workers.values().find(|w| on_its_way(w)) {
        return Err(format!("a worker is {:?}", worker.phase));
    }
    for (name, service) in &fleet.services {
        staffed(sim, name, service)?;
    }
    Ok(())
}

fn staffed(sim: &Sim, name: &ServiceName, service: &Service) -> Result<(), String> {
    let ready = sim.fleet.ready_count(name);
    let right = match service.hold {
        _ if service.removed => false,
        Hold::Held => ready == 0,
        Hold::Delayed(_) => false,
        Hold::No if service.backoff.given_up => ready <= service.wanted,
        Hold::No => ready == service.wanted && sim.fleet.is_full(name) && service.backoff.early_deaths == 0,
    };
    right.then_some(()).ok_or_else(|| format!("{name} has {ready} ready workers: {service:?}"))
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 250, failure_persistence: None, max_shrink_iters: 4_000, ..Default::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn after_any_storm_everything_settles_and_quit_ends_it(
        file in plans(), storm in prop::collection::vec(gusts(), 1..60),
    ) {
        let mut sim = Sim::new(file);
        sim.tell(Event::Boot);
        sim.until("it runs", |s| s.fleet.rollover.is_none());
        for gust in storm {
            blow(&mut sim, gust);
        }
        calm(&mut sim);
        prop_assert_eq!(unsettled(&sim), Ok(()), "{:?}", sim.fleet);
        sim.signal(Word::Quit);
        sim.rest();
        prop_assert_eq!(sim.left, Some(0));
    }

    #[test]
    fn a_stop_in_the_middle_of_a_storm_ends_it(
        file in plans(),
        before in prop::collection::vec(gusts(), 0..20),
        word in prop_oneof![Just(Word::Quit), Just(Word::Terminate), Just(Word::Interrupt)],
        after in prop::collection::vec(gusts(), 0..20),
        fast in prop::option::of(any::<bool>()),
    ) {
        let mut sim = Sim::new(file);
        sim.tell(Event::Boot);
        before.into_iter().for_each(|gust| blow(&mut sim, gust));
        sim.signal(word);
        after.into_iter().for_each(|gust| blow(&mut sim, gust));
        if let Some(fast) = fast {
            sim.ask(Request::Stop { fast });
        }
        calm(&mut sim);
        prop_assert!(sim.left.is_some(), "{:?}", sim.fleet);
        prop_assert_eq!(sim.unanswered(), None);
    }
}
