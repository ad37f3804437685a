//! How an image begins that finds a state waiting: as a candidate, as the new image of an upgrade, or
//! as the old one that has to take over again.
//!
//! Asked first thing in `main`, before arguments are looked at: they are those of the first start. The
//! new image opens its way back before it reads a byte of the state. Whatever fails here ends in the
//! old image; in that one itself it can only be said, and the workers serve on alone until they leave.

use super::{CANDIDATE, HANDOVER, RETURN, crossing, environment, proof};
use crate::image;
use crate::inherit::WorkerMain;
use crate::master::boot;
use crate::master::handover::inventory::{self, Inherited, Survive};
use crate::master::handover::record::{Head, Record};
use crate::master::handover::restore;
use crate::master::turn::Shell;
use crate::model::WorkerId;
use crate::policy::Event;
use crate::sys::exec::{self, Program};
use crate::sys::ledger::Ledger;
use crate::sys::{fallback, fd, signal};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::time::Duration;

/// Does what the image before this one left to be done; `None` if there was none. The exit status.
pub fn inherited(args: &[CString], worker_main: WorkerMain) -> Option<i32> {
    let numbers = |name: &str| -> Option<Vec<RawFd>> {
        std::env::var(name).ok()?.split(',').map(|n| n.parse().ok()).collect()
    };
    let take = |n: RawFd| exec::adopt([n]).remove(&n);
    if let Some([state, answer]) = numbers(CANDIDATE).as_deref() {
        return Some(match (take(*state), take(*answer)) {
            (Some(state), Some(answer)) => proof::run(state, answer, worker_main),
            _ => stray(CANDIDATE),
        });
    }
    let named = numbers(HANDOVER)?;
    let code = match named.as_slice() {
        [state, old] => match (take(*state), take(*old)) {
            (Some(state), Some(old)) => succeed(state, old, args, worker_main),
            _ => stray(HANDOVER),
        },
        [state] => match take(*state) {
            Some(state) => take_over_again(state, args, worker_main),
            None => stray(HANDOVER),
        },
        _ => stray(HANDOVER),
    };
    Some(code)
}

fn stray(name: &str) -> i32 {
    eprintln!("masterd: {name} is set, but no masterd has set it for this process: unset it");
    2
}

/// The new image.
fn succeed(state: OwnedFd, old: OwnedFd, args: &[CString], worker_main: WorkerMain) -> i32 {
    let way_back = environment(Some((HANDOVER, state.as_raw_fd().to_string())));
    let armed = signal::block_all().and_then(|()| exec::inherit(old.as_fd(), false)).and_then(|()| {
        let old = Program { fd: old, path: PathBuf::new() };
        fallback::arm(old, args, &way_back, RETURN)
    });
    image::at(image::Step::Executed);
    let restored = armed.and_then(|()| restore(state, args, worker_main));
    match restored {
        Ok((mut shell, state)) => {
            image::at(image::Step::Restored);
            shell.trial = Some(state);
            crossing::checkpoint(&mut shell);
            shell.queue.push_back(Event::Restored);
            boot::resume(shell)
        }
        Err(e) => {
            fallback::go_back(&format!("cannot take over: {e}"));
            eprintln!("masterd: the new binary cannot take over, and the old one cannot be executed: {e}");
            1
        }
    }
}

/// The old image, once more.
fn take_over_again(state: OwnedFd, args: &[CString], worker_main: WorkerMain) -> i32 {
    let why = std::env::var(RETURN).map(|reason| fallback::in_words(&reason)).ok();
    let prepared = signal::block_all().and_then(|()| fallback::timer(Duration::ZERO));
    let restored = prepared.and_then(|()| restore(state, args, worker_main)).map(|(shell, _state)| shell);
    match restored.and_then(|shell| inventory::survive(&shell, Survive::Nothing).map(|()| shell)) {
        Ok(mut shell) => {
            shell.queue.push_back(Event::Returned { why });
            // Decided on by the image that crashed, and not started any more.
            let unborn = shell.fleet.workers.keys().filter(|id| !shell.crew.handles.contains_key(id));
            let lost = |id: &WorkerId| {
                let how = "was not started: its image ended first".to_owned();
                Event::Died { worker: *id, how, gave_up: false }
            };
            let lost: Vec<Event> = unborn.map(lost).collect();
            shell.queue.extend(lost);
            boot::resume(shell)
        }
        Err(e) => {
            eprintln!("masterd: the old binary cannot take over again: {e}; the workers drain and leave");
            1
        }
    }
}

fn restore(state: OwnedFd, args: &[CString], worker_main: WorkerMain) -> io::Result<(Shell, Ledger)> {
    let state = Ledger::open(state)?;
    let bytes = state.read()?;
    let head: Head = serde_json::from_slice(&bytes)?;
    if let Some(why) = head.refusal() {
        return Err(io::Error::other(why));
    }
    let record: Record = serde_json::from_slice(&bytes)?;
    let fds = Inherited::adopt(&record.fds);
    fd::fill_standard()?;
    Ok((restore::shell(record, fds, args.to_vec(), worker_main)?, state))
}
