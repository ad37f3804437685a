//! The way out of a program: its queue served, asked to end, what is left asked too, killed at the grace.
//!
//! ```text
//!  emptying ──► asked ──► (grace) killed ──► gone
//! ```
//! A socket that nobody names any more is served by the program itself as long as connections wait in
//! it: only then it is asked to end. That its connections have ended does not end it: programs finish
//! work in the background. Facts go in, acts come out. Never: sends a signal, reads a clock.

use crate::model::Moment;
use std::time::Duration;

/// A queue that has stayed empty for so long is served: half-open handshakes have come in.
const EMPTY: Duration = Duration::from_secs(1);
/// When a program that is told to end at once is killed; the master waits for a second.
const AT_ONCE: Duration = Duration::from_millis(700);
/// Between two looks at the queues.
const LOOK: Duration = Duration::from_millis(50);
/// Progress is told this often.
const TELL: Duration = Duration::from_secs(5);

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Nothing,
    /// The stop signal, to the main process.
    Ask,
    /// The stop signal, to what its main process has left behind.
    AskTheRest,
    /// KILL, to everything.
    Kill,
}

#[derive(Debug)]
pub struct Ending {
    /// When it is killed.
    pub until: Moment,
    stage: Stage,
    next_word: Moment,
    /// When the queues are looked at again.
    next_look: Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Until its queues have stayed empty, since when they have, and at the latest when.
    Emptying {
        empty: Option<Moment>,
        latest: Moment,
    },
    Asked {
        rest_too: bool,
    },
    Killed,
}

impl Ending {
    /// `last_call`: connections may wait in sockets that nobody else serves.
    pub fn begin(grace: Duration, last_call: bool, now: Moment) -> Ending {
        let stage = match last_call {
            true => Stage::Emptying { empty: None, latest: now + grace / 2 },
            false => Stage::Emptying { empty: Some(Moment(0)), latest: now },
        };
        Ending { until: now + grace, stage, next_word: now + TELL, next_look: now }
    }

    /// A second order may only shorten it.
    pub fn shorten(&mut self, grace: Duration, now: Moment) {
        self.until = self.until.min(now + grace);
    }

    /// It has to be quick.
    pub fn hurry(&mut self, now: Moment) {
        if let Stage::Emptying { .. } = self.stage {
            self.stage = Stage::Emptying { empty: Some(Moment(0)), latest: now };
        }
        self.until = self.until.min(now + AT_ONCE);
    }

    /// What to do now. `waiting`: connections wait in the queues; `main`: the main process is there.
    pub fn step(&mut self, waiting: bool, main: bool, now: Moment) -> Act {
        if now >= self.until && self.stage != Stage::Killed {
            self.stage = Stage::Killed;
            return Act::Kill;
        }
        self.next_look = now + LOOK;
        match &mut self.stage {
            Stage::Emptying { empty, latest } => {
                if waiting {
                    *empty = None;
                } else {
                    empty.get_or_insert(now);
                }
                let served = empty.is_some_and(|since| now.since(since) >= EMPTY);
                if !served && now < *latest && main {
                    return Act::Nothing;
                }
                self.stage = Stage::Asked { rest_too: !main };
                if main { Act::Ask } else { Act::AskTheRest }
            }
            Stage::Asked { rest_too: false } if !main => {
                self.stage = Stage::Asked { rest_too: true };
                Act::AskTheRest
            }
            Stage::Asked { .. } | Stage::Killed => Act::Nothing,
        }
    }

    /// When it should be looked at again although nothing has happened.
    pub fn due(&self, tick: Moment) -> Moment {
        let soon = if self.is_emptying() { tick.min(self.next_look) } else { tick };
        soon.min(self.until).min(self.next_word)
    }

    /// Whether its queues are still being served.
    pub fn is_emptying(&self) -> bool {
        matches!(self.stage, Stage::Emptying { .. })
    }

    pub fn is_killed(&self) -> bool {
        self.stage == Stage::Killed
    }

    /// Whether how far it is should be told again.
    pub fn tells(&mut self, now: Moment) -> bool {
        let due = now >= self.next_word;
        if due {
            self.next_word = now + TELL;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Moment {
        Moment(5_000_000_000 + ms * 1_000_000)
    }

    const GRACE: Duration = Duration::from_secs(10);

    #[test]
    fn it_is_asked_at_once_and_killed_at_the_grace() {
        let mut ending = Ending::begin(GRACE, false, at(0));
        assert_eq!(ending.step(true, true, at(0)), Act::Ask);
        assert_eq!(ending.step(false, true, at(1)), Act::Nothing);
        assert_eq!(ending.step(false, true, at(9_999)), Act::Nothing);
        assert_eq!(ending.step(false, true, at(10_000)), Act::Kill);
        assert_eq!(ending.step(false, true, at(10_001)), Act::Nothing);
        assert!(ending.is_killed());
    }

    #[test]
    fn a_queue_nobody_else_serves_is_served_first() {
        let mut ending = Ending::begin(GRACE, true, at(0));
        assert_eq!(ending.step(true, true, at(0)), Act::Nothing);
        assert_eq!(ending.step(false, true, at(100)), Act::Nothing);
        assert_eq!(ending.step(true, true, at(1000)), Act::Nothing, "somebody came late");
        assert_eq!(ending.step(false, true, at(1100)), Act::Nothing);
        assert_eq!(ending.step(false, true, at(2100)), Act::Ask);
        let mut ending = Ending::begin(GRACE, true, at(0));
        assert_eq!(ending.step(true, true, at(4_999)), Act::Nothing);
        assert_eq!(ending.step(true, true, at(5_000)), Act::Ask, "it has half of its grace to end");
    }

    #[test]
    fn what_the_main_process_leaves_behind_is_asked_too() {
        let mut ending = Ending::begin(GRACE, false, at(0));
        assert_eq!(ending.step(false, true, at(0)), Act::Ask);
        assert_eq!(ending.step(false, false, at(5)), Act::AskTheRest);
        assert_eq!(ending.step(false, false, at(6)), Act::Nothing);
        assert_eq!(ending.step(false, false, at(10_000)), Act::Kill);
    }

    #[test]
    fn orders_only_shorten_it() {
        let mut ending = Ending::begin(GRACE, true, at(0));
        ending.shorten(GRACE * 5, at(10));
        assert_eq!(ending.until, at(10_000));
        ending.hurry(at(20));
        assert_eq!(ending.step(true, true, at(20)), Act::Ask);
        assert_eq!(ending.step(true, true, at(719)), Act::Nothing);
        assert_eq!(ending.step(true, true, at(720)), Act::Kill);
    }

    #[test]
    fn progress_is_told_every_five_seconds() {
        let mut ending = Ending::begin(GRACE, false, at(0));
        let told = (0..100).filter(|n| ending.tells(at(n * 100))).count();
        assert_eq!(told, 1);
        assert!(ending.tells(at(10_000)) && !ending.tells(at(10_001)));
    }
}
