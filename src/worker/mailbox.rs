//! The channel to the master: orders in, reports out.
//!
//! One JSON document per message, descriptors beside it. A message that can't be read is logged and
//! dropped. Reports that don't fit into the channel wait here, in order; nothing ever blocks. The end
//! of the channel is the master's death.

use crate::sys::scm;
use crate::wire::order::{MESSAGE_LIMIT, Order};
use crate::wire::report::Report;
use slog::{Logger, warn};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

/// Reports kept while the master does not read; beyond it no question is worth keeping.
const WAITING: usize = 64;

/// What the channel has brought.
#[derive(Debug)]
pub enum Mail {
    Order(Order, Vec<OwnedFd>),
    /// The master is gone.
    End,
}

#[derive(Debug)]
pub struct Mailbox {
    channel: OwnedFd,
    waiting: VecDeque<Vec<u8>>,
    ended: bool,
}

impl Mailbox {
    pub fn new(channel: OwnedFd) -> Mailbox {
        Mailbox { channel, waiting: VecDeque::new(), ended: false }
    }

    pub fn raw(&self) -> RawFd {
        self.channel.as_raw_fd()
    }

    /// The master is gone.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The next order, until there is none for now. `Mail::End` comes once.
    pub fn next(&mut self, log: &Logger) -> Option<Mail> {
        let mut bytes = [0; MESSAGE_LIMIT];
        while !self.ended {
            match scm::recv(self.channel.as_fd(), &mut bytes) {
                Ok((0, _)) => self.ended = true,
                Ok((n, fds)) => match serde_json::from_slice(&bytes[..n]) {
                    Ok(order) => return Some(Mail::Order(order, fds)),
                    Err(e) => warn!(log, "an order of the master can't be read and is ignored: {e}"),
                },
                Err(e) if e.kind() == ErrorKind::WouldBlock => return None,
                Err(e) if e.kind() == ErrorKind::InvalidData => {
                    warn!(log, "a message of the master can't be read and is ignored: {e}");
                }
                Err(e) => {
                    warn!(log, "the channel to the master failed: {e}");
                    self.ended = true;
                }
            }
            if self.ended {
                return Some(Mail::End);
            }
        }
        None
    }

    /// Sends a report, or keeps it until there is room.
    pub fn send(&mut self, report: &Report, log: &Logger) {
        // Every other report is news that the master acts on, and there are few of them.
        if self.waiting.len() >= WAITING && matches!(report, Report::StatusWanted) {
            return self.flush(log);
        }
        match serde_json::to_vec(report) {
            Ok(bytes) => self.waiting.push_back(bytes),
            Err(e) => warn!(log, "a report can't be written: {e}"),
        }
        self.flush(log);
    }

    /// Sends what waits; called once a turn.
    pub fn flush(&mut self, log: &Logger) {
        while let Some(bytes) = self.waiting.front() {
            match scm::send(self.channel.as_fd(), bytes, &[]) {
                Ok(()) => {
                    self.waiting.pop_front();
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) => {
                    // Nobody reads any more; the end of the channel says the rest.
                    slog::debug!(log, "a report could not be sent: {e}");
                    self.waiting.clear();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_that_does_not_read_misses_questions_only() {
        let (ours, theirs) = crate::sys::fd::channel().unwrap();
        let log = Logger::root(slog::Discard, slog::o!());
        let mut mailbox = Mailbox::new(theirs);
        let closed = |id| Report::Closed { rites: Some(id) };
        while mailbox.waiting.is_empty() {
            mailbox.send(&Report::StatusWanted, &log);
        }
        mailbox.send(&closed(1), &log);
        (0..2 * WAITING).for_each(|_| mailbox.send(&Report::StatusWanted, &log));
        assert_eq!(mailbox.waiting.len(), WAITING);
        mailbox.send(&closed(2), &log);
        let (mut bytes, mut seen) = ([0; MESSAGE_LIMIT], Vec::new());
        while let Ok((n, _)) = scm::recv(ours.as_fd(), &mut bytes) {
            seen.push(serde_json::from_slice::<Report>(&bytes[..n]).unwrap());
            mailbox.flush(&log);
        }
        seen.retain(|report| *report != Report::StatusWanted);
        assert_eq!(seen, [closed(1), closed(2)]);
    }
}
