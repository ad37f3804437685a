//! fork(2), made safe to use from an event loop.
//!
//! Called by the master for workers, by whoever reads configs for the config child, and by
//! `--daemon`. No signal is handled between the fork and the child's clean slate: everything is
//! blocked around it. Pending signals, timers and record locks do not cross a fork (fork(2)).
//! Never: forks a process that has threads (their locks would stay locked in the child), returns an
//! error in the child, or leaves a child behind an error in the parent.

use super::failure::{Tried, check};
use super::process::Pidfd;
use super::signal;
use nix::sys::signal::{SigSet, SigmaskHow};
use std::io;

/// Which side of the fork this is.
#[derive(Debug)]
pub enum Side {
    Parent { pid: i32, pidfd: Pidfd },
    Child,
}

/// fork(2) with all signals blocked around it.
///
/// In the child the dispositions of all catchable signals are reset to default (SIGPIPE stays
/// ignored) and the mask stays fully blocked: it opens its own signalfd, or calls
/// `signal::unblock_all` before exec. Refuses if this process has more than one thread
/// (/proc/self/status). The parent gets a pidfd (pidfd_open(2)) that cannot be somebody else's,
/// because the child is not reaped before; if there is none to be had, the child is ended again.
pub fn fork() -> io::Result<Side> {
    match threads()? {
        1 => fork_here(),
        n => Err(io::Error::other(format!(
            "fork: this process has {n} threads, whose locks would stay locked in the child; fork before starting any"
        ))),
    }
}

/// `fork` without the look at the threads; outside of tests only `fork` calls it.
pub(super) fn fork_here() -> io::Result<Side> {
    let before = SigSet::all()
        .thread_swap_mask(SigmaskHow::SIG_SETMASK)
        .tried(|| "block signals for a fork".into())?;
    let restore = || before.thread_set_mask().tried(|| "restore the signal mask after a fork".into());
    // SAFETY: fork duplicates the calling thread only. `fork` has checked that there is no other, so
    // every lock and the allocator are in the state this thread left them in.
    let outcome = check(unsafe { libc::fork() }).tried(|| "fork".into());
    let pid = match outcome {
        Ok(0) => {
            // An error must not be returned here: the caller would take it for the parent's.
            if signal::reset_dispositions().is_err() {
                exit_now(70);
            }
            return Ok(Side::Child);
        }
        Ok(pid) => pid,
        Err(error) => {
            restore()?;
            return Err(error);
        }
    };
    match Pidfd::open(pid).and_then(|pidfd| restore().map(|()| pidfd)) {
        Ok(pidfd) => Ok(Side::Parent { pid, pidfd }),
        Err(error) => {
            end(pid);
            restore()?;
            Err(error)
        }
    }
}

/// Kills and reaps a child that nobody else has heard of yet.
fn end(pid: i32) {
    // SAFETY: `pid` is our own child and not reaped, so the number is still its own. Both calls can
    // fail only if it were not; the status is of no interest.
    unsafe {
        libc::kill(pid, libc::SIGKILL);
        libc::waitpid(pid, std::ptr::null_mut(), 0);
    }
}

/// Threads of this process, by /proc/self/status.
fn threads() -> io::Result<usize> {
    let status = std::fs::read_to_string("/proc/self/status").tried(|| "read /proc/self/status".into())?;
    let line = status.lines().find_map(|line| line.strip_prefix("Threads:"));
    let count = line.and_then(|text| text.trim().parse().ok());
    count.ok_or_else(|| io::Error::other("/proc/self/status names no number of threads"))
}

/// _exit(2): no atexit, no unwinding, no flush.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process; nothing of it is used afterwards.
    unsafe { libc::_exit(code) }
}

/// setsid(2): leaves the terminal and leads a new session and process group.
///
/// Fails (EPERM) in a process group leader: `--daemon` forks first, calls this in the child, and
/// forks once more so that the daemon, no session leader, never gains a terminal by opening one.
pub fn new_session() -> io::Result<()> {
    nix::unistd::setsid().tried(|| "start a new session".into()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::process::Exit;
    use super::super::testing::{alone, bit, signals, wait_until};
    use super::*;

    #[test]
    fn a_process_with_threads_is_not_forked() {
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || held.recv());
        let refused = fork().unwrap_err().to_string();
        drop(hold);
        assert!(other.join().unwrap().is_err());
        assert!(refused.contains("threads"), "{refused}");
    }

    /// Forks; the child says by its end whether all of `clean` holds there.
    fn child_finds(clean: impl FnOnce() -> bool) -> bool {
        let pidfd = match fork().unwrap() {
            Side::Child => exit_now(if clean() { 7 } else { 8 }),
            Side::Parent { pidfd, .. } => pidfd,
        };
        let mut exit = None;
        wait_until("the child's end", || {
            exit = pidfd.try_reap().unwrap();
            exit.is_some()
        });
        exit == Some(Exit::Code(7))
    }

    #[test]
    fn the_child_starts_with_default_dispositions_and_all_signals_blocked() {
        alone(|| {
            for signal in [libc::SIGHUP, libc::SIGUSR1] {
                // SAFETY: sets a signal to be ignored in this child process of a test.
                unsafe { libc::signal(signal, libc::SIG_IGN) };
            }
            signal::unblock_all().unwrap();
            assert!(child_finds(|| signals("SigIgn") == bit(libc::SIGPIPE)
                && signals("SigCgt") == 0
                && signals("SigBlk") & bit(libc::SIGTERM) != 0));
            assert_eq!(signals("SigBlk"), 0, "the parent's mask is as it was");
            assert_ne!(signals("SigIgn") & bit(libc::SIGHUP), 0, "and so are its dispositions");
        });
    }

    #[test]
    fn signals_that_wait_for_the_parent_are_not_the_childs() {
        alone(|| {
            signal::block_all().unwrap();
            super::super::process::kill(super::super::process::pid(), libc::SIGTERM).unwrap();
            assert_ne!(signals("ShdPnd") & bit(libc::SIGTERM), 0);
            assert!(child_finds(|| signals("ShdPnd") == 0 && signals("SigPnd") == 0));
            assert_ne!(signals("ShdPnd") & bit(libc::SIGTERM), 0);
        });
    }

    #[test]
    fn a_new_session_has_its_own_leader() {
        alone(|| {
            new_session().unwrap();
            // SAFETY: asks for a number.
            assert_eq!(unsafe { libc::getsid(0) }, super::super::process::pid());
            assert_eq!(super::super::errno(&new_session().unwrap_err()), Some(libc::EPERM));
        });
    }
}
