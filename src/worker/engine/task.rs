//! Futures in a table, polled when something woke them.
//!
//! A task carries a tag of its owner's and ends in a value for the owner. A wake-up puts its number
//! into the ready queue once; from another thread it also kicks the poll. A slot's waker outlives the task in it:
//! a stale wake-up is a spurious poll of the next one, which any future must bear.
//! A panic in a future ends that task only: `poll` hands its message out.

use super::reactor::WAKER;
use parking_lot::Mutex;
use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

static LOOPS: AtomicUsize = AtomicUsize::new(1);

thread_local! {
    /// The loop that runs on this thread; 0 is none.
    static HOME: Cell<usize> = const { Cell::new(0) };
}

struct ReadyQueue {
    queue: Mutex<Vec<u32>>,
    home: usize,
    kick: mio::Waker,
}

struct TaskWaker {
    id: u32,
    queued: AtomicBool,
    ready: Arc<ReadyQueue>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        self.ready.queue.lock().push(self.id);
        if HOME.get() != self.ready.home {
            // A full eventfd is the only way this fails, and then a wake-up is under way already.
            let _ = self.ready.kick.wake();
        }
    }
}

struct Slot<F> {
    future: Option<Pin<Box<F>>>,
    tag: usize,
    wake: Arc<TaskWaker>,
    waker: Waker,
}

/// How a task ended.
pub enum End<T> {
    Done(T),
    Panicked(String),
}

/// The table of tasks of one loop.
pub struct Tasks<F: Future> {
    slots: Vec<Slot<F>>,
    free: Vec<u32>,
    ready: Arc<ReadyQueue>,
    batch: Vec<u32>,
}

impl<F: Future> fmt::Debug for Tasks<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("slots", &self.slots.len()).field("free", &self.free.len()).finish()
    }
}

impl<F: Future> Tasks<F> {
    /// Tasks that run on the calling thread; wake-ups from others kick the poll behind `registry`.
    pub fn new(registry: &mio::Registry) -> io::Result<Tasks<F>> {
        let home = LOOPS.fetch_add(1, Ordering::Relaxed);
        HOME.set(home);
        let kick = mio::Waker::new(registry, WAKER)?;
        let ready = Arc::new(ReadyQueue { queue: Mutex::new(Vec::new()), home, kick });
        Ok(Tasks { slots: Vec::new(), free: Vec::new(), ready, batch: Vec::new() })
    }

    /// Takes a future in and makes it ready to be polled.
    pub fn spawn(&mut self, tag: usize, future: F) -> u32 {
        let future = Some(Box::pin(future));
        let id = if let Some(id) = self.free.pop() {
            let slot = &mut self.slots[id as usize];
            (slot.future, slot.tag) = (future, tag);
            id
        } else {
            let id = self.slots.len() as u32;
            let wake = Arc::new(TaskWaker { id, queued: AtomicBool::new(false), ready: self.ready.clone() });
            self.slots.push(Slot { future, tag, waker: Waker::from(wake.clone()), wake });
            id
        };
        self.slots[id as usize].waker.wake_by_ref();
        id
    }

    /// Has a task polled in the next turn.
    pub fn wake(&self, id: u32) {
        if let Some(slot) = self.slots.get(id as usize) {
            slot.waker.wake_by_ref();
        }
    }

    /// Drops a task where it stands. A panic in its drop is swallowed with it.
    pub fn cancel(&mut self, id: u32) {
        let Some(slot) = self.slots.get_mut(id as usize) else { return };
        if let Some(future) = slot.future.take() {
            let _ = catch_unwind(AssertUnwindSafe(|| drop(future)));
            self.free.push(id);
        }
    }

    /// True if something waits to be polled.
    pub fn any_ready(&self) -> bool {
        !self.ready.queue.lock().is_empty()
    }

    /// What is ready now; what is woken meanwhile waits for the next turn, so that sockets get theirs.
    /// Give the vector back with `done`.
    pub fn take_ready(&mut self) -> Vec<u32> {
        let mut batch = std::mem::take(&mut self.batch);
        std::mem::swap(&mut batch, &mut self.ready.queue.lock());
        batch
    }

    /// Takes a batch's vector back.
    pub fn done(&mut self, mut batch: Vec<u32>) {
        batch.clear();
        self.batch = batch;
    }

    /// Polls one task; its tag and its end, if it ended.
    pub fn poll(&mut self, id: u32) -> Option<(usize, End<F::Output>)> {
        let slot = self.slots.get_mut(id as usize)?;
        // Before the poll: a wake-up from within it must count.
        slot.wake.queued.store(false, Ordering::Release);
        let future = slot.future.as_mut()?;
        let mut context = Context::from_waker(&slot.waker);
        let end = match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context))) {
            Ok(Poll::Pending) => return None,
            Ok(Poll::Ready(output)) => End::Done(output),
            Err(payload) => End::Panicked(text_of(payload.as_ref())),
        };
        let tag = slot.tag;
        self.cancel(id);
        Some((tag, end))
    }
}

/// What a panic said.
pub fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::time::Duration;

    type Boxed = Pin<Box<dyn Future<Output = u32>>>;

    fn run(tasks: &mut Tasks<Boxed>) -> Vec<(usize, Result<u32, String>)> {
        let batch = tasks.take_ready();
        let ends = batch.iter().filter_map(|id| tasks.poll(*id)).map(|(tag, end)| match end {
            End::Done(n) => (tag, Ok(n)),
            End::Panicked(text) => (tag, Err(text)),
        });
        let ends = ends.collect();
        tasks.done(batch);
        ends
    }

    #[test]
    fn a_panic_ends_its_task_and_no_other() {
        let poll = mio::Poll::new().unwrap();
        let mut tasks: Tasks<Boxed> = Tasks::new(poll.registry()).unwrap();
        tasks.spawn(7, Box::pin(async { panic!("broken {}", 1) }));
        tasks.spawn(8, Box::pin(async { 5 }));
        assert_eq!(run(&mut tasks), [(7, Err("broken 1".to_owned())), (8, Ok(5))]);
        assert!(!tasks.any_ready());
    }

    #[test]
    fn a_wake_from_another_thread_kicks_the_poll() {
        let mut poll = mio::Poll::new().unwrap();
        let mut tasks: Tasks<Boxed> = Tasks::new(poll.registry()).unwrap();
        let (send, receive) = std::sync::mpsc::channel();
        let mut polled = 0;
        tasks.spawn(
            1,
            Box::pin(poll_fn(move |cx| {
                polled += 1;
                if polled == 2 {
                    return Poll::Ready(polled);
                }
                send.send(cx.waker().clone()).unwrap();
                Poll::Pending
            })),
        );
        assert_eq!(run(&mut tasks), []);
        let waker = receive.recv().unwrap();
        let other = std::thread::spawn(move || waker.wake());
        let mut events = mio::Events::with_capacity(4);
        poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
        assert_eq!(events.iter().next().map(|event| event.token()), Some(WAKER));
        other.join().unwrap();
        assert_eq!(run(&mut tasks), [(1, Ok(2))]);
    }

    #[test]
    fn a_stale_wake_up_polls_the_successor_at_most_once_more() {
        let poll = mio::Poll::new().unwrap();
        let mut tasks: Tasks<Boxed> = Tasks::new(poll.registry()).unwrap();
        let id = tasks.spawn(1, Box::pin(std::future::pending()));
        run(&mut tasks);
        tasks.slots[id as usize].waker.wake_by_ref();
        tasks.cancel(id);
        assert_eq!(tasks.spawn(2, Box::pin(async { 9 })), id);
        assert_eq!(run(&mut tasks), [(2, Ok(9))]);
        assert_eq!(run(&mut tasks), []);
    }
}
