//! The master's memory, and whether a thousand reloads leave anything behind.

use super::client::get;
use super::figures::heading;
use super::proc;
use super::server::{Kind, Server, Setup, wait_until};
use std::time::Instant;

const RELOADS: usize = 1000;

pub fn run() {
    let setup = Setup { workers: 2, ..Setup::default() };
    let nginx = Server::start(Kind::Nginx, setup);
    let nginx_master = proc::resident(nginx.master());
    drop(nginx);
    let server = Server::start(Kind::Masterd, setup);
    let before = state(&server);
    let start = Instant::now();
    for n in 1..=RELOADS {
        assert!(server.ask(&["reload", "--drained"]), "reload {n} failed");
    }
    let took = start.elapsed().as_secs_f64();
    get(server.address).expect("an answer after all that");
    wait_until("two workers", || server.workers().len() == setup.workers);
    let after = state(&server);
    eprintln!("{before:?} -> {after:?} in {took:.1} s");
    heading(
        "The master, and 1,000 reloads in a row",
        &format!(
            "Two workers; each reload is one `masterd reload --drained`, begun when the one before was over \
             ({took:.1} s in all). nginx's master, freshly started: {} KiB.",
            nginx_master / 1024
        ),
    );
    println!("| masterd | before | after |\n|---|---|---|");
    println!("| resident memory of the master, KiB | {} | {} |", before.0 / 1024, after.0 / 1024);
    let shown = |n: Option<usize>| n.map_or_else(|| "not visible".to_owned(), |n| n.to_string());
    println!("| its descriptors | {} | {} |", shown(before.1), shown(after.1));
    println!("| its children | {} | {} |", before.2, after.2);
}

fn state(server: &Server) -> (u64, Option<usize>, usize) {
    let master = server.master();
    (proc::resident(master), proc::descriptors(master), server.workers().len())
}
