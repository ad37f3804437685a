//! The masterd whose workers are enemies, and what they have in common.

use masterd::inherit::Inheritance;
use masterd::log::Sink;
use masterd::sys;
use masterd::wire::order::Order;
use masterd::wire::report::Report;
use masterd::worker::mailbox::{Mail, Mailbox};
use masterd::worker::startup;
use slog::Logger;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

/// Runs a master; its exit status.
pub fn master(role: &str, config: &str) -> i32 {
    sys::title::init();
    let options = masterd::master::Options { config: PathBuf::from(config), daemon: false, args: Vec::new() };
    let main = match role {
        "attacks" => crate::attacks::worker,
        "lies" => crate::lies::worker,
        "deaf" => crate::lies::deaf,
        other => panic!("no such role: {other}"),
    };
    masterd::master::run(&options, main)
}

/// An enemy that has come as far as any worker does: its own descriptors only, another user if need
/// be, its slot mapped.
pub struct Enemy {
    pub seat: u32,
    pub log: Logger,
    pub mailbox: Mailbox,
    /// The same channel again, for what a mailbox would not send.
    pub channel: OwnedFd,
    /// Where its slot is mapped: start and length.
    pub slot: (usize, usize),
    /// Keeps the map, and the rest of a worker.
    _setup: masterd::worker::turn::Setup,
}

impl Enemy {
    pub fn settle(inheritance: Inheritance) -> Enemy {
        startup::keep_only_own(&inheritance).expect("close what is not ours");
        let settings = &inheritance.config.master.log;
        let log = inheritance.log.try_clone().expect("a log");
        let sink = Sink::new(log, settings.format, settings.level);
        let log = sink.logger(&startup::name_of(&inheritance));
        let channel = inheritance.channel.try_clone().expect("a channel");
        let mailbox = Mailbox::new(inheritance.channel.try_clone().expect("a channel"));
        let setup = startup::settle(inheritance, log.clone(), sink).expect("come up");
        let maps = memory_maps();
        let own = maps.iter().find(|m| m.name.contains("masterd-slot")).expect("the slot is mapped");
        let slot = (own.start, own.length);
        Enemy { seat: setup.seat.0, log, mailbox, channel, slot, _setup: setup }
    }

    /// What the master says, if it has something to say.
    pub fn order(&mut self) -> Option<Mail> {
        self.mailbox.next(&self.log)
    }

    /// Waits as a tame worker would, and leaves when told.
    pub fn behave(&mut self) -> ! {
        loop {
            match self.order() {
                Some(Mail::End) => leave(),
                Some(Mail::Order(Order::Drain(_) | Order::Stop, _)) => {
                    self.mailbox.send(&Report::Leaving { cut: 0 }, &self.log);
                    leave()
                }
                Some(Mail::Order(..)) => {}
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Sends bytes as they are; a full channel is no concern.
    pub fn send(&self, bytes: &[u8], descriptors: &[std::os::fd::BorrowedFd<'_>]) {
        let _ = sys::scm::send(self.channel.as_fd(), bytes, descriptors);
    }
}

pub fn leave() -> ! {
    sys::fork::exit_now(0)
}

/// A mapping of shared memory.
pub struct Map {
    pub start: usize,
    pub length: usize,
    pub rights: String,
    pub name: String,
}

/// The memfds in this process's memory.
pub fn memory_maps() -> Vec<Map> {
    let text = std::fs::read_to_string("/proc/self/maps").expect("own maps");
    let map = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let rights = words.next()?.to_owned();
        let name = words.nth(3).filter(|name| name.contains("memfd:"))?.to_owned();
        let number = |text| usize::from_str_radix(text, 16).ok();
        Some(Map { start: number(start)?, length: number(end)? - number(start)?, rights, name })
    };
    text.lines().filter_map(map).collect()
}
