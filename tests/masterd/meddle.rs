//! Meddling with a master that runs: its children seen as they are born, stopped, killed; its
//! figures sampled; its end without the courtesies that `boot` and `stop` are about.
//!
//! What a thread does while the test does something else takes a pid and a socket, not a `Master`.

use crate::harness::{Master, SOON, Signal, procs, wait_until};
use masterd::wire::control::{Reply, Request};
use masterd::wire::status::{Status, Totals};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The children a process has now, zombies too (/proc/PID/task/TID/children, proc(5)).
pub fn children(pid: i32) -> Vec<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Sends a signal to a process that may be gone already.
pub fn send(pid: i32, signal: Signal) {
    // Gone is as good: nothing that a test sends here is to reach anybody else.
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Whether every thread of the process has come to its stop.
pub fn is_stopped(pid: i32) -> bool {
    procs::look(pid).is_some_and(|p| p.state == 'T')
}

/// Stops a process and waits until it stands.
#[track_caller]
pub fn freeze(pid: i32) {
    send(pid, Signal::SIGSTOP);
    wait_until("the process stands still", SOON, || is_stopped(pid));
}

/// The most that the death of this worker of `web` may cost. It is stopped first, so that the number
/// stays: what it holds, and one that it has just accepted and not counted yet.
#[track_caller]
pub fn held_by(master: &Master, victim: i32) -> u64 {
    freeze(victim);
    let workers = master.workers("web");
    workers.iter().find(|w| w.pid == victim).expect("the victim").active.http + 1
}

/// Ends a master without waiting for its connections; it leaves nothing behind all the same.
#[track_caller]
pub fn end(master: Master) {
    master.signal(Signal::SIGINT);
    master.wait_exit(0, SOON);
    master.finish();
}

/// A thread that looks at a master's children without a pause, and does something to each new one.
pub struct Midwife {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<i32>>>,
}

impl Midwife {
    /// `act` is given each child that comes after this call, in the order in which they were born.
    pub fn attend(master: &Master, mut act: impl FnMut(i32) + Send + 'static) -> Midwife {
        let pid = master.pid();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let mut known: BTreeSet<i32> = children(pid).into_iter().collect();
        let thread = std::thread::spawn(move || {
            let mut seen = Vec::new();
            while !told.load(Ordering::Relaxed) {
                for child in children(pid) {
                    if known.insert(child) {
                        act(child);
                        seen.push(child);
                    }
                }
                std::thread::yield_now();
            }
            seen
        });
        Midwife { stop, thread: Some(thread) }
    }

    /// Those that were born.
    pub fn leave(mut self) -> Vec<i32> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("leaves once").join().expect("the midwife")
    }
}

impl Drop for Midwife {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One status document from the master at this socket.
pub fn status_at(socket: &Path) -> io::Result<Status> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(SOON))?;
    let mut line = serde_json::to_vec(&Request::Status { service: None, connections: false, watch: false })?;
    line.push(b'\n');
    (&stream).write_all(&line)?;
    for line in BufReader::new(stream).lines() {
        if let Reply::Status { status } = serde_json::from_str(&line?)? {
            return Ok(*status);
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// A thread that asks for the status a hundred times a second and looks for figures that run backwards.
pub struct Sampler {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Samples>>,
}

/// What a sampler has seen.
#[derive(Debug, Default)]
pub struct Samples {
    pub count: usize,
    pub slowest: Duration,
    /// What ran backwards, in words.
    pub backwards: Vec<String>,
    /// Most generations with workers at one time.
    pub most_generations: usize,
}

impl Sampler {
    pub fn start(socket: PathBuf) -> Sampler {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut samples = Samples::default();
            let mut last: Option<Status> = None;
            while !told.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let status = status_at(&socket).expect("a master that is sampled answers");
                samples.take(&status, last.as_ref(), begun.elapsed());
                last = Some(status);
                std::thread::sleep(Duration::from_millis(10).saturating_sub(begun.elapsed()));
            }
            samples
        });
        Sampler { stop, thread: Some(thread) }
    }

    pub fn finish(mut self) -> Samples {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("finished once").join().expect("the sampler")
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Samples {
    fn take(&mut self, status: &Status, last: Option<&Status>, took: Duration) {
        self.count += 1;
        self.slowest = self.slowest.max(took);
        let generations: BTreeSet<u64> =
            status.services.iter().flat_map(|s| &s.workers).map(|w| w.generation).collect();
        self.most_generations = self.most_generations.max(generations.len());
        let Some(last) = last else { return };
        if status.generation < last.generation {
            self.backwards.push(format!("generation {} after {}", status.generation, last.generation));
        }
        for service in &status.services {
            let Some(before) = last.services.iter().find(|s| s.name == service.name) else { continue };
            for (name, now, then) in pairs(&service.totals, &before.totals) {
                if now < then {
                    self.backwards.push(format!("{name} {now} after {then}"));
                }
            }
        }
    }
}

fn pairs(now: &Totals, then: &Totals) -> [(&'static str, u64, u64); 8] {
    [
        ("accepted", now.accepted, then.accepted),
        ("requests", now.requests, then.requests),
        ("bytes_in", now.bytes_in, then.bytes_in),
        ("bytes_out", now.bytes_out, then.bytes_out),
        ("errors", now.errors, then.errors),
        ("migrated", now.migrated, then.migrated),
        ("cut", now.cut, then.cut),
        ("deaths", now.deaths, then.deaths),
    ]
}

/// Generations that have a worker now.
pub fn generations(status: &Status) -> BTreeSet<u64> {
    status.services.iter().flat_map(|s| &s.workers).map(|w| w.generation).collect()
}
