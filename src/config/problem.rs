//! One thing wrong with a config, at its place: what `load` gives back, and nothing else.
//!
//! A problem crosses from the config child to the master and on to whoever asked, so it is plain
//! text; what it quotes from a file is escaped and shortened before it gets here (`quoted`).
//! Never: reads the file again. `Display` is the one line that people and editors see.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// An error or a warning about a config file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The file as it was named by the caller, or found by `include`.
    pub file: PathBuf,
    /// From 1; 0 when the problem has no place in the file.
    pub line: usize,
    /// In characters, from 1; 0 when `line` is.
    pub column: usize,
    pub message: String,
    /// What to do, or what was probably meant.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// Text of somebody else, fit for a message: control characters escaped, at most 60 characters.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().nth(60).is_some() {
        shown.push('…');
    }
    format!("\"{shown}\"")
}
