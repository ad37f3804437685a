//! What decides about new connections in the kernel: the fence of a closing listener, the steering of
//! a group.
//!
//! socket(7): classic BPF by SO_ATTACH_FILTER and SO_ATTACH_REUSEPORT_CBPF. The kernel copies and
//! checks a program when it is attached; one that it refuses is an error here and nothing changes.
//! A filter on a TCP socket takes CAP_NET_ADMIN on recent kernels (EPERM without it on 6.18); there
//! the fence is a minimum TTL (ip(7)), which anybody may set. Both belong to the socket, so they hold
//! for every process that shares it.

use super::failure::{Tried, check};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

const LD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
const LD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
const MOD: u32 = libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K;
const JUMP_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
/// BPF_A, the accumulator as the value returned; the libc crate has no name for it.
const RETURN_A: u32 = libc::BPF_RET | 0x10;

const fn step(code: u32, jump_true: u8, jump_false: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: jump_true, jf: jump_false, k }
}

/// Drops segments with SYN and without ACK. The filter of a TCP socket sees the segment from its TCP
/// header on, whose flags are byte 13: SYN is 0x02, ACK 0x10 (RFC 9293, 3.1).
const NO_NEW_SYN: [libc::sock_filter; 5] = [
    step(LD_BYTE, 0, 0, 13),
    step(AND, 0, 0, 0x12),
    step(JUMP_EQUAL, 0, 1, 0x02),
    step(RETURN, 0, 0, 0),
    step(RETURN, 0, 0, u32::MAX),
];

/// Lets no new connection begin on a TCP listener; ACKs that complete handshakes, and data of
/// connections that wait, still pass.
///
/// A client that knocks meanwhile hears nothing and repeats its SYN after a second. By a filter that
/// drops SYNs; without CAP_NET_ADMIN by a minimum TTL that only a sender on the same link with a TTL
/// of 255 meets. Connections accepted behind a fence go through `unfence_accepted`.
pub fn fence(fd: BorrowedFd<'_>) -> io::Result<()> {
    let act = || format!("fence listener {} against new SYNs", fd.as_raw_fd());
    match attach(fd, libc::SO_ATTACH_FILTER, &NO_NEW_SYN) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => set_least_ttl(fd, 255).tried(act),
        other => other.tried(act),
    }
}

/// Takes the fence off again (a listener that a later config names again before it was closed).
/// No fence is no error.
pub fn unfence(fd: BorrowedFd<'_>) -> io::Result<()> {
    let act = || format!("take the fence off listener {}", fd.as_raw_fd());
    match set(fd, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, 0) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
        other => other.tried(act)?,
    }
    set_least_ttl(fd, 0).tried(act)
}

/// Takes off what a connection accepted from a fenced TCP listener may have inherited.
///
/// To be called for each one while the queue behind the fence is served: a handshake completed there
/// inherits the minimum TTL, and would hear nothing more. (The filter is inherited too, but never
/// matches a segment of a connection.)
pub fn unfence_accepted(fd: BorrowedFd<'_>) -> io::Result<()> {
    set_least_ttl(fd, 0).tried(|| format!("take the fence off connection {}", fd.as_raw_fd()))
}

/// Drops what arrives with a smaller TTL or hop limit (RFC 5082); 0 drops nothing.
///
/// The kernel looks at it for segments of the socket itself: on a listener these are SYNs, since a
/// half-open connection is found before its listener.
fn set_least_ttl(fd: BorrowedFd<'_>, ttl: libc::c_int) -> io::Result<()> {
    /// linux/in6.h; the libc crate has no name for it.
    const IPV6_MINHOPCOUNT: libc::c_int = 73;
    set(fd, libc::IPPROTO_IP, libc::IP_MINTTL, ttl)?;
    match set(fd, libc::IPPROTO_IPV6, IPV6_MINHOPCOUNT, ttl) {
        // An IPv4 socket knows no IPv6 options.
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
        other => other,
    }
}

fn set(fd: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the pointer and `len` are an int of ours and its size, which the kernel only reads.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, (&raw const value).cast(), len) })
        .map(drop)
}

/// Attaches `random % n` to the group of `fd`.
pub(super) fn spread(fd: BorrowedFd<'_>, n: u32) -> io::Result<()> {
    // A load from SKF_AD_OFF + SKF_AD_RANDOM gives a random word instead of packet data.
    let random = (libc::SKF_AD_OFF + libc::SKF_AD_RANDOM).cast_unsigned();
    attach(
        fd,
        libc::SO_ATTACH_REUSEPORT_CBPF,
        &[step(LD_WORD, 0, 0, random), step(MOD, 0, 0, n), step(RETURN_A, 0, 0, 0)],
    )
}

fn attach(fd: BorrowedFd<'_>, option: libc::c_int, program: &[libc::sock_filter]) -> io::Result<()> {
    let len = libc::c_ushort::try_from(program.len()).map_err(io::Error::other)?;
    let whole = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    let size = size_of_val(&whole) as libc::socklen_t;
    // SAFETY: `whole` points to `program` with its true length; both live through the call, and the
    // kernel only copies from them.
    check(unsafe {
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const whole).cast(), size)
    })
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::listen::{TcpOptions, local_address, queue, tcp, tcp_join};
    use super::super::net::{accept, recv};
    use super::super::testing::{alone, no_forks, wait_until};
    use super::*;
    use std::io::Write;
    use std::net::{SocketAddr, TcpStream};
    use std::os::fd::{AsFd, OwnedFd};
    use std::time::Duration;

    const OPTIONS: TcpOptions = TcpOptions { backlog: 256, ipv6_only: true, defer_accept: Duration::ZERO };

    fn listener(ip: &str, defer_accept: Duration) -> (OwnedFd, SocketAddr) {
        let fd = tcp(ip.parse().unwrap(), TcpOptions { defer_accept, ..OPTIONS }, true).unwrap();
        let address = local_address(fd.as_fd()).unwrap();
        (fd, address)
    }

    /// One knock; shorter than the second after which a SYN is repeated.
    fn knock(address: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect_timeout(&address, Duration::from_millis(400))
    }

    /// The two fences, as far as this process may build them.
    fn fences() -> Vec<fn(BorrowedFd<'_>) -> io::Result<()>> {
        let by_ttl = |fd: BorrowedFd<'_>| set_least_ttl(fd, 255);
        if super::super::process::euid() == 0 { vec![fence, by_ttl] } else { vec![fence] }
    }

    #[test]
    fn behind_a_fence_the_queue_is_served_and_nobody_new_comes_in() {
        let _quiet = no_forks();
        for (fence, ip) in fences().into_iter().flat_map(|fence| [(fence, "127.0.0.1:0"), (fence, "[::1]:0")])
        {
            let (fd, address) = listener(ip, Duration::ZERO);
            let mut queued = knock(address).unwrap();
            wait_until("one to wait", || queue(fd.as_fd()).unwrap().waiting == 1);
            fence(fd.as_fd()).unwrap();
            fence(fd.as_fd()).unwrap();
            assert_eq!(knock(address).unwrap_err().kind(), io::ErrorKind::TimedOut);
            let (served, _) = accept(fd.as_fd()).unwrap();
            // Data, and the end, still pass on the accepted connection.
            queued.write_all(b"x").unwrap();
            let mut byte = [0];
            wait_until("its byte", || recv(served.as_fd(), &mut byte).is_ok_and(|n| n == 1));
            drop(queued);
            wait_until("its end", || recv(served.as_fd(), &mut byte).is_ok_and(|n| n == 0));
            assert_eq!(accept(fd.as_fd()).unwrap_err().kind(), io::ErrorKind::WouldBlock);

            unfence(fd.as_fd()).unwrap();
            unfence(fd.as_fd()).unwrap();
            let _later = knock(address).unwrap();
            wait_until("the later one", || accept(fd.as_fd()).is_ok());
        }
    }

    #[test]
    fn a_half_open_handshake_is_completed_behind_the_fence() {
        // With TCP_DEFER_ACCEPT the kernel passes over the bare ACK: the handshake stays half-open
        // until the client's first bytes come, which here is behind the fence.
        for (fence, ip) in fences().into_iter().flat_map(|fence| [(fence, "127.0.0.1:0"), (fence, "[::1]:0")])
        {
            let (fd, address) = listener(ip, Duration::from_secs(30));
            let mut client = knock(address).unwrap();
            assert_eq!(queue(fd.as_fd()).unwrap().waiting, 0);
            fence(fd.as_fd()).unwrap();
            client.write_all(b"now").unwrap();
            wait_until("the handshake", || queue(fd.as_fd()).unwrap().waiting == 1);
            let (served, _) = accept(fd.as_fd()).unwrap();
            unfence_accepted(served.as_fd()).unwrap();
            client.write_all(b"later").unwrap();
            let (mut got, mut buf) = (0, [0; 16]);
            wait_until("all bytes", || {
                got += recv(served.as_fd(), &mut buf).unwrap_or(0);
                got == 8
            });
        }
    }

    #[test]
    fn a_fence_needs_no_rights() {
        let (fd, address) = listener("127.0.0.1:0", Duration::ZERO);
        alone(|| {
            if super::super::process::euid() == 0 {
                super::super::privs::become_user(65534, 65534).unwrap();
            }
            fence(fd.as_fd()).unwrap();
        });
        assert_eq!(knock(address).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_group_is_steered_to_its_first_members() {
        use super::super::reuseport::steer;
        let (first, address) = listener("127.0.0.1:0", Duration::ZERO);
        let members = [first, tcp_join(address, OPTIONS).unwrap(), tcp_join(address, OPTIONS).unwrap()];
        let waiting = || members.each_ref().map(|fd| queue(fd.as_fd()).unwrap().waiting);

        assert_eq!(steer(members[0].as_fd(), 0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        steer(members[2].as_fd(), 1).unwrap();
        let mut clients: Vec<TcpStream> = (0..40).map(|_| knock(address).unwrap()).collect();
        wait_until("all to wait", || waiting() == [40, 0, 0]);
        steer(members[0].as_fd(), 2).unwrap();
        clients.extend((0..60).map(|_| knock(address).unwrap()));
        wait_until("all to wait", || waiting().iter().sum::<u32>() == 100);
        let [a, b, c] = waiting();
        // 60 throws of a fair coin: all on one side is one in 10^18.
        assert!(a > 40 && b > 0 && c == 0, "{:?}", [a, b, c]);
    }

    #[test]
    fn only_sockets_take_a_filter() {
        let (pipe, _w) = super::super::fd::pipe().unwrap();
        let error = fence(pipe.as_fd()).unwrap_err();
        assert!(error.to_string().starts_with("fence listener"), "{error}");
        assert!(unfence(pipe.as_fd()).is_err());
    }
}
