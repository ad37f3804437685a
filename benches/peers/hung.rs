//! One worker of four stands still: who waits for it.

use super::client::get;
use super::figures::heading;
use super::figures::{median, spread};
use super::proc;
use super::server::{Kind, Server, Setup};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const ROUNDS: usize = 3;
const STILL: Duration = Duration::from_secs(3);
const GAP: Duration = Duration::from_millis(2);
const SLOW: Duration = Duration::from_millis(200);

pub fn run() {
    heading(
        "A worker that stands still",
        "Four workers, one is stopped (SIGSTOP) for 3 s; a new connection every 2 ms meanwhile, each with one \
         request. How many of them waited longer than 200 ms. Three rounds.",
    );
    println!("| | share above 200 ms | slowest |\n|---|---|---|");
    let setup = Setup { workers: 4, ..Setup::default() };
    let servers = [
        ("masterd", Kind::Masterd, setup),
        ("nginx with `reuseport`", Kind::Nginx, Setup { reuseport: true, ..setup }),
        ("nginx, one socket for all", Kind::Nginx, setup),
    ];
    let mut found = servers.map(|_| (Vec::new(), Vec::new()));
    for round in 0..ROUNDS {
        for ((name, kind, setup), (shares, slowest)) in servers.iter().zip(&mut found) {
            let server = Server::start(*kind, *setup);
            let times = knock(&server);
            let late = times.iter().filter(|t| **t > SLOW).count();
            let worst = times.iter().max().copied().unwrap_or_default();
            eprintln!("{round} {name}: {late} of {} late, slowest {worst:?}", times.len());
            shares.push(late as f64 / times.len() as f64 * 100.0);
            slowest.push(worst.as_secs_f64() * 1e3);
        }
    }
    for ((name, ..), (shares, slowest)) in servers.iter().zip(&found) {
        println!("| {name} | {} % | {:.0} ms |", spread(shares, 1), median(slowest));
    }
}

fn knock(server: &Server) -> Vec<Duration> {
    let victim = server.workers()[0];
    let address = server.address;
    proc::kill(victim, proc::STOP);
    let start = Instant::now();
    let mut clients = Vec::new();
    let mut next = start;
    while start.elapsed() < STILL {
        let client = std::thread::Builder::new().stack_size(64 * 1024).spawn(move || one(address));
        clients.push(client.expect("start a client"));
        next += GAP;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    proc::kill(victim, proc::CONT);
    clients.into_iter().map(|client| client.join().expect("a client")).collect()
}

fn one(address: SocketAddr) -> Duration {
    let start = Instant::now();
    get(address).expect("an answer within five seconds");
    start.elapsed()
}
