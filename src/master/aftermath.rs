//! After a worker's end: what its program has left behind is ended, what it has taken away is put back.
//!
//! A keeper ends its program before it leaves. One that is killed or crashes can't: the kernel kills the
//! program itself then, and what that had started is killed here, before anybody else can get the keeper's
//! number. Never: touches what has left the keeper's session, which is nobody's that could be known.

use super::crew::Handle;
use super::outbox::say;
use super::turn::Shell;
use crate::model::ServiceName;
use crate::policy::{Level, Note};
use crate::sys::family;
use crate::sys::process::Exit;
use slog::Logger;

/// Ends what is left of a worker that has not been reaped yet; of built-in ones there is nothing.
pub fn sweep(handle: &Handle, log: &Logger) {
    let in_order = matches!(handle.pidfd.ended(), Ok(Some(Exit::Code(0))));
    if in_order || !handle.is_keeper() {
        return;
    }
    match family::kill_session(handle.pid) {
        Ok(0) => {}
        Ok(n) => slog::warn!(log, "killed {} left behind by the keeper of a program",
            if n == 1 { "a process that was".to_owned() } else { format!("{n} processes that were") };
            "service" => %handle.service, "pid" => handle.pid),
        Err(e) => slog::error!(log, "processes of a program may go on without their keeper: {}", e;
            "service" => %handle.service, "pid" => handle.pid),
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
