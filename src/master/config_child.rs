//! Reading a config in a forked child with a deadline: what could block or run foreign code
//! (dead mounts, FIFOs, NSS modules) never runs in the master.
//!
//! `start` forks, the answer is in a memfd when the child has ended, `finish` reads it. A child that
//! takes too long is killed by the shell, and the sentence says so. The child touches nothing, and
//! ends with its parent.

use crate::config::{self, Config};
use crate::sys::fork::{self, Side};
use crate::sys::process::{self, Pidfd};
use crate::sys::{fd, shm, signal, title};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long reading a config may take.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Largest answer, bytes.
const LIMIT: usize = 64 << 20;

/// What the child found.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Findings {
    pub config: Option<Config>,
    pub warnings: Vec<String>,
    /// Empty if and only if there is a config.
    pub problems: Vec<String>,
}

/// A config being read.
#[derive(Debug)]
pub struct Child {
    pub pid: i32,
    pub pidfd: Pidfd,
    path: PathBuf,
    answer: OwnedFd,
}

/// Forks a child that reads the config at `path`.
pub fn start(path: &Path) -> io::Result<Child> {
    let answer = shm::scratch("masterd-config")?;
    let parent = process::pid();
    match fork::fork()? {
        Side::Parent { pid, pidfd } => Ok(Child { pid, pidfd, path: path.to_owned(), answer }),
        Side::Child => read_and_exit(path, &answer, parent),
    }
}

fn read_and_exit(path: &Path, answer: &OwnedFd, parent: i32) -> ! {
    title::set("masterd: reading the config");
    let prepared = fd::close_all_except(&[answer.as_raw_fd()])
        .and_then(|()| signal::unblock_all())
        .and_then(|()| process::die_with(parent));
    let findings = match prepared {
        // Nobody is left to answer to.
        Ok(false) => fork::exit_now(1),
        Err(e) => Findings {
            problems: vec![format!("cannot prepare to read the config: {e}")],
            ..Findings::default()
        },
        Ok(true) => read(path),
    };
    let written =
        serde_json::to_vec(&findings).map_err(io::Error::from).and_then(|b| shm::append(answer.as_fd(), &b));
    fork::exit_now(i32::from(written.is_err()))
}

/// Reads a config in this process: for the child, and for a CLI that may block.
pub fn read(path: &Path) -> Findings {
    let say = |problems: &[config::Problem]| problems.iter().map(ToString::to_string).collect();
    match config::load(path) {
        Ok(loaded) => {
            Findings { config: Some(loaded.config), warnings: say(&loaded.warnings), problems: Vec::new() }
        }
        Err(problems) => Findings { config: None, warnings: Vec::new(), problems: say(&problems) },
    }
}

impl Child {
    /// The child has ended (`how`): what it found.
    pub fn finish(self, how: &str, clean: bool) -> Findings {
        let path = self.path.display();
        let fail = |why: String| Findings { problems: vec![why], ..Findings::default() };
        if !clean {
            return fail(format!("cannot read {path}: the reading process {how}"));
        }
        let answer = shm::read_all(self.answer.as_fd(), LIMIT)
            .and_then(|bytes| serde_json::from_slice::<Findings>(&bytes).map_err(io::Error::from));
        match answer {
            Ok(findings) if findings.config.is_some() != findings.problems.is_empty() => {
                fail(format!("cannot read {path}: the reading process contradicts itself"))
            }
            Ok(findings) => findings,
            Err(e) => fail(format!("cannot read {path}: its answer is unreadable: {e}")),
        }
    }

    /// Ends a child whose answer nobody wants any more; it is reaped as a stranger.
    pub fn end(&self) {
        // It is ours and not reaped, so the signal reaches it and nobody else.
        let _ = self.pidfd.send_signal(9);
    }

    /// Ends a child that takes too long.
    pub fn give_up(self) -> Findings {
        self.end();
        let path = self.path.display();
        let why = format!(
            "reading {path} took longer than {PATIENCE:?} (a FIFO, a file on a dead mount, or a name service that hangs?)"
        );
        Findings { problems: vec![why], ..Findings::default() }
    }
}
