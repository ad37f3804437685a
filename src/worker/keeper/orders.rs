//! What the master's orders do to a program, and its way out.
//!
//! Called by the loop. What only built-in workers can do is answered so that nobody waits for it.

use super::Keeper;
use super::ending::{Act, Ending};
use super::life::Stage;
use super::troubles::Kind;
use crate::model::Moment;
use crate::scoreboard::layout::{CUT, MEMORY, State};
use crate::sys::{family, process};
use crate::wire::order::{Drain, Order};
use crate::wire::report::Report;
use slog::{error, info, warn};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Lets a stopped process go on, so that it hears what it is told. signal(7).
const CONT: i32 = 18;

impl Keeper {
    pub(super) fn obey(&mut self, order: Order, fds: Vec<OwnedFd>, now: Moment) {
        match order {
            Order::Drain(terms) => self.drain(&terms, now),
            Order::Stop => self.stop(now),
            Order::Sample => {
                self.sample(now);
                self.report(&Report::Sampled);
            }
            Order::LastRites { id, .. } => {
                warn!(self.log, "connections wait in a socket that no program has: they are not served");
                self.report(&Report::Closed { rites: Some(id) });
            }
            Order::ReopenLog => match fds.into_iter().next() {
                Some(fd) => self.sink.reopen(fd),
                None => warn!(self.log, "told to reopen the log, but no descriptor came"),
            },
            // Of what only built-in workers do, nothing is waited for.
            Order::Readiness { .. }
            | Order::Rescue { .. }
            | Order::EndRescue { .. }
            | Order::EndRites { .. }
            | Order::ReopenAccessLog
            | Order::Status => {}
        }
    }

    fn drain(&mut self, terms: &Drain, now: Moment) {
        let places = terms.last_call.iter().copied().filter(|place| *place < self.sockets.len());
        self.last_call.extend(places);
        self.end(Duration::from_millis(terms.grace_ms), &terms.why, now);
    }

    /// QUIT, or the master's death: on the service's own terms.
    pub(super) fn drain_by_itself(&mut self, now: Moment) {
        self.end(self.service.drain.grace, "by itself", now);
    }

    fn end(&mut self, grace: Duration, why: &str, now: Moment) {
        if let Some(ending) = &mut self.ending {
            return ending.shorten(grace, now);
        }
        self.slot.set_state(State::Draining);
        let sampled = self.sample(now);
        info!(
            self.log,
            "draining ({why}): {} connections, {:.1}s left",
            self.books.open,
            grace.as_secs_f64()
        );
        self.ending = Some(Ending::begin(grace, !self.last_call.is_empty(), now));
        if !matches!(self.stage, Stage::Starting { .. }) {
            return;
        }
        // Its socket is shared: it may have accepted long before it counted as ready. Then it has its time, which
        // the master gives to those that are ready only.
        match sampled && self.books.open == 0 {
            true => self.stop(now),
            false => self.report(&Report::Ready),
        }
    }

    /// Quickly: it is asked, and killed before the master would do it.
    pub(super) fn stop(&mut self, now: Moment) {
        let ending = self.ending.get_or_insert_with(|| Ending::begin(Duration::from_secs(1), false, now));
        ending.hurry(now);
    }

    /// Looks at what it has counted, and at its connections; whether these could be seen.
    fn sample(&mut self, now: Moment) -> bool {
        self.books.copy(&self.slot);
        let family = self.family();
        self.slot.set(MEMORY, family::memory(&family));
        let hidden = match self.books.sample(&self.slot, &self.sockets, &family, now) {
            Ok(hidden) => hidden,
            Err(e) => Some(format!("its connections can't be counted: {e}")),
        };
        let Some(hidden) = hidden else {
            self.troubles.clear(Kind::Uncounted);
            return true;
        };
        if self.troubles.set(Kind::Uncounted, hidden.clone()) {
            warn!(self.log, "{hidden}");
        }
        false
    }

    pub(super) fn step_ending(&mut self, now: Moment) {
        if matches!(self.stage, Stage::Failed { .. }) {
            return;
        }
        let main = self.ended.is_none();
        let waiting = self.last_call.iter().any(|place| self.sockets[*place].has_waiting());
        let Some(ending) = &mut self.ending else { return };
        let act = ending.step(waiting, main, now);
        let tells = ending.tells(now);
        self.act(act, now);
        if tells {
            self.tell_progress(now);
        }
        let killed = self.ending.as_ref().is_some_and(Ending::is_killed);
        if killed && now >= self.next_tick {
            self.kill_all();
        }
        if self.ended.is_some() && self.is_alone() {
            self.listen_to_it(now);
            self.say_closed();
            self.leave = Some(0);
        }
    }

    fn act(&mut self, act: Act, now: Moment) {
        let signal = self.exec.stop_signal;
        let name = process::signal_name(signal);
        match act {
            Act::Nothing => {}
            Act::Ask => {
                self.say_closed();
                info!(self.log, "the program is asked to end ({name})"; "pid" => self.main);
                for number in [signal, CONT] {
                    if let Err(e) = self.main_fd.send_signal(number) {
                        error!(self.log, "can't signal the program: {e}"; "pid" => self.main);
                    }
                }
            }
            Act::AskTheRest => match family::signal_all(signal) {
                Ok(0) => {}
                Ok(n) => {
                    info!(self.log, "{n} processes that the program left behind are asked to end ({name})")
                }
                Err(e) => error!(self.log, "can't signal what the program left behind: {e}"),
            },
            Act::Kill => {
                self.sample(now);
                let open = self.books.open;
                self.slot.add(CUT, open);
                warn!(self.log, "the program has not ended in its time and is killed: {open} connections are cut off";
                    "pid" => self.main, "processes" => self.family().len());
                self.kill_all();
            }
        }
    }

    /// The sockets that nobody else serves are served: what waits there is the master's to close, and if there is
    /// no master, nobody's. Our copies would keep them open.
    fn say_closed(&mut self) {
        if self.mailbox.has_ended() {
            self.sockets.iter_mut().for_each(|socket| socket.fd = None);
        }
        if self.last_call.is_empty() {
            return;
        }
        for place in std::mem::take(&mut self.last_call) {
            self.sockets[place].fd = None;
        }
        self.report(&Report::Closed { rites: None });
    }

    fn tell_progress(&mut self, now: Moment) {
        self.sample(now);
        let Some(ending) = &self.ending else { return };
        let what = if ending.is_emptying() { "its queue is served" } else { "it has been asked to end" };
        info!(self.log, "draining gen {}: {} active, {:.1}s left; {what}", self.generation, self.books.open,
            ending.until.since(now).as_secs_f64(); "pid" => self.main);
    }
}
