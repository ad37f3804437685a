//! A world for `decide`: it performs actions on imaginary workers and brings back what comes of them.
//!
//! Time is invented and jumps to the next thing that happens. After every decision the rules of
//! `watch` are checked, so that every test holds them, whatever else it asks. `asking` has the questions.

use super::watch;
use crate::model::fleet::{self, Fleet, Stage};
use crate::model::plan::{Idle, Plan, Pool, Rollout, ServicePlan};
use crate::model::{ClientId, Generation, Moment, Phase, PlanId, Seat, ServiceName, WorkerId};
use crate::policy::{
    Action, Answer, DrainOrder, Event, KillSignal, NewConfig, Proof, Refused, Request, Word, decide, next_due,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub const MS: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);

/// How the workers that a rule chooses live.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    pub forks: bool,
    /// `None`: it never says ready.
    pub ready: Option<Duration>,
    pub dies_unready: Option<Duration>,
    pub dies_ready: Option<Duration>,
    /// How long its connections last after a drain order; `None`: it does not listen to orders.
    pub drains: Option<Duration>,
    /// They are meant to last.
    pub lasts: bool,
    pub finishes: bool,
}

/// Comes up in 5 ms, lives, drains in 2 s.
pub const GOOD: Life = Life {
    forks: true,
    ready: Some(Duration::from_millis(5)),
    dies_unready: None,
    dies_ready: None,
    drains: Some(Duration::from_secs(2)),
    lasts: false,
    finishes: true,
};
/// Dies before it is ready.
pub const STILLBORN: Life = Life { ready: None, dies_unready: Some(Duration::from_millis(2)), ..GOOD };
/// Stays, and never says ready.
pub const SLEEPER: Life = Life { ready: None, drains: None, ..GOOD };

/// Which workers a life is for: service, seat, and generations from one to another.
pub type Rule = (Option<ServiceName>, Option<u32>, std::ops::RangeInclusive<u64>, Life);

#[derive(Clone, Debug)]
enum Step {
    Tell(Event),
    Ready(WorkerId),
    Leave(WorkerId),
    Die(WorkerId, &'static str),
}

#[derive(Clone, Copy, Debug)]
struct Fake {
    life: Life,
    ready: bool,
    told: Option<Duration>,
}

pub struct Sim {
    pub fleet: Fleet,
    pub now: Moment,
    /// What the config file says.
    pub file: Result<Plan, Vec<String>>,
    pub config_takes: Duration,
    pub open_fails: Option<String>,
    pub seats_fail: Option<String>,
    /// What a candidate will say; `None`: nothing, ever.
    pub candidate: Option<Result<Proof, Refused>>,
    pub exec_fails: Option<String>,
    pub rules: Vec<Rule>,
    pub log: Vec<(Moment, Action)>,
    pub answers: BTreeMap<ClientId, Answer>,
    pub left: Option<i32>,
    /// Clients that are owed an answer.
    owed: BTreeSet<ClientId>,
    /// Workers that were told to say so to balancers.
    pub unready: BTreeSet<WorkerId>,
    fakes: BTreeMap<WorkerId, Fake>,
    /// Ordered by time, then by the order in which they were planned.
    agenda: BTreeMap<(Moment, u64), Step>,
    serial: u64,
}

pub fn service(name: &str, workers: u32) -> ServicePlan {
    ServicePlan {
        name: name.into(),
        pool: Pool::Fixed(workers),
        per_worker: false,
        grace: 30 * SECOND,
        long_lived: 300 * SECOND,
        idle: Idle::Announce,
        delay: Duration::ZERO,
        backoff_min: 100 * MS,
        backoff_max: 30 * SECOND,
        give_up: 0,
        program: false,
        max_requests: 0,
        max_memory: 0,
        max_age: Duration::ZERO,
    }
}

pub fn plan(services: Vec<ServicePlan>) -> Plan {
    let (rollout, ready_timeout, watchdog) = (Rollout::default(), 30 * SECOND, 30 * SECOND);
    Plan { ready_timeout, max_draining: 3, rollout, watchdog, sigterm_fast: false, services }
}

impl Sim {
    pub fn new(file: Plan) -> Sim {
        Sim {
            fleet: Fleet::new(PlanId(0), file.clone()),
            now: Moment(1_000_000_000_000),
            file: Ok(file),
            config_takes: 2 * MS,
            open_fails: None,
            seats_fail: None,
            candidate: Some(Ok(Proof { version: "2".to_owned() })),
            exec_fails: None,
            rules: Vec::new(),
            log: Vec::new(),
            answers: BTreeMap::new(),
            left: None,
            owed: BTreeSet::new(),
            unready: BTreeSet::new(),
            fakes: BTreeMap::new(),
            agenda: BTreeMap::new(),
            serial: 0,
        }
    }

    /// A world in which one service `web` runs well.
    pub fn running(workers: u32) -> Sim {
        Sim::started(plan(vec![service("web", workers)]))
    }

    /// A world that has come up from this plan, and in which all have been ready for a while.
    pub fn started(file: Plan) -> Sim {
        let mut sim = Sim::new(file);
        sim.tell(Event::Boot);
        sim.rest();
        sim.pass(2 * SECOND);
        assert_eq!(sim.fleet.stage, Stage::Running);
        sim
    }

    /// The world as it would be with this fleet; whatever was asked for is about to be answered.
    pub fn resumed(fleet: Fleet, now: Moment) -> Sim {
        let mut sim = Sim::new(fleet.plans[&fleet.plan].clone());
        (sim.fleet, sim.now, sim.serial) = (fleet, now, 1_000_000);
        match sim.fleet.rollover.as_ref().map(|r| r.step) {
            Some(fleet::Step::ReadingConfig) => sim.perform(Action::ReadConfig),
            Some(fleet::Step::OpeningListeners) => sim.plan_step(Duration::ZERO, Step::Tell(Event::Opened)),
            _ => {}
        }
        sim.resume_upgrade();
        for (id, worker) in sim.fleet.workers.clone() {
            let told = worker.drain.map(|_| SECOND);
            sim.fakes.insert(id, Fake { life: GOOD, ready: worker.ready_at.is_some(), told });
            match worker.phase {
                Phase::Starting => sim.plan_step(MS, Step::Ready(id)),
                Phase::Stopping if worker.deadline.is_none() => {
                    sim.plan_step(MS, Step::Die(id, "killed by SIGKILL"));
                }
                Phase::Stopping if told.is_some() && worker.ready_at.is_none() => {
                    sim.plan_step(MS, Step::Ready(id));
                }
                Phase::Draining | Phase::Stopping => sim.plan_step(MS, Step::Leave(id)),
                Phase::Ready | Phase::Dead => {}
            }
        }
        sim
    }

    /// The config file, to be changed.
    pub fn file(&mut self) -> &mut Plan {
        self.file.as_mut().expect("the file is good")
    }

    /// Workers of generation `from` and later live like this.
    pub fn since_generation(&mut self, from: u64, life: Life) {
        self.rules.push((None, None, from..=u64::MAX, life));
    }

    /// The worker of `web` at one seat, of any generation from `from` on, lives like this.
    pub fn at_seat(&mut self, seat: u32, from: u64, life: Life) {
        self.rules.push((Some("web".into()), Some(seat), from..=u64::MAX, life));
    }

    pub fn everybody(&mut self, life: Life) {
        self.rules.clear();
        self.since_generation(0, life);
    }

    /// Lets `decide` know, checks the rules, and performs what it says.
    pub fn tell(&mut self, event: Event) -> Vec<Action> {
        let before = self.fleet.clone();
        let actions = decide(&mut self.fleet, event.clone(), self.now);
        watch::check(&before, &event, &self.fleet, &actions, self.now);
        for action in &actions {
            self.log.push((self.now, action.clone()));
            self.perform(action.clone());
        }
        actions
    }

    pub fn signal(&mut self, word: Word) {
        self.tell(Event::Signal(word));
    }

    pub fn ask(&mut self, request: Request) -> ClientId {
        self.serial += 1;
        let client = ClientId(self.serial);
        if request != Request::Reopen {
            self.owed.insert(client);
        }
        self.tell(Event::Asked { client, request });
        client
    }

    /// The client goes away without its answer.
    pub fn hang_up(&mut self, client: ClientId) {
        self.owed.remove(&client);
        self.tell(Event::ClientGone { client });
    }

    /// A client that is still owed an answer.
    pub fn unanswered(&self) -> Option<ClientId> {
        self.owed.iter().find(|client| !self.answers.contains_key(client)).copied()
    }

    /// From now on the worker does not listen to a drain order; its connections last.
    pub fn deafen(&mut self, worker: WorkerId) {
        self.fakes.get_mut(&worker).expect("it lives").life.drains = None;
    }

    /// What was planned last does not happen.
    pub fn lose_answer(&mut self) {
        let newest = self.agenda.keys().max_by_key(|(_, serial)| *serial).copied();
        self.agenda.remove(&newest.expect("something was planned"));
    }

    /// Whether the config child is at work.
    pub fn is_reading(&self) -> bool {
        let reads = |s: &Step| matches!(s, Step::Tell(Event::ConfigRead(_)));
        self.agenda.values().any(reads)
    }

    pub fn reload(&mut self) -> ClientId {
        self.ask(Request::Reload { service: None, drained: false })
    }

    /// This happens later.
    pub fn plan(&mut self, after: Duration, event: Event) {
        self.plan_step(after, Step::Tell(event));
    }

    /// Nothing of the kind happens any more.
    pub fn forget_planned(&mut self, test: impl Fn(&Event) -> bool) {
        self.agenda.retain(|_, step| !matches!(step, Step::Tell(event) if test(event)));
    }

    fn plan_step(&mut self, after: Duration, step: Step) {
        self.serial += 1;
        self.agenda.insert((self.now + after, self.serial), step);
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::ReadConfig => {
                let result = self.read();
                self.plan_step(self.config_takes, Step::Tell(Event::ConfigRead(result)));
            }
            Action::OpenListeners { .. } => {
                let failed = self.open_fails.clone().map(|why| Event::OpenFailed { why });
                self.plan_step(Duration::ZERO, Step::Tell(failed.unwrap_or(Event::Opened)));
            }
            Action::OpenSeats { service, .. } => {
                let result = self.seats_fail.clone().map_or(Ok(()), Err);
                self.plan_step(Duration::ZERO, Step::Tell(Event::SeatsOpened { service, result }));
            }
            Action::Spawn { worker, service, seat, generation, .. } => {
                let life = self.life(&service, seat, generation);
                self.spawn(worker, life);
            }
            Action::Readiness { worker, ready } => {
                self.unready.retain(|id| *id != worker);
                self.unready.extend((!ready).then_some(worker));
            }
            Action::Drain { worker, order } => self.told_to_drain(worker, order),
            Action::Finish { worker } if self.fakes.get(&worker).is_some_and(|f| f.life.finishes) => {
                self.plan_step(MS, Step::Leave(worker));
            }
            Action::Kill { worker, signal: KillSignal::Kill } => {
                self.plan_step(MS, Step::Die(worker, "killed by SIGKILL"));
            }
            Action::Answer { client, answer } => {
                let earlier = self.answers.insert(client, answer);
                assert_eq!(earlier, None, "client {client} is answered twice");
            }
            Action::Leave { code } => self.left = self.left.or(Some(code)),
            other => self.cross(&other),
        }
    }

    fn read(&self) -> Result<NewConfig, Vec<String>> {
        let file = self.file.clone()?;
        let old = &self.fleet.plans[&self.fleet.plan];
        let names: BTreeSet<&ServiceName> =
            old.services.iter().chain(&file.services).map(|s| &s.name).collect();
        let differs = |name: &&&ServiceName| old.service(name) != file.service(name);
        let changed = names.iter().filter(differs).map(|name| (*name).clone()).collect();
        Ok(NewConfig { id: PlanId(self.serial + 1_000), plan: file, changed })
    }

    fn life(&self, service: &ServiceName, seat: Seat, generation: Generation) -> Life {
        let fits = |(name, at, range, _): &&Rule| {
            name.as_ref().is_none_or(|n| n == service)
                && at.is_none_or(|s| s == seat.0)
                && range.contains(&generation.0)
        };
        self.rules.iter().rev().find(fits).map_or(GOOD, |(_, _, _, life)| *life)
    }

    fn spawn(&mut self, worker: WorkerId, life: Life) {
        if !life.forks {
            let why = "no more processes".to_owned();
            return self.plan_step(Duration::ZERO, Step::Tell(Event::SpawnFailed { worker, why }));
        }
        let pid = i32::try_from(worker.0).unwrap_or(i32::MAX);
        self.fakes.insert(worker, Fake { life, ready: false, told: None });
        self.plan_step(Duration::ZERO, Step::Tell(Event::Spawned { worker, pid }));
        if let Some(after) = life.dies_unready {
            self.plan_step(after, Step::Die(worker, "killed by SIGSEGV"));
        }
        if let Some(after) = life.ready {
            self.plan_step(after, Step::Ready(worker));
        }
    }

    fn told_to_drain(&mut self, worker: WorkerId, order: DrainOrder) {
        let Some(fake) = self.fakes.get_mut(&worker) else { return };
        let Some(takes) = fake.life.drains else { return };
        let takes = takes.min(if fake.life.lasts { order.long_lived } else { order.grace });
        fake.told = Some(takes);
        if fake.ready {
            self.plan_step(takes, Step::Leave(worker));
        }
    }

    fn happen(&mut self, step: Step) {
        match step {
            Step::Tell(event) => {
                self.tell(event);
            }
            Step::Ready(worker) => {
                let Some(fake) = self.fakes.get_mut(&worker) else {
                    return;
                };
                fake.ready = true;
                let (life, told) = (fake.life, fake.told);
                if let Some(after) = life.dies_ready {
                    self.plan_step(after, Step::Die(worker, "killed by SIGSEGV"));
                }
                if let Some(after) = told {
                    self.plan_step(after, Step::Leave(worker));
                }
                self.tell(Event::Ready { worker });
            }
            Step::Leave(worker) => {
                if self.fakes.contains_key(&worker) {
                    self.tell(Event::Leaving { worker });
                    self.plan_step(MS, Step::Die(worker, "exited with status 0"));
                }
            }
            Step::Die(worker, how) => {
                if self.fakes.remove(&worker).is_some() {
                    self.tell(Event::Died { worker, how: how.to_owned(), gave_up: false });
                }
            }
        }
    }

    /// One thing happens; false if nothing ever will.
    pub fn step(&mut self) -> bool {
        let planned = self.agenda.first_key_value().map(|((at, _), _)| *at);
        let due = next_due(&self.fleet);
        match (planned, due) {
            (None, None) => return false,
            (Some(at), due) if due.is_none_or(|d| at <= d) => {
                self.now = self.now.max(at);
                let (_, step) = self.agenda.pop_first().expect("it was there");
                self.happen(step);
            }
            (_, Some(at)) => {
                self.now = self.now.max(at);
                self.tell(Event::Due);
            }
            (Some(_), None) => unreachable!("covered by the second arm"),
        }
        true
    }

    fn next_at(&self) -> Option<Moment> {
        let planned = self.agenda.first_key_value().map(|((at, _), _)| *at);
        planned.into_iter().chain(next_due(&self.fleet)).min()
    }

    /// Lets everything happen that happens by itself within this time.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.next_at().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = end;
    }

    /// Until nothing happens by itself any more; a world that never rests is a fault.
    pub fn rest(&mut self) {
        for _ in 0..200_000 {
            if !self.step() {
                return;
            }
        }
        panic!("the world does not come to rest: {:#?}", self.fleet);
    }

    /// Until something is so; a world where it never becomes so is a fault.
    pub fn until(&mut self, what: &str, test: impl Fn(&Sim) -> bool) {
        for _ in 0..200_000 {
            if test(self) {
                return;
            }
            assert!(self.step(), "it comes to rest, but not: {what}");
        }
        panic!("not in reasonable time: {what}");
    }

    /// The worker dies as if by somebody's `kill -9`.
    pub fn kill(&mut self, worker: WorkerId) {
        self.happen(Step::Die(worker, "killed by SIGKILL"));
    }
}
