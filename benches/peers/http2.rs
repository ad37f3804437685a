//! HTTP/2 to clients: answers of the worker's own, and requests passed on as HTTP/1.1.

use super::board::{Peer, in_turns};
use super::figures::heading;
use super::proxy;
use super::server::{Kind, Setup, Work};
use std::process::Command;

const ROUNDS: usize = 3;
const KINDS: [Kind; 4] = [Kind::Masterd, Kind::Nginx, Kind::Haproxy, Kind::Envoy];

pub fn run() {
    heading(
        "HTTP/2",
        "One worker (HAProxy, Envoy: one thread; of Envoy all its threads count) on CPU 0; on CPU 1 h2load with \
         16 connections of 32 streams, and the origin, an nginx. Requests with 12 bytes in answer per CPU second \
         of the worker, so more is better. Without TLS by prior knowledge. Passed on: to HTTP/1.1, connections \
         kept. Three rounds of 1.3 s.",
    );
    if Command::new("h2load").arg("--version").output().is_err() {
        println!("skipped: needs h2load (Debian: nghttp2-client)");
        return;
    }
    let origin = proxy::origin();
    let passed_on = Work::Proxy { origin: origin.address, websocket: false };
    let kinds = [
        ("own answer", Work::Answer, false),
        ("own answer, TLS", Work::Answer, true),
        ("passed on", passed_on, false),
    ];
    let boards = kinds.map(|(what, work, tls)| {
        eprintln!("{what}");
        let setup = Setup { cpu: Some(0), work, tls, http2: true, ..Setup::default() };
        in_turns(ROUNDS, &KINDS.map(|kind| Peer::new(kind, setup)), |server, column| {
            let url = format!("{}://{}/", if tls { "https" } else { "http" }, server.address);
            let name = format!("{what}: requests per CPU second");
            if h2load(&url, "300ms").is_none() {
                column.fail(&name, "h2load met errors (its own words are on stderr)");
                return;
            }
            let before = server.cpu_ns();
            match h2load(&url, "1300ms") {
                Some(requests) => column.note(&name, 0, requests * 1e9 / (server.cpu_ns() - before) as f64),
                None => column.fail(&name, "h2load met errors (its own words are on stderr)"),
            }
        })
    });
    let [mut board, tls, passed_on] = boards;
    board.append(tls);
    board.append(passed_on);
    board.show();
}

/// Requests that were answered; none if any failed, or nothing came.
fn h2load(url: &str, duration: &str) -> Option<f64> {
    let args = ["-c", "1", "h2load", "-t1", "-c16", "-m32", "-D", duration, url];
    let output = Command::new("taskset").args(args).output().expect("run taskset and h2load");
    let text = String::from_utf8_lossy(&output.stdout);
    // requests: 9 total, 9 started, 9 done, 9 succeeded, 0 failed, 0 errored, 0 timeout
    let line = text.lines().find_map(|line| line.strip_prefix("requests: "));
    let count = |what: &str| {
        let words = line?.split(", ").find_map(|part| part.strip_suffix(what))?;
        words.trim().parse::<f64>().ok()
    };
    let found = |what: &str| count(what).unwrap_or_else(|| panic!("h2load says: {text}"));
    let good = found("failed") == 0.0 && found("succeeded") > 0.0;
    if !good {
        eprintln!("{text}");
    }
    good.then(|| found("succeeded"))
}
