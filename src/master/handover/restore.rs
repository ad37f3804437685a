//! A record and its descriptors become a shell: by the new image after an upgrade, and by the old one
//! when it has to take over again.
//!
//! The record comes from a masterd of this process, so it is believed; what is missing of it is an
//! error with the name of what is missing. A worker or a client whose descriptor did not cross (its
//! image ended unexpectedly) is treated as one that has just hung up.

use super::inventory::{self, Inherited};
use super::record::{ControlRecord, HandleRecord, Record, SocketRecord};
use crate::config::Config;
use crate::inherit::WorkerMain;
use crate::log::Sink;
use crate::master::access_logs::AccessLogs;
use crate::master::boot::{Origin, machinery};
use crate::master::control::Control;
use crate::master::crew::{Crew, Handle};
use crate::master::socket_files;
use crate::master::sockets::{Key, Socket, Sockets};
use crate::master::spawn;
use crate::master::turn::{Parts, Shell, now};
use crate::model::fleet::Fleet;
use crate::model::{PlanId, TicketSecret};
use crate::scoreboard::totals::Totals;
use crate::scoreboard::view::View;
use crate::sys::fd;
use crate::sys::listen::FileId;
use crate::sys::pidfile::PidFile;
use crate::sys::process::Pidfd;
use crate::sys::random;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

fn named(what: &'static str) -> impl Fn(io::Error) -> io::Error {
    move |e| io::Error::new(e.kind(), format!("cannot {what}: {e}"))
}

/// Makes the shell. What is said of the image (where it came from, since when it serves) stays that of
/// the last image that was in force: on trial this one is not.
pub fn shell(
    record: Record,
    mut fds: Inherited,
    args: Vec<CString>,
    worker_main: WorkerMain,
) -> io::Result<Shell> {
    let (plans, strange) = configs(record.configs);
    let lost = || io::Error::other("the config in force was not handed over, or can't be read");
    let config = plans.get(&record.fleet.plan).cloned().ok_or_else(lost)?;
    let sink = Sink::new(fds.take(inventory::LOG)?, config.master.log.format, config.master.log.level);
    sink.resume(record.log.waiting.into_iter().map(String::into_bytes), record.log.dropped);
    let mut control = control(record.control, &mut fds)?;
    let loop_of = machinery(&control)?;
    control.register_clients(loop_of.0.registry());
    let totals = Totals::restore(fds.take(inventory::TOTALS)?, &record.totals)
        .map_err(named("take over the totals"))?;
    let listening = sockets(&record.sockets, &mut fds);
    let (steered, rites, last_rites) = (record.steered, record.rites, record.last_rites);
    let mut fleet = record.fleet;
    let config_of = |plan| plans.get(&plan).cloned().unwrap_or_else(|| Arc::clone(&config));
    let crew = crew(record.crew, &config_of, &mut fleet, &mut fds)?;
    for (worker, handle) in &crew.handles {
        spawn::register(loop_of.0.registry(), *worker, handle)?;
    }
    let pid_file = match record.pid_file {
        Some(path) => Some(PidFile { path, fd: fds.take(inventory::PID_FILE)? }),
        None => None,
    };
    let socket_lock = PidFile { path: record.socket_lock, fd: fds.take(inventory::SOCKET_LOCK)? };
    let tickets = match record.tickets {
        Some(tickets) => tickets,
        None => TicketSecret::new(random::secret()?, now()),
    };
    let mut shell = Shell::new(Parts {
        loop_of,
        fleet,
        sockets: Sockets { all: listening, steered, rites, last_rites, lost: BTreeSet::new() },
        crew,
        totals,
        control,
        sink,
        worker_main,
        plans,
        config,
        config_path: record.config_path,
        last_plan: record.last_plan,
        tickets,
        pid_file,
        socket_lock,
        started_wall: record.started_wall,
        image_version: record.image_version,
        image_since: record.image_since,
        origin: Origin { binary: record.binary, args, nofile: record.nofile, alone: record.alone },
    });
    shell.announced = true;
    shell.access_logs = AccessLogs::restore(&shell.plans, |path| fds.take(&inventory::access_log(path)).ok());
    complain(&shell, &strange, fds);
    Ok(shell)
}

/// What came along and means nothing here.
fn complain(shell: &Shell, strange: &[PlanId], fds: Inherited) {
    for plan in strange {
        slog::warn!(shell.log, "the config of plan {} is of another version and can't be read here", plan);
    }
    for name in fds.unclaimed() {
        slog::warn!(shell.log, "descriptor {:?} was handed over and is not known here: closed", name);
    }
}

/// The handles on the workers; what is learnt of one by its descriptors is noted in the fleet.
fn crew(
    records: Vec<HandleRecord>,
    config_of: &dyn Fn(PlanId) -> Arc<Config>,
    fleet: &mut Fleet,
    fds: &mut Inherited,
) -> io::Result<Crew> {
    let mut crew = Crew::default();
    for found in records {
        let id = found.worker;
        let has_channel = fds.has(&inventory::channel(id));
        let config = config_of(found.plan);
        let handle = handle(found, config, fds).map_err(named("take over a worker"))?;
        if let Some(worker) = fleet.workers.get_mut(&id) {
            // Of a trial that has ended: it leaves by itself and can't say so, which is no death.
            worker.leaving |= !has_channel;
            // Pages of a version that is not read here prove nothing, for or against it.
            worker.pulse.changed = worker.pulse.changed.filter(|_| handle.view.is_readable());
        }
        crew.handles.insert(id, handle);
    }
    Ok(crew)
}

fn id_of((device, inode): (u64, u64)) -> FileId {
    FileId { device, inode }
}

fn control(record: ControlRecord, fds: &mut Inherited) -> io::Result<Control> {
    let listener = fds.take(inventory::CONTROL)?;
    let clients = record
        .clients
        .into_iter()
        // Who connected after the last record of an image that crashed has hung up, as far as we know.
        .filter_map(|client| Some((fds.take(&inventory::client(client.id)).ok()?, client)))
        .collect();
    Ok(Control::restore(listener, record.path, id_of(record.file), record.last, clients, now()))
}

/// The configs that can be read here, and the plans of those that can't.
fn configs(all: BTreeMap<PlanId, Value>) -> (BTreeMap<PlanId, Arc<Config>>, Vec<PlanId>) {
    let (mut known, mut strange) = (BTreeMap::new(), Vec::new());
    for (plan, value) in all {
        match serde_json::from_value(value) {
            Ok(config) => drop(known.insert(plan, Arc::new(config))),
            Err(_) => strange.push(plan),
        }
    }
    (known, strange)
}

/// The sockets of the kinds that are known here. The others' descriptors are unclaimed, and told so.
fn sockets(records: &[Value], fds: &mut Inherited) -> BTreeMap<Key, Socket> {
    let mut all = BTreeMap::new();
    for record in records.iter().filter_map(|value| SocketRecord::deserialize(value).ok()) {
        // One that was bound for a trial ends with it, and so does its file.
        let gone = |file| socket_files::unlink(&record.key.address, id_of(file));
        let Ok(fd) = fds.take(&inventory::listener(&record.key)) else {
            record.file.into_iter().for_each(gone);
            continue;
        };
        let anew = record.anew.and_then(|(plan, file)| match fds.take(&inventory::anew(&record.key)) {
            Ok(fd) => Some((plan, fd, id_of(file))),
            Err(_) => {
                gone(file);
                None
            }
        });
        let socket = Socket {
            fd,
            service: record.service,
            listen: record.listen.and_then(|listen| serde_json::from_value(listen).ok()),
            per_worker: record.per_worker,
            file: record.file.map(id_of),
            named: record.named,
            candidate: record.candidate,
            served: record.served,
            users: record.users,
            anew,
        };
        all.insert(record.key, socket);
    }
    all
}

fn handle(record: HandleRecord, config: Arc<Config>, fds: &mut Inherited) -> io::Result<Handle> {
    let HandleRecord { worker, pid, service, deaf, nonsense, figures, unsent, program, says, .. } = record;
    let slot = fds.take(&inventory::slot(worker))?;
    let view = View::resume(slot.as_fd(), figures);
    // Not reaped, so the number is still its own.
    let pidfd = Pidfd::open(pid)?;
    let channel = match fds.take(&inventory::channel(worker)) {
        Ok(channel) => channel,
        // The other end of a fresh pair is gone at once, as this worker's is.
        Err(_) => fd::channel()?.0,
    };
    let mut handle = Handle::new((pid, pidfd), channel, (view, slot), service, config);
    (handle.deaf, handle.nonsense) = (deaf, nonsense);
    (handle.program, handle.says) = (program, says);
    for (n, (order, count)) in unsent.into_iter().enumerate() {
        let taken: io::Result<Vec<OwnedFd>> =
            (0..count).map(|m| fds.take(&inventory::order(worker, n, m))).collect();
        if let Ok(fds) = taken {
            handle.unsent.push_back((order.into_bytes(), fds));
        }
    }
    Ok(handle)
}
