//! What a config's names mean on this machine: users, groups, CPUs.
//!
//! `check` asks a `Resolver`, so that its rules are tested without root and without a user
//! database. `System` is the real one; it may block in NSS, which is why configs are read in a child.

use crate::sys;
use std::io;

/// Questions about this machine.
pub(super) trait Resolver {
    /// Whether workers can be given another identity.
    fn is_root(&self) -> bool;
    /// User id and primary group.
    fn user(&self, name: &str) -> io::Result<Option<(u32, u32)>>;
    fn group(&self, name: &str) -> io::Result<Option<u32>>;
    /// CPUs that this process may use, ascending.
    fn cpus(&self) -> io::Result<Vec<usize>>;
}

/// The machine we run on.
pub(super) struct System;

impl Resolver for System {
    fn is_root(&self) -> bool {
        sys::process::euid() == 0
    }

    fn user(&self, name: &str) -> io::Result<Option<(u32, u32)>> {
        sys::privs::lookup_user(name)
    }

    fn group(&self, name: &str) -> io::Result<Option<u32>> {
        sys::privs::lookup_group(name)
    }

    fn cpus(&self) -> io::Result<Vec<usize>> {
        sys::limits::allowed_cpus()
    }
}
