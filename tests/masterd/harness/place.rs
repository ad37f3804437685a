//! A folder for one test, and the program run in it.
//!
//! The path is short (`/tmp/mdPID-N`), so that unix sockets fit. The folder goes when the test has
//! passed; a failed test's is kept and named. `Place::run` waits for the program, with a deadline.

use super::{SOON, wait_until};
use nix::sys::prctl;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_masterd");

static NEXT: AtomicU32 = AtomicU32::new(0);
static ADOPT: Once = Once::new();

/// A test's folder.
#[derive(Debug)]
pub struct Place {
    dir: PathBuf,
}

impl Place {
    pub fn new() -> Place {
        ADOPT.call_once(|| prctl::set_child_subreaper(true).expect("be a subreaper"));
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let dir = PathBuf::from(format!("/tmp/md{}-{number}", std::process::id()));
            match fs::create_dir(&dir) {
                Ok(()) => return Place { dir },
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => panic!("cannot make {}: {e}", dir.display()),
            }
        }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Writes a file and returns its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        // Written beside and renamed, as an editor would: no reader sees half of it.
        let beside = self.path(&format!(".{name}.new"));
        fs::write(&beside, text).expect("write a file");
        fs::rename(&beside, &path).expect("rename a file");
        path
    }

    /// Writes `masterd.toml`, the config of this place.
    pub fn config(&self, text: &str) -> PathBuf {
        self.write("masterd.toml", text)
    }

    /// The control socket that `Web` configs name.
    pub fn socket(&self) -> PathBuf {
        self.path("c.sock")
    }

    /// The text of a file, empty if there is none.
    pub fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.path(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Names of the files in the folder, sorted.
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.dir).expect("list the folder");
        let mut names: Vec<String> =
            entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// masterd, to be started in this folder, in a process group of its own, with nothing in its
    /// environment that would lead it elsewhere.
    pub fn command(&self) -> Command {
        self.command_of(BINARY)
    }

    /// Another program (a wrapper), prepared the same way.
    pub fn command_of(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.dir)
            .env_remove("MASTERD_SOCKET")
            .env_remove("NOTIFY_SOCKET")
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_PID")
            .env("MASTERD_TEST", &self.dir)
            .stdin(Stdio::null())
            .process_group(0);
        command
    }

    /// Runs masterd to its end.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Output {
        self.begin(args).finish()
    }

    /// Starts masterd, to be looked at while it runs.
    pub fn begin(&self, args: &[&str]) -> Running {
        let mut command = self.command();
        command.args(args);
        Running::start(command)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept for you: {}", self.dir.display());
        } else if std::env::var_os("MASTERD_TEST_KEEP").is_none() {
            // A folder that can't be removed harms no test.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// A port that is free now, outside the range that the kernel hands out to others (ip(7)); for the
/// few tests that need to know it beforehand.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let own = std::process::id() % 500;
    let mut ports = (0..1000).map(|_| 20_000 + (own * 20 + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000);
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.by_ref().filter_map(|port| u16::try_from(port).ok()).find(free).expect("a free port")
}

/// How a program ended and what it said. `code` is −N if signal N ended it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Insists on an exit status; shows what was said otherwise.
    #[track_caller]
    pub fn expect(self, code: i32) -> Output {
        assert_eq!(self.code, code, "exit status; it said: {self:#?}");
        self
    }
}

/// A program on its way.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
}

impl Running {
    pub fn start(mut command: Command) -> Running {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start a program");
        let stdout = Some(collect(child.stdout.take().expect("a pipe")));
        let stderr = Some(collect(child.stderr.take().expect("a pipe")));
        Running { child, stdout, stderr }
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().expect("look at a child").is_some()
    }

    /// Waits for its end. A pipe that a descendant keeps open counts as not ended.
    #[track_caller]
    pub fn finish(mut self) -> Output {
        wait_until("a program ends", SOON * 3, || self.ended());
        let status = self.child.wait().expect("a child that has ended");
        let text = |thread: Option<JoinHandle<String>>| {
            let thread = thread.expect("finished once");
            wait_until("its output ends too", SOON, || thread.is_finished());
            thread.join().expect("read output")
        };
        let (stdout, stderr) = (text(self.stdout.take()), text(self.stderr.take()));
        Output { code: code_of(status), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only of use after a failure; one that has ended stays as it is.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Exit status, or minus the signal's number.
pub fn code_of(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or(status.signal().map(|s| -s)).expect("ended one way or the other")
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).expect("read a pipe");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
