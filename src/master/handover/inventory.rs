//! Every descriptor that crosses to another image, by name: the one list that writing, keeping open,
//! closing on exec and taking over go by.
//!
//! What is not in it ends with the image: the epoll instance, the signalfd, pidfds (children are still
//! ours: they are opened again by pid), config children, maps.

use crate::master::turn::Shell;
use crate::model::fleet::UpgradeStep;
use crate::model::{Generation, WorkerId};
use crate::sys::exec;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

pub const LOG: &str = "log";
pub const CONTROL: &str = "control";
pub const PID_FILE: &str = "pid-file";
pub const SOCKET_LOCK: &str = "socket-lock";
pub const TOTALS: &str = "totals";

/// By its path.
pub fn access_log(path: &std::path::Path) -> String {
    format!("access-log {}", path.display())
}

pub fn listener(key: impl std::fmt::Display) -> String {
    format!("listener {key}")
}

pub fn anew(key: impl std::fmt::Display) -> String {
    format!("listener-anew {key}")
}

pub fn slot(worker: WorkerId) -> String {
    format!("slot {worker}")
}

pub fn channel(worker: WorkerId) -> String {
    format!("channel {worker}")
}

pub fn order(worker: WorkerId, order: usize, n: usize) -> String {
    format!("order {worker} {order} {n}")
}

pub fn client(client: u64) -> String {
    format!("client {client}")
}

/// One of them. `of_trial`: it belongs to a generation that ends with its image, and to nobody else.
struct Item<'a> {
    name: String,
    fd: BorrowedFd<'a>,
    of_trial: bool,
}

/// Visits every descriptor that crosses.
fn each(shell: &Shell, visit: &mut dyn FnMut(&Item<'_>)) {
    let mut plain = |name: &str, fd: BorrowedFd<'_>| {
        visit(&Item { name: name.to_owned(), fd, of_trial: false });
    };
    plain(CONTROL, shell.control.as_fd());
    plain(SOCKET_LOCK, shell.socket_lock.fd.as_fd());
    plain(TOTALS, shell.totals.as_fd());
    if let Some(file) = &shell.pid_file {
        plain(PID_FILE, file.fd.as_fd());
    }
    shell.sink.with_descriptor(|fd| plain(LOG, fd));
    for (path, fd) in shell.access_logs.each() {
        plain(&access_log(path), fd);
    }
    for (id, fd) in shell.control.descriptors() {
        plain(&client(id.0), fd);
    }
    let trial = trial_of(shell);
    for (key, socket) in &shell.sockets.all {
        let own_plan = shell.fleet.rollover.as_ref().and_then(|r| r.plan);
        let of_trial = trial.is_some() && socket.candidate.is_some() && socket.candidate == own_plan;
        visit(&Item { name: listener(key), fd: socket.fd.as_fd(), of_trial });
        if let Some((_, fd, _)) = &socket.anew {
            visit(&Item { name: anew(key), fd: fd.as_fd(), of_trial: trial.is_some() });
        }
    }
    for (id, handle) in &shell.crew.handles {
        let generation = shell.fleet.workers.get(id).map(|w| w.generation);
        let of_trial = trial.is_some() && generation == trial;
        visit(&Item { name: slot(*id), fd: handle.slot.as_fd(), of_trial: false });
        visit(&Item { name: channel(*id), fd: handle.channel.as_fd(), of_trial });
        for (n, (_, fds)) in handle.unsent.iter().enumerate() {
            for (m, fd) in fds.iter().enumerate() {
                visit(&Item { name: order(*id, n, m), fd: fd.as_fd(), of_trial });
            }
        }
    }
}

/// The generation whose workers must see their channel end if this image goes unexpectedly.
fn trial_of(shell: &Shell) -> Option<Generation> {
    shell.fleet.upgrade.as_ref().filter(|u| u.step == UpgradeStep::Trial)?;
    shell.fleet.rollover.as_ref().map(|r| r.generation)
}

/// The numbers by name.
pub fn numbers(shell: &Shell) -> BTreeMap<String, RawFd> {
    let mut all = BTreeMap::new();
    each(shell, &mut |item| {
        all.insert(item.name.clone(), item.fd.as_raw_fd());
    });
    all
}

/// Which descriptors are to be there for the next image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survive {
    /// None: this image stays.
    Nothing,
    /// Those that an image which ends unexpectedly leaves behind.
    AllButTrial,
    Everything,
}

/// Sets FD_CLOEXEC of all of them accordingly.
pub fn survive(shell: &Shell, which: Survive) -> io::Result<()> {
    let mut result = Ok(());
    each(shell, &mut |item| {
        let stays = match which {
            Survive::Nothing => false,
            Survive::AllButTrial => !item.of_trial,
            Survive::Everything => true,
        };
        if let Err(e) = exec::inherit(item.fd, stays)
            && result.is_ok()
        {
            result = Err(e);
        }
    });
    result
}

/// Where a candidate gets its copies: the sockets and the pages, and nothing that could be written to.
pub fn for_candidate(shell: &Shell) -> Vec<RawFd> {
    let mut all = Vec::new();
    each(shell, &mut |item| {
        if item.name == TOTALS || ["listener ", "slot "].iter().any(|kind| item.name.starts_with(kind)) {
            all.push(item.fd.as_raw_fd());
        }
    });
    all
}

/// What the image before this one left open, by name; each is taken once.
#[derive(Debug)]
pub struct Inherited(BTreeMap<String, OwnedFd>);

impl Inherited {
    /// Takes over all that is open of `fds`. To be called before this image opens anything.
    pub fn adopt(fds: &BTreeMap<String, RawFd>) -> Inherited {
        let mut owned = exec::adopt(fds.values().copied());
        Inherited(fds.iter().filter_map(|(name, n)| Some((name.clone(), owned.remove(n)?))).collect())
    }

    pub fn take(&mut self, name: &str) -> io::Result<OwnedFd> {
        let missing = || io::Error::other(format!("descriptor {name:?} was not handed over"));
        self.0.remove(name).ok_or_else(missing)
    }

    /// Whether it is there to be taken.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The names that nobody has taken; they are closed with this.
    pub fn unclaimed(self) -> Vec<String> {
        self.0.into_keys().collect()
    }
}
