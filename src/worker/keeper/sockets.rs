//! The sockets of a program: what they are called, and what is seen of them.
//!
//! The keeper keeps a copy of each, to know it by its inode, to see what waits in it, and to make it
//! listen again when a program has shut it down for all. A copy that is kept keeps the socket open, so it goes as
//! soon as nobody needs it. Never: accepts, changes a mode that others share.

use super::readiness::Seen;
use crate::config::{Address, Listen};
use crate::sys::listen;
use crate::sys::onlooker::{self, Sight};
use crate::sys::sock_diag::UnixName;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

#[derive(Debug)]
pub struct Socket {
    /// `None` when it has been let go.
    pub fd: Option<OwnedFd>,
    pub inode: u64,
    pub name: String,
    /// As a program would write it; the port is the real one.
    pub address: String,
    pub kind: Kind,
    backlog: u32,
    /// How long its queue may become, as the kernel has made it of the backlog; 0 where it does not tell.
    limit: u32,
    /// It can't be made to listen again, which has been said.
    lost: bool,
}

/// What connections of a socket are found by.
#[derive(Clone, Debug)]
pub enum Kind {
    Tcp(SocketAddr),
    Udp,
    Unix(UnixName),
}

impl Socket {
    /// Takes an inherited socket.
    pub fn new(fd: OwnedFd, listen: &Listen) -> io::Result<Socket> {
        let (address, kind) = match &listen.address {
            Address::Tcp(_) => {
                let real = listen::local_address(fd.as_fd())?;
                (real.to_string(), Kind::Tcp(real))
            }
            Address::Udp(_) => (listen::local_address(fd.as_fd())?.to_string(), Kind::Udp),
            Address::Unix(path) => (path.display().to_string(), Kind::Unix(UnixName::Path(path.clone()))),
            Address::Abstract(name) => (format!("@{name}"), Kind::Unix(UnixName::Abstract(name.clone()))),
        };
        let inode = onlooker::inode(fd.as_fd())?;
        let limit = listen::queue(fd.as_fd()).unwrap_or_default().limit;
        let (fd, name, backlog) = (Some(fd), listen.name.clone(), listen.backlog);
        Ok(Socket { fd, inode, name, address, kind, backlog, limit, lost: false })
    }

    /// Whether connections wait in its queue; what can't be asked has none.
    pub fn has_waiting(&self) -> bool {
        let Some(fd) = self.fd.as_ref().filter(|_| !matches!(self.kind, Kind::Udp)) else { return false };
        listen::queue(fd.as_fd()).is_ok_and(|queue| queue.waiting > 0)
    }

    /// A program can shut a socket down for everybody who has it. If that has happened, and it was not said
    /// before: whether it listens again.
    pub fn revive(&mut self) -> Option<io::Result<()>> {
        let fd = self.fd.as_ref().filter(|_| !self.lost && !matches!(self.kind, Kind::Udp))?;
        if listen::is_listening(fd.as_fd()).unwrap_or(true) {
            // listen(2), which many programs call on what they inherit, changes the queue of all who share it.
            if listen::queue(fd.as_fd()).is_ok_and(|queue| queue.limit != self.limit) {
                return listen::listen_again(fd.as_fd(), self.backlog).err().map(Err);
            }
            return None;
        }
        let revived = listen::listen_again(fd.as_fd(), self.backlog);
        self.lost = revived.is_err();
        Some(revived)
    }
}

/// What is seen of each, by its address.
pub fn seen(sockets: &[Socket], family: &[i32]) -> Vec<(String, Seen)> {
    let inodes: Vec<u64> = sockets.iter().map(|socket| socket.inode).collect();
    let sights = onlooker::look(family, &inodes);
    let of = |socket: &Socket| {
        let sight = sights.iter().find(|(inode, _)| *inode == socket.inode).map(|(_, sight)| sight);
        match sight {
            Some(Sight::Waiting) => Seen::Waiting,
            Some(Sight::Held) => Seen::Held,
            Some(Sight::Nobody) | None => Seen::Nobody,
            Some(Sight::Hidden(why)) => Seen::Hidden(why.clone()),
        }
    };
    sockets.iter().map(|socket| (socket.address.clone(), of(socket))).collect()
}
