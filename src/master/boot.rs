//! The start and the end: config, daemon, locks, log, control socket; then the loop; then all of it
//! taken down in the reverse order.
//!
//! Whatever fails here ends the start with one sentence and an exit status; nothing stays bound.

use super::config_child::{self, Findings};
use super::control::Control;
use super::crew::Crew;
use super::inbox::{CONTROL, SIGNALS};
use super::outbox;
use super::sockets::Sockets;
use super::turn::{self, Parts, Shell};
use super::upgrade::candidate::Candidate;
use crate::config::{self, Config};
use crate::image;
use crate::inherit::WorkerMain;
use crate::log::Sink;
use crate::model::fleet::Fleet;
use crate::model::{PlanId, TicketSecret};
use crate::policy::Event;
use crate::scoreboard::totals::Totals;
use crate::sys::fork::{self, Side};
use crate::sys::pidfile::{PidFile, PidFileError};
use crate::sys::process::{self, Exit};
use crate::sys::signal::{self, SignalFd, Word};
use crate::sys::{clock, exec, fallback, family, fd, limits, random};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How masterd was called.
#[derive(Clone, Debug)]
pub struct Options {
    pub config: PathBuf,
    pub daemon: bool,
    /// The arguments of this process, its name first, for the image of a later binary.
    pub args: Vec<CString>,
}

/// Where this image came from, and so where the next one is looked for.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Absolute; symbolic links are kept, so that a link that is switched leads to the new binary.
    pub binary: PathBuf,
    pub args: Vec<CString>,
    /// The soft limit of descriptors at its start, before it was raised; programs are to have it.
    pub nofile: Option<u64>,
    /// Whoever is a child of ours and was not made by us was left behind by a worker: this is not PID 1, and
    /// had no children when it was executed.
    pub alone: bool,
}

/// Why there is no master: exit status and sentence.
struct Refusal(i32, String);

/// Runs a master to its end; the exit status.
pub fn run(options: &Options, worker_main: WorkerMain) -> i32 {
    match start(options, worker_main) {
        Ok(code) => code,
        Err(Refusal(code, text)) => {
            for line in text.lines() {
                eprintln!("masterd: {line}");
            }
            code
        }
    }
}

fn failed<E: std::fmt::Display>(what: impl std::fmt::Display) -> impl FnOnce(E) -> Refusal {
    move |e| Refusal(1, format!("cannot {what}: {e}"))
}

fn start(options: &Options, worker_main: WorkerMain) -> Result<i32, Refusal> {
    signal::block_all().map_err(failed("block signals"))?;
    fd::fill_standard().map_err(failed("open /dev/null for closed standard descriptors"))?;
    let path = std::path::absolute(&options.config).map_err(failed("find the config"))?;
    // Before a daemon leaves its folder.
    let origin = Origin {
        binary: exec::located(options.args.first()),
        args: options.args.clone(),
        nofile: limits::nofile().ok().map(|(soft, _)| soft),
        alone: process::pid() != 1 && family::has_children().is_ok_and(|any| !any),
    };
    let config = read_config(&path)?;
    // More descriptors than the soft limit may be needed; with a hard limit as low, `reload` says so.
    if let Ok((_, hard)) = limits::nofile() {
        let _ = limits::set_nofile(hard);
    }
    let announce = if options.daemon { Some(daemonize(&config)?) } else { None };
    let told = announce.as_ref().and_then(|fd| fd::dup_cloexec(fd.as_fd()).ok());
    let ended = prepare(path, config, worker_main, origin, announce).and_then(conduct);
    if let (Err(Refusal(_, text)), Some(waiting)) = (&ended, told) {
        // Whoever waits may have gone; there is nobody else to tell.
        let _ = std::fs::File::from(waiting).write_all(text.as_bytes());
    }
    ended
}

/// Serves to the end.
fn conduct(mut shell: Shell) -> Result<i32, Refusal> {
    if let Err(e) = family::become_subreaper() {
        slog::warn!(
            shell.log,
            "what a program leaves behind may be lost from sight if its keeper is killed: {}",
            e
        );
    }
    let ended = turn::serve(&mut shell).map_err(failed("wait for events"));
    if let Err(Refusal(_, why)) = &ended {
        // On trial the old image goes on; else it does nothing.
        fallback::go_back(why);
    }
    let to_file = shell.config.master.log.file.is_some();
    let error = shell.last_error.clone().filter(|_| to_file && !shell.announced);
    finish(shell);
    match (ended?, error) {
        (code @ 1.., Some(text)) => Err(Refusal(code, text)),
        (code, _) => Ok(code),
    }
}

/// Goes on where another image stopped, to the end; the exit status.
pub fn resume(shell: Shell) -> i32 {
    conduct(shell).unwrap_or_else(|Refusal(code, text)| {
        eprintln!("masterd: {text}");
        code
    })
}

/// Reads the first config in a child, as every other one.
fn read_config(path: &Path) -> Result<Config, Refusal> {
    let findings = wait_for_config(path).map_err(failed(format!("read {}", path.display())))?;
    let findings = findings.map_err(|signal| {
        Refusal(0, format!("{signal} came while {} was read: nothing was started", path.display()))
    })?;
    for warning in &findings.warnings {
        eprintln!("masterd: {warning}");
    }
    findings.config.ok_or_else(|| Refusal(2, findings.problems.join("\n")))
}

/// What the child found, or the name of the signal that ended the wait.
fn wait_for_config(path: &Path) -> io::Result<Result<Findings, String>> {
    let child = config_child::start(path)?;
    let mut poll = Poll::new()?;
    let orders =
        signal::TABLE.iter().filter(|e| matches!(e.word, Word::Quit | Word::Terminate | Word::Interrupt));
    let signals = SignalFd::new(&orders.map(|e| e.number).collect::<Vec<_>>())?;
    for source in [child.pidfd.as_raw_fd(), signals.as_raw_fd()] {
        poll.registry().register(&mut SourceFd(&source), Token(0), Interest::READABLE)?;
    }
    let mut events = Events::with_capacity(2);
    let deadline = turn::now() + config_child::PATIENCE;
    loop {
        if let Some(caught) = signals.read()? {
            child.end();
            return Ok(Err(process::signal_name(caught.number)));
        }
        if let Some(exit) = child.pidfd.try_reap()? {
            return Ok(Ok(child.finish(&exit.to_string(), exit == Exit::Code(0))));
        }
        let left = deadline.since(turn::now());
        if left.is_zero() {
            return Ok(Ok(child.give_up()));
        }
        match poll.poll(&mut events, Some(left)) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
            _ => {}
        }
    }
}

/// Detaches. The caller's process waits for the first generation and leaves with its verdict; only
/// the daemon returns from here, with the pipe to that process.
fn daemonize(config: &Config) -> Result<OwnedFd, Refusal> {
    if config.master.log.file.is_none() {
        let text = "--daemon needs a log file: set log = { file = \"...\" } in [master]";
        return Err(Refusal(2, text.to_owned()));
    }
    let (read, write) = fd::pipe().map_err(failed("make a pipe"))?;
    if let Side::Parent { .. } = fork::fork().map_err(failed("fork"))? {
        drop(write);
        wait_for_daemon(read);
    }
    drop(read);
    fork::new_session().map_err(failed("start a session"))?;
    // The second fork gives up session leadership, so that no terminal can become ours again.
    if let Side::Parent { .. } = fork::fork().map_err(failed("fork"))? {
        fork::exit_now(0);
    }
    // Every path is absolute by now; a daemon must not keep a mount busy.
    std::env::set_current_dir("/").map_err(failed("go to /"))?;
    // Before any worker is born with the starter's pipe or terminal; from here on `told` speaks.
    fd::null_over(&[0, 1, 2]).map_err(failed("detach from the terminal"))?;
    Ok(write)
}

/// What the daemon says: "+" when it serves, a reason, or nothing. A "+" is not waited beyond: the
/// daemon keeps the pipe open.
fn hear(mut daemon: std::fs::File) -> io::Result<String> {
    let mut said = vec![0];
    if daemon.read(&mut said)? == 0 {
        return Ok(String::new());
    }
    if said != b"+" {
        daemon.read_to_end(&mut said)?;
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}

fn wait_for_daemon(read: OwnedFd) -> ! {
    // From here on signals mean to this process what they mean to any other. Should they stay
    // blocked, the daemon's word ends it all the same.
    let _ = signal::unblock_all();
    let code = match hear(std::fs::File::from(read)) {
        Ok(said) if said == "+" => 0,
        Ok(said) if said.is_empty() => {
            eprintln!("masterd: the daemon ended without a word before it was ready");
            1
        }
        Ok(said) => {
            eprintln!("masterd: {said}");
            1
        }
        Err(e) => {
            eprintln!("masterd: cannot hear from the daemon: {e}");
            1
        }
    };
    fork::exit_now(code)
}

fn prepare(
    path: PathBuf,
    config: Config,
    worker_main: WorkerMain,
    origin: Origin,
    announce: Option<OwnedFd>,
) -> Result<Shell, Refusal> {
    let claims = claim(&config)?;
    let made = machinery(&claims.control).and_then(|parts| Ok((parts, Totals::create()?, random::secret()?)));
    let (loop_of, totals, secret) = match made {
        Ok(made) => made,
        Err(e) => return Err(claims.give_back(&e)),
    };
    let Claims { pid_file, control, socket_lock, sink } = claims;
    let plan = PlanId(1);
    let config = Arc::new(config);
    let started_wall = clock::wall_ns();
    let mut shell = Shell::new(Parts {
        loop_of,
        fleet: Fleet::new(plan, config::plan_of(&config)),
        sockets: Sockets::default(),
        crew: Crew::default(),
        totals,
        control,
        sink,
        worker_main,
        plans: BTreeMap::from([(plan, Arc::clone(&config))]),
        config,
        config_path: path,
        last_plan: plan,
        tickets: TicketSecret::new(secret, turn::now()),
        pid_file,
        socket_lock,
        started_wall,
        image_version: image::version(),
        image_since: started_wall,
        origin,
    });
    slog::info!(shell.log, "masterd {} starts", image::version();
        "pid" => shell.pid, "config" => %shell.config_path.display());
    shell.announce = announce;
    shell.queue.push_back(Event::Boot);
    Ok(shell)
}

/// What only one master may have, and its log.
struct Claims {
    pid_file: Option<PidFile>,
    control: Control,
    socket_lock: PidFile,
    sink: Sink,
}

impl Claims {
    /// The start has failed: no file stays behind. Errors are dropped for the one that is the reason.
    fn give_back(self, why: &io::Error) -> Refusal {
        let _ = self.control.remove();
        let _ = self.socket_lock.remove();
        if let Some(file) = self.pid_file {
            let _ = file.remove();
        }
        Refusal(1, format!("cannot get what a master needs: {why}"))
    }
}

/// All of it or nothing.
fn claim(config: &Config) -> Result<Claims, Refusal> {
    let pid_file = config.master.pid_file.as_deref().map(lock_pid_file).transpose()?;
    let (control, socket_lock) = match open_control(config) {
        Ok(opened) => opened,
        Err(refusal) => {
            let _ = pid_file.map(|file| file.remove());
            return Err(refusal);
        }
    };
    match open_log(config) {
        Ok(sink) => Ok(Claims { pid_file, control, socket_lock, sink }),
        Err(refusal) => {
            let _ = (control.remove(), socket_lock.remove(), pid_file.map(|file| file.remove()));
            Err(refusal)
        }
    }
}

/// The parts of the loop, which every image makes anew; signals and control socket are watched.
pub fn machinery(control: &Control) -> io::Result<(Poll, SignalFd)> {
    // exec undoes it.
    process::make_undumpable()?;
    let poll = Poll::new()?;
    let numbers: Vec<i32> = signal::TABLE.iter().map(|e| e.number).collect();
    let signals = SignalFd::new(&numbers)?;
    let source = signals.as_raw_fd();
    poll.registry().register(&mut SourceFd(&source), SIGNALS, Interest::READABLE)?;
    control.register(poll.registry(), CONTROL)?;
    Ok((poll, signals))
}

fn lock_pid_file(path: &Path) -> Result<PidFile, Refusal> {
    lock(path, "pid file")
}

fn lock(path: &Path, what: &str) -> Result<PidFile, Refusal> {
    PidFile::lock(path).map_err(|e| {
        let shown = path.display();
        Refusal(
            1,
            match e {
                PidFileError::Held { pid } => {
                    let by = pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
                    format!("another masterd{by} holds {what} {shown}: stop it first, or use another one")
                }
                PidFileError::Io(e) => format!("cannot lock {what} {shown}: {e}"),
            },
        )
    })
}

fn open_control(config: &Config) -> Result<(Control, PidFile), Refusal> {
    let path = config::control_socket(config);
    let own_folder = path == config::default_control_socket();
    prepare_folder(&path, own_folder)?;
    let mut lock_path = path.clone().into_os_string();
    lock_path.push(".lock");
    let held = lock(Path::new(&lock_path), "control socket lock")?;
    // Only informs: the lock itself is what counts.
    let _ = held.write(process::pid());
    let control = Control::bind(&path).map_err(|e| {
        let removed = held.remove();
        drop(removed);
        Refusal(1, format!("cannot listen on control socket {}: {e}", path.display()))
    })?;
    Ok((control, held))
}

/// The default socket's folder is made with mode 0700, and must not be in anybody else's hands.
fn prepare_folder(socket: &Path, own_folder: bool) -> Result<(), Refusal> {
    let Some(folder) = socket.parent() else { return Ok(()) };
    let shown = folder.display();
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Refusal(1, format!("cannot make folder {shown} for the control socket: {e}")));
        }
        _ if !own_folder => return Ok(()),
        _ => {}
    }
    let found = std::fs::symlink_metadata(folder).map_err(failed(format!("look at {shown}")))?;
    if !found.is_dir() || found.uid() != process::euid() || found.mode() & 0o077 != 0 {
        return Err(Refusal(
            1,
            format!(
                "folder {shown} is not a folder of this user with mode 0700: remove it, or choose another \
             control_socket"
            ),
        ));
    }
    Ok(())
}

fn open_log(config: &Config) -> Result<Sink, Refusal> {
    let log = &config.master.log;
    let opened = outbox::open_log(config).map_err(|e| Refusal(1, format!("cannot {e}")))?;
    Ok(Sink::new(opened, log.format, log.level))
}

/// The first generation serves: the pid file is written, whoever waits for the daemon is told.
pub fn announce_start(shell: &mut Shell) {
    if std::mem::replace(&mut shell.announced, true) {
        return;
    }
    if let Some(file) = &shell.pid_file
        && let Err(e) = file.write(shell.pid)
    {
        slog::error!(shell.log, "cannot write pid file {}: {}", file.path.display(), e);
    }
    if let Some(waiting) = shell.announce.take()
        && let Err(e) = std::fs::File::from(waiting).write_all(b"+")
    {
        slog::warn!(shell.log, "cannot tell whoever started the daemon: {}", e);
    }
}

/// The end, in the reverse order of the start.
fn finish(mut shell: Shell) {
    if shell.trial.is_some()
        && let Err(e) = fallback::disarm()
    {
        slog::warn!(shell.log, "cannot end the trial of this binary: {}", e);
    }
    slog::info!(shell.log, "masterd leaves"; "pid" => shell.pid);
    shell.readings.values().for_each(|reading| reading.child.end());
    shell.candidate.iter().for_each(Candidate::end);
    shell.control.farewell(turn::now());
    shell.sockets.close_all();
    let complain = |what: &str, result: io::Result<()>| {
        if let Err(e) = result {
            slog::warn!(shell.log, "cannot remove {}: {}", what, e);
        }
    };
    complain("the control socket", shell.control.remove().map(drop));
    complain("the control socket's lock", shell.socket_lock.remove());
    if let Some(file) = &shell.pid_file {
        complain("the pid file", file.remove());
    }
    shell.sink.flush();
}
