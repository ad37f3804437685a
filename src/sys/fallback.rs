//! The way back to the image before this one, for as long as this one has not proved itself.
//!
//! After a binary upgrade a crash, an abort, a panic or a standstill of the new image must not end the
//! process: it is the master. `arm` sets handlers for SEGV, BUS, ILL, FPE, ABRT and ALRM, on a stack
//! of their own, and a panic hook; each does nothing but execute the old image again (execveat(2) is
//! what a handler may do: signal-safety(7) allows exec). The timer (setitimer(2), ITIMER_REAL) is
//! started by the *old* image before the exec, which it survives, and put off by `kick` once a turn.
//! The old image learns why from one variable of the environment.
//!
//! Forked children have neither timer nor handlers (fork clears the one, `sys::fork` the other), and
//! the panic hook looks whose process it is in. Never: allocates, locks or returns in a handler.

use super::exec::{Program, pointers};
use super::failure::{Tried, check};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use std::ffi::{CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What a crash means for the process while the way back is open.
const FATAL: [Signal; 5] = [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE, Signal::SIGABRT];

/// Stack of the handlers: they run when the usual one may be used up.
const STACK: usize = 64 * 1024;

/// Longest reason that is passed on, bytes.
const REASON: usize = 512;

/// Set while the way back is open.
static ARMED: AtomicBool = AtomicBool::new(false);
/// Whose way back it is.
static PID: AtomicI32 = AtomicI32::new(0);
static OLD: AtomicI32 = AtomicI32::new(-1);
/// The owner of that number.
static KEPT: Mutex<Option<OwnedFd>> = Mutex::new(None);
/// Null-terminated arrays for execveat, never freed.
static ARGS: AtomicPtr<*const c_char> = AtomicPtr::new(std::ptr::null_mut());
static ENV: AtomicPtr<*const c_char> = AtomicPtr::new(std::ptr::null_mut());
/// Where the reason stands in `ENV`: `REASON` bytes and a NUL.
static SAID: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());

/// Starts (or puts off) the timer that ends a standstill; zero stops it. setitimer(2).
///
/// ALRM must be blocked until a handler stands: its default is to end the process.
pub fn timer(patience: Duration) -> io::Result<()> {
    let value = libc::timeval {
        tv_sec: libc::time_t::try_from(patience.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_usec: libc::suseconds_t::from(patience.subsec_micros()),
    };
    let once = libc::itimerval { it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 }, it_value: value };
    // SAFETY: `once` lives through the call; the old value is not asked for.
    check(unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const once, std::ptr::null_mut()) })
        .tried(|| "set the timer against a standstill".into())
        .map(drop)
}

/// Opens the way back: from here on a crash, a panic or the timer executes `old` with these arguments
/// and this environment, to which `variable=REASON` is added.
///
/// To be called once, by a process with one thread, while the signals concerned are blocked.
pub fn arm(old: Program, args: &[CString], env: &[CString], variable: &str) -> io::Result<()> {
    let mut said = vec![0u8; variable.len() + 1 + REASON + 1];
    said[..variable.len()].copy_from_slice(variable.as_bytes());
    said[variable.len()] = b'=';
    // What a handler reads must live for as long as the process: none of this is ever freed.
    let said: &'static mut [u8] = Box::leak(said.into_boxed_slice());
    let reason = said[variable.len() + 1..].as_mut_ptr();
    let mut env = pointers(Box::leak(env.to_vec().into_boxed_slice()));
    env.insert(0, said.as_ptr().cast());
    let args = pointers(Box::leak(args.to_vec().into_boxed_slice()));
    ARGS.store(Box::leak(args.into_boxed_slice()).as_mut_ptr(), Ordering::Relaxed);
    ENV.store(Box::leak(env.into_boxed_slice()).as_mut_ptr(), Ordering::Relaxed);
    SAID.store(reason, Ordering::Relaxed);
    PID.store(super::process::pid(), Ordering::Relaxed);
    OLD.store(old.fd.as_raw_fd(), Ordering::Relaxed);
    *KEPT.lock().unwrap_or_else(PoisonError::into_inner) = Some(old.fd);
    ARMED.store(true, Ordering::Release);
    own_stack()?;
    for signal in FATAL.into_iter().chain([Signal::SIGALRM]) {
        handle(signal as c_int, handler as *const () as libc::sighandler_t)?;
    }
    std::panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let owned = || payload.downcast_ref::<String>().map(String::as_str);
        let text = payload.downcast_ref::<&str>().copied().or_else(owned).unwrap_or("no message");
        let place = info.location().map(|l| format!(" ({l})")).unwrap_or_default();
        // Comes back if the old image can't be had, or in a child: then the panic goes its way.
        go_back(&format!("panicked: {text}{place}"));
    }));
    mask(SigmaskHow::SIG_UNBLOCK)
}

/// Closes the way back: this image is the master now, and crashes like any other program.
pub fn disarm() -> io::Result<()> {
    ARMED.store(false, Ordering::Release);
    timer(Duration::ZERO)?;
    mask(SigmaskHow::SIG_BLOCK)?;
    for signal in FATAL.into_iter().chain([Signal::SIGALRM]) {
        handle(signal as c_int, libc::SIG_DFL)?;
    }
    drop(std::panic::take_hook());
    OLD.store(-1, Ordering::Relaxed);
    drop(KEPT.lock().unwrap_or_else(PoisonError::into_inner).take());
    Ok(())
}

/// Executes the old image for this reason; comes back if there is none, if this process is a child
/// of the one that `arm` was called in, or if it can't be executed.
pub fn go_back(reason: &str) {
    let said = SAID.load(Ordering::Relaxed);
    if said.is_null() || !ARMED.load(Ordering::Acquire) {
        return;
    }
    for (i, byte) in reason.bytes().filter(|b| *b != 0).take(REASON).chain([0]).enumerate() {
        // SAFETY: `said` points to REASON + 1 bytes that `arm` leaked for this; one thread writes them.
        unsafe { said.add(i).write(byte) };
    }
    retreat();
}

/// Nothing in here may allocate, lock or panic: it runs in signal handlers.
fn retreat() {
    let (old, args, env) =
        (OLD.load(Ordering::Relaxed), ARGS.load(Ordering::Relaxed), ENV.load(Ordering::Relaxed));
    // SAFETY: getpid only asks. The arrays and their strings were leaked by `arm`, so they are valid;
    // the call returns only when nothing was replaced.
    unsafe {
        if libc::getpid() == PID.load(Ordering::Relaxed) {
            libc::syscall(libc::SYS_execveat, old, c"".as_ptr(), args, env, libc::AT_EMPTY_PATH);
        }
    }
}

extern "C" fn handler(signal: c_int) {
    let said = SAID.load(Ordering::Relaxed);
    if ARMED.load(Ordering::Acquire) && !said.is_null() {
        let (tens, ones) = (b'0' + (signal / 10 % 10) as u8, b'0' + (signal % 10) as u8);
        let words = [b's', b'i', b'g', b'n', b'a', b'l', b' ', tens, ones, 0];
        // SAFETY: as in `go_back`; REASON is longer than these ten bytes.
        unsafe { std::ptr::copy_nonoverlapping(words.as_ptr(), said, words.len()) };
        retreat();
    }
    // There is no way back: end as the signal would have ended us.
    // SAFETY: both calls may be made in a handler, and take plain numbers.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// sigaltstack(2): a stack overflow must find room for its handler.
fn own_stack() -> io::Result<()> {
    let stack: &'static mut [u8] = Box::leak(vec![0u8; STACK].into_boxed_slice());
    let new = libc::stack_t { ss_sp: stack.as_mut_ptr().cast::<c_void>(), ss_flags: 0, ss_size: STACK };
    // SAFETY: `new` names memory that is leaked, so it stays ours and writable for good.
    check(unsafe { libc::sigaltstack(&raw const new, std::ptr::null_mut()) })
        .tried(|| "give the handlers a stack of their own".into())
        .map(drop)
}

fn handle(signal: c_int, action: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: all zeroes is a valid sigaction (no flags, no restorer, an empty mask).
    let mut new: libc::sigaction = unsafe { std::mem::zeroed() };
    new.sa_sigaction = action;
    new.sa_flags = libc::SA_ONSTACK | libc::SA_NODEFER;
    // SAFETY: `action` is the default or `handler`, which has the type that goes without SA_SIGINFO.
    check(unsafe { libc::sigaction(signal, &raw const new, std::ptr::null_mut()) })
        .tried(|| format!("set the handler of {}", super::process::signal_name(signal)))
        .map(drop)
}

fn mask(how: SigmaskHow) -> io::Result<()> {
    let set: SigSet = FATAL.into_iter().chain([Signal::SIGALRM]).collect();
    nix::sys::signal::sigprocmask(how, Some(&set), None).tried(|| "mask the signals of a crash".into())
}

/// The reason that `arm`'s variable holds, in words.
pub fn in_words(reason: &str) -> String {
    match reason.strip_prefix("signal ").and_then(|n| n.parse::<c_int>().ok()) {
        Some(libc::SIGALRM) => "stood still".to_owned(),
        Some(number) => format!("crashed ({})", super::process::signal_name(number)),
        None => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fork::{Side, exit_now, fork_here};
    use super::super::process::Exit;
    use super::super::signal;
    use super::super::testing::{in_child, wait_until};
    use super::*;

    /// Arms with a shell as the old image that tells by its exit status whether it heard `reason`.
    fn armed_for(reason: &str) {
        signal::block_all().unwrap();
        let shell = Program::open(&std::fs::canonicalize("/bin/sh").unwrap()).unwrap();
        let script = format!("case $WHY in \"{reason}\"*) exit 7;; esac; echo \"heard $WHY\" >&2; exit 8");
        let args = ["sh", "-c", &script].map(|s| CString::new(s).unwrap());
        arm(shell, &args, &[CString::new("OTHER=x").unwrap()], "WHY").unwrap();
    }

    #[test]
    fn a_crash_a_panic_and_a_standstill_end_in_the_old_image() {
        let crash = |number: c_int| {
            in_child(|| {
                armed_for(&format!("signal {number:02}"));
                super::super::process::kill(super::super::process::pid(), number).unwrap();
            })
        };
        for number in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT] {
            assert_eq!(crash(number), Exit::Code(7), "{number}");
        }
        let exit = in_child(|| {
            armed_for("panicked: no more");
            panic!("no more {}", 1);
        });
        assert_eq!(exit, Exit::Code(7));
        let exit = in_child(|| {
            timer(Duration::from_millis(20)).unwrap();
            armed_for("signal 14");
            loop {
                std::thread::park();
            }
        });
        assert_eq!(exit, Exit::Code(7));
    }

    #[test]
    fn a_stack_overflow_ends_in_the_old_image() {
        fn deeper(n: u64) -> u64 {
            if std::hint::black_box([n; 512])[0] == u64::MAX {
                return 0;
            }
            deeper(n + 1) + 1
        }
        let exit = in_child(|| {
            armed_for("signal 11");
            // On a thread the guard page is near; the main thread's stack may be without a limit.
            let _ = std::thread::Builder::new().stack_size(256 << 10).spawn(|| {
                own_stack().unwrap();
                deeper(0)
            });
            loop {
                std::thread::park();
            }
        });
        assert_eq!(exit, Exit::Code(7));
    }

    #[test]
    fn once_disarmed_a_crash_is_a_crash() {
        let exit = in_child(|| {
            armed_for("");
            disarm().unwrap();
            signal::unblock_all().unwrap();
            super::super::process::kill(super::super::process::pid(), libc::SIGSEGV).unwrap();
        });
        assert!(matches!(exit, Exit::Signal { number: libc::SIGSEGV, .. }), "{exit:?}");
    }

    #[test]
    fn a_child_of_the_new_image_never_becomes_the_old_one() {
        let exit = in_child(|| {
            armed_for("");
            let Side::Parent { pidfd, .. } = fork_here().unwrap() else {
                go_back("a child's");
                exit_now(3);
            };
            let mut exit = None;
            wait_until("the child's end", || {
                exit = pidfd.try_reap().unwrap();
                exit.is_some()
            });
            exit_now(if exit == Some(Exit::Code(3)) { 3 } else { 4 });
        });
        assert_eq!(exit, Exit::Code(3));
    }

    #[test]
    fn reasons_are_told_in_words() {
        assert_eq!(in_words("signal 11"), "crashed (SIGSEGV)");
        assert_eq!(in_words("signal 14"), "stood still");
        assert_eq!(in_words("panicked: x"), "panicked: x");
    }
}
