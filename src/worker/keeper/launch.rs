//! Starting a program: its arguments, its environment, its descriptors.
//!
//! Sockets stand from 3 on, in the order of the service's listeners, then the slot that the program may
//! write, then what it says ready on. They are told by systemd's protocol (sd_listen_fds(3)), or by tokens
//! in command and environment: never by both, since there are programs that refuse to start then.
//! Never: watches the program, or reads what it says.

use super::sockets::Socket;
use crate::config::{self, Exec, Output, Readiness, Tokens};
use crate::scoreboard::layout;
use crate::scoreboard::view::View;
use crate::sys::notify::NotifySocket;
use crate::sys::process::Pidfd;
use crate::sys::program::{self, Launch};
use crate::sys::{fd, listen, shm};
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Duration;

/// The first descriptor that a program is given. sd_listen_fds(3).
const FIRST: i32 = 3;

/// Where a program stands.
#[derive(Clone, Copy, Debug)]
pub struct Post<'a> {
    pub exec: &'a Exec,
    pub sockets: &'a [Socket],
    pub seat: u32,
    pub generation: u64,
    /// Name and home of whom it runs as, if that is not who started masterd.
    pub user: Option<(&'a str, &'a Path)>,
}

/// A program that has been started, and our ends of what it was given.
#[derive(Debug)]
pub struct Started {
    pub pid: i32,
    pub pidfd: Pidfd,
    /// Standard output and error, if they go into the log.
    pub output: Option<[OwnedFd; 2]>,
    pub ready: Option<OwnedFd>,
    pub notify: Option<NotifySocket>,
    /// What it writes of itself.
    pub slot: View,
}

/// Starts the program. Errors name the step and the file.
pub fn launch(post: &Post<'_>) -> io::Result<Started> {
    let exec = post.exec;
    let null = fd::open_null()?;
    let slot = own_slot(post)?;
    let pipes = match exec.output {
        Output::Log => Some([pipe()?, pipe()?]),
        Output::Inherit => None,
    };
    let ready = (exec.ready == Readiness::Fd).then(pipe).transpose()?;
    let notify = wants_notify(exec).then(NotifySocket::bind).transpose()?;
    let mut fds: Vec<BorrowedFd<'_>> =
        post.sockets.iter().filter_map(|socket| Some(socket.fd.as_ref()?.as_fd())).collect();
    let slot_at = place(fds.len());
    fds.push(slot.as_fd());
    let ready_at = place(fds.len());
    fds.extend(ready.iter().map(|(_, write)| write.as_fd()));
    let told = Told::new(post, slot_at, ready.as_ref().map(|_| ready_at));
    let argv = told.argv()?;
    let notify_at = notify.as_ref().map(NotifySocket::address);
    let env = |pid: i32| told.env(pid, notify_at);
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let launch = Launch {
        path: &exec.program.path,
        argv: &argv,
        env: &env,
        directory: Some(&exec.directory),
        fds: &fds,
        stdin: null.as_fd(),
        stdout: pipes.as_ref().map_or(stdout.as_fd(), |[(_, out), _]| out.as_fd()),
        stderr: pipes.as_ref().map_or(stderr.as_fd(), |[_, (_, err)]| err.as_fd()),
        umask: exec.umask,
    };
    // Last of all: nothing may fail any more when there is a program.
    let view = View::open(shm::reopen_readonly(slot.as_fd())?.as_fd())?;
    let (pid, pidfd) = program::start(&launch)?;
    let output = pipes.map(|pipes| pipes.map(|(read, _)| read));
    let ready = ready.map(|(read, _)| read);
    Ok(Started { pid, pidfd, output, ready, notify, slot: view })
}

/// Whether the program may speak through a notify socket: where nothing is waited for, some behave otherwise
/// if there is one.
fn wants_notify(exec: &Exec) -> bool {
    exec.ready == Readiness::Notify || exec.watchdog > Duration::ZERO
}

/// A pipe of which only our end, the first, does not wait.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = fd::pipe()?;
    listen::set_nonblocking(read.as_fd(), true)?;
    Ok((read, write))
}

fn place(index: usize) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX).saturating_add(FIRST)
}

/// A page that the program may write; nothing in it is believed.
fn own_slot(post: &Post<'_>) -> io::Result<OwnedFd> {
    let (words, seat, generation) = (layout::WORDS, u64::from(post.seat), post.generation);
    let header = [layout::MAGIC, layout::VERSION, words as u64, 0, seat, generation];
    shm::create("masterd-program", words, &header)
}

/// What a program is told, in words.
struct Told<'a> {
    post: &'a Post<'a>,
    /// Name, descriptor and address of each socket.
    listeners: Vec<(String, i32, String)>,
    slot_at: i32,
    ready_at: Option<i32>,
}

impl<'a> Told<'a> {
    fn new(post: &'a Post<'a>, slot_at: i32, ready_at: Option<i32>) -> Told<'a> {
        let listener = |(n, s): (usize, &Socket)| (s.name.clone(), place(n), s.address.clone());
        let listeners = post.sockets.iter().enumerate().map(listener).collect();
        Told { post, listeners, slot_at, ready_at }
    }

    fn replaced(&self, text: &str) -> String {
        let tokens = Tokens {
            listeners: &self.listeners,
            seat: self.post.seat,
            generation: self.post.generation,
            ready_fd: self.ready_at,
        };
        config::replace(text, &tokens)
    }

    fn argv(&self) -> io::Result<Vec<CString>> {
        let exec = self.post.exec;
        let called = CString::new(exec.program.called.as_os_str().as_bytes());
        let rest = exec.command.iter().skip(1).map(|word| CString::new(self.replaced(word)));
        Ok(std::iter::once(called).chain(rest).collect::<Result<_, _>>()?)
    }

    /// `NAME=VALUE` of everything, for the process `pid`. What can't be told to a program, because a NUL
    /// is in it, is left out; the config has none.
    fn env(&self, pid: i32, notify: Option<&str>) -> Vec<CString> {
        let exec = self.post.exec;
        let mut all: Vec<(OsString, OsString)> =
            std::env::vars_os().filter(|(name, _)| is_public(name)).collect();
        let mut set = |name: &str, value: OsString| {
            all.retain(|(known, _)| known != name);
            all.push((name.into(), value));
        };
        if let Some((name, home)) = self.post.user {
            set("USER", name.into());
            set("LOGNAME", name.into());
            set("HOME", home.into());
        }
        for (name, value) in &exec.env {
            set(name, self.replaced(value).into());
        }
        if !config::names_sockets(exec) {
            let names: Vec<&str> = self.listeners.iter().map(|(name, _, _)| name.as_str()).collect();
            set("LISTEN_FDS", names.len().to_string().into());
            set("LISTEN_PID", pid.to_string().into());
            set("LISTEN_FDNAMES", names.join(":").into());
        }
        if let Some(address) = notify {
            set("NOTIFY_SOCKET", address.into());
        }
        if exec.watchdog > Duration::ZERO {
            set("WATCHDOG_USEC", exec.watchdog.as_micros().to_string().into());
            set("WATCHDOG_PID", pid.to_string().into());
        }
        set("MASTERD_SLOT_FD", self.slot_at.to_string().into());
        let pair = |(name, value): (OsString, OsString)| [name.into_vec(), value.into_vec()].join(&b'=');
        all.into_iter().filter_map(|entry| CString::new(pair(entry)).ok()).collect()
    }
}

/// Not what was said to the master alone: sockets, notifications, what images say to each other.
fn is_public(name: &std::ffi::OsStr) -> bool {
    const PRIVATE: [&str; 8] = [
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_PIDFDID",
        "LISTEN_FDNAMES",
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "FDSTORE",
    ];
    !name.as_bytes().starts_with(b"MASTERD_") && !PRIVATE.iter().any(|private| name == *private)
}
