//! Sockets that futures open themselves: connections to upstreams.
//!
//! A task has no hands on the reactor's table, so these have a table of their own, told apart by a bit of
//! the token. `Wires::add` registers a socket and gives back a `Wire`; dropping it closes the socket.
//! The loop passes their events to `Wires::event`, and calls `recycle` between two batches.
//! Never: knows who is at the other end.

use super::Handle;
use super::io::Io;
use super::reactor::Ready;
use super::slab::Slab;
use mio::unix::SourceFd;
use mio::{Interest, Token};
use std::cell::RefCell;
use std::io::Result;
use std::ops::Deref;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

/// Set in every token of a wire, and in no other but the waker's.
pub const WIRE: usize = 1 << (usize::BITS - 2);

/// The open wires of one loop.
#[derive(Debug, Default)]
pub struct Wires {
    table: RefCell<Slab<Rc<Io>>>,
}

/// One of them; its owner's alone.
#[derive(Debug)]
pub struct Wire {
    io: Rc<Io>,
    key: usize,
    engine: Rc<Handle>,
}

impl Wire {
    /// Watches a connected or connecting socket, for reading and writing.
    ///
    /// A connecting one counts as not writable until epoll says otherwise. Errors: epoll_ctl(2).
    pub fn new(engine: &Rc<Handle>, fd: OwnedFd, connecting: bool) -> Result<Wire> {
        let raw = fd.as_raw_fd();
        let mut table = engine.wires.table.borrow_mut();
        let key = table.next_key();
        let token = WIRE | key;
        engine.registry.register(
            &mut SourceFd(&raw),
            Token(token),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        let io = Rc::new(Io::opened(engine, token, fd, !connecting));
        table.insert(io.clone());
        drop(table);
        Ok(Wire { io, key, engine: engine.clone() })
    }
}

impl Deref for Wire {
    type Target = Io;

    fn deref(&self) -> &Io {
        &self.io
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // The table's is the last handle but ours; the socket is closed when both are gone.
        let gone = self.engine.wires.table.borrow_mut().remove(self.key);
        drop(gone);
    }
}

impl Wires {
    /// epoll has something of a wire, or of one that has just gone.
    pub fn event(&self, ready: &Ready) {
        let io = self.table.borrow().get(ready.key & !WIRE).cloned();
        if let Some(io) = io {
            io.event(ready);
        }
    }

    /// Numbers of closed wires may be given out again.
    pub fn recycle(&self) {
        self.table.borrow_mut().recycle();
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.table.borrow().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
