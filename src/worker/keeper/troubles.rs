//! What there is to say of a program, by kind: one does not hide another, and the gravest is shown.
//!
//! Set by whoever sees it, cleared by whoever sees it gone. Never: logs.

use std::collections::BTreeMap;

/// The gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A signal has stopped it.
    Stopped,
    /// A socket of it can't be connected to any more.
    SocketLost,
    /// It is slow to become ready; what is missing.
    NotReady,
    /// Whether it accepts can't be seen.
    Unsure,
    /// It has nearly all the descriptors that it may have.
    Crowded,
    /// It was executed from another file than its generation began with.
    OtherFile,
    /// Its connections can't be counted.
    Uncounted,
}

#[derive(Debug, Default)]
pub struct Troubles(BTreeMap<Kind, String>);

impl Troubles {
    /// Whether that is something new.
    pub fn set(&mut self, kind: Kind, text: String) -> bool {
        self.0.insert(kind, text).is_none()
    }

    pub fn clear(&mut self, kind: Kind) {
        self.0.remove(&kind);
    }

    /// What is to be shown.
    pub fn shown(&self) -> Option<&str> {
        self.0.values().next().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_is_shown_and_hides_no_other() {
        let mut troubles = Troubles::default();
        assert_eq!(troubles.shown(), None);
        assert!(troubles.set(Kind::OtherFile, "file".to_owned()));
        assert!(troubles.set(Kind::Stopped, "stopped".to_owned()));
        assert!(!troubles.set(Kind::Stopped, "stopped again".to_owned()));
        assert_eq!(troubles.shown(), Some("stopped again"));
        troubles.clear(Kind::Stopped);
        assert_eq!(troubles.shown(), Some("file"));
    }
}
