//! Every open connection of a worker, from accept to close, and their accounts in the slot.
//!
//! A connection is *parked* (its socket and eighty bytes), *opening* (a PROXY header or a TLS handshake comes
//! first), *active* (hyper runs on it in a task), a *tunnel* (its bytes are passed on unread) or *lingering*
//! (our FIN is sent; what still comes is read and thrown away, so that no reset destroys an answer under way).
//! The moves between them are in `moves`. Who decides to move them: events (`turn`), timeouts (`sweep`), the drain.

use super::engine::io::Socket;
use super::engine::reactor::{Reactor, Ready};
use super::engine::task::Tasks;
use super::http::talk::Talk;
use super::job::Job;
use super::lists::{END, List, Lists};
use super::near::Kept;
use super::opening::{Door, Hall};
use super::service::Service;
use super::shared::Shared;
use super::tunnel::Tube;
use super::who::{Ends, Who};
use crate::model::{Class, Moment};
use crate::scoreboard::layout::{ACCEPTED, ACTIVE, CLOSED, IDLE};
use crate::scoreboard::slot::Row;
use crate::sys::net::Peer;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

/// What the reactor watches for a worker.
#[derive(Debug)]
pub enum Source {
    Channel,
    Signals,
    /// A number of `accept`'s.
    Listener(u32),
    Conn(Conn),
}

/// One connection. Small: there may be tens of thousands.
#[derive(Debug)]
pub struct Conn {
    pub(super) state: State,
    /// When it was accepted.
    pub since: Moment,
    /// When it entered its list.
    pub stamp: Moment,
    pub prev: u32,
    pub next: u32,
    pub(super) requests: u32,
    pub who: Who,
    /// Where its client meant to go, if a PROXY header said so. Rare, and large.
    pub(super) destination: Option<Box<SocketAddr>>,
    pub(super) row: Row,
    pub list: List,
    pub(super) class: Class,
    /// Where it came in; `None` when it has been opened.
    pub(super) door: Option<u16>,
    pub(super) http2: bool,
}

#[derive(Debug)]
pub(super) enum State {
    Parked(Kept),
    Opening {
        task: u32,
        hall: Rc<Hall>,
    },
    Active {
        task: u32,
        talk: Rc<Talk>,
    },
    Tunnel {
        task: u32,
        tube: Rc<Tube>,
    },
    Lingering(Kept),
    /// Between two states; seen by nobody.
    Moving,
}

impl State {
    pub(super) fn task(&self) -> Option<u32> {
        match self {
            State::Opening { task, .. } | State::Active { task, .. } | State::Tunnel { task, .. } => {
                Some(*task)
            }
            State::Parked(_) | State::Lingering(_) | State::Moving => None,
        }
    }
}

/// The connections of one worker.
#[derive(Debug)]
pub struct Conns {
    pub reactor: Reactor<Source>,
    pub tasks: Tasks<Job>,
    pub lists: Lists,
    pub shared: Rc<Shared>,
    pub(super) service: Service,
    /// One per listener of the service, then those of last rites.
    pub(super) doors: Vec<Door>,
    open: usize,
}

impl Conns {
    pub fn new(
        reactor: Reactor<Source>,
        tasks: Tasks<Job>,
        shared: Rc<Shared>,
        service: Service,
        doors: Vec<Door>,
    ) -> Conns {
        Conns { reactor, tasks, lists: Lists::default(), shared, service, doors, open: 0 }
    }

    /// Open connections, lingering ones included.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Whether an active connection has a request, or part of one.
    pub fn is_busy(&self, key: usize) -> bool {
        self.talk(key).is_none_or(|talk| !talk.is_at_rest())
    }

    /// Those with a request, or part of one, and all tunnels.
    pub fn busy(&self) -> Vec<usize> {
        let mut busy = self.lists.members(&self.reactor.sources, List::Active);
        busy.retain(|key| self.is_busy(*key));
        busy.extend(self.lists.members(&self.reactor.sources, List::Tunnel));
        busy
    }

    /// Who a connection's client is, and where he meant to go, as far as that is known.
    pub(super) fn ends(&self, key: usize) -> Option<Ends> {
        let conn = self.get(key)?;
        Some(Ends { peer: conn.who.peer(), destination: conn.destination.as_deref().copied() })
    }

    /// The class of a connection as it is now.
    pub fn class(&self, key: usize) -> Class {
        self.talk(key).map(Talk::class).or_else(|| Some(self.get(key)?.class)).unwrap_or(Class::Http)
    }

    /// Parked ones.
    pub fn parked(&self) -> usize {
        self.lists.len(List::New) + self.lists.len(List::Idle)
    }

    pub fn get(&self, key: usize) -> Option<&Conn> {
        match self.reactor.sources.get(key) {
            Some(Source::Conn(conn)) => Some(conn),
            _ => None,
        }
    }

    pub(super) fn get_mut(&mut self, key: usize) -> Option<&mut Conn> {
        match self.reactor.sources.get_mut(key) {
            Some(Source::Conn(conn)) => Some(conn),
            _ => None,
        }
    }

    /// The conversation of an active connection.
    pub fn talk(&self, key: usize) -> Option<&Talk> {
        match &self.get(key)?.state {
            State::Active { talk, .. } => Some(talk),
            _ => None,
        }
    }

    /// What there is to see of a tunnel.
    pub fn tube(&self, key: usize) -> Option<&Tube> {
        match &self.get(key)?.state {
            State::Tunnel { tube, .. } => Some(tube),
            _ => None,
        }
    }

    /// Has the task of a connection polled, so that it sees what it was told.
    pub fn nudge(&self, key: usize) {
        if let Some(task) = self.get(key).and_then(|conn| conn.state.task()) {
            self.tasks.wake(task);
        }
    }

    /// Has idle connections that still hold on to hyper parked, those that are so since `before`.
    pub fn chill(&self, before: Moment) {
        for key in self.lists.members(&self.reactor.sources, List::Active) {
            if let Some(talk) = self.talk(key)
                && talk.warm_since().is_some_and(|since| since <= before)
            {
                talk.chill();
                self.nudge(key);
            }
        }
    }

    /// Tells HTTP/2 connections that a drain has begun: they say so to their clients.
    pub fn announce(&self) {
        for key in self.lists.members(&self.reactor.sources, List::Active) {
            if self.talk(key).is_some_and(Talk::is_multiplexed) {
                self.nudge(key);
            }
        }
    }

    /// The sockets of connections accepted since `after`.
    pub fn young(&self, after: Moment) -> impl Iterator<Item = BorrowedFd<'_>> {
        let lists = [List::New, List::Idle, List::Active, List::Tunnel, List::Lingering];
        let keys = lists.into_iter().flat_map(|list| self.lists.members(&self.reactor.sources, list));
        keys.filter_map(|key| self.get(key)).filter(move |conn| conn.since >= after).filter_map(|conn| {
            match &conn.state {
                State::Parked(kept) | State::Lingering(kept) => Some(kept.fd()),
                State::Opening { hall, .. } => Some(hall.io.as_fd()),
                State::Active { talk, .. } => Some(talk.io.as_fd()),
                State::Tunnel { tube, .. } => Some(tube.io.as_fd()),
                State::Moving => None,
            }
        })
    }

    /// One more way in, for a listener that is not the service's own any more; its number.
    pub fn add_door(&mut self, door: Door) -> usize {
        self.doors.push(door);
        self.doors.len() - 1
    }

    /// Takes in a connection accepted at a listener's door and parks it, or begins to pass its bytes on.
    pub fn admit(&mut self, fd: OwnedFd, peer: Peer, door: usize) -> std::io::Result<()> {
        let now = self.shared.engine.now();
        let raw = fd.as_raw_fd();
        let slot = &self.shared.slot;
        let class = self.service.class();
        let row = slot.open_row(class, peer, now);
        let closed = self.doors.get(door).is_some_and(|door| !door.is_open());
        let socket = Socket { fd, watches_writing: false };
        let conn = Conn {
            state: State::Parked(Kept { socket, tls: None }),
            since: now,
            stamp: now,
            prev: END,
            next: END,
            requests: 0,
            who: Who::new(peer),
            destination: None,
            row,
            list: List::New,
            class,
            door: closed.then_some(door as u16),
            http2: false,
        };
        let key = match self.reactor.add(raw, Source::Conn(conn)) {
            Ok(key) => key,
            Err(e) => {
                slot.close_row(row);
                return Err(e);
            }
        };
        slot.add(ACCEPTED, 1);
        slot.add(ACTIVE + class.index(), 1);
        slot.add(IDLE, 1);
        self.open += 1;
        self.lists.push(&mut self.reactor.sources, key, List::New);
        if !closed {
            // HTTP waits for the first bytes; a TCP client may wait for the server's.
            self.begin(key);
        }
        Ok(())
    }

    /// Something happened on a connection's socket.
    pub fn event(&mut self, ready: &Ready) {
        let Some(conn) = self.get(ready.key) else { return };
        match &conn.state {
            State::Active { talk, .. } => talk.io.event(ready),
            State::Opening { hall, .. } => hall.io.event(ready),
            State::Tunnel { tube, .. } => tube.io.event(ready),
            State::Parked(_) if ready.readable => self.wake(ready.key, ready.read_closed),
            State::Lingering(_) if ready.readable => self.discard(ready.key),
            State::Parked(_) | State::Lingering(_) | State::Moving => {}
        }
    }

    /// Closes a connection at once, whatever its state.
    pub fn close(&mut self, key: usize) {
        if let Some(task) = self.get(key).and_then(|conn| conn.state.task()) {
            self.tasks.cancel(task);
            if self.take(key).is_none() {
                return;
            }
        }
        let Some(list) = self.get(key).map(|conn| conn.list) else { return };
        let slot = &self.shared.slot;
        if matches!(list, List::New | List::Idle) {
            slot.sub(IDLE, 1);
        }
        self.lists.remove(&mut self.reactor.sources, key);
        if let Some(Source::Conn(conn)) = self.reactor.sources.remove(key) {
            slot.close_row(conn.row);
            slot.sub(ACTIVE + conn.class.index(), 1);
            slot.add(CLOSED, 1);
            self.open -= 1;
        }
    }

    /// Moves a connection to the end of a list.
    pub(super) fn enlist(&mut self, key: usize, list: List) {
        let now = self.shared.engine.now();
        let Some(conn) = self.get_mut(key) else { return };
        conn.stamp = now;
        let parked = |list: List| matches!(list, List::New | List::Idle);
        match (parked(conn.list), parked(list)) {
            (true, false) => self.shared.slot.sub(IDLE, 1),
            (false, true) => self.shared.slot.add(IDLE, 1),
            (true, true) | (false, false) => {}
        }
        self.lists.remove(&mut self.reactor.sources, key);
        self.lists.push(&mut self.reactor.sources, key, list);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_costs_at_most_a_hundred_bytes() {
        assert!(size_of::<Source>() <= 104, "{} bytes", size_of::<Source>());
    }
}
