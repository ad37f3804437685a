//! Who holds which listening socket: handed out at the spawn, let go at the drain, served to the end.
//!
//! The other half of `sockets`: that one decides nothing but what is named, this one counts users.
//! A socket that is not named and loses its last user unserved is an orphan.

use super::sockets::{Key, Socket, Sockets, place};
use crate::config::{Listen, Service};
use crate::model::{PlanId, Seat, ServiceName, WorkerId};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Sockets nobody names and nobody serves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Orphan {
    pub service: ServiceName,
    pub seat: Option<Seat>,
}

/// Somebody serves sockets to their end.
#[derive(Debug)]
pub struct Rites<'a> {
    pub id: u64,
    pub fds: Vec<BorrowedFd<'a>>,
    /// What a config said last of each; None if that is not known of all.
    pub listeners: Option<Vec<&'a Listen>>,
}

impl Sockets {
    /// The listeners of a seat, in the order of the config, noting that `worker` holds them.
    pub fn hand_out(
        &mut self,
        plan: PlanId,
        service: &Service,
        seat: Seat,
        worker: WorkerId,
    ) -> io::Result<Vec<OwnedFd>> {
        let mut fds = Vec::new();
        for listen in &service.listen {
            let key = Key { address: listen.address.clone(), place: place(listen, seat) };
            let Some(socket) = self.all.get_mut(&key) else {
                return Err(io::Error::other(format!("no socket for {} seat {seat}", listen.address)));
            };
            let anew = socket.anew.as_ref().filter(|(p, _, _)| *p == plan);
            let fd = anew.map_or(socket.fd.as_fd(), |(_, fd, _)| fd.as_fd());
            fds.push(crate::sys::fd::dup_cloexec(fd)?);
            socket.users.insert(worker);
        }
        Ok(fds)
    }

    /// A draining worker lets go of its listeners, but for the last calls: their indices.
    pub fn drain(&mut self, service: &Service, seat: Seat, worker: WorkerId) -> Vec<usize> {
        let mut last_call = Vec::new();
        for (index, listen) in service.listen.iter().enumerate() {
            let key = Key { address: listen.address.clone(), place: place(listen, seat) };
            let Some(socket) = self.all.get_mut(&key) else { continue };
            if socket.named || socket.candidate.is_some() {
                socket.users.remove(&worker);
            } else {
                last_call.push(index);
            }
        }
        last_call
    }

    /// The TCP listeners of one seat, for a sibling.
    pub fn for_rescue(&self, service: &ServiceName, seat: Seat) -> Vec<BorrowedFd<'_>> {
        let ours =
            |k: &Key, s: &Socket| s.per_worker && s.service == *service && k.place == seat.0 && s.named;
        self.all.iter().filter(|(k, s)| ours(k, s)).map(|(_, s)| s.fd.as_fd()).collect()
    }

    fn is_orphan(socket: &Socket) -> bool {
        !socket.named && socket.candidate.is_none() && socket.users.is_empty() && !socket.served
    }

    fn orphan_of(key: &Key, socket: &Socket) -> Orphan {
        let seat = socket.per_worker.then_some(Seat(key.place));
        Orphan { service: socket.service.clone(), seat }
    }

    /// Sockets that need somebody to serve what waits in them.
    pub fn orphans(&self) -> BTreeSet<Orphan> {
        self.all.iter().filter(|(_, s)| Self::is_orphan(s)).map(|(k, s)| Self::orphan_of(k, s)).collect()
    }

    /// `to` serves the orphans to their end. With no `to` they count as served.
    pub fn give_rites(&mut self, orphan: &Orphan, to: Option<WorkerId>) -> Rites<'_> {
        self.rites += 1;
        let mut keys = Vec::new();
        for (key, socket) in &mut self.all {
            if !Self::is_orphan(socket) || Self::orphan_of(key, socket) != *orphan {
                continue;
            }
            socket.users.extend(to);
            socket.served = to.is_none();
            keys.push(key.clone());
        }
        if let Some(worker) = to {
            self.last_rites.insert(self.rites, (worker, keys.clone()));
        }
        let sockets = || keys.iter().filter_map(|k| self.all.get(k));
        let listeners = sockets().map(|s| s.listen.as_ref()).collect();
        Rites { id: self.rites, fds: sockets().map(|s| s.fd.as_fd()).collect(), listeners }
    }

    /// The worker has served and closed the listeners of its last call, or of these rites.
    pub fn closed_by(&mut self, worker: WorkerId, rites: Option<u64>) {
        let only: Option<Vec<Key>> = match rites {
            None => None,
            Some(id) => match self.last_rites.remove(&id) {
                Some((owner, keys)) if owner == worker => Some(keys),
                // A made-up number, or somebody else's: nothing happens.
                Some(other) => {
                    self.last_rites.insert(id, other);
                    return;
                }
                None => return,
            },
        };
        for (key, socket) in &mut self.all {
            let meant = only.as_ref().is_none_or(|keys| keys.contains(key));
            if meant && socket.users.remove(&worker) && socket.users.is_empty() && !socket.named {
                socket.served = true;
            }
        }
    }

    /// Whether the worker holds a socket that is named: for one that drains, somebody else's.
    pub fn holds_named(&self, worker: WorkerId) -> bool {
        self.all.values().any(|s| s.named && s.users.contains(&worker))
    }

    /// Takes back the rites of sockets that are named again: who performs them, and their numbers.
    pub fn end_rites(&mut self) -> Vec<(WorkerId, u64)> {
        let named = |keys: &[Key]| keys.iter().any(|k| self.all.get(k).is_some_and(|s| s.named));
        let over = self.last_rites.iter().filter(|(_, (_, keys))| named(keys));
        let over: Vec<(WorkerId, u64)> = over.map(|(id, (worker, _))| (*worker, *id)).collect();
        for (worker, id) in &over {
            for key in self.last_rites.remove(id).map(|(_, keys)| keys).unwrap_or_default() {
                if let Some(socket) = self.all.get_mut(&key) {
                    socket.users.remove(worker);
                }
            }
        }
        over
    }

    /// The worker is gone, whatever it held.
    pub fn forget(&mut self, worker: WorkerId) {
        self.last_rites.retain(|_, (owner, _)| *owner != worker);
        for socket in self.all.values_mut() {
            socket.users.remove(&worker);
        }
    }
}
