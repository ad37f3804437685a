//! Session tickets (RFC 8446, 4.6.1; RFC 5077) that every worker can open, and no one for long.
//!
//! A ticket is the epoch of its secret (8 bytes, big-endian), a random nonce (12), and the session sealed with
//! AES-256-GCM. Two epochs' secrets are kept (`model::tickets`); one whose secret is forgotten is no error, the
//! client shakes hands in full. A worker goes on from epoch to epoch by its own clock, which is everybody's.
//!
//! A nonce is drawn at random because workers can't count together: at 4 billion tickets in one epoch the odds of two
//! alike are one in four billion (NIST SP 800-38D, 8.3), and that is 149 000 handshakes a second for eight hours.

use crate::model::tickets::EPOCH;
use crate::model::{Moment, TicketSecret};
use crate::sys::random;
use parking_lot::Mutex;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::server::ProducesTickets;
use std::sync::Arc;

/// The secret of a worker, shared by its listeners.
#[derive(Clone, Debug)]
pub struct Keyring {
    pub(super) secret: Arc<Mutex<TicketSecret>>,
    pub(super) clock: fn() -> Moment,
}

impl Keyring {
    /// What the worker was born with, and the clock it goes by: CLOCK_MONOTONIC, but in tests.
    pub fn new(secret: TicketSecret, clock: fn() -> Moment) -> Keyring {
        Keyring { secret: Arc::new(Mutex::new(secret)), clock }
    }

    /// Forgets what is too old. Tickets do so themselves; this is for a worker that has had no handshake for long.
    pub fn advance(&self) {
        self.secret.lock().advance((self.clock)());
    }

    /// Tickets that are good only where the same was proved: a session resumed proves nothing anew, neither the
    /// server's name nor the client's certificate, so whatever decides on these goes into `bound_to`.
    pub fn tickets(&self, bound_to: [u8; 32]) -> Tickets {
        Tickets { keyring: self.clone(), bound_to }
    }
}

/// The tickets of a listener.
#[derive(Debug)]
pub struct Tickets {
    keyring: Keyring,
    bound_to: [u8; 32],
}

/// Bytes of the epoch in front of a ticket.
const NAME: usize = 8;

impl Tickets {
    /// The key of an epoch, or of the present one, with its number.
    fn key(&self, epoch: Option<u64>) -> Option<(u64, LessSafeKey)> {
        let mut secret = self.keyring.secret.lock();
        secret.advance((self.keyring.clock)());
        let epoch = epoch.unwrap_or(secret.epoch());
        let bytes = secret.key(epoch, &[b"ticket", &self.bound_to])?;
        Some((epoch, LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &bytes).ok()?)))
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(EPOCH.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let (epoch, key) = self.key(None)?;
        let name = epoch.to_be_bytes();
        let mut nonce = [0; NONCE_LEN];
        random::fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(name), &mut sealed)
            .ok()?;
        Some([&name[..], &nonce, &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let (_, key) = self.key(Some(u64::from_be_bytes(*name)))?;
        let mut bytes = sealed.to_vec();
        let plain =
            key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(*name), &mut bytes).ok()?;
        let length = plain.len();
        bytes.truncate(length);
        Some(bytes)
    }
}
