//! What this image of masterd is: its version, and the versions of the handover it writes and reads.
//!
//! Asked by whoever tells or compares versions. The handover is the state that one image leaves to the
//! next (`master::handover`): `HANDOVER` is the version written here, `READABLE_FROM` the oldest
//! version whose reader understands that, `READS_FROM` the oldest version that is read here.
//!
//! Builds with debug assertions, and no others, look at the end of their own file for a line that
//! begins with `#masterd-test-image`: an image made for a test says there which version it pretends
//! to be and at which step it misbehaves. Never: looks at the environment or the config.

#[cfg(debug_assertions)]
use std::collections::BTreeMap;
#[cfg(debug_assertions)]
use std::sync::OnceLock;

/// Version of the handover that this image writes.
pub const HANDOVER: u32 = 1;
/// Readers from this version on understand it: what was added since is left out without harm.
pub const READABLE_FROM: u32 = 1;
/// The oldest version this image can read.
pub const READS_FROM: u32 = 1;

/// A point of an upgrade at which an image made for a test may misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A candidate, before it looks at anything.
    Candidate,
    /// A worker of a candidate.
    CandidateWorker,
    /// The new image, before it reads the state.
    Executed,
    /// The new image, when it has taken everything over.
    Restored,
    /// A worker of the new image, before it is ready.
    Worker,
    /// The new image, when its generation is ready and watched.
    Soaking,
}

/// The version, as `--version` and `status` tell it.
pub fn version() -> String {
    pretended("version").unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned())
}

/// Version of the handover written here, and the oldest version of a reader that understands it.
pub fn handover() -> (u32, u32) {
    let number = |key, otherwise| pretended(key).and_then(|n| n.parse().ok()).unwrap_or(otherwise);
    (number("handover", HANDOVER), number("readable_from", READABLE_FROM))
}

/// A key that no version knows, to be put into the handover.
pub fn unknown_key() -> Option<String> {
    pretended("unknown_key")
}

/// Misbehaves, if this image was made to at this step; nothing in a release build.
pub fn at(step: Step) {
    if pretended("at").is_some_and(|at| at == format!("{step:?}").to_lowercase()) {
        misbehave(&pretended("do").unwrap_or_default());
    }
}

#[cfg(not(debug_assertions))]
fn pretended(_: &str) -> Option<String> {
    None
}

#[cfg(not(debug_assertions))]
fn misbehave(_: &str) {}

#[cfg(debug_assertions)]
fn pretended(key: &str) -> Option<String> {
    static KEYS: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    KEYS.get_or_init(|| trailer().unwrap_or_default()).get(key).cloned()
}

/// The `key=value` words of the line at the end of our own file, if it is there.
#[cfg(debug_assertions)]
fn trailer() -> Option<BTreeMap<String, String>> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = std::fs::File::open("/proc/self/exe").ok()?;
    file.seek(SeekFrom::End(-512)).ok()?;
    let mut end = Vec::new();
    file.read_to_end(&mut end).ok()?;
    let text = String::from_utf8_lossy(&end);
    let line = text.rsplit_once("#masterd-test-image")?.1.to_owned();
    let pair = |word: &str| word.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
    Some(line.split_whitespace().filter_map(pair).collect())
}

#[cfg(debug_assertions)]
fn misbehave(how: &str) {
    match how {
        "exit" => std::process::exit(3),
        "leave" => std::process::exit(0),
        "complain" => {
            eprintln!("the first line\nthe last line of a failing program");
            std::process::exit(1);
        }
        "hang" => loop {
            std::thread::park();
        },
        "overflow" => drop(overflow(0)),
        "abort" => std::process::abort(),
        "panic" => std::panic::panic_any("made to panic"),
        _ => {}
    }
}

/// Uses up the stack: SIGSEGV.
#[cfg(debug_assertions)]
fn overflow(n: u64) -> u64 {
    if std::hint::black_box([n; 512])[0] == u64::MAX {
        return 0;
    }
    overflow(n + 1) + std::hint::black_box(1)
}
