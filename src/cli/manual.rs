//! Holds man/masterd.8 against what it describes: the command line and the signal table.
//!
//! Only tests. A verb, flag or signal that the page lacks, or describes under another name, fails here.

use super::args::command;
use crate::sys::signal::TABLE;
use crate::wire::status::{Connection, Listener, Service, Status, Totals, Worker};
use std::collections::BTreeMap;

const PAGE: &str = include_str!("../../man/masterd.8");

/// The page's sections, roff's marks taken off.
fn sections() -> BTreeMap<String, String> {
    let mut sections = BTreeMap::new();
    let mut name = String::new();
    for line in PAGE.lines() {
        if let Some(heading) = line.strip_prefix(".SH ") {
            name = heading.trim_matches('"').to_owned();
        }
        let text: &mut String = sections.entry(name.clone()).or_default();
        text.push_str(&plain(line));
        text.push('\n');
    }
    sections
}

fn plain(line: &str) -> String {
    ["\\fB", "\\fI", "\\fR"].iter().fold(line.replace("\\-", "-"), |line, mark| line.replace(mark, ""))
}

/// The tagged paragraph whose tag begins with `word`: its tag line and its text.
fn paragraph(section: &str, word: &str) -> Option<(String, String)> {
    section.split(".TP\n").skip(1).find_map(|paragraph| {
        let (tag, text) = paragraph.split_once('\n')?;
        let tag = tag.strip_prefix(".B ")?;
        let first = tag.split([' ', ',']).next()?;
        (first == word).then(|| (tag.to_owned(), text.to_owned()))
    })
}

#[test]
fn the_page_is_of_this_version() {
    let heading = format!("\"masterd {}\"", env!("CARGO_PKG_VERSION"));
    assert!(PAGE.lines().any(|l| l.starts_with(".TH MASTERD 8 ") && l.contains(&heading)));
}

#[test]
fn every_verb_and_its_flags_are_in_the_page() {
    let sections = sections();
    for verb in command().get_subcommands() {
        let name = verb.get_name();
        let (tag, text) =
            paragraph(&sections["COMMANDS"], name).unwrap_or_else(|| panic!("no paragraph on {name}"));
        for argument in verb.get_arguments().filter(|a| !a.is_hide_set() && !a.is_global_set()) {
            match argument.get_long() {
                Some("help") => {}
                Some(long) => {
                    assert!(tag.contains(&format!("--{long}")), "{name}'s line lacks --{long}");
                    assert!(text.contains(&format!("--{long}")), "{name}'s text lacks --{long}");
                }
                None => {
                    let value = argument.get_value_names().map_or("", |n| n[0].as_str());
                    assert!(tag.contains(value), "{name}'s line lacks {value}");
                }
            }
        }
    }
}

#[test]
fn every_option_is_in_the_page() {
    let sections = sections();
    let mut command = command();
    command.build();
    for argument in command.get_arguments() {
        let short = argument.get_short().map(|c| format!("-{c}"));
        let long = argument.get_long().map(|l| format!("--{l}"));
        for name in [short, long].into_iter().flatten() {
            let found = sections["OPTIONS"]
                .lines()
                .any(|l| l.starts_with(".B ") && l.split([' ', ',']).any(|w| w == name));
            assert!(found, "no paragraph on {name}");
        }
    }
}

#[test]
fn the_page_names_no_verb_that_does_not_exist() {
    let commands = &sections()["COMMANDS"];
    let verbs: Vec<String> = command().get_subcommands().map(|v| v.get_name().to_owned()).collect();
    let tagged = commands.split(".TP\n.B ").skip(1).filter_map(|p| p.split([' ', '\n']).next());
    let tagged: Vec<&str> = tagged.collect();
    assert_eq!(tagged, verbs, "in the order of --help");
}

#[test]
fn every_signal_is_in_the_page_with_its_meaning() {
    let signals = &sections()["SIGNALS"];
    assert!(!TABLE.is_empty());
    for entry in TABLE {
        let (_, text) =
            paragraph(signals, entry.name).unwrap_or_else(|| panic!("no paragraph on {}", entry.name));
        let first = text.lines().next().unwrap_or_default().trim_end_matches('.');
        assert_eq!(first, entry.meaning, "{}", entry.name);
    }
}

#[test]
fn every_key_of_the_document_is_in_the_page() {
    let worker = Worker { connections: Some(vec![Connection::default()]), ..Worker::default() };
    let service = Service {
        listeners: vec![Listener::default()],
        totals: Totals::default(),
        workers: vec![worker],
        ..Service::default()
    };
    let status = Status { services: vec![service], ..Status::default() };
    let document = serde_json::to_value(status).unwrap();
    let text = &sections()["STATUS"];
    let mut left = vec![&document];
    while let Some(value) = left.pop() {
        left.extend(value.as_array().into_iter().flatten());
        for (key, value) in value.as_object().into_iter().flatten() {
            let word = |w: &str| w == key;
            assert!(text.split(|c: char| !c.is_alphanumeric() && c != '_').any(word), "STATUS lacks {key}");
            left.push(value);
        }
    }
}
