//! The source itself: rooms import what the table in `src/lib.rs` lets them, `unsafe` and the kernel
//! stay in `sys`, every file has its manual and a size to be read in, and nothing panics on purpose.
//!
//! The table is read, not repeated. Code is looked at without comments, text and tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const MOST_LINES: usize = 450;

/// Panics that can't happen: file and line. Each has a test that would meet it.
const PROVEN: &[(&str, &str)] = &[
    // A key that the reader asks for and the table lacks: every config that is read asks for all.
    ("config/read.rs", "table::row(&path).unwrap_or_else(|| panic!("),
];

/// One source file: its path under `src`, its text, and the code that is left of it without
/// comments, the contents of strings, and tests (nothing, if all of it is for tests).
struct Source {
    path: String,
    text: String,
    code: String,
}

impl Source {
    /// The room it belongs to: `sys` of `sys/fd.rs`, `log` of `log.rs`.
    fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("list src") {
            let path = entry.expect("list src").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).expect("read a source");
                let code = bare(&text);
                let path = path.strip_prefix(root()).expect("in src").to_string_lossy().into_owned();
                found.push(Source { path, text, code });
            }
        }
    }
    assert!(found.len() > 50, "these are the sources");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    let for_tests: Vec<String> = found.iter().flat_map(test_modules).collect();
    assert!(!for_tests.is_empty());
    for source in &mut found {
        let is_test = for_tests.iter().any(|m| {
            source.path.strip_prefix(m.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        });
        source.code = if is_test { String::new() } else { without_tests(&source.code) };
    }
    found
}

/// Paths, without `.rs`, of the modules that a file declares for tests only.
fn test_modules(source: &Source) -> Vec<String> {
    let (folder, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    let folder = match file {
        "mod.rs" | "lib.rs" | "main.rs" => folder.to_owned(),
        _ => source.path.trim_end_matches(".rs").to_owned(),
    };
    let declared = source.code.split("#[cfg(test)]").skip(1);
    let names = declared.filter_map(|rest| {
        let (item, end) = rest.split_at(rest.find([';', '{'])?);
        let (visibility, name) = item.trim_start().split_once("mod ")?;
        let module = (visibility.is_empty() || visibility.starts_with("pub")) && end.starts_with(';');
        module.then(|| name.to_owned())
    });
    names.map(|name| format!("{folder}/{name}").trim_start_matches('/').to_owned()).collect()
}

/// The text with comments and the contents of strings and characters blanked; lines stay lines.
fn bare(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match (chars[at], chars.get(at + 1)) {
            ('/', Some('/')) => line_end(&chars, at),
            ('/', Some('*')) => comment_end(&chars, at),
            ('"', _) => string_end(&chars, at),
            ('r' | 'b', _) if !follows_word(&chars, at) => raw_end(&chars, at).unwrap_or(at),
            ('\'', _) => char_end(&chars, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

fn follows_word(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_')
}

fn line_end(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|&c| c == '\n').map_or(chars.len(), |n| at + n)
}

fn comment_end(chars: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut i = at;
    while i < chars.len() {
        match (chars[i], chars.get(i + 1)) {
            ('/', Some('*')) => (depth, i) = (depth + 1, i + 2),
            ('*', Some('/')) => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    i
}

fn string_end(chars: &[char], at: usize) -> usize {
    let mut i = at + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

/// `r"…"`, `r#"…"#`, `br"…"`, `b"…"`, `b'…'`.
fn raw_end(chars: &[char], at: usize) -> Option<usize> {
    let mut i = at;
    if chars[i] == 'b' {
        i += 1;
        match chars.get(i)? {
            '"' => return Some(string_end(chars, i)),
            '\'' => return char_end(chars, i),
            'r' => {}
            _ => return None,
        }
    }
    i += 1;
    let hashes = chars[i..].iter().take_while(|&&c| c == '#').count();
    i += hashes;
    if chars.get(i) != Some(&'"') {
        return None;
    }
    let closing: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let found = chars[i + 1..].windows(closing.len()).position(|w| w == closing)?;
    Some(i + 1 + found + closing.len())
}

/// A character, unless it is a lifetime.
fn char_end(chars: &[char], at: usize) -> Option<usize> {
    match (chars.get(at + 1)?, chars.get(at + 2)?) {
        ('\\', _) => chars[at + 3..].iter().position(|&c| c == '\'').map(|n| at + 3 + n + 1),
        (_, '\'') => Some(at + 3),
        _ => None,
    }
}

/// Bare code without what follows `#[cfg(test)]`: an item up to its closing brace or semicolon.
fn without_tests(bare: &str) -> String {
    let mut out = String::with_capacity(bare.len());
    let mut rest = bare;
    while let Some(start) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..start]);
        let item = &rest[start..];
        let mut depth = 0;
        let end = item.char_indices().find_map(|(i, c)| {
            match c {
                '{' | '(' => depth += 1,
                '}' | ')' => depth -= 1,
                _ => {}
            }
            (depth == 0 && matches!(c, ';' | '}')).then_some(i + 1)
        });
        let end = end.unwrap_or(item.len());
        out.extend(item[..end].chars().filter(|c| *c == '\n'));
        rest = &item[end..];
    }
    out + rest
}

/// Rooms and what each may import, as the table in `lib.rs` says.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(root().join("lib.rs")).expect("lib.rs");
    let rows: Vec<Vec<String>> = text
        .lines()
        .filter_map(|line| line.strip_prefix("//! |"))
        .map(|line| line.trim_end_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .filter(|cells: &Vec<String>| cells.len() == 3 && cells[1].contains('`'))
        .collect();
    let named =
        |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let layer = |number: &str| number.trim().parse::<u32>().ok();
    let mut table = BTreeMap::new();
    for row in &rows {
        let mut may: BTreeSet<String> = named(&row[2]).into_iter().collect();
        if let Some((from, to)) = row[2].split_once('–').and_then(|(a, b)| Some((layer(a)?, layer(b)?))) {
            for other in rows.iter().filter(|r| layer(&r[0]).is_some_and(|l| (from..=to).contains(&l))) {
                may.extend(named(&other[1]));
            }
            // What stands between the layers serves those above.
            if layer(&row[0]) == Some(4) {
                let between = rows.iter().filter(|r| layer(&r[0]).is_none());
                may.extend(between.flat_map(|r| named(&r[1])));
            }
        }
        for room in named(&row[1]) {
            table.insert(room, may.clone());
        }
    }
    assert!(table.len() >= 10 && table["policy"].contains("model"), "the table was read: {table:?}");
    table
}

/// Rooms that a piece of code names: `crate::room`, also in `use crate::{a, b::c}`.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group_heads(group)),
            None => drop(found.insert(word(rest))),
        }
    }
    found
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first words of the members of a `{…}` group.
fn group_heads(group: &str) -> Vec<String> {
    let mut depth = 1;
    let mut heads = vec![String::new()];
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => heads.push(String::new()),
            _ => {}
        }
        match heads.last_mut() {
            _ if depth == 0 => break,
            Some(head) => head.push(c),
            None => {}
        }
    }
    heads.iter().map(|h| word(h.trim_start_matches([',', ' ', '\n']))).filter(|h| !h.is_empty()).collect()
}

fn fail_with(faults: Vec<String>) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn rooms_import_only_what_is_below_them() {
    let table = table();
    let mut faults = Vec::new();
    for source in sources().iter().filter(|s| !matches!(s.path.as_str(), "lib.rs" | "main.rs")) {
        let room = source.room();
        let Some(may) = table.get(room) else {
            faults.push(format!("{}: the table in lib.rs has no room {room}", source.path));
            continue;
        };
        for other in imports(&source.code).iter().filter(|o| *o != room && !may.contains(*o)) {
            faults.push(format!("{}: {room} must not import {other}", source.path));
        }
        let inside = source.path.matches('/').count() - usize::from(source.path.ends_with("/mod.rs"));
        if source.code.contains(&"super::".repeat(inside + 1)) {
            faults.push(format!("{}: reaches out of its room by `super`", source.path));
        }
    }
    fail_with(faults);
}

#[test]
fn the_kernel_and_unsafe_stay_in_sys() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|s| s.room() != "sys") {
        for (number, line) in source.code.lines().enumerate() {
            let is_word = |w: &&str| matches!(*w, "unsafe" | "libc" | "nix");
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            if let Some(found) = words.find(is_word) {
                faults.push(format!("{}:{}: {found} outside sys", source.path, number + 1));
            }
        }
    }
    fail_with(faults);
}

#[test]
fn every_file_opens_with_its_manual_and_has_a_size_to_be_read_in() {
    let mut faults = Vec::new();
    for source in sources() {
        let manual = source.text.lines().take_while(|l| l.starts_with("//!")).count();
        let lines = source.text.lines().count();
        if manual == 0 {
            faults.push(format!("{}: no manual", source.path));
        }
        // The crate's own holds the table of the rooms.
        if manual > 15 && source.path != "lib.rs" {
            faults.push(format!("{}: a manual of {manual} lines", source.path));
        }
        if lines > MOST_LINES {
            faults.push(format!("{}: {lines} lines", source.path));
        }
    }
    fail_with(faults);
}

#[test]
fn nothing_panics_on_purpose() {
    let mut faults = Vec::new();
    for source in sources() {
        for (number, line) in source.code.lines().enumerate() {
            let proven = PROVEN.iter().any(|(path, words)| *path == source.path && line.contains(words));
            for call in [
                ".unwrap()",
                ".expect(",
                ".unwrap_err()",
                ".expect_err(",
                "panic!(",
                "todo!(",
                "unimplemented!(",
            ] {
                if line.contains(call) && !proven {
                    faults.push(format!("{}:{}: {call}", source.path, number + 1));
                }
            }
        }
    }
    fail_with(faults);
}

#[test]
fn functions_are_short() {
    let mut faults = Vec::new();
    for source in sources() {
        let lines: Vec<&str> = source.code.lines().collect();
        for (first, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let head = line.trim_start().trim_start_matches("pub").trim_start_matches("(super)").trim_start();
            if !(head.starts_with("fn ") || head.starts_with("const fn ") || head.starts_with("unsafe fn ")) {
                continue;
            }
            let close = format!("{}}}", " ".repeat(indent));
            let length = lines[first..].iter().position(|l| *l == close).map_or(1, |n| n + 1);
            if length > 60 {
                faults.push(format!("{}:{}: {length} lines", source.path, first + 1));
            }
        }
    }
    fail_with(faults);
}

/// The tools of this test see what they are to see, and nothing else.
#[test]
fn the_reader_of_sources_reads_rust() {
    let text = "fn a<'a>(x: &'a str) { // unsafe\n  let c = '\"'; let s = \"un\\\"safe\"; /* libc /* nix */ */ r#\"unsafe\"# }";
    let code = bare(text);
    assert!(!code.contains("safe") && !code.contains("libc") && !code.contains("nix"), "{code}");
    assert!(code.contains("fn a<'a>(x: &'a str) {") && code.ends_with('}'), "{code}");
    assert_eq!(code.len(), text.len());
    let tested = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { c.unwrap(); } }\nfn d() {}\n#[cfg(test)]\nmod e;\nfn f() {}";
    let left = without_tests(tested);
    assert!(!left.contains("unwrap") && !left.contains("mod e"), "{left}");
    assert!(left.contains("fn d()") && left.contains("fn f()"), "{left}");
    assert_eq!(left.lines().count(), tested.lines().count());
    let found =
        imports("use crate::sys; use crate::{model::{Seat, X}, wire}; crate::config::load(crate::log::x)");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["config", "log", "model", "sys", "wire"]);
}
