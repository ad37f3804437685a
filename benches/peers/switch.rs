//! From the signal to the first answer of the new generation.

use super::client::get;
use super::figures::{Pair, heading, line, table};
use super::proc;
use super::server::{BOTH, Body, Server, Setup, kept, wait_until};
use std::time::{Duration, Instant};

const ROUNDS: usize = 11;

pub fn run() {
    heading(
        "From HUP to the first answer of the new generation",
        "One worker; new connections are tried one after the other until the body is that of the new config. \
         Milliseconds, eleven rounds.",
    );
    table();
    for idle in [0, 10_000] {
        let mut took = Pair::default();
        for round in 0..ROUNDS {
            for kind in BOTH {
                let mut server = Server::start(kind, Setup { body: Body::Generation, ..Setup::default() });
                let open = kept(server.address, idle);
                let ms = switch(&mut server).as_secs_f64() * 1e3;
                eprintln!("{round} {} with {idle} idle: {ms:.2} ms", kind.name());
                took.push(kind, ms);
                drop(open);
            }
        }
        line(&format!("with {idle} idle connections"), &took, 1);
    }
}

fn switch(server: &mut Server) -> Duration {
    let before = get(server.address).expect("an answer").body;
    server.change();
    let start = Instant::now();
    server.signal(proc::HUP);
    wait_until("the new generation", || get(server.address).expect("an answer").body != before);
    start.elapsed()
}
