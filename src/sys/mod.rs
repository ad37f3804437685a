//! The floor: every system call, all `unsafe`, all `nix` and `libc`.
//!
//! Contract: owned types go out (`OwnedFd`, never a bare number that somebody must close),
//! `io::Result` comes back with the failing call and its object in the message, every descriptor is
//! CLOEXEC at birth. Nothing here knows what a worker, a service or a config is.
//!
//! Calls of the hot path (`net`, `scm`, `fd::write_now`, `SignalFd::read`, `beneath::open`) return the bare error of
//! the kernel, so that `WouldBlock` costs no allocation; all others wrap it (`errno` looks inside).
//! Needs Linux 5.9 (`close_range`); what a newer kernel does better is named where it is used.

pub mod beneath;
pub mod clock;
pub mod connect;
pub mod exec;
mod failure;
pub mod fallback;
pub mod family;
pub mod fd;
pub mod file;
mod filter;
pub mod fork;
mod holder;
pub mod ledger;
pub mod limits;
pub mod listen;
pub mod net;
mod netlink;
pub mod notify;
pub mod onlooker;
pub mod pidfile;
pub mod poll;
pub mod privs;
pub mod process;
mod procfs;
pub mod program;
pub mod random;
pub mod reuseport;
pub mod scm;
pub mod shm;
pub mod signal;
pub mod sock_diag;
mod socket_file;
pub mod socket_spare;
pub mod splice;
#[cfg(test)]
pub(crate) mod testing;
pub mod title;
mod waiting;

pub use failure::errno;
