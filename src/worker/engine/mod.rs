//! The event engine of a built-in worker: one thread, one mio loop, futures polled when woken.
//!
//! `reactor` watches descriptors, `task` keeps futures, `timers` keeps precise delays, `io` is a
//! socket with readiness, `wires` the sockets that futures open, `connect` how they do. Nothing here knows a
//! service, a config or a message: `worker` joins the parts in its turn. A `Handle` is what a future may hold
//! of the engine; `helpers` does what blocks.
//! Never: blocks outside `Reactor::wait`, starts a thread outside `helpers`, logs.

pub mod connect;
pub mod helpers;
pub mod io;
pub mod reactor;
pub mod slab;
pub mod task;
pub mod timers;
pub mod wires;

use crate::model::Moment;
use crate::sys::clock;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::Result;
use std::pin::Pin;
use timers::Timers;
use wires::Wires;

/// Bytes one read may take from a socket at most; all connections share this one buffer.
pub const BUFFER: usize = 64 * 1024;

/// A future that belongs to no connection.
pub type Loose = Pin<Box<dyn Future<Output = ()>>>;

/// The part of the engine that futures share: cheap, single-threaded, held in an `Rc`.
pub struct Handle {
    pub registry: mio::Registry,
    pub timers: RefCell<Timers>,
    pub wires: Wires,
    /// What was spawned since the loop last looked.
    spawned: RefCell<Vec<Loose>>,
    now: Cell<Moment>,
    buffer: RefCell<Box<[u8]>>,
}

impl Handle {
    /// A handle on the reactor behind `registry`.
    pub fn new(registry: &mio::Registry) -> Result<Handle> {
        Ok(Handle {
            registry: registry.try_clone()?,
            timers: RefCell::new(Timers::default()),
            wires: Wires::default(),
            spawned: RefCell::new(Vec::new()),
            now: Cell::new(Moment(clock::monotonic_ns())),
            buffer: RefCell::new(vec![0; BUFFER].into_boxed_slice()),
        })
    }

    /// The time at which the loop last came back from waiting.
    pub fn now(&self) -> Moment {
        self.now.get()
    }

    /// Reads the clock; called once a turn.
    pub fn refresh(&self) -> Moment {
        let now = Moment(clock::monotonic_ns());
        self.now.set(now);
        now
    }

    /// Has a future run on this loop, beside the task that asks.
    pub fn spawn(&self, future: Loose) {
        self.spawned.borrow_mut().push(future);
    }

    /// Something is to be taken in: the loop must not wait.
    pub fn has_spawned(&self) -> bool {
        !self.spawned.borrow().is_empty()
    }

    /// What the loop is to take in.
    pub fn take_spawned(&self) -> Vec<Loose> {
        self.spawned.take()
    }

    /// Lends the loop's read buffer. Not to be called from within `f`.
    pub fn with_buffer<R>(&self, f: impl FnOnce(&mut [u8]) -> R) -> R {
        f(&mut self.buffer.borrow_mut())
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("now", &self.now).field("wires", &self.wires.len()).finish()
    }
}
