//! The handles: what the master holds of each living worker. Pidfd, channel, read-only slot.
//!
//! Made at the spawn, dropped when the worker is reaped. Orders are queued here when the worker does
//! not read; a worker that leaves too many unread is not waited for.

use super::samples::Sample;
use crate::config::{Config, Service};
use crate::model::{Moment, ServiceName, WorkerId};
use crate::scoreboard::view::View;
use crate::sys::process::{self, Pidfd};
use crate::sys::scm;
use crate::wire::order::Order;
use crate::wire::report::Report;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// Orders that may wait for a worker that does not read.
const QUEUE: usize = 64;
/// How often the memory of a worker is looked at that may have only so much.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Reports read from one worker in one turn; the rest waits for the next.
pub const REPORTS_PER_TURN: usize = 32;

pub struct Handle {
    pub pid: i32,
    pub pidfd: Pidfd,
    pub channel: OwnedFd,
    pub view: View,
    /// The slot's memfd, opened read-only: a later image maps it again.
    pub slot: OwnedFd,
    pub service: ServiceName,
    /// The config it was started from.
    pub config: Arc<Config>,
    /// The channel has reached its end.
    pub deaf: bool,
    /// Reports that made no sense; said once in the log.
    pub nonsense: u64,
    /// A status could not be sent to it; said once in the log.
    pub status_failed: bool,
    /// Of a keeper: the program's main process, as it says. For people to see, and for nothing else.
    pub program: Option<i32>,
    /// Of a keeper: what there is to say of the program.
    pub says: Option<String>,
    /// Resident memory of the process, bytes, and when it was looked at.
    resident: Option<(Moment, u64)>,
    /// Of a keeper: how old its figures are.
    pub sample: Sample,
    pub(super) unsent: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
}

/// What one look at a channel brought.
pub enum Heard {
    Report(Report),
    /// Not a report, or a broken message.
    Nonsense(String),
    /// Nothing more now.
    Silence,
    End,
}

#[derive(Default)]
pub struct Crew {
    pub handles: BTreeMap<WorkerId, Handle>,
}

impl Handle {
    pub fn new(
        (pid, pidfd): (i32, Pidfd),
        channel: OwnedFd,
        (view, slot): (View, OwnedFd),
        service: ServiceName,
        config: Arc<Config>,
    ) -> Handle {
        Handle {
            pid,
            pidfd,
            channel,
            view,
            slot,
            service,
            config,
            deaf: false,
            nonsense: 0,
            status_failed: false,
            program: None,
            says: None,
            resident: None,
            sample: Sample::default(),
            unsent: VecDeque::new(),
        }
    }

    /// The service as this worker's config has it.
    pub fn service(&self) -> Option<&Service> {
        self.config.services.iter().find(|s| s.name == self.service.0)
    }

    /// Whether it keeps a program.
    pub fn is_keeper(&self) -> bool {
        self.service().is_some_and(|s| s.kind.exec().is_some())
    }

    /// Resident memory of the process in bytes, 0 if it can't be read; looked at twice a second at most.
    pub fn resident(&mut self, now: Moment) -> u64 {
        match self.resident {
            Some((at, bytes)) if now.since(at) < LOOK_EVERY => bytes,
            _ => {
                let bytes = process::resident(self.pid).unwrap_or(0);
                self.resident = Some((now, bytes));
                bytes
            }
        }
    }

    /// Sends an order, behind those that still wait.
    pub fn tell(&mut self, order: &Order, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = serde_json::to_vec(order)?;
        if self.deaf {
            return Ok(());
        }
        if self.unsent.is_empty() {
            match scm::send(self.channel.as_fd(), &bytes, fds) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // It is gone or going: its pidfd will tell.
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                other => return other,
            }
        }
        if self.unsent.len() >= QUEUE {
            return Err(io::Error::other(format!("{QUEUE} orders wait unread")));
        }
        let owned = fds.iter().map(|fd| crate::sys::fd::dup_cloexec(*fd)).collect::<io::Result<Vec<_>>>()?;
        self.unsent.push_back((bytes, owned));
        Ok(())
    }

    /// The channel can take more: sends what waits. Orders that can't be sent are given up, and why
    /// comes back.
    pub fn flush(&mut self) -> Vec<io::Error> {
        let mut failed = Vec::new();
        while let Some((bytes, fds)) = self.unsent.front() {
            let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
            match scm::send(self.channel.as_fd(), bytes, &borrowed) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                // It is gone or going: its pidfd will tell.
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => self.unsent.clear(),
                sent => {
                    failed.extend(sent.err());
                    self.unsent.pop_front();
                }
            }
        }
        failed
    }

    /// Whether this very order waits to be sent.
    pub fn owes(&self, order: &Order) -> bool {
        serde_json::to_vec(order).is_ok_and(|bytes| self.unsent.iter().any(|(waiting, _)| *waiting == bytes))
    }

    /// One message from the worker. Descriptors it may have attached are closed unread.
    pub fn hear(&mut self, buffer: &mut [u8]) -> Heard {
        if self.deaf {
            return Heard::Silence;
        }
        match scm::recv(self.channel.as_fd(), buffer) {
            Ok((0, _)) => {
                self.deaf = true;
                Heard::End
            }
            Ok((n, _)) => match serde_json::from_slice(&buffer[..n]) {
                Ok(report) => Heard::Report(report),
                Err(e) => Heard::Nonsense(e.to_string()),
            },
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Heard::Silence,
            Err(e) if e.kind() == io::ErrorKind::InvalidData => Heard::Nonsense(e.to_string()),
            Err(_) => {
                self.deaf = true;
                Heard::End
            }
        }
    }
}
