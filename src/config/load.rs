//! From a path to a checked config: read the files, parse them, check the whole.
//!
//! `load` is the room's front door. It may block and run NSS modules, so the master calls it in a
//! forked child with a deadline. A file that is not TOML says so at the first place where it is not,
//! and ends there; everything that could be parsed is checked, so that all errors come at once.
//! Never: reads a file twice (two readings could be two versions), binds, opens a log.

use super::check;
use super::include;
use super::notes::{At, Notes, Problems};
use super::problem::{Problem, quoted};
use super::read::Layer;
use super::resolve::{Resolver, System};
use super::source::{Source, nowhere};
use super::types::Config;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A config that is good, and what is doubtful about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Vec<Problem>,
}

/// More problems than anybody reads; the rest is counted.
const MOST_PROBLEMS: usize = 100;

/// More files than any config has.
const MOST_FILES: usize = 1000;

/// Reads the config at `path` with everything it includes, or says all that is wrong with it: files
/// that can't be read or parsed first, then the rest in the order of the files.
///
/// Reads each file once, at most 1 MiB of it, and looks up users and groups (getpwnam(3)) and the
/// folders that files are sent from (realpath(3)): may block.
pub fn load(path: &Path) -> Result<Loaded, Vec<Problem>> {
    load_on(path, &System)
}

/// `load` on a machine of the caller's making.
pub(super) fn load_on(path: &Path, machine: &dyn Resolver) -> Result<Loaded, Vec<Problem>> {
    let full = absolute(path).map_err(|problem| vec![problem])?;
    let main = Source::read(path).map_err(|problem| vec![problem])?;
    let (names, mut problems) = included(path, &full, &main)?;
    let mut sources = vec![main];
    for name in names {
        match Source::read(&name) {
            Ok(source) => sources.push(source),
            Err(problem) => problems.push(problem),
        }
    }
    let mut documents = Vec::new();
    for (file, source) in sources.iter().enumerate() {
        match DeTable::parse(&source.text) {
            Ok(document) => documents.push((At { file, offset: 0 }, document)),
            Err(error) => problems.push(syntax(source, &error)),
        }
    }
    let notes = Notes::new(&sources, full.parent().unwrap_or(Path::new("/")));
    note_nested(&notes, &documents);
    if problems.is_empty() {
        note_nothing_served(&notes, &documents);
    }
    let layers =
        documents.iter().map(|(at, document)| Layer { at: *at, table: document.get_ref() }).collect();
    let config = check::config(&notes, layers, full.clone(), checksum(&sources), machine);
    let (errors, warnings) = notes.into_problems();
    problems.extend(errors.first);
    if problems.is_empty() {
        return Ok(Loaded { config, warnings: warnings.shortened(MOST_PROBLEMS, path, "warnings") });
    }
    let all = Problems { first: problems, dropped: errors.dropped };
    Err(all.shortened(MOST_PROBLEMS, path, "errors"))
}

/// A config without a service is a mistake; a `service` that is no array is noted elsewhere.
fn note_nothing_served(notes: &Notes<'_>, documents: &[(At, Spanned<DeTable<'_>>)]) {
    let services = documents.iter().filter_map(|(_, document)| document.get_ref().get("service"));
    let mut written =
        services.filter(|value| value.get_ref().as_array().is_none_or(|array| !array.is_empty()));
    if written.next().is_none() {
        notes.error_nowhere("there is no [[service]], so nothing would be served");
    }
}

/// The absolute path, symlinks kept: a link that is switched to another config is another config.
fn absolute(path: &Path) -> Result<PathBuf, Problem> {
    let full = std::path::absolute(path)
        .map_err(|error| nowhere(path, format!("the path cannot be made absolute: {error}")))?;
    match full.to_str() {
        Some(_) => Ok(full),
        None => Err(nowhere(
            path,
            "the path is not valid UTF-8, so it can't be shown or passed on; rename it".to_owned(),
        )),
    }
}

/// The files that the main one includes, and what is wrong with how it names them.
fn included(path: &Path, full: &Path, main: &Source) -> Result<(Vec<PathBuf>, Vec<Problem>), Vec<Problem>> {
    // Parsed here and once more with the others: the text moves into their list in between.
    let document = DeTable::parse(&main.text).map_err(|error| vec![syntax(main, &error)])?;
    let mut files: Vec<PathBuf> = Vec::new();
    let mut problems = Vec::new();
    let list = document.get_ref().get("include");
    let entries = list.and_then(|value| value.get_ref().as_array());
    if let (Some(list), None) = (list, entries) {
        problems.push(main.problem(list.span().start, format!("include: {NO_PATHS}"), None));
    }
    for entry in entries.into_iter().flat_map(|entries| entries.iter()) {
        let found = files_of(path, full, entry.get_ref()).unwrap_or_else(|message| {
            problems.push(main.problem(entry.span().start, format!("include: {message}"), None));
            Vec::new()
        });
        for file in found {
            if !files.contains(&file) {
                files.push(file);
            }
        }
        if files.len() + problems.len() > MOST_FILES {
            let message = format!("include: these are more than {MOST_FILES} files");
            return Err(vec![main.problem(entry.span().start, message, None)]);
        }
    }
    Ok((files, problems))
}

const NO_PATHS: &str = "must be an array of paths as text, such as [\"conf.d/*.toml\"]";

/// The files of one entry, named like the main file so that messages read alike.
fn files_of(path: &Path, full: &Path, entry: &DeValue<'_>) -> Result<Vec<PathBuf>, String> {
    let Some(text) = entry.as_str().filter(|text| !text.is_empty() && !text.contains('\0')) else {
        return Err(NO_PATHS.to_owned());
    };
    let is_main = |file: &PathBuf| std::path::absolute(file).is_ok_and(|file| file == full);
    let pattern = path.parent().unwrap_or(Path::new("")).join(text);
    if is_main(&pattern) {
        return Err(format!("{} is this file itself", quoted(text)));
    }
    let mut found = include::expand(&pattern)?;
    found.retain(|file| !is_main(file));
    Ok(found)
}

fn note_nested(notes: &Notes<'_>, documents: &[(At, Spanned<DeTable<'_>>)]) {
    for (at, document) in documents.iter().filter(|(at, _)| at.file > 0) {
        if let Some((key, _)) = document.get_ref().get_key_value("include") {
            let at = At { offset: key.span().start, ..*at };
            notes.error(
                at,
                "an included file can't include others",
                Some("name them all in the main file".to_owned()),
            );
        }
    }
}

/// What the TOML parser says, at its place.
fn syntax(source: &Source, error: &toml::de::Error) -> Problem {
    let offset = error.span().map_or(0, |span| span.start);
    source.problem(offset, format!("this is not TOML: {}", error.message()), None)
}

/// FNV-1a, 64 bits, over the bytes of all files in order.
fn checksum(sources: &[Source]) -> u64 {
    let bytes = sources.iter().flat_map(|source| source.text.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
