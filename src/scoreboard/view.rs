//! How the master reads a slot: by value, clamped, and never as index, length, pid or pointer.
//!
//! Every word may have been written by an enemy. Counters are held to never run backwards, gauges
//! to a bound, states to known words; nothing read here decides about more than the worker itself.

use super::layout as l;
use crate::model::{Class, Moment};
use crate::sys::shm::Pages;
use serde::{Deserialize, Serialize};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering::Relaxed;

/// No worker has more open connections than this; larger gauges are lies.
const MOST_CONNECTIONS: u64 = 1 << 24;
/// No worker uses more memory than this, bytes.
const MOST_MEMORY: u64 = 1 << 50;
/// Counters above this are lies: a thousand million a second for a year.
const MOST_COUNTED: u64 = 1 << 55;

/// A slot, mapped read-only.
#[derive(Debug)]
pub struct View {
    /// `None` if the layout is not one that is read here.
    pages: Option<Pages>,
    last: Figures,
}

/// What a slot says at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    pub accepted: u64,
    pub requests: u64,
    pub responses: [u64; 5],
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub errors: u64,
    pub migrated_in: u64,
    pub migrated_out: u64,
    pub cut: u64,
    /// Access log lines that were given up.
    #[serde(default)]
    pub unlogged: u64,
    pub active: [u64; 5],
    pub idle: u64,
    pub in_flight: u64,
    /// Bytes of memory, where the worker says so itself; else 0.
    #[serde(skip)]
    pub memory: u64,
    /// Of a program: open connections by listener, in the order of its service's.
    #[serde(skip)]
    pub by_listener: [u64; l::LISTENERS],
    /// Its connections can't be told from its siblings': `by_listener` counts theirs too.
    #[serde(skip)]
    pub unseen: bool,
}

impl Figures {
    /// Whether it has connections whose class is meant to last. What came over TLS is as well: that only
    /// `Beat` tells, and only in a drain.
    pub fn has_long_lived(&self) -> bool {
        Class::ALL.iter().any(|class| class.is_long_lived() && self.active[class.index()] > 0)
    }
}

/// The signs of life in a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    pub beat: u64,
    pub busy: bool,
    pub busy_total: u64,
    pub full: bool,
    pub no_descriptors: bool,
    /// It drains and has connections that are meant to last; true if nothing can be read.
    pub long_lived: bool,
    pub requests: u64,
    /// Bytes, where the worker says so itself; else 0.
    pub memory: u64,
}

/// One row of the table of open connections.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenConnection {
    /// `None` for a unix socket.
    pub peer: Option<SocketAddr>,
    pub class: Class,
    pub since: Moment,
    pub doing: &'static str,
    pub requests: u64,
}

impl View {
    /// Maps a slot from a descriptor that was opened read-only (shm::reopen_readonly).
    pub fn open(fd: BorrowedFd<'_>) -> io::Result<View> {
        Ok(View { pages: Some(Pages::map(fd, l::WORDS, false)?), last: Figures::default() })
    }

    /// The slot of a worker that another image started, and the figures that one saw last. If the layout
    /// is not ours the counters stay as they were, and there are no gauges.
    pub fn resume(fd: BorrowedFd<'_>, last: Figures) -> View {
        let ours = |pages: &Pages| {
            let word = |at: usize| pages.words().get(at).map_or(0, |w| w.load(Relaxed));
            word(l::W_MAGIC) == l::MAGIC && word(l::W_VERSION) == l::VERSION
        };
        let pages = Pages::map(fd, l::WORDS, false).ok().filter(ours);
        let counted = Figures { active: [0; 5], idle: 0, in_flight: 0, memory: 0, ..last };
        let gone = Figures { by_listener: [0; l::LISTENERS], unseen: false, ..counted };
        View { last: if pages.is_some() { last } else { gone }, pages }
    }

    /// Whether the slot's layout is known here.
    pub fn is_readable(&self) -> bool {
        self.pages.is_some()
    }

    fn word(&self, at: usize) -> u64 {
        let words = self.pages.as_ref().map_or(&[][..], |pages| pages.words());
        words.get(at).map_or(0, |w| w.load(Relaxed))
    }

    /// The figures now. A counter that went backwards keeps its highest value.
    pub fn figures(&mut self) -> Figures {
        let counted = |at: usize, before: u64| self.word(at).min(MOST_COUNTED).max(before);
        let gauge = |at: usize| self.word(at).min(MOST_CONNECTIONS);
        let last = self.last;
        let now = Figures {
            accepted: counted(l::ACCEPTED, last.accepted),
            requests: counted(l::REQUESTS, last.requests),
            responses: std::array::from_fn(|i| counted(l::RESPONSES + i, last.responses[i])),
            bytes_in: counted(l::BYTES_IN, last.bytes_in),
            bytes_out: counted(l::BYTES_OUT, last.bytes_out),
            errors: counted(l::ERRORS, last.errors),
            migrated_in: counted(l::MIGRATED_IN, last.migrated_in),
            migrated_out: counted(l::MIGRATED_OUT, last.migrated_out),
            cut: counted(l::CUT, last.cut),
            unlogged: counted(l::UNLOGGED, last.unlogged),
            active: std::array::from_fn(|i| gauge(l::ACTIVE + i)),
            idle: gauge(l::IDLE),
            in_flight: gauge(l::IN_FLIGHT),
            memory: self.word(l::MEMORY).min(MOST_MEMORY),
            by_listener: std::array::from_fn(|i| gauge(l::BY_LISTENER + i)),
            unseen: self.word(l::FLAGS) & l::UNSEEN != 0,
        };
        self.last = now;
        now
    }

    pub fn beat(&self) -> Beat {
        let flags = self.word(l::FLAGS);
        Beat {
            beat: self.word(l::BEAT),
            busy: self.word(l::BUSY_SINCE) != 0,
            busy_total: self.word(l::BUSY_TOTAL),
            full: flags & (l::FULL | l::NO_DESCRIPTORS) != 0,
            no_descriptors: flags & l::NO_DESCRIPTORS != 0,
            long_lived: flags & l::LONG_LIVED != 0 || !self.is_readable(),
            requests: self.word(l::REQUESTS).min(MOST_COUNTED),
            memory: self.word(l::MEMORY).min(MOST_MEMORY),
        }
    }

    /// The open connections that have a row, oldest first.
    pub fn connections(&self) -> Vec<OpenConnection> {
        let mut open: Vec<OpenConnection> =
            (0..l::CONNECTION_ROWS).filter_map(|row| self.connection(row)).collect();
        open.sort_by_key(|c| c.since);
        open
    }

    /// When the oldest connection that has a row was accepted.
    pub fn oldest(&self) -> Option<Moment> {
        (0..l::CONNECTION_ROWS).filter_map(|row| self.connection(row)).map(|c| c.since).min()
    }

    fn connection(&self, row: usize) -> Option<OpenConnection> {
        let at = l::CONNECTIONS + row * l::CONNECTION_WORDS;
        let kind = self.word(at + l::C_KIND);
        let class = *Class::ALL.get(usize::from(byte(kind, 0)).checked_sub(1)?)?;
        let port = u16::from_le_bytes([byte(kind, 2), byte(kind, 3)]);
        let (high, low) = (self.word(at + l::C_IP_HIGH), self.word(at + l::C_IP_LOW));
        let peer = match byte(kind, 4) {
            4 => Some(IpAddr::V4(Ipv4Addr::from((low & u64::from(u32::MAX)) as u32))),
            6 => Some(IpAddr::V6(Ipv6Addr::from((u128::from(high) << 64) | u128::from(low)))),
            _ => None,
        };
        Some(OpenConnection {
            peer: peer.map(|ip| SocketAddr::new(ip, port)),
            class,
            since: Moment(self.word(at + l::C_SINCE)),
            doing: l::Doing::word_of(byte(kind, 1)),
            requests: self.word(at + l::C_REQUESTS),
        })
    }
}

fn byte(word: u64, n: usize) -> u8 {
    word.to_le_bytes()[n]
}
