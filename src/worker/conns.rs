//! Every open connection of a worker, from accept to close.
//!
//! A connection is *parked* (its socket and eighty bytes), *active* (hyper runs on it in a task) or
//! *lingering* (our FIN is sent; what still comes is read and thrown away, so that no reset destroys
//! an answer under way). Here are the moves between the three, and their accounts in the slot.
//! Who decides to move them: events (`turn`), timeouts (`sweep`), the drain.

use super::engine::io::{Io, Socket};
use super::engine::reactor::{Reactor, Ready};
use super::engine::task::{End, Tasks};
use super::http::Http;
use super::http::serve::{Ended, Serve};
use super::http::talk::Talk;
use super::lists::{List, Lists};
use super::shared::Shared;
use super::who::Who;
use crate::model::{Class, Moment};
use crate::scoreboard::layout::{ACCEPTED, ACTIVE, BYTES_OUT, CLOSED, Doing, ERRORS, IDLE};
use crate::scoreboard::slot::Row;
use crate::sys::net::{self, Peer};
use slog::{error, warn};
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

/// How long a lingering connection is listened to; nginx waits longer, but a reset needs a round trip only.
pub const LINGER: Duration = Duration::from_secs(1);
/// Buffers' worth of unwanted bytes read from a lingering connection per event.
const DISCARDS: usize = 16;

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
    state: State,
    /// When it was accepted.
    pub since: Moment,
    /// When it entered its list.
    pub stamp: Moment,
    pub prev: u32,
    pub next: u32,
    requests: u32,
    pub who: Who,
    row: Row,
    pub list: List,
}

#[derive(Debug)]
enum State {
    Parked(Socket),
    Active {
        task: u32,
        talk: Rc<Talk>,
    },
    Lingering(Socket),
    /// Between two states; seen by nobody.
    Moving,
}

/// What became of a parked connection that was to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retired {
    /// FIN sent, or closed.
    Yes,
    /// A request is here already: it is being served.
    Served,
}

/// The connections of one worker.
#[derive(Debug)]
pub struct Conns {
    pub reactor: Reactor<Source>,
    pub tasks: Tasks<Serve>,
    pub lists: Lists,
    pub shared: Rc<Shared>,
    http: Rc<Http>,
    open: usize,
}

impl Conns {
    pub fn new(reactor: Reactor<Source>, tasks: Tasks<Serve>, shared: Rc<Shared>, http: Rc<Http>) -> Conns {
        Conns { reactor, tasks, lists: Lists::default(), shared, http, open: 0 }
    }

    /// Open connections, lingering ones included.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Those with a request, or part of one.
    pub fn busy(&self) -> Vec<usize> {
        let mut busy = self.lists.members(&self.reactor.sources, List::Active);
        busy.retain(|key| self.talk(*key).is_none_or(|talk| talk.warm_since().is_none()));
        busy
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

    fn get_mut(&mut self, key: usize) -> Option<&mut Conn> {
        match self.reactor.sources.get_mut(key) {
            Some(Source::Conn(conn)) => Some(conn),
            _ => None,
        }
    }

    /// The conversation of an active connection.
    pub fn talk(&self, key: usize) -> Option<&Talk> {
        match &self.get(key)?.state {
            State::Active { talk, .. } => Some(talk),
            State::Parked(_) | State::Lingering(_) | State::Moving => None,
        }
    }

    /// Has idle connections that still hold on to hyper parked, those that are so since `before`.
    pub fn chill(&self, before: Moment) {
        for key in self.lists.members(&self.reactor.sources, List::Active) {
            let Some(Conn { state: State::Active { task, talk }, .. }) = self.get(key) else { continue };
            if talk.warm_since().is_some_and(|since| since <= before) {
                talk.chill();
                self.tasks.wake(*task);
            }
        }
    }

    /// The sockets of connections accepted since `after`.
    pub fn young(&self, after: Moment) -> impl Iterator<Item = BorrowedFd<'_>> {
        let lists = [List::New, List::Idle, List::Active, List::Lingering];
        let keys = lists.into_iter().flat_map(|list| self.lists.members(&self.reactor.sources, list));
        keys.filter_map(|key| self.get(key)).filter(move |conn| conn.since >= after).filter_map(|conn| {
            match &conn.state {
                State::Parked(socket) | State::Lingering(socket) => Some(socket.fd.as_fd()),
                State::Active { talk, .. } => Some(talk.io.as_fd()),
                State::Moving => None,
            }
        })
    }

    /// Takes in an accepted connection and parks it.
    pub fn admit(&mut self, fd: OwnedFd, peer: Peer) -> std::io::Result<()> {
        let now = self.shared.engine.now();
        let raw = fd.as_raw_fd();
        let slot = &self.shared.slot;
        let row = slot.open_row(Class::Http, peer, now);
        let state = State::Parked(Socket { fd, watches_writing: false });
        let links = (super::lists::END, super::lists::END);
        let conn = Conn {
            state,
            since: now,
            stamp: now,
            prev: links.0,
            next: links.1,
            requests: 0,
            who: Who::new(peer),
            row,
            list: List::New,
        };
        let key = match self.reactor.add(raw, Source::Conn(conn)) {
            Ok(key) => key,
            Err(e) => {
                slot.close_row(row);
                return Err(e);
            }
        };
        slot.add(ACCEPTED, 1);
        slot.add(ACTIVE + Class::Http.index(), 1);
        slot.add(IDLE, 1);
        self.open += 1;
        self.lists.push(&mut self.reactor.sources, key, List::New);
        Ok(())
    }

    /// Something happened on a connection's socket.
    pub fn event(&mut self, ready: &Ready) {
        let Some(conn) = self.get(ready.key) else { return };
        match &conn.state {
            State::Active { talk, .. } => talk.io.event(ready),
            State::Parked(_) if ready.readable => self.wake(ready.key, ready.read_closed),
            State::Lingering(_) if ready.readable => self.discard(ready.key),
            State::Parked(_) | State::Lingering(_) | State::Moving => {}
        }
    }

    /// A parked socket is readable: a request, or the client's FIN.
    fn wake(&mut self, key: usize, fin: bool) {
        let Some(Conn { state: State::Parked(socket), .. }) = self.get(key) else { return };
        if fin && !matches!(unread(socket), Unread::Bytes) {
            return self.close(key);
        }
        self.activate(key, fin);
    }

    /// Gives a parked socket to hyper; with `fin` it is read until it has nothing more, since the
    /// client's FIN may have been announced before.
    fn activate(&mut self, key: usize, fin: bool) {
        let (shared, http) = (self.shared.clone(), self.http.clone());
        let Some(conn) = self.get_mut(key) else { return };
        let State::Parked(socket) = std::mem::replace(&mut conn.state, State::Moving) else { return };
        let io = Io::new(&shared.engine, key, socket, fin);
        let talk = Rc::new(Talk::new(io, shared.clone(), conn.row));
        let task = self.tasks.spawn(key, http.talk(&shared, &talk));
        if let Some(conn) = self.get_mut(key) {
            conn.state = State::Active { task, talk };
        }
        self.enlist(key, List::Active);
    }

    /// A task has ended.
    pub fn finish(&mut self, key: usize, end: End<Ended>) {
        let Some(taken) = self.take_socket(key) else { return };
        match end {
            End::Done(Ended::Idle) => self.park(key, taken),
            End::Done(Ended::Linger) => self.linger(key, taken.socket),
            End::Done(Ended::Over | Ended::Broken) => self.close(key),
            End::Panicked(text) => {
                let who = self.get(key).map(|conn| conn.who.to_string());
                error!(self.shared.log, "a connection ended in a panic: {text}"; "peer" => who);
                self.shared.slot.add(ERRORS, 1);
                self.close(key);
            }
        }
    }

    /// Ends an active connection from outside; `last_words` are sent if there is room for them.
    pub fn interrupt(&mut self, key: usize, last_words: &[u8]) {
        let Some(Conn { state: State::Active { task, .. }, .. }) = self.get(key) else { return };
        let task = *task;
        self.tasks.cancel(task);
        // Part of an earlier answer has not gone out: what is sent now would be read as its rest.
        let stuck = self.talk(key).is_some_and(|talk| talk.io.stuck_since().is_some());
        let Some(taken) = self.take_socket(key) else { return };
        // A full socket means that the client does not read: it loses nothing it waits for.
        if !stuck && !last_words.is_empty() && net::send(taken.socket.fd.as_fd(), last_words).is_ok() {
            self.shared.slot.add(BYTES_OUT, last_words.len() as u64);
            self.linger(key, taken.socket);
        } else {
            self.close(key);
        }
    }

    /// The socket of an active connection whose task is gone.
    fn take_socket(&mut self, key: usize) -> Option<Taken> {
        let conn = self.get_mut(key)?;
        let State::Active { talk, .. } = std::mem::replace(&mut conn.state, State::Moving) else {
            return None;
        };
        conn.requests = conn.requests.saturating_add(talk.requests.get());
        let Some(talk) = Rc::into_inner(talk) else {
            // Somebody kept a part of the conversation: our own mistake. The socket can't be had back.
            warn!(self.shared.log, "a finished conversation is still held; its connection is given up");
            self.close(key);
            return None;
        };
        let (eof, more) = (talk.io.at_eof(), talk.io.may_read());
        Some(Taken { socket: talk.into_socket(), eof, more })
    }

    /// Puts an idle socket back, unless there is something to read already.
    fn park(&mut self, key: usize, taken: Taken) {
        if taken.eof {
            return self.close(key);
        }
        let found = if taken.more { unread(&taken.socket) } else { Unread::Nothing };
        let now = self.shared.engine.now();
        let Some(conn) = self.get_mut(key) else { return };
        conn.state = State::Parked(taken.socket);
        let (row, list) = (conn.row, if conn.requests == 0 { List::New } else { List::Idle });
        match found {
            Unread::Nothing => {
                self.shared.slot.doing(row, Doing::Idle, now);
                self.enlist(key, list);
            }
            Unread::Bytes => self.activate(key, true),
            Unread::End => self.close(key),
        }
    }

    /// Closes a parked connection without harm: what has come in meanwhile is served instead.
    pub fn retire(&mut self, key: usize) -> Retired {
        let Some(Conn { state: State::Parked(socket), .. }) = self.get(key) else { return Retired::Yes };
        match unread(socket) {
            Unread::Bytes => {
                self.activate(key, true);
                return Retired::Served;
            }
            Unread::End => self.close(key),
            Unread::Nothing => {
                if let Some(conn) = self.get_mut(key)
                    && let State::Parked(socket) = std::mem::replace(&mut conn.state, State::Moving)
                {
                    self.linger(key, socket);
                }
            }
        }
        Retired::Yes
    }

    /// Sends our FIN and listens for the client's.
    fn linger(&mut self, key: usize, socket: Socket) {
        if net::shutdown_write(socket.fd.as_fd()).is_err() {
            return self.close(key);
        }
        let now = self.shared.engine.now();
        let Some(conn) = self.get_mut(key) else { return };
        conn.state = State::Lingering(socket);
        let row = conn.row;
        self.shared.slot.doing(row, Doing::Closing, now);
        self.enlist(key, List::Lingering);
        // What is here already caused its event long ago.
        self.discard(key);
    }

    /// Throws away what a lingering client sends; its FIN (or an error) is the end.
    fn discard(&mut self, key: usize) {
        let Some(Conn { state: State::Lingering(socket), .. }) = self.get(key) else { return };
        let gone = self.shared.engine.with_buffer(|buffer| {
            for _ in 0..DISCARDS {
                match net::recv(socket.fd.as_fd(), buffer) {
                    Ok(0) => return true,
                    Ok(_) => {}
                    Err(e) if e.kind() == ErrorKind::Interrupted => {}
                    Err(e) => return e.kind() != ErrorKind::WouldBlock,
                }
            }
            // Still sending: the timeout ends it.
            false
        });
        if gone {
            self.close(key);
        }
    }

    /// Closes a connection at once, whatever its state.
    pub fn close(&mut self, key: usize) {
        if let Some(Conn { state: State::Active { task, .. }, .. }) = self.get(key) {
            let task = *task;
            self.tasks.cancel(task);
            if self.take_socket(key).is_none() {
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
            slot.sub(ACTIVE + Class::Http.index(), 1);
            slot.add(CLOSED, 1);
            self.open -= 1;
        }
    }

    /// Moves a connection to the end of a list.
    fn enlist(&mut self, key: usize, list: List) {
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

/// A socket whose conversation is over.
struct Taken {
    socket: Socket,
    eof: bool,
    more: bool,
}

/// What waits in a socket.
enum Unread {
    Nothing,
    Bytes,
    /// FIN or an error.
    End,
}

fn unread(socket: &Socket) -> Unread {
    loop {
        return match net::peek(socket.fd.as_fd(), &mut [0]) {
            Ok(0) => Unread::End,
            Ok(_) => Unread::Bytes,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) if e.kind() == ErrorKind::WouldBlock => Unread::Nothing,
            Err(_) => Unread::End,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_costs_at_most_a_hundred_bytes() {
        assert!(size_of::<Source>() <= 96, "{} bytes", size_of::<Source>());
    }
}
