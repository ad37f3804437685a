//! What a program prints, cut into lines: how much of it goes into the log, and what it said last.
//!
//! One `Lines` per stream, one `Spout` for both. Everything is read, whatever becomes of it: a program
//! must never wait for its log. Never: reads, writes, looks at a clock.

use crate::model::Moment;
use std::collections::VecDeque;
use std::time::Duration;

/// A line is cut here: with its fields it is to fit into a line of the log.
const LINE_MOST: usize = 3000;
/// Lines kept to be told if the program ends, and their bytes at most: together they fit into one report.
const LAST: usize = 20;
const LAST_MOST: usize = 256;
/// Bytes a second that go into the log for good, and at once.
const RATE: u64 = 2 << 20;
const BURST: u64 = 8 << 20;

/// The rest of a stream that has not come to the end of its line.
#[derive(Debug, Default)]
pub struct Lines {
    part: Vec<u8>,
    /// The line is cut already: what follows is thrown away until it ends.
    cut: bool,
}

impl Lines {
    /// Takes what was read, and gives each line that is complete to `line`.
    pub fn feed(&mut self, mut bytes: &[u8], line: &mut dyn FnMut(&str)) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.keep(&bytes[..end]);
            self.end(line);
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes);
    }

    /// The stream has ended: so has its last line.
    pub fn finish(&mut self, line: &mut dyn FnMut(&str)) {
        if !self.part.is_empty() {
            self.end(line);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LINE_MOST.saturating_sub(self.part.len());
        self.cut |= bytes.len() > room;
        self.part.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end(&mut self, line: &mut dyn FnMut(&str)) {
        let text = String::from_utf8_lossy(&self.part);
        let text = text.trim_end_matches('\r');
        match self.cut {
            true => line(&format!("{text}…")),
            false => line(text),
        }
        self.part.clear();
        self.cut = false;
    }
}

/// How much may pass, and what was said last.
#[derive(Debug)]
pub struct Spout {
    last: VecDeque<String>,
    /// Bytes that may pass now.
    allowed: u64,
    filled: Moment,
    /// Lines that were left out since the last notice of it.
    left_out: u64,
}

impl Spout {
    pub fn new(now: Moment) -> Spout {
        Spout { last: VecDeque::with_capacity(LAST), allowed: BURST, filled: now, left_out: 0 }
    }

    /// Whether a line goes into the log. It is kept as one of the last ones in any case.
    pub fn pass(&mut self, line: &str, now: Moment) -> bool {
        if line.trim().is_empty() {
            return false;
        }
        // In a flood this is done very often: what is given up is written over.
        let oldest = if self.last.len() == LAST { self.last.pop_front() } else { None };
        let mut kept = oldest.unwrap_or_default();
        kept.clear();
        tame(line, &mut kept);
        self.last.push_back(kept);
        self.fill(now);
        let size = line.len() as u64 + 1;
        match self.allowed.checked_sub(size) {
            Some(rest) if self.left_out == 0 => {
                self.allowed = rest;
                true
            }
            // Once something is left out, nothing passes until that has been said.
            _ => {
                self.left_out += 1;
                false
            }
        }
    }

    /// How many lines were left out, at most once a second: when there is room again.
    pub fn notice(&mut self, now: Moment) -> Option<u64> {
        self.fill(now);
        let due = self.left_out > 0 && self.allowed >= RATE / 2;
        due.then(|| std::mem::take(&mut self.left_out))
    }

    /// How many lines were left out and never told.
    pub fn untold(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.left_out)).filter(|n| *n > 0)
    }

    fn fill(&mut self, now: Moment) {
        let since = now.since(self.filled);
        if since >= Duration::from_millis(10) {
            let more = u64::try_from(since.as_millis()).unwrap_or(u64::MAX).saturating_mul(RATE / 1000);
            self.allowed = self.allowed.saturating_add(more).min(BURST);
            self.filled = now;
        }
    }

    /// What the program printed last, oldest first.
    pub fn last(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }

    /// Whether it said that an address is in use: it has bound one itself.
    pub fn says_address_in_use(&self) -> bool {
        let told = |line: &String| {
            let line = line.to_lowercase();
            line.contains("address already in use")
                || line.contains("eaddrinuse")
                || line.contains("address in use")
                || line.contains("errno 98")
        };
        self.last.iter().any(told)
    }
}

/// As much of a line as is kept, with nothing in it that a terminal would act on, or that grows in a report.
fn tame(line: &str, into: &mut String) {
    for c in line.chars() {
        let c = match c {
            '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        };
        if into.len() + c.len_utf8() > LAST_MOST {
            return;
        }
        into.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(pieces: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.feed(piece, &mut |line| out.push(line.to_owned()));
        }
        lines.finish(&mut |line| out.push(line.to_owned()));
        out
    }

    #[test]
    fn lines_are_put_together_from_pieces() {
        assert_eq!(lines_of(&[b"on", b"e\ntwo\r\n", b"", b"\nth", b"ree"]), ["one", "two", "", "three"]);
        assert_eq!(lines_of(&[b"caf\xc3", b"\xa9 \xff\n"]), ["café \u{fffd}"]);
    }

    #[test]
    fn a_line_without_an_end_takes_no_more_than_a_line() {
        let long = vec![b'x'; LINE_MOST];
        let told = lines_of(&[&long, b"yyyy", &long, b"\nz"]);
        assert_eq!(told.len(), 2);
        assert_eq!(told[0], format!("{}…", "x".repeat(LINE_MOST)));
        assert_eq!(told[1], "z");
    }

    #[test]
    fn a_flood_is_bounded_and_counted() {
        let at = |ms: u64| Moment(ms * 1_000_000);
        let mut spout = Spout::new(at(0));
        let line = "x".repeat(1023);
        let passed = (0..20_000).filter(|_| spout.pass(&line, at(0))).count() as u64;
        assert_eq!(passed, BURST / 1024);
        assert_eq!(spout.notice(at(1)), None);
        assert!(!spout.pass("short", at(1)));
        assert_eq!(spout.notice(at(1000)), Some(20_000 - passed + 1));
        assert!(spout.pass("short", at(1000)));
        assert_eq!(spout.notice(at(9000)), None);
        assert_eq!(spout.untold(), None);
    }

    #[test]
    fn the_last_words_are_kept_even_if_they_are_left_out() {
        let mut spout = Spout::new(Moment(0));
        for n in 0..50_000 {
            spout.pass(&format!("line {n} {}", "x".repeat(400)), Moment(0));
        }
        let last = spout.last();
        assert_eq!(last.len(), LAST);
        assert!(last[LAST - 1].starts_with("line 49999 ") && last[0].starts_with("line 49980 "));
        assert!(last.iter().all(|line| line.len() <= LAST_MOST));
        assert!(!spout.pass("   ", Moment(0)) && spout.last() == last, "an empty line says nothing");
    }

    #[test]
    fn last_words_are_tame_and_fit_into_a_report() {
        let mut spout = Spout::new(Moment(0));
        for _ in 0..LAST {
            spout.pass(&"\u{1}\u{1b}\u{1f600}\"".repeat(900), Moment(0));
        }
        let report = crate::wire::report::Report::Failed { why: "é".repeat(200), lines: spout.last() };
        let size = serde_json::to_vec(&report).unwrap().len();
        assert!(size < crate::wire::order::MESSAGE_LIMIT, "{size} bytes");
        assert!(spout.last().iter().all(|line| !line.contains(char::is_control)));
    }

    #[test]
    fn a_program_that_binds_by_itself_is_told_by_its_words() {
        let said = |line: &str| {
            let mut spout = Spout::new(Moment(0));
            spout.pass(line, Moment(0));
            spout.says_address_in_use()
        };
        assert!(said("OSError: [Errno 98] Address already in use"));
        assert!(said("Error: listen EADDRINUSE: address already in use 127.0.0.1:8000"));
        assert!(!said("ready to serve"));
    }
}
