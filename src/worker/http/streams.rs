//! What an HTTP/2 connection knows of its streams: how many are open, whom to wake, and how far its farewell has come.
//!
//! A `Talk` has one as soon as HTTP/2 is spoken. `Exchange` opens and closes streams in it, `Serve` reads when the
//! connection may go, the sweep how long there has been none. `Aboard` is how hyper has a stream run: as a task of its own,
//! which is ended when its client takes nothing for too long, or when the connection has gone.
//! Never: counts requests, ends a connection.

use super::exchange::Stream;
use super::talk::Talk;
use crate::model::Moment;
use crate::worker::engine::timers::Watch;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Bytes of what a client begins with (RFC 9113, 3.4): 24 that are always the same, and its SETTINGS, of nine at least.
const PREFACE: usize = 24 + 9;

/// The streams of one connection.
#[derive(Debug)]
pub struct Streams {
    /// Bytes of the client's preface that are still to come.
    preface: Cell<usize>,
    open: Cell<u32>,
    /// Since when there is none, if there is none.
    none_since: Cell<Moment>,
    /// The tasks of those that are open.
    wakers: RefCell<BTreeMap<u32, Waker>>,
    /// What hyper has just handed over, until it says how that is to run.
    newest: RefCell<Weak<Stream>>,
    /// The client has idled for long enough: it is to be told that no more streams are taken.
    pub leaving: Cell<bool>,
    /// When it was told so.
    pub farewell: Cell<Option<Moment>>,
    /// The connection is over: no stream may go on.
    over: Cell<bool>,
    /// Who waits until none is open.
    last: RefCell<Option<Waker>>,
}

impl Streams {
    pub fn new(now: Moment) -> Streams {
        Streams {
            preface: Cell::new(PREFACE),
            open: Cell::new(0),
            none_since: Cell::new(now),
            wakers: RefCell::default(),
            newest: RefCell::default(),
            leaving: Cell::new(false),
            farewell: Cell::new(None),
            over: Cell::new(false),
            last: RefCell::default(),
        }
    }

    /// So many bytes have been given to hyper.
    pub fn heard(&self, n: usize) {
        self.preface.set(self.preface.get().saturating_sub(n));
    }

    /// The client has said that it speaks HTTP/2.
    pub fn has_begun(&self) -> bool {
        self.preface.get() == 0
    }

    /// How many are open.
    pub fn open(&self) -> u32 {
        self.open.get()
    }

    /// One more; true if it is the only one.
    pub fn opened(&self, stream: &Rc<Stream>) -> bool {
        self.newest.replace(Rc::downgrade(stream));
        self.open.replace(self.open.get() + 1) == 0
    }

    /// One fewer; true if it was the last.
    pub fn closed(&self, number: u32, now: Moment) -> bool {
        self.wakers.borrow_mut().remove(&number);
        let open = self.open.get().saturating_sub(1);
        self.open.set(open);
        if open > 0 {
            return false;
        }
        self.none_since.set(now);
        if let Some(waker) = self.last.take() {
            waker.wake();
        }
        true
    }

    /// Since when there has been no stream.
    pub fn none_since(&self) -> Option<Moment> {
        (self.open.get() == 0).then(|| self.none_since.get())
    }

    /// Has every stream's task polled, so that it sees what it was told.
    pub fn wake(&self) {
        self.wakers.take().into_values().for_each(Waker::wake);
    }

    /// The connection has gone: all streams end in their next turn.
    pub fn end(&self) {
        self.over.set(true);
        self.wake();
    }

    /// Ready when no stream is open.
    pub fn poll_none(&self, cx: &Context<'_>) -> Poll<()> {
        if self.open.get() == 0 {
            return Poll::Ready(());
        }
        self.last.replace(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// `wake` is to wake this task.
    fn listen(&self, number: u32, waker: &Waker) {
        let mut wakers = self.wakers.borrow_mut();
        if !wakers.get(&number).is_some_and(|known| known.will_wake(waker)) {
            wakers.insert(number, waker.clone());
        }
    }
}

/// Has the streams of a connection run beside it.
#[derive(Clone, Debug)]
pub struct Aboard {
    talk: Rc<Talk>,
    /// How long a client may take nothing of an answer.
    write_timeout: Duration,
}

impl Aboard {
    pub fn new(talk: &Rc<Talk>, write_timeout: Duration) -> Aboard {
        Aboard { talk: talk.clone(), write_timeout }
    }
}

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Aboard {
    fn execute(&self, future: F) {
        let newest = self.talk.streams().and_then(|streams| streams.newest.take().upgrade());
        let engine = &self.talk.shared.engine;
        // It is called right after the service; what it hands over else is no stream.
        match newest {
            Some(stream) => engine.spawn(Box::pin(run(stream, future, self.write_timeout))),
            None => engine.spawn(Box::pin(future)),
        }
    }
}

/// Runs a stream to its end. Dropped before, hyper's part of it resets the stream (CANCEL).
async fn run(stream: Rc<Stream>, future: impl Future<Output = ()>, write_timeout: Duration) {
    let mut future = pin!(future);
    let mut patience = Watch::new(&stream.talk.shared.engine, write_timeout);
    let Some(streams) = stream.talk.streams() else { return };
    poll_fn(|cx| {
        if streams.over.get() || future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        streams.listen(stream.number, cx.waker());
        if let Some(since) = stream.stuck_since()
            && patience.poll(cx, since).is_ready()
        {
            stream.blame();
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}
