//! Descriptors: pairs, pipes, the standard three, what survives into a child, and log writing.
//!
//! Everything made here is CLOEXEC at birth, except what is put over 0, 1 and 2, which children and
//! programs are to inherit. `close_all_except` belongs into a forked child only.
//! `write_now` is the one write in masterd that must never wait: log lines go through it; `write_file`
//! is for what is known to be a plain file.
//! Never: keeps a descriptor of its own, or leaves one open behind an error.

use super::failure::{Tried, check, check_size, uninterrupted};
use nix::fcntl::{FcntlArg, OFlag};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, sockopt};
use nix::sys::stat::{Mode, SFlag, fstat};
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

/// Send buffer of a channel: a few hundred messages before a sender has to queue.
const CHANNEL_BUFFER: usize = 256 * 1024;

/// The most one `write_now` takes: PIPE_BUF, up to which pipe(7) keeps a write in one piece.
const ONE_WRITE: usize = 4096;

/// SOCK_SEQPACKET pair, CLOEXEC, both non-blocking, SO_SNDBUF raised to 256 KiB where allowed.
///
/// unix(7), socket(7). Where `net.core.wmem_max` is lower and CAP_NET_ADMIN is absent, the buffer
/// ends up at that maximum; that is no error.
pub fn channel() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let (a, b) = socket::socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)
        .tried(|| "make a socket pair".into())?;
    for end in [&a, &b] {
        if socket::setsockopt(end, sockopt::SndBufForce, &CHANNEL_BUFFER).is_err() {
            socket::setsockopt(end, sockopt::SndBuf, &CHANNEL_BUFFER)
                .tried(|| format!("set SO_SNDBUF of a channel to {CHANNEL_BUFFER}"))?;
        }
    }
    Ok((a, b))
}

/// pipe2(O_CLOEXEC): (read end, write end), both blocking.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    nix::unistd::pipe2(OFlag::O_CLOEXEC).tried(|| "make a pipe".into())
}

fn status_flags(fd: BorrowedFd<'_>) -> io::Result<OFlag> {
    Ok(OFlag::from_bits_retain(nix::fcntl::fcntl(fd, FcntlArg::F_GETFL)?))
}

/// A second descriptor for the same open file description, 3 or above. fcntl(2) F_DUPFD_CLOEXEC.
pub fn dup_cloexec(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    fd.try_clone_to_owned().tried(|| format!("duplicate descriptor {}", fd.as_raw_fd()))
}

/// Closes every descriptor from 3 up that is not in `keep`. close_range(2), Linux 5.9.
///
/// Only in a forked child whose inherited owners (`OwnedFd`, `File`, a mio `Poll`) are never dropped
/// or used again: it closes behind their backs. Numbers in `keep` may repeat and come in any order.
pub fn close_all_except(keep: &[RawFd]) -> io::Result<()> {
    let mut kept: Vec<u32> = keep.iter().filter_map(|&n| u32::try_from(n).ok()).filter(|&n| n > 2).collect();
    kept.sort_unstable();
    let mut first = 3u32;
    for n in kept {
        if n > first {
            close_range(first, n - 1)?;
        }
        first = first.max(n.saturating_add(1));
    }
    close_range(first, u32::MAX)
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: the call takes plain numbers and touches no memory. That nobody uses the closed
    // numbers any more is the promise of `close_all_except`'s caller, a child that owns none of them.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    check_size(result as isize).tried(|| format!("close descriptors {first} to {last}")).map(drop)
}

/// Opens /dev/null on each of 0, 1, 2 that is closed, so that no socket ever gets such a number.
pub fn fill_standard() -> io::Result<()> {
    loop {
        let null = open_null()?;
        if null.as_raw_fd() > 2 {
            return Ok(());
        }
        let number = null.as_raw_fd();
        // Given away for good: from now on the number belongs to whoever prints or reads.
        std::mem::forget(null);
        // SAFETY: clears CLOEXEC of the number just opened; no memory is involved.
        check(unsafe { libc::fcntl(number, libc::F_SETFD, 0) })
            .tried(|| format!("keep descriptor {number} over exec"))?;
    }
}

/// /dev/null, for reading and writing.
pub fn open_null() -> io::Result<OwnedFd> {
    nix::fcntl::open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
        .tried(|| "open /dev/null".into())
}

/// dup2 /dev/null over these standard descriptors (0, 1 or 2).
pub fn null_over(which: &[RawFd]) -> io::Result<()> {
    let null = open_null()?;
    which.iter().try_for_each(|&n| over(null.as_fd(), n))
}

/// dup2 `fd` over the standard descriptor `which` (0, 1 or 2), which then survives exec.
pub fn over(fd: BorrowedFd<'_>, which: RawFd) -> io::Result<()> {
    let from = fd.as_raw_fd();
    let act = || format!("put descriptor {from} over {which}");
    if !(0..=2).contains(&which) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a standard descriptor")).tried(act);
    }
    // SAFETY: plain numbers. Nobody in masterd owns 0, 1 or 2 as an `OwnedFd` (`dup_cloexec` and
    // `fill_standard` keep owned numbers at 3 and above), so no owner loses its descriptor here.
    uninterrupted(|| check(unsafe { libc::dup2(from, which) })).tried(act)?;
    // dup2 of a number onto itself is nothing, and would leave CLOEXEC as it was.
    // SAFETY: plain numbers, as above.
    check(unsafe { libc::fcntl(which, libc::F_SETFD, 0) }).tried(act).map(drop)
}

/// How many descriptors this process has open (/proc/self/fd) and its soft RLIMIT_NOFILE.
pub fn budget() -> io::Result<(usize, u64)> {
    let listing = std::fs::read_dir("/proc/self/fd").tried(|| "list /proc/self/fd".into())?;
    // The listing itself is one of them.
    let open = listing.count().saturating_sub(1);
    Ok((open, super::limits::nofile()?.0))
}

/// True when the descriptor is a terminal. isatty(3).
pub fn is_terminal(fd: BorrowedFd<'_>) -> bool {
    fd.is_terminal()
}

/// Opens a log for append: O_APPEND|O_CREAT|O_NOFOLLOW|O_CLOEXEC|O_NONBLOCK|O_NOCTTY, mode 0640.
///
/// open(2). A FIFO without a reader is an error, not a hang; a symbolic link in the last place is
/// refused, since the folder of a log is often writable by less than root.
pub fn open_log(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_WRONLY
        | OFlag::O_APPEND
        | OFlag::O_CREAT
        | OFlag::O_NOFOLLOW
        | OFlag::O_CLOEXEC
        | OFlag::O_NONBLOCK
        | OFlag::O_NOCTTY;
    let opened = uninterrupted(|| Ok(nix::fcntl::open(path, flags, Mode::from_bits_truncate(0o640))?));
    opened.tried(|| {
        let hint = match std::fs::symlink_metadata(path) {
            Ok(meta) if meta.is_symlink() => " (a symbolic link, which is not followed; name its target)",
            Ok(meta) if std::os::unix::fs::FileTypeExt::is_fifo(&meta.file_type()) => {
                " (a FIFO that nobody reads)"
            }
            _ => "",
        };
        format!("open log {}{hint}", path.display())
    })
}

/// An open file description of our own for a pipe or terminal, non-blocking; other things unchanged.
///
/// stderr is shared with whoever started us, so O_NONBLOCK must not be set on it; opening it again
/// through /proc gives a description that only we use. Where that is not allowed the descriptor
/// comes back as it was: then another writer of the same full pipe can still make `write_now` wait.
pub fn unshared(fd: OwnedFd) -> OwnedFd {
    let Ok(stat) = fstat(&fd) else { return fd };
    let kind = stat.st_mode & libc::S_IFMT;
    if kind != libc::S_IFIFO && !(kind == libc::S_IFCHR && is_terminal(fd.as_fd())) {
        return fd;
    }
    if status_flags(fd.as_fd()).is_ok_and(|flags| flags.contains(OFlag::O_NONBLOCK)) {
        return fd;
    }
    let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    nix::fcntl::open(path.as_str(), flags, Mode::empty()).unwrap_or(fd)
}

/// True when both descriptors are the same file, pipe or terminal (device and inode).
pub fn same_file(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> bool {
    match (fstat(a), fstat(b)) {
        (Ok(a), Ok(b)) => a.st_dev == b.st_dev && a.st_ino == b.st_ino,
        _ => false,
    }
}

/// Bytes in a plain file; `None` for what has no end to compare (pipes, sockets, terminals).
pub fn length(fd: BorrowedFd<'_>) -> Option<u64> {
    let stat = fstat(fd).ok()?;
    let plain = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG;
    plain.then(|| u64::try_from(stat.st_size).ok()).flatten()
}

/// Writes at most 4096 bytes without ever blocking; the count may be short.
///
/// Sockets: send(2) MSG_DONTWAIT. All else: poll(2) for POLLOUT with timeout 0, then one write.
/// WouldBlock when it would block; every other error is the kernel's (EPIPE, ENOSPC, EIO…).
pub fn write_now(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let bytes = &bytes[..bytes.len().min(ONE_WRITE)];
    match super::net::send(fd, bytes) {
        Err(error) if error.raw_os_error() == Some(libc::ENOTSOCK) => {}
        sent => return sent,
    }
    if !writable(fd)? {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    write_file(fd, bytes)
}

/// One write(2) of all of `bytes` to a plain file, which waits for the disk only; the count may be short.
///
/// With O_APPEND (`open_log`) no other writer's bytes come in between. For what is no plain file, and
/// could wait for a reader, there is `write_now`.
pub fn write_file(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    uninterrupted(|| {
        // SAFETY: pointer and length are those of `bytes`, which lives through the call.
        check_size(unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) })
    })
}

/// True when a write would not wait: there is room, or an error that the write will tell.
fn writable(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut watch = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
    // SAFETY: one pollfd of ours, and the count says one.
    uninterrupted(|| check(unsafe { libc::poll(&raw mut watch, 1, 0) }))?;
    Ok(watch.revents != 0)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Folder, alone, no_forks};
    use super::*;
    use std::os::fd::IntoRawFd;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn is_cloexec(fd: &OwnedFd) -> bool {
        nix::fcntl::fcntl(fd, FcntlArg::F_GETFD).unwrap() & libc::FD_CLOEXEC != 0
    }

    fn is_open(n: RawFd) -> bool {
        // SAFETY: plain numbers.
        unsafe { libc::fcntl(n, libc::F_GETFD) != -1 }
    }

    /// Writes until nothing more goes in; the bytes it took.
    fn fill(fd: &OwnedFd) -> usize {
        let mut all = 0;
        loop {
            match write_now(fd.as_fd(), &[b'x'; 4096]) {
                Ok(n) => all += n,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
                    return all;
                }
            }
        }
    }

    #[test]
    fn a_channel_keeps_messages_apart_and_never_waits() {
        let (a, b) = channel().unwrap();
        assert!(is_cloexec(&a) && is_cloexec(&b));
        let mut buf = [0; 16];
        assert_eq!(nix::unistd::read(&b, &mut buf), Err(nix::errno::Errno::EAGAIN));
        nix::unistd::write(&a, b"one").unwrap();
        nix::unistd::write(&a, b"two").unwrap();
        assert_eq!(nix::unistd::read(&b, &mut buf), Ok(3));
        assert!(fill(&a) >= 64 * 1024, "holds a fair number of messages");
    }

    #[test]
    fn all_but_the_kept_descriptors_are_closed() {
        alone(|| {
            let numbers: Vec<RawFd> = (0..6).map(|_| open_null().unwrap().into_raw_fd()).collect();
            let keep = [numbers[4], numbers[1], numbers[4], 0, -1];
            close_all_except(&keep).unwrap();
            let open: Vec<bool> = numbers.iter().map(|&n| is_open(n)).collect();
            assert_eq!(open, [false, true, false, false, true, false]);
            assert!(is_open(2));
        });
    }

    #[test]
    fn closed_standard_descriptors_are_filled() {
        alone(|| {
            for n in [0, 2] {
                // SAFETY: nobody in this child of a test owns these numbers.
                unsafe { libc::close(n) };
            }
            fill_standard().unwrap();
            for n in [0, 2] {
                let target = std::fs::read_link(format!("/proc/self/fd/{n}")).unwrap();
                assert_eq!(target, Path::new("/dev/null"));
            }
            let (r, w) = pipe().unwrap();
            assert!(r.as_raw_fd() > 2 && w.as_raw_fd() > 2);
            assert!(is_cloexec(&r) && is_cloexec(&w));
        });
    }

    #[test]
    fn standard_descriptors_are_replaced_and_survive_exec() {
        alone(|| {
            let (r, w) = pipe().unwrap();
            over(w.as_fd(), 1).unwrap();
            null_over(&[0, 2]).unwrap();
            for n in 0..3 {
                // SAFETY: plain numbers.
                assert_eq!(unsafe { libc::fcntl(n, libc::F_GETFD) }, 0, "descriptor {n} is inherited");
            }
            // SAFETY: the bytes live through the call.
            assert_eq!(unsafe { libc::write(1, b"hello".as_ptr().cast(), 5) }, 5);
            let mut buf = [0; 8];
            assert_eq!(nix::unistd::read(&r, &mut buf), Ok(5));
            assert_eq!(over(w.as_fd(), 3).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        });
    }

    #[test]
    fn the_budget_counts_what_is_open() {
        alone(|| {
            let (before, limit) = budget().unwrap();
            let (_r, _w) = pipe().unwrap();
            assert_eq!(budget().unwrap(), (before + 2, limit));
        });
    }

    #[test]
    fn a_log_is_appended_to_and_nothing_else_is_opened() {
        let folder = Folder::new();
        let log = folder.join("log");
        for line in [b"one\n", b"two\n"] {
            let fd = open_log(&log).unwrap();
            assert!(is_cloexec(&fd));
            assert_eq!(write_now(fd.as_fd(), line).unwrap(), 4);
        }
        assert_eq!(std::fs::read(&log).unwrap(), b"one\ntwo\n");
        assert_eq!(std::fs::metadata(&log).unwrap().permissions().mode() & 0o137, 0, "0640 at most");

        symlink(&log, folder.join("link")).unwrap();
        let error = open_log(&folder.join("link")).unwrap_err();
        assert!(error.to_string().contains("symbolic link"), "{error}");

        nix::unistd::mkfifo(&folder.join("fifo"), Mode::from_bits_truncate(0o600)).unwrap();
        let error = open_log(&folder.join("fifo")).unwrap_err();
        assert!(error.to_string().contains("nobody reads"), "{error}");
        assert!(open_log(folder.path()).is_err());
    }

    #[test]
    fn writing_never_waits_even_where_the_descriptor_would() {
        let _quiet = no_forks();
        let (r, w) = pipe().unwrap();
        assert!(!status_flags(w.as_fd()).unwrap().contains(OFlag::O_NONBLOCK));
        assert!(fill(&w) >= 4096);
        drop(r);
        assert_eq!(write_now(w.as_fd(), b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);

        let (a, _b) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(fill(&a.into()) >= 4096);
    }

    #[test]
    fn one_write_is_4096_bytes_at_most() {
        let (_r, w) = pipe().unwrap();
        assert_eq!(write_now(w.as_fd(), &[b'x'; 5000]).unwrap(), 4096);
    }

    #[test]
    fn a_shared_pipe_becomes_non_blocking_for_us_alone() {
        let (r, w) = pipe().unwrap();
        let theirs = dup_cloexec(w.as_fd()).unwrap();
        let ours = unshared(w);
        assert!(status_flags(ours.as_fd()).unwrap().contains(OFlag::O_NONBLOCK));
        assert!(!status_flags(theirs.as_fd()).unwrap().contains(OFlag::O_NONBLOCK));
        assert!(is_cloexec(&ours) && same_file(ours.as_fd(), theirs.as_fd()));
        assert!(same_file(r.as_fd(), theirs.as_fd()), "both ends are one inode");
        assert!(!same_file(pipe().unwrap().1.as_fd(), theirs.as_fd()));
    }

    #[test]
    fn a_pipe_is_no_terminal() {
        assert!(!is_terminal(pipe().unwrap().0.as_fd()));
        let pty = nix::fcntl::open("/dev/ptmx", OFlag::O_RDWR | OFlag::O_NOCTTY, Mode::empty()).unwrap();
        assert!(is_terminal(pty.as_fd()));
    }
}
