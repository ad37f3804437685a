//! Ten thousand kept connections that say nothing: what they cost in memory.

use super::figures::{Pair, heading, line, table};
use super::proc;
use super::server::{BOTH, Server, Setup, kept};

const CONNECTIONS: usize = 10_000;
const ROUNDS: usize = 3;

pub fn run() {
    let (mut each, mut whole, mut empty) = (Pair::default(), Pair::default(), Pair::default());
    for round in 0..ROUNDS {
        for kind in BOTH {
            let server = Server::start(kind, Setup::default());
            let worker = server.workers()[0];
            drop(kept(server.address, 100));
            let before = proc::resident(worker);
            let open = kept(server.address, CONNECTIONS);
            let after = proc::resident(worker);
            eprintln!("{round} {}: {before} -> {after}", kind.name());
            empty.push(kind, before as f64 / 1024.0);
            whole.push(kind, after as f64 / 1024.0);
            each.push(kind, after.saturating_sub(before) as f64 / CONNECTIONS as f64);
            drop(open);
        }
    }
    heading(
        "Idle connections",
        "10,000 connections to one worker, each has had one request. Resident memory of the worker, without \
         what the kernel holds for sockets. Room for 15,000 connections is configured; nginx takes the \
         memory for that at its start, so compare the whole, too. Three rounds, a fresh server each.",
    );
    table();
    line("bytes per connection", &each, 0);
    line("KiB before", &empty, 0);
    line("KiB with 10,000 connections", &whole, 0);
}
