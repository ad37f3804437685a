//! Where every word of a slot lies. All words are u64; an unlisted word is zero.
//!
//! The master writes the header before the fork (into the memfd, not through a map); the worker
//! writes everything after it. Version 1. Changing a meaning needs a new `VERSION`; adding a word at
//! the end of a group does not.

/// "masterd" and a NUL, little endian.
pub const MAGIC: u64 = u64::from_le_bytes(*b"masterd\0");
pub const VERSION: u64 = 1;

/// Words of a whole slot: one page of figures, six of open connections.
pub const WORDS: usize = 7 * 512;

// Header: written by the master before the worker lives.
pub const W_MAGIC: usize = 0;
pub const W_VERSION: usize = 1;
pub const W_WORDS: usize = 2;
pub const W_WORKER: usize = 3;
pub const W_SEAT: usize = 4;
pub const W_GENERATION: usize = 5;
/// CLOCK_REALTIME nanoseconds at which the slot was made.
pub const W_MADE: usize = 6;
pub const HEADER: usize = 8;

// Life: written by the worker.
pub const PID: usize = 8;
/// A `State` number.
pub const STATE: usize = 9;
/// CLOCK_MONOTONIC nanoseconds of the loop's last turn.
pub const BEAT: usize = 10;
/// CLOCK_MONOTONIC nanoseconds at which the loop began to work; 0 while it waits in epoll.
pub const BUSY_SINCE: usize = 11;
/// Nanoseconds the loop has worked in all.
pub const BUSY_TOTAL: usize = 12;
/// Bit set of `FULL`, `NO_DESCRIPTORS`, `LONG_LIVED` and `UNSEEN`.
pub const FLAGS: usize = 13;
/// At its connection limit: does not accept.
pub const FULL: u64 = 1;
/// Out of descriptors (EMFILE, ENFILE): does not accept for the moment.
pub const NO_DESCRIPTORS: u64 = 2;
/// While it drains: connections are left that have `long_lived_grace`.
pub const LONG_LIVED: u64 = 4;
/// Connections can't be told apart by worker: `BY_LISTENER` counts all of a listener's, whosever they are.
pub const UNSEEN: u64 = 8;
/// Bytes of memory used, where the worker is more than one process; 0 if it does not say.
pub const MEMORY: usize = 14;

// Counters: only ever grow.
pub const ACCEPTED: usize = 16;
pub const REQUESTS: usize = 17;
/// Responses by status class: 1xx at +0 … 5xx at +4.
pub const RESPONSES: usize = 18;
pub const BYTES_IN: usize = 23;
pub const BYTES_OUT: usize = 24;
pub const ERRORS: usize = 25;
pub const MIGRATED_IN: usize = 26;
pub const MIGRATED_OUT: usize = 27;
/// Connections closed by force at a deadline.
pub const CUT: usize = 28;
/// Connections that ended, however.
pub const CLOSED: usize = 29;
/// Lines of the access log that were given up.
pub const UNLOGGED: usize = 30;

// Gauges.
/// Open connections by `Class`: five words.
pub const ACTIVE: usize = 32;
pub const IDLE: usize = 40;
pub const IN_FLIGHT: usize = 41;
pub const STREAMS: usize = 42;
/// Open connections by listener, in the order of the service's: of a program, which has no classes.
pub const BY_LISTENER: usize = 44;
pub const LISTENERS: usize = 16;

/// Log-linear histogram of request time: see `bucket_of`.
pub const LATENCY: usize = 64;
pub const LATENCY_BUCKETS: usize = 112;

/// Table of open connections.
pub const CONNECTIONS: usize = 512;
pub const CONNECTION_WORDS: usize = 6;
pub const CONNECTION_ROWS: usize = (WORDS - CONNECTIONS) / CONNECTION_WORDS;
// Words of a row. A row with C_KIND 0 is free.
/// bits 0–7: class index + 1; bits 8–15: doing (`Doing`); bits 16–31: port; bits 32–39: family (4, 6, 1 unix).
pub const C_KIND: usize = 0;
pub const C_IP_HIGH: usize = 1;
pub const C_IP_LOW: usize = 2;
/// CLOCK_MONOTONIC nanoseconds of the accept.
pub const C_SINCE: usize = 3;
pub const C_REQUESTS: usize = 4;
/// CLOCK_MONOTONIC nanoseconds of the last change of `Doing`.
pub const C_CHANGED: usize = 5;

/// What an open connection does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Doing {
    New = 0,
    Head = 1,
    Request = 2,
    Idle = 3,
    Closing = 4,
    Tunnel = 5,
}

impl Doing {
    /// The word shown for a number read from a slot; anything unknown is `?`.
    pub fn word_of(n: u8) -> &'static str {
        match n {
            0 => "new",
            1 => "head",
            2 => "request",
            3 => "idle",
            4 => "closing",
            5 => "tunnel",
            _ => "?",
        }
    }
}

/// What the worker says of itself; the master's own view is `model::Phase`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum State {
    Starting = 0,
    Ready = 1,
    Draining = 2,
    Leaving = 3,
}

/// The histogram bucket of a duration: four per power of two of microseconds, from 1 µs up; the
/// last bucket holds everything longer (about 134 s).
pub fn bucket_of(micros: u64) -> usize {
    if micros < 4 {
        return micros as usize;
    }
    let log = 63 - micros.leading_zeros() as usize;
    let quarter = ((micros >> (log - 2)) & 3) as usize;
    ((log - 1) * 4 + quarter).min(LATENCY_BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_grow_with_the_duration_and_never_leave_the_table() {
        let mut last = 0;
        for micros in (0..10_000).chain((14..64).map(|shift| 1u64 << shift)).chain([u64::MAX]) {
            let bucket = bucket_of(micros);
            assert!(bucket >= last && bucket < LATENCY_BUCKETS, "{micros} µs -> {bucket}");
            last = bucket;
        }
    }

    #[test]
    fn groups_do_not_overlap() {
        const { assert!(HEADER <= PID && UNLOGGED < ACTIVE && ACTIVE + 5 <= IDLE && STREAMS < BY_LISTENER) };
        const { assert!(BY_LISTENER + LISTENERS <= LATENCY && FLAGS < MEMORY && MEMORY < ACCEPTED) };
        const { assert!(LATENCY + LATENCY_BUCKETS <= CONNECTIONS) };
        const { assert!(CONNECTIONS + CONNECTION_ROWS * CONNECTION_WORDS <= WORDS) };
    }
}
