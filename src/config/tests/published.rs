//! What is checked in beside the code: the sample config, its reference, the man page.

use super::*;
use crate::config::key::{Default, Type};
use crate::config::table::{children, row, rows};
use crate::config::{man_page, reference};
use std::collections::HashSet;
use toml::de::DeTable;

/// Compares a file with what it should be, or rewrites it if MASTERD_BLESS=1.
fn assert_current(name: &str, expected: &str) {
    let path = repository().join(name);
    if std::env::var_os("MASTERD_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, expected).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text == expected, "{name} is not what the key table says; run the tests with MASTERD_BLESS=1");
}

#[test]
fn the_man_page_is_current() {
    assert_current("man/masterd.toml.5", &man_page());
}

#[test]
fn the_reference_is_current() {
    let sample = std::fs::read_to_string(repository().join("conf/masterd.toml")).unwrap();
    let first = reference().lines().next().unwrap().to_owned();
    let own = sample.find(&first).map_or(sample.as_str(), |at| &sample[..at]);
    assert_current("conf/masterd.toml", &format!("{own}{}", reference()));
}

#[test]
fn the_sample_loads_without_a_word() {
    let loaded = load_on(&repository().join("conf/masterd.toml"), &Machine { root: false });
    let loaded = loaded.unwrap_or_else(|problems| panic!("{:?}", shown(&problems)));
    assert_eq!(loaded.warnings, []);
    assert_eq!((loaded.config.master.control_socket, loaded.config.master.pid_file), (None, None));
    assert_eq!(loaded.config.services.len(), 1);
}

#[test]
fn every_row_is_whole() {
    let mut seen = HashSet::new();
    for row in rows() {
        assert!(seen.insert(row.path), "{} is there twice", row.path);
        let parent = row.parent();
        assert!(parent.is_empty() || seen.contains(parent), "{} comes before its table", row.path);
        assert!(row.doc.len() > 15 && row.doc.ends_with('.'), "{}: a sentence for people", row.path);
        assert_eq!(row.doc.matches('`').count() % 2, 0, "{}: backquotes in pairs", row.path);
        let gathers = matches!(
            row.kind,
            Type::Table | Type::Tables | Type::Listeners | Type::Workers { .. } | Type::Certificates
        );
        assert_eq!(children(row.path).next().is_some(), gathers, "{}: type and keys below", row.path);
    }
}

/// The reference uses every key once, as TOML that means its default.
#[test]
fn the_reference_is_toml() {
    let mut under = String::new();
    let mut seen = HashSet::new();
    for line in reference().lines() {
        let Some(code) =
            line.strip_prefix('#').filter(|code| !code.is_empty() && !code.starts_with([' ', '-']))
        else {
            assert!(line.is_empty() || line.starts_with('#'), "{line}");
            continue;
        };
        if code.starts_with('[') {
            under = format!("{}.", code.trim_matches(['[', ']']));
            continue;
        }
        let (key, value) = code.split_once(" = ").unwrap();
        let path = format!("{}{key}", under.trim_start_matches('.'));
        let row = row(&path).unwrap_or_else(|| panic!("{path}"));
        assert!(DeTable::parse(code).is_ok(), "{code}");
        assert!(seen.insert(path), "{code}");
        if let Default::Toml(default) = row.default {
            assert_eq!(value, default);
        }
    }
    let shown = rows().filter(|row| {
        !matches!(row.kind, Type::Table | Type::Tables)
            && !row.path.starts_with("service.workers.")
            && !row.path.starts_with("service.listen.tls.sni.")
    });
    let missing: Vec<_> = shown.filter(|row| !seen.contains(row.path)).map(|row| row.path).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// What the man page shows as examples are configs.
#[test]
fn the_examples_load() {
    let page = man_page();
    let examples: Vec<&str> =
        page.split(".EX\n").skip(1).filter_map(|rest| Some(rest.split_once(".EE")?.0)).collect();
    assert_eq!(examples.len(), 4);
    for example in examples {
        let mut text = example.replace("\\e", "\\").replace("\\-", "-");
        if !text.contains("[[service]]") {
            text.push_str(SERVICE);
        }
        let loaded =
            load_text(&text, true).unwrap_or_else(|problems| panic!("{:?}\n{text}", shown(&problems)));
        assert_eq!(loaded.warnings, []);
    }
}

/// So are those in a folder of their own, each of which the README names.
#[test]
fn the_examples_in_files_load() {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let folder = repository().join("conf/examples");
    let names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<_> = names.filter_map(|name| name.into_string().ok()).collect();
    let examples: Vec<&String> = names.iter().filter(|name| name.ends_with(".toml")).collect();
    assert!(examples.len() >= 7, "{examples:?}");
    for name in examples {
        let loaded = load_on(&folder.join(name), &Machine { root: false });
        let loaded = loaded.unwrap_or_else(|problems| panic!("{:?}", shown(&problems)));
        assert_eq!(loaded.warnings, [], "{name}");
        assert!(readme.contains(&format!("conf/examples/{name}")), "{name} is named nowhere");
    }
}

/// `man` itself is the judge, where there is one.
#[test]
fn the_man_page_is_troff() {
    let path = repository().join("man/masterd.toml.5");
    match std::process::Command::new("groff").args(["-man", "-Tutf8", "-ww", "-z"]).arg(&path).output() {
        Ok(output) => assert!(
            output.status.success() && output.stderr.is_empty(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound),
    }
    let page = man_page();
    for row in rows() {
        let key = row.key().replace('-', "\\-");
        assert!(page.contains(&key), "{}", row.path);
    }
}
