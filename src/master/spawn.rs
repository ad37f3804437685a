//! The fork: a slot, a channel and a pidfd for the parent, an inheritance for the child.
//!
//! Called by `outbox` only. The child's side never comes back: it becomes the worker. Also starts
//! the children that read configs.

use super::config_child;
use super::crew::Handle;
use super::inbox::{reading_token, tokens};
use super::turn::{Purpose, Reading, Shell, now};
use super::upgrade::crossing;
use crate::config::{Config, Service};
use crate::inherit::Inheritance;
use crate::model::{Generation, PlanId, Seat, ServiceName, TicketSecret, WorkerId};
use crate::policy::Event;
use crate::scoreboard::layout;
use crate::scoreboard::view::View;
use crate::sys::fork::{self, Side};
use crate::sys::{clock, fd, process, shm};
use mio::unix::SourceFd;
use mio::{Interest, Registry};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

/// Who is to be born.
#[derive(Clone, Debug)]
pub struct Birth {
    pub worker: WorkerId,
    pub service: ServiceName,
    pub seat: Seat,
    pub generation: Generation,
    pub plan: PlanId,
}

/// Forks a worker; what came of it is the event.
pub fn spawn(shell: &mut Shell, birth: &Birth) -> Event {
    let worker = birth.worker;
    match try_spawn(shell, birth) {
        Ok(pid) => Event::Spawned { worker, pid },
        Err(e) => {
            shell.sockets.forget(worker);
            Event::SpawnFailed { worker, why: e.to_string() }
        }
    }
}

fn named(what: &'static str) -> impl Fn(io::Error) -> io::Error {
    move |e| io::Error::new(e.kind(), format!("cannot {what}: {e}"))
}

fn try_spawn(shell: &mut Shell, birth: &Birth) -> io::Result<i32> {
    let missing = || io::Error::other(format!("service {} is not in its plan", birth.service));
    let config = shell.plans.get(&birth.plan).cloned().ok_or_else(missing)?;
    let service = config.services.iter().find(|s| s.name == birth.service.0).ok_or_else(missing)?.clone();
    let slot = make_slot(birth).map_err(named("make a scoreboard slot"))?;
    let readable = shm::reopen_readonly(slot.as_fd()).map_err(named("reopen the slot read-only"))?;
    let view = View::open(readable.as_fd()).map_err(named("map the slot"))?;
    let (ours, theirs) = fd::channel().map_err(named("make a channel"))?;
    let listeners = shell.sockets.hand_out(birth.plan, &service, birth.seat, birth.worker)?;
    let log = shell.sink.descriptor().map_err(named("share the log"))?;
    shell.tickets.advance(now());
    let access_log = shell.access_logs.share(&service).map_err(named("share the access log"))?;
    match fork::fork().map_err(named("fork"))? {
        Side::Parent { pid, pidfd } => {
            let handle = Handle::new((pid, pidfd), ours, (view, readable), birth.service.clone(), config);
            if let Err(e) = register(shell.poll.registry(), birth.worker, &handle) {
                // Nobody would hear of it; it is reaped as a stranger.
                let _ = handle.pidfd.send_signal(9);
                return Err(named("watch the new worker")(e));
            }
            shell.crew.handles.insert(birth.worker, handle);
            crossing::checkpoint(shell);
            Ok(pid)
        }
        Side::Child => {
            let tickets = shell.tickets.clone();
            // The worker's own copy advances; this one would open, for as long as the worker lives, whatever
            // was sealed since.
            shell.tickets.forget();
            let inheritance = Inheritance {
                nofile: shell.origin.nofile,
                ..bequeath(birth, service, &config, tickets, (listeners, access_log), (theirs, slot, log))
            };
            (shell.worker_main)(inheritance)
        }
    }
}

fn make_slot(birth: &Birth) -> io::Result<OwnedFd> {
    let header = [
        layout::MAGIC,
        layout::VERSION,
        layout::WORDS as u64,
        birth.worker.0,
        u64::from(birth.seat.0),
        birth.generation.0,
        clock::wall_ns(),
    ];
    shm::create("masterd-slot", layout::WORDS, &header)
}

/// Watches a worker's death and its channel.
pub fn register(registry: &Registry, worker: WorkerId, handle: &Handle) -> io::Result<()> {
    let (death, channel) = tokens(worker);
    registry.register(&mut SourceFd(&handle.pidfd.as_raw_fd()), death, Interest::READABLE)?;
    let both = Interest::READABLE | Interest::WRITABLE;
    registry.register(&mut SourceFd(&handle.channel.as_raw_fd()), channel, both)
}

fn bequeath(
    birth: &Birth,
    service: Service,
    config: &Arc<Config>,
    tickets: TicketSecret,
    (listeners, access_log): (Vec<OwnedFd>, Option<OwnedFd>),
    (channel, slot, log): (OwnedFd, OwnedFd, OwnedFd),
) -> Inheritance {
    Inheritance {
        worker: birth.worker,
        seat: birth.seat,
        generation: birth.generation,
        service,
        config: Config::clone(config),
        listeners,
        channel,
        slot,
        log,
        tickets,
        access_log,
        nofile: None,
        trial: false,
        drop_privileges: process::euid() == 0,
    }
}

/// Starts reading the config for somebody; the answer comes as an event later.
pub fn start_reading(shell: &mut Shell, purpose: Purpose) -> io::Result<()> {
    let child = config_child::start(&shell.config_path)?;
    shell.last_reading += 1;
    let token = reading_token(shell.last_reading);
    let source = child.pidfd.as_raw_fd();
    if let Err(e) = shell.poll.registry().register(&mut SourceFd(&source), token, Interest::READABLE) {
        child.end();
        return Err(named("watch the reading process")(e));
    }
    let deadline = now() + config_child::PATIENCE;
    shell.readings.insert(shell.last_reading, Reading { child, deadline, purpose });
    Ok(())
}
