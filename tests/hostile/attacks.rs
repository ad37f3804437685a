//! What a worker that was taken over can reach: its own slot, and nothing else.
//!
//! The enemy tries everything that is known to have worked on scoreboards of one memory file, and the
//! ways through /proc and ptrace. Each attempt is a log line, `attack NAME: held …` or `BROKE …`; the
//! controls are attempts that must succeed, so that a refused one means something.

use crate::enemy;
use crate::harness::*;
use crate::roles::{Enemy, memory_maps};
use masterd::inherit::Inheritance;
use masterd::scoreboard::layout;
use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const PAGE: usize = 4096;

/// The names of all attempts, in the order in which they are made.
const ATTEMPTS: [&str; 18] = [
    "shrink the slot",
    "extend the slot",
    "write behind the slot",
    "unseal the slot",
    "grow the map",
    "look through another window",
    "other maps",
    "other descriptors",
    "descriptors opened anew",
    "the master's descriptors",
    "the master's maps",
    "the master's memory file",
    "the master's memory",
    "trace the master",
    "take the master's descriptors",
    "become root",
    "control: an unsealed page grows",
    "control: a tame process can be written",
];

pub fn of_another_user() {
    hold(false);
}

pub fn of_the_same_user() {
    hold(true);
}

fn hold(same: bool) {
    let place = Place::new();
    let config = Web::new().workers(2).text();
    let Some(master) = enemy(&place, "attacks", same, &config, &|_| {}) else { return };
    let uid = |pid| procs::status_line(pid, "Uid").expect("a living process");
    let one = master.ready_pids("web");
    assert_eq!(uid(one[0]) == uid(master.pid()), same, "the users are those that were meant");
    // The second generation meets a master that has siblings, clients and a history.
    master.cli(&["reload", "--drained"]).expect(0);
    for generation in 1..=2 {
        for seat in 0..2 {
            let who = format!("worker web/{seat} gen {generation}");
            let log = master.log();
            let said: Vec<&str> = log
                .lines()
                .filter(|l| l.contains(&who))
                .filter_map(|l| l.split_once("attack "))
                .map(|(_, s)| s)
                .collect();
            for attempt in ATTEMPTS {
                let outcome = said.iter().find_map(|s| s.strip_prefix(attempt)?.strip_prefix(": "));
                let outcome = outcome.unwrap_or_else(|| panic!("{who} did not try {attempt:?}: {said:#?}"));
                assert!(outcome.starts_with("held"), "{who}: {attempt}: {outcome}");
            }
            assert_eq!(said.len(), ATTEMPTS.len(), "{said:#?}");
        }
    }
    // What the enemies wrote at the end into their own slots is all that there is to see.
    let service = master.service("web");
    assert_eq!(service.workers.iter().map(|w| w.accepted).collect::<Vec<_>>(), [100, 101]);
    assert_eq!((service.totals.accepted, service.totals.requests), (2 * (100 + 101), 0));
    assert_eq!(master.status().pid, master.pid());
    master.finish();
}

/// How an attempt went: `Ok` tells what held it.
type Outcome = Result<String, String>;

/// The enemy's life.
pub fn worker(inheritance: Inheritance) -> ! {
    // Before it becomes somebody else, with the descriptor that it will close.
    let slot = inheritance.slot.try_clone().expect("the slot");
    let early = [
        ("shrink the slot", refused(nix::unistd::ftruncate(&slot, 0), &[Errno::EPERM])),
        ("extend the slot", refused(nix::unistd::ftruncate(&slot, 1 << 20), &[Errno::EPERM])),
        ("write behind the slot", write_behind(&slot)),
        ("unseal the slot", seal_more(&slot)),
    ];
    drop(slot);
    let mut enemy = Enemy::settle(inheritance);
    keep_over_fork(enemy.slot);
    let parent = nix::unistd::getppid();
    let mut said = Vec::from(early);
    said.extend([
        ("grow the map", in_child(|| grow(enemy.slot))),
        ("look through another window", in_child(|| other_window(enemy.slot))),
        ("other maps", other_maps()),
        ("other descriptors", other_descriptors()),
        ("descriptors opened anew", opened_anew()),
        ("the master's descriptors", closed_folder(parent, "fd")),
        ("the master's maps", closed_folder(parent, "map_files")),
        ("the master's memory file", closed_file(&format!("/proc/{parent}/mem"))),
        ("the master's memory", write_memory(parent, enemy.slot.0)),
        ("trace the master", trace(parent)),
        ("take the master's descriptors", take_descriptors(parent)),
        ("become root", refused(nix::unistd::setuid(0.into()), &[Errno::EPERM])),
        ("control: an unsealed page grows", unsealed()),
        ("control: a tame process can be written", tame()),
    ]);
    for (name, outcome) in said {
        match outcome {
            Ok(how) => slog::info!(enemy.log, "attack {}: held ({})", name, how),
            Err(how) => slog::info!(enemy.log, "attack {}: BROKE ({})", name, how),
        }
    }
    // SAFETY: the word lies within the own slot, which stays mapped.
    unsafe { word(enemy.slot, layout::ACCEPTED).write_volatile(100 + u64::from(enemy.seat)) };
    enemy.mailbox.send(&masterd::wire::report::Report::Ready, &enemy.log);
    enemy.behave()
}

fn word(slot: (usize, usize), index: usize) -> *mut u64 {
    std::ptr::with_exposed_provenance_mut::<u64>(slot.0).wrapping_add(index)
}

/// An attempt that must be refused in one of these ways.
fn refused<T>(attempt: nix::Result<T>, ways: &[Errno]) -> Outcome {
    match attempt {
        Err(errno) if ways.contains(&errno) => Ok(errno.to_string()),
        Err(errno) => Err(format!("refused for a wrong reason: {errno}")),
        Ok(_) => Err("it worked".to_owned()),
    }
}

fn write_behind(slot: &OwnedFd) -> Outcome {
    let end = i64::try_from(layout::WORDS * 8).expect("a small number");
    refused(nix::sys::uio::pwrite(slot, b"x", end), &[Errno::EPERM])
}

/// Seals that would take the pen from the owner are refused too.
fn seal_more(slot: &OwnedFd) -> Outcome {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    refused(fcntl(slot, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_FUTURE_WRITE)), &[Errno::EPERM])
}

/// Runs `act` in a child; it must die of SIGBUS. Its result would be the reason why it did not.
fn in_child(act: impl FnOnce() -> i32) -> Outcome {
    match run(act) {
        WaitStatus::Signaled(_, Signal::SIGBUS, _) => Ok("SIGBUS".to_owned()),
        WaitStatus::Exited(_, 0) => Err("it worked".to_owned()),
        other => Err(format!("ended otherwise: {other:?}")),
    }
}

fn run(act: impl FnOnce() -> i32) -> WaitStatus {
    // SAFETY: a worker has one thread, so every lock is free in the child; it ends without unwinding.
    match unsafe { nix::unistd::fork() }.expect("fork") {
        ForkResult::Child => masterd::sys::fork::exit_now(act()),
        ForkResult::Parent { child } => waitpid(child, None).expect("wait for a child"),
    }
}

/// Takes a mapping along to children, which masterd's mappings are not by themselves.
fn keep_over_fork(map: (usize, usize)) {
    let start = std::ptr::with_exposed_provenance_mut::<libc::c_void>(map.0);
    // SAFETY: only says what children inherit; the range is a mapping of this process.
    assert_eq!(unsafe { libc::madvise(start, map.1, libc::MADV_DOFORK) }, 0, "madvise");
}

/// Grows a map by a page and writes there.
fn grow(map: (usize, usize)) -> i32 {
    let start = std::ptr::with_exposed_provenance_mut::<libc::c_void>(map.0);
    // SAFETY: moves a mapping that nobody in this process uses any more.
    let grown = unsafe { libc::mremap(start, map.1, map.1 + PAGE, libc::MREMAP_MAYMOVE) };
    if grown == libc::MAP_FAILED {
        return 3;
    }
    // SAFETY: inside the range just mapped; whether it faults is the question.
    unsafe { grown.cast::<u8>().add(map.1).write_volatile(1) };
    0
}

/// Puts the page behind the end in place of the first, and writes there.
fn other_window(map: (usize, usize)) -> i32 {
    let start = std::ptr::with_exposed_provenance_mut::<libc::c_void>(map.0);
    // SAFETY: rearranges a mapping that nobody in this process uses any more.
    if unsafe { libc::remap_file_pages(start, PAGE, 0, map.1 / PAGE, 0) } != 0 {
        return 4;
    }
    // SAFETY: inside the mapping; whether it faults is the question.
    unsafe { start.cast::<u8>().write_volatile(1) };
    0
}

/// A memory file of two pages, of which one is mapped and nothing sealed: the neighbour is written.
fn unsealed() -> Outcome {
    let file = nix::sys::memfd::memfd_create("plain", nix::sys::memfd::MFdFlags::empty()).expect("memfd");
    nix::unistd::ftruncate(&file, 2 * PAGE as i64).expect("two pages");
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at a place of the kernel's choice.
    let start =
        unsafe { libc::mmap(std::ptr::null_mut(), PAGE, rights, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    assert_ne!(start, libc::MAP_FAILED);
    let ended = run(|| grow((start.expose_provenance(), PAGE)));
    let mut byte = [0];
    nix::sys::uio::pread(&file, &mut byte, PAGE as i64).expect("read the neighbour");
    match (ended, byte) {
        (WaitStatus::Exited(_, 0), [1]) => Ok("the neighbour was written".to_owned()),
        other => Err(format!("the attempt itself is broken: {other:?}")),
    }
}

/// A child that lets itself be looked at can be written to, and its descriptors taken.
fn tame() -> Outcome {
    static TARGET: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let (hold, held) = nix::unistd::pipe().expect("a pipe");
    let (ready, told) = nix::unistd::pipe().expect("a pipe");
    // SAFETY: a worker has one thread; the child ends without unwinding.
    match unsafe { nix::unistd::fork() }.expect("fork") {
        ForkResult::Child => {
            nix::sys::prctl::set_dumpable(true).expect("become tame");
            drop(held);
            let _ = nix::unistd::write(&told, b"x");
            let _ = nix::unistd::read(&hold, &mut [0]);
            masterd::sys::fork::exit_now(TARGET.load(std::sync::atomic::Ordering::SeqCst) as i32)
        }
        ForkResult::Parent { child } => {
            nix::unistd::read(&ready, &mut [0]).expect("a child that is ready");
            let written = write_to(child, std::ptr::from_ref(&TARGET).expose_provenance(), 7);
            let taken = take_descriptors(child);
            drop(held);
            let ended = waitpid(child, None).expect("wait for a child");
            match (written, ended, taken) {
                (Ok(8), WaitStatus::Exited(_, 7), Err(_)) => Ok("written".to_owned()),
                other => Err(format!("the attempt itself is broken: {other:?}")),
            }
        }
    }
}

fn other_maps() -> Outcome {
    let maps: Vec<String> = memory_maps().iter().map(|m| format!("{} {}", m.rights, m.name)).collect();
    match &maps[..] {
        [only] if only.contains("masterd-slot") => Ok(only.clone()),
        _ => Err(format!("{maps:?}")),
    }
}

/// What every descriptor of this process is.
fn own_descriptors() -> Vec<(i32, String)> {
    procs::descriptors(std::process::id().cast_signed())
}

/// Two sockets (listener, channel and its copies here), and no memory, no pidfd, no epoll of the master's.
fn other_descriptors() -> Outcome {
    let bad =
        |target: &str| ["memfd", "pidfd", "eventpoll", "control", "m.pid"].iter().any(|w| target.contains(w));
    let found: Vec<_> = own_descriptors().into_iter().filter(|(_, target)| bad(target)).collect();
    if found.is_empty() { Ok("none".to_owned()) } else { Err(format!("{found:?}")) }
}

/// Opens everything again, for writing, through /proc/self/fd: no shared memory may come of it.
fn opened_anew() -> Outcome {
    for (number, target) in own_descriptors() {
        let opened = File::options().write(true).read(true).open(format!("/proc/self/fd/{number}"));
        if opened.is_ok() && (target.contains("memfd") || target.contains("shm")) {
            return Err(format!("{number} {target}"));
        }
    }
    let folder =
        std::fs::read_dir("/proc/self/map_files").map(|entries| entries.flatten().collect::<Vec<_>>());
    for entry in folder.unwrap_or_default() {
        let memory = std::fs::read_link(entry.path()).is_ok_and(|t| t.to_string_lossy().contains("memfd:"));
        if memory && let Ok(file) = File::options().write(true).read(true).open(entry.path()) {
            let cut = refused(nix::unistd::ftruncate(&file, 0), &[Errno::EPERM]);
            cut.map_err(|how| format!("cut through map_files: {how}"))?;
        }
    }
    Ok("no memory".to_owned())
}

/// A folder of the master's /proc can neither be listed nor anything in it be opened.
fn closed_folder(pid: Pid, name: &str) -> Outcome {
    let path = format!("/proc/{pid}/{name}");
    if std::fs::read_dir(&path).is_ok() {
        return Err(format!("{path} can be listed"));
    }
    for number in 0..256 {
        for write in [true, false] {
            let file = format!("{path}/{number}");
            if File::options().read(true).write(write).open(&file).is_ok() {
                return Err(format!("{file} can be opened"));
            }
        }
    }
    Ok("permission denied".to_owned())
}

fn closed_file(path: &str) -> Outcome {
    match File::options().read(true).write(true).open(path).or_else(|_| File::open(path)) {
        Ok(_) => Err(format!("{path} can be opened")),
        Err(e) => Ok(e.to_string()),
    }
}

/// process_vm_writev(2) of one word.
fn write_to(pid: Pid, at: usize, value: u64) -> nix::Result<usize> {
    let bytes = value.to_ne_bytes();
    let local = [std::io::IoSlice::new(&bytes)];
    let remote = [nix::sys::uio::RemoteIoVec { base: at, len: bytes.len() }];
    nix::sys::uio::process_vm_writev(pid, &local, &remote)
}

fn write_memory(pid: Pid, at: usize) -> Outcome {
    let mut bytes = [0; 8];
    let mut local = [std::io::IoSliceMut::new(&mut bytes)];
    let remote = [nix::sys::uio::RemoteIoVec { base: at, len: 8 }];
    refused(nix::sys::uio::process_vm_readv(pid, &mut local, &remote), &[Errno::EPERM])?;
    refused(write_to(pid, at, 1), &[Errno::EPERM])
}

fn trace(pid: Pid) -> Outcome {
    refused(nix::sys::ptrace::attach(pid), &[Errno::EPERM])?;
    refused(nix::sys::ptrace::seize(pid, nix::sys::ptrace::Options::empty()), &[Errno::EPERM])
}

/// pidfd_getfd(2), Linux 5.6.
fn take_descriptors(pid: Pid) -> Outcome {
    // SAFETY: plain numbers in, a descriptor or an error out.
    let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let pidfd = Errno::result(pidfd).map_err(|e| format!("pidfd_open: {e}"))?;
    // SAFETY: the kernel has just made this number for us.
    let pidfd = unsafe { OwnedFd::from_raw_fd(i32::try_from(pidfd).map_err(|e| e.to_string())?) };
    for number in 0..64 {
        // SAFETY: as above.
        let taken = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) };
        refused(Errno::result(taken), &[Errno::EPERM])?;
    }
    Ok("EPERM".to_owned())
}
