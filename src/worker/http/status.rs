//! Where a `status` route gets its document: from the master, which alone may read every slot.
//!
//! At most one question is under way; its answer serves everybody who waits and is good for 200 ms.
//! The loop sends the question (`take_question`) and delivers the answer. Who waits for a second without one is told so.

use crate::model::Moment;
use crate::worker::engine::Handle;
use crate::worker::engine::timers::Delay;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// How long an answer is good for.
const FRESH: Duration = Duration::from_millis(200);
/// How long anybody waits for one.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub struct Desk {
    document: RefCell<Option<(Moment, Bytes)>>,
    waiting: RefCell<Vec<Waker>>,
    wanted: Cell<bool>,
    asked: Cell<Option<Moment>>,
}

impl Desk {
    /// The document; `None` if the master has not answered in time.
    pub async fn ask(&self, engine: &Rc<Handle>) -> Option<Bytes> {
        let mut patience = pin!(Delay::new(engine, PATIENCE));
        poll_fn(|cx| {
            let now = engine.now();
            if let Some((at, document)) = &*self.document.borrow()
                && now.since(*at) < FRESH
            {
                return Poll::Ready(Some(document.clone()));
            }
            if patience.as_mut().poll(cx).is_ready() {
                // Some of these have gone long ago; those that still wait come back.
                self.waiting.take().into_iter().for_each(Waker::wake);
                return Poll::Ready(None);
            }
            if self.asked.get().is_none_or(|at| now.since(at) >= PATIENCE) {
                self.wanted.set(true);
            }
            self.waiting.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// True once for each question that is to be sent.
    pub fn take_question(&self, now: Moment) -> bool {
        let wanted = self.wanted.replace(false);
        if wanted {
            self.asked.set(Some(now));
        }
        wanted
    }

    /// The master's answer.
    pub fn deliver(&self, document: Bytes, now: Moment) {
        self.asked.set(None);
        *self.document.borrow_mut() = Some((now, document));
        for waker in self.waiting.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Context;

    #[test]
    fn a_silent_master_leaves_nobody_on_the_list() {
        let poll = mio::Poll::new().unwrap();
        let engine = Rc::new(Handle::new(poll.registry()).unwrap());
        let desk = Desk::default();
        let mut cx = Context::from_waker(Waker::noop());
        let mut asks: Vec<_> = (0..50).map(|_| Box::pin(desk.ask(&engine))).collect();
        assert!(asks.iter_mut().all(|ask| ask.as_mut().poll(&mut cx).is_pending()));
        assert_eq!(desk.waiting.borrow().len(), 50);
        // Clients that go away leave their wakers behind.
        asks.truncate(1);
        let begun = engine.refresh();
        while asks[0].as_mut().poll(&mut cx).is_pending() {
            assert!(engine.refresh().since(begun) < PATIENCE * 20, "it is still waited for");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(desk.waiting.borrow().len(), 0);
    }
}
