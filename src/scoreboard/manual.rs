//! Holds man/masterd-scoreboard.7, and the example that goes with it, against the layout.
//!
//! Only tests. A word of another index, or another version, fails here: programs of strangers lean on both.

use super::layout as l;
use super::view::{Figures, View};
use crate::model::Class;
use crate::sys::shm::{self, Pages};
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;

const PAGE: &str = include_str!("../../man/masterd-scoreboard.7");
const EXAMPLE: &str = include_str!("../../conf/examples/scoreboard.py");

/// Words that a program may read.
const READ: [(&str, usize, usize); 5] = [
    ("MAGIC", l::W_MAGIC, 1),
    ("VERSION", l::W_VERSION, 1),
    ("WORDS", l::W_WORDS, 1),
    ("SEAT", l::W_SEAT, 1),
    ("GENERATION", l::W_GENERATION, 1),
];

/// Words that it may write: name, first, how many.
const WRITTEN: [(&str, usize, usize); 9] = [
    ("ACCEPTED", l::ACCEPTED, 1),
    ("REQUESTS", l::REQUESTS, 1),
    ("RESPONSES", l::RESPONSES, 5),
    ("BYTES_IN", l::BYTES_IN, 1),
    ("BYTES_OUT", l::BYTES_OUT, 1),
    ("ERRORS", l::ERRORS, 1),
    ("ACTIVE", l::ACTIVE, Class::ALL.len()),
    ("IDLE", l::IDLE, 1),
    ("IN_FLIGHT", l::IN_FLIGHT, 1),
];

fn plain(text: &str) -> String {
    ["\\fB", "\\fI", "\\fR"].iter().fold(text.replace("\\-", "-"), |text, mark| text.replace(mark, ""))
}

/// The first and last word of a tag, `NAME (words 18 to 22)`, after its name.
fn place(tag: &str) -> (String, usize, usize) {
    let (name, rest) = tag.split_once(" (word").unwrap_or_else(|| panic!("no words in {tag}"));
    let numbers = rest.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok());
    let numbers: Vec<usize> = numbers.collect();
    let (first, last) = (numbers[0], *numbers.last().unwrap());
    (name.to_owned(), first, last - first + 1)
}

#[test]
fn the_page_is_of_this_version_of_masterd_and_of_the_layout() {
    let heading = format!("\"masterd {}\"", env!("CARGO_PKG_VERSION"));
    assert!(PAGE.lines().any(|l| l.starts_with(".TH MASTERD-SCOREBOARD 7 ") && l.contains(&heading)));
    let page = plain(PAGE);
    assert!(page.contains(&format!("The layout's version: {}.", l::VERSION)));
    assert!(page.contains(&format!("lowest: {:#018x}.", l::MAGIC)));
    assert!(page.contains(&format!("byte order, {} of them.", l::WORDS)));
    assert!(page.contains(&format!("!= {:#018x} || slot[VERSION] != {})", l::MAGIC, l::VERSION)));
}

#[test]
fn every_word_of_the_page_lies_where_it_says() {
    let page = plain(PAGE);
    let tags = page.split(".TP\n.B ").skip(1).filter_map(|paragraph| paragraph.lines().next());
    let described: Vec<(String, usize, usize)> = tags.map(place).collect();
    let named = READ.iter().chain(&WRITTEN).map(|&(name, first, count)| (name.to_owned(), first, count));
    assert_eq!(described, named.collect::<Vec<_>>());
    for (n, class) in Class::ALL.iter().enumerate() {
        let at = l::ACTIVE + n;
        let text = page.split(&format!("\n.B {}\n", class.word())).nth(1).unwrap_or_default();
        let said = text.lines().find(|line| line.starts_with("in ") || line.contains(") in "));
        assert!(said.is_some_and(|line| line.contains(&at.to_string())), "{} in {at}", class.word());
    }
}

/// `NAME = 17` of the page's programs and of the example.
fn constants(text: &str) -> Vec<(String, usize)> {
    let pairs = text.split(['\n', ',', '{', '}']).filter_map(|part| part.split_once(" = "));
    let number = |value: &str| value.split_ascii_whitespace().next()?.parse().ok();
    let named = |name: &str| name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    pairs
        .filter_map(|(name, value)| Some((name.trim().to_owned(), number(value)?)))
        .filter(|(n, _)| named(n))
        .collect()
}

#[test]
fn programs_of_the_page_and_the_example_write_the_words_they_mean() {
    let (_, programs) = PAGE.split_once(".SH EXAMPLES").unwrap();
    let mut found = constants(programs);
    // What the first two words must hold, not where they lie.
    let example = constants(EXAMPLE).into_iter().filter(|(name, _)| name != "VERSION");
    found.extend(example);
    assert!(found.len() > 10, "{found:?}");
    for (name, index) in found {
        let known = READ.iter().chain(&WRITTEN).find(|(known, ..)| *known == name);
        assert_eq!(known.map(|(_, first, _)| *first), Some(index), "{name}");
    }
    assert!(EXAMPLE.contains(&format!("\nVERSION = {}\n", l::VERSION)));
}

#[test]
fn what_a_program_may_write_is_read_and_bounded_as_the_page_says() {
    for (name, first, count) in WRITTEN {
        for index in first..first + count {
            let slot = shm::create("masterd-test-slot", l::WORDS, &[l::MAGIC, l::VERSION]).unwrap();
            let pages = Pages::map(slot.as_fd(), l::WORDS, true).unwrap();
            let mut view = View::open(shm::reopen_readonly(slot.as_fd()).unwrap().as_fd()).unwrap();
            let mut read = |value: u64| {
                pages.words()[index].store(value, Relaxed);
                view.figures()
            };
            assert_ne!(read(7), Figures::default(), "{name}: word {index} is read by nobody");
            let (gauge, lie) = (first >= l::ACTIVE, read(u64::MAX));
            let most = if gauge { 1u64 << 24 } else { 1 << 55 };
            let shown = serde_json::to_string(&lie).unwrap();
            assert!(shown.contains(&most.to_string()), "{name} is bounded by {most}: {shown}");
            let after = if gauge { Figures::default() } else { lie };
            assert_eq!(read(0), after, "{name}: counters keep their highest value, gauges do not");
        }
    }
}

/// `groff` is the judge, where there is one.
#[test]
fn the_page_is_troff() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/man/masterd-scoreboard.7");
    match std::process::Command::new("groff").args(["-man", "-Tutf8", "-ww", "-z", path]).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.is_empty(), "{said}");
        }
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
    }
}
