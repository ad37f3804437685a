//! From a fork of the master to a worker of its own: everything that concerns the process.
//!
//! A strict sequence; each step that fails ends the worker with a sentence for the master. Order
//! matters: foreign descriptors go first, limits and affinity need the rights that the identity
//! gives up, and signals stay blocked throughout (the worker reads TERM and QUIT from a signalfd;
//! a terminal's ^C goes to the whole group, and what it means is for the master to decide).

use super::turn::Setup;
use crate::config::{Affinity, Limits, Service};
use crate::image;
use crate::inherit::Inheritance;
use crate::log::Sink;
use crate::model::Seat;
use crate::scoreboard::layout::{PID, State};
use crate::scoreboard::slot::Slot;
use crate::sys::signal::{SignalFd, TABLE, Word};
use crate::sys::{fd, limits, privs, process, title};
use slog::{Logger, debug, error, warn};
use std::fmt;
use std::os::fd::{AsFd, AsRawFd};

/// A step that failed: what, and why.
#[derive(Debug)]
pub struct Failed(String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<std::io::Error> for Failed {
    /// The errors of `sys` name the act and its object already.
    fn from(error: std::io::Error) -> Failed {
        Failed(error.to_string())
    }
}

/// Closes what is the master's: its epoll set, its other channels, other seats' listeners.
pub fn keep_only_own(inheritance: &Inheritance) -> Result<(), Failed> {
    let Inheritance { listeners, channel, slot, log, access_log, .. } = inheritance;
    let own = [channel, slot, log].into_iter().chain(access_log).chain(listeners).map(AsRawFd::as_raw_fd);
    Ok(fd::close_all_except(&own.collect::<Vec<_>>())?)
}

/// `worker web/3 gen 7`: in the log and, behind the program's name, in `ps`.
pub fn name_of(inheritance: &Inheritance) -> String {
    let Inheritance { service, seat, generation, .. } = inheritance;
    format!("worker {}/{seat} gen {generation}", service.name)
}

/// The rest of the sequence, up to the point where everything is said to `serve`.
pub fn settle(inheritance: Inheritance, log: Logger, sink: Sink) -> Result<Setup, Failed> {
    let Inheritance { seat, generation, service, config, listeners, channel, slot, drop_privileges, .. } =
        inheritance;
    let (trial, tickets, access_log) = (inheritance.trial, inheritance.tickets, inheritance.access_log);
    image::at(if trial { image::Step::CandidateWorker } else { image::Step::Worker });
    obey_limits(&service.limits, inheritance.nofile.filter(|_| service.kind.exec().is_some()), &log)?;
    place(&service, seat, &log)?;
    let exec = service.kind.exec();
    let who = exec.and_then(|exec| exec.user.as_ref()).unwrap_or(&config.master.user);
    // Before it becomes that user: name services may want to be asked by somebody who may.
    let home = if drop_privileges && exec.is_some() { privs::home(who.uid)? } else { None };
    if drop_privileges {
        // Root too: it is to have this group and no other.
        privs::become_user(who.uid, who.gid)
            .map_err(|e| Failed(format!("can't become {}:{}: {e}", who.user, who.group)))?;
    }
    if !(drop_privileges && who.uid == 0) {
        privs::drop_capabilities()?;
    }
    // A program has its own say, from its exec on.
    if service.limits.core != Some(0) && exec.is_none() {
        limits::allow_core()?;
    }
    privs::no_new_privs()?;
    let role = if exec.is_some() { "keeper" } else { "worker" };
    title::set(&format!("masterd: {role} {}/{seat} gen {generation}", service.name));
    log_panics(&log);
    let pages = Slot::map(slot.as_fd())?;
    // From here on the map is the only way to the slot.
    drop(slot);
    pages.set(PID, process::pid().unsigned_abs().into());
    pages.set_state(State::Starting);
    let heard = [Word::Terminate, Word::Quit, Word::Child].map(number_of);
    // Only keepers have children.
    let signals = Some(SignalFd::new(if exec.is_some() { &heard } else { &heard[..2] })?);
    Ok(Setup {
        seat,
        generation,
        service,
        listeners,
        channel,
        slot: pages,
        log,
        sink,
        access_log,
        signals,
        tickets,
        trial,
        ready_timeout: config.master.ready_timeout,
        home,
    })
}

/// The number of a signal of the one table; 0, which is no signal, can't come out.
fn number_of(word: Word) -> i32 {
    TABLE.iter().find(|entry| entry.word == word).map_or(0, |entry| entry.number)
}

/// What a caught signal means.
pub fn word_of(number: i32) -> Option<Word> {
    TABLE.iter().find(|entry| entry.number == number).map(|entry| entry.word)
}

/// `started`: where the config does not say, programs have the descriptors that masterd was started with; it has
/// raised its own limit since.
fn obey_limits(wanted: &Limits, started: Option<u64>, log: &Logger) -> Result<(), Failed> {
    if let Some(nofile) = wanted.nofile.or(started)
        && let Err(e) = limits::set_nofile(nofile)
    {
        let (_, hard) = limits::nofile()?;
        limits::set_nofile(hard.min(nofile))?;
        // The master says it once, with what to do; every worker saying it would be noise.
        debug!(log, "{e}; going on with {hard}");
    }
    limits::set_core(wanted.core).or_else(|e| match wanted.core {
        // Fewer dumps than asked for is no reason not to serve.
        None | Some(1..) => {
            warn!(log, "{e}");
            Ok(())
        }
        Some(0) => Err(e),
    })?;
    if wanted.nice != 0 {
        limits::set_nice(wanted.nice)?;
    }
    Ok(())
}

fn place(service: &Service, seat: Seat, log: &Logger) -> Result<(), Failed> {
    let cpus = match &service.limits.cpu_affinity {
        Affinity::Off => return Ok(()),
        Affinity::Cpus(cpus) => cpus.clone(),
        Affinity::Auto => {
            let allowed = limits::allowed_cpus()?;
            if service.workers.initial() as usize != allowed.len() {
                return Ok(());
            }
            vec![allowed[seat.0 as usize % allowed.len()]]
        }
    };
    // A CPU may have been taken away since the config was checked: serve anywhere rather than not at all.
    if let Err(e) = limits::set_affinity(&cpus) {
        warn!(log, "{e}; the worker runs on any CPU (see limits.cpu_affinity)");
    }
    Ok(())
}

/// A panic's place goes to the log; what it costs is the engine's business.
fn log_panics(log: &Logger) {
    let log = log.clone();
    std::panic::set_hook(Box::new(move |info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let text = super::engine::task::text_of(info.payload());
        error!(log, "panic: {text} ({place}); this is a defect of masterd");
    }));
}
