//! The PROXY protocol, versions 1 and 2: a header before the first byte of a connection, which says
//! whose connection it really is. Read from clients that are proxies, written to upstreams.
//!
//! The format is HAProxy's (doc/proxy-protocol.txt). Where it is expected a connection without a
//! valid header is to be closed, never served: anybody could claim to be anybody otherwise.
//! Never: reads or writes a socket, guesses whether a header is there.

use crate::sys::net::Peer;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// Bytes of the longest header that is read, of either version.
pub const LONGEST: usize = V2_FIXED + V2_LONGEST;

/// The longest line of version 1, with CR and LF (2.1).
const V1_LONGEST: usize = 107;
/// Version 2 begins with these (2.2)…
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// …and has four more bytes before what differs in length.
const V2_FIXED: usize = 16;
/// More than this in addresses and additions is refused: nobody sends it.
const V2_LONGEST: usize = 4096;
/// The blank address block of unix sockets: two paths.
const V2_UNIX: usize = 2 * 108;
/// The type of the addition that holds a checksum (2.2.3).
const CRC32C: u8 = 3;

/// What the bytes at the beginning of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The beginning of a header, as far as one can see: ask again when there is more.
    Incomplete,
    /// A header of `len` bytes; what follows is the connection's.
    Done { len: usize, header: Header },
    /// No header, and nothing that could become one: close the connection.
    Bad(&'static str),
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// The proxy's own connection (a health check), or one it can't say anything about: the peer is
    /// who it is.
    Local,
    /// Whose connection it is, and what it was made to. IPv4 in IPv6 is given as IPv4.
    Tcp { source: SocketAddr, destination: SocketAddr },
    /// A connection to the proxy by a unix socket.
    Unix,
}

/// Which header to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

type Failed = &'static str;

/// Reads a header of either version off the beginning of a connection.
///
/// `bytes` is all that has come in so far; for each part of them the result is `Incomplete` or the
/// final one. A header is decided on after at most `LONGEST` bytes.
pub fn parse(bytes: &[u8]) -> Parsed {
    let begins = |with: &[u8]| bytes.iter().zip(with).all(|(is, want)| is == want);
    let parsed = if begins(SIGNATURE) {
        parse_v2(bytes)
    } else if begins(b"PROXY ") {
        parse_v1(bytes)
    } else {
        Err("the connection does not begin with a PROXY protocol header")
    };
    match parsed {
        Ok(None) => Parsed::Incomplete,
        Ok(Some((len, header))) => Parsed::Done { len, header },
        Err(why) => Parsed::Bad(why),
    }
}

fn parse_v1(bytes: &[u8]) -> Result<Option<(usize, Header)>, Failed> {
    let most = &bytes[..bytes.len().min(V1_LONGEST)];
    let Some(end) = most.iter().position(|byte| *byte == b'\n') else {
        return if most.len() < V1_LONGEST { Ok(None) } else { Err("its line is longer than 107 bytes") };
    };
    let line = most[..end].strip_suffix(b"\r").ok_or("its line ends in LF without CR")?;
    if line.contains(&b'\r') {
        return Err("its line holds a CR without LF");
    }
    let rest = line.strip_prefix(b"PROXY ").ok_or("its first word is not PROXY")?;
    // What follows UNKNOWN is to be ignored, whatever it is.
    if rest == b"UNKNOWN" || rest.starts_with(b"UNKNOWN ") {
        return Ok(Some((end + 1, Header::Local)));
    }
    let text = std::str::from_utf8(rest).map_err(|_| "its line is not ASCII")?;
    let words: Vec<&str> = text.split(' ').collect();
    let [family, source, destination, source_port, destination_port] = words[..] else {
        return Err("its line has not six words");
    };
    let ip = match family {
        "TCP4" => address::<Ipv4Addr>,
        "TCP6" => address::<Ipv6Addr>,
        _ => return Err("its protocol is none of TCP4, TCP6 and UNKNOWN"),
    };
    let source = SocketAddr::new(ip(source)?, port(source_port)?);
    let destination = SocketAddr::new(ip(destination)?, port(destination_port)?);
    Ok(Some((end + 1, Header::Tcp { source, destination })))
}

/// An address in the family that was announced.
fn address<A: FromStr + Into<IpAddr>>(text: &str) -> Result<IpAddr, Failed> {
    let ip: A = text.parse().map_err(|_| "an address in it is none of its protocol")?;
    Ok(ip.into().to_canonical())
}

/// A port: decimal, without sign and leading zeros.
fn port(text: &str) -> Result<u16, Failed> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).ok_or("a port in it is no number from 0 to 65535")
}

fn parse_v2(bytes: &[u8]) -> Result<Option<(usize, Header)>, Failed> {
    // In the order of the bytes, so that a verdict stands however many of them are here.
    let Some(&command) = bytes.get(12) else { return Ok(None) };
    if command >> 4 != 2 {
        return Err("its version is not 2");
    }
    if command & 15 > 1 {
        return Err("its command is neither LOCAL nor PROXY");
    }
    let Some(&family) = bytes.get(13) else { return Ok(None) };
    // LOCAL: what is said of the family is to be ignored.
    let family = if command & 15 == 0 { 0 } else { family };
    if family >> 4 > 3 || family & 15 > 2 {
        return Err("its address family or transport is unknown");
    }
    let Some(&[high, low]) = bytes.get(14..16) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > V2_LONGEST {
        return Err("it is longer than 4112 bytes");
    }
    // Unspecified ones, and datagrams, are taken as if nothing had been said.
    let addresses = match family {
        0x11 => 12,
        0x21 => 36,
        0x31 => V2_UNIX,
        _ => 0,
    };
    if addresses > length {
        return Err("it is too short for its addresses");
    }
    let Some(whole) = bytes.get(..V2_FIXED + length) else { return Ok(None) };
    if addresses > 0 {
        check_additions(whole, V2_FIXED + addresses)?;
    }
    let block = &whole[V2_FIXED..V2_FIXED + addresses];
    let header = match family {
        0x11 => tcp::<4>(block),
        0x21 => tcp::<16>(block),
        0x31 => Some(Header::Unix),
        _ => Some(Header::Local),
    };
    Ok(Some((whole.len(), header.ok_or("it is too short for its addresses")?)))
}

/// Two addresses of `N` bytes and two ports.
fn tcp<const N: usize>(block: &[u8]) -> Option<Header>
where
    IpAddr: From<[u8; N]>,
{
    let ip = |at: usize| {
        let octets: [u8; N] = block.get(at..at + N)?.try_into().ok()?;
        Some(IpAddr::from(octets).to_canonical())
    };
    let port = |at: usize| Some(u16::from_be_bytes([*block.get(at)?, *block.get(at + 1)?]));
    let source = SocketAddr::new(ip(0)?, port(2 * N)?);
    let destination = SocketAddr::new(ip(N)?, port(2 * N + 2)?);
    Some(Header::Tcp { source, destination })
}

/// Walks what follows the addresses (type, length, value), for its form and for the checksum.
fn check_additions(whole: &[u8], from: usize) -> Result<(), Failed> {
    const CUT: Failed = "an addition to it is cut short";
    let mut at = from;
    let mut checksum = None;
    while at < whole.len() {
        let &[kind, high, low] = whole.get(at..at + 3).and_then(|head| head.first_chunk()).ok_or(CUT)?;
        let start = at + 3;
        at = start + usize::from(u16::from_be_bytes([high, low]));
        let value = whole.get(start..at).ok_or(CUT)?;
        if kind == CRC32C {
            let sum: [u8; 4] = value.try_into().map_err(|_| "its checksum is not of four bytes")?;
            if checksum.replace((start, u32::from_be_bytes(sum))).is_some() {
                return Err("it has two checksums");
            }
        }
    }
    match checksum {
        Some((start, sum)) if crc32c(whole, start) != sum => Err("its checksum is wrong"),
        _ => Ok(()),
    }
}

/// CRC32c (RFC 9260, appendix A) of the bytes, with those of the sum itself, at `hole`, taken as zeros.
fn crc32c(bytes: &[u8], hole: usize) -> u32 {
    static TABLE: [u32; 256] = crc_table();
    let mut crc = !0u32;
    for (at, byte) in bytes.iter().enumerate() {
        let byte = if (hole..hole + 4).contains(&at) { 0 } else { *byte };
        crc = TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ (crc >> 8);
    }
    !crc
}

const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
}

/// Appends the header of a connection from `source`, which was made to `destination`.
///
/// Of a unix socket version 1 can say only UNKNOWN; version 2 says that it is one, without paths. One IPv4 and
/// one IPv6 address become two of IPv6.
pub fn write(version: Version, source: Peer, destination: Peer, out: &mut Vec<u8>) {
    let ends = match (source, destination) {
        (Peer::Tcp(source), Peer::Tcp(destination)) => Some((source, destination)),
        _ => None,
    };
    match version {
        Version::V1 => write_v1(ends, out),
        Version::V2 => write_v2(ends, out),
    }
}

fn write_v1(ends: Option<(SocketAddr, SocketAddr)>, out: &mut Vec<u8>) {
    let Some((source, destination)) = ends else { return out.extend_from_slice(b"PROXY UNKNOWN\r\n") };
    let (family, from, to) = match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ("TCP4", from.to_string(), to.to_string()),
        (from, to) => ("TCP6", hexadecimal(from), hexadecimal(to)),
    };
    // A vector takes everything.
    let _ = write!(out, "PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port());
}

fn write_v2(ends: Option<(SocketAddr, SocketAddr)>, out: &mut Vec<u8>) {
    let mut start = |family: u8, length: usize| {
        out.extend_from_slice(SIGNATURE);
        out.extend_from_slice(&[0x21, family, 0, length as u8]);
    };
    let Some((source, destination)) = ends else {
        start(0x31, V2_UNIX);
        out.resize(out.len() + V2_UNIX, 0);
        return;
    };
    match (source.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            start(0x11, 12);
            out.extend([from.octets(), to.octets()].as_flattened());
        }
        (from, to) => {
            start(0x21, 36);
            out.extend([wide(from).octets(), wide(to).octets()].as_flattened());
        }
    }
    out.extend([source.port().to_be_bytes(), destination.port().to_be_bytes()].as_flattened());
}

fn wide(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// An IPv6 address without dots, which the format does not know.
fn hexadecimal(ip: IpAddr) -> String {
    let ip = wide(ip);
    match ip.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] => format!("::ffff:{high:x}:{low:x}"),
        _ => ip.to_string(),
    }
}

#[cfg(test)]
mod tests;
