//! Load: clients of several habits, which count every answer and keep every loss.
//!
//! A request that was sent and got no complete, right answer within 5 s is a loss, whatever the
//! reason; so is a connection that was refused. A connection that the server closes while nothing
//! is under way on it is not: the client connects anew, as clients do.

use super::http::{Conn, Lost, Response};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// An answer that takes longer is a loss.
const TOO_LATE: Duration = Duration::from_secs(5);
/// Requests of one client at most; a test that needs more has lost its way.
const MOST: u32 = 200_000;
/// Losses of one client that are kept.
const KEPT: usize = 200;

/// How many clients of each habit.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// A new connection for each request.
    pub fresh: usize,
    /// One connection for many requests, with pauses of some milliseconds.
    pub kept: usize,
    /// A POST whose body comes in pieces over 200 ms.
    pub slow_post: usize,
    /// GET /slow on connections that are kept.
    pub slow_answer: usize,
    /// A connection left idle for 0.3 to 0.9 s between requests.
    pub idle: usize,
}

impl Default for Mix {
    fn default() -> Mix {
        Mix { fresh: 2, kept: 2, slow_post: 1, slow_answer: 2, idle: 4 }
    }
}

impl Mix {
    /// Nobody: to be filled in with `Mix { fresh: 3, ..Mix::none() }`.
    pub fn none() -> Mix {
        Mix { fresh: 0, kept: 0, slow_post: 0, slow_answer: 0, idle: 0 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    Fresh,
    Kept,
    SlowPost,
    SlowAnswer,
    Idle,
}

impl Habit {
    fn name(self) -> &'static str {
        match self {
            Habit::Fresh => "fresh",
            Habit::Kept => "kept",
            Habit::SlowPost => "slow_post",
            Habit::SlowAnswer => "slow_answer",
            Habit::Idle => "idle",
        }
    }
}

/// What came of it all.
#[derive(Debug, Default)]
pub struct Report {
    pub answered: u64,
    /// Kind of client, second since the start, and reason.
    pub lost: Vec<String>,
    pub slowest: Duration,
    /// Generations and marks that answered.
    pub generations: BTreeSet<i64>,
    pub marks: BTreeSet<String>,
    pub by_habit: BTreeMap<&'static str, u64>,
    /// Connections that the server closed while they were idle.
    pub closed_idle: u64,
}

impl Report {
    #[track_caller]
    pub fn assert_nothing_lost(&self) {
        assert!(self.lost.is_empty(), "{} lost of {}: {:#?}", self.lost.len(), self.answered, self.lost);
        assert!(self.answered > 0, "no request was answered at all");
    }

    fn add(&mut self, other: Report) {
        self.answered += other.answered;
        self.lost.extend(other.lost);
        self.slowest = self.slowest.max(other.slowest);
        self.generations.extend(other.generations);
        self.marks.extend(other.marks);
        self.closed_idle += other.closed_idle;
        for (habit, n) in other.by_habit {
            *self.by_habit.entry(habit).or_default() += n;
        }
    }
}

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Report>>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    answered: AtomicU64,
    lost: AtomicU64,
}

impl Load {
    /// The usual mix, against an address that serves a `Web` config.
    #[track_caller]
    pub fn start(address: &str) -> Load {
        Load::with(address, Mix::default())
    }

    /// Starts the clients and returns when the first answers are there.
    #[track_caller]
    pub fn with(address: &str, mix: Mix) -> Load {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        let habits = [
            (Habit::Fresh, mix.fresh),
            (Habit::Kept, mix.kept),
            (Habit::SlowPost, mix.slow_post),
            (Habit::SlowAnswer, mix.slow_answer),
            (Habit::Idle, mix.idle),
        ];
        let mut threads = Vec::new();
        for (habit, count) in habits {
            for number in 0..count {
                let client = Client::new(habit, number, address, Arc::clone(&shared));
                threads.push(std::thread::spawn(move || client.run()));
            }
        }
        let load = Load { shared, threads };
        load.wait_answers(load.threads.len() as u64);
        load
    }

    /// Answers so far.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Losses so far.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Waits for so many further answers (or losses: those are told at the end).
    #[track_caller]
    pub fn wait_answers(&self, more: u64) {
        let goal = self.answered() + more;
        super::wait_until("the load is answered", super::SOON, || self.answered() + self.lost() >= goal);
    }

    /// Lets every client finish its request and adds everything up.
    pub fn stop(self) -> Report {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut report = Report::default();
        for thread in self.threads {
            report.add(thread.join().expect("a client of the load"));
        }
        report
    }
}

struct Client {
    habit: Habit,
    number: usize,
    address: String,
    shared: Arc<Shared>,
    report: Report,
    begun: Instant,
    conn: Option<Conn>,
}

impl Client {
    fn new(habit: Habit, number: usize, address: &str, shared: Arc<Shared>) -> Client {
        let (address, begun) = (address.to_owned(), Instant::now());
        Client { habit, number, address, shared, report: Report::default(), begun, conn: None }
    }

    fn run(mut self) -> Report {
        for turn in 0..MOST {
            if self.shared.stop.load(Ordering::Relaxed) {
                break;
            }
            let started = Instant::now();
            let outcome = self.turn();
            let took = started.elapsed();
            match outcome {
                Ok(Some(response)) => self.judge(&response, took),
                Ok(None) => continue,
                Err(lost) => self.lose(&lost, took),
            }
            self.pause(turn);
        }
        self.report
    }

    /// One request; None if the connection had been closed while idle.
    fn turn(&mut self) -> Result<Option<Response>, Lost> {
        let mut conn = match self.conn.take() {
            Some(mut conn) => match conn.unasked() {
                None => conn,
                Some(Lost::Wrong(what)) => return Err(Lost::Wrong(what)),
                Some(_) => {
                    self.report.closed_idle += 1;
                    return Ok(None);
                }
            },
            None => Conn::open(&self.address)?,
        };
        let response = match self.habit {
            Habit::Fresh => {
                conn.send(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
                return conn.receive().map(Some);
            }
            Habit::Kept | Habit::Idle => conn.get("/")?,
            Habit::SlowAnswer => conn.get("/slow")?,
            Habit::SlowPost => self.post(&mut conn)?,
        };
        if !response.closes() {
            self.conn = Some(conn);
        }
        Ok(Some(response))
    }

    /// A body in ten pieces, 20 ms apart: it is being sent whenever something happens.
    fn post(&self, conn: &mut Conn) -> Result<Response, Lost> {
        conn.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\n")?;
        for _ in 0..10 {
            conn.send(&[b'x'; 100])?;
            std::thread::sleep(Duration::from_millis(20));
        }
        conn.receive()
    }

    fn judge(&mut self, response: &Response, took: Duration) {
        let mark = response.field("mark").map(str::to_owned);
        let (Some(mark), 200) = (mark, response.status) else {
            return self.lose(&Lost::Wrong(format!("{response:?}")), took);
        };
        if took > TOO_LATE {
            return self.lose(&Lost::Late(response.body.len()), took);
        }
        self.shared.answered.fetch_add(1, Ordering::Relaxed);
        self.report.answered += 1;
        *self.report.by_habit.entry(self.habit.name()).or_default() += 1;
        self.report.slowest = self.report.slowest.max(took);
        self.report.generations.insert(response.number("gen"));
        self.report.marks.insert(mark);
    }

    fn lose(&mut self, lost: &Lost, took: Duration) {
        self.shared.lost.fetch_add(1, Ordering::Relaxed);
        if self.report.lost.len() < KEPT {
            let at = self.begun.elapsed().as_secs_f64();
            let text = format!("{} {} at {at:.3}s, after {took:?}: {lost}", self.habit.name(), self.number);
            self.report.lost.push(text);
        }
    }

    /// The rhythm of the habit; part of the load, not a wait for anything.
    fn pause(&self, turn: u32) {
        let ms = match self.habit {
            Habit::Fresh => 2,
            Habit::Kept => 1 + u64::from(turn % 5),
            Habit::SlowPost | Habit::SlowAnswer => 1,
            Habit::Idle => 300 + 150 * ((u64::from(turn) + self.number as u64) % 5),
        };
        let end = Instant::now() + Duration::from_millis(ms);
        while Instant::now() < end && !self.shared.stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(ms.min(10)));
        }
    }
}
