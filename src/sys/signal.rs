//! Signals: the one table, the mask, and reading them as data.
//!
//! The master blocks everything first thing (`block_all`) and reads what comes from a signalfd;
//! no handler runs, so nothing is interrupted halfway. Children come out of `fork::fork` with
//! default dispositions and a blocked mask.
//! Never: installs a handler, decides what a signal leads to.

use super::failure::{Tried, check, check_size, uninterrupted};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// What a signal to the master means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Word {
    Reload,
    Upgrade,
    Quit,
    Terminate,
    Interrupt,
    Reopen,
    Drain,
    More,
    Fewer,
    Child,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub number: i32,
    /// Without the `SIG`.
    pub name: &'static str,
    /// The word after `masterd -s`, where there is one.
    pub cli: Option<&'static str>,
    pub word: Word,
    /// For the manual and the log.
    pub meaning: &'static str,
}

const fn row(
    number: i32,
    name: &'static str,
    cli: Option<&'static str>,
    word: Word,
    meaning: &'static str,
) -> Entry {
    Entry { number, name, cli, word, meaning }
}

/// The one table: number, name, CLI word (for `-s`), meaning. The signalfd, the log, `-s` and the
/// manual read it.
pub const TABLE: &[Entry] = &[
    row(
        libc::SIGHUP,
        "HUP",
        Some("reload"),
        Word::Reload,
        "reload: a new generation from the config as it is now, then the old one drains",
    ),
    row(libc::SIGUSR2, "USR2", Some("upgrade"), Word::Upgrade, "upgrade the binary"),
    row(libc::SIGQUIT, "QUIT", Some("quit"), Word::Quit, "graceful stop"),
    row(
        libc::SIGTERM,
        "TERM",
        Some("stop"),
        Word::Terminate,
        "graceful stop, or fast with `sigterm = \"fast\"`; a second TERM is fast",
    ),
    row(
        libc::SIGINT,
        "INT",
        None,
        Word::Interrupt,
        "fast stop: connections are closed, workers still there after one second are killed",
    ),
    row(libc::SIGUSR1, "USR1", Some("reopen"), Word::Reopen, "reopen log files, in master and workers"),
    row(libc::SIGWINCH, "WINCH", None, Word::Drain, "drain all workers, keep master and listeners"),
    row(libc::SIGTTIN, "TTIN", None, Word::More, "one worker more in every service"),
    row(libc::SIGTTOU, "TTOU", None, Word::Fewer, "one worker fewer in every service"),
    row(libc::SIGCHLD, "CHLD", None, Word::Child, "a child has ended"),
];

/// One signal read from a signalfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caught {
    pub number: i32,
    /// si_code is SI_KERNEL: a terminal sent it.
    pub from_kernel: bool,
    /// The sender's pid, as its own namespace lets us see it; 0 for the kernel.
    pub sender: i32,
}

/// A non-blocking, CLOEXEC signalfd. signalfd(2).
///
/// Bound to the process that adds it to an epoll set: a child makes its own.
#[derive(Debug)]
pub struct SignalFd(pub OwnedFd);

impl SignalFd {
    /// Watches these signals, which the caller has blocked: an unblocked one is delivered, not read.
    pub fn new(numbers: &[i32]) -> io::Result<SignalFd> {
        let act = || format!("make a signalfd for {numbers:?}");
        let mut set = empty_set();
        for &number in numbers {
            // SAFETY: `set` is an initialised set of ours; a number that is no signal is EINVAL.
            check(unsafe { libc::sigaddset(&raw mut set, number) }).tried(act)?;
        }
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: `set` lives through the call; −1 asks for a new descriptor.
        let fd = check(unsafe { libc::signalfd(-1, &raw const set, flags) }).tried(act)?;
        // SAFETY: the kernel has just made this number for us.
        Ok(SignalFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The next waiting signal; None when there is none. Equal signals may have become one.
    pub fn read(&self) -> io::Result<Option<Caught>> {
        const SIZE: usize = size_of::<libc::signalfd_siginfo>();
        // SAFETY: all zeroes is a valid signalfd_siginfo: it is plain numbers.
        let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
        let got = uninterrupted(|| {
            // SAFETY: `info` is ours, SIZE bytes long, and plain numbers whatever is written into it.
            check_size(unsafe { libc::read(self.as_raw_fd(), (&raw mut info).cast(), SIZE) })
        });
        match got {
            Ok(SIZE) => Ok(Some(Caught {
                number: info.ssi_signo.cast_signed(),
                from_kernel: info.ssi_code == libc::SI_KERNEL,
                sender: info.ssi_pid.cast_signed(),
            })),
            Ok(short) => Err(io::Error::other(format!("signalfd gave {short} bytes instead of {SIZE}"))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsRawFd for SignalFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

fn empty_set() -> libc::sigset_t {
    // SAFETY: all zeroes is a valid sigset_t (an array of numbers), and sigemptyset makes it empty.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        set
    }
}

/// Blocks every signal that can be blocked and sets all dispositions to default, PIPE to ignored.
///
/// First thing in the master: an inherited SIG_IGN of SIGCHLD would make the kernel reap our
/// children behind our back (sigaction(2)).
pub fn block_all() -> io::Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None).tried(|| "block all signals".into())?;
    reset_dispositions()
}

/// Unblocks every signal: before exec, since a blocked mask survives it (signal(7)).
pub fn unblock_all() -> io::Result<()> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).tried(|| "unblock all signals".into())
}

/// Default for SIGPIPE as well, which `fork` leaves ignored: programs expect to be ended by a pipe that
/// nobody reads, and an ignored signal survives exec (signal(7)).
pub(super) fn pipe_ends_us() -> io::Result<()> {
    // SAFETY: names no function of ours, only the default.
    let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    if before == libc::SIG_ERR { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Default for all catchable signals, SIGPIPE ignored: a write to a closed socket is an error.
///
/// What is so already is left alone: setting the default of a signal whose default is to be ignored
/// (CHLD, WINCH) discards one that is pending, and one sent during an exec is (sigaction(2), POSIX).
pub(super) fn reset_dispositions() -> io::Result<()> {
    for number in 1..=libc::SIGRTMAX() {
        // 32 and 33 are the C library's own (nptl(7)); sigaction refuses them.
        let own = number > libc::SIGSYS && number < libc::SIGRTMIN();
        if own || number == libc::SIGKILL || number == libc::SIGSTOP {
            continue;
        }
        let handler = if number == libc::SIGPIPE { libc::SIG_IGN } else { libc::SIG_DFL };
        // SAFETY: all zeroes is a valid sigaction (no flags, no restorer, an all-zero mask).
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler;
        // SAFETY: as above; it is only written to.
        let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
        let act = || format!("reset the disposition of {}", super::process::signal_name(number));
        // SAFETY: `now` lives through the call, and nothing is set.
        check(unsafe { libc::sigaction(number, std::ptr::null(), &raw mut now) }).tried(act)?;
        if now.sa_sigaction == handler {
            continue;
        }
        // SAFETY: `action` names no function of ours, only default or ignore, and lives through the call.
        check(unsafe { libc::sigaction(number, &raw const action, std::ptr::null_mut()) }).tried(act)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::process::{kill, pid, signal_name};
    use super::super::testing::{alone, bit, signals, wait_until};
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_table_says_nothing_twice() {
        let mut seen = HashSet::new();
        for entry in TABLE {
            assert_eq!(signal_name(entry.number), format!("SIG{}", entry.name));
            assert!(seen.insert(entry.number.to_string()), "{}", entry.name);
            assert!(seen.insert(format!("{:?}", entry.word)), "{}", entry.name);
            assert!(entry.cli.is_none_or(|word| seen.insert(word.to_owned())), "{}", entry.name);
            assert!(!entry.meaning.is_empty());
        }
        let words: Vec<&str> = TABLE.iter().filter_map(|entry| entry.cli).collect();
        assert_eq!(words, ["reload", "upgrade", "quit", "stop", "reopen"]);
    }

    #[test]
    fn signals_are_read_with_their_sender() {
        alone(|| {
            block_all().unwrap();
            let fd = SignalFd::new(&[libc::SIGHUP, libc::SIGTERM, libc::SIGALRM]).unwrap();
            assert_eq!(fd.read().unwrap(), None);
            kill(pid(), libc::SIGTERM).unwrap();
            let sent = Caught { number: libc::SIGTERM, from_kernel: false, sender: pid() };
            assert_eq!(fd.read().unwrap(), Some(sent));
            assert_eq!(fd.read().unwrap(), None);

            let soon = libc::timeval { tv_sec: 0, tv_usec: 1000 };
            let once =
                libc::itimerval { it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 }, it_value: soon };
            // SAFETY: `once` lives through the call; the old value is not asked for.
            unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const once, std::ptr::null_mut()) };
            let mut caught = None;
            wait_until("the alarm", || {
                caught = fd.read().unwrap();
                caught.is_some()
            });
            assert_eq!(caught, Some(Caught { number: libc::SIGALRM, from_kernel: true, sender: 0 }));
        });
        assert!(SignalFd::new(&[0]).is_err());
    }

    #[test]
    fn what_was_sent_before_is_still_to_be_read() {
        alone(|| {
            for number in [libc::SIGWINCH, libc::SIGCHLD, libc::SIGHUP] {
                block_all().unwrap();
                kill(pid(), number).unwrap();
                block_all().unwrap();
                let caught = SignalFd::new(&[number]).unwrap().read().unwrap();
                assert_eq!(caught.map(|c| c.number), Some(number));
            }
        });
    }

    #[test]
    fn inherited_dispositions_are_forgotten() {
        alone(|| {
            // SAFETY: ignores a signal in this child of a test.
            unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
            block_all().unwrap();
            assert_eq!(signals("SigIgn"), bit(libc::SIGPIPE));
            assert_eq!(signals("SigCgt"), 0);
            assert_ne!(signals("SigBlk") & bit(libc::SIGTERM), 0);
            unblock_all().unwrap();
            assert_eq!(signals("SigBlk"), 0);
        });
    }
}
