//! The text of one config file, and how a byte offset becomes a line and a column.
//!
//! `read` is the only place where this room reads config files: once per file and at most
//! `LIMIT` bytes, so that a file replaced meanwhile is one version or the other, and a huge one
//! costs nothing. It may block (a FIFO, a dead mount): the caller is a child with a deadline.
//! Errors: one `Problem`, with a position where the bytes themselves are at fault.

use super::problem::Problem;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The largest file that is read, in bytes.
pub(super) const LIMIT: u64 = 1024 * 1024;

/// One file's text and the name it goes by in messages.
pub(super) struct Source {
    pub name: PathBuf,
    pub text: String,
    /// Offset of the first byte of each line.
    lines: Vec<usize>,
}

impl Source {
    /// Wraps text that is already here; `name` is only shown.
    pub fn new(name: &Path, text: String) -> Source {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Source { name: name.to_owned(), text, lines }
    }

    /// Reads and vets a file: no directory, at most `LIMIT` bytes, UTF-8, no NUL.
    pub fn read(name: &Path) -> Result<Source, Problem> {
        let bytes = bytes_of(name).map_err(|message| nowhere(name, message))?;
        match String::from_utf8(bytes) {
            Ok(text) => {
                let source = Source::new(name, text);
                match source.text.find('\0') {
                    None => Ok(source),
                    Some(at) => Err(source.problem(
                        at,
                        "the file holds a NUL byte; a config is plain text".to_owned(),
                        None,
                    )),
                }
            }
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(&error.as_bytes()[..good]).into_owned();
                let source = Source::new(name, text);
                Err(source.problem(good, "the file is not valid UTF-8 from here on".to_owned(), None))
            }
        }
    }

    /// Line and column, both from 1, of a byte offset; past the end is the end.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let offset = offset.min(self.text.len());
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let start = self.lines[line - 1];
        // A span may end inside a character only if the parser is wrong; then the column is the line's first.
        let before = self.text.get(start..offset).unwrap_or("");
        let shown = before.trim_start_matches('\u{feff}');
        (line, shown.chars().count() + 1)
    }

    /// A problem at a byte offset of this file.
    pub fn problem(&self, offset: usize, message: String, hint: Option<String>) -> Problem {
        let (line, column) = self.position(offset);
        Problem { file: shown(&self.name), line, column, message, hint }
    }
}

/// A problem with a file as a whole.
pub(super) fn nowhere(name: &Path, message: String) -> Problem {
    Problem { file: shown(name), line: 0, column: 0, message, hint: None }
}

/// File names cross to the master as JSON, which has no room for bytes that are not UTF-8.
fn shown(name: &Path) -> PathBuf {
    PathBuf::from(name.to_string_lossy().into_owned())
}

fn bytes_of(name: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("the config file cannot be read: {error}");
    let file = File::open(name).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if about.is_dir() {
        return Err("this is a directory, not a config file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LIMIT {
        return Err("the file is larger than 1 MiB; that is no config".to_owned());
    }
    Ok(bytes)
}
