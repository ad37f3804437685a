//! Picks a role: the master, or a client of it. Nothing else happens here.

use masterd::cli::{self, Invocation};
use masterd::{master, sys, worker};

fn main() {
    sys::title::init();
    let code = match cli::parse() {
        Invocation::Run { config, daemon } => master::run(&master::Options { config, daemon }, worker::run),
        client => cli::run_client(client),
    };
    std::process::exit(code);
}
