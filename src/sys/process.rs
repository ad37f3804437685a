//! Other processes: handles that pid reuse cannot confuse, their ends, and a few facts about us.
//!
//! The master watches each child by a `Pidfd` and reaps through it; `reap_strangers` sweeps what it
//! inherited as PID 1 or subreaper, and never takes the end of a child that somebody watches.
//! A plain pid is signalled in one place only (`kill`, for the command line's `-s`).

use super::failure::{Tried, check, check_size, uninterrupted};
use super::procfs;
use nix::sys::signal::Signal;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A handle on one process that pid reuse cannot confuse (pidfd_open(2), Linux 5.3).
///
/// Readable (epoll) once the process has ended. CLOEXEC.
#[derive(Debug)]
pub struct Pidfd(pub OwnedFd);

impl AsRawFd for Pidfd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal { number: i32, core: bool },
}

impl fmt::Display for Exit {
    /// To follow the name of a process: "exited with status 1", "was killed by SIGSEGV (core dumped)".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exited with status {code}"),
            Exit::Signal { number, core } => {
                let core = if *core { " (core dumped)" } else { "" };
                write!(f, "was killed by {}{core}", signal_name(*number))
            }
        }
    }
}

impl Pidfd {
    /// Reaps the child if it has ended. waitid(2) P_PIDFD, WEXITED|WNOHANG, Linux 5.4.
    ///
    /// Only for children of the caller (else ECHILD); after `Some` it is gone.
    pub fn try_reap(&self) -> io::Result<Option<Exit>> {
        let act = || format!("reap the process of pidfd {}", self.as_raw_fd());
        let id = libc::id_t::try_from(self.as_raw_fd()).map_err(io::Error::other).tried(act)?;
        Ok(wait(libc::P_PIDFD, id, libc::WEXITED).tried(act)?.map(|(_, exit)| exit))
    }

    /// How the child has ended, if it has; it stays to be reaped. waitid(2), WNOWAIT.
    pub fn ended(&self) -> io::Result<Option<Exit>> {
        let act = || format!("look at the process of pidfd {}", self.as_raw_fd());
        let id = libc::id_t::try_from(self.as_raw_fd()).map_err(io::Error::other).tried(act)?;
        Ok(wait(libc::P_PIDFD, id, libc::WEXITED | libc::WNOWAIT).tried(act)?.map(|(_, exit)| exit))
    }

    /// pidfd_send_signal(2), Linux 5.1; Ok(false) if the process is already gone and reaped.
    pub fn send_signal(&self, signal: i32) -> io::Result<bool> {
        let none = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: a live descriptor of ours and numbers; a null siginfo means what kill(2) would say.
        let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.as_raw_fd(), signal, none, 0) };
        match check_size(result as isize) {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
            Err(error) => {
                Err(error).tried(|| format!("send {} by pidfd {}", signal_name(signal), self.as_raw_fd()))
            }
        }
    }

    /// Opens a pidfd for any process. pidfd_open(2), Linux 5.3.
    ///
    /// For a child that is not yet reaped it is surely that child; for anybody else the pid may have
    /// changed hands before the call.
    pub fn open(pid: i32) -> io::Result<Pidfd> {
        // SAFETY: plain numbers go in, a new descriptor comes out.
        let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let number = check_size(result as isize).tried(|| format!("open a pidfd for process {pid}"))?;
        let number = RawFd::try_from(number).map_err(io::Error::other)?;
        // SAFETY: the kernel has just made this number for us, with CLOEXEC set; nobody else has it.
        Ok(Pidfd(unsafe { OwnedFd::from_raw_fd(number) }))
    }
}

/// What waitid(2) says of a child: its pid, si_code (CLD_EXITED and so on) and si_status.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waited {
    pub pid: i32,
    pub code: libc::c_int,
    pub status: i32,
}

impl Waited {
    /// As an end; what is none (a stop) must have been sorted out before.
    pub(super) fn exit(self) -> Exit {
        match self.code {
            libc::CLD_EXITED => Exit::Code(self.status),
            code => Exit::Signal { number: self.status, core: code == libc::CLD_DUMPED },
        }
    }
}

/// One waitid(2) that never waits: pid and end of a process that matches, if one has ended.
fn wait(kind: libc::idtype_t, id: libc::id_t, options: libc::c_int) -> io::Result<Option<(i32, Exit)>> {
    Ok(wait_id(kind, id, options)?.map(|waited| (waited.pid, waited.exit())))
}

/// One waitid(2) that never waits (WNOHANG): what it says of a process that matches, if it says anything.
pub(super) fn wait_id(
    kind: libc::idtype_t,
    id: libc::id_t,
    options: libc::c_int,
) -> io::Result<Option<Waited>> {
    // SAFETY: all zeroes is a valid siginfo_t: it is plain numbers (and pointers that nobody reads).
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is ours and lives through the call, which fills it.
    uninterrupted(|| check(unsafe { libc::waitid(kind, id, &raw mut info, options | libc::WNOHANG) }))?;
    // SAFETY: waitid fills the SIGCHLD fields, or leaves them 0 where nothing has ended (waitid(2)).
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    Ok((pid != 0).then_some(Waited { pid, code: info.si_code, status }))
}

/// Reaps children that no pidfd watches (as PID 1, or subreaper), skipping pids that are `mine`.
///
/// waitid(2) shows only the first child that has ended; when that is one of `mine`, and must stay
/// for its own pidfd, it would hide all others. So the kernel is asked with WNOWAIT while the
/// answers are strangers, and from the first of `mine` on by name: each child (`procfs::children`)
/// that is not `mine` is waited for.
/// Nobody but this process removes from that list, so that a stranger is missed only if it arrives
/// meanwhile; its own SIGCHLD asks again.
pub fn reap_strangers(mine: &dyn Fn(i32) -> bool) -> io::Result<Vec<(i32, Exit)>> {
    let mut reaped = Vec::new();
    loop {
        match wait(libc::P_ALL, 0, libc::WEXITED | libc::WNOWAIT) {
            Ok(None) => return Ok(reaped),
            Ok(Some((pid, _))) if mine(pid) => break,
            Ok(Some((pid, _))) => reaped.extend(reap(pid)?),
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(reaped),
            Err(error) => return Err(error).tried(|| "look for children that have ended".into()),
        }
    }
    for pid in procfs::children(pid())?.into_iter().filter(|&pid| !mine(pid)) {
        reaped.extend(reap(pid)?);
    }
    Ok(reaped)
}

fn reap(pid: i32) -> io::Result<Option<(i32, Exit)>> {
    match wait(libc::P_PID, pid.unsigned_abs(), libc::WEXITED) {
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        other => other.tried(|| format!("reap process {pid}")),
    }
}

/// Our process id. getpid(2).
pub fn pid() -> i32 {
    std::process::id().cast_signed()
}

/// The parent's process id, as of now: it changes when the parent ends. getppid(2).
pub fn parent_pid() -> i32 {
    nix::unistd::getppid().as_raw()
}

/// prctl(PR_SET_PDEATHSIG): we are killed when our parent ends; false if `parent` has ended already.
///
/// For a forked child that must not outlive its maker. Changing identity and exec of a privileged
/// program undo it.
pub fn die_with(parent: i32) -> io::Result<bool> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).tried(|| "ask to end with the parent".into())?;
    Ok(parent_pid() == parent)
}

/// Our effective user id. geteuid(2).
pub fn euid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// prctl(PR_SET_DUMPABLE, 0): nobody of our own uid may open our descriptors through /proc.
///
/// exec sets it back, and fork keeps it: a worker that is to leave core files needs it undone.
pub fn make_undumpable() -> io::Result<()> {
    nix::sys::prctl::set_dumpable(false).tried(|| "make the process undumpable".into())
}

/// Resident set size in bytes of a process, None if it is gone. proc(5), /proc/PID/statm.
pub fn resident(pid: i32) -> Option<u64> {
    procfs::memory(pid).map(|memory| memory.resident)
}

/// "SIGSEGV" for 11 and so on; "signal 64" where there is no name. signal(7).
pub fn signal_name(number: i32) -> String {
    match Signal::try_from(number) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) => format!("signal {number}"),
    }
}

/// 15 for "TERM" and for "SIGTERM"; None for what is no signal's name. signal(7).
pub fn signal_number(name: &str) -> Option<i32> {
    let bare = name.strip_prefix("SIG").unwrap_or(name);
    format!("SIG{bare}").parse::<Signal>().ok().map(|signal| signal as i32)
}

/// kill(2) on a plain pid: only for a pid the caller has just verified (the CLI's -s).
///
/// Refuses 0 and below, which would mean whole groups.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    let act = || format!("send {} to process {pid}", signal_name(signal));
    if pid <= 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the id of one process")).tried(act);
    }
    // SAFETY: plain numbers.
    check(unsafe { libc::kill(pid, signal) }).tried(act).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::fork::{Side, exit_now, fork};
    use super::super::testing::{alone, in_child, wait_until};
    use super::*;
    use std::io::{Read, Write};

    /// Starts a child that ends by itself with this code.
    fn child(code: i32) -> (i32, Pidfd) {
        match fork().unwrap() {
            Side::Child => exit_now(code),
            Side::Parent { pid, pidfd } => (pid, pidfd),
        }
    }

    /// Starts a child that stays until it is killed, or a failed test ends its parent.
    fn sleeper() -> (i32, Pidfd) {
        match fork().unwrap() {
            Side::Child => {
                let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
                loop {
                    std::thread::park();
                }
            }
            Side::Parent { pid, pidfd } => (pid, pidfd),
        }
    }

    #[test]
    fn a_child_ends_with_its_parent() {
        alone(|| {
            // Whoever loses its parent becomes ours, and its end can be seen.
            nix::sys::prctl::set_child_subreaper(true).unwrap();
            let (mut read, write) = std::io::pipe().unwrap();
            let Side::Parent { pidfd: parent, .. } = fork().unwrap() else {
                let parent = pid();
                if let Side::Parent { .. } = fork().unwrap() {
                    loop {
                        std::thread::park();
                    }
                }
                assert!(die_with(parent).unwrap() && !die_with(parent + 1).unwrap());
                (&write).write_all(&pid().to_ne_bytes()).unwrap();
                loop {
                    std::thread::park();
                }
            };
            let mut number = [0; 4];
            read.read_exact(&mut number).unwrap();
            let child = Pidfd::open(i32::from_ne_bytes(number)).unwrap();
            parent.send_signal(libc::SIGKILL).unwrap();
            let mut exit = None;
            wait_until("the child's end", || {
                exit = child.try_reap().ok().flatten();
                exit.is_some()
            });
            assert_eq!(exit, Some(Exit::Signal { number: libc::SIGKILL, core: false }));
        });
    }

    fn has_ended(pid: i32) -> bool {
        wait(libc::P_PID, pid.unsigned_abs(), libc::WEXITED | libc::WNOWAIT).unwrap().is_some()
    }

    #[test]
    fn ends_are_told_apart() {
        assert_eq!(in_child(|| exit_now(42)), Exit::Code(42));
        alone(|| {
            let (_, pidfd) = sleeper();
            assert_eq!((pidfd.try_reap().unwrap(), pidfd.ended().unwrap()), (None, None));
            assert!(pidfd.send_signal(libc::SIGKILL).unwrap());
            let mut exit = None;
            wait_until("the end", || {
                exit = pidfd.ended().unwrap();
                exit.is_some()
            });
            assert_eq!(exit, Some(Exit::Signal { number: libc::SIGKILL, core: false }));
            assert_eq!(pidfd.try_reap().unwrap(), exit, "it was still there");
            assert!(!pidfd.send_signal(libc::SIGTERM).unwrap(), "it is gone");
            assert!(pidfd.try_reap().is_err(), "reaped once only");
        });
        // A real-time signal, which has no name.
        let exit = in_child(|| {
            super::super::signal::unblock_all().unwrap();
            kill(pid(), 40).unwrap();
        });
        assert_eq!(exit, Exit::Signal { number: 40, core: false });
    }

    #[test]
    fn strangers_are_reaped_and_our_own_left_alone() {
        alone(|| {
            assert_eq!(reap_strangers(&|_| false).unwrap(), []);
            // Ours are first, in the middle and last, so that one of them always hides a stranger.
            let (first, first_handle) = child(1);
            let (a, _a) = child(11);
            let (middle, middle_handle) = child(2);
            let (b, _b) = child(12);
            let (alive, alive_handle) = sleeper();
            let (last, last_handle) = child(3);
            let mine = [first, middle, last];
            wait_until("all to end", || [first, a, middle, b, last].into_iter().all(has_ended));

            let mut reaped = reap_strangers(&|pid| mine.contains(&pid)).unwrap();
            reaped.sort_by_key(|&(pid, _)| pid);
            assert_eq!(reaped, [(a, Exit::Code(11)), (b, Exit::Code(12))]);
            assert_eq!(reap_strangers(&|pid| mine.contains(&pid)).unwrap(), []);

            for (handle, code) in [(first_handle, 1), (middle_handle, 2), (last_handle, 3)] {
                assert_eq!(handle.try_reap().unwrap(), Some(Exit::Code(code)));
            }
            alive_handle.send_signal(libc::SIGKILL).unwrap();
            wait_until("the last one", || has_ended(alive));
            let killed = Exit::Signal { number: libc::SIGKILL, core: false };
            assert_eq!(reap_strangers(&|_| false).unwrap(), [(alive, killed)]);
        });
    }

    #[test]
    fn signals_have_names() {
        assert_eq!(signal_name(libc::SIGSEGV), "SIGSEGV");
        assert_eq!(signal_name(64), "signal 64");
        assert_eq!(signal_name(-1), "signal -1");
        for number in (1..=31).filter(|n| signal_name(*n).starts_with("SIG")) {
            let name = signal_name(number);
            assert_eq!(signal_number(&name), Some(number));
            assert_eq!(signal_number(&name[3..]), Some(number), "{name}");
        }
        assert_eq!(signal_number("WINCH"), Some(libc::SIGWINCH));
        for none in ["", "SIG", "SIGSIGTERM", "term", "TERM ", "15"] {
            assert_eq!(signal_number(none), None, "{none:?}");
        }
    }

    #[test]
    fn groups_are_never_killed() {
        for pid in [0, -1, -12345] {
            assert_eq!(kill(pid, 0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        kill(pid(), 0).unwrap();
    }

    #[test]
    fn facts_about_processes() {
        assert!(resident(pid()).unwrap() > 100 * 1024);
        assert_eq!(resident(i32::MAX), None);
        let parent = pid();
        alone(move || {
            assert_eq!(parent_pid(), parent);
            make_undumpable().unwrap();
            assert!(!nix::sys::prctl::get_dumpable().unwrap());
        });
        assert!(Pidfd::open(i32::MAX).is_err());
    }
}
