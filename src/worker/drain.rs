//! The way out of a worker: what it still owes to its clients, and how it stops owing it.
//!
//! `begin` stops accepting; `step`, called every turn, serves last calls to their end, closes idle connections
//! when their time has come, writes progress, and at the deadline cuts what is left and names it.
//! Requests in flight end by themselves: their answers say `Connection: close` (`http::service`).
//! Never: closes a connection on which bytes wait to be read, before the deadline.

use super::accept::{Acceptor, Owner};
use super::conns::{Conns, Retired};
use super::lists::List;
use crate::config::Idle;
use crate::model::{Class, Generation, Moment};
use crate::scoreboard::layout::{ACTIVE, CUT, MIGRATED_OUT};
use slog::{info, warn};
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

/// What is asked of a drain.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub grace: Duration,
    pub idle: Idle,
    pub final_stop: bool,
}

/// A drain under way.
#[derive(Debug)]
pub struct Drain {
    generation: Generation,
    deadline: Moment,
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
    /// Nothing is left: leave. Set at the deadline at the latest.
    pub done: bool,
}

impl Drain {
    pub fn begin(terms: &Terms, generation: Generation, now: Moment) -> Drain {
        let deadline = now + terms.grace;
        let close_from = close_from(terms, now);
        Drain { generation, deadline, next_line: now + LINE, close_from, next_portion: close_from }
    }

    /// A second order: it may only shorten what is left.
    pub fn shorten(&mut self, terms: &Terms, now: Moment) {
        self.deadline = self.deadline.min(now + terms.grace);
        let from = close_from(terms, now).min(late(self.deadline, now));
        if from < self.close_from {
            (self.close_from, self.next_portion) = (from, from);
        }
    }

    /// When it has something to do without an event.
    pub fn next_due(&self, conns: &Conns) -> Moment {
        let next = self.deadline.min(self.next_line);
        if conns.parked() > 0 { next.min(self.next_portion) } else { next }
    }

    /// Does what is due.
    pub fn step(&mut self, conns: &mut Conns, acceptor: &mut Acceptor, now: Moment) -> Progress {
        let closed = acceptor.end_last_calls(conns, now);
        if now >= self.deadline {
            cut(conns);
            return Progress { closed, done: true };
        }
        if now >= self.next_portion {
            self.close_portion(conns, now);
        }
        if now >= self.next_line {
            self.next_line = now + LINE;
            info!(conns.shared.log, "{}", self.line(conns, now));
        }
        Progress { closed, done: conns.open() == 0 && !acceptor.any() }
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
            self.deadline.since(now).as_secs_f64()
        )
    }
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
    format!("{total} active ({})", by_class(of))
}

/// `45 http, 0 websocket, 0 sse, 0 grpc, 0 tcp`.
fn by_class(of: impl Fn(Class) -> u64) -> String {
    let order = [Class::Http, Class::Websocket, Class::Sse, Class::Grpc, Class::Tcp];
    order.map(|class| format!("{} {}", of(class), class.word())).join(", ")
}

/// Closes everything at once. What had a request, or part of one, is counted and named.
pub fn cut(conns: &mut Conns) -> u64 {
    let now = conns.shared.engine.now();
    let busy = conns.busy();
    if !busy.is_empty() {
        let oldest = busy.iter().filter_map(|key| conns.get(*key)).min_by_key(|conn| conn.since);
        let oldest = oldest.map_or_else(String::new, |conn| {
            format!("; the oldest was {} after {:.1}s", conn.who, now.since(conn.since).as_secs_f64())
        });
        let classes = by_class(|class| if class == Class::Http { busy.len() as u64 } else { 0 });
        warn!(conns.shared.log, "cut off {} connections ({classes}){oldest}", busy.len());
        conns.shared.slot.add(CUT, busy.len() as u64);
    }
    for list in [List::Active, List::Idle, List::New, List::Lingering] {
        for key in conns.lists.members(&conns.reactor.sources, list) {
            conns.close(key);
        }
    }
    busy.len() as u64
}
