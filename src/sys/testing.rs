//! What the tests of this room and of its neighbours share: a folder that goes away, a deadline, and
//! code run in a process of its own.
//!
//! `in_child` is for whatever changes the whole process (umask, ids, signals, closing descriptors)
//! or needs a process with one thread: the child has only the thread that forked.

use super::process::Exit;
use super::{fd, fork};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Once, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(20);

/// A fresh folder of mode 0700, removed with all it holds when dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("masterd-{}-{n}", std::process::id()));
        std::fs::DirBuilder::new().create(&path).expect("make a folder for the test");
        Folder(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Waits until the condition holds; panics with `what` when it takes too long.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited too long for: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

static HOOK: Once = Once::new();
static IN_CHILD: AtomicBool = AtomicBool::new(false);

/// Makes a panic in a child write its text by itself: the usual printing takes locks. Installed before
/// the fork, since changing the hook takes one too.
fn install_hook() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if IN_CHILD.load(Ordering::Relaxed) {
            let _ = fd::write_now(std::io::stderr().as_fd(), format!("in child: {panic}\n").as_bytes());
        } else {
            usual(panic);
        }
    }));
}

/// Held for writing while a forked child lives, for reading by tests that count on a close.
static FORKS: RwLock<()> = RwLock::new(());

/// No test forks while this is held: for tests to which the last close of a descriptor matters, since
/// a child would hold copies of all. Not together with `in_child`, which would wait for ever.
pub(crate) fn no_forks() -> RwLockReadGuard<'static, ()> {
    FORKS.read().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `body` in a forked child and says how that ended. A panic is code 101, its text on stderr.
///
/// `body` must not print or take a lock that another thread of the tests may hold at the fork.
pub(crate) fn in_child(body: impl FnOnce()) -> Exit {
    HOOK.call_once(install_hook);
    let _alone = FORKS.write().unwrap_or_else(PoisonError::into_inner);
    let pidfd = match fork::fork_here().expect("fork") {
        fork::Side::Parent { pidfd, .. } => pidfd,
        fork::Side::Child => {
            IN_CHILD.store(true, Ordering::Relaxed);
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
            fork::exit_now(if ended.is_ok() { 0 } else { 101 })
        }
    };
    let mut exit = None;
    let start = Instant::now();
    while exit.is_none() {
        if start.elapsed() > PATIENCE {
            pidfd.send_signal(libc::SIGKILL).expect("kill the child");
        }
        exit = pidfd.try_reap().expect("reap the child");
        std::thread::sleep(Duration::from_millis(1));
    }
    exit.expect("an end")
}

/// `in_child` for a body that must come to its end.
pub(crate) fn alone(body: impl FnOnce()) {
    assert_eq!(in_child(body), Exit::Code(0), "the body of the test failed in its own process");
}

/// The signals in a line of /proc/self/status ("SigIgn", "SigBlk"…), as bits; 32 and 33, which the C
/// library keeps for itself, are left out.
pub(crate) fn signals(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("read /proc/self/status");
    let hex =
        status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(":")).expect("a line of signals");
    u64::from_str_radix(hex.trim(), 16).expect("hexadecimal") & !(bit(32) | bit(33))
}

pub(crate) fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// Lets files of this process grow no further than `bytes` (RLIMIT_FSIZE): a full disk for tests.
/// Only in a child, whose signals are blocked (SIGXFSZ would end it).
pub(crate) fn limit_file_size(bytes: u64) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).expect("read the file size limit");
    setrlimit(Resource::RLIMIT_FSIZE, bytes.min(hard), hard).expect("set the file size limit");
}

/// Makes a FIFO and opens its read end, which does not wait.
pub(crate) fn fifo(path: &Path) -> std::fs::File {
    use nix::fcntl::OFlag;
    use nix::sys::stat::Mode;
    nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o600)).expect("make a FIFO");
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, Mode::empty()).expect("open a FIFO").into()
}
