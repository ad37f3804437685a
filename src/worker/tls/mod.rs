//! TLS on a worker's connections, by rustls.
//!
//! `settings` makes of a listener's config what all its connections share, with `names` (which certificate for
//! which host) and `tickets` (sessions that any worker resumes). `session` is one connection: bytes from and to
//! an `Io`, in the shape of the socket itself. Who decides what becomes of a connection stays the loop.
//! Never: reads a file, keeps a session in memory, logs.

pub mod names;
pub mod session;
pub mod settings;
pub mod tickets;

#[cfg(test)]
mod tests;

pub use session::{Handshaken, Tls};
pub use tickets::Keyring;
