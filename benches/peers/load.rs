//! Mixed load from many clients: new connections, kept ones, and slow requests.
//!
//! A request counts as lost if any of it was sent and no whole answer came within five seconds, or
//! if its connection was refused. A kept connection that the server has visibly closed before the
//! request is replaced, as every client would; that is no loss.

use super::client::Conn;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const NEW: u64 = 8;
const KEPT: u64 = 48;
const SLOW: u64 = 16;

pub struct Outcome {
    pub requests: u64,
    /// Lost ones, by what became of them.
    pub lost: BTreeMap<String, u64>,
    /// The longest time from connecting to the answer among clients that open a connection each time.
    pub longest_new: Duration,
    /// The same for those that keep theirs: from sending, or from connecting where it had to be replaced.
    pub longest_kept: Duration,
}

struct Load {
    address: SocketAddr,
    over: AtomicBool,
    requests: AtomicU64,
    lost: Mutex<BTreeMap<String, u64>>,
    /// Microseconds.
    longest_new: AtomicU64,
    longest_kept: AtomicU64,
}

/// Runs the load around `act`.
pub fn during(address: SocketAddr, act: impl FnOnce()) -> Outcome {
    let over = AtomicBool::new(false);
    let load = Load {
        address,
        over,
        requests: AtomicU64::new(0),
        lost: Mutex::default(),
        longest_new: AtomicU64::new(0),
        longest_kept: AtomicU64::new(0),
    };
    std::thread::scope(|scope| {
        let load = &load;
        (0..NEW).for_each(|n| drop(scope.spawn(move || load.fresh(n))));
        (0..KEPT).for_each(|n| drop(scope.spawn(move || load.kept(1000 + n))));
        (0..SLOW).for_each(|n| drop(scope.spawn(move || load.slow(2000 + n))));
        act();
        load.over.store(true, Ordering::Relaxed);
    });
    let micros = |longest: &AtomicU64| Duration::from_micros(longest.load(Ordering::Relaxed));
    Outcome {
        requests: load.requests.load(Ordering::Relaxed),
        longest_new: micros(&load.longest_new),
        longest_kept: micros(&load.longest_kept),
        lost: load.lost.into_inner().expect("no client panics"),
    }
}

impl Load {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    fn note<T>(&self, kind: &str, result: io::Result<T>) -> Option<T> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        match result {
            Ok(value) => Some(value),
            Err(e) => {
                let mut lost = self.lost.lock().expect("no client panics");
                *lost.entry(format!("{kind}: {e}")).or_insert(0) += 1;
                None
            }
        }
    }

    fn fresh(&self, seed: u64) {
        let mut pause = Pauses(seed);
        while self.goes_on() {
            let start = Instant::now();
            let answer = self.note("new", Conn::open(self.address).and_then(|mut c| c.exchange(true)));
            if answer.is_some() {
                longer(&self.longest_new, start);
            }
            pause.take(1, 3);
        }
    }

    fn kept(&self, seed: u64) {
        let mut pause = Pauses(seed);
        let mut conn: Option<Conn> = None;
        while self.goes_on() {
            let start = Instant::now();
            let (opened, kind) = match conn.take().filter(|c| !c.is_over()) {
                Some(c) => (Ok(c), "kept"),
                None => (Conn::open(self.address), "first"),
            };
            let done = opened.and_then(|mut c| c.exchange(false).map(|answer| (c, answer)));
            let answered = self.note(kind, done);
            if answered.is_some() {
                longer(&self.longest_kept, start);
            }
            conn = answered.filter(|(_, answer)| !answer.last).map(|(c, _)| c);
            pause.take(2, 10);
        }
    }

    fn slow(&self, seed: u64) {
        let mut pause = Pauses(seed);
        while self.goes_on() {
            let middle = Duration::from_millis(100 + pause.next() % 400);
            self.note("slow", Conn::open(self.address).and_then(|mut c| c.exchange_slowly(middle)));
            pause.take(1, 20);
        }
    }
}

fn longer(longest: &AtomicU64, since: Instant) {
    let micros = u64::try_from(since.elapsed().as_micros()).expect("minutes, not ages");
    longest.fetch_max(micros, Ordering::Relaxed);
}

/// Pauses of irregular length, the same ones in every run.
struct Pauses(u64);

impl Pauses {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn take(&mut self, low_ms: u64, high_ms: u64) {
        let micros = low_ms * 1000 + self.next() % ((high_ms - low_ms) * 1000);
        std::thread::sleep(Duration::from_micros(micros));
    }
}
