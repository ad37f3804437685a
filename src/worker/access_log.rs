//! The access log of a worker: a line for each request, or each connection of a TCP service, when it
//! has come to its end.
//!
//! `write` puts a line together and keeps it; the loop calls `flush` once a turn, so that a turn's lines
//! are one write and a reader of the file sees them at once. What the file, or the reader of a FIFO, does
//! not take waits, up to a limit; what goes beyond it is counted, and told in the worker's log every ten
//! seconds at most. The master opens the file and passes it on: at the fork, and when it is reopened.
//! Never: blocks (but for the disk), opens anything, leaves a line in two pieces if it can be helped.
//! See also: `form` (what a line looks like), `outlet` (descriptor and what waits).

mod form;
mod outlet;

use super::who::Who;
use crate::config::LogFormat;
use crate::model::{Class, Moment};
use crate::sys::clock;
use form::Form;
use outlet::Outlet;
use slog::{Logger, warn};
use std::cell::RefCell;
use std::fmt;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The status of a request that ended without an answer: nginx's word for it, which tools know.
pub const UNANSWERED: u16 = 499;

/// Between two words about lines that were given up.
const QUIET: Duration = Duration::from_secs(10);
/// How long the last lines of a worker may take to be taken by a reader.
const PATIENCE: Duration = Duration::from_millis(500);
/// Between two tries of them.
const PAUSE: Duration = Duration::from_millis(5);

/// What has come to its end. Bytes that a client chose may be anything: they are escaped.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    pub peer: Who,
    pub class: Class,
    /// Sent to the client: bytes of the body, or of the connection if it is a TCP service's.
    pub bytes: u64,
    /// From the end of the request's head to the end of its answer, or the life of the connection.
    pub took: Duration,
    pub upstream: Option<Upstream<'a>>,
    pub what: What<'a>,
}

/// What a line is about.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    Request(Request<'a>),
    /// Something that could not be read as a request, and was answered with this status all the same.
    NoRequest {
        status: u16,
    },
    /// A whole connection of a TCP service; `bytes_in` came from the client.
    Connection {
        bytes_in: u64,
    },
}

/// A request and the status of its answer (`UNANSWERED` if it got none).
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub method: &'a str,
    /// As it stood in the request line (RFC 9112, 3.2).
    pub target: &'a [u8],
    /// `HTTP/1.1`.
    pub version: &'a str,
    pub status: u16,
    pub referer: Option<&'a [u8]>,
    pub user_agent: Option<&'a [u8]>,
    pub host: Option<&'a [u8]>,
}

/// Who answered in the end, and how long that took.
#[derive(Clone, Copy, Debug)]
pub struct Upstream<'a> {
    /// `127.0.0.1:9000`, `unix:/run/app.sock`.
    pub address: &'a str,
    pub took: Duration,
}

/// Whose lines they are: the same in each of them.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    pub service: &'a str,
    pub generation: u64,
    pub seat: u32,
    pub pid: i32,
}

/// The log itself; one per worker that has one.
pub struct AccessLog {
    inner: RefCell<Inner>,
    log: Logger,
}

struct Inner {
    form: Form,
    outlet: Outlet,
    /// Given up, and not told yet; when that was told last.
    untold: u64,
    told: Option<Moment>,
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog").finish_non_exhaustive()
    }
}

impl AccessLog {
    /// Lines go to `fd`, opened to append (`sys::fd::open_log`); what is said about them, to `log`.
    pub fn new(fd: OwnedFd, format: LogFormat, author: &Author<'_>, log: Logger) -> AccessLog {
        let (form, outlet) = (Form::new(format, author), Outlet::new(fd));
        AccessLog { inner: RefCell::new(Inner { form, outlet, untold: 0, told: None }), log }
    }

    /// Adds the line of what has just ended. It is written by the next `flush`, or given up and counted
    /// if too much waits already.
    pub fn write(&self, entry: &Entry<'_>) {
        let Inner { form, outlet, untold, .. } = &mut *self.inner.borrow_mut();
        let now = clock::wall_ns();
        if !outlet.add(|most, out| form.compose(entry, now, most, out)) {
            *untold += 1;
        }
    }

    /// Writes what waits, as far as that goes; to be called once a turn (cheap when nothing waits).
    pub fn flush(&self) {
        let inner = &mut *self.inner.borrow_mut();
        inner.outlet.flush();
        if inner.untold > 0 {
            let now = Moment(clock::monotonic_ns());
            if inner.told.is_none_or(|at| now.since(at) >= QUIET) {
                inner.told = Some(now);
                self.complain(inner);
            }
        }
    }

    /// Writes to another descriptor from now on. What waits goes to the old one first; what that does
    /// not take follows in the new one.
    pub fn reopen(&self, fd: OwnedFd) {
        self.inner.borrow_mut().outlet.reopen(fd);
    }

    /// The last flush of a worker that leaves. A reader that is behind is waited for, half a second at
    /// most; what is left then is given up, counted and told.
    pub fn finish(&self) {
        let inner = &mut *self.inner.borrow_mut();
        let begun = Moment(clock::monotonic_ns());
        inner.outlet.flush();
        while inner.outlet.pending() && Moment(clock::monotonic_ns()).since(begun) < PATIENCE {
            std::thread::sleep(PAUSE);
            inner.outlet.flush();
        }
        inner.untold += inner.outlet.give_up();
        if inner.untold > 0 {
            self.complain(inner);
        }
    }

    /// Lines wait for a reader or for room: `flush` is to be called again soon, whatever else happens.
    pub fn waits(&self) -> bool {
        self.inner.borrow().outlet.pending()
    }

    /// Lines given up in all.
    pub fn dropped(&self) -> u64 {
        self.inner.borrow().outlet.dropped()
    }

    fn complain(&self, inner: &mut Inner) {
        let lines = std::mem::take(&mut inner.untold);
        let why = inner.outlet.why();
        warn!(self.log, "{lines} access log lines were dropped: {why}"; "in_all" => inner.outlet.dropped());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogLevel;
    use crate::log::Sink;
    use crate::sys::net::Peer;
    use crate::sys::testing::{Folder, no_forks};
    use crate::sys::{fd, shm};
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsFd;

    const ENTRY: What<'_> = What::Connection { bytes_in: 1 };

    fn write(log: &AccessLog) {
        let (peer, took) = (Who::new(Peer::Unix), Duration::ZERO);
        log.write(&Entry { peer, class: Class::Tcp, bytes: 2, took, upstream: None, what: ENTRY });
    }

    /// An access log on this descriptor, and what is said about it.
    fn access_log(fd: OwnedFd) -> (AccessLog, impl Fn() -> String) {
        let said = shm::scratch("masterd-test-log").unwrap();
        let sink = Sink::new(said.try_clone().unwrap(), LogFormat::Text, LogLevel::Info);
        let author = Author { service: "web", generation: 1, seat: 0, pid: 1 };
        let log = AccessLog::new(fd, LogFormat::Text, &author, sink.logger("w"));
        (log, move || String::from_utf8(shm::read_all(said.as_fd(), 1 << 20).unwrap()).unwrap())
    }

    /// Writes until a line is given up; how many were kept.
    fn fill(log: &AccessLog) -> usize {
        let mut kept = 0;
        loop {
            write(log);
            log.flush();
            if log.dropped() > 0 {
                return kept;
            }
            kept += 1;
        }
    }

    #[test]
    fn the_last_lines_wait_for_a_slow_reader() {
        let _quiet = no_forks();
        let (reader, writer) = fd::pipe().unwrap();
        let (log, said) = access_log(writer);
        let kept = fill(&log);
        let reading = std::thread::spawn(move || {
            std::thread::sleep(PAUSE * 4);
            let mut text = String::new();
            File::from(reader).read_to_string(&mut text).map(|_| text)
        });
        log.finish();
        assert_eq!(log.dropped(), 1);
        assert_eq!(said().matches("1 access log lines were dropped").count(), 1, "{}", said());
        drop(log);
        assert_eq!(reading.join().unwrap().unwrap().lines().count(), kept);
    }

    #[test]
    fn for_one_that_does_not_read_they_are_counted() {
        let _quiet = no_forks();
        let (reader, writer) = fd::pipe().unwrap();
        let (log, said) = access_log(writer);
        let kept = fill(&log);
        (0..10).for_each(|_| write(&log));
        log.flush();
        assert_eq!(said().matches("dropped").count(), 1, "once for so short a time: {}", said());
        let begun = std::time::Instant::now();
        log.finish();
        assert!(begun.elapsed() >= PATIENCE && begun.elapsed() < PATIENCE * 20, "{:?}", begun.elapsed());
        drop(log);
        let mut text = String::new();
        // Closed by the other end: what it took is there, then the end.
        File::from(reader).read_to_string(&mut text).unwrap();
        let taken = text.lines().count();
        let words =
            format!("{} access log lines were dropped: nobody reads it fast enough", kept + 10 - taken);
        assert!(
            said().contains(&words) && said().contains(&format!("in_all={}", kept + 11 - taken)),
            "{}",
            said()
        );
    }

    #[test]
    fn a_turn_costs_one_write_and_lines_come_in_their_order() {
        let folder = Folder::new();
        let (log, said) = access_log(fd::open_log(&folder.join("a")).unwrap());
        (0..5).for_each(|_| write(&log));
        assert_eq!(std::fs::read(folder.join("a")).unwrap(), b"");
        log.flush();
        let text = std::fs::read_to_string(folder.join("a")).unwrap();
        assert_eq!(text.lines().count(), 5);
        assert!(text.lines().all(|line| line.starts_with("unix - - [") && line.ends_with(" bytes_in=1")));
        log.finish();
        assert_eq!((log.dropped(), said()), (0, String::new()));
    }
}
