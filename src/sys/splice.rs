//! Bytes from one socket to another without a visit to user space: pipe2(2) and splice(2).
//!
//! A tunnel moves what a read would not hold: socket to pipe, pipe to socket. No call waits.
//! Errors are the kernel's own; WouldBlock says that the one end is empty or the other full, and only
//! the caller knows which he asked about. Never: moves between two sockets directly, which the kernel can't.

use super::failure::{check_size, uninterrupted};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Bytes a pipe is asked to hold; the kernel's default is a sixteenth of it.
const SIZE: libc::c_int = 1 << 20;

/// A pipe, and how much is in it.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    held: usize,
}

impl Pipe {
    /// A pipe of up to 1 MiB; of what the kernel gives where that is too much for this user
    /// (fs.pipe-user-pages-soft). Errors: pipe2(2).
    pub fn new() -> io::Result<Pipe> {
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // A smaller pipe only means more calls.
        let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(SIZE));
        Ok(Pipe { read, write, held: 0 })
    }

    /// Bytes in the pipe.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Fills it from `socket`, `most` bytes at most. Ok(0) is the peer's end.
    pub fn fill(&mut self, socket: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        let n = splice(socket, self.write.as_fd(), most)?;
        self.held += n;
        Ok(n)
    }

    /// Empties it into `socket`. The count may be short.
    pub fn drain(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        if self.held == 0 {
            return Ok(0);
        }
        let n = splice(self.read.as_fd(), socket, self.held)?;
        self.held -= n.min(self.held);
        Ok(n)
    }
}

fn splice(from: BorrowedFd<'_>, to: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
    uninterrupted(|| {
        let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
        let none = std::ptr::null_mut();
        // SAFETY: two descriptors that live through the call; without offsets no memory is touched.
        check_size(unsafe { libc::splice(from.as_raw_fd(), none, to.as_raw_fd(), none, most, flags) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn bytes_go_through_the_pipe_in_order() {
        let (mut a, b) = UnixStream::pair().unwrap();
        let (c, mut d) = UnixStream::pair().unwrap();
        for end in [&b, &c] {
            end.set_nonblocking(true).unwrap();
        }
        let mut pipe = Pipe::new().unwrap();
        assert_eq!(pipe.fill(b.as_fd(), 4096).unwrap_err().kind(), ErrorKind::WouldBlock);
        a.write_all(b"hello pipe").unwrap();
        assert_eq!(pipe.fill(b.as_fd(), 4096).unwrap(), 10);
        assert_eq!(pipe.held(), 10);
        assert_eq!(pipe.drain(c.as_fd()).unwrap(), 10);
        let mut got = [0; 10];
        d.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"hello pipe");
        assert_eq!(pipe.drain(c.as_fd()).unwrap(), 0);
        drop(a);
        assert_eq!(pipe.fill(b.as_fd(), 4096).unwrap(), 0);
    }
}
