//! `masterd events`: what the master does, one JSON object a line, until somebody leaves.
//!
//! Each object is printed as the master wrote it, keys of newer versions included. A reader that
//! closes the pipe ends it quietly; a master that leaves without a verdict ends it with 1.

use super::client::Client;
use super::console::{Console, Failure};
use super::raw::part;
use super::verbs::judge;
use crate::wire::control::{Reply, Request};
use std::path::Path;

/// Follows the master at `socket`.
pub fn follow(socket: &Path, console: &mut Console) -> Result<(), Failure> {
    let mut client = Client::ask(socket, &Request::Events)?;
    while let Some(line) = client.next(None)? {
        match line.reply {
            Reply::Event { .. } => {
                writeln!(console.out, "{}", part(&line.text, "event"))?;
                console.out.flush()?;
            }
            Reply::Done(done) => return judge(&done),
            // Sent at once to show that somebody is there.
            Reply::Progress(_) | Reply::Status { .. } => {}
        }
    }
    Err(client.went_away())
}
