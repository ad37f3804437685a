//! What /proc says of other processes, read and taken apart (proc(5)).
//!
//! For the rooms' own use: `process` and `family` ask here. A process that is gone is `None` or an empty
//! list, never an error; an error is one of ours (no descriptor left) or a /proc that can't be read.
//! What is read is true of the moment it was read: a pid may have another owner afterwards.
//! Never: signals or waits for anybody.

use super::failure::Tried;
use std::io::{self, ErrorKind};
use std::path::Path;

/// The parts of /proc/PID/stat that somebody here needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// `R`, `S`, `D`, `T`, `Z`…
    pub state: u8,
    pub parent: i32,
    pub session: i32,
    /// CPU time used, in user and kernel mode, in clock ticks.
    pub ticks: u64,
    pub threads: u64,
    /// The first thread is on its way out (PF_EXITING): it has given up its memory and descriptors, or is about to.
    pub exiting: bool,
}

/// The bit of the flags in /proc/PID/stat, include/linux/sched.h.
const PF_EXITING: u64 = 4;

impl Stat {
    /// False for one that has ended and only waits to be reaped. Of a process whose first thread has
    /// ended before the others the state says the same, but not the number of threads.
    pub(super) fn is_alive(&self) -> bool {
        !matches!(self.state, b'Z' | b'X') || self.threads > 1
    }

    /// Whether it does nothing any more, though its children may still be its own: it has ended, or is about to.
    pub(super) fn is_ending(&self) -> bool {
        !self.is_alive() || self.exiting && self.threads <= 1
    }
}

/// Memory of a process in bytes. /proc/PID/statm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    pub resident: u64,
    /// The part of it that belongs to files and shared memory.
    pub shared: u64,
}

/// /proc/PID/stat, None if there is no such process.
pub(super) fn stat(pid: i32) -> io::Result<Option<Stat>> {
    let path = format!("/proc/{pid}/stat");
    // A name may be any bytes.
    let Some(bytes) = present(std::fs::read(&path)).tried(|| format!("read {path}"))? else {
        return Ok(None);
    };
    let parsed = parse(&String::from_utf8_lossy(&bytes));
    parsed
        .map(Some)
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, format!("{path} can't be understood")))
}

/// The fields behind the name, which is in parentheses and may hold any others.
fn parse(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // `state` is the third field of the file and the first here.
    let field = |number: usize| fields.get(number - 3).copied();
    let ticks = |number| field(number)?.parse::<u64>().ok();
    Some(Stat {
        state: *field(3)?.as_bytes().first()?,
        parent: field(4)?.parse().ok()?,
        session: field(6)?.parse().ok()?,
        ticks: ticks(14)?.saturating_add(ticks(15)?),
        threads: field(20)?.parse().ok()?,
        exiting: field(9)?.parse::<u64>().ok()? & PF_EXITING != 0,
    })
}

/// What was read, or None if the process (or thread) it was about is gone: ENOENT when it is opened,
/// ESRCH when it is read.
fn present<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind() == ErrorKind::NotFound || e.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(e) => Err(e),
    }
}

/// All processes that can be seen, the ended ones included.
pub(super) fn all() -> io::Result<Vec<(i32, Stat)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").tried(|| "list /proc".into())? {
        let name = entry.tried(|| "list /proc".into())?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        found.extend(stat(pid)?.map(|stat| (pid, stat)));
    }
    Ok(found)
}

/// Whether the kernel keeps lists of children (CONFIG_PROC_CHILDREN, Linux 3.5).
pub(super) fn lists_children() -> bool {
    Path::new("/proc/thread-self/children").exists()
}

/// Children of a process, the ended ones included, by the lists of its threads:
/// /proc/PID/task/TID/children. Empty where the kernel keeps none.
pub(super) fn listed_children(pid: i32) -> io::Result<Vec<i32>> {
    let mut pids = Vec::new();
    let folder = format!("/proc/{pid}/task");
    let act = || format!("list {folder}");
    for task in present(std::fs::read_dir(&folder)).tried(act)?.into_iter().flatten() {
        let Some(task) = present(task).tried(act)? else { break };
        let path = task.path().join("children");
        let text = present(std::fs::read_to_string(&path)).tried(|| format!("read {}", path.display()))?;
        let words = text.iter().flat_map(|text| text.split_ascii_whitespace());
        pids.extend(words.filter_map(|word| word.parse::<i32>().ok()));
    }
    Ok(pids)
}

/// Children of a process, the ended ones included: by its lists, or by everybody's parent.
pub(super) fn children(pid: i32) -> io::Result<Vec<i32>> {
    if lists_children() {
        return listed_children(pid);
    }
    Ok(all()?.into_iter().filter(|(_, stat)| stat.parent == pid).map(|(pid, _)| pid).collect())
}

/// /proc/PID/statm, None if the process is gone or can't be read.
pub(super) fn memory(pid: i32) -> Option<Memory> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut pages = text.split_ascii_whitespace().skip(1).map(str::parse::<u64>);
    // SAFETY: asks for one number.
    let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
    let mut bytes = || pages.next()?.ok()?.checked_mul(page);
    Some(Memory { resident: bytes()?, shared: bytes()? })
}

/// Bytes of a process, shared pages in equal parts: Pss of /proc/PID/smaps_rollup. 0 for one that is gone,
/// None if it can't be read or the kernel has no such file.
pub(super) fn proportional(pid: i32) -> Option<u64> {
    let folder = format!("/proc/{pid}");
    match present(std::fs::read_to_string(format!("{folder}/smaps_rollup"))).ok()? {
        Some(text) => {
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
        }
        None if !Path::new(&folder).join("smaps_rollup").exists() && Path::new(&folder).exists() => None,
        None => Some(0),
    }
}

/// Nanoseconds of a clock tick, the unit of CPU times in /proc. sysconf(3), _SC_CLK_TCK.
pub(super) fn tick_ns() -> u64 {
    // SAFETY: asks for one number.
    let per_second = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(0);
    // 100 on every Linux there is, should it not say.
    1_000_000_000 / if per_second == 0 { 100 } else { per_second }
}

#[cfg(test)]
mod tests {
    use super::super::process;
    use super::*;

    #[test]
    fn a_name_may_look_like_fields() {
        let line = "12 (a) S 1 (b)) T 7 8 9 0 -1 4194304 1 2 3 4 50 60 70 80 20 0 3 0 100 200";
        let wanted = Stat { state: b'T', parent: 7, session: 9, ticks: 110, threads: 3, exiting: false };
        assert_eq!(parse(line), Some(wanted));
        assert_eq!(parse("12 (a) S 1 2"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn we_are_there_and_somebody_else_is_not() {
        let me = process::pid();
        let ours = stat(me).unwrap().unwrap();
        assert!(ours.is_alive());
        assert_eq!(ours.parent, process::parent_pid());
        assert!(all().unwrap().iter().any(|(pid, stat)| *pid == me && stat.parent == ours.parent));
        assert_eq!(stat(i32::MAX).unwrap(), None);
        assert!(listed_children(i32::MAX).unwrap().is_empty());
        assert_eq!(memory(i32::MAX), None);
    }

    #[test]
    fn an_ended_first_thread_is_no_ended_process() {
        let with =
            |state, threads, exiting| Stat { state, parent: 1, session: 1, ticks: 0, threads, exiting };
        assert!(!with(b'Z', 0, true).is_alive() && !with(b'Z', 1, true).is_alive());
        assert!(with(b'R', 1, true).is_alive() && with(b'R', 1, true).is_ending());
        assert!(!with(b'R', 1, false).is_ending() && !with(b'R', 2, true).is_ending());
        assert!(with(b'Z', 2, true).is_alive());
    }

    #[test]
    fn ticks_are_parts_of_a_second() {
        assert_eq!(1_000_000_000 % tick_ns(), 0);
    }
}
