//! `access_log` of `[master]` and of services: which service has which, and that all who write to a
//! file write in one format.
//!
//! Files that others claim too are `conflicts`'s to note: `settle` gives back what is claimed.

use super::Found;
use super::conflicts::Claimed;
use crate::config::notes::At;
use crate::config::read::Section;
use crate::config::types::{AccessLog, LogFormat, Master};
use crate::config::values::Wrong;
use crate::config::words::Word;
use std::collections::HashMap;
use std::path::PathBuf;
use toml::de::DeValue;

/// An access log, where it is asked for, and by which key.
pub(super) struct Asked {
    log: AccessLog,
    by: &'static str,
    at: At,
    format_at: At,
}

impl Asked {
    pub fn claim(&self) -> Claimed<'_> {
        Claimed { path: &self.log.file, by: self.by, at: self.at }
    }
}

/// Gives the master and each service the access log it is to have; the files, each once.
pub(super) fn settle(
    master_section: &Section<'_>,
    master: &mut Master,
    sections: &[Section<'_>],
    found: &mut [Found],
) -> Vec<Asked> {
    let general = table(master_section).and_then(|table| asked(&table));
    master.access_log = general.as_ref().map(|asked| asked.log.clone());
    let mut all: Vec<Asked> = general.into_iter().collect();
    for (section, found) in sections.iter().zip(found) {
        found.service.access_log = match table(section) {
            None if section.has("exec") => None,
            Some(table) if section.has("exec") => {
                let wrong = Wrong::new("masterd does not see what a program is asked");
                let hint = "leave it out; the program writes a log of its own";
                table.notes.wrong(table.at, section.row("access_log"), wrong.with(hint));
                None
            }
            None => master.access_log.clone(),
            Some(table) if table.switch("enabled") == Some(false) => None,
            Some(table) => asked(&table).map(|asked| {
                let log = asked.log.clone();
                all.push(asked);
                log
            }),
        };
    }
    each_once(master_section, all)
}

/// The table, if one is written; what is no table is noted.
fn table<'a>(section: &Section<'a>) -> Option<Section<'a>> {
    let (_, written) = section.find("access_log")?;
    let table = section.table("access_log");
    matches!(written, DeValue::Table(_)).then_some(table)
}

fn asked(table: &Section<'_>) -> Option<Asked> {
    let row = table.row("file");
    if !table.has("file") {
        let message = format!("{} names no file, so there would be nowhere to write to", row.parent());
        table.notes.error(table.at, message, Some(format!("add {} = \"…\"", row.key())));
    }
    let format = table.word("format").unwrap_or(LogFormat::Text);
    let file: PathBuf = table.path("file")?;
    let at = table.at_key("file");
    let format_at = table.find("format").map_or(at, |(at, _)| at);
    Some(Asked { log: AccessLog { file, format }, by: row.path, at, format_at })
}

/// Each file once; a second format for one is noted.
fn each_once(section: &Section<'_>, all: Vec<Asked>) -> Vec<Asked> {
    let mut seen: HashMap<PathBuf, (LogFormat, At)> = HashMap::new();
    let mut distinct = Vec::new();
    for asked in all {
        match seen.get(&asked.log.file) {
            None => {
                seen.insert(asked.log.file.clone(), (asked.log.format, asked.at));
                distinct.push(asked);
            }
            Some((format, _)) if *format == asked.log.format => {}
            Some((format, first)) => {
                let message = format!(
                    "{}: {} would be written in two formats: it is \"{}\" at {}",
                    asked.by,
                    asked.log.file.display(),
                    format.word(),
                    section.notes.place(*first)
                );
                let hint = "use one format, or a file for each".to_owned();
                section.notes.error(asked.format_at, message, Some(hint));
            }
        }
    }
    distinct
}
