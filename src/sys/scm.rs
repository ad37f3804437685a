//! Messages with descriptors, between our own processes above all (unix(7), cmsg(3)).
//!
//! For the SOCK_SEQPACKET pairs of `fd::channel`: one call, one message, whole or not at all. What
//! strangers send to a datagram socket of ours comes in by `recv_attested`, without its descriptors.
//! Never: blocks, leaks a descriptor (those of a refused message are closed), raises SIGPIPE.
//! Errors are the kernel's own, so that WouldBlock and BrokenPipe can be matched.

use super::failure::{check_size, uninterrupted};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Descriptors one message may carry; the kernel's own limit (SCM_MAX_FD) is 253.
const MOST: usize = 250;

/// Words of a control buffer that holds SCM_MAX_FD descriptors and a sender with their headers, 8-aligned.
const CONTROL_WORDS: usize = 160;

/// One SOCK_SEQPACKET message with descriptors (SCM_RIGHTS, at most 250).
///
/// WouldBlock when the peer's queue is full, BrokenPipe when it is gone. An empty message is
/// refused: the receiver could not tell it from the end.
pub fn send(fd: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if bytes.is_empty() || fds.len() > MOST {
        let reason =
            format!("a message of {} bytes with {} descriptors can't be sent", bytes.len(), fds.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    let numbers: Vec<RawFd> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
    let mut control = [0u64; CONTROL_WORDS];
    let mut data = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut message = header(&mut data, &mut control);
    put_rights(&mut message, &numbers);
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: `message` points to `data` (over `bytes`, only read by sendmsg) and `control`, which
    // all live to the end of this function.
    let sent =
        past_reset(|| check_size(unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, flags) }))?;
    if sent == bytes.len() {
        return Ok(());
    }
    // Only a stream socket sends a part; a channel was promised.
    Err(io::Error::new(io::ErrorKind::InvalidInput, "message sent in part: not a SOCK_SEQPACKET socket"))
}

/// One message of at most `buf.len()` bytes; Ok((0, _)) is the end: the peer is gone.
///
/// WouldBlock when there is none. A message longer than `buf`, or with more descriptors than fit, is
/// an InvalidData error; it is consumed and its descriptors are closed. Received descriptors are
/// CLOEXEC (MSG_CMSG_CLOEXEC).
pub fn recv(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let got = receive(fd, buf)?;
    if got.flags & libc::MSG_CTRUNC != 0 {
        let reason = format!(
            "only {} of a message's descriptors could be taken: more than the limit of open files allows",
            got.fds.len()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    Ok((got.bytes, got.fds))
}

/// One datagram of at most `buf.len()` bytes, and the pid of its sender as the kernel attests it
/// (SCM_CREDENTIALS; 0 for a process that our pid namespace doesn't see).
///
/// For a socket that has had SO_PASSCRED since before its first message, else there is no sender
/// (InvalidData). Descriptors that come along are closed before this returns, also those that the limit
/// of open files kept from us. WouldBlock when there is no datagram; one longer than `buf` is an
/// InvalidData error, and consumed.
pub fn recv_attested(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<(usize, i32)> {
    let got = receive(fd, buf)?;
    let nobody = || io::Error::new(io::ErrorKind::InvalidData, "a message without a sender");
    Ok((got.bytes, got.sender.ok_or_else(nobody)?))
}

/// What one recvmsg(2) gave, whole as far as its bytes go.
struct Received {
    bytes: usize,
    fds: Vec<OwnedFd>,
    sender: Option<i32>,
    flags: libc::c_int,
}

fn receive(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<Received> {
    let mut control = [0u64; CONTROL_WORDS];
    let mut data = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    let mut message = header(&mut data, &mut control);
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
    // SAFETY: `message` points to `data` (over `buf`, exclusively ours) and `control`, with their
    // true lengths; all live to the end of this function.
    let bytes = past_reset(|| check_size(unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, flags) }))?;
    let (fds, sender) = take_control(&message);
    if message.msg_flags & libc::MSG_TRUNC != 0 {
        let reason = format!("message cut off after {} bytes", buf.len());
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    Ok(Received { bytes, fds, sender, flags: message.msg_flags })
}

/// Repeats a call that was interrupted, or that got the news of a reset instead of the data.
///
/// A peer that closes with unread messages leaves ECONNRESET behind once (sock_error clears it); what
/// it had sent is still there to be read, and a send says EPIPE from then on.
fn past_reset<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    match uninterrupted(&mut call) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => uninterrupted(call),
        other => other,
    }
}

fn header(data: &mut libc::iovec, control: &mut [u64; CONTROL_WORDS]) -> libc::msghdr {
    // SAFETY: all zeroes is a valid msghdr: null pointers and zero lengths.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = data;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(control) as _;
    message
}

/// Writes one SCM_RIGHTS record into the control buffer of `message` and sets its length.
fn put_rights(message: &mut libc::msghdr, numbers: &[RawFd]) {
    if numbers.is_empty() {
        message.msg_control = std::ptr::null_mut();
        message.msg_controllen = 0;
        return;
    }
    let bytes = size_of_val(numbers) as libc::c_uint;
    // SAFETY: the control buffer is CONTROL_WORDS long, 8-aligned, and holds a header and 253
    // descriptors; `numbers` has at most MOST (checked by `send`). CMSG_FIRSTHDR gives its start.
    unsafe {
        message.msg_controllen = libc::CMSG_SPACE(bytes) as _;
        let record = libc::CMSG_FIRSTHDR(message);
        (*record).cmsg_level = libc::SOL_SOCKET;
        (*record).cmsg_type = libc::SCM_RIGHTS;
        (*record).cmsg_len = libc::CMSG_LEN(bytes) as _;
        std::ptr::copy_nonoverlapping(numbers.as_ptr().cast::<u8>(), libc::CMSG_DATA(record), bytes as usize);
    }
}

/// Owns every descriptor in the control data, also of a message that was cut off; and the sender's
/// pid, if the kernel has put it there.
fn take_control(message: &libc::msghdr) -> (Vec<OwnedFd>, Option<i32>) {
    let (mut fds, mut sender) = (Vec::new(), None);
    // SAFETY: recvmsg has filled the control buffer and set msg_controllen to what it wrote, so the
    // CMSG_ walk stays inside. Each number in an SCM_RIGHTS record is a descriptor that the kernel
    // has just made for this process (unix(7)), and that nobody else owns; an SCM_CREDENTIALS record
    // of full length holds a ucred, which is plain numbers. Unaligned reads, since CMSG_DATA promises
    // no alignment.
    unsafe {
        let mut record = libc::CMSG_FIRSTHDR(message);
        while let Some(head) = record.as_ref() {
            let bytes = head.cmsg_len.saturating_sub(libc::CMSG_LEN(0) as usize);
            if head.cmsg_level == libc::SOL_SOCKET && head.cmsg_type == libc::SCM_RIGHTS {
                let numbers = libc::CMSG_DATA(record).cast::<RawFd>();
                for i in 0..bytes / size_of::<RawFd>() {
                    fds.push(OwnedFd::from_raw_fd(numbers.add(i).read_unaligned()));
                }
            }
            let credentials = head.cmsg_level == libc::SOL_SOCKET && head.cmsg_type == libc::SCM_CREDENTIALS;
            if credentials && bytes >= size_of::<libc::ucred>() {
                sender = Some(libc::CMSG_DATA(record).cast::<libc::ucred>().read_unaligned().pid);
            }
            record = libc::CMSG_NXTHDR(message, record);
        }
    }
    (fds, sender)
}

#[cfg(test)]
mod tests {
    use super::super::fd::{channel, dup_cloexec, pipe};
    use super::super::testing::no_forks;
    use super::*;
    use std::os::fd::AsFd;

    fn would_block<T: std::fmt::Debug>(result: io::Result<T>) {
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn descriptors_arrive_with_their_message() {
        let (a, b) = channel().unwrap();
        let (r, w) = pipe().unwrap();
        send(a.as_fd(), b"take these", &[r.as_fd(), w.as_fd()]).unwrap();
        send(a.as_fd(), b"none", &[]).unwrap();
        drop((r, w));

        let mut buf = [0; 64];
        let (n, fds) = recv(b.as_fd(), &mut buf).unwrap();
        assert_eq!(&buf[..n], b"take these");
        let [r, w]: [OwnedFd; 2] = fds.try_into().unwrap();
        nix::unistd::write(&w, b"x").unwrap();
        let mut byte = [0];
        assert_eq!(nix::unistd::read(&r, &mut byte), Ok(1));
        for fd in [&r, &w] {
            let flags = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_GETFD).unwrap();
            assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        }
        let (n, fds) = recv(b.as_fd(), &mut buf).unwrap();
        assert_eq!((&buf[..n], fds.len()), (&b"none"[..], 0));
        would_block(recv(b.as_fd(), &mut buf));
    }

    #[test]
    fn a_message_that_does_not_fit_is_refused_and_its_descriptors_closed() {
        let _quiet = no_forks();
        let (a, b) = channel().unwrap();
        let (r, w) = pipe().unwrap();
        send(a.as_fd(), b"too long for four", &[w.as_fd()]).unwrap();
        drop(w);
        let error = recv(b.as_fd(), &mut [0; 4]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        // No writer is left: the pipe is at its end instead of waiting.
        super::super::listen::set_nonblocking(r.as_fd(), true).unwrap();
        assert_eq!(nix::unistd::read(&r, &mut [0; 1]), Ok(0));
        would_block(recv(b.as_fd(), &mut [0; 4]));
    }

    #[test]
    fn descriptors_beyond_the_limit_of_open_files_are_told_from_bytes_beyond_the_buffer() {
        let said = |bytes: usize, nofile: Option<u64>| {
            let (a, b) = channel().unwrap();
            send(a.as_fd(), b"take these", &[a.as_fd(), b.as_fd()]).unwrap();
            if let Some(n) = nofile {
                super::super::limits::set_nofile(n).unwrap();
            }
            recv(b.as_fd(), &mut vec![0; bytes]).unwrap_err().to_string()
        };
        assert!(said(4, None).contains("after 4 bytes"));
        super::super::testing::alone(|| {
            assert!(said(64, Some(3)).contains("only 0 of a message's descriptors"));
        });
    }

    #[test]
    fn as_many_descriptors_as_promised_and_no_more() {
        let (a, b) = channel().unwrap();
        let many = vec![a.as_fd(); MOST];
        send(a.as_fd(), b"many", &many).unwrap();
        assert_eq!(recv(b.as_fd(), &mut [0; 8]).unwrap().1.len(), MOST);
        let more = vec![a.as_fd(); MOST + 1];
        assert_eq!(send(a.as_fd(), b"more", &more).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn an_empty_message_is_not_sent() {
        let (a, _b) = channel().unwrap();
        assert_eq!(send(a.as_fd(), b"", &[]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_full_queue_and_a_gone_peer_are_told_apart() {
        let _quiet = no_forks();
        let (a, b) = channel().unwrap();
        let full = loop {
            if let Err(error) = send(a.as_fd(), &[7; 1000], &[]) {
                break error;
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        drop(b);
        assert_eq!(send(a.as_fd(), b"x", &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn what_a_dead_peer_sent_is_read_to_the_end() {
        let _quiet = no_forks();
        let (a, b) = channel().unwrap();
        send(a.as_fd(), b"last words", &[]).unwrap();
        // Unread by `a`, so that its close resets the connection.
        send(b.as_fd(), b"never read", &[]).unwrap();
        drop(a);
        let mut buf = [0; 64];
        assert_eq!(recv(b.as_fd(), &mut buf).unwrap().0, 10);
        assert_eq!(recv(b.as_fd(), &mut buf).unwrap().0, 0);
    }

    #[test]
    fn a_copy_kept_open_hides_the_end() {
        let _quiet = no_forks();
        let (a, b) = channel().unwrap();
        let copy = dup_cloexec(a.as_fd()).unwrap();
        drop(a);
        would_block(recv(b.as_fd(), &mut [0; 4]));
        drop(copy);
        assert_eq!(recv(b.as_fd(), &mut [0; 4]).unwrap().0, 0);
    }
}
