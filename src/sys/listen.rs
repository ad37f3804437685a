//! Listening sockets, and bound UDP ones: how each kind is bound, tuned, measured and fenced.
//!
//! The master makes them before it forks and keeps them; workers accept from copies. All are born
//! non-blocking (`set_nonblocking` for those of programs that want it otherwise) and CLOEXEC. Unix socket files
//! live in `socket_file`, the fence in `filter`, the search for whoever has an address already in
//! `holder`; they are called from here.
//! Errors keep the kind of the kernel's (AddrInUse, AddrNotAvailable, PermissionDenied) and name the
//! address. Never: accepts, retries a bind, unlinks what is not ours.

pub use super::filter::{fence, unfence, unfence_accepted};
pub use super::holder::holder;
pub use super::socket_file::{FileId, unix, unix_is_ours, unix_retune, unix_unlink};

use super::failure::{Tried, check, uninterrupted};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage, UnixAddr, sockopt};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Options of a TCP listener.
#[derive(Clone, Copy, Debug)]
pub struct TcpOptions {
    pub backlog: u32,
    /// IPv6 only; set either way, since the default is a sysctl.
    pub ipv6_only: bool,
    /// TCP_DEFER_ACCEPT, rounded up to whole seconds; zero is off.
    pub defer_accept: Duration,
}

/// bind+listen, non-blocking, CLOEXEC, SO_REUSEADDR, TCP_NODELAY (accepted sockets inherit it).
///
/// With `group` it is the first of a SO_REUSEPORT group: bound without the option, so that an address
/// in use is an error even where the other socket has it, and given it only once it listens. Given
/// earlier, two rivals that are both between bind and listen would share the address: SO_REUSEADDR
/// lets both bind as long as neither listens. socket(7), tcp(7).
pub fn tcp(address: SocketAddr, o: TcpOptions, group: bool) -> io::Result<OwnedFd> {
    let fd = tcp_socket(address, o)?;
    bind_tcp(&fd, address)?;
    listen(fd.as_fd(), o.backlog).tried(|| format!("listen on {address}"))?;
    if group {
        socket::setsockopt(&fd, sockopt::ReusePort, &true)
            .tried(|| format!("set SO_REUSEPORT on {address}"))?;
    }
    Ok(fd)
}

/// A further member of the SO_REUSEPORT group at `address` (the concrete address of the first
/// member, see `local_address`). Same effective uid and network namespace as the first. socket(7).
pub fn tcp_join(address: SocketAddr, o: TcpOptions) -> io::Result<OwnedFd> {
    let fd = tcp_socket(address, o)?;
    socket::setsockopt(&fd, sockopt::ReusePort, &true).tried(|| format!("set SO_REUSEPORT on {address}"))?;
    bind_tcp(&fd, address)?;
    listen(fd.as_fd(), o.backlog).tried(|| format!("listen on {address}"))?;
    Ok(fd)
}

fn tcp_socket(address: SocketAddr, o: TcpOptions) -> io::Result<OwnedFd> {
    let act = || format!("make a socket for {address}");
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket::socket(family, SockType::Stream, flags, None).tried(act)?;
    socket::setsockopt(&fd, sockopt::ReuseAddr, &true).tried(act)?;
    socket::setsockopt(&fd, sockopt::TcpNoDelay, &true).tried(act)?;
    if address.is_ipv6() {
        socket::setsockopt(&fd, sockopt::Ipv6V6Only, &o.ipv6_only).tried(act)?;
    }
    set_defer_accept(fd.as_fd(), o.defer_accept).tried(act)?;
    Ok(fd)
}

fn bind_tcp(fd: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(address)).tried(|| format!("bind {address}"))
}

/// listen(2); a second call on the same socket only changes its backlog. The kernel caps it at
/// net.core.somaxconn.
pub(super) fn listen(fd: BorrowedFd<'_>, backlog: u32) -> io::Result<()> {
    let backlog = libc::c_int::try_from(backlog).unwrap_or(libc::c_int::MAX);
    // SAFETY: plain numbers.
    check(unsafe { libc::listen(fd.as_raw_fd(), backlog) }).map(drop)
}

fn set_defer_accept(fd: BorrowedFd<'_>, wait: Duration) -> io::Result<()> {
    let up = u64::from(wait.subsec_nanos() > 0);
    let seconds = libc::c_int::try_from(wait.as_secs().saturating_add(up)).unwrap_or(libc::c_int::MAX);
    let len = size_of_val(&seconds) as libc::socklen_t;
    let value = (&raw const seconds).cast();
    // SAFETY: `value` points to an int of ours, and `len` is its size.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, value, len) })
        .map(drop)
}

/// Sets backlog (listen(2) again) and defer_accept on a TCP listener that stays; `ipv6_only` can't
/// change on a bound socket and is not looked at.
pub fn retune(fd: BorrowedFd<'_>, o: TcpOptions) -> io::Result<()> {
    let act = || format!("retune listener {}", fd.as_raw_fd());
    set_defer_accept(fd, o.defer_accept).tried(act)?;
    listen(fd, o.backlog).tried(act)
}

/// Abstract unix listener; `name` without the leading NUL, at most 107 bytes. unix(7).
///
/// It has no file and no permissions: everybody in the network namespace may connect.
pub fn abstract_unix(name: &str, backlog: u32) -> io::Result<OwnedFd> {
    let act = || format!("listen on unix:@{name}");
    if name.is_empty() || name.len() > super::socket_file::LONGEST {
        let reason =
            format!("the name has {} bytes, 1 to {} are possible", name.len(), super::socket_file::LONGEST);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason)).tried(act);
    }
    let address = UnixAddr::new_abstract(name.as_bytes()).tried(act)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None).tried(act)?;
    socket::bind(fd.as_raw_fd(), &address).tried(act)?;
    listen(fd.as_fd(), backlog).tried(act)?;
    Ok(fd)
}

/// A UDP socket bound to an address: non-blocking, CLOEXEC, and the address all its own.
///
/// Without SO_REUSEADDR, with which two sockets could be bound to one address and the later would get
/// all that comes in; an address in use is AddrInUse. udp(7), socket(7). `ipv6_only` as for TCP.
pub fn udp(address: SocketAddr, ipv6_only: bool) -> io::Result<OwnedFd> {
    let act = || format!("bind udp:{address}");
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket::socket(family, SockType::Datagram, flags, None).tried(act)?;
    if address.is_ipv6() {
        socket::setsockopt(&fd, sockopt::Ipv6V6Only, &ipv6_only).tried(act)?;
    }
    socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(address)).tried(act)?;
    Ok(fd)
}

/// Whether a socket listens, and clients can still get in. socket(7), SO_ACCEPTCONN.
///
/// A unix listener after shutdown(2) says of itself that it listens; that it hangs up gives it away.
pub fn is_listening(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let act = || format!("look at descriptor {}", fd.as_raw_fd());
    Ok(socket::getsockopt(&fd, sockopt::AcceptConn).tried(act)? && !hangs_up(fd).tried(act)?)
}

/// Has a TCP listener listen again, at its address, that somebody who shares it has shut down
/// (shutdown(2)); on one that listens this only sets the backlog.
///
/// What waited in its queue was reset at the shutdown. Errors: AddrInUse if somebody has taken the
/// address since (SO_REUSEADDR lets them, as long as nobody listens), and Unsupported for a unix socket,
/// which refuses clients ever after, whatever listen(2) says: then it takes a socket bound anew.
pub fn listen_again(fd: BorrowedFd<'_>, backlog: u32) -> io::Result<()> {
    let act = || format!("listen again on descriptor {}", fd.as_raw_fd());
    match local_address(fd) {
        Ok(address) => keep_port(fd, address).tried(act)?,
        Err(_) if hangs_up(fd).tried(act)? => {
            let reason = "a unix socket that was shut down stays so; bind a new one";
            return Err(io::Error::new(io::ErrorKind::Unsupported, reason)).tried(act);
        }
        Err(_) => {}
    }
    listen(fd, backlog).tried(act)
}

/// A port that the kernel has chosen is given up at the shutdown, though the socket goes on naming it, and
/// listen(2) would choose another. Binding takes it back; a socket that still has its port says EINVAL.
fn keep_port(fd: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()> {
    match socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) | Err(nix::errno::Errno::EINVAL) => Ok(()),
        Err(errno) => Err(errno).tried(|| format!("bind {address}")),
    }
}

/// Sets or clears O_NONBLOCK. It belongs to the socket, not to the descriptor: all who share it get it.
/// fcntl(2).
pub fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let act = || format!("set O_NONBLOCK of descriptor {} to {on}", fd.as_raw_fd());
    let mut flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).tried(act)?);
    flags.set(OFlag::O_NONBLOCK, on);
    fcntl(fd, FcntlArg::F_SETFL(flags)).tried(act).map(drop)
}

/// Whether O_NONBLOCK is set. F_GETFL, fcntl(2).
pub fn is_nonblocking(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let flags = fcntl(fd, FcntlArg::F_GETFL).tried(|| format!("ask for the mode of {}", fd.as_raw_fd()))?;
    Ok(OFlag::from_bits_retain(flags).contains(OFlag::O_NONBLOCK))
}

/// The bound address of a TCP or UDP socket (to learn the port of `:0`). getsockname(2).
pub fn local_address(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let act = || format!("ask for the address of descriptor {}", fd.as_raw_fd());
    let address: SockaddrStorage = socket::getsockname(fd.as_raw_fd()).tried(act)?;
    let v4 = address.as_sockaddr_in().map(|a| SocketAddr::V4((*a).into()));
    let v6 = address.as_sockaddr_in6().map(|a| SocketAddr::V6((*a).into()));
    v4.or(v6)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is no TCP or UDP socket"))
        .tried(act)
}

/// How full a listener's queue is, in connections (or, for UDP, whether anything waits).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    pub waiting: u32,
    /// 0 where the kernel does not tell.
    pub limit: u32,
}

/// Waiting connections and the limit: TCP_INFO (tcpi_unacked, tcpi_sacked) on a listening TCP socket.
/// For unix and UDP sockets: 1 if poll(2) says readable else 0, limit 0.
pub fn queue(fd: BorrowedFd<'_>) -> io::Result<Queue> {
    let act = || format!("ask for the queue of listener {}", fd.as_raw_fd());
    // SAFETY: all zeroes is a valid tcp_info: it is plain numbers.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = size_of_val(&info) as libc::socklen_t;
    let place = (&raw mut info).cast();
    // SAFETY: `place` and `len` are a tcp_info of ours and its size; the kernel writes no more.
    let asked = check(unsafe {
        libc::getsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, place, &raw mut len)
    });
    match asked {
        Ok(_) => Ok(Queue { waiting: info.tcpi_unacked, limit: info.tcpi_sacked }),
        // Unix sockets say the one, UDP sockets the other.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOPROTOOPT)) => {
            Ok(Queue { waiting: u32::from(readable(fd).tried(act)?), limit: 0 })
        }
        Err(error) => Err(error).tried(act),
    }
}

fn readable(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(poll(fd)? & libc::POLLIN != 0)
}

/// Whether a socket was shut down for reading. poll(2), POLLRDHUP.
fn hangs_up(fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(poll(fd)? & libc::POLLRDHUP != 0)
}

/// What poll(2) says at this moment about reading.
fn poll(fd: BorrowedFd<'_>) -> io::Result<libc::c_short> {
    let mut watch = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN | libc::POLLRDHUP, revents: 0 };
    // SAFETY: one pollfd of ours, and the count says one.
    uninterrupted(|| check(unsafe { libc::poll(&raw mut watch, 1, 0) }))?;
    Ok(watch.revents)
}

#[cfg(test)]
mod tests;
