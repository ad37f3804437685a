//! Picks a role: the master, another image of a running one, or a client. Nothing else happens here.

use masterd::cli::{self, Invocation};
use masterd::{master, sys, worker};
use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;

fn main() {
    sys::title::init();
    // As they are now: the title will overwrite them.
    let args: Vec<CString> =
        std::env::args_os().filter_map(|arg| CString::new(arg.into_vec()).ok()).collect();
    if let Some(code) = master::inherited(&args, worker::run) {
        std::process::exit(code);
    }
    let code = match cli::parse() {
        Invocation::Run { config, daemon } => {
            master::run(&master::Options { config, daemon, args }, worker::run)
        }
        client => cli::run_client(client),
    };
    std::process::exit(code);
}
