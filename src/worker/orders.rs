//! What the master's orders do, one by one.
//!
//! Called by `turn` for each order that could be read. An order that makes no sense now, or comes
//! without the descriptors it needs, is logged and does nothing.

use super::accept::{Offer, Owner};
use super::opening::Door;
use super::turn::Worker;
use crate::config::{Address, Listen};
use crate::model::Moment;
use crate::sys::{listen, shm};
use crate::wire::order::Order;
use crate::wire::report::Report;
use slog::{error, info, warn};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

/// The most a status document may be, bytes.
const DOCUMENT_LIMIT: usize = 16 * 1024 * 1024;

impl Worker {
    pub fn obey(&mut self, order: Order, fds: Vec<OwnedFd>, now: Moment) {
        match order {
            Order::Readiness { ready } => self.shared.unready.set(!ready),
            Order::Drain(terms) => self.begin_drain(&terms, now),
            Order::Stop => self.stop(),
            Order::Rescue { seat } if self.drain.is_some() => {
                info!(self.shared.log, "asked to help seat {seat} while draining: not done");
            }
            Order::Rescue { seat } => {
                // A second rescue of the same seat replaces the first.
                self.acceptor.let_go(&mut self.conns, Owner::Rescue(seat));
                self.offer(fds.into_iter().map(|fd| (fd, None)).collect(), Owner::Rescue(seat));
            }
            Order::EndRescue { seat } => self.acceptor.let_go(&mut self.conns, Owner::Rescue(seat)),
            Order::LastRites { id, described } => self.perform_rites(id, described, fds),
            Order::EndRites { id } => self.acceptor.let_go(&mut self.conns, Owner::Rites(id)),
            Order::ReopenLog => match fds.into_iter().next() {
                Some(fd) => self.sink.reopen(fd),
                None => warn!(self.shared.log, "told to reopen the log, but no descriptor came"),
            },
            Order::ReopenAccessLog => match (fds.into_iter().next(), &self.shared.access_log) {
                (Some(fd), Some(access_log)) => access_log.reopen(fd),
                (None, _) => warn!(self.shared.log, "told to reopen the access log, but no descriptor came"),
                (Some(_), None) => warn!(self.shared.log, "told to reopen an access log, but there is none"),
            },
            Order::Status => self.deliver_status(fds, now),
            // The figures are always of this moment.
            Order::Sample => self.report(&Report::Sampled),
        }
    }

    /// Serves listeners that no config of the present names, each by what was said of it last.
    fn perform_rites(&mut self, id: u64, described: bool, fds: Vec<OwnedFd>) {
        let mut fds = fds;
        let described = if described { fds.pop() } else { None };
        let doors = match described.map(|fd| self.doors_of(&fd)).transpose() {
            Ok(doors) => doors.unwrap_or_default(),
            Err(why) => {
                error!(self.shared.log, "orphaned listeners can't be served: {why}");
                fds.clear();
                Vec::new()
            }
        };
        let doors = doors.into_iter().map(Some).chain(std::iter::repeat(None));
        self.offer(fds.into_iter().zip(doors).collect(), Owner::Rites(id));
    }

    /// Makes the doors that a description asks for; their numbers.
    fn doors_of(&mut self, description: &OwnedFd) -> Result<Vec<usize>, String> {
        let bytes = shm::read_all(description.as_fd(), DOCUMENT_LIMIT).map_err(|e| e.to_string())?;
        let listeners: Vec<Listen> = serde_json::from_slice(&bytes).map_err(|e| e.to_string())?;
        let doors = listeners.iter().map(|listen| Door::new(listen, &self.service.kind, &self.keyring));
        let doors = doors.collect::<Result<Vec<Door>, String>>()?;
        Ok(doors.into_iter().map(|door| self.conns.add_door(door)).collect())
    }

    /// Serves listeners that came through the channel, with the door of each, if it has one of its own.
    fn offer(&mut self, listeners: Vec<(OwnedFd, Option<usize>)>, owner: Owner) {
        if listeners.is_empty() {
            warn!(self.shared.log, "told to serve for {owner:?}, but no descriptor came");
        }
        let mut served = false;
        for (fd, door) in listeners {
            let address = listen::local_address(fd.as_fd()).ok();
            let tcp = address.is_some();
            let Some(index) = door.or_else(|| self.place_of(address)) else {
                error!(self.shared.log, "can't serve a listener for {owner:?}: it is none of this service's");
                continue;
            };
            let last_call = matches!(owner, Owner::Rites(_));
            let offer = Offer { fd, owner, index, exclusive: false, tcp, last_call };
            match self.acceptor.add(&mut self.conns, offer) {
                Ok(()) => served = true,
                Err(e) => error!(self.shared.log, "can't serve a listener for {owner:?}: {e}"),
            }
        }
        if let Owner::Rites(id) = owner
            && !served
        {
            // The master waits for it.
            self.report(&Report::Closed { rites: Some(id) });
        }
    }

    /// The place among the service's listeners of one that came through the channel; None if it is none of them.
    ///
    /// A port that the kernel chose is known by its IP address, unix sockets by being the only ones that have none: a
    /// service whose listeners can't be told apart so serves them by the same rules, or the first that fits.
    fn place_of(&self, address: Option<SocketAddr>) -> Option<usize> {
        let fits = |listen: &Listen, exactly: bool| match (&listen.address, address) {
            (Address::Tcp(of), Some(is)) => *of == is || !exactly && of.port() == 0 && of.ip() == is.ip(),
            (Address::Unix(_) | Address::Abstract(_), None) => true,
            _ => false,
        };
        let listeners = || self.service.listen.iter();
        let found = listeners().position(|listen| fits(listen, true));
        found.or_else(|| listeners().position(|listen| fits(listen, false)))
    }

    fn deliver_status(&mut self, fds: Vec<OwnedFd>, now: Moment) {
        let Some(fd) = fds.first() else {
            return warn!(self.shared.log, "a status document was promised, but no descriptor came");
        };
        match shm::read_all(fd.as_fd(), DOCUMENT_LIMIT) {
            Ok(document) => self.shared.status.deliver(document.into(), now),
            Err(e) => warn!(self.shared.log, "the status document can't be read: {e}"),
        }
    }
}
