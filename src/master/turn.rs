//! The loop: wait, collect events, decide, perform, until there is nothing left to do.
//!
//! One `Shell` holds everything the master owns. A turn never blocks but in `poll`.

use super::access_logs::AccessLogs;
use super::aftermath::Remnants;
use super::boot::Origin;
use super::config_child::Child;
use super::control::Control;
use super::crew::{Crew, Handle};
use super::samples::{self, Samples};
use super::sockets::Sockets;
use super::upgrade::candidate::Candidate;
use super::upgrade::crossing::{self, Crossing};
use super::{aftermath, inbox, outbox};
use crate::config::Config;
use crate::inherit::WorkerMain;
use crate::log::Sink;
use crate::model::fleet::Fleet;
use crate::model::{ClientId, Moment, PlanId, ServiceName, TicketSecret, WorkerId};
use crate::policy::{self, Event};
use crate::scoreboard::totals::Totals;
use crate::sys::exec::Program;
use crate::sys::ledger::Ledger;
use crate::sys::pidfile::PidFile;
use crate::sys::signal::SignalFd;
use crate::sys::{clock, process, title};
use mio::{Events, Poll};
use slog::Logger;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How often waiting clients and an unwritable log are looked after.
const TICK: Duration = Duration::from_millis(100);
/// Events that one turn takes.
const CAPACITY: usize = 256;
/// How long deadlines wait for what has happened and is not heard yet; a worker that never stops
/// talking puts none off for longer.
const LATE: Duration = Duration::from_millis(250);

pub struct Shell {
    pub poll: Poll,
    pub signals: SignalFd,
    pub fleet: Fleet,
    pub sockets: Sockets,
    pub crew: Crew,
    pub totals: Totals,
    pub control: Control,
    pub sink: Sink,
    pub log: Logger,
    pub worker_main: WorkerMain,
    /// Configs by plan, as long as a worker or a decision needs them.
    pub plans: BTreeMap<PlanId, Arc<Config>>,
    /// The config in force.
    pub config: Arc<Config>,
    pub config_path: PathBuf,
    pub last_plan: PlanId,
    /// Every worker is born with a copy.
    pub tickets: TicketSecret,
    /// The log of a plan that is not in force yet, if it is another one.
    pub next_log: Option<(PlanId, OwnedFd)>,
    pub access_logs: AccessLogs,
    /// Config children under way, by token number.
    pub readings: BTreeMap<usize, Reading>,
    pub last_reading: usize,
    pub pid: i32,
    pub pid_file: Option<PidFile>,
    /// Held as long as the control socket is ours.
    pub socket_lock: PidFile,
    pub started_wall: u64,
    /// The version of the image in force, and since when it serves. On trial that is the one before.
    pub image_version: String,
    pub image_since: u64,
    /// Where the image in force came from.
    pub origin: Origin,
    /// A new binary proving itself.
    pub candidate: Option<Candidate>,
    /// The one that has: it is executed from the descriptor that was tried.
    pub proved: Option<Program>,
    /// Another image is to be executed when nothing else is left to be done.
    pub crossing: Option<Crossing>,
    /// On trial: the state that the old image finds if this one ends unexpectedly.
    pub trial: Option<Ledger>,
    /// Events that came of actions.
    pub queue: VecDeque<Event>,
    /// Workers with more reports than one turn reads.
    pub talkative: BTreeSet<WorkerId>,
    pub next_pulse: Option<Moment>,
    pub next_tick: Option<Moment>,
    /// Last status document made for workers' `status` routes.
    pub shown: Option<(Moment, Arc<OwnedFd>)>,
    /// Clients whose status waits for figures.
    pub samples: Samples,
    /// What is left of programs whose keepers have died.
    pub remnants: Remnants,
    /// `--daemon`: who waits for the first generation.
    pub announce: Option<OwnedFd>,
    /// The first generation has served.
    pub announced: bool,
    /// The last error said, for whoever waits for the start.
    pub last_error: Option<String>,
    pub leaving: Option<i32>,
}

/// What a shell is made from, at a start as after an upgrade; the rest of it begins empty.
pub struct Parts {
    pub loop_of: (Poll, SignalFd),
    pub fleet: Fleet,
    pub sockets: Sockets,
    pub crew: Crew,
    pub totals: Totals,
    pub control: Control,
    pub sink: Sink,
    pub worker_main: WorkerMain,
    pub plans: BTreeMap<PlanId, Arc<Config>>,
    pub config: Arc<Config>,
    pub config_path: PathBuf,
    pub last_plan: PlanId,
    pub tickets: TicketSecret,
    pub pid_file: Option<PidFile>,
    pub socket_lock: PidFile,
    pub started_wall: u64,
    pub image_version: String,
    pub image_since: u64,
    pub origin: Origin,
}

impl Shell {
    pub fn new(parts: Parts) -> Shell {
        let (poll, signals) = parts.loop_of;
        title::set(&format!("masterd: master ({})", parts.config_path.display()));
        Shell {
            poll,
            signals,
            fleet: parts.fleet,
            sockets: parts.sockets,
            crew: parts.crew,
            totals: parts.totals,
            control: parts.control,
            log: parts.sink.logger("master"),
            sink: parts.sink,
            worker_main: parts.worker_main,
            plans: parts.plans,
            config: parts.config,
            config_path: parts.config_path,
            last_plan: parts.last_plan,
            tickets: parts.tickets,
            pid: process::pid(),
            pid_file: parts.pid_file,
            socket_lock: parts.socket_lock,
            started_wall: parts.started_wall,
            image_version: parts.image_version,
            image_since: parts.image_since,
            origin: parts.origin,
            next_log: None,
            access_logs: AccessLogs::default(),
            readings: BTreeMap::new(),
            last_reading: 0,
            candidate: None,
            proved: None,
            crossing: None,
            trial: None,
            queue: VecDeque::new(),
            talkative: BTreeSet::new(),
            next_pulse: None,
            next_tick: None,
            shown: None,
            samples: Samples::default(),
            remnants: Remnants::default(),
            announce: None,
            announced: false,
            last_error: None,
            leaving: None,
        }
    }
}

/// A config being read, and for whom.
pub struct Reading {
    pub child: Child,
    pub deadline: Moment,
    pub purpose: Purpose,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    Reload,
    DryRun { client: ClientId, service: Option<ServiceName> },
}

pub fn now() -> Moment {
    Moment(clock::monotonic_ns())
}

/// Runs until the fleet says leave; the exit status.
pub fn serve(shell: &mut Shell) -> io::Result<i32> {
    let mut events = Events::with_capacity(CAPACITY);
    loop {
        digest(shell);
        while crossing::cross(shell) {
            digest(shell);
        }
        crossing::prove_alive(shell);
        if let Some(code) = shell.leaving {
            return Ok(code);
        }
        let timeout = timeout(shell);
        match shell.poll.poll(&mut events, timeout) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => other?,
        }
        let mut batch = inbox::collect(shell, &events);
        samples::settle(shell);
        // Deaths and reports, then orders to stop, then the rest: nginx's order of concerns.
        batch.sort_by_key(inbox::rank);
        shell.queue.extend(batch);
        let all_heard = events.iter().count() < CAPACITY && shell.talkative.is_empty();
        let late = if all_heard { Duration::ZERO } else { LATE };
        if policy::next_due(&shell.fleet).is_some_and(|at| at + late <= now()) {
            shell.queue.push_back(Event::Due);
        }
        pulse(shell);
        tick(shell);
    }
}

/// Decides on every event and performs what follows, until nothing follows any more.
fn digest(shell: &mut Shell) {
    while let Some(event) = shell.queue.pop_front() {
        let actions = policy::decide(&mut shell.fleet, event, now());
        outbox::perform(shell, actions);
    }
}

fn timeout(shell: &Shell) -> Option<Duration> {
    if !shell.talkative.is_empty() {
        return Some(Duration::ZERO);
    }
    let readings = shell.readings.values().map(|r| r.deadline).min();
    let figures = shell.samples.due();
    let due = [policy::next_due(&shell.fleet), shell.next_pulse, shell.next_tick, readings, figures];
    let now = now();
    // mio rounds up to whole milliseconds, so a deadline has passed when poll returns.
    due.into_iter().flatten().min().map(|at| at.since(now))
}

fn pulse(shell: &mut Shell) {
    let now = now();
    // In time, not only when a worker is born: what is forgotten can't be stolen.
    shell.tickets.advance(now);
    let Some(interval) = policy::pulse_interval(&shell.fleet) else {
        shell.next_pulse = None;
        return;
    };
    if shell.next_pulse.is_some_and(|at| at > now) {
        return;
    }
    if shell.next_pulse.is_some() {
        aftermath::restore_files(shell, None);
        if shell.crew.handles.values().any(Handle::is_keeper) {
            aftermath::mind_modes(shell);
        }
        let event = inbox::pulse(shell);
        shell.queue.push_back(event);
    }
    shell.next_pulse = Some(now + interval);
}

/// Looks after everybody who waits: progress, watchers, slow clients, the log.
fn tick(shell: &mut Shell) {
    let now = now();
    let wanted = shell.control.has_clients() || shell.control.short || shell.sink.pending();
    if shell.next_tick.is_none_or(|at| at > now) {
        shell.next_tick = shell.next_tick.filter(|_| wanted).or(wanted.then_some(now + TICK));
        return;
    }
    shell.sink.flush();
    if shell.control.short {
        inbox::newcomers(shell);
    }
    super::asks::watch(shell);
    if shell.control.anybody_waits() {
        let progress = super::progress::of(shell);
        shell.control.show(&progress, now);
    }
    for client in shell.control.sweep(now) {
        shell.queue.push_back(Event::ClientGone { client });
    }
    shell.next_tick = wanted.then_some(now + TICK);
}
