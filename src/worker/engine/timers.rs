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
        Delay::until(engine, engine.now() + length)
    }

    /// Ready at `at`.
    pub fn until(engine: &Rc<Handle>, at: Moment) -> Delay {
        Delay { engine: engine.clone(), at, number: None }
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

/// How long something may stand still that moves now and then: the timer is set anew only when it has run out.
#[derive(Debug)]
pub struct Watch {
    engine: Rc<Handle>,
    limit: Duration,
    delay: Option<Delay>,
}

impl Watch {
    pub fn new(engine: &Rc<Handle>, limit: Duration) -> Watch {
        Watch { engine: engine.clone(), limit, delay: None }
    }

    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Ready if nothing has moved since `since` for too long.
    pub fn poll(&mut self, cx: &mut Context<'_>, since: Moment) -> Poll<()> {
        self.poll_for(cx, since, self.limit)
    }

    /// The same with another limit for this once.
    pub fn poll_for(&mut self, cx: &mut Context<'_>, since: Moment, limit: Duration) -> Poll<()> {
        let due = since + limit;
        if self.delay.as_ref().is_some_and(|delay| delay.at > due) {
            self.delay = None;
        }
        loop {
            if self.engine.now() >= due {
                return Poll::Ready(());
            }
            let delay = self.delay.get_or_insert_with(|| Delay::until(&self.engine, due));
            match Pin::new(delay).poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) => self.delay = None,
            }
        }
    }
}
