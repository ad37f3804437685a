//! Taking connections from listeners, and when not to.
//!
//! A seat's own socket is watched edge-triggered and emptied, some connections a turn; a shared one
//! is watched with EPOLLEXCLUSIVE and gives one connection per wake-up, so that idle siblings get
//! theirs; a wake-up that came is never thrown away, since nobody else was woken for it. At the connection
//! limit, or without descriptors, nothing is watched at all: the queue
//! waits in the kernel, and the master sees the flag in the slot and may send a sibling to help.
//! One in blocking mode is not watched before that has changed.
//! A listener on its *last call* is served until it has stayed empty, then closed and named to the caller.

mod listener;

use self::listener::{Listener, Mode, answer_for_wake_ups, free, take, unwatch, watch};
use super::conns::{Conns, Source};
use super::engine::reactor::Ready;
use super::engine::slab::Slab;
use crate::model::{Moment, Seat};
use crate::scoreboard::layout::{FULL, NO_DESCRIPTORS};
use crate::sys::connect::lacks_descriptors;
use crate::sys::listen;
use crate::sys::net;
use slog::{error, info, warn};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Connections taken from one listener before others get their turn.
const AT_A_TIME: usize = 64;
/// How long accepting rests when descriptors have run out and no connection ends.
const REST: Duration = Duration::from_millis(100);
/// How long a TCP queue must stay empty before its listener is closed: half-open handshakes end meanwhile.
const QUIET: Duration = Duration::from_secs(1);

/// How often a listener is looked at that is in blocking mode.
const LOOK: Duration = Duration::from_millis(50);

/// Why a listener is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Own,
    /// A sibling in trouble.
    Rescue(Seat),
    /// Nobody else ever will.
    Rites(u64),
}

/// What is known of a listener that is to be served.
#[derive(Debug)]
pub struct Offer {
    pub fd: OwnedFd,
    pub owner: Owner,
    pub index: usize,
    /// The siblings watch it too.
    pub exclusive: bool,
    pub tcp: bool,
    pub last_call: bool,
}

#[derive(Debug)]
enum Pause {
    Full,
    NoDescriptors { until: Moment, open: usize },
}

/// The listeners a worker serves.
#[derive(Debug)]
pub struct Acceptor {
    listeners: Slab<Listener>,
    limit: usize,
    /// What the descriptors allow.
    ceiling: usize,
    pause: Option<Pause>,
    /// The lack of descriptors has been logged; until the queue was emptied once.
    complained: bool,
    /// When listeners in blocking mode are looked at next.
    next_look: Moment,
}

/// How old an order for a last call can be when it is read, the worker being alive.
const FENCED: Duration = Duration::from_secs(5);

impl Acceptor {
    /// Accepts as long as fewer than `limit` connections are open, and on a last call fewer than `ceiling`.
    pub fn new(limit: usize, ceiling: usize) -> Acceptor {
        let limit = limit.min(ceiling);
        let (pause, next_look) = (None, Moment::default());
        Acceptor { listeners: Slab::default(), limit, ceiling, pause, complained: false, next_look }
    }

    /// Begins to serve a listener.
    pub fn add(&mut self, conns: &mut Conns, offer: Offer) -> io::Result<()> {
        let Offer { fd, owner, index, exclusive, tcp, last_call } = offer;
        let empty_since = last_call.then(|| conns.shared.engine.now());
        let mode = if listen::is_nonblocking(fd.as_fd())? { Mode::Ours } else { Mode::Theirs };
        let id = self.listeners.next_key();
        let key = conns.reactor.insert(Source::Listener(id as u32));
        let more = !exclusive || last_call;
        let listener = Listener { fd, key, exclusive, tcp, owner, index, empty_since, more, mode };
        if self.pause.is_none()
            && mode != Mode::Theirs
            && let Err(e) = watch(conns, &listener)
        {
            conns.reactor.sources.remove(key);
            return Err(e);
        }
        self.listeners.insert(listener);
        if last_call {
            self.lift(self.ceiling, conns, conns.shared.engine.now());
        }
        Ok(())
    }

    /// Over the limit rather than reset: what waits on a last call has nobody else to go to.
    fn lift(&mut self, limit: usize, conns: &mut Conns, now: Moment) {
        self.limit = limit;
        self.try_resume(conns, now);
    }

    /// True while any is left.
    pub fn any(&self) -> bool {
        !self.listeners.is_empty()
    }

    /// True if the next turn has something to accept at once.
    pub fn any_more(&self) -> bool {
        self.pause.is_none() && self.listeners.iter().any(|(_, listener)| listener.is_due())
    }

    /// True while one of the worker's own listeners is left.
    pub fn serves_own(&self) -> bool {
        self.listeners.iter().any(|(_, listener)| listener.owner == Owner::Own)
    }

    /// epoll says that a listener has something.
    pub fn event(&mut self, id: u32, ready: &Ready) {
        if let Some(listener) = self.listeners.get_mut(id as usize)
            && ready.readable
        {
            listener.more = true;
        }
    }

    /// Accepts what this turn allows.
    pub fn turn(&mut self, conns: &mut Conns, now: Moment) {
        self.listeners.recycle();
        self.try_resume(conns, now);
        self.look(conns, now);
        for id in self.ids(Listener::is_due) {
            if self.pause.is_some() {
                return;
            }
            self.accept_from(conns, id, AT_A_TIME, now);
        }
    }

    /// Accepts from one listener; how many connections came.
    fn accept_from(&mut self, conns: &mut Conns, id: usize, most: usize, now: Moment) -> usize {
        let mut taken = 0;
        while let Some(listener) = self.listeners.get_mut(id).filter(|l| l.mode != Mode::Theirs) {
            if conns.open() >= self.limit {
                self.rest(conns, Pause::Full);
                break;
            }
            if taken == most {
                break;
            }
            match take(conns, listener) {
                Ok(()) => {
                    taken += 1;
                    listener.more = !listener.exclusive || listener.empty_since.is_some();
                    listener.empty_since = listener.empty_since.map(|_| now);
                    let full = conns.open() >= self.limit;
                    if listener.exclusive && full {
                        // Now, not when the next wake-up comes: an idle sibling is to have that one.
                        self.rest(conns, Pause::Full);
                        break;
                    }
                    if !listener.more {
                        break;
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    listener.more = false;
                    self.complained = false;
                    if listener.blocks() {
                        unwatch(conns, listener);
                        listener.mode = Mode::Theirs;
                    }
                    break;
                }
                Err(e) if net::is_the_listeners_own(&e) => {
                    error!(conns.shared.log, "a listener is broken: {e}; it is not served any more");
                    listener.more = false;
                    if listener.empty_since.is_none() {
                        self.close(conns, id);
                    }
                    break;
                }
                // Somebody waits, and an idle connection to an upstream does not.
                Err(e) if lacks_descriptors(&e) && conns.service.shed() => {}
                Err(e) => {
                    self.fail(conns, &e, now);
                    break;
                }
            }
        }
        taken
    }

    /// accept(2) lacks something: descriptors, as a rule.
    fn fail(&mut self, conns: &mut Conns, error: &io::Error, now: Moment) {
        if !self.complained {
            self.complained = true;
            warn!(
                conns.shared.log,
                "can't accept: {error}; connections wait in the queue \
                until one of the {} open ones ends (limits.nofile bounds them)",
                conns.open()
            );
        }
        self.rest(conns, Pause::NoDescriptors { until: now + REST, open: conns.open() });
    }

    /// Stops watching until there is room again.
    fn rest(&mut self, conns: &mut Conns, pause: Pause) {
        let flag = match pause {
            Pause::Full => FULL,
            Pause::NoDescriptors { .. } => NO_DESCRIPTORS,
        };
        conns.shared.slot.flag(flag, true);
        for id in self.ids(Listener::is_served) {
            let Some(listener) = self.listeners.get_mut(id) else { continue };
            unwatch(conns, listener);
            // Its wake-up has been ours: one beyond the limit rather than one that nobody hears of.
            if listener.exclusive && std::mem::take(&mut listener.more) && matches!(pause, Pause::Full) {
                // An error leaves it in the queue, and comes again when accepting goes on.
                let _ = take(conns, listener);
            }
        }
        self.pause = Some(pause);
    }

    fn try_resume(&mut self, conns: &mut Conns, now: Moment) {
        let over = match self.pause {
            None => false,
            Some(Pause::Full) => conns.open() < self.limit,
            Some(Pause::NoDescriptors { until, open }) => now >= until || conns.open() < open,
        };
        if !over {
            return;
        }
        self.pause = None;
        conns.shared.slot.flag(FULL | NO_DESCRIPTORS, false);
        self.ids(Listener::is_served).into_iter().for_each(|id| self.watch_again(conns, id));
    }

    fn watch_again(&mut self, conns: &mut Conns, id: usize) {
        let Some(listener) = self.listeners.get_mut(id) else { return };
        // A shared queue tells by an event, a level; the seat's own may have told long ago.
        listener.more = !listener.exclusive || listener.empty_since.is_some();
        if let Err(e) = watch(conns, listener) {
            error!(conns.shared.log, "can't watch a listener again: {e}; it is not served any more");
            self.close(conns, id);
        }
    }

    /// Begins to serve the listeners that are not in blocking mode any more.
    fn look(&mut self, conns: &mut Conns, now: Moment) {
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK;
        for id in self.ids(|listener| !listener.is_served() && !listener.blocks()) {
            let Some(listener) = self.listeners.get_mut(id) else { continue };
            listener.mode = Mode::Shared;
            if self.pause.is_none() {
                self.watch_again(conns, id);
            }
        }
    }

    /// The own listeners at these places are served to the end, all others of our own are let go.
    pub fn last_call(&mut self, conns: &mut Conns, places: &[usize], now: Moment) {
        for id in self.ids(|listener| listener.owner == Owner::Own) {
            let Some(listener) = self.listeners.get_mut(id) else { continue };
            if !places.contains(&listener.index) {
                self.close(conns, id);
            } else if listener.empty_since.is_none() {
                listener.empty_since = Some(now);
                listener.more = true;
            }
        }
        for id in self.ids(|listener| matches!(listener.owner, Owner::Rescue(_))) {
            self.close(conns, id);
        }
        if self.serves_own() {
            self.lift(self.ceiling, conns, now);
            // Accepted after the fence stood and before this order was read: as good as in the last call.
            conns.young(now - FENCED).for_each(free);
        }
    }

    /// Closes what has been served to the end; the owners that have nothing left.
    pub fn end_last_calls(&mut self, conns: &mut Conns, now: Moment) -> Vec<Owner> {
        if self.pause.is_some() {
            return Vec::new();
        }
        let mut ended = Vec::new();
        let quiet = |listener: &Listener| {
            let patience = if listener.tcp { QUIET } else { Duration::ZERO };
            !listener.more && listener.empty_since.is_some_and(|since| now.since(since) >= patience)
        };
        for id in self.ids(quiet) {
            // Once more: what came in this turn has not had its event yet.
            if self.accept_from(conns, id, 1, now) > 0 || self.pause.is_some() {
                continue;
            }
            let Some(owner) = self.close(conns, id) else { continue };
            if !self.listeners.iter().any(|(_, listener)| listener.owner == owner) {
                ended.push(owner);
            }
        }
        ended
    }

    /// Closes the listeners that were served for this reason: somebody else does so again.
    pub fn let_go(&mut self, conns: &mut Conns, reason: Owner) {
        for id in self.ids(|listener| listener.owner == reason) {
            self.close(conns, id);
        }
    }

    /// Closes every listener, whoever may still wait in it.
    pub fn close_all(&mut self, conns: &mut Conns) {
        for id in self.ids(|_| true) {
            self.close(conns, id);
        }
    }

    /// Takes what waits everywhere and closes everything: nobody holds these listeners any more.
    pub fn abandon(&mut self, conns: &mut Conns, now: Moment) {
        self.lift(usize::MAX, conns, now);
        for id in self.ids(|_| true) {
            while self.pause.is_none() && self.accept_from(conns, id, AT_A_TIME, now) > 0 {}
            self.close(conns, id);
        }
        info!(conns.shared.log, "all listeners are closed");
    }

    /// When it has something to do without an event.
    pub fn next_due(&self) -> Option<Moment> {
        match self.pause {
            Some(Pause::NoDescriptors { until, .. }) => return Some(until),
            Some(Pause::Full) => return None,
            None => {}
        }
        let due = |listener: &Listener| {
            listener.empty_since.map(|since| since + if listener.tcp { QUIET } else { Duration::ZERO })
        };
        let look = self.listeners.iter().any(|(_, l)| !l.is_served()).then_some(self.next_look);
        self.listeners.iter().filter_map(|(_, listener)| due(listener)).chain(look).min()
    }

    fn ids(&self, which: impl Fn(&Listener) -> bool) -> Vec<usize> {
        self.listeners.iter().filter(|(_, listener)| which(listener)).map(|(id, _)| id).collect()
    }

    /// Deregisters before it closes: the master's copy would keep the registration alive.
    fn close(&mut self, conns: &mut Conns, id: usize) -> Option<Owner> {
        let listener = self.listeners.remove(id)?;
        if self.pause.is_none() && listener.is_served() {
            unwatch(conns, &listener);
            answer_for_wake_ups(conns, &listener);
        }
        conns.reactor.sources.remove(listener.key);
        Some(listener.owner)
    }
}
