//! One TLS connection over an `Io`: what was read of it in plain, and plain bytes written to it.
//!
//! First `handshake` until it is done, then `poll_read`, `poll_write` and `poll_flush` as of a socket. Errors end the
//! connection; where TLS has an alert for them it has been sent if there was room. `Pending` means, as with `Io`,
//! that the task is woken. Whoever stops reading with `holds` true must read again without an event.
//!
//! What is decrypted is taken before more is read, and what is encrypted beyond `MOST_QUEUED` waits for the socket, so
//! that a connection holds a few records in each direction at most, and next to nothing while it is idle.

use crate::worker::engine::io::Io;
use rustls::server::ServerConnection;
use rustls::{Error, HandshakeKind, InvalidMessage, ServerConfig};
use std::collections::VecDeque;
use std::io::{self, BufRead, ErrorKind, IoSlice, Write};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Encrypted bytes that may wait for the socket.
const MOST_QUEUED: usize = 64 * 1024;
/// Bytes of one read: two records, since rustls takes no more once it holds a whole one in plain.
const ONE_READ: usize = 32 * 1024;
/// Reads that may come to nothing (handshakes, empty records) before others have their turn.
const ROUNDS: usize = 16;
/// Records smaller than this are sent together; a larger one is worth a call of its own.
const SMALL: usize = 4096;

/// What a handshake has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshaken {
    /// The protocol spoken behind TLS, if client and listener have agreed on one.
    pub alpn: Option<Vec<u8>>,
    /// The host that the client asked for.
    pub sni: Option<String>,
    /// By a ticket, without certificates.
    pub resumed: bool,
}

/// A connection's TLS.
#[derive(Debug)]
pub struct Tls {
    session: ServerConnection,
    /// Read from the socket, and not taken in yet because plain bytes wait.
    rest: VecDeque<u8>,
    /// Plain bytes accepted since everything was sent.
    queued: usize,
}

impl Tls {
    /// A connection that has not said a word yet. The error is a sentence.
    pub fn new(settings: &Arc<ServerConfig>) -> Result<Tls, String> {
        let mut session = ServerConnection::new(settings.clone())
            .map_err(|error| format!("a TLS connection cannot be made: {error}"))?;
        session.set_buffer_limit(Some(MOST_QUEUED));
        Ok(Tls { session, rest: VecDeque::new(), queued: 0 })
    }

    /// Shakes hands. Errors: InvalidData with a sentence for the log, UnexpectedEof if the client leaves, the socket's.
    pub fn handshake(&mut self, io: &Io, cx: &mut Context<'_>) -> Poll<io::Result<Handshaken>> {
        for _ in 0..ROUNDS {
            let sent = self.poll_flush(io, cx);
            if !self.session.is_handshaking() {
                return Poll::Ready(Ok(self.outcome()));
            }
            ready!(sent)?;
            match self.session.reader().fill_buf() {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => return Poll::Ready(Err(gone("the client left during the handshake"))),
            }
            ready!(self.fetch(io, cx))?;
        }
        later(cx)
    }

    fn outcome(&self) -> Handshaken {
        Handshaken {
            alpn: self.session.alpn_protocol().map(<[u8]>::to_vec),
            sni: self.session.server_name().map(str::to_owned),
            resumed: self.session.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    /// Shows at most `most` (1 at least) plain bytes to `take`. `Ok(0)` is the client's close_notify; an end without
    /// one is UnexpectedEof, after all that came before it.
    pub fn poll_read(
        &mut self,
        io: &Io,
        cx: &mut Context<'_>,
        most: usize,
        take: impl FnOnce(&[u8]),
    ) -> Poll<io::Result<usize>> {
        // What TLS itself has to say (a ticket, new keys) may still wait, and nobody else may come to send it. If
        // that fails, what is there to be read is still worth reading.
        let _ = self.poll_flush(io, cx);
        for _ in 0..ROUNDS {
            let mut reader = self.session.reader();
            match reader.fill_buf() {
                Ok(plain) => {
                    let n = plain.len().min(most);
                    take(&plain[..n]);
                    reader.consume(n);
                    return Poll::Ready(Ok(n));
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Poll::Ready(Err(gone("the client left without a TLS close_notify"))),
            }
            ready!(self.fetch(io, cx))?;
        }
        later(cx)
    }

    /// Encrypts what there is room for. It is sent by `poll_flush` at the latest.
    pub fn poll_write(&mut self, io: &Io, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.queued >= MOST_QUEUED / 4 {
            let _ = self.poll_flush(io, cx)?;
        }
        let mut n = self.session.writer().write(bytes)?;
        if n == 0 && !bytes.is_empty() {
            ready!(self.poll_flush(io, cx))?;
            n = self.session.writer().write(bytes)?;
        }
        self.queued += n;
        Poll::Ready(Ok(n))
    }

    /// Sends everything that is encrypted.
    pub fn poll_flush(&mut self, io: &Io, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut Out { io, cx }) {
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Poll::Pending,
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
        self.queued = 0;
        Poll::Ready(Ok(()))
    }

    /// Says that nothing more will be written, and sends all there is. Repeating it only sends.
    pub fn send_close_notify(&mut self, io: &Io, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.send_close_notify();
        self.poll_flush(io, cx)
    }

    /// The end from outside, when no task reads or writes any more: what is still to be sent, `words`, and
    /// close_notify, as they go into the socket. Before the handshake is done there is nobody to be told words.
    pub fn last_words(&mut self, words: &[u8]) -> Vec<u8> {
        if !self.session.is_handshaking() {
            // Words that find no room are not heard, as in a full socket.
            let _ = self.session.writer().write(words);
        }
        self.session.send_close_notify();
        let mut sealed = Vec::new();
        // Writing into memory does not fail.
        while self.session.wants_write() && self.session.write_tls(&mut sealed).is_ok() {}
        sealed
    }

    /// Bytes wait here that no event of the socket will tell of.
    pub fn holds(&mut self) -> bool {
        !self.rest.is_empty() || self.session.reader().fill_buf().is_ok_and(|plain| !plain.is_empty())
    }

    /// Everything that was encrypted is in the socket.
    pub fn is_flushed(&self) -> bool {
        !self.session.wants_write()
    }

    /// Takes in more of what the client has sent.
    fn fetch(&mut self, io: &Io, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let taken = ready!(self.take_in(io, cx));
        if taken.is_err() {
            // The alert, if there is one. The error that caused it is the one to be told.
            let _ = self.poll_flush(io, cx);
        }
        Poll::Ready(taken)
    }

    fn take_in(&mut self, io: &Io, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let Tls { session, rest, .. } = self;
        if !rest.is_empty() {
            let fed = feed(session, rest);
            if rest.is_empty() {
                *rest = VecDeque::new();
            }
            return Poll::Ready(fed);
        }
        let mut fed = Ok(());
        let got = io.read(cx, ONE_READ, |mut bytes| {
            fed = if bytes.is_empty() { end(session) } else { feed(session, &mut bytes) };
            rest.extend(bytes);
        });
        ready!(got)?;
        Poll::Ready(fed)
    }
}

/// Gives encrypted bytes to the session until they are all taken in, or plain ones have to be taken out first.
fn feed(session: &mut ServerConnection, bytes: &mut impl BufRead) -> io::Result<()> {
    loop {
        let left = bytes.fill_buf()?.len();
        if left == 0 {
            return Ok(());
        }
        match session.read_tls(bytes) {
            // It has said close_notify: what follows means nothing.
            Ok(0) => bytes.consume(left),
            Ok(_) => _ = session.process_new_packets().map_err(in_words)?,
            // The only error of reading from memory: the session is full.
            Err(_) if session.reader().fill_buf().is_ok() => return Ok(()),
            Err(e) => return Err(e),
        }
    }
}

/// Tells the session of the client's FIN.
fn end(session: &mut ServerConnection) -> io::Result<()> {
    session.read_tls(&mut io::empty()).map(drop)
}

fn in_words(error: Error) -> io::Error {
    let text = match error {
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => "what came is not TLS (plain HTTP to a TLS port?)".to_owned(),
        Error::AlertReceived(alert) => format!("the client refused: {alert:?}"),
        error => error.to_string(),
    };
    io::Error::new(ErrorKind::InvalidData, text)
}

fn gone(text: &'static str) -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, text)
}

/// Lets others have their turn.
fn later<T>(cx: &Context<'_>) -> Poll<T> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// The socket as rustls writes to it.
struct Out<'a, 'b, 'c> {
    io: &'a Io,
    cx: &'b Context<'c>,
}

impl Write for Out<'_, '_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.io.write(self.cx, bytes) {
            Poll::Ready(sent) => sent,
            Poll::Pending => Err(ErrorKind::WouldBlock.into()),
        }
    }

    /// Each buffer is a record. Small ones (a handshake's, an answer's head) go into one segment.
    fn write_vectored(&mut self, records: &[IoSlice<'_>]) -> io::Result<usize> {
        match records {
            [] => Ok(0),
            [first, _, ..] if first.len() < SMALL => {
                let small = records.iter().take_while(|record| record.len() < SMALL);
                let next = records.iter().find(|record| record.len() >= SMALL);
                let together: Vec<&[u8]> = small.chain(next).map(|record| &record[..]).collect();
                self.write(&together.concat())
            }
            [first, ..] => self.write(first),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
