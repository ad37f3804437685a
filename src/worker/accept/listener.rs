//! One listener of a worker: watched, let alone, accepted from.
//!
//! A listener in blocking mode is still a program's, which waits in accept(2): it is let alone, wake-ups and
//! all, until the master changes its mode, which it does when it puts us in the program's place. With another
//! taking what poll(2) has promised, accept(2) would hold up the whole loop.
//! When to do what is the acceptor's to know. Never: waits.

use super::{AT_A_TIME, Owner};
use crate::model::Moment;
use crate::sys::listen::{self, unfence_accepted};
use crate::sys::{net, poll};
use crate::worker::conns::Conns;
use slog::warn;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

#[derive(Debug)]
pub struct Listener {
    pub fd: OwnedFd,
    /// Its number in the reactor.
    pub key: usize,
    pub exclusive: bool,
    pub tcp: bool,
    pub owner: Owner,
    /// Its place among the service's listeners.
    pub index: usize,
    /// Set for a last call: since when its queue has been empty.
    pub empty_since: Option<Moment>,
    /// There may be more to accept.
    pub more: bool,
    pub mode: Mode,
}

/// Who sees to it that a listener is in non-blocking mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It always was: nobody here changes it.
    Ours,
    /// It is in blocking mode: neither watched nor accepted from.
    Theirs,
    /// It was, and who had it may still be there: looked at before each accept.
    Shared,
}

impl Listener {
    pub fn is_served(&self) -> bool {
        self.mode != Mode::Theirs
    }

    /// There may be something to accept, and it may be done.
    pub fn is_due(&self) -> bool {
        self.more && self.is_served()
    }

    /// Whether accept(2) would wait. What can't be asked will not be accepted from either.
    pub fn blocks(&self) -> bool {
        self.mode != Mode::Ours && !listen::is_nonblocking(self.fd.as_fd()).unwrap_or(true)
    }
}

/// A connection whose handshake ended behind a fence has inherited it and would hear nothing more.
pub fn free(connection: BorrowedFd<'_>) {
    // It can fail only for a socket that is no TCP socket, and then nothing was inherited.
    let _ = unfence_accepted(connection);
}

/// Takes one connection from a listener's queue.
pub fn take(conns: &mut Conns, listener: &Listener) -> io::Result<()> {
    if listener.blocks() {
        return Err(ErrorKind::WouldBlock.into());
    }
    let (fd, peer) = net::accept(listener.fd.as_fd())?;
    if listener.tcp && listener.empty_since.is_some() {
        free(fd.as_fd());
    }
    // Such as ENOSPC: fs.epoll.max_user_watches (epoll(7)).
    conns
        .admit(fd, peer, listener.index)
        .map_err(|e| io::Error::other(format!("can't watch what was accepted ({e}): closed")))
}

/// A shared listener that is not watched any more: the connections we alone were woken for.
///
/// The event may lie behind the order that closes the listener, in the same batch. Beyond the limit
/// as well: no sibling hears of them before the next one comes.
pub fn answer_for_wake_ups(conns: &mut Conns, listener: &Listener) {
    if !listener.exclusive {
        return;
    }
    let ended = (0..AT_A_TIME).find_map(|_| take(conns, listener).err());
    if let Some(e) = ended.filter(|e| e.kind() != ErrorKind::WouldBlock) {
        warn!(conns.shared.log, "can't accept from a shared listener that is let go: {e}");
    }
}

pub fn watch(conns: &Conns, listener: &Listener) -> io::Result<()> {
    let fd = listener.fd.as_fd();
    if listener.exclusive {
        poll::add_exclusive(conns.reactor.epoll(), fd, listener.key)
    } else {
        conns.reactor.watch(fd, listener.key)
    }
}

pub fn unwatch(conns: &Conns, listener: &Listener) {
    let fd = listener.fd.as_fd();
    let done =
        if listener.exclusive { poll::remove(conns.reactor.epoll(), fd) } else { conns.reactor.unwatch(fd) };
    if let Err(e) = done {
        warn!(conns.shared.log, "can't stop watching listener {}: {e}", listener.fd.as_raw_fd());
    }
}
