//! What a worker says and writes is not believed: garbage in its slot, garbage on its channel.
//!
//! The enemy fills its slot at least 1,000 times with random bytes, with the largest and smallest
//! numbers, with a stranger's pid in every word; sends reports that are none, reports that are lies,
//! and descriptors nobody asked for. Meanwhile the master is asked for its status, reloads, scales
//! and reaps. Seat 1 does not leave when it is told to.

use crate::enemy;
use crate::harness::*;
use crate::roles::{Enemy, leave};
use masterd::inherit::Inheritance;
use masterd::scoreboard::layout;
use masterd::wire::order::Order;
use masterd::wire::report::Report;
use masterd::wire::status::Status;
use masterd::worker::mailbox::Mail;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::process::{Child, Command};
use std::time::Duration;

/// Words of this size are more than any worker can have counted.
const MOST_COUNTED: u64 = 1 << 55;
const MOST_OPEN: u64 = 1 << 24;
const FILLS: u64 = 1000;

pub fn of_another_user() {
    hold(false);
}

pub fn of_the_same_user() {
    hold(true);
}

/// A process that has nothing to do with masterd, and that must not notice it.
struct Bystander(Child);

impl Bystander {
    fn new() -> Bystander {
        Bystander(Command::new("sleep").arg("1000").spawn().expect("start sleep"))
    }

    fn pid(&self) -> i32 {
        self.0.id().cast_signed()
    }

    /// Neither ended, nor stopped, nor with a signal waiting.
    fn untouched(&self) -> bool {
        let pending = procs::status_line(self.pid(), "ShdPnd");
        procs::look(self.pid()).is_some_and(|p| p.state == 'S')
            && pending.as_deref() == Some("0000000000000000")
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn hold(same: bool) {
    let place = Place::new();
    let stranger = Bystander::new();
    wait_until("the stranger sleeps", SOON, || stranger.untouched());
    let web = Web::new()
        .workers(3)
        // The most that a liar gains.
        .service("drain = { grace = \"300ms\", long_lived_grace = \"900ms\" }")
        .service("restart = { backoff_min = \"5ms\", backoff_max = \"5ms\" }");
    let pid = stranger.pid().to_string();
    let touch = |command: &mut Command| {
        command.env("STRANGER", &pid);
    };
    let Some(master) = enemy(&place, "lies", same, &web.text(), &touch) else { return };
    for words in ["event=died", "1b}[2J", "event=hung", "event=killed", "scale"] {
        master.expect_error(words);
    }
    let before = (resident(master.pid()), kinds_at_rest(&master));
    // Lies about the load may make a pool grow, as far as its bounds.
    place.config(&web.clone().workers("{ min = 3, max = 5 }").text());
    let mut truth = Truth::default();
    for turn in 0..3 {
        let fills = filled(&master);
        truth.look_until(&master, "all lie for a while", |_| filled(&master) >= fills + 3 * FILLS);
        match turn {
            0 => {
                let victim = master.ready_pids("web")[0];
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(victim), Signal::SIGKILL).expect("kill");
                truth.look_until(&master, "the dead one is replaced", |s| {
                    s.services[0].workers.iter().all(|w| w.pid != victim) && s.services[0].workers_ready >= 3
                });
            }
            1 => {
                let reload = master.begin(&["reload", "--drained"]);
                truth.look_until(&master, "the old ones are gone", |s| {
                    s.generation == 2 && s.services[0].workers.iter().all(|w| w.generation == 2)
                });
                reload.finish().expect(0);
            }
            _ => {
                let out = master.cli(&["status", "--connections"]).expect(0).stdout;
                let odd = out.chars().find(|c| c.is_control() && *c != '\n');
                assert_eq!(odd, None, "nothing that a worker said controls a terminal: {out:?}");
            }
        }
    }
    assert!(stranger.untouched(), "the stranger noticed");
    assert_eq!(master.status().pid, master.pid());
    assert!(truth.looks > 100, "{} looks", truth.looks);
    // As many workers as in the beginning: what the master holds is what it held.
    place.config(&web.text());
    master.cli(&["reload", "--drained"]).expect(0);
    let same = came_true(SOON, || kinds(&master) == before.1);
    assert!(same, "the master holds {:?}, and held {:?}", kinds(&master), before.1);
    assert!(resident(master.pid()) < before.0 + 4096, "{} KiB, {} before", resident(master.pid()), before.0);
    master.finish();
    assert!(stranger.untouched(), "the stranger noticed the end");
}

/// How often slots were filled, as far as the log tells.
fn filled(master: &Master) -> u64 {
    FILLS * master.log().matches("filled its slot").count() as u64
}

fn resident(pid: i32) -> u64 {
    let line = procs::status_line(pid, "VmRSS").expect("a living process");
    line.trim_end_matches("kB").trim().parse().expect("a number")
}

/// The kinds once they stay the same: the master closes a client's socket a moment after the answer.
fn kinds_at_rest(master: &Master) -> Vec<(String, usize)> {
    let mut last = (kinds(master), std::time::Instant::now());
    wait_until("descriptors stay the same", SOON, || {
        let now = kinds(master);
        if now != last.0 {
            last = (now, std::time::Instant::now());
        }
        last.1.elapsed() > Duration::from_millis(150)
    });
    last.0
}

/// Kinds of the master's descriptors, and how many of each.
fn kinds(master: &Master) -> Vec<(String, usize)> {
    let mut found = BTreeMap::new();
    for (_, target) in procs::descriptors(master.pid()) {
        *found.entry(target.split(['[', '(']).next().unwrap_or_default().to_owned()).or_insert(0) += 1;
    }
    found.into_iter().collect()
}

/// What must be true of every status, whatever workers write.
#[derive(Default)]
struct Truth {
    last: [u64; 8],
    looks: u32,
}

impl Truth {
    /// Looks until it is done, but a few times at least: on a busy machine the enemies get on meanwhile.
    fn look_until(&mut self, master: &Master, what: &str, done: impl Fn(&Status) -> bool) {
        let enough = self.looks + 25;
        wait_until(what, SOON * 2, || {
            let status = master.status();
            self.check(master, &status);
            done(&status) && self.looks >= enough
        });
    }

    fn check(&mut self, master: &Master, status: &Status) {
        self.looks += 1;
        let service = &status.services[0];
        let t = &service.totals;
        let now = [t.accepted, t.requests, t.bytes_in, t.bytes_out, t.errors, t.migrated, t.cut, t.deaths];
        assert!(
            self.last.iter().zip(now).all(|(before, now)| *before <= now),
            "{:?} then {now:?}",
            self.last
        );
        self.last = now;
        assert!(service.workers.len() <= 10 && service.workers_wanted <= 5, "{service:#?}");
        assert!(service.totals.deaths < 20, "deaths are what the master saw: {}", service.totals.deaths);
        for worker in &service.workers {
            let counters =
                [worker.accepted, worker.requests, worker.bytes_in, worker.bytes_out, worker.errors];
            assert!(counters.iter().all(|n| *n <= MOST_COUNTED), "{worker:#?}");
            let gauges = [worker.idle, worker.in_flight, worker.active.http, worker.active.tcp];
            assert!(gauges.iter().all(|n| *n <= MOST_OPEN), "{worker:#?}");
            assert!(["starting", "ready", "draining", "stopping"].contains(&worker.state.as_str()));
            assert!(worker.seat < 5 && worker.generation <= status.generation + 1, "{worker:#?}");
            let known = procs::look(worker.pid).is_none_or(|p| p.parent == master.pid());
            assert!(known, "{} is no worker", worker.pid);
            let connections = worker.connections.as_deref().unwrap_or_default();
            assert!(connections.len() <= layout::CONNECTION_ROWS);
            for c in connections {
                assert!(c.age >= 0.0 && c.age.is_finite(), "{c:?}");
                assert!(
                    ["new", "head", "request", "idle", "closing", "tunnel", "?"].contains(&c.state.as_str()),
                    "{c:?}"
                );
                assert!(["http", "websocket", "grpc", "sse", "tcp"].contains(&c.class.as_str()), "{c:?}");
            }
            if let Some(drain) = worker.drain {
                assert!((0.0..=1.0).contains(&drain.deadline) && drain.oldest.is_finite(), "{drain:?}");
                assert!(drain.remaining <= 5 * MOST_OPEN, "{drain:?}");
            }
        }
    }
}

/// xorshift64*: numbers enough, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// The enemy's life.
pub fn worker(inheritance: Inheritance) -> ! {
    let mut dice = Dice(inheritance.worker.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let stranger = std::env::var("STRANGER").ok().and_then(|pid| pid.parse().ok()).unwrap_or(1);
    let mut enemy = Enemy::settle(inheritance);
    enemy.mailbox.send(&Report::Ready, &enemy.log);
    for round in 1.. {
        fill(enemy.slot, round, stranger, &mut dice);
        if round % 20 == 0 {
            lie(&enemy, &mut dice);
        }
        if round % FILLS == 0 {
            slog::info!(enemy.log, "filled its slot {} times", round);
        }
        while let Some(mail) = enemy.order() {
            match mail {
                Mail::End => leave(),
                Mail::Order(Order::Drain(_) | Order::Stop, _) if enemy.seat != 1 => {
                    enemy.mailbox.send(&Report::Leaving { cut: u64::MAX }, &enemy.log);
                    leave()
                }
                Mail::Order(..) => {}
            }
        }
        std::thread::sleep(Duration::from_micros(300));
    }
    leave()
}

/// One kind of garbage in every word of the slot.
fn fill(slot: (usize, usize), round: u64, stranger: u64, dice: &mut Dice) {
    let start = std::ptr::with_exposed_provenance_mut::<u64>(slot.0);
    for index in 0..slot.1 / 8 {
        let value = match round % 6 {
            0 | 1 => dice.next(),
            2 => u64::MAX,
            3 => 0,
            4 => stranger,
            // Rows of the table that look real, counters that fall.
            _ => (dice.next() & 0x0004_ffff_0505) | u64::from(index % 6 == 2) << (round % 64),
        };
        // SAFETY: within the own slot, which stays mapped for writing.
        unsafe { start.add(index).write_volatile(value) };
    }
}

/// Says something on the channel.
fn lie(enemy: &Enemy, dice: &mut Dice) {
    let report = |report: &Report| enemy.send(&serde_json::to_vec(report).expect("a report"), &[]);
    match dice.next() % 8 {
        0 => report(&Report::Ready),
        1 => report(&Report::Closed { rites: Some(dice.next()) }),
        2 => report(&Report::Closed { rites: None }),
        3 => report(&Report::Leaving { cut: dice.next() }),
        4 => report(&Report::Failed { why: "\u{1b}[2J\n\0é".repeat(200), lines: Vec::new() }),
        5 => report(&Report::StatusWanted),
        6 => {
            let bytes: Vec<u8> = (0..dice.next() % 20_000).map(|_| dice.next() as u8).collect();
            enemy.send(&bytes, &[]);
        }
        _ => {
            let file = File::open("/dev/null").expect("/dev/null");
            let twenty = vec![file.as_fd(); 20];
            enemy.send(b"{\"ready\":null}", &twenty);
            enemy.send(b"\"ready\"", &twenty);
        }
    }
}

/// Never reads an order, asks for the status without end, and does not leave.
pub fn deaf(inheritance: Inheritance) -> ! {
    let mut enemy = Enemy::settle(inheritance);
    enemy.mailbox.send(&Report::Ready, &enemy.log);
    let parent = nix::unistd::getppid();
    let question = serde_json::to_vec(&Report::StatusWanted).expect("a report");
    while nix::unistd::getppid() == parent {
        enemy.send(&question, &[]);
        std::thread::sleep(Duration::from_micros(500));
    }
    leave()
}

pub fn deaf_and_mute() {
    let place = Place::new();
    let web = Web::new().workers(2).service("drain = { grace = \"200ms\" }");
    let Some(master) = enemy(&place, "deaf", !is_root(), &web.text(), &|_| {}) else { return };
    master.expect_error("event=killed");
    let before = kinds(&master).len();
    for generation in 2..=3 {
        master.cli(&["reload", "--drained"]).expect(0);
        assert_eq!(master.status().generation, generation);
    }
    // Orders wait for somebody who does not read, a bounded number of them, each with a descriptor.
    wait_until("orders are not kept for ever", SOON, || {
        let held = procs::descriptors(master.pid()).len();
        assert!(held < 2 * 64 + 100, "{held} descriptors");
        master.log().contains("cannot send")
    });
    master.cli(&["reload", "--drained"]).expect(0);
    assert!(kinds(&master).len() <= before + 1);
    assert!(resident(master.pid()) < 20 * 1024, "{} KiB", resident(master.pid()));
    master.finish();
}
