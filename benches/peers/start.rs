//! From start to the first answer, and from the death of the only worker to the next answer.

use super::client::get;
use super::figures::{Pair, heading, line, table};
use super::proc;
use super::server::{BOTH, Server, Setup};
use std::time::{Duration, Instant};

const ROUNDS: usize = 15;

pub fn run() {
    let (mut first, mut gap) = (Pair::default(), Pair::default());
    for round in 0..ROUNDS {
        for kind in BOTH {
            let begun = Instant::now();
            let server = Server::launch(kind, Setup::default());
            while get(server.address).is_err() {
                assert!(begun.elapsed() < Duration::from_secs(10), "no answer from {}", kind.name());
                std::thread::sleep(Duration::from_micros(100));
            }
            let up = begun.elapsed().as_secs_f64() * 1e3;
            // A worker that dies within its first second is replaced with a delay by masterd.
            std::thread::sleep(Duration::from_millis(1200));
            let worker = server.workers()[0];
            let killed = Instant::now();
            proc::kill(worker, proc::KILL);
            // Tried anew until it is answered: an attempt that the dying worker takes is lost.
            while get(server.address).is_err() {}
            let back = killed.elapsed().as_secs_f64() * 1e3;
            eprintln!("{round} {}: first {up:.2} ms, gap {back:.2} ms", kind.name());
            first.push(kind, up);
            gap.push(kind, back);
        }
    }
    heading(
        "Start, and the death of the only worker",
        "From starting the program to the first answer; from `kill -9` of the only worker to the next answer on \
         a new connection. Milliseconds, fifteen rounds.",
    );
    table();
    line("start to first answer", &first, 1);
    line("gap after `kill -9`", &gap, 1);
}
