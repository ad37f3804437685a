//! A connection for every request: what it costs, and how evenly workers share.

use super::client::get;
use super::figures::{Pair, heading, line, table};
use super::proc;
use super::server::{BOTH, Body, Server, Setup};
use std::collections::BTreeMap;
use std::net::SocketAddr;

const ROUNDS: usize = 3;
const CLIENTS: usize = 32;
const EACH: usize = 625;

pub fn run() {
    heading(
        "Short connections",
        "20,000 connections with one request each (`Connection: close`), 32 at a time; nginx with `reuseport`. \
         CPU is that of all workers; the share is how many connections the busiest worker had, over the mean. \
         Three rounds.",
    );
    table();
    for workers in [1, 2, 4, 8] {
        let (mut cpu, mut share) = (Pair::default(), Pair::default());
        for round in 0..ROUNDS {
            for kind in BOTH {
                let setup = Setup { workers, body: Body::Pid, reuseport: true, ..Setup::default() };
                let server = Server::start(kind, setup);
                let pids = server.workers();
                let total = || pids.iter().map(|pid| proc::cpu_ns(*pid)).sum::<u64>();
                let before = total();
                let counts = storm(server.address);
                let used = (total() - before) as f64;
                let all: usize = counts.values().sum();
                let busiest = counts.values().max().copied().unwrap_or(0) as f64;
                eprintln!("{round} {} {workers}: {:?}", kind.name(), counts.values());
                cpu.push(kind, used / all as f64 / 1e3);
                share.push(kind, busiest / (all as f64 / workers as f64));
            }
        }
        let workers = if workers == 1 { "1 worker".to_owned() } else { format!("{workers} workers") };
        line(&format!("{workers}: µs of CPU per connection"), &cpu, 1);
        line(&format!("{workers}: busiest / mean"), &share, 2);
    }
}

/// How many connections each worker has had.
fn storm(address: SocketAddr) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    std::thread::scope(|scope| {
        let client = || (0..EACH).map(|_| get(address).expect("an answer").body).collect::<Vec<String>>();
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        for client in clients {
            for pid in client.join().expect("a client") {
                *counts.entry(pid).or_insert(0) += 1;
            }
        }
    });
    counts
}
