//! gRPC through a proxy with `http2`: the client and the server are gRPC's own, in Python (`peer.py`).
//!
//! `calls`: every kind of call, with and without TLS. `reload`: what reloads and drains do to them.
//! Python needs grpcio, where `.ci/run` installs it: in `python` within the target folder, or anywhere it looks.

mod calls;
mod reload;

use super::harness::*;
use super::tls::{PLAIN, end, listener, place_with};
use super::tools::skip;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};

/// Python with grpcio, in a process of its own.
fn python() -> Command {
    let mut packages = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    packages.set_file_name("python");
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", packages).env("PYTHONUNBUFFERED", "1").env("GRPC_VERBOSITY", "NONE");
    command
}

/// True (and said) if there is no grpcio.
#[track_caller]
fn no_grpc() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    let found = *FOUND.get_or_init(|| {
        let tried = python().args(["-c", "import grpc"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    });
    if !found {
        skip("python3 with grpcio");
    }
    !found
}

/// `peer.py` at work.
struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Peer {
    fn start(args: &[&str]) -> Peer {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/masterd/grpc/peer.py");
        let mut command = python();
        command.arg(script).args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("start python");
        let (output, (sender, lines)) = (child.stdout.take().expect("a pipe"), channel());
        std::thread::spawn(move || {
            // Whoever started it may have had enough.
            BufReader::new(output).lines().map_while(Result::ok).all(|line| sender.send(line).is_ok());
        });
        Peer { input: child.stdin.take(), child, lines }
    }

    /// A server, and its address.
    #[track_caller]
    fn server() -> (Peer, String) {
        let peer = Peer::start(&["server"]);
        let line = peer.line();
        let port = line.strip_prefix("listening ").unwrap_or_else(|| panic!("it says {line:?}"));
        let address = format!("127.0.0.1:{port}");
        (peer, address)
    }

    /// The next line that it says.
    #[track_caller]
    fn line(&self) -> String {
        self.lines.recv_timeout(SOON).unwrap_or_else(|e| panic!("it says nothing: {e}"))
    }

    fn say(&mut self, word: &str) {
        if let Some(input) = &mut self.input {
            writeln!(input, "{word}").expect("say a word");
        }
    }

    /// Its next lines begin with these, and then it ends well.
    #[track_caller]
    fn ends_with(mut self, lines: &[&str]) {
        for expected in lines.iter().chain(&["done"]) {
            let line = self.line();
            assert!(line.starts_with(expected), "it says {line:?}, not {expected:?}");
        }
        drop(self.input.take());
        let mut status = None;
        wait_until("it ends", SOON, || {
            status = self.child.try_wait().expect("look at a child");
            status.is_some()
        });
        assert!(status.is_some_and(|status| status.success()), "{status:?}");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a test of gRPC stands on: a server, a master in front of it, and a certificate.
struct Stage {
    place: Place,
    master: Master,
    _server: Peer,
}

impl Stage {
    /// `web` listens without TLS, `web-2` with it.
    #[track_caller]
    fn new(touch: impl Fn(Web) -> Web) -> Stage {
        let authority = Authority::new();
        let place = place_with(&authority);
        place.write("ca.pem", &authority.pem());
        let (server, address) = Peer::server();
        let web = Web::new()
            .workers(1)
            .listen_raw(&["\"127.0.0.1:0\"", &listener(PLAIN)])
            .root(&proxy(&[&address], "http2 = true"));
        let master = Master::start(&place, &touch(web).text());
        Stage { place, master, _server: server }
    }

    /// A client that does this, over TLS or not.
    fn client(&self, case: &str, tls: bool) -> Peer {
        let ca = self.place.path("ca.pem");
        let address = self.master.address_of(if tls { "web-2" } else { "web" });
        let mut args = vec!["client", &address, case];
        if tls {
            args.push(ca.to_str().expect("a path in UTF-8"));
        }
        Peer::start(&args)
    }
}
