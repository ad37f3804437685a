//! After a worker's end: what its program has left behind is ended.
//!
//! A keeper ends its program before it leaves. One that is killed or crashes can't: the kernel kills the
//! program itself then, and what that had started is killed here, before anybody else can get the keeper's
//! number. Never: touches what has left the keeper's session, which is nobody's that could be known.

use super::crew::Handle;
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
