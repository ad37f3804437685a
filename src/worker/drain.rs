//! The way out of a worker: what it still owes to its clients, and how it stops owing it.
//!
//! `begin` stops accepting; `step`, called every turn, serves last calls to their end, closes idle connections
//! when their time has come, and writes progress. There are two deadlines: at that of `grace` what is short
//! is cut, at that of `long_lived_grace` what was meant to last is told to end, and a second later, or
//! as soon as all have, the worker leaves. Requests in flight end by themselves: their answers say
//! `Connection: close` (`http::service`). How what is left is ended is `parting`'s business.
//! Never: closes a connection on which bytes wait to be read, before the deadline.

pub mod parting;

use super::accept::{Acceptor, Owner};
use super::conns::Conns;
use super::lists::List;
use super::moves::Retired;
use crate::config::Idle;
use crate::model::plan::GOODBYE;
use crate::model::{Class, Generation, Moment};
use crate::scoreboard::layout::{ACTIVE, LONG_LIVED, MIGRATED_OUT};
use parting::{Whom, any_long_lived, part};
use slog::info;
use std::time::Duration;

/// Idle connections are closed over this time, so that not all clients come back at once.
const SPREAD: Duration = Duration::from_secs(1);
/// Between two portions of them.
const STEP: Duration = Duration::from_millis(50);
/// Before the deadline, idle connections that were only announced are closed with care.
const CARE: Duration = Duration::from_secs(1);
/// A connection on which nothing ever came is given this long to send its first request.
const FIRST_WORD: Duration = Duration::from_secs(1);
/// Between two lines of progress.
const LINE: Duration = Duration::from_secs(5);
/// Between two looks for what is meant to last, before it matters here: the master wants to know.
const LOOK: Duration = Duration::from_millis(500);

/// What is asked of a drain.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub grace: Duration,
    /// Not below `grace`.
    pub long_lived: Duration,
    pub idle: Idle,
    pub final_stop: bool,
}

/// A drain under way.
#[derive(Debug)]
pub struct Drain {
    generation: Generation,
    /// When what is short is cut, and whether that has been done.
    deadline: Moment,
    has_cut: bool,
    /// When the rest is told to end.
    end: Moment,
    /// It has been; and when it is not waited for any longer.
    parting: Option<Moment>,
    /// There is something that is meant to last.
    lasts: bool,
    next_look: Moment,
    next_line: Moment,
    /// When idle connections begin to be closed, and the next portion of them.
    close_from: Moment,
    next_portion: Moment,
}

/// What a step has brought about.
#[derive(Debug, Default)]
pub struct Progress {
    /// Last calls that have ended.
    pub closed: Vec<Owner>,
    /// Leave; what is left has been counted. Set a second after the last deadline at the latest.
    pub done: bool,
}

impl Drain {
    pub fn begin(terms: &Terms, generation: Generation, now: Moment) -> Drain {
        let close_from = close_from(terms, now);
        Drain {
            generation,
            deadline: now + terms.grace,
            has_cut: false,
            end: now + terms.long_lived,
            parting: None,
            lasts: false,
            next_look: now,
            next_line: now + LINE,
            close_from,
            next_portion: close_from,
        }
    }

    /// A second order: it may only shorten what is left.
    pub fn shorten(&mut self, terms: &Terms, now: Moment) {
        self.deadline = self.deadline.min(now + terms.grace);
        self.end = self.end.min(now + terms.long_lived);
        let from = close_from(terms, now).min(late(self.deadline, now));
        if from < self.close_from {
            (self.close_from, self.next_portion) = (from, from);
        }
    }

    /// When it has something to do without an event.
    pub fn next_due(&self, conns: &Conns) -> Moment {
        if let Some(until) = self.parting {
            return until;
        }
        let next = if self.has_cut { self.end } else { self.deadline }.min(self.next_line);
        if conns.parked() > 0 { next.min(self.next_portion) } else { next }
    }

    /// Does what is due.
    pub fn step(&mut self, conns: &mut Conns, acceptor: &mut Acceptor, now: Moment) -> Progress {
        let closed = acceptor.end_last_calls(conns, now);
        let done = match self.parting {
            Some(until) => now >= until || all_gone(conns),
            None => self.go_on(conns, acceptor, now),
        };
        Progress { closed, done }
    }

    fn go_on(&mut self, conns: &mut Conns, acceptor: &mut Acceptor, now: Moment) -> bool {
        self.look(conns, now);
        if now >= self.end || now >= self.deadline && !self.lasts {
            part(conns, Whom::All);
            if self.lasts {
                // Who comes now would be let down: whoever serves these listeners next has more time.
                acceptor.close_all(conns);
                self.parting = Some(now + GOODBYE);
            }
            return !self.lasts;
        }
        if now >= self.deadline && !self.has_cut {
            self.has_cut = true;
            part(conns, Whom::Short);
        }
        if now >= self.next_portion {
            self.close_portion(conns, now);
        }
        if now >= self.next_line {
            self.next_line = now + LINE;
            info!(conns.shared.log, "{}", self.line(conns, now));
        }
        conns.open() == 0 && !acceptor.any()
    }

    /// Is there anything that is meant to last?
    fn look(&mut self, conns: &Conns, now: Moment) {
        if now < self.next_look.min(self.next_line).min(self.deadline) {
            return;
        }
        self.next_look = now + LOOK;
        self.lasts = any_long_lived(conns);
        conns.shared.slot.flag(LONG_LIVED, self.lasts);
    }

    /// Closes this step's share of the idle connections.
    fn close_portion(&mut self, conns: &mut Conns, now: Moment) {
        let spread = SPREAD.min(self.deadline.since(self.close_from) / 2);
        let left = (self.close_from + spread).since(now);
        let steps = (left.as_millis() / STEP.as_millis()) as usize + 1;
        self.next_portion = now + STEP;
        let share = conns.parked().div_ceil(steps);
        let mut members = conns.lists.members(&conns.reactor.sources, List::Idle);
        members.extend(conns.lists.members(&conns.reactor.sources, List::New));
        let mut closed = 0;
        for key in members {
            if closed == share {
                return;
            }
            let young = conns
                .get(key)
                .is_some_and(|conn| conn.list == List::New && now.since(conn.since) < FIRST_WORD);
            if !young && conns.retire(key) == Retired::Yes {
                closed += 1;
            }
        }
    }

    fn line(&self, conns: &Conns, now: Moment) -> String {
        format!(
            "draining gen {}: {}, {} migrated, {:.1}s left",
            self.generation,
            census(conns),
            conns.shared.slot.get(MIGRATED_OUT),
            if self.lasts { self.end } else { self.deadline }.since(now).as_secs_f64()
        )
    }
}

/// Whether everybody has gone after the goodbye. Where a connection outlives an event stream it goes now.
fn all_gone(conns: &mut Conns) -> bool {
    for list in [List::Idle, List::New] {
        for key in conns.lists.members(&conns.reactor.sources, list) {
            // One that asks something at this moment is answered, if that takes less than a second.
            let (Retired::Yes | Retired::Served) = conns.retire(key);
        }
    }
    conns.open() == 0
}

/// When idle connections are to be closed under these terms.
fn close_from(terms: &Terms, now: Moment) -> Moment {
    let wanted = match (terms.final_stop, terms.idle) {
        (false, Idle::Announce) => Duration::MAX,
        (true, Idle::Announce) => CARE,
        (_, Idle::Close) => Duration::ZERO,
    };
    (now + wanted).min(late(now + terms.grace, now))
}

/// The last moment at which closing with care can begin.
fn late(deadline: Moment, now: Moment) -> Moment {
    deadline - CARE.min(deadline.since(now) / 2)
}

/// `45 active (45 http, 0 websocket, 0 sse, 0 grpc, 0 tcp)`.
fn census(conns: &Conns) -> String {
    let of = |class: Class| conns.shared.slot.get(ACTIVE + class.index());
    let total: u64 = Class::ALL.into_iter().map(of).sum();
    format!("{total} active ({})", Class::census(of))
}
