//! Listening sockets, and bound UDP ones: how each kind is bound, tuned, measured and fenced.
//!
//! The master makes them before it forks and keeps them; workers accept from copies. All are
//! non-blocking (until a program wants it otherwise: `set_nonblocking`) and CLOEXEC. Unix socket files
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
mod tests {
    use super::super::net::accept;
    use super::super::testing::wait_until;
    use super::*;
    use std::net::TcpStream;

    const OPTIONS: TcpOptions = TcpOptions { backlog: 16, ipv6_only: true, defer_accept: Duration::ZERO };

    fn here() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    fn option<O: socket::GetSockOpt>(fd: &OwnedFd, name: O) -> O::Val {
        socket::getsockopt(fd, name).unwrap()
    }

    fn defer_accept_of(fd: &OwnedFd) -> i32 {
        let mut seconds: libc::c_int = -1;
        let mut len = size_of_val(&seconds) as libc::socklen_t;
        let place = (&raw mut seconds).cast();
        // SAFETY: `place` and `len` are an int of ours and its size.
        check(unsafe {
            libc::getsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, place, &raw mut len)
        })
        .unwrap();
        seconds
    }

    #[test]
    fn a_listener_is_born_ready_for_the_loop() {
        let fd = tcp(here(), OPTIONS, false).unwrap();
        let address = local_address(fd.as_fd()).unwrap();
        assert_ne!(address.port(), 0);
        assert!(option(&fd, sockopt::ReuseAddr) && !option(&fd, sockopt::ReusePort));
        assert_eq!(accept(fd.as_fd()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_ne!(nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_GETFD).unwrap() & libc::FD_CLOEXEC, 0);

        let _client = TcpStream::connect(address).unwrap();
        let mut accepted = None;
        wait_until("the connection", || {
            accepted = accept(fd.as_fd()).ok();
            accepted.is_some()
        });
        assert!(option(&accepted.unwrap().0, sockopt::TcpNoDelay), "inherited from the listener");
    }

    #[test]
    fn an_address_in_use_is_an_error_even_within_a_group() {
        let first = tcp(here(), OPTIONS, true).unwrap();
        let address = local_address(first.as_fd()).unwrap();
        for group in [false, true] {
            let error = tcp(address, OPTIONS, group).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
            assert!(error.to_string().contains(&format!("bind {address}")), "{error}");
        }
        let second = tcp_join(address, OPTIONS).unwrap();
        assert_eq!(local_address(second.as_fd()).unwrap(), address);

        let alone = tcp(here(), OPTIONS, false).unwrap();
        let taken = tcp_join(local_address(alone.as_fd()).unwrap(), OPTIONS).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse, "only a group is joined");
    }

    #[test]
    fn both_members_of_a_group_get_connections() {
        let first = tcp(here(), OPTIONS, true).unwrap();
        let address = local_address(first.as_fd()).unwrap();
        let second = tcp_join(address, OPTIONS).unwrap();
        let mut got = [0, 0];
        let mut clients = Vec::new();
        wait_until("a connection for each", || {
            clients.push(TcpStream::connect(address).unwrap());
            for (count, fd) in got.iter_mut().zip([&first, &second]) {
                *count += usize::from(accept(fd.as_fd()).is_ok());
            }
            got.iter().all(|&count| count > 0)
        });
    }

    #[test]
    fn ipv6_only_is_set_either_way() {
        for ipv6_only in [true, false] {
            let fd = tcp("[::]:0".parse().unwrap(), TcpOptions { ipv6_only, ..OPTIONS }, false).unwrap();
            assert_eq!(option(&fd, sockopt::Ipv6V6Only), ipv6_only);
            let port = local_address(fd.as_fd()).unwrap().port();
            assert_eq!(TcpStream::connect(("127.0.0.1", port)).is_ok(), !ipv6_only);
        }
    }

    #[test]
    fn the_queue_is_counted_and_the_backlog_can_change() {
        let fd = tcp(here(), OPTIONS, false).unwrap();
        let address = local_address(fd.as_fd()).unwrap();
        assert_eq!(queue(fd.as_fd()).unwrap(), Queue { waiting: 0, limit: 16 });
        let _clients: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
        wait_until("three to wait", || queue(fd.as_fd()).unwrap().waiting == 3);
        let longer = TcpOptions { backlog: 32, defer_accept: Duration::from_millis(900), ..OPTIONS };
        retune(fd.as_fd(), longer).unwrap();
        assert_eq!(queue(fd.as_fd()).unwrap(), Queue { waiting: 3, limit: 32 });
        assert_eq!(defer_accept_of(&fd), 1, "rounded up");
        retune(fd.as_fd(), OPTIONS).unwrap();
        assert_eq!(defer_accept_of(&fd), 0);
    }

    #[test]
    fn abstract_names() {
        let name = format!("masterd-listen-{}", std::process::id());
        let fd = abstract_unix(&name, 4).unwrap();
        assert_eq!(abstract_unix(&name, 4).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(queue(fd.as_fd()).unwrap(), Queue::default());
        let client =
            socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        socket::connect(client.as_raw_fd(), &UnixAddr::new_abstract(name.as_bytes()).unwrap()).unwrap();
        assert_eq!(queue(fd.as_fd()).unwrap(), Queue { waiting: 1, limit: 0 });
        assert!(local_address(fd.as_fd()).is_err());
        for bad in [String::new(), "x".repeat(108)] {
            assert_eq!(abstract_unix(&bad, 4).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        abstract_unix(&format!("{name:x<107}"), 4).unwrap();
    }

    #[test]
    fn a_udp_address_belongs_to_one_socket() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let fd = udp(any.parse().unwrap(), true).unwrap();
            let address = local_address(fd.as_fd()).unwrap();
            assert_ne!(address.port(), 0);
            assert_ne!(fcntl(&fd, FcntlArg::F_GETFD).unwrap() & libc::FD_CLOEXEC, 0);
            let mut byte = [0];
            assert_eq!(nix::unistd::read(&fd, &mut byte), Err(nix::errno::Errno::EAGAIN));
            let error = udp(address, true).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
            assert!(error.to_string().starts_with(&format!("bind udp:{address}: ")), "{error}");

            assert_eq!(queue(fd.as_fd()).unwrap(), Queue::default());
            let client = std::net::UdpSocket::bind(any).unwrap();
            client.send_to(b"x", address).unwrap();
            wait_until("the datagram", || queue(fd.as_fd()).unwrap() == Queue { waiting: 1, limit: 0 });
            assert!(!is_listening(fd.as_fd()).unwrap());
        }
        for ipv6_only in [true, false] {
            let fd = udp("[::]:0".parse().unwrap(), ipv6_only).unwrap();
            assert_eq!(option(&fd, sockopt::Ipv6V6Only), ipv6_only);
        }
    }

    fn shut_down(fd: &OwnedFd) {
        socket::shutdown(fd.as_raw_fd(), socket::Shutdown::Both).unwrap();
        assert!(!is_listening(fd.as_fd()).unwrap());
    }

    #[test]
    fn a_tcp_listener_that_was_shut_down_listens_again() {
        // With a port of the kernel's choice, and with one that was asked for (free a moment ago).
        let free = local_address(tcp(here(), OPTIONS, false).unwrap().as_fd()).unwrap();
        for (asked, group) in [(here(), false), (here(), true), (free, false), (free, true)] {
            let fd = tcp(asked, OPTIONS, group).unwrap();
            let address = local_address(fd.as_fd()).unwrap();
            let _member = group.then(|| tcp_join(address, OPTIONS).unwrap());
            shut_down(&fd);
            assert_eq!(TcpStream::connect(address).is_ok(), group);
            for backlog in [8, 4] {
                listen_again(fd.as_fd(), backlog).unwrap();
                assert!(is_listening(fd.as_fd()).unwrap());
                assert_eq!(queue(fd.as_fd()).unwrap().limit, backlog);
                assert_eq!(local_address(fd.as_fd()).unwrap(), address);
            }
            let mut clients = Vec::new();
            wait_until("a connection", || {
                clients.push(TcpStream::connect(address).unwrap());
                accept(fd.as_fd()).is_ok()
            });
        }
    }

    #[test]
    fn an_address_taken_meanwhile_is_not_listened_on_again() {
        let fd = tcp(here(), OPTIONS, false).unwrap();
        shut_down(&fd);
        let rival = tcp(local_address(fd.as_fd()).unwrap(), OPTIONS, false).unwrap();
        let error = listen_again(fd.as_fd(), 8).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
        drop(rival);
        listen_again(fd.as_fd(), 8).unwrap();
    }

    #[test]
    fn a_unix_listener_that_was_shut_down_stays_so() {
        let name = format!("masterd-shut-{}", std::process::id());
        let unix = abstract_unix(&name, 4).unwrap();
        listen_again(unix.as_fd(), 4).unwrap();
        assert!(is_listening(unix.as_fd()).unwrap());
        shut_down(&unix);
        assert_eq!(listen_again(unix.as_fd(), 8).unwrap_err().kind(), io::ErrorKind::Unsupported);
        // What the kernel itself would have said, and what came of it.
        listen(unix.as_fd(), 8).unwrap();
        let client =
            socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        let address = UnixAddr::new_abstract(name.as_bytes()).unwrap();
        assert_eq!(socket::connect(client.as_raw_fd(), &address), Err(nix::errno::Errno::ECONNREFUSED));
    }
}
