//! The life of a program: coming up, being there, ending when nobody asked it to.
//!
//! What was heard and seen comes in; reports go to the master. Never: ends it in good order (`orders`).

use super::readiness::{Judge, Verdict};
use super::troubles::Kind;
use super::voice::Heard;
use super::{Keeper, TICK, messages, sockets};
use crate::config::{Program, Readiness};
use crate::model::{GAVE_UP, Moment};
use crate::scoreboard::layout::State;
use crate::sys::family::{self, Change};
use crate::sys::process::Pidfd;
use crate::sys::{onlooker, process};
use crate::wire::report::Report;
use messages::Said;
use slog::{error, info, warn};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// Between two looks at a program that comes up: soon at first, then less often.
const LOOKS: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(100)];
/// What it waits for is shown when it takes longer than this.
const SLOW: Duration = Duration::from_secs(1);
/// The keeper gives up on it so long before the master would: it knows what is missing.
const MARGIN: Duration = Duration::from_millis(300);
/// The most that a program can ask for, in terms of what it is given.
const EXTENSIONS: u32 = 10;
/// Between two looks at one that serves.
const CHECK: Duration = Duration::from_secs(5);
/// Processes whose descriptors are counted then.
const LOOKED_AT: usize = 32;
/// When what is left of one that has failed must be gone.
const CLEARED: Duration = Duration::from_secs(2);

/// Where the program stands.
#[derive(Debug)]
pub enum Stage {
    Starting {
        judge: Judge,
        began: Moment,
        until: Moment,
        most: Moment,
        look: Moment,
        pause: Duration,
    },
    Ready,
    /// It has failed, since when; what is left of it is killed, next when.
    Failed {
        since: Moment,
        look: Moment,
    },
}

impl Stage {
    pub fn starting(how: Readiness, timeout: Duration, now: Moment) -> Stage {
        Stage::Starting {
            judge: Judge::new(how, now),
            began: now,
            until: now + timeout.saturating_sub(MARGIN.min(timeout / 10)),
            most: now + timeout * EXTENSIONS,
            look: now,
            pause: LOOKS[0],
        }
    }

    /// When it should be looked at although nothing has happened.
    pub fn due(&self) -> Option<Moment> {
        match self {
            Stage::Starting { judge, until, look, .. } => {
                Some([Some(*look), judge.due()].into_iter().flatten().fold(*until, Moment::min))
            }
            Stage::Ready => None,
            Stage::Failed { look, .. } => Some(*look),
        }
    }
}

/// Whether the file that is about to be executed is another one than the config named.
pub fn has_changed(program: &Program) -> bool {
    std::fs::metadata(&program.path).is_ok_and(|now| {
        let modified = now.mtime().saturating_mul(1_000_000_000).saturating_add(now.mtime_nsec());
        (now.dev(), now.ino(), modified) != (program.device, program.inode, program.modified)
    })
}

/// Hints at what is commonly wrong.
fn hint(says_in_use: bool, ready: bool, code_zero: bool) -> &'static str {
    match () {
        () if says_in_use => {
            "; it tried to bind an address by itself, which masterd already holds for it: let it take the socket \
             it inherits (LISTEN_FDS, or {fd} in its command)"
        }
        () if !ready && code_zero => {
            "; it has to stay in the foreground (a program that goes into the background leaves its keeper)"
        }
        () => "",
    }
}

impl Keeper {
    /// Hears what the program has to say.
    pub(super) fn listen_to_it(&mut self, now: Moment) {
        for heard in self.voice.hear(now) {
            match heard {
                Heard::Line(stream, text) => {
                    info!(self.log, "{text}"; "stream" => stream, "pid" => self.main)
                }
                Heard::Message(pid, text) => self.message(pid, &text, now),
                Heard::Newline => self.said_ready(now),
                Heard::NoNewline if matches!(self.stage, Stage::Starting { .. }) => {
                    self.fail("the program has closed {ready_fd} without a newline: it can't say any more that it is ready", now);
                }
                Heard::NoNewline => {}
                Heard::Nonsense(why) => self.ignore(why),
                Heard::Failed(why) => warn!(self.log, "{why}"),
            }
        }
    }

    fn said_ready(&mut self, now: Moment) {
        if let Stage::Starting { judge, look, pause, .. } = &mut self.stage {
            judge.said(now);
            (*look, *pause) = (now, LOOKS[0]);
        }
    }

    /// A notification: only the main process speaks for the program.
    fn message(&mut self, sender: i32, text: &[u8], now: Moment) {
        if sender != self.main {
            return self.ignore(format!("process {sender} is not the program's main process"));
        }
        for said in messages::parse(text) {
            match said {
                Said::Ready => self.said_ready(now),
                Said::Status(text) => self.status = Some(text).filter(|text| !text.is_empty()),
                Said::Trouble(text) => self.status = Some(text),
                Said::Alive => self.alive = now,
                Said::WatchdogEvery(period) => (self.watchdog, self.alive) = (period, now),
                Said::Hung if self.ending.is_some() => {}
                Said::Hung => self.fail("the program has said WATCHDOG=trigger", now),
                Said::Stopping => self.status = Some("it is about to end".to_owned()),
                Said::Extend(more) => self.extend(more, now),
                Said::MainPid(pid) => self.rename(pid),
            }
        }
    }

    fn extend(&mut self, more: Duration, now: Moment) {
        if let Stage::Starting { until, most, .. } = &mut self.stage {
            *until = (now + more).max(*until).min(*most);
            self.extension = Some(more + MARGIN + TICK);
        }
    }

    /// A notification that nothing is done about: told in the log, but not as often as it comes.
    fn ignore(&mut self, why: String) {
        let (n, _) = self.nonsense.get_or_insert((0, why));
        *n = n.saturating_add(1);
    }

    /// Another process stands for the program from now on, if it is one of its.
    fn rename(&mut self, pid: i32) {
        if pid == self.main {
            return;
        }
        // Opened first, looked at then: what is looked at is what will be signalled.
        let opened = Pidfd::open(pid);
        let ours = family::process_group(pid) == Some(self.group) && self.family().contains(&pid);
        match opened {
            Ok(pidfd) if ours => {
                (self.main, self.main_fd) = (pid, pidfd);
                self.ended = None;
                self.new_main = true;
            }
            _ => {
                self.ignore(format!("process {pid}, which it says is its main process, is none of its group"))
            }
        }
    }

    /// Takes note of every process that has ended, stopped or gone on.
    pub(super) fn reap(&mut self, now: Moment) {
        loop {
            match family::changed() {
                Ok(Some((pid, Change::Ended(exit)))) if pid == self.main => {
                    // It may have told its successor last.
                    self.voice.look_again();
                    self.listen_to_it(now);
                    if pid == self.main {
                        self.ended = Some(exit.to_string());
                        self.main_is_gone(exit == process::Exit::Code(0), now);
                    }
                }
                Ok(Some((pid, Change::Stopped(signal)))) if pid == self.main => {
                    let text = format!(
                        "it is stopped by {}: kill -CONT {pid} lets it go on",
                        process::signal_name(signal)
                    );
                    warn!(self.log, "the program does not serve: {text}"; "pid" => pid);
                    self.troubles.set(Kind::Stopped, text);
                }
                Ok(Some((pid, Change::Continued))) if pid == self.main => {
                    info!(self.log, "the program goes on after a stop"; "pid" => pid);
                    self.troubles.clear(Kind::Stopped);
                }
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(e) => return warn!(self.log, "can't look for ended processes: {e}"),
            }
        }
    }

    /// The main process has ended.
    pub(super) fn main_is_gone(&mut self, code_zero: bool, now: Moment) {
        let how = self.ended.clone().unwrap_or_default();
        if self.ending.is_some() {
            return info!(self.log, "the program {how}"; "pid" => self.main);
        }
        if matches!(self.stage, Stage::Failed { .. }) {
            return;
        }
        // What it printed last is in the pipe, and the event of it perhaps still to come.
        self.voice.look_again();
        self.listen_to_it(now);
        let ready = matches!(self.stage, Stage::Ready);
        let hint = hint(self.voice.spout.says_address_in_use(), ready, code_zero);
        let left = match self.family().len() {
            0 => String::new(),
            1 => ", leaving one of its processes behind, which is killed".to_owned(),
            n => format!(", leaving {n} of its processes behind, which are killed"),
        };
        self.fail(&format!("the program {how}{left}{hint}"), now);
    }

    /// The program can't go on: whatever is left of it goes.
    pub(super) fn fail(&mut self, why: &str, now: Moment) {
        if matches!(self.stage, Stage::Failed { .. }) {
            return;
        }
        if self.mailbox.has_ended() {
            // Else the master says so.
            error!(self.log, "the program failed: {why}"; "pid" => self.main);
        }
        let lines = self.voice.spout.last();
        self.report(&Report::Failed { why: why.to_owned(), lines });
        self.stage = Stage::Failed { since: now, look: now };
        self.kill_all();
    }

    pub(super) fn kill_all(&mut self) {
        if let Err(e) = family::signal_all(9) {
            error!(self.log, "can't kill the program's processes: {e}");
        }
    }

    /// Goes on with coming up, or with going down.
    pub(super) fn step_stage(&mut self, now: Moment) {
        match &self.stage {
            Stage::Starting { .. } if self.ending.is_none() => self.look(now),
            Stage::Starting { .. } => {}
            Stage::Ready => self.mind_the_watchdog(now),
            Stage::Failed { look, .. } if now < *look => {}
            Stage::Failed { since, .. } if self.is_alone() || now.since(*since) > CLEARED => {
                self.leave = Some(GAVE_UP);
            }
            Stage::Failed { since, .. } => {
                let since = *since;
                // Those that were being born when the others were killed.
                self.kill_all();
                self.stage = Stage::Failed { since, look: now + LOOKS[0] };
            }
        }
    }

    fn look(&mut self, now: Moment) {
        if self.stage.due().is_none_or(|at| now < at) {
            return;
        }
        let family = self.family();
        let Stage::Starting { judge, began, until, look, pause, .. } = &mut self.stage else { return };
        *pause = (*pause * 2).min(LOOKS[1]);
        *look = now + *pause;
        let (took, late) = (now.since(*began), now >= *until);
        let seen = if judge.wants_a_look() { sockets::seen(&self.sockets, &family) } else { Vec::new() };
        match judge.judge(&seen, now) {
            Verdict::Ready(note) => self.come_up(note, now),
            Verdict::NotYet(missing) if late => {
                let in_use = self.voice.spout.says_address_in_use();
                let hint = hint(in_use, false, false);
                self.fail(&format!("the program was not ready after {took:.1?}: {missing}{hint}"), now);
            }
            Verdict::NotYet(missing) if took >= SLOW => {
                self.troubles.set(Kind::NotReady, format!("not ready: {missing}"));
            }
            Verdict::NotYet(_) => {}
        }
    }

    fn come_up(&mut self, note: Option<String>, now: Moment) {
        self.troubles.clear(Kind::NotReady);
        if let Some(note) = note {
            warn!(self.log, "{note}"; "pid" => self.main);
            self.troubles.set(Kind::Unsure, note);
        }
        self.stage = Stage::Ready;
        // Whoever takes long to come up has not been silent for as long.
        self.alive = now;
        self.slot.set_state(State::Ready);
        self.tell_main();
        self.report(&Report::Ready);
    }

    fn mind_the_watchdog(&mut self, now: Moment) {
        if self.ending.is_none() && self.watchdog_due().is_some_and(|at| at <= now) {
            self.fail(&format!("the program has not said WATCHDOG=1 for {:?}", self.watchdog), now);
        }
    }

    /// When it must have said that it is alive.
    pub(super) fn watchdog_due(&self) -> Option<Moment> {
        let on =
            self.watchdog > Duration::ZERO && matches!(self.stage, Stage::Ready) && self.ending.is_none();
        on.then(|| self.alive + self.watchdog)
    }

    /// Whether it still has its sockets, and descriptors to accept with.
    pub(super) fn check(&mut self, family: &[i32], now: Moment) {
        if now < self.next_check || self.ending.is_some() || !matches!(self.stage, Stage::Ready) {
            return;
        }
        self.next_check = now + CHECK;
        let seen = sockets::seen(&self.sockets, family);
        let gone = seen.iter().find(|(_, seen)| *seen == super::readiness::Seen::Nobody);
        let before = std::mem::replace(&mut self.let_go, gone.is_some());
        if let Some((address, _)) = gone.filter(|_| before) {
            let why = format!(
                "the program has closed the socket of {address}: none of its processes holds it any more"
            );
            return self.fail(&why, now);
        }
        self.count_descriptors(family);
    }

    /// Whether one of its processes has nearly all the descriptors that it may have.
    fn count_descriptors(&mut self, family: &[i32]) {
        let crowded = |pid: &i32| {
            let (open, limit) = (onlooker::descriptors(*pid)? as u64, onlooker::descriptor_limit(*pid)?);
            (open * 10 >= limit * 9).then_some((*pid, open, limit))
        };
        match family.iter().take(LOOKED_AT).find_map(crowded) {
            Some((pid, open, limit)) => {
                let text = format!(
                    "process {pid} has {open} of {limit} descriptors open: does it leak them? (limits.nofile bounds them)"
                );
                if self.troubles.set(Kind::Crowded, text.clone()) {
                    warn!(self.log, "{text}");
                }
            }
            None => self.troubles.clear(Kind::Crowded),
        }
    }

    /// Whether no process of the program is left, not even one that has ended. If that can't be asked: assume so.
    pub(super) fn is_alone(&self) -> bool {
        family::is_alone().unwrap_or(true)
    }
}
