//! A non-blocking socket with remembered readiness.
//!
//! Registered edge-triggered for reading when it was accepted; for writing only once a write would
//! have blocked, so that an idle socket causes no needless event. A short read clears readiness: no
//! call is spent to hear EAGAIN. Reads go through the loop's buffer and are handed out as slices.
//! Belongs to one task: there is one waker for both directions.

use super::reactor::Ready;
use super::{BUFFER, Handle};
use crate::model::Moment;
use crate::sys::net;
use crate::sys::splice::Pipe;
use mio::unix::SourceFd;
use mio::{Interest, Token};
use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// What is kept of a socket from one task to the next.
#[derive(Debug)]
pub struct Socket {
    pub fd: OwnedFd,
    /// True once it is registered for writing too.
    pub watches_writing: bool,
}

/// A socket in the hands of a task.
#[derive(Debug)]
pub struct Io {
    fd: OwnedFd,
    key: usize,
    engine: Rc<Handle>,
    readable: Cell<bool>,
    writable: Cell<bool>,
    /// FIN has been announced: read until it is met.
    fin: Cell<bool>,
    eof: Cell<bool>,
    broken: Cell<bool>,
    failed: Cell<bool>,
    watches_writing: Cell<bool>,
    last_read: Cell<Moment>,
    stuck_since: Cell<Option<Moment>>,
    waker: RefCell<Option<Waker>>,
}

impl Io {
    /// Takes over a socket that has become readable; `key` is its number in the reactor.
    pub fn new(engine: &Rc<Handle>, key: usize, socket: Socket, fin: bool) -> Io {
        Io {
            fd: socket.fd,
            key,
            readable: Cell::new(true),
            writable: Cell::new(true),
            fin: Cell::new(fin),
            eof: Cell::new(false),
            broken: Cell::new(false),
            failed: Cell::new(false),
            watches_writing: Cell::new(socket.watches_writing),
            last_read: Cell::new(engine.now()),
            stuck_since: Cell::new(None),
            waker: RefCell::new(None),
            engine: engine.clone(),
        }
    }

    /// A socket that a future has opened, registered for both directions under `key`.
    pub fn opened(engine: &Rc<Handle>, key: usize, fd: OwnedFd, writable: bool) -> Io {
        let io = Io::new(engine, key, Socket { fd, watches_writing: true }, false);
        io.readable.set(false);
        io.writable.set(writable);
        io
    }

    /// Waits until epoll has said that it can be written to: a connect has ended, well or not.
    pub fn poll_writable(&self, cx: &Context<'_>) -> Poll<()> {
        if self.writable.get() {
            return Poll::Ready(());
        }
        self.arm(cx);
        Poll::Pending
    }

    /// Gives the socket back.
    pub fn into_socket(self) -> Socket {
        Socket { fd: self.fd, watches_writing: self.watches_writing.get() }
    }

    /// Notes what epoll said and wakes the task.
    pub fn event(&self, ready: &Ready) {
        if ready.readable {
            self.readable.set(true);
        }
        if ready.writable {
            self.writable.set(true);
        }
        if ready.read_closed {
            self.fin.set(true);
        }
        if ready.broken {
            self.broken.set(true);
        }
        if ready.failed {
            self.failed.set(true);
        }
        // Taken, not cloned: the task stores a new one when it waits again.
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Reads at most `most` bytes (and at most the loop's buffer) and shows them to `take`. `Ok(0)` is EOF.
    pub fn read(&self, cx: &Context<'_>, most: usize, take: impl FnOnce(&[u8])) -> Poll<Result<usize>> {
        if !self.readable.get() {
            return self.wait(cx);
        }
        let most = most.min(BUFFER);
        let got = self.engine.with_buffer(|buffer| {
            loop {
                match net::recv(self.fd.as_fd(), &mut buffer[..most]) {
                    Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                    Err(e) => return Err(e),
                    Ok(n) => {
                        take(&buffer[..n]);
                        return Ok(n);
                    }
                }
            }
        });
        match got {
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                self.readable.set(false);
                self.wait(cx)
            }
            Err(e) => Poll::Ready(Err(e)),
            Ok(n) => {
                if n == 0 && most > 0 {
                    self.eof.set(true);
                } else if n < most && !self.fin.get() {
                    self.readable.set(false);
                }
                self.last_read.set(self.engine.now());
                Poll::Ready(Ok(n))
            }
        }
    }

    /// Looks at what is there without taking it, once there is more than the `seen` bytes of before, or the end.
    /// How much that is.
    pub fn peek(&self, cx: &Context<'_>, bytes: &mut [u8], seen: usize) -> Poll<Result<usize>> {
        if !self.readable.get() {
            return self.wait(cx);
        }
        match net::peek(self.fd.as_fd(), bytes) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Ok(n) if n <= seen && !self.fin.get() => {}
            end => return Poll::Ready(end),
        }
        self.readable.set(false);
        self.wait(cx)
    }

    /// Sends what fits.
    pub fn write(&self, cx: &Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        if !self.writable.get() {
            return self.wait(cx);
        }
        loop {
            match net::send(self.fd.as_fd(), bytes) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Poll::Ready(Err(e)),
                Ok(n) => {
                    self.stuck_since.set(None);
                    return Poll::Ready(Ok(n));
                }
            }
        }
        self.full(cx)
    }

    /// The socket takes nothing more for now.
    fn full(&self, cx: &Context<'_>) -> Poll<Result<usize>> {
        self.writable.set(false);
        if self.stuck_since.get().is_none() {
            self.stuck_since.set(Some(self.engine.now()));
        }
        if !self.watches_writing.replace(true) {
            let both = Interest::READABLE | Interest::WRITABLE;
            self.engine.registry.reregister(&mut SourceFd(&self.fd.as_raw_fd()), Token(self.key), both)?;
        }
        self.wait(cx)
    }

    /// Splices what is there into an empty pipe, `most` bytes at most. `Ok(0)` is EOF.
    pub fn fill(&self, cx: &Context<'_>, pipe: &mut Pipe, most: usize) -> Poll<Result<usize>> {
        if !self.readable.get() {
            return self.wait(cx);
        }
        match pipe.fill(self.fd.as_fd(), most) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                self.readable.set(false);
                self.wait(cx)
            }
            Err(e) => Poll::Ready(Err(e)),
            Ok(n) => {
                self.eof.set(n == 0);
                self.last_read.set(self.engine.now());
                Poll::Ready(Ok(n))
            }
        }
    }

    /// Splices what a pipe holds into the socket.
    pub fn drain(&self, cx: &Context<'_>, pipe: &mut Pipe) -> Poll<Result<usize>> {
        if !self.writable.get() {
            return self.wait(cx);
        }
        match pipe.drain(self.fd.as_fd()) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => self.full(cx),
            Err(e) => Poll::Ready(Err(e)),
            Ok(n) => {
                self.stuck_since.set(None);
                Poll::Ready(Ok(n))
            }
        }
    }

    /// The socket itself.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The peer's FIN has been read.
    pub fn at_eof(&self) -> bool {
        self.eof.get()
    }

    /// The peer has sent its FIN, read or not.
    pub fn has_fin(&self) -> bool {
        self.fin.get() || self.eof.get()
    }

    /// Reset or hung up: nothing can be read or written any more.
    pub fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Reset, or failed in another way. Unlike `is_broken` not true of a socket that both sides have ended, from which
    /// there may still be something to be read.
    pub fn has_failed(&self) -> bool {
        self.failed.get()
    }

    /// Something may be there to be read without a further event.
    pub fn may_read(&self) -> bool {
        self.readable.get()
    }

    /// When bytes (or the socket itself) last came in.
    pub fn last_read(&self) -> Moment {
        self.last_read.get()
    }

    /// Since when the peer has taken nothing of what is to be sent.
    pub fn stuck_since(&self) -> Option<Moment> {
        self.stuck_since.get()
    }

    fn wait<T>(&self, cx: &Context<'_>) -> Poll<Result<T>> {
        self.arm(cx);
        Poll::Pending
    }

    /// The next event wakes the task that asks.
    pub fn arm(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }
}
