//! The life of a built-in worker, from the fork to its exit.
//!
//! `run` is what the master calls in the child's side of the fork; it never returns. `startup`
//! changes the process, `turn` is the loop, `conns` and `moves` the connections, `accept`, `opening`, `drain` and
//! `sweep` move them, `mailbox` talks to the master, `http` answers, `tunnel` passes bytes on, `upstream` knows where
//! to, `engine` knows nothing of all that.
//! `keeper` is what a worker is that runs somebody else's program.
//! Exit status: 0 left on purpose, 1 could not come up or go on, 101 a panic outside any connection.
//! Never: imports `master`; touches a descriptor that is not in its `Inheritance`.

pub mod accept;
pub mod access_log;
pub mod conns;
pub mod drain;
pub mod engine;
pub mod http;
pub mod job;
pub mod keeper;
pub mod lists;
pub mod mailbox;
pub mod moves;
pub mod near;
pub mod opening;
pub mod orders;
pub mod proxy_protocol;
pub mod service;
pub mod shared;
pub mod startup;
pub mod sweep;
pub mod tls;
pub mod tunnel;
pub mod turn;
pub mod upstream;
pub mod who;

#[cfg(test)]
mod tests;

use crate::inherit::Inheritance;
use crate::log::Sink;
use crate::model::GAVE_UP;
use crate::sys::fork::exit_now;
use crate::wire::report::Report;
use mailbox::Mailbox;
use slog::error;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Serves until told to leave. To be called in a process just forked from a single-threaded master.
pub fn run(inheritance: Inheritance) -> ! {
    let status = catch_unwind(AssertUnwindSafe(|| live(inheritance)));
    exit_now(status.unwrap_or(101))
}

fn live(mut inheritance: Inheritance) -> i32 {
    let kept = startup::keep_only_own(&inheritance);
    let settings = &inheritance.config.master.log;
    let (format, level) = (settings.format, settings.level);
    // The log and the channel are needed to say why a later step failed.
    let (Ok(log), Ok(channel)) = (inheritance.log.try_clone(), inheritance.channel.try_clone()) else {
        return 1;
    };
    let sink = Sink::new(std::mem::replace(&mut inheritance.log, log), format, level);
    let log = sink.logger(&startup::name_of(&inheritance));
    let setup = kept.and_then(|()| startup::settle(inheritance, log.clone(), sink.clone()));
    match setup {
        Ok(setup) => {
            // A second end would hide our own death from nobody, but cost a descriptor.
            drop(channel);
            match setup.service.kind.exec() {
                Some(_) => keeper::serve(setup),
                None => turn::serve(setup),
            }
        }
        Err(why) => {
            error!(log, "can't come up: {why}");
            sink.flush();
            Mailbox::new(channel).send(&Report::Failed { why: why.to_string(), lines: Vec::new() }, &log);
            GAVE_UP
        }
    }
}
