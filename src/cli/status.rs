//! `masterd status`: asks for the document and shows it, once or every second.
//!
//! Four ways to show it: a table, the document itself (`--json`), and with `--watch` the screen
//! redrawn on a terminal, or block after block elsewhere.
//! See also: `view` (how the table looks), `wire::status` (what the document holds).

use super::client::{Client, Line, PATIENCE};
use super::console::{Console, Exit, Failure};
use super::raw::part;
use super::verbs::judge;
use super::view::render;
use crate::model::ServiceName;
use crate::sys::clock;
use crate::wire::control::{Reply, Request};
use crate::wire::status::Status;
use std::path::Path;
use std::time::Duration;

/// A watched master sends a document every second; one that misses this many is not well.
const SILENCE: Duration = Duration::from_secs(5);

/// What to ask for and how to show it.
#[derive(Clone, Debug)]
pub struct Wish {
    pub service: Option<ServiceName>,
    pub json: bool,
    pub watch: bool,
    pub connections: bool,
}

/// Shows the status of the master at `socket`.
pub fn show(socket: &Path, wish: &Wish, console: &mut Console) -> Result<(), Failure> {
    let Wish { service, connections, watch, .. } = wish.clone();
    let mut client = Client::ask(socket, &Request::Status { service, connections, watch })?;
    let limit = if wish.watch { SILENCE } else { PATIENCE };
    let mut shown = 0;
    while let Some(line) = client.next(Some(limit))? {
        match line {
            Line { reply: Reply::Status { status }, text } => {
                print(&status, &text, wish, shown, console)?;
                shown += 1;
            }
            Line { reply: Reply::Done(done), .. } => return judge(&done),
            Line { reply: Reply::Progress(_) | Reply::Event { .. }, .. } => {}
        }
    }
    match shown {
        0 => Err(client.went_away()),
        _ if wish.watch => Err(Failure::new(Exit::Failed, "the master went away")),
        _ => Ok(()),
    }
}

fn print(status: &Status, text: &str, wish: &Wish, shown: u64, console: &mut Console) -> Result<(), Failure> {
    if wish.json {
        writeln!(console.out, "{}", part(text, "status"))?;
        return Ok(console.out.flush()?);
    }
    let redrawn = wish.watch && console.live;
    let mut screen = String::new();
    if redrawn {
        // ECMA-48: home, and below erase what is left of each line and of the screen, which does not
        // flicker as erasing it all first would.
        screen.push_str("\x1b[H");
    } else if shown > 0 {
        screen.push('\n');
    }
    for line in render(status, clock::wall_ns()) {
        screen.push_str(&line.painted(console.colour));
        screen.push_str(if redrawn { "\x1b[K\n" } else { "\n" });
    }
    if redrawn {
        screen.push_str("\x1b[J");
    }
    console.out.write_all(screen.as_bytes())?;
    Ok(console.out.flush()?)
}
