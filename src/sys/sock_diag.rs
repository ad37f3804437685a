//! The connections of listeners, as the kernel has them: whoever serves them need not tell.
//!
//! sock_diag(7), by way of `netlink`. All of the network namespace are seen, whoever's they are; which of
//! them a process holds is told by their inodes (`onlooker::sockets_of`). The kernel walks all its sockets
//! for it: about a millisecond for each thousand connections that are given back, and a hundred bytes of
//! memory for each. Called at intervals, by whoever counts for a program.
//! Never: closes or changes a socket.

use super::netlink::{attribute, collect, number};
use std::ffi::OsStr;
use std::mem::offset_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// States of a TCP socket (include/net/tcp_states.h).
mod state {
    pub const ESTABLISHED: u8 = 1;
    pub const FIN_WAIT1: u8 = 4;
    pub const FIN_WAIT2: u8 = 5;
    pub const CLOSE_WAIT: u8 = 8;
    pub const LAST_ACK: u8 = 9;
    pub const CLOSING: u8 = 11;
}

/// Those in which somebody may still have a descriptor.
const ALIVE: u32 = 1 << state::ESTABLISHED
    | 1 << state::FIN_WAIT1
    | 1 << state::FIN_WAIT2
    | 1 << state::CLOSE_WAIT
    | 1 << state::LAST_ACK
    | 1 << state::CLOSING;

/// INET_DIAG_INFO, the attribute with a `tcp_info`. linux/inet_diag.h.
const INFO: u16 = 2;

/// Ports in one question: its filter has jumps of 16 bits.
const PORTS: usize = 1000;

/// A TCP connection, seen from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Of its socket; 0 as long as it waits in the accept queue.
    pub inode: u64,
    /// The kernel's own number of the socket, never used again.
    pub cookie: u64,
    pub local: SocketAddr,
    pub peer: SocketAddr,
    /// Bytes received and acknowledged to the peer.
    pub bytes_in: u64,
    /// Bytes sent that the peer has acknowledged.
    pub bytes_out: u64,
}

/// The TCP connections of these listeners: by their local addresses, where 0.0.0.0 stands for any of IPv4,
/// and [::] for any of a socket of IPv6.
///
/// Also those that only one side has closed; not those that nobody has a descriptor of any more. IPv4
/// clients of a listener for both have IPv4 addresses here. Errors: NotFound where the kernel has no
/// tcp_diag, TimedOut after a second without an answer, and the kernel's own.
pub fn tcp(listeners: &[SocketAddr]) -> std::io::Result<Vec<Connection>> {
    let mut found = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let ours: Vec<SocketAddr> =
            listeners.iter().copied().filter(|l| l.is_ipv4() == (family == libc::AF_INET)).collect();
        let mut ports: Vec<u16> = ours.iter().map(SocketAddr::port).collect();
        ports.sort_unstable();
        ports.dedup();
        for ports in ports.chunks(PORTS) {
            found.append(&mut collect(&tcp_request(family as u8, ports), |m| connection(m, &ours))?);
        }
    }
    Ok(found)
}

/// A `struct inet_diag_req_v2` and the filter of local ports as its attribute. linux/inet_diag.h.
fn tcp_request(family: u8, ports: &[u16]) -> Vec<u8> {
    /// INET_DIAG_REQ_BYTECODE.
    const BYTECODE: u16 = 1;
    let mut request = vec![family, libc::IPPROTO_TCP as u8, 1 << (INFO - 1), 0];
    request.extend(ALIVE.to_ne_bytes());
    // No particular socket: all zeroes.
    request.resize(56, 0);
    let filter = any_of(ports);
    request.extend((4 + filter.len() as u16).to_ne_bytes());
    request.extend(BYTECODE.to_ne_bytes());
    request.extend(filter);
    request
}

/// A filter that lets sockets pass that have one of these local ports.
///
/// Steps of `struct inet_diag_bc_op`: what to do, and how many bytes to go on, if so (8 bits) and if not
/// (16 bits). The port to compare with is in the last field of a step of its own. A socket passes if the
/// last jump leads exactly to the end, and not if it leads beyond.
fn any_of(ports: &[u16]) -> Vec<u8> {
    /// INET_DIAG_BC_JMP: always "if not".
    const JUMP: u8 = 1;
    /// INET_DIAG_BC_S_EQ, Linux 4.16.
    const PORT_IS: u8 = 11;
    let mut filter = Vec::with_capacity(ports.len() * 12);
    for (i, &port) in ports.iter().enumerate() {
        let left = ports.len() - i - 1;
        let mut step = |what: u8, so: u8, otherwise: u16| {
            filter.extend([what, so]);
            filter.extend(otherwise.to_ne_bytes());
        };
        // To the next port; after the last one, four bytes beyond the end.
        step(PORT_IS, 8, 12);
        step(0, 0, port);
        if left > 0 {
            // To the end: over itself, twelve bytes for each port that is left, and the last has no jump.
            step(JUMP, 4, (left * 12) as u16);
        }
    }
    filter
}

/// A `struct inet_diag_msg`, if it is a connection of one of these listeners that somebody has.
fn connection(message: &[u8], listeners: &[SocketAddr]) -> Option<Connection> {
    /// Bytes before the attributes.
    const OWN: usize = 72;
    let [family, state] = *message.first_chunk()?;
    let inode = number(message, 68)?;
    let (local, peer) = (address(message, family, 4, 8)?, address(message, family, 6, 24)?);
    let is_ours =
        |l: &SocketAddr| l.port() == local.port() && (l.ip() == local.ip() || l.ip().is_unspecified());
    // Without an inode it waits to be accepted, or was closed and lives on for its last bytes.
    let is_left = inode == 0 && !matches!(state, state::ESTABLISHED | state::CLOSE_WAIT);
    if is_left || !listeners.iter().any(is_ours) {
        return None;
    }
    let info = attribute(message.get(OWN..)?, INFO).unwrap_or_default();
    let count = |at| Some(u64::from_ne_bytes(*info.get(at..)?.first_chunk()?));
    // Each side's end of stream counts as a byte once it is acknowledged.
    let end_in = matches!(state, state::CLOSE_WAIT | state::LAST_ACK | state::CLOSING);
    let end_out = state == state::FIN_WAIT2;
    let less = |count: Option<u64>, end: bool| count.unwrap_or_default().saturating_sub(u64::from(end));
    Some(Connection {
        inode: inode.into(),
        cookie: u64::from(number(message, 44)?) | u64::from(number(message, 48)?) << 32,
        local: canonical(local),
        peer: canonical(peer),
        bytes_in: less(count(offset_of!(libc::tcp_info, tcpi_bytes_received)), end_in),
        bytes_out: less(count(offset_of!(libc::tcp_info, tcpi_bytes_acked)), end_out),
    })
}

/// The address in a message: its port and its IP at these places, in network byte order.
fn address(message: &[u8], family: u8, port: usize, ip: usize) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(*message.get(port..)?.first_chunk()?);
    let ip = match i32::from(family) {
        libc::AF_INET => IpAddr::from(Ipv4Addr::from(*message.get(ip..)?.first_chunk::<4>()?)),
        libc::AF_INET6 => IpAddr::from(Ipv6Addr::from(*message.get(ip..)?.first_chunk::<16>()?)),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// An IPv4 address in IPv6's clothes is one of IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// What a unix listener is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnixName {
    /// Exactly as it was given to bind(2).
    Path(PathBuf),
    /// Without the leading NUL.
    Abstract(String),
}

/// A connection of a unix listener, seen from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnixConnection {
    pub inode: u64,
}

/// The accepted connections of the unix listeners of this name: the sockets on the server's side, which
/// bear the name of their listener.
///
/// A connection that waits to be accepted has no inode and is not among them. One whose client has left
/// is, until the server closes it. The kernel hands out all connected unix sockets of the network
/// namespace, to be looked through here. Errors: as of `tcp`; NotFound where the kernel has no unix_diag.
pub fn unix(name: &UnixName) -> std::io::Result<Vec<UnixConnection>> {
    collect(&unix_request(), |message| unix_connection(message, name))
}

/// A `struct unix_diag_req` for connected sockets with their names. linux/unix_diag.h.
fn unix_request() -> Vec<u8> {
    /// UDIAG_SHOW_NAME.
    const SHOW_NAME: u32 = 1;
    let mut request = vec![libc::AF_UNIX as u8, 0, 0, 0];
    request.extend((1u32 << state::ESTABLISHED).to_ne_bytes());
    request.extend(0u32.to_ne_bytes());
    request.extend(SHOW_NAME.to_ne_bytes());
    request.resize(24, 0);
    request
}

/// A `struct unix_diag_msg`, if it is a socket of this name that is no datagram socket.
fn unix_connection(message: &[u8], name: &UnixName) -> Option<UnixConnection> {
    /// Bytes before the attributes.
    const OWN: usize = 16;
    /// UNIX_DIAG_NAME.
    const NAME: u16 = 0;
    let kind = i32::from(*message.get(1)?);
    let bound = attribute(message.get(OWN..)?, NAME)?;
    let same = match name {
        // With or without its NUL, as bind(2) got it.
        UnixName::Path(path) => OsStr::from_bytes(bound.strip_suffix(b"\0").unwrap_or(bound)) == path,
        UnixName::Abstract(name) => bound.strip_prefix(b"\0") == Some(name.as_bytes()),
    };
    let inode = u64::from(number(message, 4)?);
    (same && kind != libc::SOCK_DGRAM && inode != 0).then_some(UnixConnection { inode })
}

#[cfg(test)]
mod tests;
