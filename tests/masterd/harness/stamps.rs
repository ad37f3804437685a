//! When things happened, by those to whom they happened: the times in the log of master and workers.
//!
//! What a test measures itself includes its own waits for a processor, those of the clients it starts
//! and of everything between: on a busy machine that is more than the fact.

use super::Master;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A line of the log, and when it was written.
#[derive(Clone, Debug)]
pub struct Stamped {
    pub at: OffsetDateTime,
    pub line: String,
}

impl Stamped {
    /// `None` for what is no line in text format.
    fn read(line: &str) -> Option<Stamped> {
        let at = OffsetDateTime::parse(line.split(' ').next()?, &Rfc3339).ok()?;
        Some(Stamped { at, line: line.to_owned() })
    }

    /// The value of ` key=value`.
    fn field(&self, key: &str) -> Option<&str> {
        self.line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// From an earlier line to this one; nothing if the other is later.
    pub fn since(&self, earlier: &Stamped) -> Duration {
        Duration::try_from(self.at - earlier.at).unwrap_or_default()
    }
}

impl Master {
    /// The lines that hold these words, in the order in which they were written.
    pub fn stamped(&self, words: &str) -> Vec<Stamped> {
        self.log().lines().filter(|line| line.contains(words)).filter_map(Stamped::read).collect()
    }

    /// From the first line with `first` to the first with `then`.
    #[track_caller]
    pub fn between(&self, first: &str, then: &str) -> Duration {
        let at = |words: &str| {
            let found = self.stamped(words).into_iter().next();
            found.unwrap_or_else(|| panic!("the log does not say {words:?}: {}", self.log()))
        };
        at(then).since(&at(first))
    }

    /// Insists that each of these workers, all dead, was replaced without a backoff: another was forked
    /// for its seat within `limit` of its death, as the master saw it.
    #[track_caller]
    pub fn assert_replaced(&self, victims: &[i32], limit: Duration) {
        let log: Vec<Stamped> = self.log().lines().filter_map(Stamped::read).collect();
        for victim in victims {
            let pid = victim.to_string();
            let is_death = |s: &Stamped| s.line.contains("event=died") && s.field("pid") == Some(&pid);
            let died = log.iter().position(is_death).unwrap_or_else(|| panic!("{pid} did not die: {log:#?}"));
            let throttled = log[died..].iter().find(|s| s.line.contains("event=throttled"));
            assert!(throttled.is_none(), "a death that is waited after: {throttled:?}");
            let (seat, service) = (log[died].field("seat"), log[died].field("service"));
            let is_next = |s: &&Stamped| {
                s.line.contains("event=ready") && s.field("seat") == seat && s.field("service") == service
            };
            let next = log[died..].iter().find(is_next).unwrap_or_else(|| panic!("no other: {log:#?}"));
            let waited = next.since(&log[died]).saturating_sub(boot_of(&next.line));
            assert!(waited < limit, "{pid} was replaced after {waited:?}: {log:#?}");
        }
    }
}

/// How long a worker took from its fork to its being ready: `worker is ready after 3.4ms`.
#[track_caller]
fn boot_of(line: &str) -> Duration {
    let text = line.split_once(" ready after ").and_then(|(_, rest)| rest.split(' ').next());
    let text = text.unwrap_or_else(|| panic!("no time in {line:?}"));
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "s" => 1.0,
        "ms" => 1e-3,
        "µs" => 1e-6,
        other => panic!("an unknown unit {other:?} in {line:?}"),
    };
    Duration::from_secs_f64(unit * digits.parse::<f64>().expect("a number"))
}
