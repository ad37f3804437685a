//! Where lines leave the process: the descriptor, and the ring for when it takes nothing.
//!
//! Lines go out in the order they came in; while the ring holds one, new ones queue behind it. A
//! short write leaves the rest of its line at the front, to be finished, unless another process has
//! written to the file meanwhile: then the line starts again. The oldest lines stay: they tell how the
//! trouble began. Lines beyond the ring's size are counted, and a notice tells the count once the
//! ring is empty again. Errors are not told apart: whatever stops a write may pass (space is freed,
//! a reader comes back, `reopen`).

use crate::sys::fd;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bytes of lines that may wait.
const RING: usize = 256 * 1024;

/// Makes the notice of dropped lines: (writer's name, lines) → line.
type Notice<'a> = &'a dyn Fn(&str, u64) -> Vec<u8>;

pub(super) struct Outlet {
    fd: OwnedFd,
    ring: VecDeque<Vec<u8>>,
    /// Bytes in `ring`, what is already written of the first line included.
    held: usize,
    /// Bytes of the first line that are written.
    written: usize,
    /// Where the file ended after that; `None` if it is no plain file.
    end: Option<u64>,
    dropped: u64,
    /// Dropped, and not yet told.
    untold: u64,
    /// Whose line was dropped last.
    loser: String,
}

impl Outlet {
    pub(super) fn new(fd: OwnedFd) -> Outlet {
        let loser = String::new();
        Outlet { fd, ring: VecDeque::new(), held: 0, written: 0, end: None, dropped: 0, untold: 0, loser }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn waiting(&self) -> Vec<Vec<u8>> {
        // What is written of the first one is left out: the rest of it is to follow.
        let rest =
            |(n, line): (usize, &Vec<u8>)| if n == 0 { line[self.written..].to_vec() } else { line.clone() };
        self.ring.iter().enumerate().map(rest).collect()
    }

    pub(super) fn resume(&mut self, waiting: impl Iterator<Item = Vec<u8>>, dropped: u64) {
        self.ring = waiting.collect();
        self.held = self.ring.iter().map(Vec::len).sum();
        (self.written, self.dropped) = (0, dropped);
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) fn pending(&self) -> bool {
        !self.ring.is_empty() || self.untold > 0
    }

    /// Writes a line, or keeps what can't be written of it, or counts it.
    pub(super) fn write(&mut self, line: Vec<u8>, who: &str, notice: Notice<'_>) {
        self.flush(notice);
        if self.pending() {
            self.keep(line, who);
            return;
        }
        let done = fd::write_now(self.fd.as_fd(), &line).unwrap_or(0);
        if done < line.len() {
            self.keep(line, who);
            self.stop_at(done);
        }
    }

    fn keep(&mut self, line: Vec<u8>, who: &str) {
        // Once a line was dropped, later ones are too until the notice is out: it marks the gap.
        if self.untold > 0 || self.held + line.len() > RING {
            self.dropped += 1;
            self.untold += 1;
            who.clone_into(&mut self.loser);
            return;
        }
        self.held += line.len();
        self.ring.push_back(line);
    }

    /// Writes what the ring holds as far as that goes, then the notice if lines were dropped.
    pub(super) fn flush(&mut self, notice: Notice<'_>) {
        self.drain();
        if self.ring.is_empty() && self.untold > 0 {
            let line = notice(&self.loser, self.untold);
            self.untold = 0;
            self.held += line.len();
            self.ring.push_back(line);
            self.drain();
        }
    }

    fn drain(&mut self) {
        // What somebody else wrote ends the half line: its other half would stand alone.
        if self.written > 0 && self.end.is_some() && fd::length(self.fd.as_fd()) != self.end {
            self.written = 0;
        }
        while let Some(line) = self.ring.front() {
            let length = line.len();
            let Ok(done) = fd::write_now(self.fd.as_fd(), &line[self.written..]) else { return };
            if self.written + done == length {
                self.held -= length;
                self.written = 0;
                self.ring.pop_front();
                continue;
            }
            self.stop_at(self.written + done);
            if done == 0 {
                return;
            }
        }
    }

    /// So much of the first line is written.
    fn stop_at(&mut self, written: usize) {
        self.written = written;
        self.end = if written > 0 { fd::length(self.fd.as_fd()) } else { None };
    }

    /// Goes on with another descriptor.
    ///
    /// A half-written line starts again there, unless it is the same file: there it is finished.
    pub(super) fn reopen(&mut self, fd: OwnedFd, notice: Notice<'_>) {
        self.flush(notice);
        if !fd::same_file(self.fd.as_fd(), fd.as_fd()) {
            self.written = 0;
        }
        self.fd = fd;
        self.flush(notice);
    }
}
