//! The command line and the operator's side of the control socket.
//!
//! `main` calls `parse` and hands everything but `Invocation::Run` to `run_client`, which gives the
//! exit status of the manual. Rooms: `args` (what may be typed), `find` (where the master is), `client`
//! (talking to it), `verbs`, `events` and `signal` (acts), `version`, `status` (the view) with `table` and
//! `text`, `check` (`-t`). This side may block, start threads and be killed at any time; nothing the
//! master does depends on it.

mod args;
mod check;
mod client;
mod completions;
mod console;
mod events;
mod find;
#[cfg(test)]
mod manual;
mod progress;
mod raw;
mod signal;
mod status;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod verbs;
mod version;
mod view;
mod workers;

pub use args::{Invocation, Shell, SignalWord, Verb, parse};
pub use find::Whereabouts;

use crate::wire::control::Request;
use console::{Console, Failure};
use find::find;
use std::path::PathBuf;

/// Does what `invocation` asks on the standard streams and gives the exit status: 0 done, 1 failed
/// or refused, 2 wrong usage or bad config, 3 no master answers, 4 not permitted.
///
/// # Panics
/// On `Invocation::Run`: running the master is not the client's business.
pub fn run_client(invocation: Invocation) -> i32 {
    console::on_standard_streams(|console| dispatch(&invocation, console))
}

fn dispatch(invocation: &Invocation, console: &mut Console) -> Result<(), Failure> {
    match invocation {
        Invocation::Run { .. } => unreachable!("main runs the master itself"),
        Invocation::Check { config, show } => check::check(config, *show, console),
        Invocation::Signal { word, at } => signal::send(*word, &find(at, named_socket())?),
        Invocation::Client { verb, at } => client_verb(verb, at, console),
        Invocation::Version { at } => version::tell(at, named_socket(), console),
        Invocation::Completions { shell } => completions::print(*shell, console),
    }
}

fn client_verb(verb: &Verb, at: &Whereabouts, console: &mut Console) -> Result<(), Failure> {
    let socket = find(at, named_socket())?.socket;
    let request = match verb.clone() {
        Verb::Status { service, json, watch, connections } => {
            return status::show(&socket, &status::Wish { service, json, watch, connections }, console);
        }
        Verb::Events => return events::follow(&socket, console),
        Verb::Reload { service, dry_run, drained } => Request::Reload { service, dry_run, drained },
        Verb::Upgrade { binary, drained } => Request::Upgrade { binary: absolute(binary)?, drained },
        Verb::Stop { fast } => Request::Stop { fast },
        Verb::Scale { service, workers } => Request::Scale { service, workers },
        Verb::Drain { service } => Request::Drain { service },
        Verb::Resume { service } => Request::Resume { service },
        Verb::Reopen => Request::Reopen,
    };
    verbs::act(&socket, &request, console)
}

/// The master has another folder to start from.
fn absolute(binary: Option<PathBuf>) -> Result<Option<String>, Failure> {
    let Some(path) = binary else { return Ok(None) };
    let wrong = |why: String| Failure::new(console::Exit::Usage, format!("{}: {why}", path.display()));
    let full = std::path::absolute(&path).map_err(|e| wrong(e.to_string()))?;
    let text = full.into_os_string().into_string();
    text.map(Some).map_err(|_| wrong("a path that is not UTF-8 can't be sent".to_owned()))
}

fn named_socket() -> Option<PathBuf> {
    std::env::var_os("MASTERD_SOCKET").map(PathBuf::from)
}
