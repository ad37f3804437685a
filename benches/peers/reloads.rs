//! Reloads under load: how many requests they cost.

use super::figures::{Pair, heading, line, table};
use super::load;
use super::proc;
use super::server::{BOTH, Server, Setup};
use std::collections::BTreeMap;
use std::time::Duration;

const ROUNDS: usize = 3;
const RELOADS: usize = 20;
const APART: Duration = Duration::from_millis(400);

pub fn run() {
    let (mut lost, mut all, mut done) = (Pair::default(), Pair::default(), Pair::default());
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0..ROUNDS {
        for kind in BOTH {
            let server = Server::start(kind, Setup { workers: 2, ..Setup::default() });
            let mut replaced = 0;
            let outcome = load::during(server.address, || replaced = reload_often(&server));
            let sum: u64 = outcome.lost.values().sum();
            eprintln!("{round} {}: {sum} of {} lost {:?}", kind.name(), outcome.requests, outcome.lost);
            lost.push(kind, sum as f64);
            all.push(kind, outcome.requests as f64);
            done.push(kind, replaced as f64);
            for (reason, n) in outcome.lost {
                *reasons.entry(format!("{}, {reason}", kind.name())).or_insert(0) += n;
            }
        }
    }
    heading(
        "Reloads under load",
        "Two workers, 20 reloads 400 ms apart; 8 clients with new connections, 48 with kept ones, 16 that pause \
         within their request. Lost: refused, or (partly) sent and not answered whole within 5 s; a connection \
         seen closed before a request is sent is replaced and not counted. Three rounds.",
    );
    table();
    line("requests lost", &lost, 0);
    line("requests", &all, 0);
    line("reloads that had new workers when the next one began", &done, 0);
    for (reason, n) in reasons {
        println!("\n{n} × {reason}");
    }
}

/// How many of the reloads had brought new workers before the next one was asked for.
fn reload_often(server: &Server) -> usize {
    let newest = || server.workers().into_iter().max();
    let mut replaced = 0;
    std::thread::sleep(APART);
    for _ in 0..RELOADS {
        let before = newest();
        server.signal(proc::HUP);
        std::thread::sleep(APART);
        replaced += usize::from(newest() > before);
    }
    std::thread::sleep(APART * 2);
    replaced
}
