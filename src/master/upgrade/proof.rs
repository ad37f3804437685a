//! What a candidate does: shows that it could take over, says so, and ends.
//!
//! It reads the state and the config, looks at the listeners and pages that it would adopt, and brings
//! a worker of each built-in service to ready. It accepts nothing, watches no listener, and writes
//! nothing but its answer (and what it has to complain about, to a file that its parent reads). That
//! it takes too long, hangs or crashes, its parent sees.

use super::candidate::Answer;
use crate::config::{Address, Config, Service};
use crate::image;
use crate::inherit::{Inheritance, WorkerMain};
use crate::master::config_child;
use crate::master::handover::inventory::{self, Inherited};
use crate::master::handover::record::{Head, Record, SocketRecord};
use crate::master::turn::now;
use crate::model::{Generation, Seat, TicketSecret, WorkerId};
use crate::scoreboard::layout;
use crate::scoreboard::totals::Totals;
use crate::scoreboard::view::View;
use crate::sys::fork::{self, Side};
use crate::sys::ledger::Ledger;
use crate::sys::process::{self, Exit};
use crate::sys::{fd, listen, random, scm, shm, signal, title};
use crate::wire::order::MESSAGE_LIMIT;
use crate::wire::report::Report;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use serde::Deserialize;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Why it can't take over: a sentence, and further lines.
type Refusal = (String, Vec<String>);

/// Does all of it; the exit status.
pub fn run(state: OwnedFd, answer: OwnedFd, worker_main: WorkerMain) -> i32 {
    title::set("masterd: candidate");
    image::at(image::Step::Candidate);
    // A worker's death must stay for its pidfd; a parent may have had it ignored.
    let prepared = signal::block_all().map_err(|e| (format!("cannot block signals: {e}"), Vec::new()));
    let (refusal, lines) = match prepared.and_then(|()| prove(state, worker_main)) {
        Ok(()) => (None, Vec::new()),
        Err((why, lines)) => (Some(why), lines),
    };
    match (Answer { version: image::version(), refusal, lines }).give(answer.as_fd()) {
        Ok(()) => 0,
        Err(e) => {
            eprintln!("masterd: cannot answer: {e}");
            1
        }
    }
}

fn plain(what: &str) -> impl Fn(io::Error) -> Refusal {
    move |e| (format!("the new binary cannot {what}: {e}"), Vec::new())
}

fn prove(state: OwnedFd, worker_main: WorkerMain) -> Result<(), Refusal> {
    let bytes = Ledger::open(state).and_then(|l| l.read()).map_err(plain("read the state"))?;
    let head: Head = serde_json::from_slice(&bytes).map_err(|e| plain("read the state")(e.into()))?;
    if let Some(why) = head.refusal() {
        return Err((why, Vec::new()));
    }
    let record: Record = serde_json::from_slice(&bytes).map_err(|e| plain("read the state")(e.into()))?;
    let fds = Inherited::adopt(&record.fds);
    adopt(&record, fds)?;
    let findings = config_child::read(&record.config_path);
    let Some(config) = findings.config else {
        let mut problems = findings.problems;
        let first = if problems.is_empty() { "no reason given".to_owned() } else { problems.remove(0) };
        return Err((format!("the config is not usable for the new binary: {first}"), problems));
    };
    // A program is started for a generation, and not to see whether it could be.
    for service in config.services.iter().filter(|s| s.kind.exec().is_none()) {
        try_worker(service, &config, worker_main)?;
    }
    Ok(())
}

/// Looks at everything that would be taken over.
fn adopt(record: &Record, mut fds: Inherited) -> Result<(), Refusal> {
    let known = record.sockets.iter().filter_map(|value| SocketRecord::deserialize(value).ok());
    for socket in known {
        let name = inventory::listener(&socket.key);
        let listens = |fd: OwnedFd| match &socket.key.address {
            // It has no queue: being bound is all.
            Address::Udp(_) => listen::local_address(fd.as_fd()).map(|_| true),
            _ => listen::is_listening(fd.as_fd()),
        };
        let adopted = fds.take(&name).and_then(|fd| match listens(fd)? {
            true => Ok(()),
            false => Err(io::Error::other("it does not listen")),
        });
        adopted.map_err(plain(&format!("adopt {name}")))?;
    }
    for handle in &record.crew {
        let slot = fds.take(&inventory::slot(handle.worker)).map_err(plain("adopt the scoreboard"))?;
        // A layout of another version is no obstacle: then the figures seen last count.
        drop(View::resume(slot.as_fd(), handle.figures));
    }
    let totals = fds.take(inventory::TOTALS).map_err(plain("adopt the totals"))?;
    // Another layout is no obstacle either: the sums are in the record.
    Totals::check(totals.as_fd()).map(drop).map_err(plain("map the totals"))
}

/// A worker of the service in all but its listeners, up to ready.
fn try_worker(service: &Service, config: &Config, worker_main: WorkerMain) -> Result<(), Refusal> {
    let (heard, exit) = raise(service, config, worker_main)
        .map_err(plain(&format!("start a worker of service {}", service.name)))?;
    let failed = heard.iter().find_map(|report| match report {
        Report::Failed { why, .. } => Some(why.clone()),
        _ => None,
    });
    if heard.contains(&Report::Ready) && exit == Exit::Code(0) {
        return Ok(());
    }
    let how = exit.to_string();
    let why = failed.map_or(String::new(), |why| format!(": {why}"));
    let name = &service.name;
    Err((format!("a worker of service {name} of the new binary {how} before it was ready{why}"), Vec::new()))
}

/// Starts the worker and waits for its end: what it said, and how it ended.
fn raise(service: &Service, config: &Config, worker_main: WorkerMain) -> io::Result<(Vec<Report>, Exit)> {
    let (ours, theirs) = fd::channel()?;
    let header = [layout::MAGIC, layout::VERSION, layout::WORDS as u64];
    let slot = shm::create("masterd-slot", layout::WORDS, &header)?;
    let log = fd::dup_cloexec(io::stderr().as_fd())?;
    // It serves nobody, so that any secret will do.
    let tickets = TicketSecret::new(random::secret()?, now());
    let parent = process::pid();
    let pidfd = match fork::fork()? {
        Side::Parent { pidfd, .. } => pidfd,
        Side::Child => {
            if !process::die_with(parent).unwrap_or(false) {
                fork::exit_now(1);
            }
            worker_main(Inheritance {
                worker: WorkerId(0),
                seat: Seat(0),
                generation: Generation(0),
                service: service.clone(),
                config: config.clone(),
                listeners: Vec::new(),
                channel: theirs,
                slot,
                log,
                tickets,
                access_log: None,
                nofile: None,
                trial: true,
                drop_privileges: process::euid() == 0,
            })
        }
    };
    drop(theirs);
    let mut poll = Poll::new()?;
    let source = pidfd.as_raw_fd();
    poll.registry().register(&mut SourceFd(&source), Token(0), Interest::READABLE)?;
    let mut events = Events::with_capacity(1);
    let exit = loop {
        if let Some(exit) = pidfd.try_reap()? {
            break exit;
        }
        match poll.poll(&mut events, None) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(e),
            _ => {}
        }
    };
    Ok((reports(&ours), exit))
}

/// What waits in the channel of a worker that has ended.
fn reports(channel: &OwnedFd) -> Vec<Report> {
    let mut buffer = vec![0; MESSAGE_LIMIT];
    let mut heard = Vec::new();
    while let Ok((n @ 1.., _)) = scm::recv(channel.as_fd(), &mut buffer) {
        heard.extend(serde_json::from_slice(&buffer[..n]).ok());
    }
    heard
}
