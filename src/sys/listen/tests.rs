//! Real sockets on loopback: what they are born as, what happens to them, what they say.

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
    let client = socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
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
    let client = socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    let address = UnixAddr::new_abstract(name.as_bytes()).unwrap();
    assert_eq!(socket::connect(client.as_raw_fd(), &address), Err(nix::errno::Errno::ECONNREFUSED));
}

#[test]
fn the_mode_is_what_was_set_whoever_set_it() {
    let fd = tcp(here(), OPTIONS, false).unwrap();
    let copy = fd.try_clone().unwrap();
    assert!(is_nonblocking(fd.as_fd()).unwrap());
    set_nonblocking(copy.as_fd(), false).unwrap();
    assert!(!is_nonblocking(fd.as_fd()).unwrap(), "all who share it get it");
    set_nonblocking(fd.as_fd(), true).unwrap();
    assert!(is_nonblocking(copy.as_fd()).unwrap());
}
