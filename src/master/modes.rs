//! Whether the listening sockets are in blocking mode.
//!
//! O_NONBLOCK belongs to the socket and so to all who share it: a keeper that set it at its start would change it
//! under siblings and built-in workers that serve. So it is set here: when a socket is made, before anybody
//! has it; and when a plan is adopted that wants non-blocking mode, for the generation before is told to let go
//! at that moment. Never: sets blocking mode on a socket that somebody may use. Whoever serves without
//! waiting would hang in accept(2).

use super::sockets::{Socket, Sockets};
use crate::config::{Address, Config, Service};
use crate::sys::listen;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Whether the workers of a service expect that nothing waits: all but programs that do not say so.
fn wants_nonblocking(service: &Service) -> bool {
    service.kind.exec().is_none_or(|exec| exec.nonblocking)
}

/// Sets the mode of a socket that nobody has yet; it was made non-blocking.
pub fn at_birth(fd: &OwnedFd, service: &Service) -> io::Result<()> {
    if wants_nonblocking(service) { Ok(()) } else { listen::set_nonblocking(fd.as_fd(), false) }
}

/// The service has the socket from now on. What failed, in a sentence.
pub fn at_adoption(fd: &OwnedFd, service: &Service, address: &Address) -> Option<String> {
    if !wants_nonblocking(service) {
        return None;
    }
    let failed = make_nonblocking(fd.as_fd()).err()?;
    Some(format!("listener {address} of service {} may stay in blocking mode: {failed}", service.name))
}

fn make_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    if listen::is_nonblocking(fd)? { Ok(()) } else { listen::set_nonblocking(fd, true) }
}

/// Addresses that this config wants in one of the modes.
fn wanted(config: &Config, nonblocking: bool) -> impl Iterator<Item = (&Service, &Address)> {
    let fit = move |service: &&Service| wants_nonblocking(service) == nonblocking;
    config.services.iter().filter(fit).flat_map(|s| s.listen.iter().map(move |l| (s, &l.address)))
}

impl Sockets {
    /// What `new` wants of the modes and won't get in place of `old`, which is in force: in sentences.
    ///
    /// A program may have changed the mode by itself, whatever was wanted of it: that is its business.
    pub fn modes_kept(&self, old: &Config, new: &Config) -> Vec<String> {
        let before: BTreeSet<&Address> = wanted(old, true).map(|(_, address)| address).collect();
        let kept = |address: &Address| {
            before.contains(address)
                && self.group(address).any(|(_, s)| s.named && s.anew.is_none() && is_set(s))
        };
        let text = |(service, address): (&Service, &Address)| {
            format!(
                "listener {address} of service {} stays in non-blocking mode until masterd is stopped and \
                 started: others serve it that would hang without (see service.exec.nonblocking)",
                service.name
            )
        };
        wanted(new, false).filter(|(_, address)| kept(address)).map(text).collect()
    }

    /// Looks after the sockets of built-in services: a program that had one before and lets go of it may change
    /// its mode until its end. What failed, in sentences, each said again as long as it lasts.
    pub fn mind_modes(&self, config: &Config) -> Vec<String> {
        let built_in = config.services.iter().filter(|s| s.kind.exec().is_none());
        let theirs = built_in.flat_map(|s| s.listen.iter().map(move |l| (s, &l.address)));
        let each = theirs.flat_map(|(service, address)| {
            let named = self.group(address).filter(|(_, socket)| socket.named);
            named.filter_map(move |(_, socket)| at_adoption(&socket.fd, service, address))
        });
        each.collect()
    }
}

/// A built-in worker gets these to serve them to their end; nobody else has them any more.
pub fn for_rites(fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    fds.iter().try_for_each(|fd| make_nonblocking(*fd))
}

/// One that can't be asked counts as what it was made as.
fn is_set(socket: &Socket) -> bool {
    listen::is_nonblocking(socket.fd.as_fd()).unwrap_or(true)
}
