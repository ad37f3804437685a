//! One conversation with the master: a request line out, reply lines in.
//!
//! `Client::ask` connects and asks; `next` gives line after line, the first within `PATIENCE` of the
//! start of it all, since whatever is asked the master says something at once. Why there is no
//! master (absent, stale, stopped, not permitted) is told apart here and nowhere else.
//! Never prints, never judges a verdict.

use super::console::{Exit, Failure};
use crate::sys;
use crate::sys::process::Pidfd;
use crate::wire::control::{Reply, Request};
use mio::unix::SourceFd;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a master may take to say its first word, from the connect on.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// Longest reply line that is taken from whatever listens there, bytes.
const REPLY_LIMIT: usize = 64 << 20;

/// A connection on which one request was sent.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    path: PathBuf,
    received: Vec<u8>,
    /// When the first line must be there; `None` once it was.
    first_by: Option<Instant>,
    /// The process that made the socket (unix(7), SO_PEERCRED), and a hold on it while it lives.
    pid: i32,
    process: Option<Pidfd>,
}

/// Until when a line is waited for, and how long that was from the start.
#[derive(Clone, Copy)]
struct Wait {
    until: Instant,
    patience: Duration,
}

/// One reply, as it came and as it is understood.
#[derive(Debug)]
pub struct Line {
    pub text: String,
    pub reply: Reply,
}

impl Client {
    /// Connects to the control socket at `path` and sends `request`.
    pub fn ask(path: &Path, request: &Request) -> Result<Client, Failure> {
        let first_by = Instant::now() + PATIENCE;
        let stream = sys::net::connect_unix(path, PATIENCE).map_err(|e| unreachable(path, &e))?;
        let pid = sys::net::peer_credentials(stream.as_fd()).map_or(0, |(pid, _, _)| pid);
        let process = Pidfd::open(pid).ok();
        let mut client = Client {
            stream,
            path: path.to_owned(),
            received: Vec::new(),
            first_by: Some(first_by),
            pid,
            process,
        };
        client.send(request)?;
        Ok(client)
    }

    fn send(&mut self, request: &Request) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(request)
            .map_err(|e| Failure::new(Exit::Failed, format!("cannot put the request into words: {e}")))?;
        line.push(b'\n');
        match self.stream.write_all(&line) {
            // A master that refuses says why and closes; what it said is still to be read.
            Err(e) if matches!(e.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => Ok(()),
            Err(e) => Err(unreachable(&self.path, &e)),
            Ok(()) => Ok(()),
        }
    }

    /// The next reply, or `None` when the master has closed. Every line but the first is waited for
    /// for `limit`, or for as long as it takes.
    pub fn next(&mut self, limit: Option<Duration>) -> Result<Option<Line>, Failure> {
        let first = self.first_by.take();
        let wait = first.map(|by| Wait { until: by, patience: PATIENCE });
        let wait = wait.or(limit.map(|patience| Wait { until: Instant::now() + patience, patience }));
        let Some(text) = self.line(wait)? else { return Ok(None) };
        match serde_json::from_str(&text) {
            Ok(reply) => Ok(Some(Line { text, reply })),
            Err(error) => {
                let sentence = format!(
                    "what listens at {} does not answer like a masterd of this version ({error}): {text:.80}",
                    self.path.display()
                );
                Err(Failure::new(Exit::Failed, sentence))
            }
        }
    }

    fn line(&mut self, wait: Option<Wait>) -> Result<Option<String>, Failure> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.received[searched..].iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.received.drain(..=searched + end).collect();
                return Ok(Some(String::from_utf8_lossy(&line).trim_end().to_owned()));
            }
            searched = self.received.len();
            if searched > REPLY_LIMIT {
                let sentence = format!("what listens at {} sends a line without end", self.path.display());
                return Err(Failure::new(Exit::Failed, sentence));
            }
            if self.receive(wait)? == 0 {
                return Ok(None);
            }
        }
    }

    /// Reads what there is, at least one byte; 0 is the end.
    fn receive(&mut self, wait: Option<Wait>) -> Result<usize, Failure> {
        let mut chunk = [0; 16 << 10];
        loop {
            let left = wait.map(|w| w.until.saturating_duration_since(Instant::now()));
            if let Some(wait) = wait.filter(|_| left.is_some_and(|l| l.is_zero())) {
                return Err(silent(&self.path, wait.patience));
            }
            let read = self.stream.set_read_timeout(left).and_then(|()| self.stream.read(&mut chunk));
            match read {
                Ok(n) => {
                    self.received.extend_from_slice(&chunk[..n]);
                    return Ok(n);
                }
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return Ok(0),
                Err(e)
                    if matches!(
                        e.kind(),
                        ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut
                    ) => {}
                Err(e) => return Err(unreachable(&self.path, &e)),
            }
        }
    }

    /// The master's process id as the kernel tells it; 0 if it is in a namespace we can't see.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The process `pid` was when the connection was made, if it could be had.
    pub fn process(&self) -> Option<&Pidfd> {
        self.process.as_ref()
    }

    /// Waits, at most `limit`, until the master's process has ended. True if it has, or if nobody
    /// listens at its socket any more.
    pub fn wait_gone(&self, limit: Duration) -> bool {
        let ended = self.process.as_ref().is_some_and(|p| wait_ended(p, limit).unwrap_or(false));
        ended
            || sys::net::connect_unix(&self.path, PATIENCE)
                .is_err_and(|e| matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused))
    }

    /// The failure of a master that closed before it gave its verdict.
    pub fn went_away(&self) -> Failure {
        let sentence = format!("the master went away before it answered ({})", self.path.display());
        Failure::new(Exit::Failed, sentence)
    }
}

/// A pidfd turns readable when its process ends (pidfd_open(2)), reaped or not.
fn wait_ended(process: &Pidfd, limit: Duration) -> io::Result<bool> {
    let until = Instant::now() + limit;
    let mut poll = mio::Poll::new()?;
    let mut events = mio::Events::with_capacity(1);
    poll.registry().register(&mut SourceFd(&process.as_raw_fd()), mio::Token(0), mio::Interest::READABLE)?;
    while events.is_empty() {
        let left = until.saturating_duration_since(Instant::now());
        match poll.poll(&mut events, Some(left)) {
            Ok(()) if left.is_zero() => break,
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(!events.is_empty())
}

/// Why there was no talking to the master, in a sentence that tells what to do.
fn unreachable(path: &Path, error: &io::Error) -> Failure {
    let shown = path.display();
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Failure::new(
            Exit::NoMaster,
            format!(
                "no master: {shown} does not exist; start one with `masterd -c FILE`, or name its socket with --socket"
            ),
        ),
        ErrorKind::ConnectionRefused => refused(path),
        ErrorKind::PermissionDenied => Failure::new(
            Exit::NotPermitted,
            format!("not permitted: you may not connect to {shown}; ask as the master's user or as root"),
        ),
        ErrorKind::WouldBlock | ErrorKind::TimedOut => silent(path, PATIENCE),
        _ => Failure::new(Exit::NoMaster, format!("no talking to the master at {shown}: {error}")),
    }
}

fn refused(path: &Path) -> Failure {
    let shown = path.display();
    let socket = std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket() || m.is_symlink());
    let sentence = if socket {
        format!("no master: {shown} is stale, nobody listens there; its master has ended without removing it")
    } else {
        format!("no master: {shown} is not a socket")
    };
    Failure::new(Exit::NoMaster, sentence)
}

fn silent(path: &Path, waited: Duration) -> Failure {
    let sentence = format!(
        "no answer: the master at {} said nothing for {} s; it is stopped or hangs (see its state with ps)",
        path.display(),
        waited.as_secs()
    );
    Failure::new(Exit::NoMaster, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_status_and_sentence() {
        let cases = [
            (ErrorKind::NotFound, Exit::NoMaster, "does not exist"),
            (ErrorKind::NotADirectory, Exit::NoMaster, "does not exist"),
            (ErrorKind::ConnectionRefused, Exit::NoMaster, "is not a socket"),
            (ErrorKind::PermissionDenied, Exit::NotPermitted, "you may not connect to /nowhere/s"),
            (ErrorKind::WouldBlock, Exit::NoMaster, "said nothing for 1 s"),
            (ErrorKind::TimedOut, Exit::NoMaster, "said nothing for 1 s"),
            (ErrorKind::InvalidInput, Exit::NoMaster, "no talking to the master at /nowhere/s: "),
        ];
        for (kind, exit, part) in cases {
            let failure = unreachable(Path::new("/nowhere/s"), &kind.into());
            assert_eq!(failure.exit, exit, "{kind:?}");
            assert!(failure.text.contains(part), "{kind:?}: {}", failure.text);
        }
    }
}
