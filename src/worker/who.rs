//! A peer's address, kept small: for log lines about a connection long after it was accepted.

use crate::sys::net::Peer;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Whose a connection is, as upstreams are told.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    pub peer: Peer,
    /// Where it was made to, if a PROXY header said so; else that is the address of our own socket.
    pub destination: Option<SocketAddr>,
}

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

impl Who {
    /// As it was made from.
    pub fn peer(&self) -> Peer {
        let ip = Ipv6Addr::from(self.ip);
        match self.family {
            4 => {
                Peer::Tcp(SocketAddr::new(ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4), self.port))
            }
            6 => Peer::Tcp(SocketAddr::new(IpAddr::V6(ip), self.port)),
            _ => Peer::Unix,
        }
    }

    /// Its address without the port: `127.0.0.1`, `2001:db8::1`, `unix`.
    pub fn host(&self) -> Host {
        Host(*self)
    }

    /// `None` for who came over a unix socket.
    pub fn port(&self) -> Option<u16> {
        matches!(self.family, 4 | 6).then_some(self.port)
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.family {
            4 => write!(f, "{}:{}", self.host(), self.port),
            6 => write!(f, "[{}]:{}", self.host(), self.port),
            _ => f.write_str("unix"),
        }
    }
}

/// A `Who` shown without its port.
#[derive(Clone, Copy, Debug)]
pub struct Host(Who);

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ip = Ipv6Addr::from(self.0.ip);
        match self.0.family {
            4 => write!(f, "{}", ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)),
            6 => write!(f, "{ip}"),
            _ => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_named_as_people_write_them() {
        for (text, host, port) in
            [("127.0.0.1:80", "127.0.0.1", 80), ("[2001:db8::1]:443", "2001:db8::1", 443)]
        {
            let who = Who::new(Peer::Tcp(text.parse().unwrap()));
            assert_eq!((who.to_string().as_str(), who.host().to_string().as_str()), (text, host));
            assert_eq!(who.port(), Some(port));
        }
        let who = Who::new(Peer::Unix);
        assert_eq!(
            (who.to_string(), who.host().to_string(), who.port()),
            ("unix".into(), "unix".into(), None)
        );
    }
}
