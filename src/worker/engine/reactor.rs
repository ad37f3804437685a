//! Descriptors watched by one mio poll, each with a value of the caller's.
//!
//! A source is registered edge-triggered: whoever owns it reads until it would block. `wait` fetches
//! a batch of events; what happens to a source while a batch is worked through can't confuse a later one (see `slab`).
//! Errors are the kernel's, from epoll_ctl(2) and epoll_wait(2); an interrupted wait is an empty batch.

use super::slab::Slab;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

/// The token of the waker that other threads use; never a source's key.
pub const WAKER: Token = Token(usize::MAX);

/// What epoll said of one source.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    pub key: usize,
    pub readable: bool,
    pub writable: bool,
    /// The peer has sent FIN (or the connection is gone altogether).
    pub read_closed: bool,
    /// Error or hang-up: both directions are dead.
    pub broken: bool,
    /// An error, a reset most likely; both sides having ended in good order is none.
    pub failed: bool,
}

/// The poll and its sources.
#[derive(Debug)]
pub struct Reactor<S> {
    poll: Poll,
    events: Events,
    batch: Vec<Ready>,
    pub sources: Slab<S>,
}

impl<S> Reactor<S> {
    pub fn new() -> io::Result<Reactor<S>> {
        Ok(Reactor {
            poll: Poll::new()?,
            events: Events::with_capacity(512),
            batch: Vec::with_capacity(512),
            sources: Slab::default(),
        })
    }

    pub fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// The epoll descriptor, for what mio can't ask for (`sys::poll`).
    pub fn epoll(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    /// Watches `fd` for reading; `source` (which usually owns it) is kept under the key given back.
    pub fn add(&mut self, fd: RawFd, source: S) -> io::Result<usize> {
        let key = self.sources.next_key();
        self.poll.registry().register(&mut SourceFd(&fd), Token(key), Interest::READABLE)?;
        let inserted = self.sources.insert(source);
        debug_assert_eq!(key, inserted);
        Ok(inserted)
    }

    /// Keeps a source that is not watched yet.
    pub fn insert(&mut self, source: S) -> usize {
        self.sources.insert(source)
    }

    /// Stops watching a descriptor that stays open. Closing one needs no call.
    pub fn unwatch(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.poll.registry().deregister(&mut SourceFd(&fd.as_raw_fd()))
    }

    /// Watches a descriptor whose source has its key already.
    pub fn watch(&self, fd: BorrowedFd<'_>, key: usize) -> io::Result<()> {
        self.poll.registry().register(&mut SourceFd(&fd.as_raw_fd()), Token(key), Interest::READABLE)
    }

    /// Waits at most `timeout` and gives back what is ready; return the vector with `done`.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<Vec<Ready>> {
        self.sources.recycle();
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::Interrupted => self.events.clear(),
            Err(e) => return Err(io::Error::new(e.kind(), format!("epoll_wait: {e}"))),
        }
        let mut batch = std::mem::take(&mut self.batch);
        batch.extend(self.events.iter().filter(|event| event.token() != WAKER).map(|event| Ready {
            key: event.token().0,
            readable: event.is_readable() || event.is_read_closed() || event.is_error(),
            writable: event.is_writable() || event.is_error(),
            read_closed: event.is_read_closed(),
            broken: event.is_error() || event.is_write_closed(),
            failed: event.is_error(),
        }));
        Ok(batch)
    }

    /// Takes a batch's vector back, to be filled again.
    pub fn done(&mut self, mut batch: Vec<Ready>) {
        batch.clear();
        self.batch = batch;
    }
}
