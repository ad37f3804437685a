//! What the slot says of a program: what the kernel knows of its connections and processes, and what the
//! program writes itself.
//!
//! A program that writes its own page is copied, clamped: it counts better than anybody who looks from
//! outside. Of any other, connections are counted in samples, by the sockets that its processes hold.
//! Counters only grow: of a connection's bytes, what is new since the last sample is added.
//! Never: looks more often than it is asked to.

use super::sockets::{Kind, Socket};
use crate::model::{Class, Moment};
use crate::scoreboard::layout as l;
use crate::scoreboard::slot::{Row, Slot};
use crate::scoreboard::view::{Figures, View};
use crate::sys::net::Peer;
use crate::sys::onlooker;
use crate::sys::sock_diag::{self, Connection};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;

/// One connection, as the last sample had it.
#[derive(Debug)]
struct Known {
    row: Row,
    bytes_in: u64,
    bytes_out: u64,
}

/// Everything that is counted of one program.
#[derive(Debug)]
pub struct Books {
    own: View,
    /// What the program had written when it was copied last.
    copied: Figures,
    /// It has counted something itself: what is seen from outside is not mixed in.
    counts_itself: bool,
    known: HashMap<u64, Known>,
    cpu: u64,
    /// Connections of the last sample.
    pub open: u64,
}

impl Books {
    pub fn new(own: View) -> Books {
        Books {
            own,
            copied: Figures::default(),
            counts_itself: false,
            known: HashMap::new(),
            cpu: 0,
            open: 0,
        }
    }

    /// The CPU time of its processes, nanoseconds. Of one that has ended nothing is known any more, so the sum may
    /// shrink: only what is added counts.
    pub fn cpu(&mut self, slot: &Slot, nanos: u64) {
        slot.add(l::BUSY_TOTAL, nanos.saturating_sub(self.cpu));
        self.cpu = nanos;
    }

    /// Copies what the program has written into its page.
    pub fn copy(&mut self, slot: &Slot) {
        let now = self.own.figures();
        let before = std::mem::replace(&mut self.copied, now);
        if !self.counts_itself && now == Figures::default() {
            return;
        }
        if !self.counts_itself {
            self.counts_itself = true;
            self.forget(slot);
        }
        let counters = [
            (l::ACCEPTED, now.accepted, before.accepted),
            (l::REQUESTS, now.requests, before.requests),
            (l::BYTES_IN, now.bytes_in, before.bytes_in),
            (l::BYTES_OUT, now.bytes_out, before.bytes_out),
            (l::ERRORS, now.errors, before.errors),
        ];
        for (word, now, before) in counters {
            slot.add(word, now.saturating_sub(before));
        }
        for (class, (now, before)) in now.responses.iter().zip(before.responses).enumerate() {
            slot.add(l::RESPONSES + class, now.saturating_sub(before));
        }
        for (class, open) in now.active.iter().enumerate() {
            slot.set(l::ACTIVE + class, *open);
        }
        slot.set(l::IDLE, now.idle);
        slot.set(l::IN_FLIGHT, now.in_flight);
        self.open = now.active.iter().sum();
    }

    /// Takes back what was counted from outside.
    fn forget(&mut self, slot: &Slot) {
        self.known.drain().for_each(|(_, known)| slot.close_row(known.row));
        slot.set(l::ACTIVE + Class::Tcp.index(), 0);
    }

    /// Looks at the connections now; in a sentence what can't be seen of them. Errors: those of a listener can't be
    /// listed; the others' count.
    pub fn sample(
        &mut self,
        slot: &Slot,
        sockets: &[Socket],
        family: &[i32],
        now: Moment,
    ) -> io::Result<Option<String>> {
        let (held, unreadable) = onlooker::sockets_of(family);
        let hidden = !unreadable.is_empty();
        let mine = |inode: u64| hidden && inode != 0 || held.contains(&inode);
        let listeners: Vec<SocketAddr> = sockets.iter().filter_map(tcp).collect();
        let all = if listeners.is_empty() { Vec::new() } else { sock_diag::tcp(&listeners)? };
        let ours: Vec<&Connection> = all.iter().filter(|c| mine(c.inode)).collect();
        let (mut open, mut failed) = (0, None);
        for (n, socket) in sockets.iter().enumerate() {
            let count = match &socket.kind {
                Kind::Tcp(address) => ours.iter().filter(|c| came_by(c.local, *address)).count(),
                Kind::Unix(name) => match sock_diag::unix(name) {
                    Ok(all) => all.iter().filter(|c| mine(c.inode)).count(),
                    Err(error) => {
                        failed.get_or_insert(error);
                        continue;
                    }
                },
                Kind::Udp => 0,
            };
            open += count as u64;
            if n < l::LISTENERS {
                slot.set(l::BY_LISTENER + n, count as u64);
            }
        }
        slot.flag(l::UNSEEN, hidden);
        if !self.counts_itself {
            self.open = if hidden { 0 } else { open };
            slot.set(l::ACTIVE + Class::Tcp.index(), self.open);
            let listed = if hidden { Vec::new() } else { ours };
            self.list(slot, &listed, now);
        }
        let why = || {
            format!(
                "the connections of its processes can't be told apart: {} can't be looked into (another user's, \
                 or protected)",
                match unreadable.as_slice() {
                    [one] => format!("process {one}"),
                    many => format!("{} of its processes", many.len()),
                }
            )
        };
        failed.map_or_else(|| Ok(hidden.then(why)), Err)
    }

    /// The table of open connections, and the bytes that have passed since the last sample.
    fn list(&mut self, slot: &Slot, ours: &[&Connection], now: Moment) {
        let mut before = std::mem::take(&mut self.known);
        for connection in ours {
            let known = before.remove(&connection.cookie);
            let mut known = known.unwrap_or_else(|| {
                let row = slot.open_row(Class::Tcp, Peer::Tcp(connection.peer), now);
                // What the program does with it nobody knows.
                slot.doing(row, l::Doing::Tunnel, now);
                Known { row, bytes_in: 0, bytes_out: 0 }
            });
            slot.add(l::BYTES_IN, connection.bytes_in.saturating_sub(known.bytes_in));
            slot.add(l::BYTES_OUT, connection.bytes_out.saturating_sub(known.bytes_out));
            known.bytes_in = known.bytes_in.max(connection.bytes_in);
            known.bytes_out = known.bytes_out.max(connection.bytes_out);
            self.known.insert(connection.cookie, known);
        }
        before.into_values().for_each(|gone| slot.close_row(gone.row));
    }

    /// At its end nothing is open any more.
    pub fn close(&mut self, slot: &Slot) {
        self.copy(slot);
        self.forget(slot);
        (0..l::LISTENERS).for_each(|n| slot.set(l::BY_LISTENER + n, 0));
        Class::ALL.iter().for_each(|class| slot.set(l::ACTIVE + class.index(), 0));
        slot.set(l::IDLE, 0);
        slot.set(l::IN_FLIGHT, 0);
        slot.set(l::MEMORY, 0);
    }
}

fn tcp(socket: &Socket) -> Option<SocketAddr> {
    match socket.kind {
        Kind::Tcp(address) => Some(address),
        Kind::Udp | Kind::Unix(_) => None,
    }
}

/// Whether a connection to `local` came by the socket bound to `listener`.
fn came_by(local: SocketAddr, listener: SocketAddr) -> bool {
    let any = listener.ip().is_unspecified();
    local.port() == listener.port() && (any || local.ip().to_canonical() == listener.ip().to_canonical())
}
