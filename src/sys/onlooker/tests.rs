//! Tests of the onlooker: real processes that wait in every way it knows, and in some it can't see.

use super::super::fork::{Side, fork};
use super::super::listen::{self, TcpOptions, set_nonblocking};
use super::super::process::{Pidfd, die_with, euid, make_undumpable, parent_pid, pid};
use super::super::testing::{alone, wait_until};
use super::super::{net, privs};
use super::*;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

const OPTIONS: TcpOptions = TcpOptions { backlog: 16, ipv6_only: true, defer_accept: Duration::ZERO };

fn listener() -> OwnedFd {
    listen::tcp("127.0.0.1:0".parse().unwrap(), OPTIONS, false).unwrap()
}

fn rest() -> ! {
    loop {
        std::thread::park();
    }
}

/// A child that does this, and then nothing more; it ends with its parent.
fn child(act: impl FnOnce()) -> (i32, Pidfd) {
    let us = pid();
    match fork().unwrap() {
        Side::Child => {
            // Asked for its own parent, one that is late would name whoever has inherited it.
            if !die_with(us).unwrap_or(false) {
                super::super::fork::exit_now(1);
            }
            act();
            rest()
        }
        Side::Parent { pid, pidfd } => (pid, pidfd),
    }
}

fn seen(pids: &[i32], socket: &OwnedFd) -> Sight {
    let inode = inode(socket.as_fd()).unwrap();
    let mut sights = look(pids, &[inode]);
    assert_eq!((sights.len(), sights[0].0), (1, inode));
    sights.remove(0).1
}

/// A child that holds the listener and does this is seen to wait; one that does it on another socket is
/// seen to hold it.
fn waits(what: &str, act: impl Fn(OwnedFd)) {
    let (ours, other) = (listener(), listener());
    set_nonblocking(ours.as_fd(), false).unwrap();
    set_nonblocking(other.as_fd(), false).unwrap();
    let copy = |fd: &OwnedFd| fd.try_clone().unwrap();
    let (here, _here) = child(|| act(copy(&ours)));
    let (there, _there) = child(|| act(copy(&other)));
    wait_until(what, || seen(&[here], &ours) == Sight::Waiting);
    wait_until(what, || seen(&[there], &other) == Sight::Waiting);
    assert_eq!(seen(&[there], &ours), Sight::Held, "{what} on another socket");
    assert_eq!(seen(&[there, here], &ours), Sight::Waiting, "{what}, by one of two");
    let inodes = [&other, &ours].map(|fd| inode(fd.as_fd()).unwrap());
    let both = look(&[here, there], &inodes);
    assert_eq!(both, inodes.map(|inode| (inode, Sight::Waiting)), "each has its entry, in their order");
}

fn poll_for(fd: &OwnedFd, events: libc::c_short) {
    // As programs have them: other entries before it, and one that is left out.
    let mut watched = [-1, 0, fd.as_raw_fd()].map(|fd| libc::pollfd { fd, events, revents: 0 });
    watched[1].events = 0;
    // SAFETY: three pollfds of ours, and the count says three.
    unsafe { libc::poll(watched.as_mut_ptr(), 3, -1) };
}

fn select_for(fd: &OwnedFd) {
    let number = fd.as_raw_fd();
    // SAFETY: all zeroes is an empty fd_set; the number is below FD_SETSIZE in a test's child, and all
    // pointers are to sets of ours or null.
    unsafe {
        let (mut input, mut output): (libc::fd_set, libc::fd_set) = std::mem::zeroed();
        libc::FD_SET(number, &raw mut input);
        libc::FD_SET(0, &raw mut output);
        libc::FD_CLR(0, &raw mut output);
        let none = std::ptr::null_mut();
        libc::select(number + 1, &raw mut input, &raw mut output, none, none.cast());
    }
}

fn epoll_for(fd: &OwnedFd, interest: mio::Interest) {
    let mut poll = mio::Poll::new().unwrap();
    let number = fd.as_raw_fd();
    poll.registry().register(&mut mio::unix::SourceFd(&number), mio::Token(7), interest).unwrap();
    let _ = poll.poll(&mut mio::Events::with_capacity(4), None);
}

#[test]
fn waiting_in_accept() {
    alone(|| {
        waits("accept", |fd| drop(TcpListener::from(fd).accept()));
        waits("accept in a thread", |fd| {
            std::thread::spawn(|| drop(TcpListener::from(fd).accept()));
            rest();
        });
    });
}

#[test]
fn waiting_in_poll_and_select() {
    alone(|| {
        waits("poll", |fd| poll_for(&fd, libc::POLLIN));
        waits("select", |fd| select_for(&fd));
    });
}

#[test]
fn waiting_in_epoll() {
    alone(|| waits("epoll", |fd| epoll_for(&fd, mio::Interest::READABLE)));
}

#[test]
fn waiting_for_datagrams() {
    alone(|| {
        let fd = listen::udp("127.0.0.1:0".parse().unwrap(), true).unwrap();
        set_nonblocking(fd.as_fd(), false).unwrap();
        let (pid, _pidfd) = child(|| drop(UdpSocket::from(fd.try_clone().unwrap()).recv_from(&mut [0; 8])));
        wait_until("recvfrom", || seen(&[pid], &fd) == Sight::Waiting);
    });
}

/// Who waits only to write, or for a socket that it has closed, does not wait for connections.
#[test]
fn holding_is_not_waiting() {
    alone(|| {
        let fd = listener();
        let (idle, _a) = child(|| ());
        let (writes, _b) = child(|| poll_for(&fd, libc::POLLOUT));
        let (writes_too, _c) = child(|| epoll_for(&fd, mio::Interest::WRITABLE));
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(seen(&[idle, writes, writes_too], &fd), Sight::Held);
    });
}

#[test]
fn nobody_has_it() {
    alone(|| {
        let early = child(|| ());
        let fd = listener();
        let number = fd.as_raw_fd();
        let (closed, _b) = child(|| {
            // SAFETY: nobody in this child uses the number again: it only rests.
            unsafe { libc::close(number) };
        });
        wait_until("the close", || seen(&[early.0, closed, i32::MAX], &fd) == Sight::Nobody);
        assert_eq!(look(&[], &[1, 2]), [(1, Sight::Nobody), (2, Sight::Nobody)]);
        assert_eq!(look(&[closed], &[]), []);
    });
}

/// A process that may not be looked into is neither Held nor Nobody, and one that has ended is no such.
#[test]
fn what_is_hidden_is_told() {
    alone(|| {
        let fd = listener();
        let ended = child(|| super::super::fork::exit_now(0));
        wait_until("the end", || ended.1.ended().unwrap().is_some());
        let nobody = || {
            if euid() == 0 {
                privs::become_user(65534, 65534).unwrap()
            }
        };
        let (closed, closed_fd) = child(|| {
            nobody();
            make_undumpable().unwrap();
            // A change of identity has undone it.
            let _ = die_with(parent_pid());
        });
        nobody();
        wait_until("it can't be looked into", || seen(&[closed], &fd) != Sight::Held);
        let Sight::Hidden(why) = seen(&[closed], &fd) else { panic!("{:?}", seen(&[closed], &fd)) };
        assert!(why.starts_with(&format!("process {closed} can't be looked into: ")), "{why}");
        assert_eq!(seen(&[ended.0], &fd), Sight::Nobody, "nobody has reaped it");
        assert_eq!(sockets_of(&[closed, ended.0, i32::MAX]), (HashSet::new(), vec![closed]));
        assert_eq!(descriptors(i32::MAX), None);
        // It may not have come so far yet as to end with us.
        wait_until("it may be ended", || closed_fd.send_signal(libc::SIGKILL).is_ok());
    });
}

/// Sets up a ring, and waits in it for what never comes; false where the kernel has none for us.
fn ring(enter: bool) -> bool {
    let mut parameters = [0u8; 120];
    // SAFETY: the parameters are 120 bytes, as io_uring_setup(2) has them, and ours.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, parameters.as_mut_ptr()) };
    if ring >= 0 && enter {
        /// IORING_ENTER_GETEVENTS.
        const GET: u32 = 1;
        let none = std::ptr::null::<u8>();
        // SAFETY: numbers, and a null signal mask of size 0.
        unsafe { libc::syscall(libc::SYS_io_uring_enter, ring, 0, 1, GET, none, 0) };
    }
    ring >= 0
}

#[test]
fn a_ring_does_not_show_what_it_waits_for() {
    alone(|| {
        if !ring(false) {
            return;
        }
        let fd = listener();
        let (pid, _a) = child(|| assert!(ring(true)));
        wait_until("the ring", || seen(&[pid], &fd) != Sight::Held);
        let Sight::Hidden(why) = seen(&[pid], &fd) else { panic!("hidden") };
        assert_eq!(why, format!("process {pid} waits by io_uring, which does not show what for"));
        // A ring that nobody waits in hides nothing, and who waits in epoll is seen beside it.
        let (pid, _b) = child(|| assert!(ring(false)));
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(seen(&[pid], &fd), Sight::Held);
        let (pid, _c) = child(|| {
            ring(false);
            epoll_for(&fd, mio::Interest::READABLE);
        });
        wait_until("epoll beside a ring", || seen(&[pid], &fd) == Sight::Waiting);
    });
}

#[test]
fn sockets_and_descriptors_are_counted() {
    alone(|| {
        let fd = listener();
        let address = listen::local_address(fd.as_fd()).unwrap();
        let _client = std::net::TcpStream::connect(address).unwrap();
        let (accepted, _) = net::accept(fd.as_fd()).unwrap();
        let (child, _pidfd) = child(|| ());
        let inodes = [&fd, &accepted].map(|fd| inode(fd.as_fd()).unwrap());
        let (found, unreadable) = sockets_of(&[pid(), child]);
        assert!(inodes.iter().all(|inode| found.contains(inode)) && unreadable.is_empty());

        let before = descriptors(child).unwrap();
        assert!(before >= 5, "{before}");
        let mine = descriptors(pid()).unwrap();
        let _copy = accepted.try_clone().unwrap();
        assert_eq!(descriptors(pid()), Some(mine + 1));
        assert_eq!(
            inode(std::fs::File::open("/dev/null").unwrap().as_fd()).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    });
}

#[test]
fn links_and_lines_of_the_kernel() {
    assert_eq!(Link::of(b"socket:[4294967297]"), Link::Socket(4_294_967_297));
    for other in ["/tmp/socket:[7]", "socket:[7", "socket:[-7]", "socket:[99999999999999999999]", "pipe:[7]"]
    {
        assert_eq!(Link::of(other.as_bytes()), Link::Else, "{other}");
    }
    let line = "tfd:        5 events:       19 data:                5  pos:0 ino:1f3a sdev:8";
    assert!(watch(line).is_some_and(|w| (w.number, w.inode) == (5, 0x1f3a)));
    assert!(watch(&line.replace(" 19 ", " 4 ")).is_none(), "for writing");
    assert!(watch(&line.replace(" 19 ", " 40000000 ")).is_none(), "one shot, and it is shot");
    for other in
        ["", "flags:\t02", "tfd:", "tfd: x events: 19 data: 5 pos:0 ino:1", "tfd: 5 events: 19 ino:zz"]
    {
        assert!(watch(other).is_none(), "{other}");
    }
}
