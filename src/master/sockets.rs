//! The listening sockets: every one is made and kept here, and closed only when it has been served.
//!
//! A socket is known by its address and its place in the address's SO_REUSEPORT group (a shared
//! listener is a group of one). It is *named* while the plan in force wants it; when no longer named
//! it is fenced (TCP: new SYNs dropped, or steered to the rest of the group; unix: unlinked) and
//! served to its end by the workers that hold it, its *users*. The last to finish closes it; if the
//! last one dies instead, the socket is an orphan, and `policy` finds somebody.
//! Within a group sockets are closed from the highest place down, because the kernel moves the last
//! member into the gap (and with it the meaning of the steering program's index).

use super::modes;
use super::socket_files::{guard, unlink};
use crate::config::{Accept, Address, Config, Listen, Service};
use crate::model::{PlanId, Seat, ServiceName, WorkerId};
use crate::sys::listen::{self, FileId, Queue, TcpOptions};
use crate::sys::reuseport;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// How long the search for whoever has an address may hold up a master that serves.
const BUSY: Duration = Duration::from_millis(2);
/// The same at the start, when nobody waits but whoever started it.
const IDLE: Duration = Duration::from_millis(200);

/// Which socket: the address as configured, and the place in its group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    pub address: Address,
    pub place: u32,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.address, self.place)
    }
}

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) fd: OwnedFd,
    pub(super) service: ServiceName,
    /// What a config said of it last; an older image did not leave it.
    pub(super) listen: Option<Listen>,
    /// It has one socket per seat, so its place is a seat.
    pub(super) per_worker: bool,
    /// Unix socket files: which file is ours.
    pub(super) file: Option<FileId>,
    pub(super) named: bool,
    /// Bound for a plan that is not in force yet.
    pub(super) candidate: Option<PlanId>,
    /// Somebody has served what waited in it.
    pub(super) served: bool,
    pub(super) users: BTreeSet<WorkerId>,
    /// Unix sockets whose file was removed by hand: bound anew for this plan.
    pub(super) anew: Option<(PlanId, OwnedFd, FileId)>,
}

#[derive(Debug, Default)]
pub struct Sockets {
    pub(super) all: BTreeMap<Key, Socket>,
    /// Addresses whose group has a steering program.
    pub(super) steered: BTreeSet<Address>,
    pub(super) rites: u64,
    pub(super) last_rites: BTreeMap<u64, (WorkerId, Vec<Key>)>,
    /// Unix sockets whose file can't be put back, which has been said.
    pub(super) lost: BTreeSet<Address>,
}

/// The place of a seat's socket in its group.
pub(super) fn place(listen: &Listen, seat: Seat) -> u32 {
    match listen.accept {
        Accept::PerWorker => seat.0,
        Accept::Shared => 0,
    }
}

/// The sockets a service with this many seats needs.
fn keys_of(service: &Service, seats: u32) -> impl Iterator<Item = (&Listen, Key)> {
    service.listen.iter().flat_map(move |listen| {
        let places = if listen.accept == Accept::PerWorker { seats.max(1) } else { 1 };
        (0..places).map(move |place| (listen, Key { address: listen.address.clone(), place }))
    })
}

fn options(listen: &Listen) -> TcpOptions {
    TcpOptions { backlog: listen.backlog, ipv6_only: listen.ipv6_only, defer_accept: listen.defer_accept }
}

impl Sockets {
    /// How many sockets `open` would have to make.
    pub fn missing(&self, config: &Config, seats: &[(ServiceName, u32)]) -> usize {
        let count = |s: &Service, n: u32| keys_of(s, n).filter(|(_, k)| !self.all.contains_key(k)).count();
        services(config, seats).map(|(s, n)| count(s, n)).sum()
    }

    /// Binds what these services name and is not there yet. Nothing is left behind on failure.
    pub fn open(
        &mut self,
        plan: PlanId,
        config: &Config,
        seats: &[(ServiceName, u32)],
    ) -> Result<(), String> {
        for (service, count) in services(config, seats) {
            for (listen, key) in keys_of(service, count) {
                self.hold_back_newcomers(&key);
                if let Err(why) = self.open_one(Some(plan), service, listen, &key) {
                    self.abandon(plan);
                    return Err(why);
                }
            }
        }
        Ok(())
    }

    fn open_one(
        &mut self,
        candidate: Option<PlanId>,
        service: &Service,
        listen: &Listen,
        key: &Key,
    ) -> Result<(), String> {
        if let Some(socket) = self.all.get_mut(key) {
            if !socket.named {
                // On its way out, and wanted again: it must not be closed before the verdict.
                socket.candidate = candidate;
            }
            return self.replace_lost(candidate, service, listen, key);
        }
        let (fd, file) = self.make(service, listen, key)?;
        let socket = Socket {
            fd,
            service: ServiceName(service.name.clone()),
            listen: Some(listen.clone()),
            per_worker: listen.accept == Accept::PerWorker,
            file,
            named: false,
            candidate,
            served: false,
            users: BTreeSet::new(),
            anew: None,
        };
        self.all.insert(key.clone(), socket);
        Ok(())
    }

    /// Binds it for a service, in the mode that this one expects.
    pub(super) fn make(
        &self,
        service: &Service,
        listen: &Listen,
        key: &Key,
    ) -> Result<(OwnedFd, Option<FileId>), String> {
        let made = self.bind(listen, key).and_then(|(fd, file)| {
            modes::at_birth(&fd, service)?;
            Ok((fd, file))
        });
        made.map_err(|e| self.explain(service, &listen.address, &e))
    }

    fn bind(&self, listen: &Listen, key: &Key) -> io::Result<(OwnedFd, Option<FileId>)> {
        let owner = listen.owner.map_or((None, None), |o| (o.uid, o.gid));
        match &listen.address {
            Address::Tcp(address) => {
                let first = self.group(&key.address).next();
                let fd = match first {
                    Some((_, member)) => {
                        listen::tcp_join(listen::local_address(member.fd.as_fd())?, options(listen))?
                    }
                    None => listen::tcp(*address, options(listen), true)?,
                };
                Ok((fd, None))
            }
            Address::Udp(address) => Ok((listen::udp(*address, listen.ipv6_only)?, None)),
            Address::Unix(path) => {
                let (fd, file) = listen::unix(path, listen.backlog, listen.mode, owner)?;
                Ok((fd, Some(file)))
            }
            Address::Abstract(name) => Ok((listen::abstract_unix(name, listen.backlog)?, None)),
        }
    }

    fn explain(&self, service: &Service, address: &Address, error: &io::Error) -> String {
        let patience = if self.all.values().any(|s| s.named) { BUSY } else { IDLE };
        let holder = match error.kind() {
            io::ErrorKind::AddrInUse => listen::holder(&address.to_string(), patience),
            _ => None,
        };
        let held = holder.map_or_else(String::new, |(pid, name)| format!("; held by {name} (pid {pid})"));
        format!("cannot listen on {address} for service {}: {error}{held}", service.name)
    }

    pub(super) fn group<'a>(&'a self, address: &'a Address) -> impl Iterator<Item = (&'a Key, &'a Socket)> {
        let from = Key { address: address.clone(), place: 0 };
        self.all.range(from..).take_while(move |(k, _)| k.address == *address)
    }

    /// More seats for one service in force.
    pub fn open_seats(&mut self, service: &Service, seats: u32) -> Result<(), String> {
        let before: BTreeSet<Key> = self.all.keys().cloned().collect();
        for (listen, key) in keys_of(service, seats) {
            // What joins its group early and is closed again must not have been given connections.
            self.hold_back_newcomers(&key);
            if let Err(why) = self.open_one(None, service, listen, &key) {
                self.all.retain(|k, _| before.contains(k));
                return Err(why);
            }
        }
        for (_, key) in keys_of(service, seats) {
            if let Some(socket) = self.all.get_mut(&key) {
                socket.named = true;
                socket.served = false;
            }
        }
        service.listen.iter().for_each(|l| self.steer(&l.address));
        Ok(())
    }

    /// `config` is in force with these pools: what it does not name goes. What could not be changed of
    /// the sockets that stay comes back as sentences; they serve all the same.
    pub fn adopt(&mut self, plan: PlanId, config: &Config, seats: &[(ServiceName, u32)]) -> Vec<String> {
        let mut named: BTreeMap<Key, (&Service, &Listen)> = BTreeMap::new();
        for (service, count) in services(config, seats) {
            named.extend(keys_of(service, count).map(|(listen, key)| (key, (service, listen))));
        }
        let (mut gone, mut failed) = (Vec::new(), Vec::new());
        for (key, socket) in &mut self.all {
            match named.get(key) {
                Some((service, listen)) => failed.extend(keep(socket, plan, service, listen, key)),
                None if socket.named => gone.push(key.clone()),
                None => {}
            }
        }
        gone.iter().for_each(|key| self.unname(key));
        let addresses: BTreeSet<Address> = self.all.keys().map(|k| k.address.clone()).collect();
        addresses.iter().for_each(|address| self.steer(address));
        failed
    }

    /// The plan came to nothing: what was bound for it alone goes.
    pub fn abandon(&mut self, plan: PlanId) {
        let keys: Vec<Key> =
            self.all.iter().filter(|(_, s)| s.candidate == Some(plan)).map(|(k, _)| k.clone()).collect();
        for key in &keys {
            if let Some(socket) = self.all.get_mut(key) {
                socket.candidate = None;
            }
            self.unname(key);
        }
        let addresses: BTreeSet<&Address> = keys.iter().map(|k| &k.address).collect();
        addresses.into_iter().for_each(|address| self.steer(address));
        for (key, socket) in &mut self.all {
            if let Some((_, _, file)) = socket.anew.take_if(|(p, _, _)| *p == plan) {
                unlink(&key.address, file);
            }
        }
    }

    /// The pool shrank: seats from `keep` on go.
    pub fn retire(&mut self, service: &Service, keep: u32) {
        let mut keys = Vec::new();
        for listen in service.listen.iter().filter(|l| l.accept == Accept::PerWorker) {
            keys.extend(self.group(&listen.address).map(|(k, _)| k.clone()).filter(|k| k.place >= keep));
        }
        keys.iter().for_each(|key| self.unname(key));
        service.listen.iter().for_each(|l| self.steer(&l.address));
    }

    /// The service stops for good.
    pub fn fence(&mut self, service: &ServiceName) {
        let keys: Vec<Key> = self
            .all
            .iter()
            .filter(|(_, s)| s.named && s.service == *service)
            .map(|(k, _)| k.clone())
            .collect();
        keys.iter().for_each(|key| self.unname(key));
        let addresses: BTreeSet<&Address> = keys.iter().map(|k| &k.address).collect();
        addresses.into_iter().for_each(|a| self.steer(a));
    }

    fn unname(&mut self, key: &Key) {
        let Some(socket) = self.all.get_mut(key) else { return };
        socket.named = false;
        socket.served = false;
        if let Some(file) = socket.file.take() {
            unlink(&key.address, file);
        }
    }

    /// Sockets that join a group that serves get none of its connections until they are named: their
    /// workers may never come up, or the next socket may not be had. Called before each joins.
    fn hold_back_newcomers(&mut self, key: &Key) {
        if self.all.contains_key(key) || !matches!(key.address, Address::Tcp(_)) {
            return;
        }
        let named: Vec<&Socket> = self.group(&key.address).map(|(_, s)| s).filter(|s| s.named).collect();
        let count = u32::try_from(named.len()).unwrap_or(u32::MAX);
        // Where that can't be done newcomers get their share early, and it waits for their workers.
        if let Some(first) = named.first()
            && reuseport::steer(first.fd.as_fd(), count).is_ok()
        {
            self.steered.insert(key.address.clone());
        }
    }

    /// Sends new connections to the members that are still named; with none, to nobody.
    fn steer(&mut self, address: &Address) {
        if !matches!(address, Address::Tcp(_)) {
            return;
        }
        let members: Vec<(bool, BorrowedFd<'_>)> =
            self.group(address).map(|(_, s)| (s.named, s.fd.as_fd())).collect();
        let named = members.iter().filter(|(named, _)| *named).count();
        if named == 0 {
            for (_, fd) in members {
                // Without the fence the queue is served all the same, only less surely to its end.
                let _ = listen::fence(fd);
            }
        } else if let Some((_, first)) = members.first()
            && (named < members.len() || self.steered.contains(address))
        {
            let count = u32::try_from(named).unwrap_or(u32::MAX);
            if reuseport::steer(*first, count).is_ok() {
                self.steered.insert(address.clone());
            }
        }
    }

    /// Closes what has been served, from the highest place of each group down.
    pub fn close_served(&mut self) {
        let mut closing = Vec::new();
        let mut blocked: Option<Address> = None;
        for (key, socket) in self.all.iter().rev() {
            if blocked.as_ref() == Some(&key.address) {
                continue;
            }
            let done = !socket.named && socket.candidate.is_none() && socket.served;
            if done {
                closing.push(key.clone());
            } else {
                blocked = Some(key.address.clone());
            }
        }
        for key in &closing {
            self.all.remove(key);
            if self.group(&key.address).next().is_none() {
                self.steered.remove(&key.address);
            }
        }
    }

    /// What waits at one address, over all seats. Datagrams have no queue that could be told.
    pub fn queue_of(&self, address: &Address) -> Queue {
        let mut sum = Queue::default();
        if matches!(address, Address::Udp(_)) {
            return sum;
        }
        for (_, socket) in self.group(address).filter(|(_, s)| s.named) {
            // A figure for people: a socket that can't be asked counts as empty.
            let queue = listen::queue(socket.fd.as_fd()).unwrap_or_default();
            sum.waiting = sum.waiting.saturating_add(queue.waiting);
            sum.limit = sum.limit.saturating_add(queue.limit);
        }
        sum
    }

    /// What waits in every named socket: service, seat (if it has its own) and number.
    pub fn queues(&self) -> Vec<(ServiceName, Option<Seat>, u32)> {
        let waiting = |s: &Socket| listen::queue(s.fd.as_fd()).map_or(0, |q| q.waiting);
        self.all
            .iter()
            .filter(|(_, s)| s.named)
            .map(|(k, s)| (s.service.clone(), s.per_worker.then_some(Seat(k.place)), waiting(s)))
            .collect()
    }

    /// The address a listener is really bound to (`:0` has a port by then).
    pub fn bound(&self, address: &Address) -> Option<SocketAddr> {
        let (_, socket) = self.group(address).next()?;
        listen::local_address(socket.fd.as_fd()).ok()
    }

    /// Closes everything, unlinking the socket files that are ours.
    pub fn close_all(&mut self) {
        let keys: Vec<Key> = self.all.keys().cloned().collect();
        keys.iter().for_each(|key| self.unname(key));
        self.all.clear();
    }
}

fn services<'a>(
    config: &'a Config,
    seats: &'a [(ServiceName, u32)],
) -> impl Iterator<Item = (&'a Service, u32)> {
    let find = |name: &ServiceName| config.services.iter().find(|s| s.name == name.0);
    seats.iter().filter_map(move |(name, count)| find(name).map(|s| (s, *count)))
}

/// The plan names the socket. What could not be changed of it, in sentences.
fn keep(socket: &mut Socket, plan: PlanId, service: &Service, listen: &Listen, key: &Key) -> Vec<String> {
    let mut failed = Vec::new();
    if socket.candidate == Some(plan) {
        socket.candidate = None;
    }
    if !socket.named && matches!(key.address, Address::Tcp(_)) {
        // Named again before it was closed: the fence, if there is one, comes off.
        if let Err(e) = listen::unfence(socket.fd.as_fd()) {
            failed.push(format!("new connections to {} may go on being dropped: {e}", key.address));
        }
    }
    if let Some((_, fd, file)) = socket.anew.take_if(|(p, _, _)| *p == plan) {
        socket.file.into_iter().for_each(|old| unlink(&key.address, old));
        (socket.fd, socket.file) = (fd, Some(file));
    }
    socket.named = true;
    socket.served = false;
    (socket.service, socket.listen) = (ServiceName(service.name.clone()), Some(listen.clone()));
    socket.per_worker = listen.accept == Accept::PerWorker;
    let owner = listen.owner.map_or((None, None), |o| (o.uid, o.gid));
    let retuned = match (&key.address, socket.file) {
        (Address::Tcp(_), _) => listen::retune(socket.fd.as_fd(), options(listen)),
        (Address::Unix(path), Some(file)) => listen::unix_retune(path, file, listen.mode, owner),
        _ => Ok(()),
    };
    if let Err(e) = retuned {
        let (address, name) = (&key.address, &service.name);
        failed.push(format!("listener {address} of service {name} keeps its old settings: {e}"));
    }
    failed.extend(modes::at_adoption(&socket.fd, service, &key.address));
    failed.extend(guard(socket, &key.address, service.kind.exec().is_some()));
    failed
}
