//! The descendants of this process, as a supervisor sees them: who there is, what became of them, signals
//! to all of them, what they use.
//!
//! A subreaper (`become_subreaper`) inherits whoever loses its parent below it, so that everything a
//! program starts stays within reach, however often it forks, whatever group or session it enters.
//! Signals go through pidfds, and only to whom is still a descendant once the pidfd is open: a pid
//! that has changed hands is never hit. `kill_children` is for the process above, which outlived the
//! supervisor. Never: waits, or signals this process.

use super::failure::Tried;
use super::process::{self, Exit, Pidfd, wait_id};
use super::{errno, procfs};
use nix::unistd::{Pid, getpgid};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// How often a killing sweep looks for what was born meanwhile.
const SWEEPS: usize = 64;

/// prctl(PR_SET_CHILD_SUBREAPER): descendants that lose their parent become our children. Linux 3.4.
///
/// fork does not pass it on, exec keeps it.
pub fn become_subreaper() -> io::Result<()> {
    nix::sys::prctl::set_child_subreaper(true).tried(|| "become the subreaper of all descendants".into())
}

/// All living descendants, parents before children; zombies are left out.
///
/// Read from /proc/PID/task/TID/children (CONFIG_PROC_CHILDREN), or, where the kernel keeps no such lists,
/// from everybody's parent in /proc/PID/stat. A snapshot taken while they live on: one that changes its
/// parent meanwhile can be missed, and is found the next time. On a /proc with `hidepid` only those are
/// found that it shows to us.
pub fn descendants() -> io::Result<Vec<i32>> {
    if procfs::lists_children() { by_lists() } else { by_parents() }
}

fn by_lists() -> io::Result<Vec<i32>> {
    tree(|pid| {
        let mut alive = Vec::new();
        for child in procfs::listed_children(pid)? {
            // A process that has ended has no children any more.
            if procfs::stat(child)?.is_some_and(|stat| stat.is_alive()) {
                alive.push(child);
            }
        }
        Ok(alive)
    })
}

fn by_parents() -> io::Result<Vec<i32>> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for (pid, stat) in procfs::all()?.into_iter().filter(|(_, stat)| stat.is_alive()) {
        children.entry(stat.parent).or_default().push(pid);
    }
    tree(|pid| Ok(children.remove(&pid).unwrap_or_default()))
}

/// Everybody below us, each once, generation by generation.
fn tree(mut children: impl FnMut(i32) -> io::Result<Vec<i32>>) -> io::Result<Vec<i32>> {
    let mut found = children(process::pid())?;
    let mut seen: BTreeSet<i32> = found.iter().copied().collect();
    let mut asked = 0;
    while let Some(&pid) = found.get(asked) {
        asked += 1;
        // One that changed its parent while we were reading may be listed twice.
        found.extend(children(pid)?.into_iter().filter(|child| seen.insert(*child)));
    }
    Ok(found)
}

/// What became of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has ended, and is reaped.
    Ended(Exit),
    /// It was stopped by this signal.
    Stopped(i32),
    Continued,
}

/// What has changed among our children, one at a time: pid and change, None when there is nothing new.
///
/// waitid(2) with WEXITED, WSTOPPED, WCONTINUED and WNOHANG. It takes the end of any child, also of one
/// that a `Pidfd` watches, whose `try_reap` fails from then on.
pub fn changed() -> io::Result<Option<(i32, Change)>> {
    let waited = match wait_id(libc::P_ALL, 0, libc::WEXITED | libc::WSTOPPED | libc::WCONTINUED) {
        Err(error) if errno(&error) == Some(libc::ECHILD) => return Ok(None),
        other => other.tried(|| "ask what has changed among the children".into())?,
    };
    Ok(waited.map(|waited| {
        let change = match waited.code {
            libc::CLD_STOPPED | libc::CLD_TRAPPED => Change::Stopped(waited.status),
            libc::CLD_CONTINUED => Change::Continued,
            _ => Change::Ended(waited.exit()),
        };
        (waited.pid, change)
    }))
}

/// Sends a signal to every descendant, parents first; how many were reached. In a process that is no
/// subreaper the children of one that dies of it are out of reach before it is their turn.
///
/// With SIGKILL it looks again until nobody new is found, so that what was born meanwhile is killed as
/// well; other signals go once to each that was there. Errors: what a look at /proc says; the first
/// signal that could not be sent (EPERM, when a program has taken on another identity), after all others
/// were.
pub fn signal_all(number: i32) -> io::Result<usize> {
    sweep(number, &descendants, &descends)
}

/// Whether this process is below us, as of now.
fn descends(pid: i32) -> io::Result<bool> {
    let us = process::pid();
    let mut at = pid;
    loop {
        match procfs::stat(at)? {
            Some(stat) if stat.parent == us => return Ok(true),
            Some(stat) if stat.parent > 1 => at = stat.parent,
            // An ancestor has ended meanwhile, and left its children to another: from the start.
            None if at != pid => at = pid,
            _ => return Ok(false),
        }
    }
}

/// What `kill_children` has found.
#[derive(Debug)]
pub struct Killed {
    pub reached: Vec<i32>,
    /// One had ended, or did so meanwhile: its children may have become ours after the list was read.
    pub ended: bool,
}

/// Kills those of our children that `which` says yes to, by pid and session. For a
/// subreaper whose children were subreapers themselves and have died: what these had, is ours now.
///
/// One read of our list of children (`procfs::children`); what is below them comes to us as they die, and
/// takes another call. A child's pid is nobody else's before it is reaped here. SIGKILL, pidfd_send_signal(2).
/// Errors: what a look at /proc says; the first signal that could not be sent, after all others were.
pub fn kill_children(which: &dyn Fn(i32, i32) -> bool) -> io::Result<Killed> {
    let (mut killed, mut failed) = (Killed { reached: Vec::new(), ended: false }, None);
    for pid in procfs::children(process::pid())? {
        // Nobody reaps it meanwhile but us.
        let Some(stat) = procfs::stat(pid)?.filter(|stat| which(pid, stat.session)) else { continue };
        if !stat.is_alive() {
            killed.ended = true;
            continue;
        }
        match reach(pid, libc::SIGKILL, &|_| Ok(true)) {
            Ok(true) => killed.reached.push(pid),
            Ok(false) => killed.ended = true,
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(killed), Err)
}

/// Whether this process has children that live. Before it has made any: whoever executed it in its own place
/// had them.
pub fn has_children() -> io::Result<bool> {
    for pid in procfs::children(process::pid())? {
        if procfs::stat(pid)?.is_some_and(|stat| stat.is_alive()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether no child of this process is left, not even one that has ended: ECHILD of waitid(2).
///
/// Of a subreaper that is exact: whoever descends from it has an ancestor among its children, or is one. A list
/// of /proc may miss those that are being born.
pub fn is_alone() -> io::Result<bool> {
    match wait_id(libc::P_ALL, 0, libc::WEXITED | libc::WNOWAIT) {
        Ok(_) => Ok(false),
        Err(error) if errno(&error) == Some(libc::ECHILD) => Ok(true),
        Err(error) => Err(error).tried(|| "ask for children".into()),
    }
}

/// Sends a signal to everybody on the list who still belongs there when it is sent.
fn sweep(
    number: i32,
    list: &dyn Fn() -> io::Result<Vec<i32>>,
    belongs: &dyn Fn(i32) -> io::Result<bool>,
) -> io::Result<usize> {
    let mut reached = BTreeSet::new();
    let mut failed = None;
    for _ in 0..SWEEPS {
        let before = reached.len();
        for pid in list()?.into_iter().filter(|pid| !reached.contains(pid)).collect::<Vec<_>>() {
            match reach(pid, number, belongs) {
                Ok(true) => drop(reached.insert(pid)),
                Ok(false) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if number != libc::SIGKILL || reached.len() == before {
            break;
        }
    }
    failed.map_or(Ok(reached.len()), Err)
}

/// The handle first and the question afterwards: whoever the handle is for can't be another then, and if
/// it has ended since, and its pid is another's, the handle reaches nobody.
fn reach(pid: i32, number: i32, belongs: &dyn Fn(i32) -> io::Result<bool>) -> io::Result<bool> {
    let handle = match Pidfd::open(pid) {
        Err(error) if errno(&error) == Some(libc::ESRCH) => return Ok(false),
        other => other?,
    };
    if !belongs(pid)? {
        return Ok(false);
    }
    handle.send_signal(number).tried(|| format!("signal process {pid}"))
}

/// The process group of a process; None if it is gone. getpgid(2).
pub fn process_group(pid: i32) -> Option<i32> {
    getpgid(Some(Pid::from_raw(pid))).ok().map(Pid::as_raw)
}

/// CPU time in user and kernel mode so far, nanoseconds, in steps of a clock tick, 10 ms: utime and stime of
/// /proc/PID/stat. Those that are gone have used nothing.
pub fn cpu(pids: &[i32]) -> u64 {
    let ticks = pids.iter().filter_map(|pid| procfs::stat(*pid).ok()?).map(|stat| stat.ticks);
    ticks.fold(0, u64::saturating_add).saturating_mul(procfs::tick_ns())
}

/// Resident memory, bytes, each page in equal parts to all that have it: Pss of /proc/PID/smaps_rollup, Linux
/// 4.14. Those that are gone use nothing. If one of them can't be read, all are estimated.
///
/// It is dear: the kernel walks all their pages, a millisecond for some hundred MiB.
pub fn memory(pids: &[i32]) -> u64 {
    let sum = pids.iter().try_fold(0u64, |sum, pid| Some(sum.saturating_add(procfs::proportional(*pid)?)));
    sum.unwrap_or_else(|| estimate(pids))
}

/// The private part of each is added up, and the largest shared part of any is put on top: what a fork has in
/// common with its parent until one of them writes to it counts as private to both.
fn estimate(pids: &[i32]) -> u64 {
    let (mut private, mut shared) = (0u64, 0);
    for memory in pids.iter().filter_map(|pid| procfs::memory(*pid)) {
        private = private.saturating_add(memory.resident.saturating_sub(memory.shared));
        shared = shared.max(memory.shared);
    }
    private.saturating_add(shared)
}

#[cfg(test)]
mod tests;
