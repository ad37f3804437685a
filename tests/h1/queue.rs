//! What lies in a socket and was not taken out yet, asked of the kernel by sock_diag(7), which finds one
//! socket by its two addresses.
//!
//! So a client can wait until the proxy has read a piece before it sends the next, and a case can end
//! when the origin has read everything.

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::AsRawFd;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
/// TCP_ESTABLISHED, TCP_FIN_WAIT1, TCP_FIN_WAIT2, TCP_CLOSE_WAIT: something may lie in it.
const CONNECTED: [u8; 4] = [1, 4, 5, 8];
const TCP_LISTEN: u8 = 10;
/// Any generation of this connection.
const NO_COOKIE: [u8; 8] = [0xff; 8];

/// Bytes that lie unread in the socket with these two ends, an end that was not met counted as one; None
/// if there is no such connection any more.
pub fn unread(own: SocketAddrV4, peer: SocketAddrV4) -> Option<u32> {
    queue(own, peer, &CONNECTED)
}

/// Connections to a listening socket that were not accepted yet.
pub fn waiting(listener: SocketAddrV4) -> u32 {
    queue(listener, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), &[TCP_LISTEN]).expect("a listening socket")
}

fn queue(own: SocketAddrV4, peer: SocketAddrV4, states: &[u8]) -> Option<u32> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let netlink = socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkSockDiag)
        .expect("a netlink socket");
    send(netlink.as_raw_fd(), &question(own, peer), MsgFlags::empty()).expect("ask for a socket");
    let mut answer = [0; 1024];
    let length = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty()).expect("an answer");
    // struct nlmsghdr (16 bytes), then inet_diag_msg: its state is byte 1, idiag_rqueue stands at 56.
    let found = u16::from_ne_bytes([answer[4], answer[5]]) == SOCK_DIAG_BY_FAMILY;
    let message = answer[16..length].get(..60).filter(|m| found && states.contains(&m[1]))?;
    Some(u32::from_ne_bytes([message[56], message[57], message[58], message[59]]))
}

/// struct nlmsghdr and struct inet_diag_req_v2.
fn question(own: SocketAddrV4, peer: SocketAddrV4) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(72);
    bytes.extend(72_u32.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST.to_ne_bytes());
    bytes.extend([0; 8]);
    let (family, protocol) = (2, 6);
    bytes.extend([family, protocol, 0, 0]);
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(own.port().to_be_bytes());
    bytes.extend(peer.port().to_be_bytes());
    for address in [own, peer] {
        bytes.extend(address.ip().octets());
        bytes.extend([0; 12]);
    }
    bytes.extend([0; 4]);
    bytes.extend(NO_COOKIE);
    bytes
}

/// Without this, no pause would be one.
#[test]
fn what_was_not_taken_out_is_seen() {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let mut client = TcpStream::connect(listener.local_addr().expect("an address")).expect("connect");
    let Ok(SocketAddr::V4(address)) = listener.local_addr() else { panic!("no IPv4 address") };
    assert_eq!(waiting(address), 1);
    let (mut server, _) = listener.accept().expect("accept");
    assert_eq!(waiting(address), 0);
    let (Ok(SocketAddr::V4(own)), Ok(SocketAddr::V4(peer))) = (client.peer_addr(), client.local_addr())
    else {
        panic!("no IPv4 connection");
    };
    assert_eq!(unread(own, peer), Some(0));
    client.write_all(b"hello").expect("send");
    assert_eq!(unread(own, peer), Some(5));
    server.read_exact(&mut [0; 3]).expect("read");
    assert_eq!(unread(own, peer), Some(2));
    client.shutdown(std::net::Shutdown::Write).expect("end");
    assert_eq!(unread(own, peer), Some(2 + 1));
    server.read_to_end(&mut Vec::new()).expect("read");
    assert_eq!(unread(own, peer), Some(0));
    drop((server, client));
    assert_eq!(unread(own, peer), None);
}
