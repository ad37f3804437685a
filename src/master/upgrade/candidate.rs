//! The new binary as a child that proves itself: the master's side of it.
//!
//! It gets the state, copies of the listeners and pages, a file for its answer and one for what it
//! prints, and nothing else. It is heard when it has ended; what it can't say (it crashed, it is
//! another program) its end says. The program stays open: what was tried is what is executed.

use super::{CANDIDATE, environment};
use crate::master::handover::{self, inventory};
use crate::master::inbox::CANDIDATE as TOKEN;
use crate::master::turn::Shell;
use crate::policy::{Event, Proof, Refused};
use crate::sys::exec::{self, Program};
use crate::sys::fork::{self, Side};
use crate::sys::ledger::Ledger;
use crate::sys::process::{self, Exit, Pidfd};
use crate::sys::{fd, shm, signal, title};
use mio::Interest;
use mio::unix::SourceFd;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

/// Largest answer, bytes.
const ANSWER: usize = 1 << 20;
/// Most of what it prints that is looked at, and how many lines of it are told.
const PRINTED: usize = 64 << 10;
const LAST_LINES: usize = 10;

/// What a candidate says at its end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    pub version: String,
    /// Why it can't take over; `None` if it can.
    pub refusal: Option<String>,
    #[serde(default)]
    pub lines: Vec<String>,
}

impl Answer {
    /// Says it, where the parent reads it.
    pub fn give(&self, to: BorrowedFd<'_>) -> io::Result<()> {
        shm::append(to, &serde_json::to_vec(self)?)
    }
}

/// A new binary at work on its proof.
#[derive(Debug)]
pub struct Candidate {
    pub pid: i32,
    pidfd: Pidfd,
    program: Program,
    answer: OwnedFd,
    printed: OwnedFd,
}

impl Candidate {
    /// Ends it; it is reaped as a stranger.
    pub fn end(&self) {
        // It is ours and not reaped, so the signal reaches it and nobody else.
        let _ = self.pidfd.send_signal(9);
    }
}

fn refused(why: impl Into<String>) -> Refused {
    Refused { version: None, why: why.into(), lines: Vec::new() }
}

/// Opens the program and starts it; the answer comes as an event when it has ended.
pub fn start(shell: &mut Shell, binary: Option<&str>) -> Result<(), Refused> {
    let program = open(&shell.origin.binary, binary).map_err(|e| refused(format!("cannot {e}")))?;
    slog::info!(shell.log, "trying {}", program.path.display());
    let begun = begin(shell, &program);
    let (pid, pidfd, answer, printed) =
        begun.map_err(|e| refused(format!("cannot try {}: {e}", program.path.display())))?;
    shell.candidate = Some(Candidate { pid, pidfd, program, answer, printed });
    Ok(())
}

/// The program asked for; else the one where the running one came from, or, if that place is gone (its
/// folder was moved), where it lies now.
fn open(origin: &Path, binary: Option<&str>) -> io::Result<Program> {
    if let Some(path) = binary {
        return Program::open(Path::new(path));
    }
    match (Program::open(origin), exec::present()) {
        (Err(e), Some(moved)) if e.kind() == io::ErrorKind::NotFound && moved != origin => {
            Program::open(&moved).map_err(|_| e)
        }
        (opened, _) => opened,
    }
}

fn begin(shell: &mut Shell, program: &Program) -> io::Result<(i32, Pidfd, OwnedFd, OwnedFd)> {
    let mut state = Ledger::create("masterd-state")?;
    state.replace(&handover::bytes(&handover::describe(shell)?)?)?;
    let answer = shm::scratch("masterd-answer")?;
    let printed = shm::scratch("masterd-printed")?;
    let parent = process::pid();
    let (pid, pidfd) = match fork::fork()? {
        Side::Parent { pid, pidfd } => (pid, pidfd),
        Side::Child => {
            let keep = inventory::for_candidate(shell);
            execute(program, &shell.origin.args, (&state, &answer, &printed), &keep, parent)
        }
    };
    let source = pidfd.as_raw_fd();
    if let Err(e) = shell.poll.registry().register(&mut SourceFd(&source), TOKEN, Interest::READABLE) {
        // Nobody would hear of it; it is reaped as a stranger.
        let _ = pidfd.send_signal(9);
        return Err(e);
    }
    Ok((pid, pidfd, answer, printed))
}

/// The child's side: it becomes the candidate.
fn execute(
    program: &Program,
    args: &[std::ffi::CString],
    (state, answer, printed): (&Ledger, &OwnedFd, &OwnedFd),
    keep: &[RawFd],
    parent: i32,
) -> ! {
    title::set("masterd: a new binary on trial");
    let numbers = format!("{},{}", state.as_fd().as_raw_fd(), answer.as_raw_fd());
    let own = [state.as_fd().as_raw_fd(), answer.as_raw_fd(), printed.as_raw_fd(), program.fd.as_raw_fd()];
    let all: Vec<RawFd> = own.iter().chain(keep).copied().collect();
    let prepared = fd::null_over(&[0])
        .and_then(|()| fd::over(printed.as_fd(), 1))
        .and_then(|()| fd::over(printed.as_fd(), 2))
        .and_then(|()| fd::close_all_except(&all))
        .and_then(|()| exec::inherit_numbers(&[own[0], own[1]], keep))
        .and_then(|()| process::die_with(parent))
        .and_then(|there| signal::unblock_all().map(|()| there));
    let failed = match prepared {
        // Nobody is left to answer to.
        Ok(false) => fork::exit_now(1),
        Ok(true) => program.execute(args, &environment(Some((CANDIDATE, numbers)))),
        Err(e) => e,
    };
    let refusal = Some(format!("cannot start it: {failed}"));
    let written = Answer { refusal, ..Answer::default() }.give(answer.as_fd());
    fork::exit_now(i32::from(written.is_err()))
}

/// The candidate's pidfd is readable: what it proved, or why it did not.
pub fn ended(shell: &mut Shell, out: &mut Vec<Event>) {
    let exit = match shell.candidate.as_ref().map(|c| c.pidfd.try_reap()) {
        None | Some(Ok(None)) => return,
        Some(Ok(Some(exit))) => exit,
        Some(Err(_)) => Exit::Code(-1),
    };
    let Some(candidate) = shell.candidate.take() else { return };
    let result = judge(&candidate, exit);
    if result.is_ok() {
        shell.proved = Some(candidate.program);
    }
    out.push(Event::Candidate(result));
}

fn judge(candidate: &Candidate, exit: Exit) -> Result<Proof, Refused> {
    let path = candidate.program.path.display();
    let answer = shm::read_all(candidate.answer.as_fd(), ANSWER)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Answer>(&bytes).ok());
    let how = exit.to_string();
    match answer {
        Some(Answer { version, refusal: Some(why), lines }) => {
            let version = Some(version).filter(|v| !v.is_empty());
            Err(Refused { version, why, lines })
        }
        Some(Answer { version, refusal: None, .. }) if exit == Exit::Code(0) => Ok(Proof { version }),
        Some(Answer { version, .. }) => {
            let why = format!("the new binary {path} {how} after its proof");
            Err(Refused { version: Some(version), why, lines: last_lines(candidate) })
        }
        None => {
            let hint = match exit {
                Exit::Code(0) => " without a word: it is no masterd that can take over",
                _ => " before it had proved itself",
            };
            let why = format!("the new binary {path} {how}{hint}");
            Err(Refused { version: None, why, lines: last_lines(candidate) })
        }
    }
}

/// What it printed last.
fn last_lines(candidate: &Candidate) -> Vec<String> {
    let printed = shm::read_all(candidate.printed.as_fd(), PRINTED).unwrap_or_default();
    let text = String::from_utf8_lossy(&printed);
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().rev().take(LAST_LINES).rev().map(|line| (*line).to_owned()).collect()
}
