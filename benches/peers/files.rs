//! Files: what sending one costs.

use super::board::{Peer, in_turns};
use super::figures::heading;
use super::proxy::cost;
use super::server::{BOTH, Setup, Work};
use super::wrk;

const ROUNDS: usize = 5;
const CONNECTIONS: usize = 64;

pub fn run() {
    heading(
        "Files",
        "One worker on CPU 0, wrk with 64 connections on CPU 1, files that are in the page cache. nginx with \
         `sendfile` and `tcp_nopush`, without `open_file_cache`, so that both look up and open the file for \
         each request. CPU includes that of masterd's helper threads. Five rounds.",
    );
    let setup = Setup { cpu: Some(0), work: Work::Files, ..Setup::default() };
    let sizes = [("1 KiB", "1k"), ("100 KiB", "100k")];
    let board = in_turns(ROUNDS, &BOTH.map(|kind| Peer::new(kind, setup)), |server, column| {
        for (size, name) in sizes {
            let url = format!("http://{}/{name}", server.address);
            wrk::run(&url, CONNECTIONS, 1);
            let (each, done) = cost(server, &url, CONNECTIONS);
            column.note(&per_request(size), 2, each);
            column.note(&format!("{size}: requests per second"), 0, done.rate);
        }
    });
    board.show();
    for (size, _) in sizes {
        if let Some((winner, factor)) = board.least(&per_request(size)) {
            println!("\n{size}: {winner} needs the least CPU, by a factor of {factor:.2}.");
        }
    }
}

fn per_request(size: &str) -> String {
    format!("{size}: µs of CPU per request")
}
