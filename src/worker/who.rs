//! A peer's address, kept small: for log lines about a connection long after it was accepted.

use crate::sys::net::Peer;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The peer's address in nineteen bytes.
#[derive(Clone, Copy, Debug)]
pub struct Who {
    ip: [u8; 16],
    port: u16,
    family: u8,
}

impl Who {
    pub fn new(peer: Peer) -> Who {
        match peer {
            Peer::Unix => Who { ip: [0; 16], port: 0, family: 1 },
            Peer::Tcp(address) => match address.ip() {
                IpAddr::V4(ip) => Who { ip: ip.to_ipv6_mapped().octets(), port: address.port(), family: 4 },
                IpAddr::V6(ip) => Who { ip: ip.octets(), port: address.port(), family: 6 },
            },
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ip = Ipv6Addr::from(self.ip);
        match self.family {
            4 => write!(f, "{}:{}", ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4), self.port),
            6 => write!(f, "[{ip}]:{}", self.port),
            _ => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_named_as_people_write_them() {
        for text in ["127.0.0.1:80", "[2001:db8::1]:443"] {
            assert_eq!(Who::new(Peer::Tcp(text.parse().unwrap())).to_string(), text);
        }
        assert_eq!(Who::new(Peer::Unix).to_string(), "unix");
    }
}
