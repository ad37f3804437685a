//! The acts that wait for a verdict: reload, stop, scale, drain, resume, reopen.
//!
//! `act` sends one request, shows how far it is and ends as the master's `Done` says. Progress goes
//! to stderr, what was achieved to stdout, why it failed to stderr.
//! A master that closes without a word has failed, except to a `stop`: being gone was the wish.

use super::client::Client;
use super::console::{Console, Exit, Failure};
use super::progress::Meter;
use super::text::clean;
use crate::wire::control::{Done, Outcome, Reply, Request};
use std::path::Path;
use std::time::Duration;

/// How long a master that said goodbye may take to be gone; a stop that returns earlier would let
/// the next start find the pid file locked.
const LEAVING: Duration = Duration::from_secs(2);

/// Asks the master at `socket` to act, and waits for its verdict.
pub fn act(socket: &Path, request: &Request, console: &mut Console) -> Result<(), Failure> {
    let stopping = matches!(request, Request::Stop { .. });
    let mut client = Client::ask(socket, request)?;
    let verdict = wait(&mut client, console)?;
    match verdict {
        Some(done) => {
            settle(&done, console)?;
            if stopping {
                client.wait_gone(LEAVING);
            }
            Ok(())
        }
        None if stopping && client.wait_gone(LEAVING) => Ok(writeln!(console.out, "stopped")?),
        None => Err(client.went_away()),
    }
}

fn wait(client: &mut Client, console: &mut Console) -> Result<Option<Done>, Failure> {
    let mut meter = Meter::new(console.bar);
    let verdict = loop {
        match client.next(None)?.map(|line| line.reply) {
            Some(Reply::Progress(progress)) => meter.show(&progress, console.err),
            Some(Reply::Done(done)) => break Some(done),
            // A view's answers: nothing that was asked for here.
            Some(Reply::Status { .. } | Reply::Event { .. }) => {}
            None => break None,
        }
    };
    meter.clear();
    Ok(verdict)
}

fn settle(done: &Done, console: &mut Console) -> Result<(), Failure> {
    judge(done)?;
    if !done.text.is_empty() {
        writeln!(console.out, "{}", clean(&done.text))?;
    }
    for line in &done.lines {
        writeln!(console.out, "{}", clean(line))?;
    }
    Ok(())
}

/// The failure that a verdict is, if it is one.
pub fn judge(done: &Done) -> Result<(), Failure> {
    let exit = match done.outcome {
        Outcome::Ok => return Ok(()),
        Outcome::Failed => Exit::Failed,
        Outcome::NotPermitted => Exit::NotPermitted,
        Outcome::BadRequest => Exit::Usage,
    };
    Err(Failure { exit, text: done.text.clone(), lines: done.lines.clone() })
}
