//! The loop of a worker: wait, take events, run what is ready, accept, sweep, drain, write.
//!
//! `serve` is the whole life of a worker that is set up, and touches nothing of the process but its own
//! descriptors, so that a test can run it in a thread. It ends with the exit status.
//! Order within a turn: sockets, orders and signals first, then tasks, so that a drain is seen by
//! every answer given after it; then new connections.

use super::accept::{Acceptor, Offer, Owner};
use super::access_log::{AccessLog, Author};
use super::conns::{Conns, Source};
use super::drain::parting::{Whom, any_long_lived, close_all, part};
use super::drain::{Drain, Terms};
use super::engine::Handle;
use super::engine::helpers::Helpers;
use super::engine::reactor::{Reactor, Ready};
use super::engine::task::Tasks;
use super::engine::wires::WIRE;
use super::http::routes::{Means, Tokens};
use super::job::{Job, LOOSE};
use super::mailbox::{Mail, Mailbox};
use super::opening::Door;
use super::service::Service;
use super::shared::Shared;
use super::startup::word_of;
use super::sweep::{TICK, sweep};
use super::tls::Keyring;
use crate::config::{self, Accept, Address};
use crate::log::Sink;
use crate::model::{GAVE_UP, Generation, Moment, Seat, TicketSecret};
use crate::scoreboard::layout::{IDLE, PID, State};
use crate::scoreboard::slot::Slot;
use crate::sys::signal::{SignalFd, Word};
use crate::sys::{clock, limits, process};
use crate::wire::order;
use crate::wire::report::Report;
use slog::{Logger, error, info, warn};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

/// Between two tries to write lines of the access log that wait: a reader that comes back is to catch up soon.
const BEHIND: Duration = Duration::from_millis(20);

/// A worker that is set up: nothing of the process is left to be changed.
#[derive(Debug)]
pub struct Setup {
    pub seat: Seat,
    pub generation: Generation,
    pub service: config::Service,
    /// One per `service.listen`, in that order.
    pub listeners: Vec<OwnedFd>,
    pub channel: OwnedFd,
    pub slot: Slot,
    pub log: Logger,
    pub sink: Sink,
    /// Where the lines of `service.access_log` go.
    pub access_log: Option<OwnedFd>,
    /// TERM and QUIT; `None` where the process's signals are somebody else's.
    pub signals: Option<SignalFd>,
    /// What session tickets are made with.
    pub tickets: TicketSecret,
    /// It takes no listener, says ready and ends.
    pub trial: bool,
    /// How long it may take to become ready.
    pub ready_timeout: Duration,
    /// Name and home of whom it has become, for programs.
    pub home: Option<(String, PathBuf)>,
}

/// A worker at work.
pub struct Worker {
    pub conns: Conns,
    pub acceptor: Acceptor,
    mailbox: Mailbox,
    signals: Option<SignalFd>,
    work: Service,
    pub keyring: Keyring,
    pub shared: Rc<Shared>,
    pub sink: Sink,
    generation: Generation,
    pub service: config::Service,
    pub drain: Option<Drain>,
    next_tick: Moment,
    /// Set when the worker is to leave: its exit status.
    leave: Option<i32>,
    /// Whose signals count.
    master: i32,
}

/// Serves until the worker is told to leave, or has nothing left to wait for. The exit status.
pub fn serve(mut setup: Setup) -> i32 {
    let access_log = access_log(&mut setup);
    let Setup { seat, generation, service, listeners, channel, slot, log, sink, signals, .. } = setup;
    let keyring = Keyring::new(setup.tickets, || Moment(clock::monotonic_ns()));
    let mut mailbox = Mailbox::new(channel);
    let engine = match Engine::new(&mailbox, signals.as_ref()) {
        Ok(engine) => engine,
        Err(e) => return give_up(&mut mailbox, &log, &e),
    };
    let Engine { reactor, tasks, handle } = engine;
    let tokens = Tokens { pid: process::pid(), generation: generation.0, seat: seat.0 };
    let helpers = Rc::new(Helpers::new());
    let means = Means { tokens, engine: handle.clone(), helpers, log: log.clone() };
    let work = match Service::new(&service.kind, &means) {
        Ok(work) => work,
        Err(why) => return give_up(&mut mailbox, &log, &io::Error::other(why)),
    };
    let next_tick = handle.now() + TICK;
    let shared = Rc::new(Shared::new(handle, slot, log, access_log));
    let doors = service.listen.iter().map(|listen| Door::new(listen, &service.kind, &keyring));
    let doors = match doors.collect::<Result<Vec<Door>, String>>() {
        Ok(doors) => doors,
        Err(why) => return give_up(&mut mailbox, &shared.log, &io::Error::other(why)),
    };
    let conns = Conns::new(reactor, tasks, shared.clone(), work.clone(), doors);
    let ceiling = ceiling(listeners.len(), &shared.log) / work.descriptors();
    let acceptor = Acceptor::new(service.connections as usize, ceiling.max(1));
    let (drain, leave) = (None, None);
    let mut worker = Worker {
        conns,
        acceptor,
        mailbox,
        signals,
        work,
        keyring,
        shared,
        sink,
        generation,
        service,
        drain,
        next_tick,
        leave,
        master: process::parent_pid(),
    };
    if setup.trial {
        worker.report(&Report::Ready);
        return 0;
    }
    match worker.open(listeners) {
        Ok(()) => worker.live(),
        Err(e) => give_up(&mut worker.mailbox, &worker.shared.log, &e),
    }
}

/// The access log of a worker that is to have one.
fn access_log(setup: &mut Setup) -> Option<AccessLog> {
    let fd = setup.access_log.take()?;
    let Setup { seat, generation, service, log, .. } = setup;
    let format = service.access_log.as_ref()?.format;
    let (generation, seat) = (generation.0, seat.0);
    let author = Author { service: &service.name, generation, seat, pid: process::pid() };
    Some(AccessLog::new(fd, format, &author, log.clone()))
}

/// Descriptors that connections leave to everything else: the loop's own, and those that come with orders.
const RESERVE: usize = 32;

/// How many connections the descriptors allow.
fn ceiling(listeners: usize, log: &Logger) -> usize {
    match limits::nofile() {
        Ok((soft, _)) => {
            usize::try_from(soft).unwrap_or(usize::MAX).saturating_sub(RESERVE + listeners).max(1)
        }
        Err(e) => {
            warn!(log, "{e}; only `connections` limits the connections");
            usize::MAX
        }
    }
}

/// Tells the master why nothing can be served. The exit status.
fn give_up(mailbox: &mut Mailbox, log: &Logger, error: &io::Error) -> i32 {
    let why = format!("can't begin to serve: {error}");
    error!(log, "{why}");
    mailbox.send(&Report::Failed { why, lines: Vec::new() }, log);
    GAVE_UP
}

/// The parts of a loop, joined.
struct Engine {
    reactor: Reactor<Source>,
    tasks: Tasks<Job>,
    handle: Rc<Handle>,
}

impl Engine {
    fn new(mailbox: &Mailbox, signals: Option<&SignalFd>) -> io::Result<Engine> {
        let mut reactor = Reactor::new()?;
        let handle = Rc::new(Handle::new(reactor.registry())?);
        let tasks = Tasks::new(reactor.registry())?;
        reactor.add(mailbox.raw(), Source::Channel)?;
        if let Some(signals) = signals {
            reactor.add(signals.as_raw_fd(), Source::Signals)?;
        }
        Ok(Engine { reactor, tasks, handle })
    }
}

impl Worker {
    /// Takes the listeners and says ready.
    fn open(&mut self, listeners: Vec<OwnedFd>) -> io::Result<()> {
        if listeners.len() != self.service.listen.len() {
            let (got, want) = (listeners.len(), self.service.listen.len());
            return Err(io::Error::other(format!("{got} listeners were inherited for {want} addresses")));
        }
        for (index, (fd, listen)) in listeners.into_iter().zip(&self.service.listen).enumerate() {
            let tcp = matches!(listen.address, Address::Tcp(_));
            let exclusive = listen.accept == Accept::Shared;
            let offer = Offer { fd, owner: Owner::Own, index, exclusive, tcp, last_call: false };
            self.acceptor.add(&mut self.conns, offer)?;
        }
        let slot = &self.shared.slot;
        slot.set(PID, process::pid().unsigned_abs().into());
        slot.set_state(State::Ready);
        self.mailbox.send(&Report::Ready, &self.shared.log);
        Ok(())
    }

    fn live(&mut self) -> i32 {
        loop {
            if let Some(status) = self.leave {
                close_all(&mut self.conns);
                self.depart();
                return status;
            }
            let now = Moment(clock::monotonic_ns());
            let timeout = self.timeout(now);
            self.shared.slot.asleep(now);
            let waited = self.conns.reactor.wait(timeout);
            let now = self.shared.engine.refresh();
            self.shared.slot.awake(now);
            match waited {
                Ok(batch) => self.turn(batch, now),
                Err(e) => {
                    error!(self.shared.log, "the event loop can't go on: {e}");
                    self.mailbox
                        .send(&Report::Failed { why: e.to_string(), lines: Vec::new() }, &self.shared.log);
                    self.leave = Some(GAVE_UP);
                }
            }
        }
    }

    fn turn(&mut self, batch: Vec<Ready>, now: Moment) {
        for ready in &batch {
            self.event(ready, now);
        }
        self.conns.reactor.done(batch);
        self.shared.engine.wires.recycle();
        self.shared.engine.timers.borrow_mut().fire(now);
        for loose in self.shared.engine.take_spawned() {
            self.conns.tasks.spawn(LOOSE, Job::Loose(loose));
        }
        let ready = self.conns.tasks.take_ready();
        for id in &ready {
            if let Some((key, end)) = self.conns.tasks.poll(*id) {
                self.conns.finish(key, end);
            }
        }
        self.conns.tasks.done(ready);
        self.acceptor.turn(&mut self.conns, now);
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            sweep(&mut self.conns, &self.work, now);
            self.keyring.advance();
        }
        if self.shared.status.take_question(now) {
            self.mailbox.send(&Report::StatusWanted, &self.shared.log);
        }
        self.step_drain(now);
        self.mailbox.flush(&self.shared.log);
        self.shared.flush_access_log(false);
        self.sink.flush();
    }

    fn event(&mut self, ready: &Ready, now: Moment) {
        if ready.key & WIRE != 0 {
            return self.shared.engine.wires.event(ready);
        }
        match self.conns.reactor.sources.get(ready.key) {
            Some(Source::Conn(_)) => self.conns.event(ready),
            Some(Source::Listener(id)) => self.acceptor.event(*id, ready),
            Some(Source::Channel) => self.read_mail(now),
            Some(Source::Signals) => self.read_signals(now),
            None => {}
        }
    }

    /// Until when nothing needs doing unless something happens.
    fn timeout(&self, now: Moment) -> Duration {
        if self.conns.tasks.any_ready() || self.shared.engine.has_spawned() || self.acceptor.any_more() {
            return Duration::ZERO;
        }
        let timer = self.shared.engine.timers.borrow().next();
        let drain = self.drain.as_ref().map(|drain| drain.next_due(&self.conns));
        let behind = self.shared.access_log.as_ref().is_some_and(AccessLog::waits).then(|| now + BEHIND);
        let dues = [timer, drain, self.acceptor.next_due(), behind];
        dues.into_iter().flatten().fold(self.next_tick, Moment::min).since(now)
    }

    fn read_signals(&mut self, now: Moment) {
        while let Some(signals) = &self.signals {
            match signals.read() {
                // A terminal, a service manager or `kill -- -GROUP` signals all of us: what that means
                // is the master's to decide, as long as there is one.
                Ok(Some(caught)) if caught.sender != self.master && !self.mailbox.has_ended() => {
                    info!(self.shared.log, "signal {} ignored: signals go to the master", caught.number;
                        "sender" => caught.sender, "master" => self.master);
                }
                Ok(Some(caught)) if word_of(caught.number) == Some(Word::Quit) => self.drain_by_itself(now),
                Ok(Some(_)) => self.stop(),
                Ok(None) => return,
                Err(e) => {
                    error!(self.shared.log, "can't read signals: {e}");
                    return;
                }
            }
        }
    }

    fn read_mail(&mut self, now: Moment) {
        while let Some(mail) = self.mailbox.next(&self.shared.log) {
            match mail {
                Mail::Order(order, fds) => self.obey(order, fds, now),
                Mail::End => {
                    warn!(self.shared.log, "the master is gone: serving what is here, then leaving");
                    self.acceptor.abandon(&mut self.conns, now);
                    self.drain_by_itself(now);
                }
            }
        }
    }

    /// Sends a report to the master.
    pub fn report(&mut self, report: &Report) {
        self.mailbox.send(report, &self.shared.log);
    }

    pub fn begin_drain(&mut self, order: &order::Drain, now: Moment) {
        let grace = Duration::from_millis(order.grace_ms);
        let long_lived = Duration::from_millis(order.long_lived_ms).max(grace);
        let terms = Terms { grace, long_lived, idle: order.idle, final_stop: order.final_stop };
        if order.unready {
            self.shared.unready.set(true);
        }
        self.acceptor.last_call(&mut self.conns, &order.last_call, now);
        if !order.last_call.is_empty() && !self.acceptor.serves_own() {
            // They were let go by an earlier order: nothing is left to serve.
            self.mailbox.send(&Report::Closed { rites: None }, &self.shared.log);
        }
        self.drain_with(&terms, &order.why, now);
    }

    /// QUIT, or the master's death: on the service's own terms.
    fn drain_by_itself(&mut self, now: Moment) {
        self.shared.unready.set(true);
        self.acceptor.last_call(&mut self.conns, &[], now);
        let config::Drain { grace, long_lived_grace, idle, .. } = self.service.drain;
        let terms = Terms { grace, long_lived: long_lived_grace.max(grace), idle, final_stop: false };
        self.drain_with(&terms, "by itself", now);
    }

    fn drain_with(&mut self, terms: &Terms, why: &str, now: Moment) {
        self.shared.draining.set(true);
        self.conns.chill(now);
        self.conns.announce();
        self.shared.slot.set_state(State::Draining);
        match &mut self.drain {
            Some(drain) => drain.shorten(terms, now),
            None => {
                let left = if any_long_lived(&self.conns) { terms.long_lived } else { terms.grace };
                info!(
                    self.shared.log,
                    "draining ({why}): {} connections, {} of them idle, {:.1}s left",
                    self.conns.open(),
                    self.shared.slot.get(IDLE),
                    left.as_secs_f64()
                );
                self.drain = Some(Drain::begin(terms, self.generation, now));
            }
        }
    }

    fn step_drain(&mut self, now: Moment) {
        let (closed, done) = match &mut self.drain {
            Some(drain) => {
                let progress = drain.step(&mut self.conns, &mut self.acceptor, now);
                (progress.closed, progress.done)
            }
            None => (self.acceptor.end_last_calls(&mut self.conns, now), false),
        };
        for owner in closed {
            let rites = match owner {
                Owner::Own => None,
                Owner::Rites(id) => Some(id),
                Owner::Rescue(_) => continue,
            };
            self.mailbox.send(&Report::Closed { rites }, &self.shared.log);
        }
        if done {
            self.leave = Some(0);
        }
    }

    /// Ends what is left; the rest of this turn is theirs who have something to say.
    pub fn stop(&mut self) {
        part(&mut self.conns, Whom::All);
        self.leave = Some(0);
    }

    /// The last words.
    fn depart(&mut self) {
        let slot = &self.shared.slot;
        slot.set_state(State::Leaving);
        self.shared.flush_access_log(true);
        let cut = slot.get(crate::scoreboard::layout::CUT);
        self.mailbox.send(&Report::Leaving { cut }, &self.shared.log);
        info!(self.shared.log, "leaving: {cut} connections were cut off");
        self.sink.flush();
    }
}
