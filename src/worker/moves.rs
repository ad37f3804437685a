//! How a connection goes from one state to the next: see `conns` for what the states are.
//!
//! Each move takes the connection as it is, and does nothing if it is in another state than it should.
//! Never: loses count of a connection, closes one whose last answer may still be under way without lingering.

use super::conns::{Conns, State};
use super::engine::io::{Io, Socket};
use super::engine::task::End;
use super::http::proxy::Switch;
use super::http::serve;
use super::http::talk::Talk;
use super::job::{Ended, Job, LOOSE};
use super::lists::List;
use super::near::{Kept, Near, Unread};
use super::opening::{Hall, Opened, Opening};
use super::service::Service;
use super::tunnel::{self, Tube, Tunnel};
use super::who::Who;
use crate::model::Class;
use crate::scoreboard::layout::{ACTIVE, BYTES_OUT, Doing, ERRORS};
use crate::sys::net;
use bytes::Bytes;
use slog::{debug, error, warn};
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

/// How long a lingering connection is listened to; nginx waits longer, but a reset needs a round trip only.
pub const LINGER: Duration = Duration::from_secs(1);
/// Buffers' worth of unwanted bytes read from a lingering connection per event.
const DISCARDS: usize = 16;

/// What became of a parked connection that was to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retired {
    /// FIN sent, or closed.
    Yes,
    /// A request is here already: it is being served.
    Served,
}

/// A connection whose task is over.
pub(super) struct Taken {
    kept: Kept,
    eof: bool,
    more: bool,
}

impl Taken {
    fn socket(socket: Socket, io: (bool, bool)) -> Taken {
        Taken { kept: Kept { socket, tls: None }, eof: io.0, more: io.1 }
    }
}

impl Conns {
    /// A parked socket is readable: a request, or the client's FIN.
    pub(super) fn wake(&mut self, key: usize, fin: bool) {
        let Some(conn) = self.get_mut(key) else { return };
        let State::Parked(kept) = &mut conn.state else { return };
        if fin && !matches!(kept.unread(), Unread::Bytes) {
            return self.close(key);
        }
        self.activate(key, fin);
    }

    /// Begins what is to be done without a word from the client.
    pub(super) fn begin(&mut self, key: usize) {
        if let Service::Tcp(_) = self.service {
            self.pass_on(key);
        }
    }

    /// Gives a parked socket to whoever is next: the door, hyper. With `fin` it is read until it has nothing more, since
    /// the client's FIN may have been announced before.
    fn activate(&mut self, key: usize, fin: bool) {
        let Some(door) = self.get(key).map(|conn| conn.door) else { return };
        match (door, &self.service) {
            (Some(door), _) => self.open_door(key, door, fin),
            (None, Service::Http(_)) => self.converse(key, fin),
            (None, Service::Tcp(_)) => self.pass_on(key),
        }
    }

    fn open_door(&mut self, key: usize, door: u16, fin: bool) {
        let Some(door) = self.doors.get(usize::from(door)).cloned() else { return };
        let engine = self.shared.engine.clone();
        let Some(conn) = self.get_mut(key) else { return };
        let State::Parked(kept) = std::mem::replace(&mut conn.state, State::Moving) else { return };
        let hall = Rc::new(Hall { io: Io::new(&engine, key, kept.socket, fin) });
        let task = self.tasks.spawn(key, Job::Opening(Opening::new(&hall, door)));
        if let Some(conn) = self.get_mut(key) {
            conn.state = State::Opening { task, hall };
        }
    }

    /// The door is open: who is it, and what is spoken?
    fn opened(&mut self, key: usize, taken: Taken, mut opened: Opened) {
        let Some(conn) = self.get_mut(key) else { return };
        conn.door = None;
        conn.http2 = opened.http2;
        conn.state = State::Parked(opened.kept(taken.kept.socket));
        let row = conn.row;
        if let Some(peer) = opened.peer {
            conn.who = Who::new(peer);
            conn.destination = opened.destination.map(Box::new);
            self.shared.slot.peer(row, peer);
        }
        // What came behind the handshake has had its event.
        self.activate(key, true);
    }

    fn converse(&mut self, key: usize, fin: bool) {
        let Service::Http(http) = &self.service else { return };
        let (shared, http) = (self.shared.clone(), http.clone());
        let Some(ends) = self.ends(key) else { return };
        let Some(conn) = self.get_mut(key) else { return };
        let State::Parked(kept) = std::mem::replace(&mut conn.state, State::Moving) else { return };
        let near = Near::new(Io::new(&shared.engine, key, kept.socket, fin), kept.tls);
        let talk = Rc::new(Talk::new(near, shared.clone(), conn.row, ends, conn.http2));
        let task = self.tasks.spawn(key, Job::Http(http.talk(&shared, &talk)));
        if let Some(conn) = self.get_mut(key) {
            conn.state = State::Active { task, talk };
        }
        self.enlist(key, List::Active);
    }

    /// Begins to pass on the bytes of a TCP connection.
    fn pass_on(&mut self, key: usize) {
        let Service::Tcp(tcp) = &self.service else { return };
        let (shared, tcp) = (self.shared.clone(), tcp.clone());
        let Some(ends) = self.ends(key) else { return };
        let Some(conn) = self.get_mut(key) else { return };
        let State::Parked(kept) = std::mem::replace(&mut conn.state, State::Moving) else { return };
        // Looked at once without an event: nothing is known of what has come in.
        let near = Near::new(Io::new(&shared.engine, key, kept.socket, true), kept.tls);
        let tube = Tube::new(near, Class::Tcp, ends, tcp.idle_timeout, shared.engine.now());
        let tunnel = tcp.tunnel(&tube, &shared);
        self.dig(key, tube, tunnel);
    }

    /// A connection stops being HTTP.
    fn switch(&mut self, key: usize, kept: Kept, switch: Switch, ahead: &Bytes) {
        let shared = self.shared.clone();
        let Some(ends) = self.ends(key) else { return };
        let Some(conn) = self.get_mut(key) else { return };
        let before = std::mem::replace(&mut conn.class, Class::Websocket);
        let row = conn.row;
        shared.slot.sub(ACTIVE + before.index(), 1);
        shared.slot.add(ACTIVE + Class::Websocket.index(), 1);
        shared.slot.reclass(row, Class::Websocket);
        let near = Near::new(Io::new(&shared.engine, key, kept.socket, true), kept.tls);
        let tube = Tube::new(near, Class::Websocket, ends, switch.idle_timeout, shared.engine.now());
        let tunnel = Tunnel::switched(&tube, &shared, switch, ahead);
        self.dig(key, tube, tunnel);
    }

    fn dig(&mut self, key: usize, tube: Rc<Tube>, tunnel: Tunnel) {
        let task = self.tasks.spawn(key, Job::Tunnel(tunnel));
        let (shared, now) = (self.shared.clone(), self.shared.engine.now());
        if let Some(conn) = self.get_mut(key) {
            conn.state = State::Tunnel { task, tube };
            shared.slot.doing(conn.row, Doing::Tunnel, now);
        }
        self.enlist(key, List::Tunnel);
    }

    /// A task has ended.
    pub fn finish(&mut self, key: usize, end: End<Ended>) {
        if key == LOOSE {
            if let End::Panicked(text) = end {
                error!(self.shared.log, "work behind the connections ended in a panic: {text}");
                self.shared.slot.add(ERRORS, 1);
            }
            return;
        }
        let Some(mut taken) = self.take(key) else { return };
        match end {
            End::Done(Ended::Opening(Ok(opened))) => self.opened(key, taken, opened),
            End::Done(Ended::Opening(Err(e))) => {
                debug!(self.shared.log, "a connection can't begin: {e}");
                self.shared.slot.add(ERRORS, 1);
                self.linger(key, taken.kept);
            }
            End::Done(Ended::Http(serve::Ended::Idle)) => self.park(key, taken),
            End::Done(Ended::Http(serve::Ended::Linger) | Ended::Tunnel(tunnel::Ended::Linger)) => {
                self.linger(key, taken.kept);
            }
            End::Done(Ended::Http(serve::Ended::Switch(switch, ahead))) => {
                self.switch(key, taken.kept, *switch, &ahead);
            }
            End::Done(Ended::Http(serve::Ended::Over)) => {
                // Within TLS a FIN alone would not say that this was all.
                taken.kept.last_words(&[]);
                self.close(key);
            }
            End::Done(_) => self.close(key),
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
        let Some(State::Active { task, talk }) = self.get(key).map(|conn| &conn.state) else { return };
        // Part of an earlier answer has not gone out: what is sent now would be read as its rest.
        let (task, stuck) = (*task, talk.io.stuck_since().is_some());
        self.tasks.cancel(task);
        let Some(Taken { mut kept, .. }) = self.take(key) else { return };
        // A full socket means that the client does not read: it loses nothing it waits for.
        if !stuck && !last_words.is_empty() && kept.last_words(last_words) {
            self.shared.slot.add(BYTES_OUT, last_words.len() as u64);
            self.linger(key, kept);
        } else {
            self.close(key);
        }
    }

    /// What is left of a connection whose task is gone.
    pub(super) fn take(&mut self, key: usize) -> Option<Taken> {
        let conn = self.get_mut(key)?;
        let many = matches!(&conn.state, State::Active { talk, .. } if talk.is_multiplexed());
        let taken = match std::mem::replace(&mut conn.state, State::Moving) {
            State::Opening { hall, .. } => Rc::into_inner(hall).map(|hall| {
                let seen = (hall.io.at_eof(), hall.io.may_read());
                Taken::socket(hall.into_socket(), seen)
            }),
            State::Active { talk, .. } => {
                conn.requests = conn.requests.saturating_add(talk.requests.get());
                conn.class = talk.class();
                Rc::into_inner(talk).map(|talk| {
                    let (eof, more) = (talk.io.at_eof(), talk.io.may_read());
                    Taken { kept: talk.into_kept(), eof, more }
                })
            }
            State::Tunnel { tube, .. } => Rc::into_inner(tube).map(|tube| {
                tube.close(&self.shared);
                let (eof, more) = (tube.io.at_eof(), tube.io.may_read());
                Taken { kept: tube.into_kept(), eof, more }
            }),
            other => {
                conn.state = other;
                return None;
            }
        };
        if taken.is_none() && many {
            // It was ended from outside: its streams end in their next turn, and the last one closes the socket.
            self.close(key);
        } else if taken.is_none() {
            // Somebody kept a part of the conversation: our own mistake. The socket can't be had back.
            warn!(self.shared.log, "a finished conversation is still held; its connection is given up");
            self.close(key);
        }
        taken
    }

    /// Puts an idle socket back, unless there is something to read already.
    fn park(&mut self, key: usize, taken: Taken) {
        let mut kept = taken.kept;
        if taken.eof {
            kept.last_words(&[]);
            return self.close(key);
        }
        let found = if taken.more { kept.unread() } else { Unread::Nothing };
        let now = self.shared.engine.now();
        let Some(conn) = self.get_mut(key) else { return };
        conn.state = State::Parked(kept);
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
        let Some(conn) = self.get_mut(key) else { return Retired::Yes };
        let State::Parked(kept) = &mut conn.state else {
            // At the door: a client that has begun to talk.
            return Retired::Served;
        };
        match kept.unread() {
            Unread::Bytes => {
                self.activate(key, true);
                return Retired::Served;
            }
            Unread::End => self.close(key),
            Unread::Nothing => {
                if let State::Parked(kept) = std::mem::replace(&mut conn.state, State::Moving) {
                    self.linger(key, kept);
                }
            }
        }
        Retired::Yes
    }

    /// Sends our FIN and listens for the client's.
    fn linger(&mut self, key: usize, mut kept: Kept) {
        // TLS says goodbye as well; who does not hear it hears the FIN.
        kept.last_words(&[]);
        if net::shutdown_write(kept.fd()).is_err() {
            return self.close(key);
        }
        let now = self.shared.engine.now();
        let Some(conn) = self.get_mut(key) else { return };
        conn.state = State::Lingering(kept);
        let row = conn.row;
        self.shared.slot.doing(row, Doing::Closing, now);
        self.enlist(key, List::Lingering);
        // What is here already caused its event long ago.
        self.discard(key);
    }

    /// Throws away what a lingering client sends; its FIN (or an error) is the end.
    pub(super) fn discard(&mut self, key: usize) {
        let Some(State::Lingering(kept)) = self.get(key).map(|conn| &conn.state) else { return };
        let gone = self.shared.engine.with_buffer(|buffer| {
            for _ in 0..DISCARDS {
                match net::recv(kept.fd(), buffer) {
                    Ok(0) => return true,
                    Ok(_) => {}
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
}
