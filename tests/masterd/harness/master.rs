//! A running master: started, asked, signalled, and ended with nothing left behind.
//!
//! `finish` (or the drop) sends QUIT to a master that still runs and insists on: exit status 0, no
//! process of its group left, no socket, pid or lock file of its config left, no line in the log
//! that speaks of a panic or is an error, unless the test said `expect_error`.
//! A test that ends the master otherwise says so: `wait_exit(code)`, `kill`.

use super::place::{Output, Place, Running, code_of};
use super::{SOON, came_true, procs, wait_until};
use masterd::config;
use masterd::wire::control::{Reply, Request};
use masterd::wire::status::{Service, Status, Worker};
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

/// How a master is to be started; `Master::start` is the ordinary way.
#[derive(Debug)]
pub struct Launch<'a> {
    place: &'a Place,
    command: Command,
}

impl<'a> Launch<'a> {
    /// `masterd -c masterd.toml` in the place.
    pub fn new(place: &'a Place) -> Launch<'a> {
        let mut command = place.command();
        command.arg("-c").arg(place.path("masterd.toml"));
        Launch { place, command }
    }

    /// Through a wrapper that must end in an exec of its own last arguments, so that its pid becomes
    /// the master's: `["sh", "-c", "trap '' CHLD; exec \"$@\"", "sh"]`.
    pub fn through(place: &'a Place, wrapper: &[&str]) -> Launch<'a> {
        let (program, rest) = wrapper.split_first().expect("a program");
        let mut command = place.command_of(program);
        command.args(rest).arg(super::place::BINARY).arg("-c").arg(place.path("masterd.toml"));
        Launch { place, command }
    }

    /// Another binary than the one under test: a copy of it (`install`) that an upgrade can replace.
    pub fn of(place: &'a Place, binary: &Path) -> Launch<'a> {
        let mut command = place.command_of(binary.to_str().expect("a path in UTF-8"));
        command.arg("-c").arg(place.path("masterd.toml"));
        Launch { place, command }
    }

    /// A last touch: arguments, environment.
    pub fn with(mut self, touch: impl FnOnce(&mut Command)) -> Launch<'a> {
        touch(&mut self.command);
        self
    }

    /// Starts it and returns at once.
    pub fn spawn(mut self) -> Master {
        let place = self.place;
        let before = LOGS.iter().filter_map(|name| {
            let path = place.path(name);
            let found = fs::metadata(&path).ok()?;
            Some((path, (found.ino(), usize::try_from(found.len()).ok()?)))
        });
        let before = before.collect();
        let open = |name: &str| {
            File::options().create(true).append(true).open(place.path(name)).expect("open a log")
        };
        self.command.stdout(open("stdout")).stderr(open("stderr"));
        let child = self.command.spawn().expect("start masterd");
        let pid = i32::try_from(child.id()).expect("a pid");
        let mut master = Master::new(place, pid, Some(child));
        master.before = before;
        master
    }

    /// Starts it and waits until it serves.
    #[track_caller]
    pub fn start(self) -> Master {
        let master = self.spawn();
        master.wait_running();
        master
    }
}

/// A master in a place.
#[derive(Debug)]
pub struct Master {
    dir: PathBuf,
    socket: PathBuf,
    pid: i32,
    group: i32,
    /// None for one that another process started (`--daemon`).
    child: RefCell<Option<Child>>,
    /// How it ended, once that is known.
    code: Cell<Option<i32>>,
    /// A test took its end in hand: status and leftover files are that test's business.
    settled: Cell<bool>,
    done: Cell<bool>,
    expected: RefCell<Vec<String>>,
    /// Log files that were there before it started: inode and length.
    before: BTreeMap<PathBuf, (u64, usize)>,
}

/// What it says goes here: stderr, and the log file that configs of tests name.
const LOGS: [&str; 2] = ["stderr", "m.log"];

impl Master {
    /// Writes the config, starts the master and waits until it serves.
    #[track_caller]
    pub fn start(place: &Place, config: &str) -> Master {
        place.config(config);
        Launch::new(place).start()
    }

    /// One that another process has started, known by its pid (a daemon).
    pub fn adopt(place: &Place, pid: i32) -> Master {
        Master::new(place, pid, None)
    }

    fn new(place: &Place, pid: i32, child: Option<Child>) -> Master {
        let group = if child.is_some() { pid } else { procs::look(pid).expect("a living daemon").group };
        Master {
            dir: place.dir().to_owned(),
            socket: place.socket(),
            pid,
            group,
            child: RefCell::new(child),
            code: Cell::new(None),
            settled: Cell::new(false),
            done: Cell::new(false),
            expected: RefCell::default(),
            before: BTreeMap::new(),
        }
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    pub fn signal(&self, signal: Signal) {
        assert!(self.runs(), "the master runs when {signal} is sent");
        signal::kill(Pid::from_raw(self.pid), signal).expect("signal the master");
    }

    /// Whether it runs. A child of ours is not reaped before this has seen its end, so its pid stays
    /// its own.
    pub fn runs(&self) -> bool {
        if self.code.get().is_some() {
            return false;
        }
        match self.child.borrow_mut().as_mut() {
            Some(child) => {
                self.code.set(child.try_wait().expect("look at the master").map(code_of));
                self.code.get().is_none()
            }
            None => match procs::look(self.pid) {
                Some(p) if p.state != 'Z' => true,
                Some(p) if p.parent == std::process::id().cast_signed() => {
                    let ended = nix::sys::wait::waitpid(Pid::from_raw(self.pid), None);
                    self.code.set(match ended {
                        Ok(nix::sys::wait::WaitStatus::Exited(_, code)) => Some(code),
                        Ok(nix::sys::wait::WaitStatus::Signaled(_, signal, _)) => Some(-(signal as i32)),
                        other => panic!("the daemon ended strangely: {other:?}"),
                    });
                    false
                }
                _ => panic!("the daemon is gone and was reaped by somebody else"),
            },
        }
    }

    /// One status document, asked for over the control socket.
    pub fn try_status(&self) -> io::Result<Status> {
        let stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(SOON))?;
        let mut line =
            serde_json::to_vec(&Request::Status { service: None, connections: true, watch: false })?;
        line.push(b'\n');
        (&stream).write_all(&line)?;
        for line in BufReader::new(stream).lines() {
            if let Reply::Status { status } = serde_json::from_str(&line?)? {
                return Ok(*status);
            }
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    /// The status; a master that does not answer fails the test.
    #[track_caller]
    pub fn status(&self) -> Status {
        self.try_status().unwrap_or_else(|e| panic!("no status: {e}"))
    }

    /// The first service, or one by name.
    #[track_caller]
    pub fn service(&self, name: &str) -> Service {
        let status = self.status();
        let found = status.services.iter().find(|s| s.name == name).cloned();
        found.unwrap_or_else(|| panic!("no service {name} in {status:#?}"))
    }

    #[track_caller]
    pub fn workers(&self, service: &str) -> Vec<Worker> {
        self.service(service).workers
    }

    /// Pids of the workers that are ready, by seat.
    #[track_caller]
    pub fn ready_pids(&self, service: &str) -> Vec<i32> {
        self.workers(service).iter().filter(|w| w.state == "ready").map(|w| w.pid).collect()
    }

    /// The address of the first listener of `web`, as a client needs it.
    #[track_caller]
    pub fn address(&self) -> String {
        self.address_of("web")
    }

    /// The address of the listener of this name.
    #[track_caller]
    pub fn address_of(&self, listener: &str) -> String {
        let status = self.status();
        let mut all = status.services.iter().flat_map(|s| &s.listeners);
        let found = all.find(|l| l.name == listener).map(|l| l.address.clone());
        found.unwrap_or_else(|| panic!("no listener {listener} in {status:#?}"))
    }

    /// Waits for a condition on the status; a master that does not answer yet is waited for.
    #[track_caller]
    pub fn wait_status(&self, what: &str, limit: Duration, condition: impl Fn(&Status) -> bool) -> Status {
        let mut last = None;
        let held = came_true(limit, || {
            last = self.try_status().ok();
            last.as_ref().is_some_and(&condition)
        });
        assert!(held, "waited {limit:?} in vain until {what}; the last status: {last:#?}");
        last.expect("the condition held for it")
    }

    /// Waits until it serves and nothing is under way. Fails at once if it ends instead.
    #[track_caller]
    pub fn wait_running(&self) {
        let mut gone = false;
        let running = came_true(SOON, || {
            gone = !self.runs();
            gone || self.try_status().is_ok_and(|s| s.state == "running")
        });
        assert!(!gone, "the master ended with status {:?} before it served", self.code.get());
        assert!(running, "the master does not serve; its status: {:#?}", self.try_status());
    }

    /// Waits until it is past its start, whatever came of it.
    #[track_caller]
    pub fn wait_running_or_drained(&self) {
        let past = |s: &Status| s.state != "starting" && s.generation > 0;
        self.wait_status("it is past its start", SOON, past);
    }

    /// Waits until generation `generation` alone is left, its workers all ready.
    #[track_caller]
    pub fn wait_generation(&self, generation: u64) -> Status {
        let settled = |s: &Status| {
            s.generation == generation
                && s.state == "running"
                && s.services.iter().all(|service| {
                    service.workers_ready == service.workers_wanted
                        && service.workers.len() == service.workers_wanted as usize
                        && service.workers.iter().all(|w| w.generation == generation)
                })
        };
        self.wait_status(&format!("only generation {generation} is left, and ready"), SOON * 2, settled)
    }

    /// Waits for words in the log.
    #[track_caller]
    pub fn wait_log(&self, words: &str) {
        wait_until(&format!("the log says {words:?}"), SOON, || self.log().contains(words));
    }

    /// Runs a client of this master to its end.
    #[track_caller]
    pub fn cli(&self, args: &[&str]) -> Output {
        self.begin(args).finish()
    }

    /// Starts a client of this master.
    pub fn begin(&self, args: &[&str]) -> Running {
        let mut command = Command::new(super::place::BINARY);
        command.current_dir(&self.dir).arg("--socket").arg(&self.socket).args(args);
        command.env_remove("MASTERD_SOCKET").stdin(std::process::Stdio::null());
        Running::start(command)
    }

    /// What it has said so far: stderr, and the log file `m.log` if the config names that. What an
    /// earlier master in the same place said is left out.
    pub fn log(&self) -> String {
        LOGS.map(|name| self.said(&self.dir.join(name))).concat()
    }

    fn said(&self, path: &Path) -> String {
        let inode = fs::metadata(path).map_or(0, |m| m.ino());
        let skip = self.before.get(path).filter(|(i, _)| *i == inode).map_or(0, |(_, length)| *length);
        let bytes = fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(bytes.get(skip..).unwrap_or_default()).into_owned()
    }

    /// A log line at level error that contains this is part of the test.
    pub fn expect_error(&self, words: &str) {
        self.expected.borrow_mut().push(words.to_owned());
    }

    /// kill -9. Its workers leave by themselves, its files stay: nothing of that is looked at later.
    pub fn kill(&self) {
        self.settled.set(true);
        self.signal(Signal::SIGKILL);
        wait_until("the killed master is gone", SOON, || !self.runs());
    }

    /// Waits for its end and insists on the exit status.
    #[track_caller]
    pub fn wait_exit(&self, code: i32, limit: Duration) {
        wait_until("the master ends", limit, || !self.runs());
        assert_eq!(self.code.get(), Some(code), "the master's exit status");
        self.settled.set(code != 0);
    }

    /// Ends it gracefully and looks at what is left.
    #[track_caller]
    pub fn finish(self) {
        self.end();
    }

    #[track_caller]
    fn end(&self) {
        if self.done.replace(true) {
            return;
        }
        if self.runs() {
            self.signal(Signal::SIGQUIT);
            self.wait_exit(0, SOON * 2);
        }
        wait_until("no process of the master is left", SOON * 2, || self.left().is_empty());
        if !self.settled.get() {
            assert_eq!(self.code.get(), Some(0), "the master's exit status");
            let left = self.files_left();
            assert!(left.is_empty(), "files left behind: {left:?}");
        }
        let bad = bad_lines(&self.log(), &self.expected.borrow());
        assert!(bad.is_empty(), "the log has lines that nobody expected: {bad:#?}");
    }

    /// Living processes of the master's group, and those of its programs.
    pub fn left(&self) -> Vec<procs::Proc> {
        let mut left = procs::living(self.group, self.pid);
        left.extend(procs::kept(&self.dir));
        left
    }

    /// Files that a master removes when it leaves, by the config that lies there now.
    fn files_left(&self) -> Vec<PathBuf> {
        let mut files = vec![self.socket.clone(), self.dir.join("c.sock.lock"), self.dir.join("m.pid")];
        if let Ok(loaded) = config::load(&self.dir.join("masterd.toml")) {
            files.extend(loaded.config.master.pid_file);
            for listen in loaded.config.services.iter().flat_map(|s| &s.listen) {
                if let config::Address::Unix(path) = &listen.address {
                    files.push(path.clone());
                }
            }
        }
        files.sort();
        files.dedup();
        files.retain(|file| fs::symlink_metadata(file).is_ok());
        files
    }

    fn show(&self) {
        let status = match self.try_status() {
            Ok(status) => serde_json::to_string(&status).unwrap_or_else(|e| e.to_string()),
            Err(e) => format!("none ({e})"),
        };
        eprintln!("---- the master's log\n{}---- its status: {status}", self.log());
    }
}

/// Lines that no healthy master writes.
fn bad_lines(log: &str, expected: &[String]) -> Vec<String> {
    let is_error = |line: &str| {
        line.contains("panic")
            || line.contains("\"level\":\"error\"")
            || line.split_ascii_whitespace().nth(1) == Some("error")
    };
    let known = |line: &str| expected.iter().any(|words| line.contains(words.as_str()));
    log.lines().filter(|line| is_error(line) && !known(line)).map(str::to_owned).collect()
}

impl Drop for Master {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // A failed check panics: what follows must be done then too.
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.end()));
            let Err(panic) = outcome else { return };
            self.show();
            self.put_down();
            std::panic::resume_unwind(panic);
        }
        if !self.done.get() {
            self.show();
        }
        self.put_down();
    }
}

impl Master {
    /// After a failure: nothing of it may live on.
    fn put_down(&self) {
        for process in self.left() {
            let _ = signal::kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        if let Some(child) = self.child.borrow_mut().as_mut() {
            let _ = child.wait();
        }
        came_true(SOON, || self.left().is_empty());
    }
}
