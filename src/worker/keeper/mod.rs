//! The keeper: a worker that does not serve, but keeps a program that does.
//!
//! It is forked like any worker, obeys the same orders and makes the same reports, so that nothing else
//! needs to know what a program is. It starts the program with the sockets of its seat (`launch`), writes
//! what it prints into the log (`lines`), hears its notifications (`messages`), sees when it is ready
//! (`readiness`), counts its connections (`figures`), and leads it out (`ending`). As its ancestor, of its uid, it
//! may look at it; as a subreaper it loses none of its processes. When the master is gone it lets the program
//! end in good order; when the keeper itself is gone, the kernel kills the program (PDEATHSIG).
//! One thread, one loop; never waits for the program, never believes it.

mod ending;
mod figures;
mod launch;
mod life;
mod lines;
pub mod messages;
mod orders;
mod readiness;
mod sockets;
mod troubles;
mod voice;

use super::engine::reactor::{Reactor, Ready};
use super::mailbox::{Mail, Mailbox};
use super::startup::word_of;
use super::turn::Setup;
use crate::config::{self, Exec};
use crate::log::Sink;
use crate::model::{GAVE_UP, Generation, Moment};
use crate::scoreboard::layout::{BEAT, CUT, MEMORY, PID, State};
use crate::scoreboard::slot::Slot;
use crate::sys::process::Pidfd;
use crate::sys::signal::{SignalFd, Word};
use crate::sys::{clock, family, fork, process};
use crate::wire::report::Report;
use ending::Ending;
use figures::Books;
use launch::{Post, Started, launch};
use life::Stage;
use slog::{Logger, debug, error, info, warn};
use sockets::Socket;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;
use troubles::{Kind, Troubles};
use voice::Voice;

/// An idle worker wakes at most twice a second.
const TICK: Duration = Duration::from_millis(500);

/// How often its memory is looked at: the kernel goes through all its pages for it.
const WEIGH: Duration = Duration::from_secs(5);

/// What the loop watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Channel,
    Signals,
    Stdout,
    Stderr,
    Notify,
    Newline,
}

#[derive(Debug)]
struct Keeper {
    reactor: Reactor<Source>,
    mailbox: Mailbox,
    signals: Option<SignalFd>,
    slot: Slot,
    log: Logger,
    sink: Sink,
    service: config::Service,
    exec: Exec,
    generation: Generation,
    sockets: Vec<Socket>,
    /// The process that stands for the program, and the group of the one that was started.
    main: i32,
    main_fd: Pidfd,
    group: i32,
    /// How the main process has ended.
    ended: Option<String>,
    stage: Stage,
    voice: Voice,
    books: Books,
    ending: Option<Ending>,
    /// Sockets that nobody else serves, by their place.
    last_call: Vec<usize>,
    /// The watchdog's: how often it must say that it is alive, and when it did.
    watchdog: Duration,
    alive: Moment,
    next_tick: Moment,
    next_check: Moment,
    next_weighing: Moment,
    /// It was seen without one of its sockets.
    let_go: bool,
    /// What is wrong with it, what it says of itself, and which of these the master knows.
    troubles: Troubles,
    status: Option<String>,
    told: Option<String>,
    /// News for the master that can wait for the next tick: however often the program says such things, it hears
    /// them twice a second.
    new_main: bool,
    extension: Option<Duration>,
    /// Notifications that made no sense since the last tick, and one of them.
    nonsense: Option<(u32, String)>,
    /// Set when the keeper is to leave: its exit status.
    leave: Option<i32>,
    /// Whose signals count.
    master: i32,
}

/// Starts the program, and keeps it until it has ended. The exit status.
pub fn serve(setup: Setup) -> i32 {
    let log = setup.log.clone();
    let channel = match setup.channel.try_clone() {
        Ok(channel) => channel,
        Err(e) => {
            error!(log, "can't use the channel to the master: {e}");
            return 1;
        }
    };
    match Keeper::start(setup) {
        Ok(mut keeper) => keeper.live(),
        Err(e) => {
            Mailbox::new(channel).send(&Report::Failed { why: e.to_string(), lines: Vec::new() }, &log);
            GAVE_UP
        }
    }
}

impl Keeper {
    fn start(setup: Setup) -> io::Result<Keeper> {
        let Setup { seat, generation, service, listeners, channel, slot, log, sink, signals, .. } = setup;
        let exec = service.kind.exec().cloned();
        let exec = exec.ok_or_else(|| io::Error::other("this service runs no program"))?;
        fork::new_session()?;
        family::become_subreaper()?;
        let sockets = listeners.into_iter().zip(&service.listen).map(|(fd, listen)| Socket::new(fd, listen));
        let sockets = sockets.collect::<io::Result<Vec<Socket>>>()?;
        let user = setup.home.as_ref().map(|(name, home)| (name.as_str(), home.as_path()));
        let changed = life::has_changed(&exec.program);
        let post = Post { exec: &exec, sockets: &sockets, seat: seat.0, generation: generation.0, user };
        let started = launch(&post).map_err(|e| io::Error::new(e.kind(), format!("can't start: {e}")))?;
        let Started { pid, pidfd, output, ready, notify, slot: own } = started;
        info!(log, "program started: {}", exec.program.path.display(); "pid" => pid);
        let now = Moment(clock::monotonic_ns());
        let mut keeper = Keeper {
            reactor: Reactor::new()?,
            mailbox: Mailbox::new(channel),
            signals,
            slot,
            sink,
            generation,
            sockets,
            main: pid,
            main_fd: pidfd,
            group: pid,
            ended: None,
            stage: Stage::starting(exec.ready, setup.ready_timeout, now),
            voice: Voice::new(output, notify, ready, now),
            books: Books::new(own),
            ending: None,
            last_call: Vec::new(),
            watchdog: exec.watchdog,
            alive: now,
            next_tick: now,
            next_check: now,
            next_weighing: now,
            let_go: false,
            troubles: Troubles::default(),
            status: None,
            told: None,
            new_main: false,
            extension: None,
            nonsense: None,
            leave: None,
            master: process::parent_pid(),
            service,
            exec,
            log,
        };
        keeper.watch()?;
        keeper.slot.set(PID, process::pid().unsigned_abs().into());
        keeper.report(&Report::Program { pid });
        keeper.mind_the_file(changed);
        Ok(keeper)
    }

    /// Says that another file has taken the place of the one that this generation began with.
    fn mind_the_file(&mut self, changed: bool) {
        if changed {
            let path = self.exec.program.path.display();
            let text = format!(
                "{path} is another file than when this generation began: this worker runs the new one"
            );
            warn!(self.log, "{text}");
            self.troubles.set(Kind::OtherFile, text);
        }
    }

    fn watch(&mut self) -> io::Result<()> {
        self.reactor.add(self.mailbox.raw(), Source::Channel)?;
        if let Some(signals) = &self.signals {
            self.reactor.add(signals.as_raw_fd(), Source::Signals)?;
        }
        for (source, fd) in self.voice.sources() {
            self.reactor.add(fd, source)?;
        }
        Ok(())
    }

    fn live(&mut self) -> i32 {
        loop {
            if let Some(status) = self.leave {
                self.depart();
                return status;
            }
            let timeout = self.next_due().since(Moment(clock::monotonic_ns()));
            match self.reactor.wait(timeout) {
                Ok(batch) => self.turn(batch, Moment(clock::monotonic_ns())),
                Err(e) => {
                    error!(self.log, "the event loop can't go on: {e}");
                    self.report(&Report::Failed { why: e.to_string(), lines: Vec::new() });
                    self.leave = Some(GAVE_UP);
                }
            }
        }
    }

    fn turn(&mut self, batch: Vec<Ready>, now: Moment) {
        for ready in &batch {
            match self.reactor.sources.get(ready.key).copied() {
                Some(Source::Channel) => self.read_mail(now),
                Some(Source::Signals) => self.read_signals(now),
                Some(source) => self.voice.woken(source),
                None => {}
            }
        }
        self.reactor.done(batch);
        self.listen_to_it(now);
        self.reap(now);
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.tick(now);
        }
        self.step_stage(now);
        self.step_ending(now);
        self.mailbox.flush(&self.log);
        self.sink.flush();
    }

    fn next_due(&self) -> Moment {
        if self.voice.has_more() {
            return Moment(0);
        }
        let ending = self.ending.as_ref().map(|ending| ending.due(self.next_tick));
        let watchdog = self.watchdog_due();
        let dues = [self.stage.due(), ending, watchdog];
        dues.into_iter().flatten().fold(self.next_tick, Moment::min)
    }

    fn read_signals(&mut self, now: Moment) {
        while let Some(signals) = &self.signals {
            match signals.read() {
                // Children are looked after in every turn.
                Ok(Some(caught)) if word_of(caught.number) == Some(Word::Child) => {}
                Ok(Some(caught)) if caught.sender != self.master && !self.mailbox.has_ended() => {
                    info!(self.log, "signal {} ignored: signals go to the master", caught.number;
                        "sender" => caught.sender, "master" => self.master);
                }
                Ok(Some(caught)) if word_of(caught.number) == Some(Word::Quit) => self.drain_by_itself(now),
                Ok(Some(_)) => self.stop(now),
                Ok(None) => return,
                Err(e) => return error!(self.log, "can't read signals: {e}"),
            }
        }
    }

    fn read_mail(&mut self, now: Moment) {
        while let Some(mail) = self.mailbox.next(&self.log) {
            match mail {
                Mail::Order(order, fds) => self.obey(order, fds, now),
                Mail::End => {
                    warn!(self.log, "the master is gone: the program is asked to end");
                    self.drain_by_itself(now);
                }
            }
        }
    }

    fn report(&mut self, report: &Report) {
        self.mailbox.send(report, &self.log);
    }

    /// A sign of life, and everything that is looked at now and then.
    fn tick(&mut self, now: Moment) {
        self.slot.set(BEAT, now.0);
        let family = self.family();
        self.books.cpu(&self.slot, family::cpu(&family));
        if now >= self.next_weighing {
            self.next_weighing = now + WEIGH;
            self.slot.set(MEMORY, family::memory(&family));
        }
        self.books.copy(&self.slot);
        self.revive();
        if let Some(left_out) = self.voice.spout.notice(now) {
            warn!(self.log, "{left_out} lines of the program's output are left out here: it prints too much";
                "pid" => self.main);
        }
        if self.ended.is_none() && !family.contains(&self.main) {
            // No child of ours: whose it was has heard of its end, and nobody told us how that was.
            self.ended = Some("has ended".to_owned());
            self.main_is_gone(false, now);
        }
        self.check(&family, now);
        self.tell_what_is_said();
    }

    /// A socket that was shut down for everybody is made to listen again, if that can be.
    fn revive(&mut self) {
        for socket in &mut self.sockets {
            let Some(revived) = socket.revive() else { continue };
            let text = format!(
                "the socket of {} was shut down for everybody, most likely by a program",
                socket.address
            );
            match revived {
                Ok(()) => warn!(self.log, "{text}: it listens again"),
                Err(e) => {
                    let text = format!("{text}, and nobody can connect until a reload makes it anew ({e})");
                    error!(self.log, "{text}");
                    self.troubles.set(Kind::SocketLost, text);
                }
            }
        }
    }

    /// Tells the master what is to be shown of the program, if it is something new.
    fn tell_what_is_said(&mut self) {
        if let Some((n, one)) = self.nonsense.take() {
            debug!(self.log, "{n} notifications were ignored: {one}"; "pid" => self.main);
        }
        self.tell_main();
        if let Some(more) = self.extension.take() {
            self.report(&Report::Extend { ms: u64::try_from(more.as_millis()).unwrap_or(u64::MAX) });
        }
        let says = |status: &String| format!("it says: {status}");
        let text = self.troubles.shown().map(str::to_owned).or_else(|| self.status.as_ref().map(says));
        if text != self.told {
            self.told.clone_from(&text);
            self.report(&Report::Says { text });
        }
    }

    /// Tells the master which process stands for the program, if it is another.
    fn tell_main(&mut self) {
        if std::mem::take(&mut self.new_main) {
            self.report(&Report::Program { pid: self.main });
        }
    }

    /// All living processes of the program.
    fn family(&self) -> Vec<i32> {
        family::descendants().unwrap_or_else(|e| {
            debug!(self.log, "can't look for the program's processes: {e}");
            vec![self.main]
        })
    }

    /// The last words.
    fn depart(&mut self) {
        self.slot.set_state(State::Leaving);
        self.books.close(&self.slot);
        if let Some(left_out) = self.voice.spout.untold() {
            warn!(self.log, "{left_out} lines of the program's output were left out: it printed too much");
        }
        if self.ending.is_some() && self.leave == Some(0) {
            self.report(&Report::Leaving { cut: self.slot.get(CUT) });
        }
        self.mailbox.flush(&self.log);
        self.sink.flush();
    }
}
