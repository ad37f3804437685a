//! Binaries to upgrade to: copies of the one under test, which say at their end what they pretend to be
//! and where they misbehave (see `src/image.rs`).
//!
//! Made by another process: were a copy open for writing in this one, a child that some other test forks
//! at that moment would hold it open, and executing it would fail (ETXTBSY).

use super::place::{BINARY, Place};
use std::path::PathBuf;
use std::process::Command;

/// Puts a copy at `name` in the place, by rename, so that what runs from there is not disturbed.
/// `words` are those of a test image: `["version=0.2.0", "at=executed", "do=abort"]`; none for a plain
/// copy.
#[track_caller]
pub fn install(place: &Place, name: &str, words: &[&str]) -> PathBuf {
    let path = place.path(name);
    let line =
        if words.is_empty() { String::new() } else { format!("\n#masterd-test-image {}\n", words.join(" ")) };
    shell(
        "cp \"$1\" \"$2.new\" && printf %s \"$3\" >> \"$2.new\" && mv \"$2.new\" \"$2\"",
        &[BINARY, path.to_str().expect("a path in UTF-8"), &line],
    );
    path
}

/// Runs a script of `sh` with these arguments; it must succeed.
#[track_caller]
pub fn shell(script: &str, args: &[&str]) {
    let status = Command::new("sh").args(["-ec", script, "sh"]).args(args).status().expect("run sh");
    assert!(status.success(), "{script} {args:?}: {status}");
}
