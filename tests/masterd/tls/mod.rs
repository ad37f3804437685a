//! TLS on listeners as clients meet it, by rustls as the client.
//!
//! `handshakes`: who is shown what, who is let in, who is sent away. `sessions`: tickets across workers, reloads and
//! upgrades. `renewal`: certificates read anew. `streams`: what is spoken behind TLS, and how it ends.

mod handshakes;
mod renewal;
mod sessions;
mod streams;

use super::harness::*;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
/// The `tls` of most tests here.
pub const PLAIN: &str = "certificate = \"a.pem\", key = \"a.key\"";

/// A listener that speaks TLS, as TOML; at an address that leaves 127.0.0.1 to others.
pub fn listener(tls: &str) -> String {
    format!("{{ address = \"127.0.0.2:0\", tls = {{ {tls} }} }}")
}

/// A place with a certificate for a.example.
pub fn place_with(authority: &Authority) -> Place {
    let place = Place::new();
    authority.issue(&place, "a", &["a.example"]);
    place
}

/// A config with one worker whose only listener speaks TLS.
pub fn secure(tls: &str) -> Web {
    Web::new().workers(1).listen_raw(&[&listener(tls)])
}

/// The clients have gone: nothing is open, and nothing is left. The end of most tests here.
#[track_caller]
pub fn end(master: Master) {
    master.wait_status("nothing is open any more", SOON, |s| {
        s.services.iter().flat_map(|s| &s.workers).all(|w| w.active.total() == 0 && w.in_flight == 0)
    });
    let log = master.log();
    assert!(!log.contains("still held"), "{log}");
    master.finish();
}
