//! Which processes there are, by /proc: those of a process group, their states and parents.
//!
//! Every master is started as the leader of a group of its own, and its children stay in it, so the
//! group tells what a test has left behind. This process is a subreaper: orphans come to it and are
//! reaped here, whatever the machine's init does.

use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use std::fs;

/// One process, as /proc/PID/stat tells it (proc(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proc {
    pub pid: i32,
    pub name: String,
    pub state: char,
    pub parent: i32,
    pub group: i32,
}

/// The process, if there is one of that number.
pub fn look(pid: i32) -> Option<Proc> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold blanks and brackets; what follows starts behind its last bracket.
    let (head, rest) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    Some(Proc { pid, name, state, parent, group })
}

/// All processes that satisfy `test`.
pub fn all(test: impl Fn(&Proc) -> bool) -> Vec<Proc> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    pids.filter_map(look).filter(test).collect()
}

/// The living processes of a group. Orphans that have ended are reaped by the way; `leader` is left
/// to whoever started it.
pub fn living(group: i32, leader: i32) -> Vec<Proc> {
    let me = nix::unistd::getpid().as_raw();
    let mut found = all(|p| p.group == group);
    for orphan in found.iter().filter(|p| p.state == 'Z' && p.parent == me && p.pid != leader) {
        // Ours by adoption and ended; a test that looks at the same group may be quicker.
        let _ = waitpid(Pid::from_raw(orphan.pid), Some(WaitPidFlag::WNOHANG));
    }
    found.retain(|p| p.state != 'Z');
    found
}

/// Living keepers and programs that are at home in a folder: a keeper leads a session of its own, so no group
/// has them all.
pub fn kept(folder: &std::path::Path) -> Vec<Proc> {
    let here = |p: &Proc| fs::read_link(format!("/proc/{}/cwd", p.pid)).is_ok_and(|cwd| cwd == folder);
    let program = |p: &Proc| {
        let environment = fs::read(format!("/proc/{}/environ", p.pid)).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry.starts_with(b"MASTERD_SLOT_FD="))
    };
    all(|p| p.state != 'Z' && here(p) && (program(p) || title(p.pid).starts_with("masterd: keeper")))
}

/// Children of `parent` that have ended and were not reaped.
pub fn zombies(parent: i32) -> Vec<Proc> {
    all(|p| p.parent == parent && p.state == 'Z')
}

/// Whether the process runs (one that has ended but was not reaped does not).
pub fn runs(pid: i32) -> bool {
    look(pid).is_some_and(|p| p.state != 'Z')
}

/// A line of /proc/PID/status, without its name: `status_line(pid, "Uid")` is `0\t0\t0\t0`.
pub fn status_line(pid: i32, name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// What `ps` shows of it: /proc/PID/cmdline, its NULs as blanks.
pub fn title(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim().to_owned()
}

/// The open descriptors: number and what they link to, in order.
pub fn descriptors(pid: i32) -> Vec<(i32, String)> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let mut found: Vec<(i32, String)> = entries
        .flatten()
        .filter_map(|e| {
            let number = e.file_name().to_str()?.parse().ok()?;
            let target = fs::read_link(e.path()).ok()?;
            Some((number, target.to_string_lossy().into_owned()))
        })
        .collect();
    found.sort();
    found
}
