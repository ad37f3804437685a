//! The client side of a connection, without waiting: socket(2), connect(2), and what came of it.
//!
//! Workers call it for their upstreams. A TCP connect is under way when `connect` returns; the socket
//! turns writable when it has ended, and `take_error` says how. Sockets are CLOEXEC and non-blocking.
//! Never: resolves a name, waits.

use super::failure::{check, uninterrupted};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::PathBuf;

/// Where to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
    /// Abstract name without the `@`.
    Abstract(String),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Tcp(address) => write!(f, "{address}"),
            Target::Unix(path) => write!(f, "unix:{}", path.display()),
            Target::Abstract(name) => write!(f, "unix:@{name}"),
        }
    }
}

/// Begins to connect; true beside the socket while the kernel has not decided (EINPROGRESS).
///
/// Errors: those of connect(2), as they are. WouldBlock is a unix socket whose queue is full: nothing
/// will tell when there is room. TCP sockets get TCP_NODELAY.
pub fn connect(target: &Target) -> io::Result<(OwnedFd, bool)> {
    match target {
        Target::Tcp(address) => {
            let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
            let fd = stream_socket(family)?;
            set_nodelay(fd.as_fd())?;
            let (storage, len) = inet(*address);
            start(fd, &storage, len)
        }
        Target::Unix(path) => {
            use std::os::unix::ffi::OsStrExt;
            unix(path.as_os_str().as_bytes(), false)
        }
        Target::Abstract(name) => unix(name.as_bytes(), true),
    }
}

fn stream_socket(family: libc::c_int) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: plain numbers.
    let n = check(unsafe { libc::socket(family, kind, 0) })?;
    // SAFETY: the kernel has just made this number for us.
    Ok(unsafe { OwnedFd::from_raw_fd(n) })
}

fn set_nodelay(fd: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    let len = size_of_val(&on) as libc::socklen_t;
    // SAFETY: pointer and length are those of `on`, which lives through the call.
    let done = unsafe {
        libc::setsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, (&raw const on).cast(), len)
    };
    check(done).map(drop)
}

fn inet(address: SocketAddr) -> (libc::sockaddr_storage, usize) {
    // SAFETY: all zeroes is a valid sockaddr_storage: it is plain bytes and a family of 0.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    match address {
        SocketAddr::V4(v4) => {
            // SAFETY: a sockaddr_storage is big and aligned enough for every address type, and all of
            // its bytes are initialised.
            let to = unsafe { &mut *(&raw mut storage).cast::<libc::sockaddr_in>() };
            to.sin_family = libc::AF_INET as libc::sa_family_t;
            to.sin_port = v4.port().to_be();
            to.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
            (storage, size_of::<libc::sockaddr_in>())
        }
        SocketAddr::V6(v6) => {
            // SAFETY: as above.
            let to = unsafe { &mut *(&raw mut storage).cast::<libc::sockaddr_in6>() };
            to.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            to.sin6_port = v6.port().to_be();
            to.sin6_addr.s6_addr = v6.ip().octets();
            to.sin6_flowinfo = v6.flowinfo();
            to.sin6_scope_id = v6.scope_id();
            (storage, size_of::<libc::sockaddr_in6>())
        }
    }
}

fn unix(name: &[u8], is_abstract: bool) -> io::Result<(OwnedFd, bool)> {
    // SAFETY: all zeroes is a valid sockaddr_storage: it is plain bytes and a family of 0.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    // SAFETY: a sockaddr_storage is big and aligned enough for every address type, and all of its
    // bytes are initialised.
    let to = unsafe { &mut *(&raw mut storage).cast::<libc::sockaddr_un>() };
    to.sun_family = libc::AF_UNIX as libc::sa_family_t;
    // An abstract name begins with a NUL and ends with its length, a path ends with a NUL (unix(7)).
    let start_at = usize::from(is_abstract);
    if name.len() + 1 > to.sun_path.len() {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    for (slot, byte) in to.sun_path[start_at..].iter_mut().zip(name) {
        *slot = *byte as libc::c_char;
    }
    let len = std::mem::offset_of!(libc::sockaddr_un, sun_path) + name.len() + 1;
    start(stream_socket(libc::AF_UNIX)?, &storage, len)
}

fn start(fd: OwnedFd, address: &libc::sockaddr_storage, len: usize) -> io::Result<(OwnedFd, bool)> {
    let at: *const libc::sockaddr_storage = address;
    // SAFETY: `address` holds `len` initialised bytes of the socket's family and lives through the call.
    let done =
        uninterrupted(|| check(unsafe { libc::connect(fd.as_raw_fd(), at.cast(), len as libc::socklen_t) }));
    match done {
        Ok(_) => Ok((fd, false)),
        Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => Ok((fd, true)),
        Err(e) => Err(e),
    }
}

/// SO_ERROR: how a connect ended, or what has broken the connection since; asking clears it.
pub fn take_error(fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut error: libc::c_int = 0;
    let mut len = size_of_val(&error) as libc::socklen_t;
    // SAFETY: pointer and length are those of `error`, exclusively ours through the call.
    let done = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            (&raw mut error).cast(),
            &raw mut len,
        )
    };
    check(done)?;
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// True if a connect failed for want of something on this machine (descriptors, memory, ports of our own): that is not the
/// other side's doing.
pub fn is_our_own_lack(error: &io::Error) -> bool {
    let lacks = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|number| lacks.contains(&number))
}

/// True if a call failed because this process, or the whole machine, has no descriptor left (EMFILE, ENFILE).
pub fn lacks_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

#[cfg(test)]
mod tests {
    use super::super::listen;
    use super::super::testing::{Folder, no_forks, wait_until};
    use super::*;
    use std::io::{ErrorKind, Write};
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    fn ended(fd: &OwnedFd) -> io::Result<()> {
        let mut end = Ok(());
        wait_until("the connect to end", || {
            let mut poll = [nix::poll::PollFd::new(fd.as_fd(), nix::poll::PollFlags::POLLOUT)];
            let ready = nix::poll::poll(&mut poll, 0u8).unwrap() > 0;
            if ready {
                end = take_error(fd.as_fd());
            }
            ready
        });
        end
    }

    #[test]
    fn tcp_both_families_and_nobody_there() {
        let _quiet = no_forks();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let target = Target::Tcp(listener.local_addr().unwrap());
            let (fd, _) = connect(&target).unwrap();
            ended(&fd).unwrap();
            assert_eq!(
                listener.accept().unwrap().1,
                super::super::listen::local_address(fd.as_fd()).unwrap()
            );
            drop(listener);
            let failed = connect(&target).and_then(|(fd, _)| ended(&fd)).unwrap_err();
            assert_eq!(failed.kind(), ErrorKind::ConnectionRefused);
            assert!(!is_our_own_lack(&failed));
        }
    }

    #[test]
    fn unix_paths_and_abstract_names() {
        let _quiet = no_forks();
        let folder = Folder::new();
        let path = folder.join("up.sock");
        assert_eq!(connect(&Target::Unix(path.clone())).unwrap_err().kind(), ErrorKind::NotFound);
        let listener = UnixListener::bind(&path).unwrap();
        let (fd, waits) = connect(&Target::Unix(path)).unwrap();
        assert!(!waits);
        std::fs::File::from(fd).write_all(b"x").unwrap();
        listener.accept().unwrap();

        let name = format!("masterd-connect-{}", std::process::id());
        let _listener = listen::abstract_unix(&name, 4).unwrap();
        connect(&Target::Abstract(name)).unwrap();
        let long = Target::Abstract("x".repeat(108));
        assert_eq!(connect(&long).unwrap_err().raw_os_error(), Some(libc::ENAMETOOLONG));
    }
}
