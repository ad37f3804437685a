//! Where a command's output goes, and how a command ends.
//!
//! Every view and verb writes to a `Console` and ends with `Result<(), Failure>`, so that tests hold
//! both in their hands. `report` turns the end into the exit status of the manual.
//! A reader that goes away (`masterd events | head`) is no failure: it ends the command with 0.

use super::text::clean;
use std::io::{self, IsTerminal, Write};

/// The exit statuses, a contract with other people's scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    /// Tried and failed, or refused.
    Failed = 1,
    /// Wrong usage, or a bad config.
    Usage = 2,
    /// No master answers.
    NoMaster = 3,
    NotPermitted = 4,
}

/// Why a command did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub exit: Exit,
    /// One sentence; empty when there is nothing to say.
    pub text: String,
    /// Further lines, printed as they are.
    pub lines: Vec<String>,
}

impl Failure {
    pub fn new(exit: Exit, text: impl Into<String>) -> Failure {
        Failure { exit, text: text.into(), lines: Vec::new() }
    }
}

impl From<io::Error> for Failure {
    /// An error of writing output.
    fn from(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Failure::new(Exit::Done, "")
        } else {
            Failure::new(Exit::Failed, format!("cannot write the output: {error}"))
        }
    }
}

/// The two streams of a command and what is known of them.
pub struct Console<'a> {
    pub out: &'a mut dyn Write,
    pub err: &'a mut dyn Write,
    /// Screens may be redrawn on `out`.
    pub live: bool,
    /// A bar may be drawn on the terminal behind `err`.
    pub bar: bool,
    pub colour: bool,
}

/// Runs a command on the standard streams and gives its exit status.
pub fn on_standard_streams(command: impl FnOnce(&mut Console) -> Result<(), Failure>) -> i32 {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr());
    let live = out.is_terminal();
    let bar = err.is_terminal();
    let colour = live && wants_colour();
    let mut console = Console { out: &mut out, err: &mut err, live, bar, colour };
    let ended = command(&mut console);
    report(ended, &mut console) as i32
}

/// <https://no-color.org>: any value but the empty one turns colour off.
fn wants_colour() -> bool {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty());
    set("NO_COLOR").is_none() && set("TERM").is_some_and(|t| t != "dumb")
}

/// Says on stderr why a command failed, and gives its exit status.
pub fn report(ended: Result<(), Failure>, console: &mut Console) -> Exit {
    let ended = ended.and_then(|()| Ok(console.out.flush()?));
    let Err(failure) = ended else { return Exit::Done };
    // A stderr that can't be written leaves nobody to tell; the exit status still does.
    if !failure.text.is_empty() {
        let _ = writeln!(console.err, "masterd: {}", clean(&failure.text));
    }
    for line in &failure.lines {
        let _ = writeln!(console.err, "{}", clean(line));
    }
    failure.exit
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Closed(io::ErrorKind);
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn ended_on(kind: io::ErrorKind) -> (Exit, String) {
        let (mut out, mut err) = (Closed(kind), Vec::new());
        let mut console = Console { out: &mut out, err: &mut err, live: false, bar: false, colour: false };
        let ended = writeln!(console.out, "x").map_err(Failure::from);
        let exit = report(ended, &mut console);
        (exit, String::from_utf8(err).unwrap())
    }

    #[test]
    fn a_reader_that_left_is_no_failure_but_a_full_disk_is() {
        assert_eq!(ended_on(io::ErrorKind::BrokenPipe), (Exit::Done, String::new()));
        let (exit, said) = ended_on(io::ErrorKind::StorageFull);
        assert_eq!(exit, Exit::Failed);
        assert!(said.starts_with("masterd: cannot write the output: "), "{said}");
    }
}
