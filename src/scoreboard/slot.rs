//! A worker's only pen: it writes its own slot and nothing else.
//!
//! Made by `worker::startup` from the inherited memfd. Every word has one writer, the worker's loop
//! thread, so an increment is a relaxed load and store. Readers may see figures of one turn mixed
//! with those of the next. A connection for which the table has no row is counted, but not listed.

use super::layout::*;
use crate::model::{Class, Moment};
use crate::sys::net::Peer;
use crate::sys::shm::Pages;
use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The writable map of one slot.
#[derive(Debug)]
pub struct Slot {
    pages: Pages,
    free: RefCell<Vec<u16>>,
}

/// A row of the table of connections; `NONE` writes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row(u16);

impl Row {
    pub const NONE: Row = Row(u16::MAX);
}

impl Slot {
    /// Maps the slot behind `fd` (which may be closed afterwards). Errors: too small, not sealed, mmap(2).
    pub fn map(fd: BorrowedFd<'_>) -> io::Result<Slot> {
        let pages = Pages::map(fd, WORDS, true)?;
        Ok(Slot { pages, free: RefCell::new((0..CONNECTION_ROWS as u16).rev().collect()) })
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        &self.pages.words()[index]
    }

    /// Sets a word: PID, a gauge.
    pub fn set(&self, index: usize, value: u64) {
        self.word(index).store(value, Relaxed);
    }

    /// What this worker last wrote there.
    pub fn get(&self, index: usize) -> u64 {
        self.word(index).load(Relaxed)
    }

    /// Adds to a counter or gauge.
    pub fn add(&self, index: usize, n: u64) {
        let word = self.word(index);
        word.store(word.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Takes from a gauge; it never goes below zero.
    pub fn sub(&self, index: usize, n: u64) {
        let word = self.word(index);
        word.store(word.load(Relaxed).saturating_sub(n), Relaxed);
    }

    pub fn set_state(&self, state: State) {
        self.set(STATE, state as u64);
    }

    /// Raises or lowers one of `FULL` and `NO_DESCRIPTORS`.
    pub fn flag(&self, flag: u64, on: bool) {
        let flags = self.get(FLAGS);
        self.set(FLAGS, if on { flags | flag } else { flags & !flag });
    }

    /// The loop begins a turn.
    pub fn awake(&self, now: Moment) {
        self.set(BEAT, now.0);
        self.set(BUSY_SINCE, now.0);
    }

    /// The loop is about to wait.
    pub fn asleep(&self, now: Moment) {
        let since = self.get(BUSY_SINCE);
        if since != 0 {
            self.add(BUSY_TOTAL, now.0.saturating_sub(since));
            self.set(BUSY_SINCE, 0);
        }
    }

    /// Counts a response by its class; a status outside 100..=599 is not counted.
    pub fn response(&self, status: u16) {
        if (100..600).contains(&status) {
            self.add(RESPONSES + usize::from(status / 100) - 1, 1);
        }
    }

    /// Files the time a request took.
    pub fn latency(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.add(LATENCY + bucket_of(micros), 1);
    }

    /// Lists a connection, if there is a row left.
    pub fn open_row(&self, class: Class, peer: Peer, now: Moment) -> Row {
        let Some(row) = self.free.borrow_mut().pop() else { return Row::NONE };
        let at = base(row);
        self.set(at + C_SINCE, now.0);
        self.set(at + C_REQUESTS, 0);
        self.set(at + C_CHANGED, now.0);
        self.set(at + C_KIND, class.index() as u64 + 1);
        self.peer(Row(row), peer);
        Row(row)
    }

    /// Says whose connection it is.
    pub fn peer(&self, row: Row, peer: Peer) {
        if row == Row::NONE {
            return;
        }
        let (family, port, high, low) = match peer {
            Peer::Unix => (1u64, 0, 0, 0),
            Peer::Tcp(address) => match address.ip() {
                IpAddr::V4(ip) => (4, address.port(), 0, u64::from(u32::from(ip))),
                IpAddr::V6(ip) => (6, address.port(), (u128::from(ip) >> 64) as u64, u128::from(ip) as u64),
            },
        };
        let at = base(row.0);
        self.set(at + C_IP_HIGH, high);
        self.set(at + C_IP_LOW, low);
        let kind = self.get(at + C_KIND) & 0xffff;
        self.set(at + C_KIND, kind | u64::from(port) << 16 | family << 32);
    }

    /// Says what a connection does now.
    pub fn doing(&self, row: Row, doing: Doing, now: Moment) {
        if row != Row::NONE {
            let at = base(row.0);
            let kind = self.get(at + C_KIND);
            self.set(at + C_KIND, kind & !0xff00 | (doing as u64) << 8);
            self.set(at + C_CHANGED, now.0);
        }
    }

    /// Says that a connection is of another class than it was.
    pub fn reclass(&self, row: Row, class: Class) {
        if row != Row::NONE {
            let at = base(row.0);
            let kind = self.get(at + C_KIND);
            self.set(at + C_KIND, kind & !0xff | (class.index() as u64 + 1));
        }
    }

    /// Counts one more request of a connection.
    pub fn request(&self, row: Row) {
        if row != Row::NONE {
            self.add(base(row.0) + C_REQUESTS, 1);
        }
    }

    /// Takes a connection off the list.
    pub fn close_row(&self, row: Row) {
        if row != Row::NONE {
            self.set(base(row.0) + C_KIND, 0);
            self.free.borrow_mut().push(row.0);
        }
    }
}

fn base(row: u16) -> usize {
    CONNECTIONS + usize::from(row) * CONNECTION_WORDS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::shm;
    use std::os::fd::AsFd;

    fn slot() -> Slot {
        let fd = shm::create("masterd-test-slot", WORDS, &[MAGIC, VERSION]).unwrap();
        Slot::map(fd.as_fd()).unwrap()
    }

    #[test]
    fn gauges_stop_at_zero_and_busy_time_adds_up() {
        let slot = slot();
        slot.sub(IDLE, 1);
        assert_eq!(slot.get(IDLE), 0);
        slot.awake(Moment(100));
        slot.asleep(Moment(130));
        slot.asleep(Moment(900));
        slot.awake(Moment(1000));
        assert_eq!((slot.get(BUSY_TOTAL), slot.get(BUSY_SINCE), slot.get(BEAT)), (30, 1000, 1000));
    }

    #[test]
    fn rows_run_out_and_come_back() {
        let slot = slot();
        let peer = Peer::Tcp("10.1.2.3:4567".parse().unwrap());
        let rows: Vec<Row> =
            (0..CONNECTION_ROWS).map(|_| slot.open_row(Class::Http, peer, Moment(5))).collect();
        assert!(rows.iter().all(|row| *row != Row::NONE));
        assert_eq!(slot.open_row(Class::Http, peer, Moment(6)), Row::NONE);
        slot.doing(rows[3], Doing::Idle, Moment(9));
        let at = base(rows[3].0);
        assert_eq!(slot.get(at + C_KIND), 1 | 3 << 8 | 4567 << 16 | 4 << 32);
        assert_eq!((slot.get(at + C_IP_LOW), slot.get(at + C_CHANGED)), (0x0a010203, 9));
        slot.close_row(rows[3]);
        assert_eq!(slot.get(at + C_KIND), 0);
        assert_eq!(slot.open_row(Class::Tcp, Peer::Unix, Moment(7)), rows[3]);
        assert_eq!(slot.get(at + C_KIND), 5 | 1 << 32);
    }

    #[test]
    fn responses_are_counted_by_class() {
        let slot = slot();
        for status in [100, 200, 204, 404, 503, 599, 600, 99, 0] {
            slot.response(status);
        }
        let classes: Vec<u64> = (0..5).map(|class| slot.get(RESPONSES + class)).collect();
        assert_eq!(classes, [1, 2, 0, 1, 2]);
    }
}
