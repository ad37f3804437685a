//! Raw to checked: parsed tables in, a `Config` and everything wrong with it out.
//!
//! `load` calls `config` once with the parsed files. Every rule notes its error and goes on; what a
//! wrong key leaves behind is a harmless value that nobody sees, because `load` returns the errors
//! instead. One file per part of the config; `conflicts` compares services with each other.
//! Never: reads files, asks the machine except through the `Resolver`.

mod access_log;
mod conflicts;
mod exec;
mod http;
mod listen;
mod master;
mod route;
mod service;
mod tcp;
mod tls;
mod upstream;

use super::notes::{At, Notes};
use super::problem::quoted;
use super::read::{Layer, Section};
use super::resolve::Resolver;
use super::types::{Config, Service};
use super::values::{self, Wrong};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A service and the places that messages about it point to.
struct Found {
    service: Service,
    name_at: At,
    /// Beside `service.listen`.
    listen_at: Vec<At>,
}

/// Checks all parsed files; `layers[0]` is the main one.
pub(super) fn config<'a>(
    notes: &'a Notes<'a>,
    layers: Vec<Layer<'a>>,
    path: PathBuf,
    checksum: u64,
    machine: &dyn Resolver,
) -> Config {
    let start = At { file: 0, offset: 0 };
    let root = Section::new(notes, "", start, layers);
    let master_section = root.table("master");
    let log_section = master_section.table("log");
    let mut master = master::master(&master_section, &log_section, machine);
    let sections = root.tables("service");
    let service = |section| service::service(section, master.ready_timeout, machine);
    let mut found: Vec<Found> = sections.iter().map(service).collect();
    let access_logs = access_log::settle(&master_section, &mut master, &sections, &mut found);
    conflicts::note(notes, &found);
    let mut files = conflicts::files_of_listeners(&found);
    for (key, path, section) in [
        ("pid_file", &master.pid_file, &master_section),
        ("control_socket", &master.control_socket, &master_section),
        ("file", &master.log.file, &log_section),
    ] {
        if let Some(path) = path {
            files.push(conflicts::Claimed { path, by: section.row(key).path, at: section.at_key(key) });
        }
    }
    files.extend(access_logs.iter().map(access_log::Asked::claim));
    conflicts::note_paths(notes, &files);
    Config { path, checksum, master, services: found.into_iter().map(|found| found.service).collect() }
}

/// Whether a text can name a service or a listener; the reason if not.
fn name_fault(name: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() {
        Some("the name is empty".to_owned())
    } else if name.len() > 63 {
        Some(format!("the name has {} bytes; at most 63 are allowed", name.len()))
    } else if let Some(bad) = name.chars().find(|c| !fits(*c)) {
        Some(format!(
            "'{}' can't be part of a name; letters, digits, '-', '_' and '.' can",
            bad.escape_debug()
        ))
    } else if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        Some("a name begins with a letter or a digit".to_owned())
    } else {
        None
    }
}

/// Reads a name and notes what is wrong with it.
fn name(section: &Section<'_>) -> Option<String> {
    let text = section.text("name")?;
    match name_fault(&text) {
        None => Some(text),
        Some(fault) => {
            let row = section.row("name");
            section.notes.error(section.at_key("name"), format!("{}: {fault}", row.path), None);
            None
        }
    }
}

/// The real path of a folder that is there; `whose` says which one to name instead of something else.
fn folder(path: &Path, whose: &str, machine: &dyn Resolver) -> Result<PathBuf, Wrong> {
    let shown = quoted(&path.to_string_lossy());
    let real = machine.folder(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Wrong::new(format!("there is no folder {shown}"))
            .with("make it, or name another; a relative path begins at the folder of the main config file"),
        ErrorKind::NotADirectory => Wrong::new(format!("{shown} is no folder")).with(whose),
        _ => Wrong::new(format!("the folder {shown} can't be looked at: {error}")),
    })?;
    // What a symlink leads to has to be shown and passed on like a path of the config.
    match real.to_str() {
        Some(text) => values::absolute(text, Path::new("/")),
        None => Err(Wrong::new(format!("the real path of {shown} is not valid UTF-8")).with("rename it")),
    }
}
