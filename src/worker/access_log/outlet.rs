//! Where access log lines leave the process: the descriptor, and what waits for it.
//!
//! Lines wait in one buffer. A plain file takes up to 64 KiB of whole lines in one write, anything else
//! (a FIFO) up to 4096 bytes, which pipe(7) keeps in one piece among writers. The oldest lines stay when
//! the buffer is full: those beyond it are counted and gone. A short write leaves the rest of its line to be finished, unless
//! another worker has written meanwhile: then the line starts again. No error is final: space is freed,
//! a reader comes back, the file is reopened.

use crate::sys::fd;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Bytes of lines that may wait.
const RING: usize = 1 << 20;
/// The most that one write to a plain file takes.
const FILE_WRITE: usize = 64 * 1024;
/// The most that a pipe takes in one piece: PIPE_BUF.
const PIPE_WRITE: usize = 4096;
/// A buffer that grew beyond this is given back when nothing waits.
const KEPT: usize = 256 * 1024;

pub(super) struct Outlet {
    fd: OwnedFd,
    plain: bool,
    held: Vec<u8>,
    /// Where the first line that is not written whole begins.
    start: usize,
    /// Bytes of it that are written.
    written: usize,
    /// Where the file ended after those; `None` if it is no plain file.
    end: Option<u64>,
    /// The last try came to nothing; until the next flush there is no other.
    stuck: bool,
    dropped: u64,
    why: Option<io::Error>,
}

impl Outlet {
    pub(super) fn new(fd: OwnedFd) -> Outlet {
        let plain = fd::length(fd.as_fd()).is_some();
        let (held, dropped) = (Vec::new(), 0);
        Outlet { fd, plain, held, start: 0, written: 0, end: None, stuck: false, dropped, why: None }
    }

    /// Keeps a line, which `compose` appends in at most so many bytes; false if there is no room for it.
    pub(super) fn add(&mut self, compose: impl FnOnce(usize, &mut Vec<u8>)) -> bool {
        let before = self.held.len();
        compose(self.most(), &mut self.held);
        if self.waiting() > RING && !self.stuck {
            self.drain();
        }
        if self.waiting() <= RING {
            return true;
        }
        self.held.truncate(before);
        self.dropped += 1;
        false
    }

    /// Writes what waits as far as that goes.
    pub(super) fn flush(&mut self) {
        self.stuck = false;
        self.drain();
        if self.start == self.held.len() {
            self.start = 0;
            self.held.clear();
            if self.held.capacity() > KEPT {
                self.held = Vec::new();
            }
        }
    }

    /// Goes on with another descriptor, after a try of the old one. A half-written line starts again
    /// there, unless it is the same file: there it is finished.
    pub(super) fn reopen(&mut self, fd: OwnedFd) {
        self.flush();
        if !fd::same_file(self.fd.as_fd(), fd.as_fd()) {
            self.written = 0;
        }
        self.plain = fd::length(fd.as_fd()).is_some();
        self.fd = fd;
        self.flush();
    }

    /// Lets go of what waits; how many lines that were.
    pub(super) fn give_up(&mut self) -> u64 {
        let lines = self.held[self.start..].iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.dropped += lines;
        (self.start, self.written) = (0, 0);
        self.held.clear();
        lines
    }

    pub(super) fn pending(&self) -> bool {
        self.start < self.held.len()
    }

    /// Lines given up in all.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Why lines waited.
    pub(super) fn why(&self) -> String {
        match &self.why {
            Some(e) if e.kind() == io::ErrorKind::WouldBlock => {
                "nobody reads it fast enough, and no more may wait".to_owned()
            }
            Some(e) => format!("it can't be written ({e}), and no more may wait"),
            None => "they came faster than they could be written".to_owned(),
        }
    }

    fn waiting(&self) -> usize {
        self.held.len() - self.start
    }

    /// The most that one write takes, and so a line.
    fn most(&self) -> usize {
        if self.plain { FILE_WRITE } else { PIPE_WRITE }
    }

    fn drain(&mut self) {
        // What somebody else wrote ends the half line: its other half would stand alone.
        if self.written > 0 && self.end.is_some() && fd::length(self.fd.as_fd()) != self.end {
            self.written = 0;
        }
        while self.start < self.held.len() {
            let piece = &self.held[self.start + self.written..];
            let piece = &piece[..whole_lines(piece, self.most())];
            let done = match self.plain {
                true => fd::write_file(self.fd.as_fd(), piece),
                false => fd::write_now(self.fd.as_fd(), piece),
            };
            match done {
                Ok(n @ 1..) => self.advance(n),
                Ok(_) => return self.stop_with(io::ErrorKind::WriteZero.into()),
                Err(e) => return self.stop_with(e),
            }
        }
        self.why = None;
    }

    fn stop_with(&mut self, why: io::Error) {
        (self.why, self.stuck) = (Some(why), true);
        // Moved rarely: what is written must not count as waiting memory for ever.
        if self.start >= FILE_WRITE {
            self.held.drain(..self.start);
            self.start = 0;
        }
    }

    /// So many more bytes are written.
    fn advance(&mut self, n: usize) {
        let from = self.start + self.written;
        let fresh = &self.held[from..from + n];
        match fresh.iter().rposition(|&byte| byte == b'\n') {
            Some(last) => (self.start, self.written) = (from + last + 1, n - last - 1),
            None => self.written += n,
        }
        self.end = if self.written > 0 { fd::length(self.fd.as_fd()) } else { None };
    }
}

/// How many bytes of `lines` to write at once: whole lines, if one ends within `most`.
fn whole_lines(lines: &[u8], most: usize) -> usize {
    if lines.len() <= most {
        return lines.len();
    }
    lines[..most].iter().rposition(|&byte| byte == b'\n').map_or(most, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::{Folder, alone, limit_file_size, no_forks};
    use std::fs::File;
    use std::io::Read;
    use std::path::Path;

    fn outlet(path: &Path) -> Outlet {
        Outlet::new(fd::open_log(path).unwrap())
    }

    /// A line that carries a number, of so many bytes.
    fn add(outlet: &mut Outlet, number: usize, length: usize) -> bool {
        outlet.add(|most, out| {
            assert!(length <= most);
            let line = format!("{number:06} {}\n", "x".repeat(length - 8));
            out.extend_from_slice(line.as_bytes());
        })
    }

    /// The numbers of whole lines.
    fn numbers(text: &str) -> Vec<usize> {
        assert!(text.is_empty() || text.ends_with('\n'), "torn at the end");
        let number = |line: &str| {
            let (number, rest) = line.split_once(' ').expect("a whole line");
            assert!(rest.bytes().all(|byte| byte == b'x'), "torn: {line}");
            number.parse().expect("a number")
        };
        text.lines().map(number).collect()
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_file_takes_a_turn_in_one_write() {
        let folder = Folder::new();
        let mut outlet = outlet(&folder.join("a"));
        for n in 0..100 {
            assert!(add(&mut outlet, n, 200));
        }
        assert_eq!(read(&folder.join("a")), "", "nothing before the flush");
        outlet.flush();
        assert!(!outlet.pending() && outlet.dropped() == 0);
        assert_eq!(numbers(&read(&folder.join("a"))), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn more_than_may_wait_is_written_meanwhile() {
        let folder = Folder::new();
        let mut outlet = outlet(&folder.join("a"));
        (0..4000).for_each(|n| assert!(add(&mut outlet, n, 1000)));
        assert!(read(&folder.join("a")).len() >= RING);
        outlet.flush();
        assert_eq!(numbers(&read(&folder.join("a"))), (0..4000).collect::<Vec<_>>());
        assert!(outlet.held.capacity() <= KEPT, "and the room for it is given back");
    }

    #[test]
    fn writes_end_with_lines() {
        let lines = b"aaa\nbb\ncccc\n";
        let cases = [(12, 12), (11, 7), (7, 7), (6, 4), (4, 4), (3, 3)];
        for (most, expected) in cases {
            assert_eq!(whole_lines(lines, most), expected, "{most}");
        }
    }

    #[test]
    fn what_a_stalled_reader_leaves_waits_then_is_counted_then_follows() {
        let _quiet = no_forks();
        let (reader, writer) = fd::pipe().unwrap();
        let mut outlet = Outlet::new(writer);
        let mut kept = 0;
        while add(&mut outlet, kept, 500) {
            kept += 1;
            outlet.flush();
        }
        assert!(kept * 500 > RING && kept * 500 < RING + (1 << 18), "{kept} lines");
        assert!(!add(&mut outlet, kept + 1, 500));
        assert_eq!(outlet.dropped(), 2);
        assert!(outlet.why().contains("nobody reads"), "{}", outlet.why());
        let (mut all, mut chunk) = (Vec::new(), vec![0; 1 << 16]);
        let mut reader = File::from(reader);
        let mut more = kept;
        while outlet.pending() || more < kept + 100 {
            let n = reader.read(&mut chunk).unwrap();
            all.extend_from_slice(&chunk[..n]);
            outlet.flush();
            // There is room again while it drains.
            if more < kept + 100 {
                assert!(add(&mut outlet, more, 500));
                more += 1;
            }
            assert!(outlet.held.len() <= RING + FILE_WRITE + 500, "what is written does not pile up");
        }
        drop(outlet);
        reader.read_to_end(&mut all).unwrap();
        assert_eq!(numbers(&String::from_utf8(all).unwrap()), (0..kept + 100).collect::<Vec<_>>());
    }

    #[test]
    fn writers_of_one_pipe_do_not_tear_each_others_lines() {
        let _quiet = no_forks();
        let (reader, writer) = fd::pipe().unwrap();
        let mut writers: Vec<Outlet> = (0..2).map(|_| Outlet::new(writer.try_clone().unwrap())).collect();
        drop(writer);
        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            File::from(reader).read_to_string(&mut text).map(|_| text)
        });
        for round in 0..60 {
            for outlet in &mut writers {
                (0..20).for_each(|n| assert!(add(outlet, round * 20 + n, 700)));
                outlet.flush();
            }
        }
        while writers.iter_mut().any(|outlet| {
            outlet.flush();
            outlet.pending()
        }) {}
        drop(writers);
        let mut got = numbers(&reading.join().unwrap().unwrap());
        got.sort_unstable();
        assert_eq!(got, (0..2400).map(|n| n / 2).collect::<Vec<_>>());
    }

    #[test]
    fn reopening_loses_nothing_and_writes_nothing_twice() {
        let folder = Folder::new();
        let (a, b) = (folder.join("a"), folder.join("b"));
        let mut outlet = outlet(&a);
        (0..10).for_each(|n| assert!(add(&mut outlet, n, 100)));
        std::fs::rename(&a, &b).unwrap();
        (10..20).for_each(|n| assert!(add(&mut outlet, n, 100)));
        outlet.reopen(fd::open_log(&a).unwrap());
        (20..30).for_each(|n| assert!(add(&mut outlet, n, 100)));
        outlet.flush();
        assert_eq!(numbers(&read(&b)), (0..20).collect::<Vec<_>>(), "what came before goes to the old one");
        assert_eq!(numbers(&read(&a)), (20..30).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_disk_tears_no_line_once_there_is_room() {
        let folder = Folder::new();
        let path = folder.join("a");
        alone(|| {
            let mut outlet = outlet(&path);
            limit_file_size(150);
            (0..3).for_each(|n| assert!(add(&mut outlet, n, 100)));
            outlet.flush();
            assert_eq!(std::fs::metadata(&path).unwrap().len(), 150);
            assert!(outlet.pending() && outlet.why().contains("can't be written"));
            limit_file_size(170);
            outlet.flush();
            limit_file_size(u64::MAX);
            outlet.flush();
            assert!(!outlet.pending());
        });
        assert_eq!(numbers(&read(&path)), [0, 1, 2]);
    }

    #[test]
    fn a_half_line_starts_again_behind_anothers_and_in_another_file() {
        let folder = Folder::new();
        let (old, new) = (folder.join("old"), folder.join("new"));
        alone(|| {
            let (mut one, mut two) = (outlet(&old), outlet(&old));
            limit_file_size(150);
            (0..2).for_each(|n| assert!(add(&mut one, n, 100)));
            one.flush();
            limit_file_size(u64::MAX);
            assert!(add(&mut two, 7, 100));
            two.flush();
            one.flush();
            limit_file_size(350);
            (2..4).for_each(|n| assert!(add(&mut one, n, 100)));
            one.flush();
            one.reopen(fd::open_log(&new).unwrap());
            limit_file_size(u64::MAX);
            one.flush();
        });
        let old = read(&old);
        assert_eq!(numbers(&old[..100]), [0]);
        let half = format!("{:06} {}", 1, "x".repeat(43));
        let rest = old[100..].strip_prefix(&half).expect("the half line");
        assert_eq!(numbers(&rest[..200]), [7, 1]);
        assert_eq!(numbers(&read(&new)).last(), Some(&3));
    }

    #[test]
    fn what_is_given_up_is_counted() {
        let _quiet = no_forks();
        let (reader, writer) = fd::pipe().unwrap();
        let mut outlet = Outlet::new(writer);
        drop(reader);
        (0..3).for_each(|n| assert!(add(&mut outlet, n, 100)));
        outlet.flush();
        assert_eq!((outlet.give_up(), outlet.dropped(), outlet.pending()), (3, 3, false));
        assert!(outlet.why().contains("Broken pipe"), "{}", outlet.why());
    }
}
