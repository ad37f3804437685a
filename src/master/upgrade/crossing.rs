//! Executing another image, forward or back, and the way back in between.
//!
//! `cross` is called by the loop when nothing else is left to be done: the state is written, the
//! descriptors are made to survive, and the program in this process is another. From then until the
//! verdict the new image keeps the state up to date (`checkpoint`, `prove_alive`), so that the old one,
//! executed by a crash at any moment, finds what is true. `commit` closes the way back.

use super::{HANDOVER, environment};
use crate::image;
use crate::master::asks;
use crate::master::handover;
use crate::master::handover::inventory::{self, Survive};
use crate::master::samples;
use crate::master::turn::{Purpose, Shell};
use crate::model::fleet::Step;
use crate::policy::Event;
use crate::sys::exec::{self, Program};
use crate::sys::ledger::Ledger;
use crate::sys::{clock, fallback};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// How long a new image may stand still before the old one takes over again.
pub const STANDSTILL: Duration = Duration::from_secs(5);

/// Which image is to be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossing {
    /// The one that the candidate has proved.
    Forward,
    /// The one before this.
    Back,
}

/// Executes the image that is to be; true if that failed and an event tells so.
pub fn cross(shell: &mut Shell) -> bool {
    match shell.crossing.take() {
        None => false,
        Some(Crossing::Forward) => {
            let why = forward(shell);
            // This image stays: nothing it holds may reach programs that are not its own.
            let undone =
                fallback::timer(Duration::ZERO).and_then(|()| inventory::survive(shell, Survive::Nothing));
            if let Err(e) = undone {
                slog::error!(shell.log, "cannot undo what an upgrade prepared: {}", e);
            }
            shell.queue.push_back(Event::ExecFailed { why: format!("cannot execute the new binary: {why}") });
            true
        }
        Some(Crossing::Back) => {
            let why = back(shell);
            slog::error!(shell.log, "cannot execute the old binary again, so this one goes on: {}", why);
            let why = format!("came to nothing, and the old one cannot be executed again: {why}");
            close_the_way_back(shell);
            shell.queue.push_back(Event::Returned { why: Some(why) });
            true
        }
    }
}

/// Comes back only with the reason why not.
fn forward(shell: &mut Shell) -> io::Error {
    let Some(program) = shell.proved.take() else { return io::Error::other("no program has proved itself") };
    end_readings(shell);
    samples::give_up(shell);
    shell.sink.flush();
    match prepare(shell, &program) {
        Ok((_state, _old, word)) => program.execute(&shell.origin.args, &environment(Some((HANDOVER, word)))),
        Err(e) => e,
    }
}

/// The state, the old image, and the numbers of both for the new one.
fn prepare(shell: &mut Shell, program: &Program) -> io::Result<(Ledger, Program, String)> {
    let old = Program::running()?;
    let mut state = Ledger::create("masterd-state")?;
    state.replace(&handover::bytes(&handover::describe(shell)?)?)?;
    inventory::survive(shell, Survive::Everything)?;
    exec::inherit(state.as_fd(), true)?;
    exec::inherit(old.fd.as_fd(), true)?;
    slog::debug!(shell.log, "executing {}", program.path.display());
    fallback::timer(STANDSTILL)?;
    let word = format!("{},{}", state.as_fd().as_raw_fd(), old.fd.as_raw_fd());
    Ok((state, old, word))
}

/// Dry runs under way can't be carried across: whoever asked is told.
fn end_readings(shell: &mut Shell) {
    for (_, reading) in std::mem::take(&mut shell.readings) {
        reading.child.end();
        if let Purpose::DryRun { client, .. } = reading.purpose {
            asks::interrupted(shell, client);
        }
    }
}

fn back(shell: &mut Shell) -> io::Error {
    shell.sink.flush();
    let saved = save(shell).and_then(|()| inventory::survive(shell, Survive::Everything));
    if let Err(e) = saved {
        return e;
    }
    fallback::go_back("gave up");
    // It comes back only when execveat(2) does.
    io::Error::last_os_error()
}

fn save(shell: &mut Shell) -> io::Result<()> {
    let document = handover::bytes(&handover::describe(shell)?)?;
    match &mut shell.trial {
        Some(state) => state.replace(&document),
        None => Err(io::Error::other("there is no way back")),
    }
}

/// On trial: what the old image would find is made true. Called as soon as a birth is on record.
pub fn checkpoint(shell: &mut Shell) {
    if shell.trial.is_none() {
        return;
    }
    if let Err(e) = save(shell).and_then(|()| inventory::survive(shell, Survive::AllButTrial)) {
        slog::error!(shell.log, "cannot keep the state for the old binary: {}", e);
    }
}

/// On trial: the state alone, in one write. Called when a death is about to count.
pub fn keep_state(shell: &mut Shell) {
    if shell.trial.is_some()
        && let Err(e) = save(shell)
    {
        slog::error!(shell.log, "cannot keep the state for the old binary: {}", e);
    }
}

/// Once a turn, on trial: the state is kept, and the timer against a standstill put off.
pub fn prove_alive(shell: &mut Shell) {
    if shell.trial.is_none() {
        return;
    }
    checkpoint(shell);
    if let Err(e) = fallback::timer(STANDSTILL) {
        slog::error!(shell.log, "{}", e);
    }
    if shell.fleet.rollover.as_ref().is_some_and(|r| matches!(r.step, Step::Soaking(_))) {
        image::at(image::Step::Soaking);
    }
}

/// The verdict is good: this image is the one in force.
pub fn commit(shell: &mut Shell, binary: Option<String>) {
    close_the_way_back(shell);
    (shell.image_version, shell.image_since) = (image::version(), clock::wall_ns());
    if let Some(binary) = binary {
        shell.origin.binary = binary.into();
    }
}

fn close_the_way_back(shell: &mut Shell) {
    shell.trial = None;
    let closed = fallback::disarm().and_then(|()| inventory::survive(shell, Survive::Nothing));
    if let Err(e) = closed {
        slog::error!(shell.log, "cannot end the trial of this binary properly: {}", e);
    }
}

/// The upgrade is off: no candidate, no image to be executed.
pub fn cancel(shell: &mut Shell) {
    if let Some(candidate) = shell.candidate.take() {
        candidate.end();
    }
    shell.proved = None;
    shell.crossing = None;
}
