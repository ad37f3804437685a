//! Bytes for large bodies and long streams, of which every one is known beforehand.

use std::io::{Read, Write};

/// What large bodies are made of: a block whose length no buffer has, so that a piece lost or doubled shows.
pub struct Pattern(Vec<u8>);

const BLOCK: usize = 65_521;

impl Pattern {
    pub fn new() -> Pattern {
        let block: Vec<u8> = (0..BLOCK).map(|n| (n * n % 251) as u8).collect();
        Pattern(block.iter().chain(&block).chain(&block).copied().collect())
    }

    /// The bytes that begin at `at`: as many as may be asked at once.
    pub fn from(&self, at: usize) -> &[u8] {
        &self.0[at % BLOCK..][..2 * BLOCK]
    }

    #[track_caller]
    pub fn check(&self, at: usize, bytes: &[u8]) {
        for (n, piece) in bytes.chunks(BLOCK).enumerate() {
            assert!(self.from(at + n * BLOCK).starts_with(piece), "what came at {at} is not what was sent");
        }
    }

    /// Writes `length` bytes of it.
    pub fn write(&self, mut to: impl Write, length: usize) -> std::io::Result<()> {
        let mut at = 0;
        while at < length {
            let piece = &self.from(at)[..(2 * BLOCK).min(length - at)];
            to.write_all(piece)?;
            at += piece.len();
        }
        Ok(())
    }

    /// Reads `length` bytes and holds them to be it.
    #[track_caller]
    pub fn read(&self, mut from: impl Read, length: usize) {
        let mut buffer = vec![0; 2 * BLOCK];
        let mut at = 0;
        while at < length {
            let most = buffer.len().min(length - at);
            let n = from.read(&mut buffer[..most]).expect("the rest of a body");
            assert!(n > 0, "it ended after {at} of {length}");
            self.check(at, &buffer[..n]);
            at += n;
        }
    }
}
