//! Asking the kernel for a list by netlink: one request, many messages in answer.
//!
//! netlink(7), RFC 3549: `collect` sends a dump request to NETLINK_SOCK_DIAG and hands each message to
//! whoever understands it (`sock_diag`). The socket is connected to the kernel, which lets nobody else
//! send to it. Each read waits a second at most; slices are checked, whatever lengths messages claim.
//! Never: keeps a socket open between two calls.

use super::failure::{Tried, uninterrupted};
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, sockopt,
};
use nix::sys::time::TimeVal;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Bytes of a message's head: length, kind, flags, number of the request, port.
const HEAD: usize = 16;

/// SOCK_DIAG_BY_FAMILY, the kind of both request and answers. linux/sock_diag.h.
const BY_FAMILY: u16 = 20;

/// NLMSG_ERROR. netlink(7).
const ERROR: u16 = 2;

/// NLMSG_DONE. netlink(7).
const DONE: u16 = 3;

/// The number of our request, repeated in each answer.
const SEQUENCE: u32 = 1;

/// The most the kernel puts into one piece, as long as it is read with so much room.
const ROOM: usize = 32 * 1024;

/// All that `parse` makes of the answers to a dump request; those it gives None for are left out.
///
/// A list that changed while it was made (NLM_F_DUMP_INTR) is asked for once more, and then an error of
/// kind Interrupted. Other errors: TimedOut after a second without an answer, NotFound where the kernel has
/// no such list (it was built without, or can't load the module), InvalidData, and the kernel's own.
pub(super) fn collect<T>(request: &[u8], parse: impl Fn(&[u8]) -> Option<T>) -> io::Result<Vec<T>> {
    let act = || "ask the kernel for its sockets (sock_diag)".into();
    for _ in 0..2 {
        if let Some(found) = once(request, &parse).tried(act)? {
            return Ok(found);
        }
    }
    Err(io::Error::new(ErrorKind::Interrupted, "the list changed while it was made, twice")).tried(act)
}

/// One dump from its request to its end; None if it was not consistent.
fn once<T>(request: &[u8], parse: &impl Fn(&[u8]) -> Option<T>) -> io::Result<Option<Vec<T>>> {
    let fd = open()?;
    let message = dump_request(request)?;
    let sent = super::net::send(fd.as_fd(), &message)?;
    if sent != message.len() {
        return Err(io::Error::other("the request was not taken whole"));
    }
    let mut answer = Answer::default();
    let mut found = Vec::new();
    let mut buffer = vec![0; ROOM];
    while !answer.whole {
        let piece = receive(&fd, &mut buffer)?;
        answer.take(piece, &mut |payload| found.extend(parse(payload)))?;
    }
    Ok((!answer.inconsistent).then_some(found))
}

fn open() -> io::Result<OwnedFd> {
    let protocol = SockProtocol::NetlinkSockDiag;
    let fd = socket::socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    socket::connect(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    socket::setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::new(1, 0))?;
    Ok(fd)
}

fn dump_request(request: &[u8]) -> io::Result<Vec<u8>> {
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    let length = u32::try_from(HEAD + request.len()).map_err(io::Error::other)?;
    let mut message = Vec::with_capacity(HEAD + request.len());
    message.extend(length.to_ne_bytes());
    message.extend(BY_FAMILY.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(SEQUENCE.to_ne_bytes());
    message.extend(0u32.to_ne_bytes());
    message.extend(request);
    Ok(message)
}

fn receive<'a>(fd: &OwnedFd, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    // With MSG_TRUNC the length of the whole comes back, also of one that did not fit.
    let read = uninterrupted(|| Ok(socket::recv(fd.as_raw_fd(), buffer, MsgFlags::MSG_TRUNC)?));
    match read {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(length) => buffer.get(..length).ok_or_else(|| broken("a piece is longer than was asked for")),
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            Err(io::Error::new(ErrorKind::TimedOut, "no answer within a second"))
        }
        Err(error) => Err(error),
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

/// How far an answer has come.
#[derive(Default)]
struct Answer {
    whole: bool,
    inconsistent: bool,
}

impl Answer {
    /// Takes one piece: messages one after the other, each begun at a multiple of four.
    fn take(&mut self, mut piece: &[u8], each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        while !piece.is_empty() && !self.whole {
            let length = number(piece, 0).and_then(|n| usize::try_from(n).ok());
            let message = length.filter(|&n| n >= HEAD).and_then(|n| piece.get(..n));
            let message =
                message.ok_or_else(|| broken("a message is longer than its piece, or has no head"))?;
            self.message(message, each)?;
            piece = piece.get(message.len().next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(())
    }

    fn message(&mut self, message: &[u8], each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let (head, payload) = message.split_at(HEAD);
        if number(head, 8) != Some(SEQUENCE) {
            return Ok(());
        }
        let flags = i32::from(short(head, 6).unwrap_or_default());
        self.inconsistent |= flags & libc::NLM_F_DUMP_INTR != 0;
        match short(head, 4) {
            Some(BY_FAMILY) => each(payload),
            // Both begin with an error number, negative, or 0 where all went well.
            Some(kind @ (ERROR | DONE)) => {
                let errno = number(payload, 0).map_or(0, u32::cast_signed);
                if errno < 0 {
                    return Err(io::Error::from_raw_os_error(errno.wrapping_neg()));
                }
                self.whole |= kind == DONE;
            }
            _ => {}
        }
        Ok(())
    }
}

/// The attribute of this kind among those that follow a message's own fields.
///
/// rtnetlink(7): length with its head, kind, contents, each begun at a multiple of four.
pub(super) fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(short(bytes, 0)?);
        let contents = bytes.get(4..length)?;
        if short(bytes, 2)? == wanted {
            return Some(contents);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

/// A number of 32 bits at a place, in this machine's byte order.
pub(super) fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A number of 16 bits at a place, in this machine's byte order.
fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, flags: i32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = dump_request(payload).unwrap();
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags as u16).to_ne_bytes());
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// What comes of one piece: the payloads, and the answer or its error.
    fn taken(piece: &[u8]) -> (Vec<Vec<u8>>, io::Result<Answer>) {
        let (mut payloads, mut answer) = (Vec::new(), Answer::default());
        let result = answer.take(piece, &mut |payload| payloads.push(payload.to_vec()));
        (payloads, result.map(|()| answer))
    }

    #[test]
    fn a_piece_is_taken_apart() {
        let done = message(DONE, 0, &0u32.to_ne_bytes());
        let piece =
            [message(BY_FAMILY, 0, b"one"), message(1, 0, b""), message(BY_FAMILY, 0, b"four")].concat();
        let (payloads, answer) = taken(&piece);
        assert_eq!(payloads, [&b"one"[..], b"four"]);
        assert!(!answer.unwrap().whole);
        let (payloads, answer) = taken(&[piece.clone(), done.clone(), piece].concat());
        assert!(answer.is_ok_and(|a| a.whole && !a.inconsistent) && payloads.len() == 2, "to its end only");
        let mut foreign = message(BY_FAMILY, 0, b"foreign");
        foreign[8] ^= 1;
        assert!(taken(&foreign).0.is_empty(), "the answer to somebody else");
        let changed = message(BY_FAMILY, libc::NLM_F_DUMP_INTR, b"x");
        assert!(taken(&[changed, done].concat()).1.is_ok_and(|a| a.whole && a.inconsistent));
    }

    #[test]
    fn errors_are_the_kernels() {
        for kind in [ERROR, DONE] {
            let (_, answer) = taken(&message(kind, 0, &(-libc::EPERM).to_ne_bytes()));
            assert_eq!(answer.err().and_then(|e| e.raw_os_error()), Some(libc::EPERM));
        }
        let (_, answer) = taken(&message(ERROR, 0, &i32::MIN.to_ne_bytes()));
        assert!(answer.is_err());
    }

    #[test]
    fn lengths_are_not_believed() {
        let good = message(BY_FAMILY, 0, b"payload!");
        for length in [0u32, 15, 25, u32::MAX] {
            let mut bad = good.clone();
            bad[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(taken(&bad).1.err().map(|e| e.kind()), Some(ErrorKind::InvalidData), "{length}");
        }
        for cut in 1..good.len() {
            assert!(taken(&good[..cut]).1.is_err(), "{cut}");
        }
    }

    #[test]
    fn attributes_are_found_and_bounded() {
        let one = |kind: u16, contents: &[u8]| {
            let length = (4 + contents.len()) as u16;
            let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), contents].concat();
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let all = [one(7, b"odd"), one(8, b""), one(9, b"last")].concat();
        assert_eq!(attribute(&all, 7), Some(&b"odd"[..]));
        assert_eq!(attribute(&all, 8), Some(&b""[..]));
        assert_eq!(attribute(&all, 9), Some(&b"last"[..]));
        assert_eq!(attribute(&all, 10), None);
        for cut in 0..all.len() {
            assert_eq!(attribute(&all[..cut], 9), None, "{cut}");
        }
        assert_eq!(attribute(&[0; 8], 9), None, "an attribute without its own head");
    }

    #[test]
    fn the_kernel_refuses_what_it_does_not_know() {
        // Address family 200 is nobody's.
        let error = collect(&[200, 0, 0, 0], |_| Some(())).unwrap_err();
        assert!(error.to_string().starts_with("ask the kernel for its sockets (sock_diag): "), "{error}");
        assert!(super::super::errno(&error).is_some());
    }
}
