//! Every file of the fuzz corpora through the functions that the fuzz targets call.
//!
//! A file whose name begins with `good` must be understood, one that begins with `bad` must not;
//! of others (what a fuzzer has found) it is only asked that nothing breaks.

#[path = "../fuzz/entries.rs"]
mod entries;

use std::path::Path;

fn replay(target: &str, entry: fn(&[u8]) -> bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut counts = [0, 0];
    for file in std::fs::read_dir(&folder).expect("the folder of the corpus") {
        let path = file.expect("a file of the corpus").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let good = entry(&std::fs::read(&path).expect("a file that can be read"));
        for (word, want) in [("good", true), ("bad", false)] {
            if name.starts_with(word) {
                assert_eq!(good, want, "{}", path.display());
                counts[usize::from(want)] += 1;
            }
        }
    }
    assert!(counts.iter().all(|count| *count > 0), "{target} has bad and good ones: {counts:?}");
}

#[test]
fn config() {
    replay("config", entries::config);
}

#[test]
fn control() {
    replay("control", entries::control);
}

#[test]
fn gate() {
    replay("gate", entries::gate);
}

#[test]
fn handover() {
    replay("handover", entries::handover);
}

#[test]
fn notify() {
    replay("notify", entries::notify);
}

#[test]
fn proxy_protocol() {
    replay("proxy_protocol", entries::proxy_protocol);
}

#[test]
fn report() {
    replay("report", entries::report);
}
