//! `masterd --version`: which version this is, and which one serves, since when.
//!
//! The two differ while a new binary lies there and no upgrade has been asked for, or when one has
//! failed. No master is no error: then there is one line.

use super::client::Client;
use super::console::{Console, Failure};
use super::find::{Whereabouts, find};
use super::text::clean;
use crate::image;
use crate::wire::control::{Reply, Request};
use crate::wire::status::Status;
use std::path::{Path, PathBuf};

/// Prints one line about this program, and one or two about the running master if there is one.
pub fn tell(at: &Whereabouts, named: Option<PathBuf>, console: &mut Console) -> Result<(), Failure> {
    writeln!(console.out, "masterd {} (handover {})", image::version(), image::handover().0)?;
    let Some(status) = find(at, named).ok().and_then(|place| ask(&place.socket)) else { return Ok(()) };
    let Status { version, version_since, pid, .. } = &status;
    writeln!(console.out, "running: masterd {}, pid {pid}, since {}", clean(version), clean(version_since))?;
    if let Some(upgrade) = &status.last_upgrade {
        let to = upgrade.version.as_deref().map_or(String::new(), |v| format!(" to masterd {v}"));
        let end = upgrade.error.as_ref().map_or("done".to_owned(), |why| format!("failed: {why}"));
        writeln!(console.out, "last upgrade{}: {} at {}", clean(&to), clean(&end), clean(&upgrade.at))?;
    }
    Ok(())
}

fn ask(socket: &Path) -> Option<Status> {
    let request = Request::Status { service: None, connections: false, watch: false };
    let mut client = Client::ask(socket, &request).ok()?;
    match client.next(None).ok()??.reply {
        Reply::Status { status } => Some(*status),
        Reply::Progress(_) | Reply::Event { .. } | Reply::Done(_) => None,
    }
}
