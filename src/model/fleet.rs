//! Who exists: the services, their workers, and the reload under way. Facts only.
//!
//! `policy::decide` is the one writer; the shell and `status` ask the named questions at the end.
//! A worker is in the fleet from the decision to spawn it until it has been reaped.

use super::ids::{ClientId, Generation, PlanId, Seat, ServiceName, WorkerId};
use super::moment::Moment;
use super::phase::Phase;
use super::plan::{Plan, ServicePlan};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Everything the master knows and decides by.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fleet {
    pub stage: Stage,
    /// The generation whose verdict was good last; 0 before the first.
    pub serving: Generation,
    pub last_generation: Generation,
    pub last_worker: WorkerId,
    /// Plans that a service or a worker still uses, and that of the reload under way.
    pub plans: BTreeMap<PlanId, Plan>,
    /// The plan in force.
    pub plan: PlanId,
    pub services: BTreeMap<ServiceName, Service>,
    pub workers: BTreeMap<WorkerId, Worker>,
    pub rollover: Option<Rollover>,
    /// A reload asked for during a reload: remembered once.
    pub remembered: Option<Ask>,
    pub last_reload: Option<Outcome>,
    pub upgrade: Option<Upgrade>,
    pub last_upgrade: Option<UpgradeOutcome>,
    /// Clients that wait for something to come true.
    pub waiters: Vec<Waiter>,
    /// Growing pools whose sockets are being opened.
    pub growing: BTreeMap<ServiceName, Growth>,
    pub last_pulse: Option<Moment>,
    /// A TERM has come: the next one is fast.
    pub terminated: bool,
}

/// Where the master stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// The first generation is coming up.
    Starting,
    Running,
    /// `code` is the exit status the master will leave with.
    Stopping {
        fast: bool,
        code: i32,
    },
}

/// One service in force (or one that is going).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Service {
    pub plan: PlanId,
    pub generation: Generation,
    pub wanted: u32,
    /// `scale`, TTIN or TTOU changed `wanted` since the last reload.
    pub scaled: bool,
    pub hold: Hold,
    pub backoff: Backoff,
    /// Seats in trouble, and who serves their queue meanwhile.
    pub trouble: BTreeMap<Seat, Trouble>,
    pub load: Load,
    /// On stop: when the delay is over and accepting ends.
    pub fence_at: Option<Moment>,
    /// No config names it any more: it goes when its last worker does.
    pub removed: bool,
    /// How its last worker ended that was not asked to.
    pub last_death: Option<String>,
    /// Its workers have used up what they may use soon after they were ready.
    #[serde(default)]
    pub hurry: Option<Hurry>,
}

/// Workers that would be replaced again and again, as fast as they come up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hurry {
    /// Of the workers; another may have other limits.
    pub generation: Generation,
    /// When the last of them was replaced.
    pub replaced: Option<Moment>,
    /// When one of them was seen last that was young and had used up everything.
    pub seen: Moment,
    /// What to tell people.
    pub why: String,
}

/// `drain` and `WINCH`: no workers, but listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hold {
    No,
    /// Readiness fails; accepting ends at that moment.
    Delayed(Moment),
    Held,
}

/// A pool on its way to more workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Growth {
    pub wanted: u32,
    /// Asked for by a person, not by the pool-size rule.
    pub by_hand: bool,
}

/// Early deaths in a row, and what follows from them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    pub early_deaths: u32,
    /// When the last of them was.
    pub last: Option<Moment>,
    pub retry_at: Option<Moment>,
    pub given_up: bool,
    /// The seat tried last while throttled, so that one bad seat does not starve the others.
    pub probed: Option<Seat>,
    /// When the next worker of a throttled service will have proved itself.
    pub look_at: Option<Moment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    pub since: Moment,
    pub rescuer: Option<WorkerId>,
}

/// What the pool-size rule has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    pub window_since: Option<Moment>,
    /// Sum of the workers' busy time when the window began, nanoseconds.
    pub busy_then: u64,
    pub queue_since: Option<Moment>,
    pub low_since: Option<Moment>,
    /// Share of time the loops worked in the last window, 0..=1.
    pub busy: f64,
}

/// What the master knows of one worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Worker {
    pub service: ServiceName,
    pub seat: Seat,
    pub generation: Generation,
    pub plan: PlanId,
    pub pid: Option<i32>,
    pub phase: Phase,
    pub spawned: Moment,
    pub ready_at: Option<Moment>,
    /// When what comes next is forced: ready, gone, or killed.
    pub deadline: Option<Moment>,
    pub drain: Option<Draining>,
    /// It said itself that it leaves, so its end is no death.
    pub leaving: bool,
    /// It was killed for standing still: its end is a death, although we sent the signal.
    pub hung: bool,
    /// What it said was wrong.
    pub failed: Option<String>,
    /// Why another is to take its place while it serves: what it has used up.
    #[serde(default)]
    pub tired: Option<String>,
    /// What its program printed last, as far as it said so.
    #[serde(default)]
    pub printed: Vec<String>,
    pub pulse: Pulse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draining {
    pub since: Moment,
    /// When the worker itself cuts what is short, and leaves unless something is left that is meant to last.
    pub until: Moment,
    /// When it cuts that too; not before `until` (zero in a state recorded before there was such a thing).
    #[serde(default)]
    pub long_lived_until: Moment,
    pub why: DrainWhy,
}

impl Draining {
    /// When the worker itself cuts whatever is left.
    pub fn end(&self) -> Moment {
        self.long_lived_until.max(self.until)
    }

    /// When what it has is cut, if something of that is meant to last, or if not.
    pub fn cut_at(&self, lasts: bool) -> Moment {
        if lasts { self.end() } else { self.until }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DrainWhy {
    /// A newer generation (or a restored older one) has its seat.
    Replaced,
    /// A fresh one of the same generation has its seat. To an image that knows no such word it is `Replaced`.
    #[serde(rename(serialize = "Replaced"), skip_deserializing)]
    Recycled,
    /// The pool shrank, or its service is gone.
    Surplus,
    /// `drain` or `WINCH`.
    Held,
    /// The master stops.
    Stop,
}

impl DrainWhy {
    /// Balancers are to look elsewhere; after a reload they need not.
    pub fn unready(self) -> bool {
        matches!(self, DrainWhy::Held | DrainWhy::Stop)
    }

    /// The word in the log.
    pub fn word(self) -> &'static str {
        match self {
            DrainWhy::Replaced => "replaced",
            DrainWhy::Recycled => "recycled",
            DrainWhy::Surplus => "surplus",
            DrainWhy::Held => "held",
            DrainWhy::Stop => "stop",
        }
    }
}

/// The last sign of life, by the master's own clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulse {
    pub beat: u64,
    pub changed: Option<Moment>,
    /// When the piece of work its loop is still at was first seen.
    pub busy_since: Option<Moment>,
    pub full: bool,
    /// While it drains: it says that it has connections which are meant to last. Believed until the end
    /// of its drain, and no longer.
    #[serde(default)]
    pub long_lived: bool,
}

/// A reload somebody wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    pub only: Option<ServiceName>,
    /// Clients to answer, and whether they wait for the old generation to be gone.
    pub clients: Vec<(ClientId, bool)>,
}

/// The reload (or the start) under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rollover {
    pub generation: Generation,
    pub ask: Ask,
    /// The start: there is nothing to fall back to.
    pub first: bool,
    pub step: Step,
    pub plan: Option<PlanId>,
    /// Seats that later steps will fill.
    pub left: Vec<(ServiceName, Seat)>,
    /// The workers of the step under way.
    pub current: BTreeSet<WorkerId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Too many generations drain.
    WaitingForRoom,
    ReadingConfig,
    OpeningListeners,
    Starting,
    Soaking(Moment),
    /// Of a new image on trial: it came to nothing, and the old image takes it back.
    Lost,
}

/// What became of the last reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub at: Moment,
    pub generation: Generation,
    pub error: Option<String>,
}

/// A binary upgrade under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    /// Who waits for the verdict, and whether for the old generation to be gone.
    pub client: Option<(ClientId, bool)>,
    /// The program asked for, if it is another than the one this image came from.
    pub binary: Option<String>,
    pub step: UpgradeStep,
    /// Which version the new binary says it is.
    pub version: Option<String>,
    /// Why the new image gives up, and further lines: for the old one to tell.
    pub failure: Option<(String, Vec<String>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpgradeStep {
    /// Too many generations drain.
    WaitingForRoom,
    /// The candidate has until then.
    Candidate(Moment),
    /// The image is replaced as soon as nothing else is left to be done.
    Executing,
    /// The new image runs; the reload under way is its trial.
    Trial,
}

/// What became of the last upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeOutcome {
    pub at: Moment,
    /// Of the new binary, if it came to tell.
    pub version: Option<String>,
    pub error: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiter {
    pub client: ClientId,
    pub until: Until,
}

/// What a client waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Until {
    /// No worker older than this generation is left (of one service, or of all).
    Drained {
        before: Generation,
        service: Option<ServiceName>,
    },
    /// Every seat of the services has a ready worker, and the pools have the size asked for.
    Settled {
        services: Vec<ServiceName>,
        wanted: Option<u32>,
        why: String,
    },
    /// The services, which were told to drain, have no worker.
    Empty {
        services: Vec<ServiceName>,
    },
    Stopped,
}

impl Fleet {
    /// A fleet before its first generation, with the plan it will start from.
    pub fn new(plan: PlanId, facts: Plan) -> Fleet {
        Fleet {
            stage: Stage::Starting,
            serving: Generation(0),
            last_generation: Generation(0),
            last_worker: WorkerId(0),
            plans: BTreeMap::from([(plan, facts)]),
            plan,
            services: BTreeMap::new(),
            workers: BTreeMap::new(),
            rollover: None,
            remembered: None,
            last_reload: None,
            upgrade: None,
            last_upgrade: None,
            waiters: Vec::new(),
            growing: BTreeMap::new(),
            last_pulse: None,
            terminated: false,
        }
    }

    /// The part of a plan that a worker lives by.
    pub fn plan_of(&self, worker: &Worker) -> Option<&ServicePlan> {
        self.plans.get(&worker.plan)?.service(&worker.service)
    }

    /// The part of the plan in force for a service.
    pub fn service_plan(&self, name: &ServiceName) -> Option<&ServicePlan> {
        self.plans.get(&self.services.get(name)?.plan)?.service(name)
    }

    /// The workers of a service, any generation and phase.
    pub fn workers_of<'a>(&'a self, name: &'a ServiceName) -> impl Iterator<Item = (WorkerId, &'a Worker)> {
        self.workers.iter().filter(move |(_, w)| w.service == *name).map(|(id, w)| (*id, w))
    }

    /// The workers at one seat, any generation and phase.
    pub fn at_seat<'a>(
        &'a self,
        name: &'a ServiceName,
        seat: Seat,
    ) -> impl Iterator<Item = (WorkerId, &'a Worker)> {
        self.workers_of(name).filter(move |(_, w)| w.seat == seat)
    }

    /// Whether every seat of a service has a ready worker, of whatever generation.
    pub fn is_full(&self, name: &ServiceName) -> bool {
        let Some(service) = self.services.get(name) else {
            return false;
        };
        let ready = self.workers_of(name).filter(|(_, w)| w.phase == Phase::Ready);
        let served: BTreeSet<Seat> = ready.map(|(_, w)| w.seat).collect();
        (0..service.wanted).map(Seat).all(|seat| served.contains(&seat))
    }

    /// Whether the reload under way replaces this service.
    pub fn is_replacing(&self, name: &ServiceName) -> bool {
        self.rollover.as_ref().is_some_and(|r| r.ask.only.as_ref().is_none_or(|only| only == name))
    }

    /// Ready workers of a service.
    pub fn ready_count(&self, name: &ServiceName) -> u32 {
        let ready = self.workers_of(name).filter(|(_, w)| w.phase == Phase::Ready).count();
        u32::try_from(ready).unwrap_or(u32::MAX)
    }

    /// Generations with workers on their way out, oldest first.
    pub fn draining_generations(&self) -> BTreeSet<Generation> {
        let going = |w: &&Worker| matches!(w.phase, Phase::Draining | Phase::Stopping);
        self.workers.values().filter(going).map(|w| w.generation).collect()
    }

    /// Whether a worker on its way out belongs to a generation that is not in force for its service.
    pub fn is_superseded(&self, worker: &Worker) -> bool {
        let going = matches!(worker.phase, Phase::Draining | Phase::Stopping);
        going && self.services.get(&worker.service).is_none_or(|s| s.generation != worker.generation)
    }

    /// Whether masterd is on its way out.
    pub fn is_stopping(&self) -> bool {
        matches!(self.stage, Stage::Stopping { .. })
    }

    /// The word for `status`.
    pub fn state_word(&self) -> &'static str {
        match self.stage {
            Stage::Starting => "starting",
            Stage::Stopping { .. } => "stopping",
            Stage::Running if self.upgrade.is_some() => "upgrading",
            Stage::Running if self.rollover.is_some() => "reloading",
            Stage::Running => {
                let held = |s: &Service| s.hold != Hold::No;
                match self.services.values().all(held) && !self.services.is_empty() {
                    true if self.workers.is_empty() => "drained",
                    true => "draining",
                    false => "running",
                }
            }
        }
    }
}
