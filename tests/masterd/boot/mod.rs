//! How a master starts, or says why it does not.
//!
//! `configs`: what the file says and where it lies. `addresses`: what can't be bound. `rivals`: two
//! masters, stale files. `inherited`: what a careless parent leaves. `daemon`, `workers`: what they
//! are made into.

mod addresses;
mod configs;
mod daemon;
mod inherited;
mod rivals;
mod workers;

use super::harness::{Output, Place};

/// Runs `masterd -c masterd.toml`, which must fail with this status and leave nothing behind but
/// the files that were there; what it said.
#[track_caller]
fn refused(place: &Place, config: &str, code: i32) -> String {
    place.config(config);
    let before = place.files();
    let Output { stderr, stdout, .. } = place.run(&["-c", "masterd.toml"]).expect(code);
    assert_eq!(stdout, "", "errors go to stderr");
    assert_eq!(place.files(), before, "a start that failed leaves nothing: {stderr}");
    stderr
}
