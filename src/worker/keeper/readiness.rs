//! When a program counts as ready: what it said, what was seen of it, how long it has lived.
//!
//! Facts go in (`said`, `judge`), one answer comes out. READY=1 alone is no proof: some programs say it
//! before anybody of theirs accepts. What can't be seen is decided by time, and that is said.
//! Never: looks at a process, reads a clock.

use crate::config::Readiness;
use crate::model::Moment;
use std::time::Duration;

/// Alive this long counts as ready where it can't be seen whether a program accepts.
const IN_DOUBT: Duration = Duration::from_secs(1);
/// It must be there for so long after it was seen to wait: one that goes into the background leaves its keeper right
/// after it has forked the process that waits.
const STEADY: Duration = Duration::from_millis(50);

/// What is seen of one socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Somebody waits on it.
    Waiting,
    /// Somebody has it, and does not wait on it.
    Held,
    Nobody,
    /// It can't be seen; why.
    Hidden(String),
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What is missing.
    NotYet(String),
    /// Ready; what should be said about how that is known.
    Ready(Option<String>),
}

#[derive(Debug)]
pub struct Judge {
    how: Readiness,
    started: Moment,
    said: Option<Moment>,
    /// Of each socket, whether somebody was seen to wait on it. Whoever serves already is seen at work more often than
    /// waiting: once is enough, as long as the socket is held.
    waited: Vec<bool>,
    /// Since when that is so of all.
    steady: Option<Moment>,
    /// Not even that can be seen of one of them.
    hidden: bool,
}

impl Judge {
    pub fn new(how: Readiness, started: Moment) -> Judge {
        Judge { how, started, said: None, waited: Vec::new(), steady: None, hidden: false }
    }

    /// It has said READY=1, or written its newline.
    pub fn said(&mut self, now: Moment) {
        self.said.get_or_insert(now);
    }

    /// Whether it is worth looking at what it waits on.
    pub fn wants_a_look(&self) -> bool {
        match self.how {
            Readiness::Accepting => true,
            Readiness::Notify => self.said.is_some(),
            Readiness::Fd | Readiness::Delay(_) => false,
        }
    }

    /// When time alone changes the answer.
    pub fn due(&self) -> Option<Moment> {
        match self.how {
            Readiness::Delay(delay) => Some(self.started + delay),
            Readiness::Accepting | Readiness::Notify | Readiness::Fd => {
                self.steady.map(|at| at + if self.hidden { IN_DOUBT } else { STEADY })
            }
        }
    }

    /// The answer, from each socket's address and what is seen of it.
    pub fn judge(&mut self, seen: &[(String, Seen)], now: Moment) -> Verdict {
        match self.how {
            Readiness::Delay(delay) if now.since(self.started) >= delay => Verdict::Ready(None),
            Readiness::Delay(delay) => {
                Verdict::NotYet(format!("it counts as ready {delay:?} after its start"))
            }
            Readiness::Fd if self.said.is_some() => Verdict::Ready(None),
            Readiness::Fd => Verdict::NotYet("it has not written to {ready_fd} yet".to_owned()),
            Readiness::Notify if self.said.is_none() => {
                Verdict::NotYet("it has not said READY=1 yet".to_owned())
            }
            Readiness::Notify => self.accepts(seen, now, "it has said READY=1, but "),
            Readiness::Accepting => self.accepts(seen, now, ""),
        }
    }

    fn accepts(&mut self, seen: &[(String, Seen)], now: Moment, but: &str) -> Verdict {
        self.waited.resize(seen.len(), false);
        let mut missing = None;
        for ((address, seen), waited) in seen.iter().zip(&mut self.waited) {
            *waited = *seen == Seen::Waiting || *waited && *seen == Seen::Held;
            let what = match seen {
                Seen::Nobody => "holds the socket of",
                Seen::Held if !*waited => "waits for connections on",
                Seen::Held | Seen::Waiting | Seen::Hidden(_) => continue,
            };
            missing.get_or_insert_with(|| format!("none of its processes {what} {address}"));
        }
        if let Some(missing) = missing {
            self.steady = None;
            return Verdict::NotYet(format!("{but}{missing}"));
        }
        let steady = now.since(*self.steady.get_or_insert(now));
        let hidden = seen.iter().find_map(|(address, seen)| match seen {
            Seen::Hidden(why) => Some((address, why)),
            Seen::Waiting | Seen::Held | Seen::Nobody => None,
        });
        self.hidden = hidden.is_some();
        match hidden {
            None if steady >= STEADY => Verdict::Ready(None),
            None => Verdict::NotYet(format!("{but}it has waited for connections for {steady:.0?} only")),
            Some((address, why)) if steady >= IN_DOUBT => Verdict::Ready(Some(format!(
                "whether it accepts on {address} can't be seen ({why}): it counts as ready after {IN_DOUBT:?}"
            ))),
            Some((address, why)) => {
                Verdict::NotYet(format!("{but}whether it accepts on {address} can't be seen ({why})"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment(ms * 1_000_000)
    }

    fn seen(all: &[Seen]) -> Vec<(String, Seen)> {
        all.iter().map(|s| ("127.0.0.1:80".to_owned(), s.clone())).collect()
    }

    fn ready(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Ready(_))
    }

    #[test]
    fn every_socket_must_be_waited_on() {
        let mut judge = Judge::new(Readiness::Accepting, at(0));
        let both = seen(&[Seen::Waiting, Seen::Waiting]);
        assert!(!ready(&judge.judge(&both, at(1))), "seen once");
        assert_eq!(judge.due(), Some(at(51)));
        assert_eq!(judge.judge(&both, at(51)), Verdict::Ready(None));
        for other in [Seen::Held, Seen::Nobody] {
            let mut judge = Judge::new(Readiness::Accepting, at(0));
            let verdict = judge.judge(&seen(&[Seen::Waiting, other]), at(60_000));
            let Verdict::NotYet(why) = verdict else { panic!("{verdict:?}") };
            assert!(why.contains("127.0.0.1:80"), "{why}");
        }
    }

    #[test]
    fn whoever_serves_already_need_not_be_seen_to_wait_all_the_time() {
        let mut judge = Judge::new(Readiness::Accepting, at(0));
        assert!(!ready(&judge.judge(&seen(&[Seen::Waiting, Seen::Held]), at(1))));
        assert!(!ready(&judge.judge(&seen(&[Seen::Held, Seen::Waiting]), at(200))), "both since now only");
        assert!(ready(&judge.judge(&seen(&[Seen::Held, Seen::Held]), at(250))));
        let mut judge = Judge::new(Readiness::Accepting, at(0));
        judge.judge(&seen(&[Seen::Waiting]), at(1));
        for (other, ms) in [(Seen::Nobody, 20), (Seen::Held, 100), (Seen::Held, 200)] {
            assert!(!ready(&judge.judge(&seen(&[other]), at(ms))), "it had let go of it");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_ready_after_a_second_and_that_is_said() {
        let mut judge = Judge::new(Readiness::Accepting, at(0));
        let hidden = seen(&[Seen::Waiting, Seen::Hidden("another user's".to_owned())]);
        assert!(!ready(&judge.judge(&hidden, at(5000))), "seen once: it may be one that is about to end");
        assert_eq!(judge.due(), Some(at(6000)));
        assert!(!ready(&judge.judge(&hidden, at(5999))));
        let Verdict::Ready(Some(why)) = judge.judge(&hidden, at(6000)) else { panic!("ready, and said") };
        assert!(why.contains("another user's"), "{why}");
        let also_held = seen(&[Seen::Hidden(String::new()), Seen::Held]);
        assert!(!ready(&judge.judge(&also_held, at(9000))), "what can be seen is not ready");
    }

    #[test]
    fn ready_1_is_no_proof_and_nothing_is_ready_without_it() {
        let mut judge = Judge::new(Readiness::Notify, at(0));
        assert!(!judge.wants_a_look() && !ready(&judge.judge(&seen(&[Seen::Waiting]), at(5000))));
        judge.said(at(6000));
        assert!(judge.wants_a_look());
        let Verdict::NotYet(why) = judge.judge(&seen(&[Seen::Held]), at(9000)) else { panic!("not yet") };
        assert!(why.starts_with("it has said READY=1, but "), "{why}");
        assert!(!ready(&judge.judge(&seen(&[Seen::Waiting]), at(9001))));
        assert!(ready(&judge.judge(&seen(&[Seen::Waiting]), at(9051))));
        let hidden = seen(&[Seen::Hidden("io_uring".to_owned())]);
        assert!(!ready(&judge.judge(&hidden, at(10_000))) && ready(&judge.judge(&hidden, at(10_001))));
    }

    #[test]
    fn newline_and_delay_need_no_look() {
        let mut judge = Judge::new(Readiness::Fd, at(0));
        assert!(!ready(&judge.judge(&[], at(9000))));
        judge.said(at(9000));
        assert!(ready(&judge.judge(&[], at(9000))) && !judge.wants_a_look());
        let mut judge = Judge::new(Readiness::Delay(Duration::from_secs(2)), at(500));
        assert_eq!(judge.due(), Some(at(2500)));
        assert!(!ready(&judge.judge(&[], at(2499))) && ready(&judge.judge(&[], at(2500))));
    }
}
