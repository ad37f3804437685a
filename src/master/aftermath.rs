//! After a worker's end: what its program has left behind is ended, what it has taken away is put back.
//!
//! A keeper ends its program before it leaves. One that is killed or crashes can't: the kernel kills the
//! program itself then, and what that had started is killed here. Never: waits for anybody's end.

use super::crew::Handle;
use super::inbox;
use super::outbox::say;
use super::turn::Shell;
use crate::model::ServiceName;
use crate::policy::{Level, Note};
use crate::sys::family;
use crate::sys::process::Exit;
use std::collections::{BTreeMap, BTreeSet};

/// Keepers that could not end their programs, until nothing is left of these.
#[derive(Debug, Default)]
pub struct Remnants {
    /// Their pids, which are the numbers of their sessions, and their services.
    keepers: BTreeMap<i32, ServiceName>,
    /// Who has been killed: told once, dead soon.
    killed: BTreeSet<i32>,
}

/// A worker has ended; of a built-in one, and of a keeper that left in order, nothing remains.
pub fn sweep(shell: &mut Shell, handle: &Handle) {
    let in_order = matches!(handle.pidfd.ended(), Ok(Some(Exit::Code(0))));
    if !in_order && handle.is_keeper() {
        shell.remnants.keepers.insert(handle.pid, handle.service.clone());
        kill_remnants(shell);
    }
}

/// Kills what keepers have left. Called at their end and whenever a child of ours has ended, since what that
/// had started is ours from then on.
///
/// As a subreaper the master inherits whatever a dead keeper had, so that each child of it which it did not make
/// is such a remnant. Where others' children end up here too (`Origin::alone`), only those are killed
/// that are still in a keeper's session: a daemon that has left it is nobody's that could be known.
pub fn kill_remnants(shell: &mut Shell) {
    let remnants = &shell.remnants;
    if remnants.keepers.is_empty() {
        return;
    }
    let theirs = |session: i32| shell.origin.alone || remnants.keepers.contains_key(&session);
    // A keeper may still have to be reaped.
    let known = |pid: i32| inbox::is_ours(shell, pid) || remnants.keepers.contains_key(&pid);
    let found = family::kill_children(&|pid, session| theirs(session) && !known(pid));
    let services: BTreeSet<&str> = remnants.keepers.values().map(|name| name.0.as_str()).collect();
    let service = services.into_iter().collect::<Vec<_>>().join(", ");
    match found {
        Ok(found) if found.reached.is_empty() && !found.ended => shell.remnants = Remnants::default(),
        Ok(found) => {
            let fresh = found.reached.into_iter().filter(|pid| shell.remnants.killed.insert(*pid)).count();
            if fresh > 0 {
                let what = if fresh == 1 { "process".to_owned() } else { format!("{fresh} processes") };
                slog::warn!(shell.log, "killed {} left behind by the keeper of a program", what;
                    "service" => service);
            }
        }
        Err(e) => slog::error!(shell.log, "processes of a program may go on without their keeper: {}", e;
            "service" => service),
    }
}

/// Takes care that the sockets of built-in services are in their mode. Only programs change it, so that it needs
/// no look but while there are some, and when one has ended.
pub fn mind_modes(shell: &Shell) {
    for failed in shell.sockets.mind_modes(&shell.config) {
        slog::warn!(shell.log, "{}", failed);
    }
}

/// Puts back the files of unix listeners that programs have removed. `after`: the worker of this service whose
/// end made us look.
pub fn restore_files(shell: &mut Shell, after: Option<(&ServiceName, i32)>) {
    let config = std::sync::Arc::clone(&shell.config);
    for found in shell.sockets.restore_files(&config) {
        let by = after.filter(|(name, _)| **name == found.service);
        let by = by.map_or(String::new(), |(name, pid)| {
            format!(" by a worker of {name} (pid {pid}), which has ended,")
        });
        let (level, event, text) = match found.outcome {
            Ok(()) => (
                Level::Warn,
                "socket_restored",
                format!("the file of listener {} was removed{by} and is back", found.listener),
            ),
            Err(e) => (
                Level::Error,
                "socket_lost",
                format!(
                    "the file of listener {} was removed{by}, and nobody new can connect: cannot {e}",
                    found.listener
                ),
            ),
        };
        let service = Some(found.service);
        say(shell, &Note { service, ..Note::new(level, event, text) });
    }
}
