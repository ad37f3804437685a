//! The secret behind TLS session tickets, and how it forgets.
//!
//! One secret for all workers, reloads and upgrades, so that a client resumes with whomever it meets. Time is cut
//! into epochs; each has its own secret, made of the one before by a function that can't be turned round, and
//! only the last two are kept: whoever steals them opens no ticket of an earlier epoch. Whoever holds one
//! can go on alone, and comes to the same secrets as everybody else, since all read the same clock.
//! Never: makes randomness, reads a clock, shows itself in a log.

use super::Moment;
use ring::hmac;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// How long tickets are made with one secret. They are read for one epoch more, so that a ticket is good
/// for an epoch at least and two at most; clients are told one.
pub const EPOCH: Duration = Duration::from_secs(8 * 3600);

/// The secrets of an epoch and of the one before it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketSecret {
    epoch: u64,
    current: [u8; 32],
    previous: Option<[u8; 32]>,
}

impl TicketSecret {
    /// Begins with 32 random bytes.
    pub fn new(random: [u8; 32], now: Moment) -> TicketSecret {
        TicketSecret { epoch: epoch_at(now), current: random, previous: None }
    }

    /// Goes on to the epoch of `now`, and forgets what is older than the one before it. Never goes back.
    pub fn advance(&mut self, now: Moment) {
        while self.epoch < epoch_at(now) {
            let next = derive(&self.current, &[b"next"]);
            self.previous = Some(std::mem::replace(&mut self.current, next));
            self.epoch += 1;
        }
    }

    /// The epoch in which tickets are made now.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// A key for one purpose, of this epoch's secret; `None` if it is forgotten or not there yet.
    pub fn key(&self, epoch: u64, purpose: &[&[u8]]) -> Option<[u8; 32]> {
        let secret = if epoch == self.epoch {
            Some(&self.current)
        } else {
            self.previous.as_ref().filter(|_| epoch.checked_add(1) == Some(self.epoch))
        };
        secret.map(|secret| derive(secret, purpose))
    }

    /// Overwrites the secrets: for a copy that its holder is not to keep.
    pub fn forget(&mut self) {
        (self.current, self.previous) = ([0; 32], Some([0; 32]));
        // So that the writing is not left out because nobody reads it.
        std::hint::black_box(self);
    }
}

fn epoch_at(now: Moment) -> u64 {
    now.since(Moment(0)).as_secs() / EPOCH.as_secs()
}

/// HMAC-SHA-256 as a key derivation function (NIST SP 800-108).
fn derive(secret: &[u8; 32], purpose: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
    purpose.iter().for_each(|part| context.update(part));
    let mut derived = [0; 32];
    derived.copy_from_slice(context.sign().as_ref());
    derived
}

impl fmt::Debug for TicketSecret {
    /// Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketSecret").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Moment(5 * 3600 * 1_000_000_000);

    fn secret() -> TicketSecret {
        TicketSecret::new([7; 32], START)
    }

    fn after(epochs: u32) -> TicketSecret {
        let mut secret = secret();
        secret.advance(START + EPOCH * epochs);
        secret
    }

    #[test]
    fn it_is_known_for_two_epochs_and_then_forgotten() {
        let key = secret().key(0, &[b"x"]);
        assert!(key.is_some());
        assert_eq!(after(1).key(0, &[b"x"]), key);
        assert_eq!(after(2).key(0, &[b"x"]), None);
        assert_eq!(secret().key(1, &[b"x"]), None, "the future is not there yet");
        assert_eq!(after(1).key(u64::MAX, &[b"x"]), None);
        assert_ne!(after(1).key(1, &[b"x"]), key);
    }

    #[test]
    fn whoever_goes_on_alone_comes_to_the_same() {
        let mut often = secret();
        for minutes in 0..60 * 24 * 3 {
            often.advance(START + Duration::from_secs(minutes * 60));
        }
        assert_eq!(often, after(9));
        assert_eq!(after(9).epoch(), 9);
    }

    #[test]
    fn time_that_stands_or_steps_back_changes_nothing() {
        let mut secret = after(3);
        secret.advance(START);
        assert_eq!(secret, after(3));
    }

    #[test]
    fn the_first_epoch_ends_with_the_clock_s_and_not_a_whole_one_later() {
        let mut secret = secret();
        secret.advance(START + Duration::from_secs(3 * 3600 - 1));
        assert_eq!(secret.epoch(), 0);
        secret.advance(START + Duration::from_secs(3 * 3600));
        assert_eq!(secret.epoch(), 1);
    }

    #[test]
    fn keys_differ_by_purpose_and_secret() {
        let other = TicketSecret::new([8; 32], START);
        let keys = [
            secret().key(0, &[b"x"]),
            secret().key(0, &[b"y"]),
            other.key(0, &[b"x"]),
            after(1).key(1, &[b"x"]),
        ];
        for (n, key) in keys.iter().enumerate() {
            assert!(!keys[..n].contains(key), "{n}");
        }
    }

    #[test]
    fn it_crosses_as_json_and_shows_nothing() {
        let secret = after(1);
        let text = serde_json::to_string(&secret).unwrap();
        assert_eq!(serde_json::from_str::<TicketSecret>(&text).unwrap(), secret);
        assert_eq!(format!("{secret:?}"), "TicketSecret { epoch: 1, .. }");
        let mut forgotten = secret.clone();
        forgotten.forget();
        assert_ne!(forgotten.key(1, &[]), secret.key(1, &[]));
        assert_ne!(forgotten.key(0, &[]), secret.key(0, &[]));
    }
}
