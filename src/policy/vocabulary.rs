//! The words that cross the divide between deciding and doing.
//!
//! `master/inbox` makes events, `master/outbox` performs actions; what comes of an action returns as
//! an event. Nothing here does anything.

use super::printed;
use crate::model::fleet::DrainWhy;
use crate::model::plan::{Idle, Plan};
use crate::model::{ClientId, Generation, PlanId, Seat, ServiceName, WorkerId};
use std::time::Duration;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The first generation is to start, from the plan the fleet was made with.
    Boot,
    Signal(Word),
    Asked {
        client: ClientId,
        request: Request,
    },
    ClientGone {
        client: ClientId,
    },
    ConfigRead(Result<NewConfig, Vec<String>>),
    /// A candidate of an upgrade has ended.
    Candidate(Result<Proof, Refused>),
    /// The new image could not be executed.
    ExecFailed {
        why: String,
    },
    /// This is the new image of an upgrade, and it has taken everything over.
    Restored,
    /// This is the old image of an upgrade again; why, if the new one could not say so itself.
    Returned {
        why: Option<String>,
    },
    /// The listeners of the reload under way are bound.
    Opened,
    OpenFailed {
        why: String,
    },
    /// The sockets for a growing pool are bound, or not.
    SeatsOpened {
        service: ServiceName,
        result: Result<(), String>,
    },
    Spawned {
        worker: WorkerId,
        pid: i32,
    },
    SpawnFailed {
        worker: WorkerId,
        why: String,
    },
    /// The worker said ready.
    Ready {
        worker: WorkerId,
    },
    Leaving {
        worker: WorkerId,
    },
    /// It has served the sockets of its last call, or of these rites, to their end.
    Closed {
        worker: WorkerId,
        rites: Option<u64>,
    },
    Failed {
        worker: WorkerId,
        why: String,
        /// What its program printed last.
        lines: Vec<String>,
    },
    /// Its program asks for so much time from now on to become ready.
    Extend {
        worker: WorkerId,
        more: Duration,
    },
    /// Reaped; `how` reads like "killed by SIGSEGV" or "exited with status 1".
    Died {
        worker: WorkerId,
        how: String,
        /// It ended as workers do that have said why they can't go on.
        gave_up: bool,
    },
    /// Sockets that the plan in force does not name, at this seat (`None`: shared ones), lost the last
    /// worker that served them.
    Orphaned {
        service: ServiceName,
        seat: Option<Seat>,
    },
    /// Figures, every `pulse_interval`.
    Pulse {
        workers: Vec<Reading>,
        queues: Vec<Queue>,
    },
    /// A deadline may have passed. Said last, after everything else that has happened: what a worker
    /// said in time must be heard before its time is up.
    Due,
}

/// Signals as words, terminal signals already told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Reload,
    Upgrade,
    Quit,
    Terminate,
    Interrupt,
    Reopen,
    Drain,
    More,
    Fewer,
}

/// What a client asks that needs a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    Reload { service: Option<ServiceName>, drained: bool },
    Upgrade { binary: Option<String>, drained: bool },
    Stop { fast: bool },
    Scale { service: ServiceName, workers: u32 },
    Drain { service: Option<ServiceName> },
    Resume { service: Option<ServiceName> },
    Reopen,
}

/// What a candidate has proved: everything, or it would not say so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Of the new binary.
    pub version: String,
}

/// Why a new binary is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Of the new binary, if it came to tell.
    pub version: Option<String>,
    pub why: String,
    /// What it printed last, or every error in its config.
    pub lines: Vec<String>,
}

/// A config that was read and found good.
#[derive(Clone, Debug)]
pub struct NewConfig {
    pub id: PlanId,
    pub plan: Plan,
    /// Services that were added, removed or changed.
    pub changed: Vec<ServiceName>,
}

/// One worker's figures, already clamped: nothing here is trusted beyond what it is used for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    pub worker: WorkerId,
    /// The beat word; only its change means anything.
    pub beat: u64,
    /// The loop is at work on something (else it waits for events).
    pub busy: bool,
    pub busy_total: u64,
    /// It does not accept: at its connection limit or out of descriptors.
    pub full: bool,
    /// It drains and has connections that are meant to last.
    pub long_lived: bool,
    /// Answered since it was started.
    pub requests: u64,
    /// Bytes; 0 if nobody knows, or nobody wants to.
    pub memory: u64,
}

/// Connections waiting in the sockets of a seat.
#[derive(Clone, Debug)]
pub struct Queue {
    pub service: ServiceName,
    /// `None` for shared listeners.
    pub seat: Option<Seat>,
    pub waiting: u32,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Read and check the config in a child; answered by `ConfigRead`.
    ReadConfig,
    /// Open the new program and start it as a candidate; answered by `Candidate`.
    StartCandidate {
        binary: Option<String>,
    },
    /// No upgrade any more: end the candidate, execute nothing.
    CancelUpgrade,
    /// Become the program that the candidate was, as soon as all other actions are performed. Comes
    /// back as `ExecFailed` here, or as `Restored` there.
    ExecImage,
    /// Become the old program again; comes back as `Returned`.
    GoBack,
    /// The new image stays, and later ones are looked for where it came from: close the way back.
    CommitImage {
        binary: Option<String>,
    },
    /// Bind what `plan` names and is not bound yet, for `seats` seats a service; answered by `Opened`.
    OpenListeners {
        plan: PlanId,
        seats: Vec<(ServiceName, u32)>,
    },
    /// `plan` is in force: what it does not name is fenced, unlinked and closed when served.
    /// `seats` are the pools.
    Adopt {
        plan: PlanId,
        seats: Vec<(ServiceName, u32)>,
    },
    /// The plan came to nothing: close what was bound for it alone.
    Abandon {
        plan: PlanId,
    },
    /// No worker and no decision needs this plan any more.
    DropPlan {
        plan: PlanId,
    },
    /// Bind one more socket per per-worker listener and seat; answered by `SeatsOpened`.
    OpenSeats {
        service: ServiceName,
        seats: u32,
    },
    /// Steer new connections to the first `keep` seats; the others close when served.
    RetireSeats {
        service: ServiceName,
        keep: u32,
    },
    /// New connections are refused from now on, queued ones are still served.
    Fence {
        service: ServiceName,
    },
    Spawn {
        worker: WorkerId,
        service: ServiceName,
        seat: Seat,
        generation: Generation,
        plan: PlanId,
    },
    /// Whether `health = "ready"` answers 200.
    Readiness {
        worker: WorkerId,
        ready: bool,
    },
    Drain {
        worker: WorkerId,
        order: DrainOrder,
    },
    /// Cut what is left and leave.
    Finish {
        worker: WorkerId,
    },
    Kill {
        worker: WorkerId,
        signal: KillSignal,
    },
    /// `to` serves the queue of `seat` too, until `EndRescue`.
    Rescue {
        service: ServiceName,
        seat: Seat,
        to: WorkerId,
    },
    EndRescue {
        service: ServiceName,
        seat: Seat,
        from: WorkerId,
    },

    /// `to` serves what waits in orphaned sockets, then closes them; with no `to` they are closed.
    LastRites {
        service: ServiceName,
        seat: Option<Seat>,
        to: Option<WorkerId>,
    },
    /// The worker has served these sockets to their end: nobody needs them any more.
    Served {
        worker: WorkerId,
        rites: Option<u64>,
    },
    /// The worker has been reaped: fold its counters, close its channel. `death`: nobody asked.
    Forget {
        worker: WorkerId,
        death: bool,
    },
    ReopenLogs {
        client: Option<ClientId>,
    },
    Answer {
        client: ClientId,
        answer: Answer,
    },
    Note(Note),
    /// Nothing is left to do.
    Leave {
        code: i32,
    },
}

/// How a worker is to drain. Which of its listeners it serves to their end the shell knows: those
/// that nothing names any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainOrder {
    pub grace: Duration,
    /// For connections that are meant to last; not below `grace`.
    pub long_lived: Duration,
    pub idle: Idle,
    pub why: DrainWhy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillSignal {
    Term,
    Kill,
}

/// What a waiting client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub ok: bool,
    pub text: String,
    pub lines: Vec<String>,
    pub generation: Option<Generation>,
}

impl Answer {
    pub fn good(text: impl Into<String>, generation: Generation) -> Answer {
        Answer { ok: true, text: text.into(), lines: Vec::new(), generation: Some(generation) }
    }

    pub fn bad(text: impl Into<String>) -> Answer {
        Answer { ok: false, text: text.into(), lines: Vec::new(), generation: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

/// One act, for the log and for `masterd events`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub level: Level,
    /// A stable word: `ready`, `died`, `reload_done`, …
    pub event: &'static str,
    pub text: String,
    /// Further lines for whoever waits for a start: what a program printed last.
    pub lines: Vec<String>,
    pub service: Option<ServiceName>,
    pub seat: Option<Seat>,
    pub generation: Option<Generation>,
    pub worker: Option<WorkerId>,
}

impl Note {
    /// A note about nobody in particular.
    pub fn new(level: Level, event: &'static str, text: impl Into<String>) -> Note {
        let text = text.into();
        let (service, seat, generation, worker) = (None, None, None, None);
        Note { level, event, text, lines: Vec::new(), service, seat, generation, worker }
    }

    /// The text where there is no room for lines.
    pub fn brief(&self) -> String {
        printed::brief(&self.text, &self.lines)
    }
}
