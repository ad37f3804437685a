//! masterd and nginx side by side, HAProxy too where binaries are upgraded: `benches/run [SECTION…]`, all sections without one.
//!
//! Every section runs both servers in turn, round by round, so that what else the machine does
//! falls on both; a table of medians, their spread and ratio goes to stdout, progress to stderr.
//! Load goes to 127.0.0.1 only and is bounded. Needs nginx, wrk and taskset, and HAProxy for its column;
//! see `benches/run`.

mod client;
mod figures;
mod hung;
mod idle;
mod keepalive;
mod load;
mod long;
mod machine;
mod proc;
mod reloads;
mod server;
mod short;
mod start;
mod switch;
mod upgrade;

type Section = (&'static str, fn());

const SECTIONS: &[Section] = &[
    ("keepalive", keepalive::run),
    ("idle", idle::run),
    ("short", short::run),
    ("hung", hung::run),
    ("reloads", reloads::run),
    ("switch", switch::run),
    ("upgrade", upgrade::run),
    ("start", start::run),
    ("long", long::run),
];

fn main() {
    // cargo bench adds `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    if let Some(unknown) = wanted.iter().find(|w| SECTIONS.iter().all(|(name, _)| name != w)) {
        let names: Vec<&str> = SECTIONS.iter().map(|(name, _)| *name).collect();
        eprintln!("no section {unknown}; there are: {}", names.join(" "));
        std::process::exit(2);
    }
    proc::raise_descriptor_limit();
    machine::describe();
    for (name, run) in SECTIONS {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            eprintln!("== {name}");
            run();
        }
    }
}
