//! Threads for work that blocks: files, name services.
//!
//! `run` hands a closure to one of a few threads and gives a future of what it returns; the thread
//! wakes whoever polled it. The first thread is started when the first work comes, another whenever all
//! are busy, up to four; they end with `Helpers`. Signals are blocked in them, as in the thread that starts
//! them. What comes of work whose future is dropped is dropped too, and what has not begun is not done.
//! Never: runs more than so many threads, lets a panic end one, takes new work without bound.

use super::task::text_of;
use crossbeam_channel::{Receiver, SendError, Sender, unbounded};
use parking_lot::Mutex;
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;

/// Threads of one worker at most.
const MOST_THREADS: usize = 4;
/// Pieces of work that wait for a thread at most.
const MOST_WAITING: usize = 1024;
/// Bytes of a thread's stack: the name service of the C library takes the most of it.
const STACK: usize = 256 * 1024;

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Too much waits already: say so to whoever asked, or try later.
    Busy,
    /// The work panicked, with this message.
    Panicked(String),
    /// Not a single thread could be started, for this reason.
    NoThread(String),
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gone::Busy => write!(f, "{MOST_WAITING} pieces of work wait for a thread already"),
            Gone::Panicked(text) => {
                write!(f, "panic on a helper thread: {text}; this is a defect of masterd")
            }
            Gone::NoThread(why) => write!(f, "start a helper thread: {why}; raise the limit of processes"),
        }
    }
}

impl std::error::Error for Gone {}

/// Gives back whom to wake when it is done.
type Job = Box<dyn FnOnce() -> Option<Waker> + Send>;

/// The threads of one worker. Belongs to the thread of its loop.
pub struct Helpers {
    jobs: Sender<Job>,
    queue: Receiver<Job>,
    /// Jobs that wait or run.
    unfinished: Arc<AtomicUsize>,
    threads: Cell<usize>,
}

impl fmt::Debug for Helpers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Helpers")
            .field("threads", &self.threads)
            .field("unfinished", &self.unfinished)
            .finish()
    }
}

/// Where a result is left for its future.
struct Desk<T> {
    outcome: Option<Result<T, Gone>>,
    waker: Option<Waker>,
}

/// The result to come. To be polled by anybody, and not again once it is there.
pub struct Running<T> {
    desk: Arc<Mutex<Desk<T>>>,
}

impl Helpers {
    /// No thread yet.
    pub fn new() -> Helpers {
        let (jobs, queue) = unbounded();
        Helpers { jobs, queue, unfinished: Arc::default(), threads: Cell::new(0) }
    }

    /// Has `work` done on another thread, unless too much waits already. Never waits itself: errors
    /// come out of the future.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Running<T> {
        if self.unfinished.load(Ordering::Relaxed) >= MOST_THREADS + MOST_WAITING {
            let desk = Desk { outcome: Some(Err(Gone::Busy)), waker: None };
            return Running { desk: Arc::new(Mutex::new(desk)) };
        }
        self.go_on(work)
    }

    /// The same for work that has been promised, and so is never too much: the next piece of what is
    /// under way. One at a time of each connection, or the queue has no bound.
    pub fn go_on<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Running<T> {
        let desk = Arc::new(Mutex::new(Desk { outcome: None, waker: None }));
        let running = Running { desk: desk.clone() };
        let job = move || {
            // The future is gone: nobody wants to know.
            if Arc::strong_count(&desk) == 1 {
                return None;
            }
            let outcome = catch_unwind(AssertUnwindSafe(work));
            let outcome = outcome.map_err(|payload| Gone::Panicked(text_of(payload.as_ref())));
            let mut desk = desk.lock();
            desk.outcome = Some(outcome);
            desk.waker.take()
        };
        if let Err(gone) = self.submit(Box::new(job)) {
            running.desk.lock().outcome = Some(Err(gone));
        }
        running
    }

    fn submit(&self, job: Job) -> Result<(), Gone> {
        let unfinished = self.unfinished.fetch_add(1, Ordering::Relaxed) + 1;
        let started = if unfinished > self.threads.get() { self.start_thread() } else { Ok(()) };
        let refused = match started {
            // Those that are there will do it, if there are any.
            Err(why) if self.threads.get() == 0 => why,
            _ => match self.jobs.send(job) {
                Ok(()) => return Ok(()),
                Err(SendError(_)) => "the queue is closed".to_owned(),
            },
        };
        self.unfinished.fetch_sub(1, Ordering::Relaxed);
        Err(Gone::NoThread(refused))
    }

    /// One more, unless there are enough.
    fn start_thread(&self) -> Result<(), String> {
        if self.threads.get() == MOST_THREADS {
            return Ok(());
        }
        let (queue, unfinished) = (self.queue.clone(), self.unfinished.clone());
        let work = move || {
            // Until `Helpers` and with it the sender is gone.
            for job in queue {
                // Work's own panics are caught in the job; this is for what is dropped with it.
                let waker = catch_unwind(AssertUnwindSafe(job));
                // Before the wake-up: who asks for more finds this thread free.
                unfinished.fetch_sub(1, Ordering::Relaxed);
                if let Ok(Some(waker)) = waker {
                    waker.wake();
                }
            }
        };
        let thread = thread::Builder::new().name("masterd-helper".to_owned()).stack_size(STACK);
        thread.spawn(work).map_err(|error| error.to_string())?;
        self.threads.set(self.threads.get() + 1);
        Ok(())
    }
}

impl Default for Helpers {
    fn default() -> Helpers {
        Helpers::new()
    }
}

impl<T> Future for Running<T> {
    type Output = Result<T, Gone>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut desk = self.desk.lock();
        if let Some(outcome) = desk.outcome.take() {
            return Poll::Ready(outcome);
        }
        if !desk.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            desk.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::task::Wake;
    use std::time::{Duration, Instant};

    /// As much as may wait, and no more.
    pub(crate) fn fill(helpers: &Helpers) -> Vec<Running<usize>> {
        (0..MOST_WAITING).map(|n| helpers.run(move || n)).collect()
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    struct Unpark(thread::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    /// Polls until it is done, asleep in between: only a wake-up goes on.
    pub(crate) fn wait<F: Future>(future: F) -> F::Output {
        let mut future = Box::pin(future);
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let start = Instant::now();
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            thread::park_timeout(PATIENCE);
            assert!(start.elapsed() < PATIENCE, "never woken");
        }
    }

    fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < PATIENCE, "never happened: {what}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Four pieces of work that keep all threads until the sender is dropped.
    pub(crate) fn occupy(helpers: &Helpers) -> (mpsc::Sender<()>, Vec<Running<()>>) {
        let (go, wait) = mpsc::channel::<()>();
        let (begun, begin) = mpsc::channel();
        let wait = Arc::new(Mutex::new(wait));
        let running = (0..MOST_THREADS).map(|_| {
            let (wait, begun) = (wait.clone(), begun.clone());
            helpers.run(move || {
                begun.send(()).unwrap();
                let _ = wait.lock().recv();
            })
        });
        let running = running.collect();
        for _ in 0..MOST_THREADS {
            begin.recv_timeout(PATIENCE).unwrap();
        }
        (go, running)
    }

    #[test]
    fn the_work_is_done_on_a_thread_of_that_name() {
        let helpers = Helpers::new();
        assert_eq!(helpers.threads.get(), 0, "none before it is needed");
        for n in 0..100 {
            let name = wait(helpers.run(move || (n, thread::current().name().map(str::to_owned))));
            assert_eq!(name, Ok((n, Some("masterd-helper".to_owned()))));
            eventually("the thread is free again", || helpers.unfinished.load(Ordering::Relaxed) == 0);
        }
        assert_eq!(helpers.threads.get(), 1, "one was enough");
    }

    #[test]
    fn four_work_at_once_and_what_is_too_much_is_refused() {
        let helpers = Helpers::new();
        let (go, running) = occupy(&helpers);
        let waiting = fill(&helpers);
        assert_eq!(helpers.threads.get(), MOST_THREADS);
        assert_eq!(wait(helpers.run(|| ())), Err(Gone::Busy));
        let promised = helpers.go_on(|| 8);
        assert_eq!(helpers.unfinished.load(Ordering::Relaxed), MOST_THREADS + MOST_WAITING + 1);
        drop(go);
        running.into_iter().for_each(|running| assert_eq!(wait(running), Ok(())));
        for (n, waiting) in waiting.into_iter().enumerate() {
            assert_eq!(wait(waiting), Ok(n));
        }
        assert_eq!((wait(promised), wait(helpers.run(|| 7))), (Ok(8), Ok(7)), "there is room again");
    }

    #[test]
    fn a_panic_is_an_error_and_the_thread_lives_on() {
        struct Loud;
        impl Drop for Loud {
            fn drop(&mut self) {
                panic!("in a drop");
            }
        }
        let helpers = Helpers::new();
        let (go, running) = occupy(&helpers);
        // Not begun when its future is dropped: what it holds is dropped on the thread.
        let loud = Loud;
        drop(helpers.run(move || std::mem::forget(loud)));
        drop(go);
        running.into_iter().for_each(|running| assert_eq!(wait(running), Ok(())));
        for _ in 0..2 * MOST_THREADS {
            let broken = helpers.run(|| -> () { panic!("broken {}", 1) });
            assert_eq!(wait(broken), Err(Gone::Panicked("broken 1".to_owned())));
        }
        let (_go, again) = occupy(&helpers);
        assert_eq!((helpers.threads.get(), again.len()), (MOST_THREADS, MOST_THREADS), "all four still work");
    }

    #[test]
    fn work_whose_future_is_dropped_is_not_begun_and_its_result_is_dropped() {
        let helpers = Helpers::new();
        let (go, running) = occupy(&helpers);
        let held = Arc::new(());
        let (begun, begin) = mpsc::channel();
        let mine = held.clone();
        drop(helpers.run(move || begun.send(mine)));
        drop(go);
        assert!(begin.recv_timeout(PATIENCE).is_err(), "it was not begun");
        // And one that is under way.
        running.into_iter().for_each(|running| assert_eq!(wait(running), Ok(())));
        let (go, running) = occupy(&helpers);
        drop(running);
        drop(go);
        assert_eq!(wait(helpers.run(|| 1)), Ok(1));
        eventually("everything is dropped", || Arc::strong_count(&held) == 1);
    }

    #[test]
    fn the_threads_end_with_their_owner() {
        let helpers = Helpers::new();
        let queue = Arc::downgrade(&helpers.unfinished);
        assert_eq!(wait(helpers.run(|| 1)), Ok(1));
        drop(helpers);
        eventually("the thread has let go of the queue", || queue.strong_count() == 0);
    }
}
