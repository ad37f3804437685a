//! The client's side of a connection: its socket, and TLS if that is spoken on it.
//!
//! Reads and writes as `Io` does, so that HTTP and tunnels need not know what is beneath. `Kept` is what is left
//! of it between two tasks. A client's close_notify counts as its end, and so does a FIN without one: who
//! needs to know whether a message is whole has its length.
//! Never: shakes hands (`opening`), decides when to close.

use super::engine::io::{Io, Socket};
use super::tls::Tls;
use super::tunnel::half::End;
use crate::sys::net;
use crate::sys::splice::Pipe;
use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Result};
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll, ready};

/// A client's connection in the hands of a task.
#[derive(Debug)]
pub struct Near {
    io: Io,
    tls: Option<RefCell<Box<Tls>>>,
    /// The client has said within TLS that nothing more comes.
    notified: Cell<bool>,
}

/// What is kept of it from one task to the next.
#[derive(Debug)]
pub struct Kept {
    pub socket: Socket,
    pub tls: Option<Box<Tls>>,
}

/// What waits in a connection.
pub enum Unread {
    Nothing,
    Bytes,
    /// FIN or an error.
    End,
}

impl Kept {
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.fd.as_fd()
    }

    /// Looks at what waits, without taking it.
    pub fn unread(&mut self) -> Unread {
        if self.tls.as_mut().is_some_and(|tls| tls.holds()) {
            return Unread::Bytes;
        }
        match net::peek(self.fd(), &mut [0]) {
            Ok(0) => Unread::End,
            Ok(_) => Unread::Bytes,
            Err(e) if e.kind() == ErrorKind::WouldBlock => Unread::Nothing,
            Err(_) => Unread::End,
        }
    }

    /// Sends the last that is sent, as far as there is room; true if there was.
    pub fn last_words(&mut self, words: &[u8]) -> bool {
        let sealed = match &mut self.tls {
            None => return words.is_empty() || net::send(self.fd(), words).is_ok(),
            Some(tls) => tls.last_words(words),
        };
        sealed.is_empty() || net::send(self.fd(), &sealed).is_ok()
    }
}

impl Near {
    pub fn new(io: Io, tls: Option<Box<Tls>>) -> Near {
        Near { io, tls: tls.map(RefCell::new), notified: Cell::new(false) }
    }

    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Reads at most `most` bytes and shows them to `take`. `Ok(0)` is the client's end.
    pub fn read(&self, cx: &mut Context<'_>, most: usize, take: impl FnOnce(&[u8])) -> Poll<Result<usize>> {
        let Some(tls) = &self.tls else { return self.io.read(cx, most, take) };
        let read = match ready!(tls.borrow_mut().poll_read(&self.io, cx, most, take)) {
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(0),
            read => read,
        };
        if matches!(read, Ok(0)) {
            self.notified.set(true);
        }
        Poll::Ready(read)
    }

    /// Takes what there is room for; TLS sends it by `flush` at the latest.
    pub fn write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        match &self.tls {
            None => self.io.write(cx, bytes),
            Some(tls) => tls.borrow_mut().poll_write(&self.io, cx, bytes),
        }
    }

    /// Ready when everything written is in the socket.
    pub fn flush(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match &self.tls {
            None => Poll::Ready(Ok(())),
            Some(tls) => tls.borrow_mut().poll_flush(&self.io, cx),
        }
    }

    /// The client's end has been read.
    pub fn at_eof(&self) -> bool {
        self.io.at_eof() || self.notified.get()
    }

    /// Something may be there to be read without a further event.
    pub fn may_read(&self) -> bool {
        self.io.may_read() || self.tls.as_ref().is_some_and(|tls| tls.borrow_mut().holds())
    }

    /// Whether more of the client waits than its end. Within TLS what waits in the socket may be anything, and counts.
    pub fn has_input(&self) -> bool {
        let inside = self.tls.as_ref().is_some_and(|tls| tls.borrow_mut().holds());
        inside || matches!(net::peek(self.io.as_fd(), &mut [0]), Ok(1..))
    }

    /// Gives it back.
    pub fn into_kept(self) -> Kept {
        Kept { socket: self.io.into_socket(), tls: self.tls.map(RefCell::into_inner) }
    }
}

impl Deref for Near {
    type Target = Io;

    fn deref(&self) -> &Io {
        &self.io
    }
}

impl End for Near {
    fn take(&self, cx: &mut Context<'_>, most: usize, show: &mut dyn FnMut(&[u8])) -> Poll<Result<usize>> {
        self.read(cx, most, show)
    }

    fn put(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        self.write(cx, bytes)
    }

    fn send(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.flush(cx)
    }

    fn is_plain(&self) -> bool {
        self.tls.is_none()
    }

    fn fill(&self, cx: &mut Context<'_>, pipe: &mut Pipe, most: usize) -> Poll<Result<usize>> {
        self.io.fill(cx, pipe, most)
    }

    fn drain(&self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<Result<usize>> {
        self.io.drain(cx, pipe)
    }

    fn finish(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if let Some(tls) = &self.tls {
            ready!(tls.borrow_mut().send_close_notify(&self.io, cx))?;
        }
        Poll::Ready(net::shutdown_write(self.io.as_fd()))
    }
}
