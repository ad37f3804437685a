//! A program as a child: forked, prepared, executed; or the sentence that says why not.
//!
//! `start` comes back when the exec has succeeded, told by a CLOEXEC pipe whose end the exec closes, so
//! that "started" means that the program runs. The child has nothing of ours but what `Launch` gives
//! it: descriptors, environment, folder; signals as after boot; a process group of its own. It is killed
//! when this process ends (PR_SET_PDEATHSIG, prctl(2)), unless the program is set-user-id or drops that.
//! Never: searches PATH, changes identity or limits (they are the caller's own), waits for ever.

use super::clock::monotonic_ns;
use super::failure::{Tried, check, uninterrupted};
use super::fork::{self, Side};
use super::process::{self, Exit, Pidfd};
use super::{errno, fd, signal};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, chdir, execve, setpgid};
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

/// How long the child may take to its exec, which reads a file that may lie on a dead mount.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a killed child may take to end; one that hangs in the kernel longer is left to be reaped later.
const BURIAL: Duration = Duration::from_secs(1);

/// The child's first byte: everything is prepared, the exec is next.
const PREPARED: u8 = 0xff;

/// A program to be started, and all it is to have.
pub struct Launch<'a> {
    /// What is executed, absolute. execve(2).
    pub path: &'a Path,
    /// The arguments, the name in argv[0] included.
    pub argv: &'a [CString],
    /// The whole environment, "KEY=VALUE" each, made in the child from its own pid (for LISTEN_PID). It
    /// runs after the fork and before anything is changed.
    pub env: &'a dyn Fn(i32) -> Vec<CString>,
    /// Where it begins, if not where we are. chdir(2).
    pub directory: Option<&'a Path>,
    /// These become 3, 4, 5 and so on in this order. The same one may be there twice.
    pub fds: &'a [BorrowedFd<'a>],
    pub stdin: BorrowedFd<'a>,
    pub stdout: BorrowedFd<'a>,
    pub stderr: BorrowedFd<'a>,
    /// The bits its files never get, if not ours. umask(2).
    pub umask: Option<u32>,
}

/// What a child does before its program runs, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Group,
    Parent,
    Directory,
    Descriptors,
    Signals,
    Execute,
}

const STEPS: [Step; 6] =
    [Step::Group, Step::Parent, Step::Directory, Step::Descriptors, Step::Signals, Step::Execute];

/// Forks and executes. Ok when the exec has succeeded: pid, which is the process group as well, and handle.
///
/// Errors: that of the step which failed, with its kind (NotFound, PermissionDenied…); TimedOut after ten
/// seconds without an exec; InvalidInput for a path that is not absolute. The child is gone then, except
/// for one that hangs in the kernel: it is killed, and an end that `family::changed` tells later.
/// Like `fork::fork`, refused in a process with threads.
pub fn start(launch: &Launch<'_>) -> io::Result<(i32, Pidfd)> {
    start_within(launch, PATIENCE)
}

fn start_within(launch: &Launch<'_>, patience: Duration) -> io::Result<(i32, Pidfd)> {
    let act = || format!("start {}", launch.path.display());
    if !launch.path.is_absolute() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path must be absolute")).tried(act);
    }
    let path = CString::new(launch.path.as_os_str().as_bytes()).tried(act)?;
    let (hear, tell) = fd::pipe().tried(act)?;
    let parent = process::pid();
    let (pid, pidfd) = match fork::fork().tried(act)? {
        Side::Child => live(launch, &path, tell.as_raw_fd(), parent),
        Side::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop(tell);
    let failed = match listen(hear.as_fd(), patience) {
        Ok(said) => match said.as_slice() {
            [PREPARED] => return Ok((pid, pidfd)),
            [.., step, a, b, c, d] => reason(launch, *step, i32::from_ne_bytes([*a, *b, *c, *d])),
            _ => {
                let ended = bury(&pidfd).tried(act)?;
                return Err(io::Error::other(died(ended))).tried(act);
            }
        },
        Err(error) => error,
    };
    pidfd.send_signal(libc::SIGKILL).tried(act)?;
    bury(&pidfd).tried(act)?;
    Err(failed).tried(act)
}

/// Everything the child has to say: until its end of the pipe is closed, by exec or by its end.
fn listen(hear: BorrowedFd<'_>, patience: Duration) -> io::Result<Vec<u8>> {
    let mut said = Vec::new();
    let mut chunk = [0; 16];
    let until = after(patience);
    loop {
        if !readable(hear, until)? {
            let why = format!(
                "it is not executed after {patience:?} (does it lie on a dead mount?) and was killed"
            );
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        match uninterrupted(|| Ok(nix::unistd::read(hear, &mut chunk)?))? {
            0 => return Ok(said),
            n => said.extend_from_slice(&chunk[..n]),
        }
    }
}

fn after(patience: Duration) -> u64 {
    monotonic_ns().saturating_add(u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX))
}

/// Waits until there is something to read (or the end), at most until then. poll(2).
fn readable(fd: BorrowedFd<'_>, until: u64) -> io::Result<bool> {
    uninterrupted(|| {
        // Rounded up, so that the last millisecond is not spent asking.
        let left = until.saturating_sub(monotonic_ns()).div_ceil(1_000_000);
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        Ok(poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], timeout)? > 0)
    })
}

/// Reaps a child that has ended or is about to; None if it does not in time.
fn bury(pidfd: &Pidfd) -> io::Result<Option<Exit>> {
    readable(pidfd.0.as_fd(), after(BURIAL))?;
    pidfd.try_reap()
}

fn died(ended: Option<Exit>) -> String {
    let how = match ended {
        Some(Exit::Code(code)) => format!("with status {code}"),
        Some(Exit::Signal { number, .. }) => format!("by {}", process::signal_name(number)),
        None => "and is not to be reaped yet".to_owned(),
    };
    format!("the child ended before it could execute the program, {how}")
}

/// The sentence for a step that failed with this error number.
fn reason(launch: &Launch<'_>, step: u8, number: i32) -> io::Error {
    let step = STEPS.iter().copied().find(|s| *s as u8 == step);
    let act = || match step {
        Some(Step::Group) => "put it into a process group of its own".to_owned(),
        Some(Step::Parent) => "tie it to the life of its parent".to_owned(),
        Some(Step::Directory) => {
            format!("change to its directory {}", launch.directory.unwrap_or(Path::new("")).display())
        }
        Some(Step::Descriptors) => {
            format!("give it {} descriptors beside the standard ones", launch.fds.len())
        }
        Some(Step::Signals) => "reset its signals".to_owned(),
        Some(Step::Execute) => format!("execute it{}", hint(launch.path, number)),
        None => "prepare it".to_owned(),
    };
    let named: io::Result<()> = Err(io::Error::from_raw_os_error(number)).tried(act);
    named.err().unwrap_or_else(|| io::Error::other("no reason given"))
}

/// What the bare error of an exec leaves unsaid.
fn hint(path: &Path, number: i32) -> &'static str {
    match number {
        libc::ENOENT if path.exists() => {
            " (the file is there; what its first line names after `#!`, or its loader, is not)"
        }
        libc::ENOEXEC => " (neither a program of this machine nor a script that begins with `#!`)",
        libc::EACCES => " (may this user enter its folders and execute it, on a mount without `noexec`?)",
        _ => "",
    }
}

/// The child, up to its program or its end. Nothing may unwind out of here: the caller's stack is the
/// parent's.
fn live(launch: &Launch<'_>, path: &CStr, tell: RawFd, parent: i32) -> ! {
    let lived = catch_unwind(AssertUnwindSafe(|| {
        let env = (launch.env)(process::pid());
        // Out of the way of the numbers to come.
        let (tell, (step, error)) = match lift(tell, launch) {
            Ok(high) => (high, become_program(launch, path, &env, high, parent)),
            Err(error) => (tell, (Step::Descriptors, error)),
        };
        let number = errno(&error).unwrap_or(libc::EINVAL).to_ne_bytes();
        say(tell, &[&[step as u8], number.as_slice()].concat())
    }));
    fork::exit_now(if matches!(lived, Ok(Ok(()))) { 1 } else { 70 })
}

fn become_program(
    launch: &Launch<'_>,
    path: &CStr,
    env: &[CString],
    tell: RawFd,
    parent: i32,
) -> (Step, io::Error) {
    if let Err(failed) = prepare(launch, tell, parent) {
        return failed;
    }
    if let Err(error) = say(tell, &[PREPARED]) {
        return (Step::Execute, error);
    }
    let Err(errno) = execve(path, launch.argv, env);
    (Step::Execute, errno.into())
}

fn prepare(launch: &Launch<'_>, tell: RawFd, parent: i32) -> Result<(), (Step, io::Error)> {
    let at = |step| move |error: io::Error| (step, error);
    let itself = Pid::from_raw(0);
    setpgid(itself, itself).map_err(|errno| (Step::Group, errno.into()))?;
    if !process::die_with(parent).map_err(at(Step::Parent))? {
        // Nobody is left to hear of it.
        fork::exit_now(1);
    }
    if let Some(directory) = launch.directory {
        chdir(directory).map_err(|errno| (Step::Directory, errno.into()))?;
    }
    if let Some(bits) = launch.umask {
        umask(Mode::from_bits_truncate(bits));
    }
    arrange(launch, tell).map_err(at(Step::Descriptors))?;
    // Last, since from here on a signal may end the child.
    signal::pipe_ends_us().and_then(|()| signal::unblock_all()).map_err(at(Step::Signals))
}

/// Puts every descriptor at its number, and closes all others but `tell`.
///
/// First all are copied to numbers above those to be filled: a source may have one of these, and would be
/// lost to the descriptor that is to have it.
fn arrange(launch: &Launch<'_>, tell: RawFd) -> io::Result<()> {
    let standard = [launch.stdin, launch.stdout, launch.stderr];
    let sources = standard.iter().chain(launch.fds);
    let lifted: Vec<RawFd> = sources.map(|fd| lift(fd.as_raw_fd(), launch)).collect::<io::Result<_>>()?;
    for (number, from) in (0..).zip(&lifted) {
        // SAFETY: plain numbers, in a child that owns none of them and executes or ends without
        // running any destructor. The copy is without CLOEXEC (dup2(2)).
        uninterrupted(|| check(unsafe { libc::dup2(*from, number) }))?;
    }
    let keep: Vec<RawFd> = (3..floor(launch)).chain([tell]).collect();
    fd::close_all_except(&keep)
}

/// The first number that the program is not to have.
fn floor(launch: &Launch<'_>) -> RawFd {
    RawFd::try_from(launch.fds.len()).unwrap_or(RawFd::MAX - 3) + 3
}

/// A copy, CLOEXEC, above all numbers that the program is to have. fcntl(2), F_DUPFD_CLOEXEC.
fn lift(number: RawFd, launch: &Launch<'_>) -> io::Result<RawFd> {
    // SAFETY: plain numbers.
    check(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, floor(launch)) })
}

/// A few bytes into the pipe, which holds many more.
fn say(tell: RawFd, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: the number is the child's end of the pipe, or a copy of it, open until exec or exit.
    let pipe = unsafe { BorrowedFd::borrow_raw(tell) };
    fd::write_file(pipe, bytes).map(drop)
}

#[cfg(test)]
mod tests;
