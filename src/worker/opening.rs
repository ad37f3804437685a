//! What comes before the first word of a connection: a PROXY protocol header, a TLS handshake.
//!
//! A `Door` says what a listener asks for; connections of one that asks for nothing never come here. An `Opening` runs
//! when the first bytes have come, and ends with who the client is and how to talk to it.
//! Never: lets a connection in that does not begin as it must.

use super::engine::io::{Io, Socket};
use super::near::Kept;
use super::proxy_protocol::{self, Header, LONGEST, Parsed};
use super::tls::{self, Keyring, Tls};
use crate::config::{Kind, Listen};
use crate::sys::net::{self, Peer};
use rustls::ServerConfig;
use std::future::Future;
use std::io::{Error, Result};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// What a listener's connections begin with.
#[derive(Clone, Debug, Default)]
pub struct Door {
    pub proxy_protocol: bool,
    tls: Option<Arc<ServerConfig>>,
}

/// The socket of a connection that is being opened, as the loop sees it.
#[derive(Debug)]
pub struct Hall {
    pub io: Io,
}

/// A connection that may begin.
#[derive(Debug, Default)]
pub struct Opened {
    /// Who the client is, if a header said so, and where he meant to go.
    pub peer: Option<Peer>,
    pub destination: Option<SocketAddr>,
    pub tls: Option<Box<Tls>>,
    /// HTTP/2 was agreed on.
    pub http2: bool,
}

enum Step {
    /// So many bytes of it have been looked at.
    Header(usize),
    Handshake(Box<Tls>),
    Open,
}

pub struct Opening {
    hall: Rc<Hall>,
    door: Door,
    step: Step,
    opened: Opened,
}

impl Door {
    /// Made from a listener's config. The error is a sentence.
    pub fn new(listen: &Listen, kind: &Kind, keyring: &Keyring) -> std::result::Result<Door, String> {
        let alpn: &[&str] = match kind {
            Kind::Http(http) if http.http2 => &["h2", "http/1.1"],
            Kind::Http(_) => &["http/1.1"],
            Kind::Tcp(_) | Kind::Exec(_) => &[],
        };
        let tls = listen.tls.as_ref().map(|tls| tls::settings::shared(tls, alpn, keyring)).transpose()?;
        Ok(Door { proxy_protocol: listen.proxy_protocol, tls })
    }

    /// A connection may begin at once.
    pub fn is_open(&self) -> bool {
        !self.proxy_protocol && self.tls.is_none()
    }
}

impl Hall {
    pub fn into_socket(self) -> Socket {
        self.io.into_socket()
    }
}

impl Opened {
    /// The connection as it is kept.
    pub fn kept(&mut self, socket: Socket) -> Kept {
        Kept { socket, tls: self.tls.take() }
    }
}

impl Opening {
    pub fn new(hall: &Rc<Hall>, door: Door) -> Opening {
        let step = Step::Header(0);
        Opening { hall: hall.clone(), door, step, opened: Opened::default() }
    }

    /// Reads the header and nothing behind it.
    fn header(&mut self, cx: &mut Context<'_>, seen: usize) -> Poll<Result<()>> {
        let io = &self.hall.io;
        let mut seen = seen;
        let mut bytes = [0; LONGEST];
        loop {
            let n = match io.peek(cx, &mut bytes, seen) {
                Poll::Ready(n) => n?,
                Poll::Pending => {
                    self.step = Step::Header(seen);
                    return Poll::Pending;
                }
            };
            match proxy_protocol::parse(&bytes[..n]) {
                Parsed::Done { len, header } => {
                    // These bytes are there: they have just been looked at.
                    net::recv(io.as_fd(), &mut bytes[..len])?;
                    (self.opened.peer, self.opened.destination) = match header {
                        Header::Local => (None, None),
                        Header::Tcp { source, destination } => (Some(Peer::Tcp(source)), Some(destination)),
                        Header::Unix => (Some(Peer::Unix), None),
                    };
                    return Poll::Ready(Ok(()));
                }
                Parsed::Bad(why) => return Poll::Ready(Err(Error::other(why))),
                Parsed::Incomplete if n <= seen => {
                    return Poll::Ready(Err(Error::other("the connection ended within its PROXY header")));
                }
                Parsed::Incomplete => seen = n,
            }
        }
    }

    /// Goes from the header to the handshake, or to the end.
    fn next(&mut self) -> Result<()> {
        self.step = match &self.door.tls {
            Some(settings) => Step::Handshake(Box::new(Tls::new(settings).map_err(Error::other)?)),
            None => Step::Open,
        };
        Ok(())
    }
}

impl Future for Opening {
    type Output = Result<Opened>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Opened>> {
        let opening = &mut *self;
        loop {
            match &mut opening.step {
                Step::Header(seen) => {
                    let seen = *seen;
                    if opening.door.proxy_protocol {
                        ready!(opening.header(cx, seen))?;
                    }
                    opening.next()?;
                }
                Step::Handshake(tls) => {
                    let done = ready!(tls.handshake(&opening.hall.io, cx))?;
                    opening.opened.http2 = done.alpn.as_deref() == Some(b"h2");
                    if let Step::Handshake(tls) = std::mem::replace(&mut opening.step, Step::Open) {
                        opening.opened.tls = Some(tls);
                    }
                }
                Step::Open => return Poll::Ready(Ok(std::mem::take(&mut opening.opened))),
            }
        }
    }
}
