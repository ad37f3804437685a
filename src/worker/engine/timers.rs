//! Precise timers for futures: response delays and deadlines.
//!
//! Coarse timeouts of connections are not here: they expire in the order in which they were set and
//! are swept (see `worker::lists`). The loop asks `next` before it waits and calls `fire` after.

use super::Handle;
use crate::model::Moment;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// What is to be woken when.
#[derive(Debug, Default)]
pub struct Timers {
    waiting: BTreeMap<(Moment, u64), Waker>,
    made: u64,
}

impl Timers {
    /// The nearest moment.
    pub fn next(&self) -> Option<Moment> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    /// Wakes everything that is due.
    pub fn fire(&mut self, now: Moment) {
        while let Some(entry) = self.waiting.first_entry() {
            if entry.key().0 > now {
                return;
            }
            entry.remove().wake();
        }
    }
}

/// A future that is ready at a moment.
#[derive(Debug)]
pub struct Delay {
    engine: Rc<Handle>,
    at: Moment,
    number: Option<u64>,
}

impl Delay {
    /// Ready `length` after now.
    pub fn new(engine: &Rc<Handle>, length: Duration) -> Delay {
        Delay { engine: engine.clone(), at: engine.now() + length, number: None }
    }
}

impl Future for Delay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.engine.now() >= self.at {
            return Poll::Ready(());
        }
        let mut timers = self.engine.timers.borrow_mut();
        let number = self.number.unwrap_or_else(|| {
            timers.made += 1;
            timers.made
        });
        timers.waiting.insert((self.at, number), cx.waker().clone());
        drop(timers);
        self.number = Some(number);
        Poll::Pending
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.engine.timers.borrow_mut().waiting.remove(&(self.at, number));
        }
    }
}
