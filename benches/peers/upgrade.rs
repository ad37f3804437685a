//! Upgrades of the binary under load: what they cost, and how long they take.
//!
//! Each server runs from a copy of its program in its own folder, and before each upgrade another
//! copy takes that place. nginx is upgraded as its manual says: USR2, and when the new master has its
//! workers, WINCH to the old one, and QUIT when that one's workers are gone. masterd and HAProxy do it
//! all after USR2. An upgrade is settled when masterd or HAProxy says so, or nginx's old master is gone.

use super::client::get;
use super::figures::{Trio, heading, line_of_three, table_of_three};
use super::load;
use super::proc;
use super::server::{ALL, Body, Kind, Server, Setup, wait_until};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const ROUNDS: usize = 3;
const UPGRADES: usize = 20;
const APART: Duration = Duration::from_millis(400);

/// What masterd logs when it executes the new program, when that one has begun, and at the end.
const PROVED: &str = "event=upgrade_proved";
const EXECUTED: &str = "event=upgrade_executed";
const DONE: &str = "event=upgrade_done";
/// What HAProxy says when the new program has loaded its config and has its worker.
const LOADED: &str = "Loading success.";

#[derive(Default)]
struct Figures {
    lost: Trio,
    requests: Trio,
    new: Trio,
    calm_new: Trio,
    kept: Trio,
    calm_kept: Trio,
    first: Trio,
    verdict: Trio,
    away: Trio,
    reasons: BTreeMap<String, u64>,
}

pub fn run() {
    let mut figures = Figures::default();
    let installed = || ALL.into_iter().filter(|kind| kind.program().is_some());
    for round in 0..ROUNDS {
        for kind in installed() {
            measure(kind, round, &mut figures);
        }
    }
    show(&figures);
    if installed().all(|kind| kind != Kind::Haproxy) {
        println!("\nHAProxy is not installed here: its column is missing.");
    }
    for (reason, n) in figures.reasons {
        println!("\n{n} × {reason}");
    }
}

fn measure(kind: Kind, round: usize, figures: &mut Figures) {
    let setup = Setup { workers: 2, body: Body::Pid, upgradable: true, ..Setup::default() };
    let server = Server::start(kind, setup);
    let ms = |took: Duration| took.as_secs_f64() * 1e3;
    let calm = load::during(server.address, || std::thread::sleep(APART * UPGRADES as u32));
    figures.calm_new.push(kind, ms(calm.longest_new));
    figures.calm_kept.push(kind, ms(calm.longest_kept));
    let outcome = load::during(server.address, || {
        std::thread::sleep(APART);
        for _ in 0..UPGRADES {
            let (first, verdict) = upgrade(&server);
            figures.first.push(kind, ms(first));
            if let Some(verdict) = verdict {
                figures.verdict.push(kind, ms(verdict));
            }
            std::thread::sleep(APART);
        }
        std::thread::sleep(APART);
    });
    let sum: u64 = outcome.lost.values().sum();
    eprintln!("{round} {}: {sum} of {} lost {:?}", kind.name(), outcome.requests, outcome.lost);
    eprintln!("  new {:?}, without upgrades {:?}", outcome.longest_new, calm.longest_new);
    if kind == Kind::Masterd && sum > 0 {
        eprintln!("what masterd did meanwhile:\n{}", server.said());
    }
    figures.lost.push(kind, sum as f64);
    figures.requests.push(kind, outcome.requests as f64);
    figures.new.push(kind, ms(outcome.longest_new));
    figures.kept.push(kind, ms(outcome.longest_kept));
    if kind == Kind::Masterd {
        absences(&server.said()).into_iter().for_each(|away| figures.away.push(kind, away));
    }
    for (reason, n) in calm.lost {
        *figures.reasons.entry(format!("{} without upgrades, {reason}", kind.name())).or_insert(0) += n;
    }
    for (reason, n) in outcome.lost {
        *figures.reasons.entry(format!("{}, {reason}", kind.name())).or_insert(0) += n;
    }
}

/// One of them, until it is settled: from the signal to the first answer of the new program, and to
/// the verdict where there is one.
fn upgrade(server: &Server) -> (Duration, Option<Duration>) {
    let (master, before) = (server.master(), server.workers());
    server.replace_program();
    let verdicts_before = verdicts(server);
    let (mut first, mut verdict) = (None, None);
    // An attempt that is lost is none of the new program.
    let is_new = |body: &str| body.parse().is_ok_and(|pid: i32| !before.contains(&pid));
    let start = Instant::now();
    server.signal(proc::USR2);
    wait_until("an answer of the new program, and the verdict", || {
        if verdict.is_none() && verdicts(server) > verdicts_before {
            verdict = Some(start.elapsed());
        }
        if first.is_none() && get(server.address).is_ok_and(|answer| is_new(&answer.body)) {
            first = Some(start.elapsed());
        }
        first.is_some() && (verdict.is_some() || server.kind == Kind::Nginx)
    });
    if server.kind == Kind::Nginx {
        end_old_nginx(server, master);
    }
    (first.unwrap_or_default(), verdict)
}

fn verdicts(server: &Server) -> usize {
    match server.kind {
        Kind::Masterd => server.said().matches(DONE).count(),
        Kind::Haproxy => server.said().matches(LOADED).count(),
        Kind::Nginx | Kind::Envoy => 0,
    }
}

fn end_old_nginx(server: &Server, old: i32) {
    let new = || Some(server.master()).filter(|new| *new != old);
    wait_until("the new master's workers", || new().is_some_and(|new| proc::children(new).len() == 2));
    let new = new();
    proc::kill(old, proc::WINCH);
    wait_until("the end of the old workers", || proc::children(old).into_iter().all(|c| Some(c) == new));
    proc::kill(old, proc::QUIT);
    wait_until("the end of the old master", || !proc::is_alive(old));
}

/// How long masterd's master was away each time, in milliseconds: that is how finely its log tells.
fn absences(log: &str) -> Vec<f64> {
    let at = |text| log.lines().filter(move |line| line.contains(text)).map(millis_of_day);
    at(PROVED).zip(at(EXECUTED)).map(|(from, to)| (to - from).rem_euclid(86_400_000) as f64).collect()
}

/// Of a line that begins like 2026-11-21T09:30:00.123Z.
fn millis_of_day(line: &str) -> i64 {
    let number =
        |from: usize, to: usize| line[from..to].parse::<i64>().expect("a log line begins with its time");
    ((number(11, 13) * 60 + number(14, 16)) * 60 + number(17, 19)) * 1000 + number(20, 23)
}

fn show(figures: &Figures) {
    heading(
        "Upgrades of the binary under load",
        "Two workers (HAProxy: two threads), 20 upgrades, each begun 400 ms after the one before was settled. \
         nginx: USR2, WINCH to the old master as soon as the new one has its workers, QUIT when the old ones \
         are gone; masterd and HAProxy: USR2, settled by their own verdict. Load and losses as in the section \
         on reloads. For comparison the longest waits of the same load in 8 s without upgrades. Three rounds; \
         times are those of all upgrades.",
    );
    table_of_three();
    line_of_three("requests lost", &figures.lost, 0);
    line_of_three("requests", &figures.requests, 0);
    line_of_three("longest from connect to answer, ms", &figures.new, 1);
    line_of_three("… without upgrades", &figures.calm_new, 1);
    line_of_three("longest for clients that keep connections, ms", &figures.kept, 1);
    line_of_three("… without upgrades", &figures.calm_kept, 1);
    line_of_three("signal to the first answer of the new program, ms", &figures.first, 1);
    line_of_three("signal to the verdict (nginx gives none), ms", &figures.verdict, 1);
    line_of_three("the master's loop is away, ms (by the log)", &figures.away, 0);
}
