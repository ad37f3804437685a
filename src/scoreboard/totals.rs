//! The master's own pages: what the dead have left, by service, and the last reload.
//!
//! Written by the master alone, in a sealed memfd of its own that no worker ever sees; a later
//! image finds everything in it. A service keeps its record by name when it leaves and comes back.
//! When all records are taken, that of a service no longer in the config is reused.

use super::layout::{MAGIC, VERSION};
use super::view::Figures;
use crate::sys::shm::{self, Pages};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;

/// Services with a record.
pub const RECORDS: usize = 256;
const HEADER: usize = 64;
const RECORD: usize = 32;
const WORDS: usize = HEADER + RECORDS * RECORD;

const H_GENERATION: usize = 4;
const H_RELOAD_AT: usize = 5;
const H_RELOAD_OK: usize = 6;
const H_RELOAD_GENERATION: usize = 7;

/// A name takes eight words of a record, padded with NUL.
const NAME_WORDS: usize = 8;
const R_ACCEPTED: usize = 8;
const R_REQUESTS: usize = 9;
const R_BYTES_IN: usize = 10;
const R_BYTES_OUT: usize = 11;
const R_ERRORS: usize = 12;
const R_MIGRATED: usize = 13;
const R_CUT: usize = 14;
const R_DEATHS: usize = 15;
const R_RESPONSES: usize = 16;
const R_UNLOGGED: usize = 21;

/// Sums over workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    pub accepted: u64,
    pub requests: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub errors: u64,
    pub migrated: u64,
    pub cut: u64,
    pub deaths: u64,
    pub responses: [u64; 5],
    /// Access log lines that were given up.
    #[serde(default)]
    pub unlogged: u64,
}

impl Tally {
    /// Adds one worker's counters.
    pub fn add(&mut self, f: &Figures) {
        let sum = u64::saturating_add;
        self.accepted = sum(self.accepted, f.accepted);
        self.requests = sum(self.requests, f.requests);
        self.bytes_in = sum(self.bytes_in, f.bytes_in);
        self.bytes_out = sum(self.bytes_out, f.bytes_out);
        self.errors = sum(self.errors, f.errors);
        self.migrated = sum(self.migrated, f.migrated_in);
        self.cut = sum(self.cut, f.cut);
        self.unlogged = sum(self.unlogged, f.unlogged);
        for (total, n) in self.responses.iter_mut().zip(f.responses) {
            *total = sum(*total, n);
        }
    }
}

/// The master's pages, mapped for writing.
#[derive(Debug)]
pub struct Totals {
    pages: Pages,
    /// Kept open for a later image.
    memory: OwnedFd,
}

impl Totals {
    pub fn create() -> io::Result<Totals> {
        let memory = shm::create("masterd-totals", WORDS, &[MAGIC, VERSION, WORDS as u64, RECORDS as u64])?;
        let pages = Pages::map(memory.as_fd(), WORDS, true)?;
        Ok(Totals { pages, memory })
    }

    /// The pages of the image before, or new ones with these sums if their layout is another.
    pub fn restore(memory: OwnedFd, sums: &BTreeMap<String, Tally>) -> io::Result<Totals> {
        if let Ok(pages) = Pages::map(memory.as_fd(), WORDS, true)
            && is_ours(&pages)
        {
            return Ok(Totals { pages, memory });
        }
        let totals = Totals::create()?;
        for (service, tally) in sums {
            if let Some(record) = totals.claim(service, &|_| true) {
                totals.write(record, tally);
            }
        }
        Ok(totals)
    }

    /// Whether pages that somebody else made can be read here; they are not changed.
    pub fn check(memory: BorrowedFd<'_>) -> io::Result<bool> {
        Ok(is_ours(&Pages::map(memory, WORDS, false)?))
    }

    /// What the dead of every service have left.
    pub fn all(&self) -> BTreeMap<String, Tally> {
        let records = (0..RECORDS).map(|record| (self.name_of(record), self.read(record)));
        records.filter(|(name, _)| !name.is_empty()).collect()
    }

    fn load(&self, at: usize) -> u64 {
        self.pages.words().get(at).map_or(0, |w| w.load(Relaxed))
    }

    fn store(&self, at: usize, value: u64) {
        if let Some(word) = self.pages.words().get(at) {
            word.store(value, Relaxed);
        }
    }

    fn at(record: usize) -> usize {
        HEADER + record * RECORD
    }

    fn has_name(&self, record: usize, name: &[u64; NAME_WORDS]) -> bool {
        (0..NAME_WORDS).all(|i| self.load(Self::at(record) + i) == name[i])
    }

    fn find(&self, service: &str) -> Option<usize> {
        let name = packed(service);
        (0..RECORDS).find(|record| self.has_name(*record, &name))
    }

    /// The record of a service, made if need be: a free one, or that of a service not `in_use`.
    fn claim(&self, service: &str, in_use: &dyn Fn(&str) -> bool) -> Option<usize> {
        if let Some(record) = self.find(service) {
            return Some(record);
        }
        let free = packed("");
        let record = (0..RECORDS)
            .find(|r| self.has_name(*r, &free))
            .or_else(|| (0..RECORDS).find(|r| !in_use(&self.name_of(*r))))?;
        for i in 0..RECORD {
            self.store(Self::at(record) + i, 0);
        }
        for (i, word) in packed(service).into_iter().enumerate() {
            self.store(Self::at(record) + i, word);
        }
        Some(record)
    }

    fn name_of(&self, record: usize) -> String {
        let bytes = (0..NAME_WORDS).flat_map(|i| self.load(Self::at(record) + i).to_le_bytes());
        String::from_utf8_lossy(&bytes.take_while(|b| *b != 0).collect::<Vec<u8>>()).into_owned()
    }

    /// Adds the last counters of a worker that is gone. False if there is no record left for it.
    pub fn fold(&self, service: &str, last: &Figures, death: bool, in_use: &dyn Fn(&str) -> bool) -> bool {
        let Some(record) = self.claim(service, in_use) else { return false };
        let mut tally = self.read(record);
        tally.add(last);
        tally.deaths = tally.deaths.saturating_add(u64::from(death));
        self.write(record, &tally);
        true
    }

    /// What the dead of a service have left.
    pub fn of(&self, service: &str) -> Tally {
        self.find(service).map(|record| self.read(record)).unwrap_or_default()
    }

    fn read(&self, record: usize) -> Tally {
        let word = |i: usize| self.load(Self::at(record) + i);
        Tally {
            accepted: word(R_ACCEPTED),
            requests: word(R_REQUESTS),
            bytes_in: word(R_BYTES_IN),
            bytes_out: word(R_BYTES_OUT),
            errors: word(R_ERRORS),
            migrated: word(R_MIGRATED),
            cut: word(R_CUT),
            deaths: word(R_DEATHS),
            responses: std::array::from_fn(|i| word(R_RESPONSES + i)),
            unlogged: word(R_UNLOGGED),
        }
    }

    fn write(&self, record: usize, t: &Tally) {
        let fixed = [
            (R_ACCEPTED, t.accepted),
            (R_REQUESTS, t.requests),
            (R_BYTES_IN, t.bytes_in),
            (R_BYTES_OUT, t.bytes_out),
            (R_ERRORS, t.errors),
            (R_MIGRATED, t.migrated),
            (R_CUT, t.cut),
            (R_DEATHS, t.deaths),
            (R_UNLOGGED, t.unlogged),
        ];
        let responses = t.responses.into_iter().enumerate().map(|(i, n)| (R_RESPONSES + i, n));
        for (i, value) in fixed.into_iter().chain(responses) {
            self.store(Self::at(record) + i, value);
        }
    }

    /// Records the serving generation and how the last reload went (`at` in CLOCK_REALTIME nanoseconds).
    pub fn note_reload(&self, serving: u64, at: u64, ok: bool, generation: u64) {
        self.store(H_GENERATION, serving);
        self.store(H_RELOAD_AT, at);
        self.store(H_RELOAD_OK, u64::from(ok));
        self.store(H_RELOAD_GENERATION, generation);
    }
}

impl AsFd for Totals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }
}

fn is_ours(pages: &Pages) -> bool {
    let head = [MAGIC, VERSION, WORDS as u64, RECORDS as u64];
    pages.words().iter().zip(head).all(|(word, expected)| word.load(Relaxed) == expected)
}

/// A service name (at most 63 bytes) as eight words.
fn packed(name: &str) -> [u64; NAME_WORDS] {
    let mut bytes = [0u8; NAME_WORDS * 8];
    let take = name.len().min(bytes.len() - 1);
    bytes[..take].copy_from_slice(&name.as_bytes()[..take]);
    std::array::from_fn(|i| {
        let mut word = [0u8; 8];
        word.copy_from_slice(&bytes[i * 8..i * 8 + 8]);
        u64::from_le_bytes(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_kept_by_name_and_reused_only_when_out_of_use() {
        let totals = Totals::create().unwrap();
        let figures = Figures { accepted: 3, requests: 5, ..Figures::default() };
        for n in 0..RECORDS {
            assert!(totals.fold(&format!("s{n}"), &figures, n == 7, &|_| true));
        }
        assert!(!totals.fold("one-too-many", &figures, false, &|_| true));
        assert!(totals.fold("one-too-many", &figures, false, &|name| name != "s9"));
        assert_eq!(totals.of("s9"), Tally::default());
        assert_eq!(totals.of("s7").deaths, 1);
        assert!(totals.fold("s7", &figures, false, &|_| true));
        assert_eq!((totals.of("s7").accepted, totals.of("s7").deaths), (6, 1));
    }

    #[test]
    fn a_later_image_goes_on_with_the_pages_or_with_the_sums() {
        let totals = Totals::create().unwrap();
        let figures = Figures { accepted: 3, ..Figures::default() };
        assert!(totals.fold("web", &figures, true, &|_| true));
        let sums = totals.all();
        assert_eq!(sums.keys().collect::<Vec<_>>(), ["web"]);
        let copy = crate::sys::fd::dup_cloexec(totals.as_fd()).unwrap();
        let same = Totals::restore(copy, &BTreeMap::new()).unwrap();
        assert!(totals.fold("web", &figures, false, &|_| true));
        assert_eq!((same.of("web").accepted, same.of("web").deaths), (6, 1));

        let other = shm::create("masterd-totals", WORDS, &[MAGIC, VERSION + 1]).unwrap();
        assert!(!Totals::check(other.as_fd()).unwrap());
        let filled = Totals::restore(other, &sums).unwrap();
        assert_eq!((filled.of("web").accepted, filled.of("web").deaths), (3, 1));
    }
}
