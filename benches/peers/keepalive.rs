//! Tiny responses over kept connections: what a request costs the worker.

use super::figures::{Pair, heading, line, table};
use super::proc;
use super::server::{BOTH, Server, Setup};
use super::wrk;

const ROUNDS: usize = 5;
const CONNECTIONS: usize = 64;

pub fn run() {
    let (mut rate, mut cpu) = (Pair::default(), Pair::default());
    for round in 0..ROUNDS {
        for kind in BOTH {
            let server = Server::start(kind, Setup { cpu: Some(0), ..Setup::default() });
            let worker = server.workers()[0];
            let url = format!("http://{}/", server.address);
            wrk::run(&url, CONNECTIONS, 1);
            let before = proc::cpu_ns(worker);
            let done = wrk::run(&url, CONNECTIONS, 4);
            let used = proc::cpu_ns(worker) - before;
            eprintln!("{round} {}: {:.0} req/s", kind.name(), done.rate);
            rate.push(kind, done.rate);
            cpu.push(kind, used as f64 / 1e9 / done.requests * 1e5);
        }
    }
    heading(
        "Keep-alive, tiny response",
        "One worker on CPU 0, wrk with 64 connections on CPU 1, a body of 12 bytes. Five rounds.",
    );
    table();
    line("CPU seconds of the worker per 100,000 requests", &cpu, 3);
    line("requests per second (wrk on one CPU is a limit, too)", &rate, 0);
}
