//! Whether somebody waits on a socket, and what sockets a process holds: by looking at it from outside.
//!
//! For whoever has started a program and wants to know when it serves: a socket that listens takes
//! connections long before the program does. What the program looks like from outside is asked of
//! /proc (proc(5)): its descriptors, its epoll sets, and what its threads are blocked in (`waiting`).
//! It takes the right to read and to trace the process: an ancestor of the same user has it, unless the
//! process is not dumpable, or the kernel was told to forbid it (Yama's ptrace_scope of 2 and above).
//! A look is of one moment: "not yet" may be true of a program that is busy, so look again.
//! Never: an error (what can't be seen is `Sight::Hidden`), or a change to the process.

use super::failure::{Tried, check_size, errno};
use super::procfs;
use super::waiting::{Blocked, blocked};
use nix::sys::stat::fstat;
use std::collections::HashSet;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::os::fd::{AsRawFd, BorrowedFd};

/// The inode of a socket: N in the "socket:[N]" of /proc/PID/fd. fstat(2). InvalidInput for what is none.
pub fn inode(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let act = || format!("ask for the inode of descriptor {}", fd.as_raw_fd());
    let stat = fstat(fd).tried(act)?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFSOCK {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no socket")).tried(act);
    }
    Ok(stat.st_ino)
}

/// What was seen of a socket; of several processes, the greatest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sight {
    /// No process has it.
    Nobody,
    /// It is held, but nobody waits on it (yet).
    Held,
    /// A process can't be looked into, or waits in a way that can't be seen (io_uring(7)): a sentence that
    /// names the process and says why.
    Hidden(String),
    /// A process has it, and waits until it is readable.
    Waiting,
}

/// Looks whether these processes wait on these sockets (their inodes, see `inode`): one entry for each
/// socket, in their order.
///
/// Waits whoever holds the socket and has it in an epoll set with EPOLLIN (epoll(7); /proc/PID/fdinfo),
/// has a thread in accept(2), recv(2), read(2) or their kin on it, or one in poll(2) or select(2) with it
/// among what is to be read. A process that is gone, or goes meanwhile, holds nothing.
/// Costs a readlink(2) for each descriptor of each process, so it is for programs that start.
pub fn look(pids: &[i32], sockets: &[u64]) -> Vec<(u64, Sight)> {
    let mut sights: Vec<(u64, Sight)> = sockets.iter().map(|&inode| (inode, Sight::Nobody)).collect();
    for &pid in pids {
        let seen = look_into(pid, &mut sights);
        if let Err(error) = seen
            && !is_gone(pid, &error)
        {
            let why = format!("process {pid} can't be looked into: {error}");
            sights.iter_mut().for_each(|(_, sight)| raise(sight, Sight::Hidden(why.clone())));
        }
        if sights.iter().all(|(_, sight)| *sight == Sight::Waiting) {
            break;
        }
    }
    sights
}

fn raise(sight: &mut Sight, seen: Sight) {
    if seen > *sight {
        *sight = seen;
    }
}

/// What one process has to do with the sockets; what was seen before an error stays.
fn look_into(pid: i32, sights: &mut [(u64, Sight)]) -> io::Result<()> {
    let table = Table::of(pid, sights)?;
    for &(inode, _) in &table.sockets {
        see(sights, inode, Sight::Held);
    }
    let mut ring_is_watched = false;
    if !table.sockets.is_empty() {
        for &epoll in &table.epolls {
            watched(pid, epoll, |watch| {
                if table.holds(watch.inode) {
                    see(sights, watch.inode, Sight::Waiting);
                }
                ring_is_watched |= table.rings.contains(&watch.number);
            })?;
        }
    }
    let mut left = table.sockets.clone();
    left.retain(|held| sights.iter().any(|s| s.0 == held.0 && s.1 != Sight::Waiting));
    let in_ring = look_at_threads(pid, &left, sights)?;
    if !table.rings.is_empty() && (ring_is_watched || in_ring) {
        let why = format!("process {pid} waits by io_uring, which does not show what for");
        left.iter().for_each(|&(inode, _)| see(sights, inode, Sight::Hidden(why.clone())));
    }
    Ok(())
}

fn see(sights: &mut [(u64, Sight)], inode: u64, seen: Sight) {
    sights.iter_mut().filter(|s| s.0 == inode).for_each(|s| raise(&mut s.1, seen.clone()));
}

/// Looks for threads that are blocked on these sockets (inode and number); whether one is in io_uring.
fn look_at_threads(pid: i32, sockets: &[(u64, i32)], sights: &mut [(u64, Sight)]) -> io::Result<bool> {
    let mut in_ring = false;
    if sockets.is_empty() {
        return Ok(false);
    }
    for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let Some(thread) = number(entry?.file_name().to_str()) else { continue };
        let blocked = match blocked(pid, thread) {
            Err(error) if has_vanished(&error) => continue,
            other => other?,
        };
        in_ring |= blocked == Blocked::Ring;
        for &(inode, fd) in sockets {
            if blocked.includes(pid, fd)? {
                see(sights, inode, Sight::Waiting);
            }
        }
    }
    Ok(in_ring)
}

/// The descriptors of a process that matter here.
#[derive(Default)]
struct Table {
    /// Inode and number of each socket that is looked for.
    sockets: Vec<(u64, i32)>,
    epolls: Vec<i32>,
    rings: Vec<i32>,
}

impl Table {
    fn of(pid: i32, wanted: &[(u64, Sight)]) -> io::Result<Table> {
        let mut table = Table::default();
        links(pid, |number, link| match link {
            Link::Socket(inode) if wanted.iter().any(|w| w.0 == inode) => table.sockets.push((inode, number)),
            Link::Epoll => table.epolls.push(number),
            Link::Ring => table.rings.push(number),
            _ => {}
        })?;
        Ok(table)
    }

    fn holds(&self, inode: u64) -> bool {
        self.sockets.iter().any(|s| s.0 == inode)
    }
}

/// What a descriptor is, by its link in /proc/PID/fd.
#[derive(Debug, PartialEq, Eq)]
enum Link {
    Socket(u64),
    Epoll,
    Ring,
    Else,
}

impl Link {
    /// A file can't pass for one of these: its link is a path, which begins with a slash.
    fn of(text: &[u8]) -> Link {
        match text {
            b"anon_inode:[eventpoll]" => Link::Epoll,
            b"anon_inode:[io_uring]" => Link::Ring,
            _ => {
                let inside = text.strip_prefix(b"socket:[").and_then(|rest| rest.strip_suffix(b"]"));
                let inode = inside.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
                inode.map_or(Link::Else, Link::Socket)
            }
        }
    }
}

/// Hands each descriptor of a process to `each`, with its number.
fn links(pid: i32, mut each: impl FnMut(i32, Link)) -> io::Result<()> {
    let path = format!("/proc/{pid}/fd");
    let folder = File::open(&path)?;
    for entry in std::fs::read_dir(&path)? {
        let name = entry?.file_name();
        let Some(number) = number(name.to_str()) else { continue };
        match read_link(&folder, number) {
            Ok(link) => each(number, link),
            // Closed meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// readlinkat(2) into no more room than the links have that matter; longer ones are cut, and are paths.
fn read_link(folder: &File, number: i32) -> io::Result<Link> {
    let mut name = [0u8; 12];
    {
        use std::io::Write;
        write!(&mut name[..11], "{number}")?;
    }
    let name = CStr::from_bytes_until_nul(&name).map_err(io::Error::other)?;
    let mut buffer = [0u8; 40];
    // SAFETY: `name` ends with a NUL; pointer and length are those of `buffer`, ours through the call.
    let length = check_size(unsafe {
        libc::readlinkat(folder.as_raw_fd(), name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len())
    })?;
    Ok(Link::of(&buffer[..length]))
}

fn number(name: Option<&str>) -> Option<i32> {
    name?.parse().ok()
}

/// An entry of an epoll set.
struct Watch {
    number: i32,
    inode: u64,
}

/// Hands each entry of an epoll set that waits for input to `each`. /proc/PID/fdinfo/N, Linux 4.13.
fn watched(pid: i32, epoll: i32, mut each: impl FnMut(Watch)) -> io::Result<()> {
    let file = match File::open(format!("/proc/{pid}/fdinfo/{epoll}")) {
        // Closed meanwhile.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for line in BufReader::new(file).split(b'\n') {
        std::str::from_utf8(&line?).ok().and_then(watch).into_iter().for_each(&mut each);
    }
    Ok(())
}

/// A line as "tfd: 5 events: 19 data: 5 pos:0 ino:1f3a sdev:8", if the entry waits for input.
fn watch(line: &str) -> Option<Watch> {
    let mut words = line.strip_prefix("tfd:")?.split_ascii_whitespace();
    let number = words.next()?.parse().ok()?;
    let events = words.by_ref().skip_while(|word| *word != "events:").nth(1)?;
    let events = u32::from_str_radix(events, 16).ok()?;
    let inode = words.find_map(|word| word.strip_prefix("ino:"))?;
    let input = (libc::EPOLLIN | libc::EPOLLRDNORM).cast_unsigned();
    (events & input != 0).then_some(Watch { number, inode: u64::from_str_radix(inode, 16).ok()? })
}

/// The inodes of all sockets that these processes hold, and the pids that could not be looked into.
///
/// A process that is gone holds none and is no such pid.
pub fn sockets_of(pids: &[i32]) -> (HashSet<u64>, Vec<i32>) {
    let mut sockets = HashSet::new();
    let mut unreadable = Vec::new();
    for &pid in pids {
        let listed = links(pid, |_, link| {
            if let Link::Socket(inode) = link {
                sockets.insert(inode);
            }
        });
        if listed.is_err_and(|error| !is_gone(pid, &error)) {
            unreadable.push(pid);
        }
    }
    (sockets, unreadable)
}

/// The soft limit of a process's descriptors, by /proc/PID/limits; `None` if that can't be read, or there is none.
pub fn descriptor_limit(pid: i32) -> Option<u64> {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// How many descriptors a process has open; None where it is gone or can't be looked into.
///
/// Since Linux 6.2 that is the size of /proc/PID/fd, before they are listed. proc_pid_fd(5).
pub fn descriptors(pid: i32) -> Option<usize> {
    let path = format!("/proc/{pid}/fd");
    match usize::try_from(std::fs::metadata(&path).ok()?.len()) {
        Ok(count) if count > 0 => Some(count),
        _ => Some(std::fs::read_dir(&path).ok()?.count()),
    }
}

/// Whether an error means that a process or thread is no more.
fn has_vanished(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || errno(error) == Some(libc::ESRCH)
}

/// Whether an error is that of a process which has ended: a zombie's descriptors can't be listed either.
fn is_gone(pid: i32, error: &io::Error) -> bool {
    if has_vanished(error) {
        return true;
    }
    // One that is about to end has given up its memory, and with it whatever would let us look.
    match procfs::stat(pid) {
        Ok(stat) => stat.is_none_or(|stat| stat.is_ending()),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests;
