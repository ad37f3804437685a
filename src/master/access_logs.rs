//! The access logs: opened by the master, before privileges are dropped, and shared with the workers.
//!
//! Each file is open once, whoever writes to it, as long as a config with a service that names it is
//! kept. `try_open` of a reload or start opens what is missing, `spawn` takes a copy for each worker,
//! `reopen` opens all of them anew and sends them round. They cross to another image by name, so that a
//! file that was renamed and not reopened goes on being the one that all write to.
//! Never: writes to one.

use super::crew::Crew;
use super::turn::Shell;
use crate::config::{Config, Service};
use crate::model::PlanId;
use crate::sys::fd;
use crate::wire::order::Order;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The open files, by path.
#[derive(Debug, Default)]
pub struct AccessLogs(BTreeMap<PathBuf, OwnedFd>);

/// The file of a service's access log.
fn file_of(service: &Service) -> Option<&Path> {
    service.access_log.as_ref().map(|log| log.file.as_path())
}

/// The files that any of these configs names.
fn named(plans: &BTreeMap<PlanId, Arc<Config>>) -> BTreeSet<&Path> {
    plans.values().flat_map(|config| &config.services).filter_map(file_of).collect()
}

impl AccessLogs {
    /// The files that a config names and that are not open.
    pub fn missing<'a>(&self, config: &'a Config) -> BTreeSet<&'a Path> {
        config.services.iter().filter_map(file_of).filter(|path| !self.0.contains_key(*path)).collect()
    }

    /// Opens what is missing for a config, to be kept with `keep`; all or nothing.
    pub fn open(&self, config: &Config) -> io::Result<AccessLogs> {
        let open = |path: &Path| Ok((path.to_owned(), open(path)?));
        self.missing(config).into_iter().map(open).collect::<io::Result<_>>().map(AccessLogs)
    }

    /// Takes in what was opened.
    pub fn keep(&mut self, mut opened: AccessLogs) {
        self.0.append(&mut opened.0);
    }

    /// A copy for a worker of this service, if it has an access log. One that is not open (an older image
    /// did not hand it over) is opened.
    pub fn share(&mut self, service: &Service) -> io::Result<Option<OwnedFd>> {
        let Some(path) = file_of(service) else { return Ok(None) };
        if !self.0.contains_key(path) {
            self.0.insert(path.to_owned(), open(path)?);
        }
        self.0.get(path).map(|fd| fd::dup_cloexec(fd.as_fd())).transpose()
    }

    /// Closes what no config names any more.
    pub fn prune(&mut self, plans: &BTreeMap<PlanId, Arc<Config>>) {
        let named = named(plans);
        self.0.retain(|path, _| named.contains(path.as_path()));
    }

    /// All of them, for the handover.
    pub fn each(&self) -> impl Iterator<Item = (&Path, BorrowedFd<'_>)> {
        self.0.iter().map(|(path, fd)| (path.as_path(), fd.as_fd()))
    }

    /// What an image before this one had open, of what its configs name; `take` gives each by its path.
    pub fn restore(
        plans: &BTreeMap<PlanId, Arc<Config>>,
        mut take: impl FnMut(&Path) -> Option<OwnedFd>,
    ) -> AccessLogs {
        AccessLogs(named(plans).into_iter().filter_map(|path| Some((path.to_owned(), take(path)?))).collect())
    }
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    fd::open_log(path).map_err(|e| io::Error::new(e.kind(), format!("{e} (an access_log)")))
}

/// Opens all of them anew and sends each to the workers that write to it; what to say of each. One that
/// can't be opened stays as it is.
pub fn reopen(shell: &mut Shell) -> Vec<Result<String, String>> {
    let Shell { access_logs, crew, log, .. } = shell;
    let mut said = Vec::new();
    for (path, fd) in &mut access_logs.0 {
        let shown = path.display();
        said.push(match fd::open_log(path) {
            Ok(opened) => {
                *fd = opened;
                send_round(crew, log, path, fd.as_fd());
                Ok(format!("access log {shown} reopened"))
            }
            Err(e) => Err(format!("cannot reopen access log {shown}: {e}; the old one is kept")),
        });
    }
    said
}

fn send_round(crew: &mut Crew, log: &slog::Logger, path: &Path, fd: BorrowedFd<'_>) {
    for handle in crew.handles.values_mut() {
        let writes = handle.service().and_then(file_of) == Some(path);
        if writes && let Err(e) = handle.tell(&Order::ReopenAccessLog, &[fd]) {
            slog::warn!(log, "cannot send an access log to a worker: {}", e; "pid" => handle.pid);
        }
    }
}
