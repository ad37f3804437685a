//! The receiving end of sd_notify(3): what a program says about itself, and who said it.
//!
//! One socket for each program, named in its NOTIFY_SOCKET; the loop that watches it reads with `next` until
//! there is nothing. The name is abstract (unix(7)), so no file is left behind, and can't be guessed; who
//! learns it all the same can send, so the pid that the kernel attests is what counts, and the text
//! is hostile input. Never: waits, keeps a descriptor that came along, says what a message means.

use super::failure::Tried;
use super::{random, scm};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, sockopt};
use std::fmt::Write;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// The longest message, bytes; sd_notify(3) wants them to fit a small buffer.
const LONGEST: usize = 4096;

/// A datagram socket with a name of its own.
///
/// How much can wait in it the kernel bounds by the number of messages (net.unix.max_dgram_qlen), and
/// each sender's own buffer (SO_SNDBUF); SO_RCVBUF means nothing here (unix(7)).
#[derive(Debug)]
pub struct NotifySocket {
    fd: OwnedFd,
    address: String,
}

impl NotifySocket {
    /// A socket, non-blocking and CLOEXEC, at an abstract name with 128 random bits.
    pub fn bind() -> io::Result<Self> {
        let act = || "make a socket for the notifications of a program".to_owned();
        let mut bytes = [0; 16];
        random::fill(&mut bytes).tried(act)?;
        let name = bytes.iter().fold("masterd-".to_owned(), |mut name, byte| {
            // Writing to a string can't fail.
            let _ = write!(name, "{byte:02x}");
            name
        });
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket::socket(AddressFamily::Unix, SockType::Datagram, flags, None).tried(act)?;
        // Before there is a name to send to, so that no message is without its sender.
        socket::setsockopt(&fd, sockopt::PassCred, &true).tried(act)?;
        let place = UnixAddr::new_abstract(name.as_bytes()).tried(act)?;
        socket::bind(fd.as_raw_fd(), &place)
            .tried(|| format!("bind a socket to the abstract name {name}"))?;
        Ok(NotifySocket { fd, address: format!("@{name}") })
    }

    /// The value for NOTIFY_SOCKET: `@` stands for the zero byte of an abstract name.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The next message and the pid of its sender, as the kernel attests it (0 for a process that our
    /// pid namespace doesn't see); None when nothing waits.
    ///
    /// Descriptors that came along are closed, which is all that BARRIER=1 asks for. A message of more
    /// than 4096 bytes is InvalidData, and consumed: the next call goes on behind it.
    pub fn next(&self) -> io::Result<Option<(i32, Vec<u8>)>> {
        let mut text = vec![0; LONGEST];
        match scm::recv_attested(self.fd.as_fd(), &mut text) {
            Ok((length, sender)) => {
                text.truncate(length);
                Ok(Some((sender, text)))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error).tried(|| format!("receive a notification at {}", self.address)),
        }
    }
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for NotifySocket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fork::{Side, exit_now, fork};
    use super::super::listen::set_nonblocking;
    use super::super::testing::{alone, no_forks, wait_until};
    use super::super::{fd, limits, process};
    use super::*;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    /// A socket that sends there, as sd_notify(3) reads the variable.
    fn sender(address: &str) -> UnixDatagram {
        let name = address.strip_prefix('@').unwrap();
        let socket = UnixDatagram::unbound().unwrap();
        socket.connect_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
        socket
    }

    #[test]
    fn a_message_comes_whole_with_its_sender() {
        alone(|| {
            let ours = NotifySocket::bind().unwrap();
            assert_eq!(ours.next().unwrap(), None);
            let child = match fork().unwrap() {
                Side::Child => {
                    sender(ours.address()).send(b"READY=1\nSTATUS=\xff").unwrap();
                    exit_now(0)
                }
                Side::Parent { pid, pidfd } => {
                    wait_until("the child's end", || pidfd.try_reap().unwrap().is_some());
                    pid
                }
            };
            sender(ours.address()).send(b"").unwrap();
            assert_eq!(ours.next().unwrap(), Some((child, b"READY=1\nSTATUS=\xff".to_vec())));
            assert_eq!(ours.next().unwrap(), Some((process::pid(), Vec::new())));
            assert_eq!(ours.next().unwrap(), None);
        });
    }

    #[test]
    fn every_name_is_new() {
        let (a, b) = (NotifySocket::bind().unwrap(), NotifySocket::bind().unwrap());
        assert_ne!(a.address(), b.address());
        assert_eq!(a.address().len(), "@masterd-".len() + 32);
        assert!(a.address().starts_with("@masterd-"));
        let flags = nix::fcntl::fcntl(&a, nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }

    #[test]
    fn what_is_too_long_is_refused_and_what_follows_is_read() {
        let ours = NotifySocket::bind().unwrap();
        let theirs = sender(ours.address());
        for length in [LONGEST, LONGEST + 1, 1] {
            theirs.send(&vec![b'x'; length]).unwrap();
        }
        assert_eq!(ours.next().unwrap().unwrap().1.len(), LONGEST);
        let error = ours.next().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains(ours.address()), "{error}");
        assert_eq!(ours.next().unwrap().unwrap().1, b"x");
    }

    /// Sends with the write end of a pipe, reads the message, and says whether that end is closed.
    fn is_let_go(ours: &NotifySocket) -> bool {
        let (read, write) = fd::pipe().unwrap();
        scm::send(sender(ours.address()).as_fd(), b"BARRIER=1", &[write.as_fd(), write.as_fd()]).unwrap();
        drop(write);
        set_nonblocking(read.as_fd(), true).unwrap();
        assert_eq!(nix::unistd::read(&read, &mut [0]), Err(nix::errno::Errno::EAGAIN), "it is on its way");
        assert_eq!(ours.next().unwrap(), Some((process::pid(), b"BARRIER=1".to_vec())));
        nix::unistd::read(&read, &mut [0]) == Ok(0)
    }

    #[test]
    fn descriptors_that_come_along_are_closed() {
        let _quiet = no_forks();
        assert!(is_let_go(&NotifySocket::bind().unwrap()));
    }

    #[test]
    fn descriptors_for_which_there_is_no_room_do_not_hide_the_message() {
        alone(|| {
            let ours = NotifySocket::bind().unwrap();
            let theirs = sender(ours.address());
            scm::send(theirs.as_fd(), b"FDSTORE=1", &[theirs.as_fd()]).unwrap();
            limits::set_nofile(3).unwrap();
            assert_eq!(ours.next().unwrap(), Some((process::pid(), b"FDSTORE=1".to_vec())));
        });
    }
}
