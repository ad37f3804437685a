//! One connection to the control socket: bounded buffers in, bounded buffers out, deadlines.
//!
//! Whatever a client does (nothing, one byte a second, a gigabyte without a newline, never reading),
//! it costs the master one small struct until its deadline, and never a wait.

use crate::model::{ClientId, Moment};
use crate::sys::net;
use crate::wire::control::{Done, Outcome, Progress, REQUEST_LIMIT, Reply, Request};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// A client must have said what it wants by then.
pub const REQUEST_TIME: Duration = Duration::from_secs(5);
/// A client that does not read for that long is dropped.
const READ_TIME: Duration = Duration::from_secs(30);
/// A client with more bytes than this to read gets nothing more and is dropped. What makes it more may
/// itself be longer: a status document has no bound.
const BACKLOG: usize = 256 << 10;
/// Most bytes read from one client in one turn.
const READ_AT_ONCE: usize = 64 << 10;

/// What a client is here for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Wants {
    /// Has not said yet.
    Unknown,
    /// A verdict; progress is shown meanwhile.
    Verdict,
    /// Events as they come.
    Events,
    /// Status, as soon as the figures are in.
    #[serde(skip)]
    Figures,
    /// Status, again at this moment.
    Watch { next: Moment, request: Box<Request> },
    /// Nothing more: closed when what waits is written.
    Nothing,
}

#[derive(Debug)]
pub struct Client {
    fd: OwnedFd,
    pub wants: Wants,
    shown: Option<Progress>,
    input: Vec<u8>,
    output: Vec<u8>,
    written: usize,
    /// When it is dropped unless it does something.
    deadline: Moment,
}

/// A conversation as it stands, for another image; the socket goes beside it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientRecord {
    pub id: u64,
    wants: Wants,
    shown: Option<Progress>,
    /// What it has said of a request that is not whole yet.
    input: Vec<u8>,
    /// What it has not been written yet.
    output: Vec<u8>,
    deadline: Moment,
}

/// What a read brought.
pub enum Said {
    Nothing,
    Request(Box<Request>),
    /// It is gone.
    Gone,
}

impl Client {
    pub fn new(fd: OwnedFd, now: Moment) -> Client {
        let (input, output) = (Vec::new(), Vec::new());
        let deadline = now + REQUEST_TIME;
        Client { fd, wants: Wants::Unknown, shown: None, input, output, written: 0, deadline }
    }

    pub fn record(&self, id: ClientId) -> ClientRecord {
        // An earlier image knows no wait for figures, and a later one would not know for whose.
        let wants = match &self.wants {
            Wants::Figures => Wants::Nothing,
            wants => wants.clone(),
        };
        ClientRecord {
            id: id.0,
            wants,
            shown: self.shown.clone(),
            input: self.input.clone(),
            output: self.output[self.written..].to_vec(),
            deadline: self.deadline,
        }
    }

    /// One that another image has talked to. Time in which nobody listened to it is not held against it.
    pub fn restore(fd: OwnedFd, record: ClientRecord, now: Moment) -> Client {
        let ClientRecord { wants, shown, input, output, deadline, .. } = record;
        let deadline = deadline.max(now + REQUEST_TIME);
        Client { fd, wants, shown, input, output, written: 0, deadline }
    }

    /// SO_PEERCRED: pid, uid and gid of whoever connected.
    pub fn credentials(&self) -> io::Result<(i32, u32, u32)> {
        net::peer_credentials(self.fd.as_fd())
    }

    /// Reads until a request is whole, nothing more is there, or the client has had its share; then
    /// it is dropped, since a request is small and nothing may follow it.
    pub fn read(&mut self) -> Said {
        let mut buffer = [0u8; 4096];
        let mut total = 0;
        while total < READ_AT_ONCE {
            match net::recv(self.fd.as_fd(), &mut buffer) {
                Ok(0) => return Said::Gone,
                Ok(n) => {
                    total += n;
                    if matches!(self.wants, Wants::Unknown)
                        && let Some(said) = self.take(&buffer[..n])
                    {
                        return said;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Said::Nothing,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Said::Gone,
            }
        }
        Said::Gone
    }

    fn take(&mut self, bytes: &[u8]) -> Option<Said> {
        self.input.extend_from_slice(bytes);
        if let Some(end) = self.input.iter().position(|b| *b == b'\n') {
            let line = std::mem::take(&mut self.input);
            match serde_json::from_slice(&line[..end]) {
                Ok(request) => return Some(Said::Request(Box::new(request))),
                Err(e) => self.refuse(&format!("the request can't be read: {e}")),
            }
        } else if self.input.len() > REQUEST_LIMIT {
            self.refuse("the request is longer than 4096 bytes");
        }
        None
    }

    fn refuse(&mut self, why: &str) {
        self.input = Vec::new();
        let text = why.to_owned();
        let done = Done { outcome: Outcome::BadRequest, text, lines: Vec::new(), generation: None };
        self.say(&Reply::Done(done));
        self.wants = Wants::Nothing;
    }

    /// Queues a reply; false if the client does not keep up and is to be dropped.
    pub fn say(&mut self, reply: &Reply) -> bool {
        let Ok(mut line) = serde_json::to_vec(reply) else { return false };
        line.push(b'\n');
        self.output.drain(..self.written);
        self.written = 0;
        if self.output.len() > BACKLOG {
            return false;
        }
        self.output.extend_from_slice(&line);
        true
    }

    /// It has been written all that it was told.
    pub fn keeps_up(&self) -> bool {
        self.written == self.output.len()
    }

    /// Shows progress if it is news.
    pub fn show(&mut self, progress: &Progress) -> bool {
        if self.shown.as_ref() == Some(progress) {
            return true;
        }
        self.shown = Some(progress.clone());
        self.say(&Reply::Progress(progress.clone()))
    }

    /// Writes what the client takes; false when the connection is over.
    pub fn write(&mut self, now: Moment) -> bool {
        while self.written < self.output.len() {
            match net::send(self.fd.as_fd(), &self.output[self.written..]) {
                Ok(n) => {
                    self.written += n;
                    self.deadline = now + READ_TIME;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return now < self.deadline,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        self.output.clear();
        self.written = 0;
        match self.wants {
            Wants::Nothing => false,
            Wants::Unknown => now < self.deadline,
            _ => {
                self.deadline = now + READ_TIME;
                true
            }
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::control::EventLine;
    use std::os::unix::net::UnixStream;

    fn line(length: usize) -> Reply {
        let text = |s: &str| s.to_owned();
        let event = EventLine {
            at: text(""),
            level: text("info"),
            event: text("test"),
            text: "x".repeat(length),
            service: None,
            seat: None,
            generation: None,
            pid: None,
        };
        Reply::Event { event }
    }

    #[test]
    fn who_does_not_read_is_told_a_bounded_amount_but_one_document_of_any_size() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut client = Client::new(ours.into(), Moment(0));
        client.wants = Wants::Events;
        assert!(client.say(&line(8 * BACKLOG)) && client.write(Moment(0)) && !client.keeps_up());
        assert!(!client.say(&line(1)), "more than the bound waits already");

        // What was read makes room again, and takes no memory.
        while client.output.len() - client.written > BACKLOG {
            assert!(std::io::Read::read(&mut theirs, &mut [0; 4096]).unwrap() > 0);
            assert!(client.write(Moment(0)));
        }
        assert!(client.say(&line(1)));
        assert!(client.written == 0 && client.output.len() < 2 * BACKLOG);
    }
}
