//! A binary upgrade in place: the process stays, the program in it is another.
//!
//! `candidate` starts the new program as a child and hears what it proved; `proof` is what that child
//! does; `crossing` executes another image, forward or back, and keeps the way back open until the
//! verdict; `successor` is how an image begins that finds a state waiting. What is to be done, and
//! when, `policy::upgrade` decides.

pub mod candidate;
pub mod crossing;
mod proof;
mod successor;

pub use successor::inherited;

use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;

/// The state, and for a new image: the descriptors of both are in the value, as numbers.
const HANDOVER: &str = "MASTERD_HANDOVER";
/// For a candidate: the state, and where its answer goes.
const CANDIDATE: &str = "MASTERD_CANDIDATE";
/// For an old image that has to take over again: why.
const RETURN: &str = "MASTERD_RETURN";

/// The environment of this process without what images say to each other, and with one word more.
fn environment(word: Option<(&str, String)>) -> Vec<CString> {
    let ours = |name: &std::ffi::OsStr| [HANDOVER, CANDIDATE, RETURN].iter().any(|n| *n == name);
    let entry = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        let bytes = [name.into_vec(), b"=".to_vec(), value.into_vec()].concat();
        CString::new(bytes).ok()
    };
    let inherited = std::env::vars_os().filter(|(name, _)| !ours(name)).filter_map(entry);
    let own = word.and_then(|(name, value)| CString::new(format!("{name}={value}")).ok());
    inherited.chain(own).collect()
}
