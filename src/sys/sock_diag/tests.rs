//! Tests of the view on connections: real ones, and messages that the kernel would not send.

use super::super::listen::{self, TcpOptions};
use super::super::onlooker::{inode, sockets_of};
use super::super::testing::{Folder, no_forks, wait_until};
use super::super::{limits, net, process};
use super::*;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

const OPTIONS: TcpOptions = TcpOptions { backlog: 4096, ipv6_only: false, defer_accept: Duration::ZERO };

fn listener(address: &str) -> (OwnedFd, SocketAddr) {
    let fd = listen::tcp(address.parse().unwrap(), OPTIONS, false).unwrap();
    let address = listen::local_address(fd.as_fd()).unwrap();
    (fd, address)
}

fn accept(fd: &OwnedFd) -> OwnedFd {
    let mut accepted = None;
    wait_until("a connection", || {
        accepted = net::accept(fd.as_fd()).ok();
        accepted.is_some()
    });
    accepted.unwrap().0
}

fn only(listeners: &[SocketAddr]) -> Connection {
    let mut found = tcp(listeners).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[test]
fn a_connection_from_the_queue_to_its_end() {
    let _quiet = no_forks();
    let (fd, address) = listener("127.0.0.1:0");
    assert_eq!(tcp(&[address]).unwrap(), []);
    let mut client = TcpStream::connect(address).unwrap();
    let waiting = only(&[address]);
    assert_eq!((waiting.inode, waiting.local), (0, address));
    assert_eq!(waiting.peer, client.local_addr().unwrap());

    let accepted = accept(&fd);
    let mut server = TcpStream::from(accepted.try_clone().unwrap());
    server.set_nonblocking(false).unwrap();
    let expected = Connection { inode: inode(accepted.as_fd()).unwrap(), ..waiting };
    assert_eq!(only(&[address]), expected);

    client.write_all(b"hello").unwrap();
    server.write_all(b"good day").unwrap();
    let mut buffer = [0; 8];
    client.read_exact(&mut buffer).unwrap();
    let expected = Connection { bytes_in: 5, bytes_out: 8, ..expected };
    wait_until("the bytes are acknowledged", || only(&[address]) == expected);

    // Neither side's end counts as a byte.
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.read(&mut buffer).unwrap(), 5);
    assert_eq!(server.read(&mut buffer).unwrap(), 0);
    wait_until("CLOSE_WAIT", || only(&[address]) == expected);
    drop((accepted, server));
    wait_until("nobody has it", || tcp(&[address]).unwrap().is_empty());
}

#[test]
fn a_half_closed_connection_is_still_one() {
    let _quiet = no_forks();
    let (fd, address) = listener("127.0.0.1:0");
    let mut client = TcpStream::connect(address).unwrap();
    let accepted = accept(&fd);
    let mut server = TcpStream::from(accepted);
    server.write_all(b"all").unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
    wait_until("FIN_WAIT2", || (only(&[address]).bytes_out, only(&[address]).bytes_in) == (3, 0));
    // Closed, it is nobody's, though the client keeps it alive.
    drop(server);
    assert_eq!(tcp(&[address]).unwrap(), []);
}

#[test]
fn addresses_decide_whose_a_connection_is() {
    let _quiet = no_forks();
    let (_one, first) = listener("127.0.0.1:0");
    let (_two, second) = listener("127.0.0.1:0");
    let (_any, any) = listener("0.0.0.0:0");
    let (_both, both) = listener("[::]:0");
    let (_six, six) = listener("[::1]:0");
    let at = |ip: &str, port: u16| SocketAddr::new(ip.parse().unwrap(), port);
    let clients: Vec<TcpStream> = [first, second, second, at("127.0.0.3", any.port()), six]
        .into_iter()
        .chain([at("127.0.0.1", both.port()), at("::1", both.port())])
        .map(|address| TcpStream::connect(address).unwrap())
        .collect();
    let peers = |listeners: &[SocketAddr]| -> Vec<SocketAddr> {
        let mut peers: Vec<_> = tcp(listeners).unwrap().into_iter().map(|c| c.peer).collect();
        peers.sort_unstable();
        peers
    };
    let of = |which: &[usize]| -> Vec<SocketAddr> {
        let mut peers: Vec<_> = which.iter().map(|&i| clients[i].local_addr().unwrap()).collect();
        peers.sort_unstable();
        peers
    };
    assert_eq!(peers(&[first]), of(&[0]));
    assert_eq!(peers(&[second]), of(&[1, 2]));
    assert_eq!(peers(&[first, second, first]), of(&[0, 1, 2]));
    assert_eq!(peers(&[any]), of(&[3]));
    assert_eq!(peers(&[at("127.0.0.1", any.port())]), [], "another address of this port");
    assert_eq!(peers(&[at("127.0.0.3", any.port())]), of(&[3]));
    assert_eq!(peers(&[six, both]), of(&[4, 5, 6]), "an IPv4 client has an IPv4 address");
    assert_eq!(peers(&[at("0.0.0.0", both.port())]), [], "a socket of the other family");
    assert_eq!(peers(&[first, second, any, both, six]), of(&[0, 1, 2, 3, 4, 5, 6]));
    assert_eq!(peers(&[]), []);
    // More ports than one question holds, with ours among the first, in the middle and last.
    let many: Vec<SocketAddr> = (1..=2 * PORTS as u16 + 1).map(|port| at("127.0.0.9", port)).collect();
    assert_eq!(peers(&[&[first][..], &many, &[second]].concat()), of(&[0, 1, 2]));
}

#[test]
fn unix_connections_bear_their_listeners_name() {
    let _quiet = no_forks();
    let folder = Folder::new();
    let path = folder.join("web.sock");
    let by_path: OwnedFd = UnixListener::bind(&path).unwrap().into();
    let hidden = format!("masterd-diag-{}", process::pid());
    let by_name = listen::abstract_unix(&hidden, 4).unwrap();
    let address = {
        use std::os::linux::net::SocketAddrExt;
        std::os::unix::net::SocketAddr::from_abstract_name(&hidden).unwrap()
    };
    let names = [UnixName::Path(path.clone()), UnixName::Abstract(hidden.clone())];
    for (listener, name) in [(by_path, &names[0]), (by_name, &names[1])] {
        let connect = || match name {
            UnixName::Path(path) => std::os::unix::net::UnixStream::connect(path).unwrap(),
            UnixName::Abstract(_) => std::os::unix::net::UnixStream::connect_addr(&address).unwrap(),
        };
        let client = connect();
        assert_eq!(unix(name).unwrap(), [], "it waits to be accepted");
        let accepted = accept(&listener);
        let ours = UnixConnection { inode: inode(accepted.as_fd()).unwrap() };
        assert_eq!(unix(name).unwrap(), [ours]);
        drop(client);
        assert_eq!(unix(name).unwrap(), [ours], "the server has not closed it");
        drop(accepted);
        assert_eq!(unix(name).unwrap(), []);
    }
    assert_eq!(unix(&UnixName::Abstract(format!("{hidden}x"))).unwrap(), []);
}

#[test]
fn messages_that_are_cut_are_left_out() {
    let any = ["0.0.0.0:0".parse().unwrap(), "[::]:0".parse().unwrap()];
    for family in [libc::AF_INET as u8, libc::AF_INET6 as u8, 77] {
        let mut message = vec![0u8; 72];
        message[..2].copy_from_slice(&[family, state::ESTABLISHED]);
        assert_eq!(connection(&message, &any).is_some(), family != 77);
        assert!((0..72).all(|cut| connection(&message[..cut], &any).is_none()));
        // An attribute that ends too early: the connection counts, its bytes do not.
        message.extend([124u16, INFO].into_iter().flat_map(u16::to_ne_bytes));
        message.resize(72 + 124, 1);
        let found = connection(&message, &any);
        assert!(found.is_none_or(|c| (c.bytes_in, c.bytes_out) == (0, 0)));
    }
    let name = UnixName::Abstract(String::new());
    assert!((0..24).all(|length| unix_connection(&vec![0; length], &name).is_none()));
}

/// What looking at 10,000 connections costs: run with --ignored --nocapture.
#[test]
#[ignore = "a measurement: it takes 10,000 descriptors"]
fn the_cost_of_ten_thousand_connections() {
    limits::set_nofile(12_000).unwrap();
    let (fd, address) = listener("127.0.0.1:0");
    // The clients have left, which makes no difference to what is counted.
    let connect = || drop(TcpStream::connect(address).unwrap());
    let all: Vec<OwnedFd> = (0..10_000).map(|_| (connect(), accept(&fd)).1).collect();
    let resident = || process::resident(process::pid()).unwrap();
    let (start, before) = (Instant::now(), resident());
    let found = tcp(&[address]).unwrap();
    let (took, grown) = (start.elapsed(), resident().saturating_sub(before));
    assert_eq!(found.len(), all.len());
    println!("tcp: {took:?}, {} KiB more, {} bytes each", grown / 1024, size_of::<Connection>());
    let (_other, quiet) = listener("127.0.0.1:0");
    let start = Instant::now();
    assert!(tcp(&[quiet]).unwrap().is_empty());
    println!("tcp of another port: {:?}", start.elapsed());
    let start = Instant::now();
    let (sockets, _) = sockets_of(&[process::pid()]);
    println!("sockets_of: {:?} for {} sockets", start.elapsed(), sockets.len());
}
