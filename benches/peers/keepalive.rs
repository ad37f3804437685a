//! Tiny responses over kept connections: what a request costs the worker.

use super::figures::{Pair, heading, line, table};
use super::proc;
use super::server::{BOTH, Server, Setup};
use std::process::Command;

const ROUNDS: usize = 5;
const SECONDS: &str = "4s";

pub fn run() {
    let (mut rate, mut cpu) = (Pair::default(), Pair::default());
    for round in 0..ROUNDS {
        for kind in BOTH {
            let server = Server::start(kind, Setup { pinned: true, ..Setup::default() });
            let worker = server.workers()[0];
            let url = format!("http://{}/", server.address);
            wrk(&url, "1s");
            let before = proc::cpu_ns(worker);
            let done = wrk(&url, SECONDS);
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

struct Done {
    requests: f64,
    rate: f64,
}

/// Runs wrk on CPU 1 with 64 connections.
fn wrk(url: &str, duration: &str) -> Done {
    let args = ["-c", "1", "wrk", "-t1", "-c64", "-d", duration, url];
    let output = Command::new("taskset").args(args).output().expect("run taskset and wrk");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("Socket errors") && !text.contains("Non-2xx"), "wrk met errors: {text}");
    let number = |found: Option<&str>| found.and_then(|word| word.trim().parse::<f64>().ok());
    let requests = text.lines().find_map(|l| number(l.split_once(" requests in ").map(|(n, _)| n)));
    let rate = text.lines().find_map(|l| number(l.strip_prefix("Requests/sec:")));
    Done {
        requests: requests.unwrap_or_else(|| panic!("wrk says: {text}")),
        rate: rate.unwrap_or_else(|| panic!("wrk says: {text}")),
    }
}
