//! Connected sockets: accept, read, write, and the client side of the control socket.
//!
//! Called by workers for every connection, so errors are the kernel's own and unwrapped (`WouldBlock`
//! costs nothing), interrupted calls are repeated here, and no call waits: each passes MSG_DONTWAIT,
//! whatever O_NONBLOCK says. `connect_unix` is for the command line and does wait, up to its timeout.
//! Never: raises SIGPIPE.

use super::failure::{Tried, check, check_size, uninterrupted};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, sockopt};
use nix::sys::time::TimeVal;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Tcp(SocketAddr),
    Unix,
}

/// accept4(SOCK_NONBLOCK|SOCK_CLOEXEC). WouldBlock when the queue is empty.
///
/// Connections that failed while they waited (accept(2): ECONNABORTED, EPROTO, ENETDOWN and their
/// kin) are passed over, each one used up. EMFILE, ENFILE, ENOBUFS and ENOMEM come back as they are.
/// The listener must be non-blocking (`listen::is_nonblocking`), or this waits for the next connection.
pub fn accept(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, Peer)> {
    loop {
        match accept_once(fd) {
            Err(error) if is_the_connections_own(&error) => {}
            other => return other,
        }
    }
}

fn accept_once(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, Peer)> {
    // SAFETY: all zeroes is a valid sockaddr_storage: it is plain bytes and a family of 0.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut len = size_of_val(&storage) as libc::socklen_t;
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: `storage` and its true length are ours and live through the call.
    let n = check(unsafe { libc::accept4(fd.as_raw_fd(), (&raw mut storage).cast(), &raw mut len, flags) })?;
    // SAFETY: the kernel has just made this number for us.
    let accepted = unsafe { OwnedFd::from_raw_fd(n) };
    Ok((accepted, peer_of(&storage)))
}

/// An error of the connection at the head of the queue, not of the listener or of this process.
/// EPERM is a firewall's word (accept(2)), or that of a security module.
fn is_the_connections_own(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EINTR
                | libc::ECONNABORTED
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENONET
                | libc::ENOPROTOOPT
                | libc::ETIMEDOUT
                | libc::EPERM
        )
    )
}

/// An error of `accept` that no waiting ends: the descriptor is no listener, or not any more
/// (somebody who shares it has called shutdown(2)).
pub fn is_the_listeners_own(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EBADF | libc::ENOTSOCK))
}

fn peer_of(storage: &libc::sockaddr_storage) -> Peer {
    let start: *const libc::sockaddr_storage = storage;
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: a sockaddr_storage is big and aligned enough for every address type, and the
            // family says that the kernel wrote this one.
            let v4 = unsafe { &*start.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Peer::Tcp(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*start.cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            // An IPv4 client of a listener for both is an IPv4 client.
            Peer::Tcp(match ip.to_ipv4_mapped() {
                Some(v4) => SocketAddrV4::new(v4, port).into(),
                None => SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into(),
            })
        }
        _ => Peer::Unix,
    }
}

/// recv(MSG_DONTWAIT). Ok(0) is the peer's end (or an empty `buf`).
pub fn recv(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    receive(fd, buf, libc::MSG_DONTWAIT)
}

/// recv(MSG_PEEK|MSG_DONTWAIT): the same bytes come again.
pub fn peek(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    receive(fd, buf, libc::MSG_DONTWAIT | libc::MSG_PEEK)
}

fn receive(fd: BorrowedFd<'_>, buf: &mut [u8], flags: libc::c_int) -> io::Result<usize> {
    uninterrupted(|| {
        // SAFETY: pointer and length are those of `buf`, exclusively ours through the call.
        check_size(unsafe { libc::recv(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), flags) })
    })
}

/// send(MSG_NOSIGNAL|MSG_DONTWAIT); the count may be short.
pub fn send(fd: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
    uninterrupted(|| {
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        // SAFETY: pointer and length are those of `buf`, which lives through the call.
        check_size(unsafe { libc::send(fd.as_raw_fd(), buf.as_ptr().cast(), buf.len(), flags) })
    })
}

/// shutdown(SHUT_WR): the peer reads the end, we can still read.
pub fn shutdown_write(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_WR) }).map(drop)
}

/// Has the coming close(2) send RST instead of FIN: what was sent is not to be taken for the whole
/// (SO_LINGER with zero seconds, socket(7)). What fails on a unix socket or a dead one needs no reset.
pub fn reset_on_close(fd: BorrowedFd<'_>) {
    let _ = socket::setsockopt(&fd, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 });
}

/// Connects to a unix stream socket; CLOEXEC, blocking, `timeout` for the connect and for each read
/// and write after it.
///
/// socket(7) SO_SNDTIMEO also bounds connect(2), which waits where the listener's queue is full.
/// Errors: NotFound and ConnectionRefused (nobody there), PermissionDenied, TimedOut. A read or write
/// that takes too long is WouldBlock.
pub fn connect_unix(path: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let act = || format!("connect to {}", path.display());
    let address = UnixAddr::new(path).tried(act)?;
    let fd =
        socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).tried(act)?;
    // A limit of zero would mean none.
    let limit = timeout.max(Duration::from_millis(1));
    let limit = TimeVal::new(limit.as_secs() as _, limit.subsec_micros() as _);
    socket::setsockopt(&fd, sockopt::SendTimeout, &limit).tried(act)?;
    socket::setsockopt(&fd, sockopt::ReceiveTimeout, &limit).tried(act)?;
    match socket::connect(fd.as_raw_fd(), &address) {
        Ok(()) => Ok(fd.into()),
        Err(nix::errno::Errno::EAGAIN) => {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {timeout:?}"))).tried(act)
        }
        Err(errno) => Err(errno).tried(act),
    }
}

/// SO_PEERCRED of a unix socket: (pid, uid, gid) of whoever connected or listened. unix(7).
pub fn peer_credentials(fd: BorrowedFd<'_>) -> io::Result<(i32, u32, u32)> {
    let credentials =
        socket::getsockopt(&fd, sockopt::PeerCredentials).tried(|| "ask who the peer is".into())?;
    Ok((credentials.pid(), credentials.uid(), credentials.gid()))
}

#[cfg(test)]
mod tests {
    use super::super::listen::{self, TcpOptions};
    use super::super::testing::{Folder, no_forks, wait_until};
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixListener;
    use std::time::Instant;

    const OPTIONS: TcpOptions = TcpOptions { backlog: 16, ipv6_only: true, defer_accept: Duration::ZERO };

    fn accept_soon(listener: &OwnedFd) -> (OwnedFd, Peer) {
        let mut got = None;
        wait_until("a connection to accept", || match accept(listener.as_fd()) {
            Ok(accepted) => {
                got = Some(accepted);
                true
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
                false
            }
        });
        got.unwrap()
    }

    fn pair() -> (TcpStream, OwnedFd) {
        let listener = listen::tcp("127.0.0.1:0".parse().unwrap(), OPTIONS, false).unwrap();
        let client = TcpStream::connect(listen::local_address(listener.as_fd()).unwrap()).unwrap();
        (client, accept_soon(&listener).0)
    }

    #[test]
    fn peers_are_known_by_their_address() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = listen::tcp(address.parse().unwrap(), OPTIONS, false).unwrap();
            assert_eq!(accept(listener.as_fd()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            let client = TcpStream::connect(listen::local_address(listener.as_fd()).unwrap()).unwrap();
            let (fd, peer) = accept_soon(&listener);
            assert_eq!(peer, Peer::Tcp(client.local_addr().unwrap()));
            let status = nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_GETFL).unwrap();
            let own = nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_GETFD).unwrap();
            assert!(status & libc::O_NONBLOCK != 0 && own & libc::FD_CLOEXEC != 0);
        }
        let both = TcpOptions { ipv6_only: false, ..OPTIONS };
        let listener = listen::tcp("[::]:0".parse().unwrap(), both, false).unwrap();
        let port = listen::local_address(listener.as_fd()).unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert_eq!(accept_soon(&listener).1, Peer::Tcp(client.local_addr().unwrap()), "as IPv4");

        let name = format!("masterd-test-{}", std::process::id());
        let listener = listen::abstract_unix(&name, 4).unwrap();
        let address = UnixAddr::new_abstract(name.as_bytes()).unwrap();
        let client =
            socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        socket::connect(client.as_raw_fd(), &address).unwrap();
        assert_eq!(accept_soon(&listener).1, Peer::Unix);
    }

    #[test]
    fn connections_that_died_in_the_queue_do_not_stop_accepting() {
        let _quiet = no_forks();
        let listener = listen::tcp("127.0.0.1:0".parse().unwrap(), OPTIONS, false).unwrap();
        let address = listen::local_address(listener.as_fd()).unwrap();
        let aborted = TcpStream::connect(address).unwrap();
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        socket::setsockopt(&aborted, sockopt::Linger, &linger).unwrap();
        drop(aborted);
        let living = TcpStream::connect(address).unwrap();
        let wanted = Peer::Tcp(living.local_addr().unwrap());
        wait_until("the living connection", || {
            accept(listener.as_fd()).is_ok_and(|(_, peer)| peer == wanted)
        });
    }

    #[test]
    fn bytes_go_both_ways_and_can_be_looked_at_first() {
        let _quiet = no_forks();
        let (mut client, server) = pair();
        let server = server.as_fd();
        let mut buf = [0; 16];
        assert_eq!(recv(server, &mut buf).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        client.write_all(b"hello").unwrap();
        wait_until("the bytes", || peek(server, &mut buf).is_ok_and(|n| n == 5));
        assert_eq!(recv(server, &mut buf).unwrap(), 5);
        assert_eq!(&buf[..5], b"hello");

        assert_eq!(send(server, b"one ").unwrap(), 4);
        assert_eq!(send(server, b"two three").unwrap(), 9);
        shutdown_write(server).unwrap();
        let mut all = String::new();
        client.read_to_string(&mut all).unwrap();
        assert_eq!(all, "one two three");
        assert_eq!(send(server, b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);

        drop(client);
        wait_until("the client's end", || recv(server, &mut buf).is_ok_and(|n| n == 0));
    }

    #[test]
    fn a_full_socket_says_so_instead_of_waiting() {
        let (_client, server) = pair();
        super::super::listen::set_nonblocking(server.as_fd(), false).unwrap();
        let full = loop {
            if let Err(error) = send(server.as_fd(), &[0; 65536]) {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn nobody_at_a_unix_path_and_somebody_who_does_not_answer() {
        let _quiet = no_forks();
        let folder = Folder::new();
        let path = folder.join("control.sock");
        let second = Duration::from_secs(1);
        assert_eq!(connect_unix(&path, second).unwrap_err().kind(), io::ErrorKind::NotFound);

        let listener = UnixListener::bind(&path).unwrap();
        let first = connect_unix(&path, second).unwrap();
        let (pid, uid, _) = peer_credentials(first.as_fd()).unwrap();
        assert_eq!((pid, uid), (super::super::process::pid(), super::super::process::euid()));

        // A queue of one, full, and nobody accepts.
        listen::listen(listener.as_fd(), 0).unwrap();
        let start = Instant::now();
        let mut waiting = vec![first];
        let error = loop {
            match connect_unix(&path, Duration::from_millis(50)) {
                Ok(stream) => waiting.push(stream),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        assert!(start.elapsed() < Duration::from_secs(15));
        let silent = waiting.pop().unwrap().read(&mut [0; 1]).unwrap_err();
        assert_eq!(silent.kind(), io::ErrorKind::WouldBlock, "reading ends as well");

        drop(listener);
        let error = connect_unix(&path, second).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains("control.sock"), "{error}");
    }
}
