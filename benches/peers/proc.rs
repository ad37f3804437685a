//! What /proc tells about the servers, and the few acts on processes.

use masterd::sys::{limits, process};
use std::fs;

pub const HUP: i32 = 1;
pub const INT: i32 = 2;
pub const QUIT: i32 = 3;
pub const KILL: i32 = 9;
pub const USR2: i32 = 12;
pub const CONT: i32 = 18;
pub const STOP: i32 = 19;
pub const WINCH: i32 = 28;

pub fn is_root() -> bool {
    process::euid() == 0
}

/// A process that has gone meanwhile needs no signal.
pub fn kill(pid: i32, signal: i32) {
    let _ = process::kill(pid, signal);
}

/// The soft limit up to the hard one; both servers get the same.
pub fn raise_descriptor_limit() {
    limits::set_nofile(descriptor_limit()).expect("raise the descriptor limit");
}

pub fn descriptor_limit() -> u64 {
    limits::nofile().expect("read the descriptor limit").1.min(65_536)
}

/// Children of `pid`, living ones only.
pub fn children(pid: i32) -> Vec<i32> {
    let entries = fs::read_dir("/proc").expect("read /proc").flatten();
    let pids = entries.filter_map(|e| e.file_name().to_string_lossy().parse::<i32>().ok());
    pids.filter(|child| parent_if_alive(*child) == Some(pid)).collect()
}

pub fn is_alive(pid: i32) -> bool {
    parent_if_alive(pid).is_some()
}

fn parent_if_alive(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut words = rest.split(' ');
    (words.next()? != "Z").then_some(())?;
    words.next()?.parse().ok()
}

/// Nanoseconds on a CPU so far, all threads (proc(5), schedstat).
pub fn cpu_ns(pid: i32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("list threads").flatten();
    let ns = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    threads.filter_map(ns).sum()
}

/// Resident bytes.
pub fn resident(pid: i32) -> u64 {
    process::resident(pid).expect("read resident memory")
}

/// Bytes in the kernel's slab caches, of the whole machine.
pub fn slab() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").expect("read /proc/meminfo");
    let line = text.lines().find_map(|line| line.strip_prefix("Slab:")?.trim().strip_suffix(" kB"));
    line.and_then(|kib| kib.parse::<u64>().ok()).expect("a line of Slab:") * 1024
}

/// Open descriptors, if we may see them.
pub fn descriptors(pid: i32) -> Option<usize> {
    Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count())
}
