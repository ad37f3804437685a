//! What a config's names mean on this machine: users, groups, CPUs, files, programs.
//!
//! `check` asks a `Resolver`, so that its rules are tested without root, without a user database and without files.
//! `System` is the real one; it may block in NSS or on a dead mount, which is why configs are read in a child.

use super::program;
use super::source::LIMIT;
use super::types::Program;
use crate::sys;
use crate::sys::file::Contents;
use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};

/// Questions about this machine.
pub(super) trait Resolver {
    /// Whether workers can be given another identity.
    fn is_root(&self) -> bool;
    /// User id and primary group.
    fn user(&self, name: &str) -> io::Result<Option<(u32, u32)>>;
    fn group(&self, name: &str) -> io::Result<Option<u32>>;
    /// CPUs that this process may use, ascending.
    fn cpus(&self) -> io::Result<Vec<usize>>;
    /// The real path of a folder, without symlinks (realpath(3)); `NotADirectory` if it is none.
    fn folder(&self, path: &Path) -> io::Result<PathBuf>;
    /// A regular file of at most `LIMIT` bytes.
    fn file(&self, path: &Path) -> io::Result<Contents>;
    /// Where the shell looks for programs (environ(7)), if that is set.
    fn search_path(&self) -> Option<OsString>;
    /// Whatever is at a path, as if it were a program, and what it is instead.
    fn program(&self, path: &Path) -> io::Result<(Program, Metadata)>;
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

    fn folder(&self, path: &Path) -> io::Result<PathBuf> {
        let real = std::fs::canonicalize(path)?;
        let is_folder = std::fs::metadata(&real)?.is_dir();
        if is_folder { Ok(real) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }

    fn file(&self, path: &Path) -> io::Result<Contents> {
        sys::file::read_regular(path, LIMIT)
    }

    fn search_path(&self) -> Option<OsString> {
        std::env::var_os("PATH")
    }

    fn program(&self, path: &Path) -> io::Result<(Program, Metadata)> {
        program::look(path)
    }
}
