//! Connections in the order in which they entered a state, linked through their own entries.
//!
//! Each list has one timeout for all, so the order of entry is the order of expiry and only the head
//! is ever looked at. `Active` is a list for walking only. Costs eight bytes a connection.

use super::conns::{Conn, Source};
use super::engine::slab::Slab;

/// No neighbour.
pub const END: u32 = u32::MAX;

/// The lists; a connection is in exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Accepted, nothing received yet.
    New,
    /// Parked between two requests.
    Idle,
    /// In the hands of hyper.
    Active,
    /// We have sent our FIN and wait for the client's.
    Lingering,
    /// Bytes are passed on unread.
    Tunnel,
}

#[derive(Clone, Copy, Debug)]
struct Ends {
    first: u32,
    last: u32,
    len: usize,
}

/// The ends of all lists.
#[derive(Debug)]
pub struct Lists {
    ends: [Ends; 5],
}

impl Default for Lists {
    fn default() -> Self {
        Lists { ends: [Ends { first: END, last: END, len: 0 }; 5] }
    }
}

fn conn(sources: &mut Slab<Source>, key: u32) -> Option<&mut Conn> {
    match sources.get_mut(key as usize) {
        Some(Source::Conn(conn)) => Some(conn),
        _ => None,
    }
}

impl Lists {
    pub fn len(&self, list: List) -> usize {
        self.ends[list as usize].len
    }

    /// The one that entered first.
    pub fn first(&self, list: List) -> Option<usize> {
        let first = self.ends[list as usize].first;
        (first != END).then_some(first as usize)
    }

    /// Appends a connection that is in no list.
    pub fn push(&mut self, sources: &mut Slab<Source>, key: usize, list: List) {
        let ends = &mut self.ends[list as usize];
        let (key, last) = (key as u32, ends.last);
        ends.last = key;
        ends.len += 1;
        if last == END {
            ends.first = key;
        } else if let Some(conn) = conn(sources, last) {
            conn.next = key;
        }
        if let Some(conn) = conn(sources, key) {
            (conn.prev, conn.next, conn.list) = (last, END, list);
        }
    }

    /// Takes a connection out of its list.
    pub fn remove(&mut self, sources: &mut Slab<Source>, key: usize) {
        let Some(&mut Conn { prev, next, list, .. }) = conn(sources, key as u32) else { return };
        let ends = &mut self.ends[list as usize];
        ends.len -= 1;
        match prev {
            END => ends.first = next,
            _ => {
                if let Some(conn) = conn(sources, prev) {
                    conn.next = next;
                }
            }
        }
        match next {
            END => ends.last = prev,
            _ => {
                if let Some(conn) = conn(sources, next) {
                    conn.prev = prev;
                }
            }
        }
    }

    /// Every member, oldest first.
    pub fn walk<'a>(&self, sources: &'a Slab<Source>, list: List) -> impl Iterator<Item = usize> + use<'a> {
        let some = |at: u32| (at != END).then_some(at as usize);
        std::iter::successors(some(self.ends[list as usize].first), move |at| match sources.get(*at) {
            Some(Source::Conn(conn)) => some(conn.next),
            _ => None,
        })
    }

    /// Every member, oldest first, so that they can be moved while they are gone through.
    pub fn members(&self, sources: &Slab<Source>, list: List) -> Vec<usize> {
        let mut members = Vec::with_capacity(self.len(list));
        members.extend(self.walk(sources, list));
        members
    }
}
