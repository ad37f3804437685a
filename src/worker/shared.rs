//! What every connection of one worker shares: the engine, the slot, the log and what is going on.
//!
//! Made once by `turn::serve`, held in an `Rc`. The loop sets the flags; futures read them at the moment they answer.

use super::access_log::AccessLog;
use super::engine::Handle;
use super::http::status::Desk;
use super::tunnel::half::Pipes;
use crate::scoreboard::layout::UNLOGGED;
use crate::scoreboard::slot::Slot;
use std::cell::Cell;
use std::rc::Rc;

#[derive(Debug)]
pub struct Shared {
    pub engine: Rc<Handle>,
    pub slot: Slot,
    pub log: slog::Logger,
    /// A line for each request; `None` where nobody wants one.
    pub access_log: Option<AccessLog>,
    /// Answers carry `Connection: close` from now on.
    pub draining: Cell<bool>,
    /// `health = "ready"` answers 503.
    pub unready: Cell<bool>,
    /// Where `status` routes get their document.
    pub status: Desk,
    /// What tunnels splice through.
    pub pipes: Pipes,
    /// Idle connections that hyper is kept for.
    warm: Cell<usize>,
}

/// Idle connections that may keep hyper, with some eleven kilobytes each.
const WARM: usize = 128;

impl Shared {
    pub fn new(engine: Rc<Handle>, slot: Slot, log: slog::Logger, access_log: Option<AccessLog>) -> Shared {
        let (draining, unready) = (Cell::new(false), Cell::new(false));
        let (status, pipes, warm) = (Desk::default(), Pipes::default(), Cell::new(0));
        Shared { engine, slot, log, access_log, draining, unready, status, pipes, warm }
    }

    /// Writes a turn's lines of the access log; with `last`, all there will be.
    pub fn flush_access_log(&self, last: bool) {
        if let Some(access_log) = &self.access_log {
            if last {
                access_log.finish()
            } else {
                access_log.flush()
            }
            self.slot.set(UNLOGGED, access_log.dropped());
        }
    }

    /// Lets one more idle connection keep hyper, if there is room and nobody wants us to let go.
    pub fn admit_warm(&self) -> bool {
        let room = self.warm.get() < WARM && !self.draining.get();
        if room {
            self.warm.set(self.warm.get() + 1);
        }
        room
    }

    /// One of them does not any more.
    pub fn dismiss_warm(&self) {
        self.warm.set(self.warm.get().saturating_sub(1));
    }
}
