//! The handover: everything a new master image needs from the one before it.
//!
//! `record` is the document, `inventory` the descriptors by name, `restore` makes a shell of both.
//! `describe` writes the document; `upgrade` decides when, and brings it across.

pub mod inventory;
pub mod record;
pub mod restore;

use super::turn::{Shell, now};
use crate::config::Config;
use crate::model::PlanId;
use crate::sys::listen::FileId;
use record::{ControlRecord, HandleRecord, Head, LogRecord, Record, SocketRecord};
use serde_json::Value;
use std::io;
use std::sync::Arc;

/// The state of this master as it is now. Changes nothing, but reads every slot once more.
pub fn describe(shell: &mut Shell) -> io::Result<Record> {
    shell.tickets.advance(now());
    let waiting = shell.sink.waiting();
    let waiting = waiting.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    let crew = crew(shell);
    let (path, file, last) = shell.control.place();
    let config = |(id, config): (&PlanId, &Arc<Config>)| Ok((*id, serde_json::to_value(&**config)?));
    Ok(Record {
        head: Head::ours(),
        fds: inventory::numbers(shell),
        crew,
        fleet: shell.fleet.clone(),
        configs: shell.plans.iter().map(config).collect::<io::Result<_>>()?,
        config_path: shell.config_path.clone(),
        last_plan: shell.last_plan,
        binary: shell.origin.binary.clone(),
        nofile: shell.origin.nofile,
        alone: shell.origin.alone,
        started_wall: shell.started_wall,
        image_version: shell.image_version.clone(),
        image_since: shell.image_since,
        pid_file: shell.pid_file.as_ref().map(|file| file.path.clone()),
        socket_lock: shell.socket_lock.path.clone(),
        control: ControlRecord {
            path: path.to_owned(),
            file: pair(file),
            last,
            clients: shell.control.record(),
        },
        sockets: sockets(shell)?,
        steered: shell.sockets.steered.clone(),
        rites: shell.sockets.rites,
        last_rites: shell.sockets.last_rites.clone(),
        totals: shell.totals.all(),
        log: LogRecord { waiting, dropped: shell.sink.dropped() },
        tickets: Some(shell.tickets.clone()),
    })
}

/// The document as bytes.
pub fn bytes(record: &Record) -> io::Result<Vec<u8>> {
    let mut document = serde_json::to_value(record)?;
    if let (Some(key), Some(members)) = (crate::image::unknown_key(), document.as_object_mut()) {
        members.insert(key, serde_json::json!({ "of": "a later version" }));
    }
    Ok(serde_json::to_vec(&document)?)
}

fn pair(file: FileId) -> (u64, u64) {
    (file.device, file.inode)
}

fn sockets(shell: &Shell) -> io::Result<Vec<Value>> {
    let record = |(key, s): (&super::sockets::Key, &super::sockets::Socket)| SocketRecord {
        key: key.clone(),
        service: s.service.clone(),
        listen: s.listen.as_ref().and_then(|listen| serde_json::to_value(listen).ok()),
        per_worker: s.per_worker,
        file: s.file.map(pair),
        named: s.named,
        candidate: s.candidate,
        served: s.served,
        users: s.users.clone(),
        anew: s.anew.as_ref().map(|(plan, _, file)| (*plan, pair(*file))),
    };
    shell.sockets.all.iter().map(|s| Ok(serde_json::to_value(record(s))?)).collect()
}

fn crew(shell: &mut Shell) -> Vec<HandleRecord> {
    let Shell { fleet, crew, .. } = shell;
    let record = |(id, handle): (&crate::model::WorkerId, &mut super::crew::Handle)| {
        Some(HandleRecord {
            worker: *id,
            pid: handle.pid,
            service: handle.service.clone(),
            plan: fleet.workers.get(id)?.plan,
            deaf: handle.deaf,
            nonsense: handle.nonsense,
            figures: handle.view.figures(),
            unsent: handle
                .unsent
                .iter()
                .map(|(order, fds)| (String::from_utf8_lossy(order).into_owned(), fds.len()))
                .collect(),
            program: handle.program,
            says: handle.says.clone(),
        })
    };
    crew.handles.iter_mut().filter_map(record).collect()
}
