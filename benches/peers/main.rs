//! masterd and nginx side by side, HAProxy and Envoy too where they do the same: `benches/run [SECTION…]`, all
//! sections without one.
//!
//! Every section runs its servers in turn, round by round, so that what else the machine does
//! falls on both; a table of medians, their spread and ratio goes to stdout, progress to stderr.
//! Load goes to 127.0.0.1 only and is bounded. Needs nginx, wrk and taskset; what
//! else is missing costs a column or a section, which says so. See `benches/run`.

mod board;
mod certificate;
mod client;
mod config;
mod figures;
mod files;
mod http2;
mod hung;
mod idle;
mod keepalive;
mod load;
mod long;
mod machine;
mod proc;
mod programs;
mod proxy;
mod reloads;
mod server;
mod short;
mod start;
mod switch;
mod tls;
mod tls_client;
mod tunnel;
mod upgrade;
mod websocket;
mod wrk;

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
    ("proxy", proxy::run),
    ("tunnel", tunnel::run),
    ("tls", tls::run),
    ("http2", http2::run),
    ("files", files::run),
    ("websocket", websocket::run),
    ("programs", programs::run),
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
