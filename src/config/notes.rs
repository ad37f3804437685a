//! What is found wrong while a config is checked: noted first, made into `Problem`s at the end.
//!
//! Rules note an error at a byte offset and go on. Lines and columns are counted when all is found,
//! and only for as many notes as anybody reads, so that a hostile file costs no more than a bad one.
//! Never: decides whether a config is good; `load` does, by whether there are errors.

use super::key::Row;
use super::problem::Problem;
use super::source::{Source, nowhere};
use super::values::Wrong;
use std::cell::{Cell, RefCell};
use std::path::Path;

/// A place: index of the file and byte offset in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub file: usize,
    pub offset: usize,
}

struct Note {
    /// `None` for the config as a whole; it sorts first.
    at: Option<At>,
    message: String,
    hint: Option<String>,
}

/// Notes of one kind; beyond `MOST_KEPT` they are only counted.
#[derive(Default)]
struct List {
    kept: RefCell<Vec<Note>>,
    dropped: Cell<usize>,
}

const MOST_KEPT: usize = 1000;

impl List {
    fn full(&self) -> bool {
        self.kept.borrow().len() >= MOST_KEPT
    }

    fn add(&self, note: Note) {
        if self.full() {
            self.dropped.set(self.dropped.get() + 1);
        } else {
            self.kept.borrow_mut().push(note);
        }
    }

    fn into_problems(self, sources: &[Source]) -> Problems {
        let mut notes = self.kept.into_inner();
        notes.sort_by_key(|note| note.at);
        let problem = |note: Note| match note.at {
            Some(at) => sources[at.file].problem(at.offset, note.message, note.hint),
            None => nowhere(&sources[0].name, note.message),
        };
        Problems { first: notes.into_iter().map(problem).collect(), dropped: self.dropped.get() }
    }
}

/// Errors or warnings in the order of the files.
pub(super) struct Problems {
    pub first: Vec<Problem>,
    /// How many there were beyond `first`.
    pub dropped: usize,
}

impl Problems {
    /// At most `most` of them, then how many are left out.
    pub fn shortened(mut self, most: usize, main: &Path, kind: &str) -> Vec<Problem> {
        let rest = self.first.len().saturating_sub(most) + self.dropped;
        self.first.truncate(most);
        if rest > 0 {
            self.first.push(nowhere(main, format!("and {rest} more {kind}")));
        }
        self.first
    }
}

/// What was found wrong so far, and the files it refers to.
pub(super) struct Notes<'a> {
    sources: &'a [Source],
    /// What relative paths are relative to.
    pub folder: &'a Path,
    errors: List,
    warnings: List,
}

impl<'a> Notes<'a> {
    /// `sources[0]` is the main file.
    pub fn new(sources: &'a [Source], folder: &'a Path) -> Notes<'a> {
        Notes { sources, folder, errors: List::default(), warnings: List::default() }
    }

    /// Whether further errors are only counted, and their words not worth making.
    pub fn full(&self) -> bool {
        self.errors.full()
    }

    pub fn error(&self, at: At, message: impl Into<String>, hint: Option<String>) {
        self.errors.add(Note { at: Some(at), message: message.into(), hint });
    }

    /// An error in the value of a key.
    pub fn wrong(&self, at: At, row: &Row, wrong: Wrong) {
        self.error(at, format!("{}: {}", row.path, wrong.message), wrong.hint);
    }

    /// An error of the config as a whole.
    pub fn error_nowhere(&self, message: impl Into<String>) {
        self.errors.add(Note { at: None, message: message.into(), hint: None });
    }

    pub fn warning(&self, at: At, message: impl Into<String>) {
        self.warnings.add(Note { at: Some(at), message: message.into(), hint: None });
    }

    /// `FILE:LINE:COLUMN`, to point at a second place in a message.
    pub fn place(&self, at: At) -> String {
        let source = &self.sources[at.file];
        if self.full() {
            return source.name.display().to_string();
        }
        let (line, column) = source.position(at.offset);
        format!("{}:{line}:{column}", source.name.display())
    }

    /// Errors, then warnings.
    pub fn into_problems(self) -> (Problems, Problems) {
        (self.errors.into_problems(self.sources), self.warnings.into_problems(self.sources))
    }
}
