//! `masterd -s WORD`: signals the running master and does not wait.
//!
//! The master is known by a pid file that a living process holds locked, or by its control socket,
//! where it names its pid and the kernel must agree. Either way a pidfd is opened first and the
//! claim looked at again after that, so that a reused number is never hit.
//! Never trusts a pid file whose lock is free.

use super::args::SignalWord;
use super::client::Client;
use super::console::{Exit, Failure};
use super::find::Place;
use super::verbs::judge;
use crate::sys::pidfile::PidFile;
use crate::sys::process::Pidfd;
use crate::sys::signal::{Entry, TABLE};
use crate::wire::control::{Reply, Request};
use std::io::{self, ErrorKind};
use std::path::Path;

/// Sends the signal of `word` to the master at `place`.
pub fn send(word: SignalWord, place: &Place) -> Result<(), Failure> {
    let Some(entry) = TABLE.iter().find(|e| e.cli == Some(word.word())) else {
        return Err(Failure::new(Exit::Usage, format!("there is no signal for `-s {}`", word.word())));
    };
    match &place.pid_file {
        Some(path) => by_pid_file(entry, path),
        None => by_socket(entry, &place.socket),
    }
}

fn by_pid_file(entry: &Entry, path: &Path) -> Result<(), Failure> {
    let pid = holder(path)?;
    let process = Pidfd::open(pid).map_err(|e| no_process(pid, &e))?;
    if holder(path)? != pid {
        let sentence =
            format!("no master: the one that held {} has just been replaced; try again", path.display());
        return Err(Failure::new(Exit::NoMaster, sentence));
    }
    deliver(entry, pid, &process)
}

/// The pid in a pid file that somebody holds.
fn holder(path: &Path) -> Result<i32, Failure> {
    let shown = path.display();
    match PidFile::holder(path) {
        Ok(Some(pid)) if pid > 0 => Ok(pid),
        Ok(Some(pid)) => {
            Err(Failure::new(Exit::NoMaster, format!("no master: {shown} names {pid}, which is no process")))
        }
        Ok(None) => {
            let sentence =
                format!("no master: {shown} is stale, no living process holds it; nothing was signalled");
            Err(Failure::new(Exit::NoMaster, sentence))
        }
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let sentence = format!(
                "no master: the pid file {shown} does not exist; is it running, and with this config?"
            );
            Err(Failure::new(Exit::NoMaster, sentence))
        }
        Err(e) if e.kind() == ErrorKind::PermissionDenied => Err(Failure::new(
            Exit::NotPermitted,
            format!("not permitted: cannot read the pid file {shown}: {e}"),
        )),
        Err(e) => {
            Err(Failure::new(Exit::NoMaster, format!("no master: cannot read the pid file {shown}: {e}")))
        }
    }
}

fn by_socket(entry: &Entry, socket: &Path) -> Result<(), Failure> {
    let ask = Request::Status { service: None, connections: false, watch: false };
    let mut client = Client::ask(socket, &ask)?;
    let claimed = loop {
        match client.next(Some(super::client::PATIENCE))?.map(|line| line.reply) {
            Some(Reply::Status { status }) => break status.pid,
            Some(Reply::Done(done)) => judge(&done)?,
            Some(Reply::Progress(_) | Reply::Event { .. }) => {}
            None => return Err(client.went_away()),
        }
    };
    let (pid, shown) = (client.pid(), socket.display());
    match client.process() {
        // It answered after the pidfd was opened: the pidfd is the one that answered.
        Some(process) if claimed == pid => deliver(entry, pid, process),
        Some(_) => {
            let sentence = format!(
                "the master at {shown} says it is pid {claimed}, but the kernel says {pid}; nothing was signalled"
            );
            Err(Failure::new(Exit::Failed, sentence))
        }
        None => {
            let sentence = format!(
                "the master at {shown} runs where this process can't signal it (another pid namespace?)"
            );
            Err(Failure::new(Exit::Failed, sentence))
        }
    }
}

fn deliver(entry: &Entry, pid: i32, process: &Pidfd) -> Result<(), Failure> {
    match process.send_signal(entry.number) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::new(Exit::NoMaster, format!("no master: pid {pid} has just ended"))),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            let sentence =
                format!("not permitted: you may not send {} to the master, pid {pid}: {e}", entry.name);
            Err(Failure::new(Exit::NotPermitted, sentence))
        }
        Err(e) => Err(Failure::new(
            Exit::Failed,
            format!("cannot send {} to the master, pid {pid}: {e}", entry.name),
        )),
    }
}

fn no_process(pid: i32, error: &io::Error) -> Failure {
    Failure::new(Exit::NoMaster, format!("no master: pid {pid} of the pid file can't be had: {error}"))
}
