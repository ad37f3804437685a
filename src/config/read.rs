//! Parsed TOML to typed values, by the key table, with every mistake noted at its place.
//!
//! `check` asks a `Section` for keys by name; the row decides type, bounds and default. A wrong
//! value is noted in the `Notes` and comes back as `None`, so that checking goes on and all errors
//! are found at once. Never: compares keys with each other. Panics if a key has no row, which is a
//! mistake in `check` that every test of it meets.

use super::key::{Default, Row, Type};
use super::notes::{At, Notes};
use super::problem::quoted;
use super::values::{self, Wrong};
use super::words::Word;
use super::{program, suggest, table};
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One file's part of a table.
#[derive(Clone, Copy)]
pub(super) struct Layer<'a> {
    pub at: At,
    pub table: &'a DeTable<'a>,
}

/// A table of the config, possibly written in parts by several files.
pub(super) struct Section<'a> {
    pub notes: &'a Notes<'a>,
    /// The path of its row; empty at the top level.
    path: &'static str,
    /// Where to point at when a key is missing.
    pub at: At,
    layers: Vec<Layer<'a>>,
    /// Something else stands where the table is to be, and has been noted: no key is missing then.
    no_table: bool,
}

impl<'a> Section<'a> {
    /// Notes unknown keys and keys that two files set.
    pub fn new(notes: &'a Notes<'a>, path: &'static str, at: At, layers: Vec<Layer<'a>>) -> Section<'a> {
        let section = Section { notes, path, at, layers, no_table: false };
        section.note_unknown();
        section.note_twice();
        section
    }

    /// A table that nobody wrote: every key has its default.
    pub fn empty(notes: &'a Notes<'a>, path: &'static str, at: At) -> Section<'a> {
        Section { notes, path, at, layers: Vec::new(), no_table: false }
    }

    /// The row of a key of this table.
    pub fn row(&self, key: &str) -> &'static Row {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        table::row(&path).unwrap_or_else(|| panic!("the key table has no row for {path}"))
    }

    /// The written value of a key and its place.
    pub fn find(&self, key: &str) -> Option<(At, &'a DeValue<'a>)> {
        self.layers.iter().find_map(|layer| {
            let value = layer.table.get(key)?;
            Some((At { file: layer.at.file, offset: value.span().start }, value.get_ref()))
        })
    }

    /// Whether a key is written.
    pub fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// The place of a key's value, or of the table where it is not written.
    pub fn at_key(&self, key: &str) -> At {
        self.find(key).map_or(self.at, |(at, _)| at)
    }

    /// The value of a key, or its default; `None` if there is neither or it is wrong (then noted).
    pub fn read<T>(&self, key: &str, convert: impl Fn(&Type, &DeValue<'_>) -> Result<T, Wrong>) -> Option<T> {
        let row = self.row(key);
        match (self.find(key), &row.default) {
            (Some((at, value)), _) => {
                convert(&row.kind, value).map_err(|wrong| self.notes.wrong(at, row, wrong)).ok()
            }
            (None, Default::Toml(text)) => {
                let value = DeValue::parse(text).ok()?;
                convert(&row.kind, value.get_ref()).ok()
            }
            (None, Default::Absent { .. }) => None,
            (None, Default::Required { .. }) if self.no_table => None,
            (None, Default::Required { example }) => {
                let hint = (!matches!(*example, "{}" | "[]"))
                    .then(|| format!("write, for example, {} = {example}", row.key()));
                self.notes.error(
                    self.at,
                    format!("\"{}\" is missing {}", row.key(), within(self.path)),
                    hint,
                );
                None
            }
        }
    }

    pub fn text(&self, key: &str) -> Option<String> {
        self.read(key, |kind, value| value.as_str().map(str::to_owned).ok_or_else(|| must_be(kind, value)))
    }

    pub fn path(&self, key: &str) -> Option<PathBuf> {
        self.read(key, |kind, value| match value.as_str() {
            Some(text) => values::absolute(text, self.notes.folder),
            None => Err(must_be(kind, value)),
        })
    }

    pub fn switch(&self, key: &str) -> Option<bool> {
        self.read(key, |kind, value| value.as_bool().ok_or_else(|| must_be(kind, value)))
    }

    pub fn word<T: Word>(&self, key: &str) -> Option<T> {
        self.read(key, |kind, value| match value.as_str() {
            Some(text) => match T::ALL.iter().find(|(word, _)| *word == text) {
                Some((_, known)) => Ok(*known),
                None => {
                    let mut wrong = must_be(kind, value);
                    wrong.hint = suggest::did_you_mean(text, T::ALL.iter().map(|(word, _)| *word));
                    Err(wrong)
                }
            },
            None => Err(must_be(kind, value)),
        })
    }

    /// An integer within the row's bounds, which fit into `T`.
    pub fn integer<T: TryFrom<i64>>(&self, key: &str) -> Option<T> {
        self.read(key, |kind, value| {
            let number = integer(value).filter(|n| match kind {
                Type::Integer { min, max } => (min..=max).contains(&n),
                Type::OneOf(numbers) => numbers.contains(n),
                _ => false,
            });
            number.and_then(|n| T::try_from(n).ok()).ok_or_else(|| must_be(kind, value))
        })
    }

    pub fn duration(&self, key: &str) -> Option<Duration> {
        self.read(key, |kind, value| {
            let Some(text) = value.as_str() else {
                return Err(with_unit(must_be(kind, value), value, "s"));
            };
            let duration = values::duration(text)?;
            let fits = match kind {
                Type::Duration { min, max } => (min..=max).contains(&&duration),
                Type::DurationOrOff { min, max } => duration.is_zero() || (min..=max).contains(&&duration),
                _ => false,
            };
            if fits { Ok(duration) } else { Err(must_be(kind, value)) }
        })
    }

    pub fn size<T: TryFrom<u64>>(&self, key: &str) -> Option<T> {
        self.read(key, |kind, value| {
            let Some(text) = value.as_str() else {
                return Err(with_unit(must_be(kind, value), value, ""));
            };
            let size = Some(values::size(text)?)
                .filter(|n| matches!(kind, Type::Size { min, max } if (min..=max).contains(&n)));
            size.and_then(|n| T::try_from(n).ok()).ok_or_else(|| must_be(kind, value))
        })
    }

    /// A table below this one; one that is not written, or no table (then noted), is empty.
    pub fn table(&self, key: &str) -> Section<'a> {
        let row = self.row(key);
        let mut layers = Vec::new();
        for layer in &self.layers {
            let Some(value) = layer.table.get(key) else { continue };
            let at = At { file: layer.at.file, offset: value.span().start };
            match value.get_ref() {
                DeValue::Table(table) => layers.push(Layer { at, table }),
                other => self.notes.wrong(at, row, must_be(&row.kind, other)),
            }
        }
        let at = layers.first().map_or(self.at, |layer| layer.at);
        let no_table = layers.is_empty() && self.has(key);
        Section { no_table, ..Section::new(self.notes, row.path, at, layers) }
    }

    /// The tables of an array of tables, from all files.
    pub fn tables(&self, key: &str) -> Vec<Section<'a>> {
        self.elements(key).into_iter().filter_map(|(at, element)| self.as_table(key, at, element)).collect()
    }

    /// The elements of an array, from all files.
    pub fn elements(&self, key: &str) -> Vec<(At, &'a DeValue<'a>)> {
        let row = self.row(key);
        let mut found = Vec::new();
        for layer in &self.layers {
            let Some(value) = layer.table.get(key) else { continue };
            let at = |value: &Spanned<DeValue<'_>>| At { file: layer.at.file, offset: value.span().start };
            match value.get_ref() {
                DeValue::Array(array) => {
                    found.extend(array.iter().map(|element| (at(element), element.get_ref())))
                }
                other => {
                    let hint = match (&row.kind, other) {
                        (Type::Tables, _) => Some(format!("write [[{}]], in double brackets", row.path)),
                        (Type::Upstreams, DeValue::String(text)) => {
                            Some(format!("did you mean [{}]?", quoted(text)))
                        }
                        (Type::Command, DeValue::String(line)) => {
                            program::as_array(line).map(|meant| format!("did you mean {meant}?"))
                        }
                        _ => None,
                    };
                    self.notes.wrong(at(value), row, Wrong { hint, ..must_be(&row.kind, other) });
                }
            }
        }
        found
    }

    /// An element of an array (or a value) as a table of its own.
    pub fn as_table(&self, key: &str, at: At, element: &'a DeValue<'a>) -> Option<Section<'a>> {
        let row = self.row(key);
        match element {
            DeValue::Table(table) => Some(Section::new(self.notes, row.path, at, vec![Layer { at, table }])),
            other => {
                self.notes.wrong(at, row, must_be(&row.kind, other));
                None
            }
        }
    }

    fn note_unknown(&self) {
        let known = || table::children(self.path).map(Row::key);
        for layer in &self.layers {
            for name in layer.table.keys().filter(|name| !known().any(|key| key == *name.get_ref())) {
                let at = At { file: layer.at.file, offset: name.span().start };
                let meant = || suggest::did_you_mean(name.get_ref(), known());
                // Measuring distances takes time, and nobody reads this many.
                let hint = if self.notes.full() {
                    None
                } else {
                    meant().or_else(|| elsewhere(name.get_ref(), self.path))
                };
                let message = format!("unknown key {} {}", quoted(name.get_ref()), within(self.path));
                self.notes.error(at, message, hint);
            }
        }
    }

    fn note_twice(&self) {
        for (index, layer) in self.layers.iter().enumerate().skip(1) {
            for (name, value) in layer.table.iter() {
                let key: &str = name.get_ref();
                let first = self.layers[..index].iter().find_map(|l| Some((l.at.file, l.table.get(key)?)));
                let merges = table::children(self.path).any(|row| {
                    row.key() == key && matches!(row.kind, Type::Table | Type::Tables | Type::Globs)
                });
                if let (Some((file, first)), false) = (first, merges) {
                    let place = self.notes.place(At { file, offset: first.span().start });
                    let at = At { file: layer.at.file, offset: value.span().start };
                    self.notes.error(
                        at,
                        format!("{} {} is already set at {place}", quoted(key), within(self.path)),
                        Some("keep one of the two".to_owned()),
                    );
                }
            }
        }
    }
}

/// The value of a TOML integer that fits into 64 bits.
pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// The sentence for a value of the wrong type or out of bounds.
pub(super) fn must_be(kind: &Type, value: &DeValue<'_>) -> Wrong {
    Wrong::new(format!("must be {kind}, not {}", found(value)))
}

/// A bare number where text with a unit is wanted is the commonest slip of all.
fn with_unit(wrong: Wrong, value: &DeValue<'_>, unit: &str) -> Wrong {
    match integer(value) {
        Some(number) if number >= 0 => wrong.with(format!("did you mean \"{number}{unit}\"?")),
        _ => wrong,
    }
}

fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) => quoted(&number.to_string()).replace('"', ""),
        DeValue::Float(number) => quoted(number.as_str()).replace('"', ""),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "an array".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// A table as its heading is written: `[service.drain]`, `[[service]]`.
pub(super) fn heading(path: &str) -> String {
    match table::row(path).map(|row| &row.kind) {
        Some(Type::Tables | Type::Listeners | Type::Certificates) => format!("[[{path}]]"),
        Some(_) => format!("[{path}]"),
        None => "the config".to_owned(),
    }
}

fn within(path: &str) -> String {
    if path.is_empty() { "at the top level".to_owned() } else { format!("in {}", heading(path)) }
}

/// For a key that exists, but in another table.
fn elsewhere(word: &str, path: &str) -> Option<String> {
    let here = path.split('.').next().unwrap_or("");
    let named = || table::rows().filter(|row| row.key() == word && !row.parent().is_empty());
    let row = named().find(|row| row.path.starts_with(here)).or_else(|| named().next())?;
    Some(format!("it belongs into {}", heading(row.parent())))
}
