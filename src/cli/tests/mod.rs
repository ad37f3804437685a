//! The clients against a master that is a thread with canned replies: every exit status, every sentence.
//!
//! Also the samples and the temporary folder that other tests of this room use.

mod absent;
mod acts;
mod signals;
mod views;

use super::args::{Invocation, parse_from};
use super::console::{Console, Exit, report};
use super::dispatch;
use crate::wire::status::{Active, LastReload, Listener, Service, Status, Totals, Worker};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A folder of its own, gone at the end of the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("masterd-cli-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A master with one service, two workers and nothing wrong.
pub fn sample() -> Status {
    let worker = |seat, pid| Worker {
        seat,
        pid,
        generation: 7,
        state: "ready".into(),
        started: "2026-11-21T09:56:48Z".into(),
        ..Worker::default()
    };
    let busy = Worker {
        active: Active { http: 12, ..Active::default() },
        idle: 10,
        in_flight: 2,
        accepted: 12_345,
        requests: 123_456,
        memory: Some(12_976_128),
        ..worker(0, 4243)
    };
    let listener = |name: &str, address: &str, queue_limit| Listener {
        name: name.into(),
        address: address.into(),
        queue_limit,
        ..Listener::default()
    };
    let web = Service {
        name: "web".into(),
        kind: "http".into(),
        workers_wanted: 2,
        workers_ready: 2,
        listeners: vec![listener("web", "127.0.0.1:8080", 4096), listener("web-2", "unix:run/web.sock", 0)],
        totals: Totals {
            accepted: 24_690,
            requests: 1_234_567,
            bytes_in: 9_900_000,
            bytes_out: 1_300_000_000,
            errors: 3,
            deaths: 1,
            ..Totals::default()
        },
        workers: vec![busy, worker(1, 4244)],
        ..Service::default()
    };
    Status {
        version: "0.1.0".into(),
        pid: 4242,
        generation: 7,
        state: "running".into(),
        started: "2026-11-21T06:48:00Z".into(),
        config: "conf/masterd.toml".into(),
        last_reload: Some(LastReload {
            at: "2026-11-21T09:56:48Z".into(),
            ok: true,
            generation: 7,
            error: None,
        }),
        services: vec![web],
        ..Status::default()
    }
}

/// What the master does after it has read the request.
enum Then {
    Close,
    /// Removes its socket, then closes.
    Leave,
    /// Keeps the connection open until the client goes.
    Wait,
}

/// A master that answers one client.
struct Fake {
    folder: Folder,
    thread: Option<JoinHandle<String>>,
}

impl Fake {
    fn new(replies: &[&str], then: Then) -> Fake {
        let folder = Folder::new();
        let socket = folder.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let replies: Vec<String> = replies.iter().map(|r| format!("{r}\n")).collect();
        let thread = std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let request = line(&client);
            for reply in replies {
                // The client may have left: that is what some tests are about.
                let _ = client.write_all(reply.as_bytes());
            }
            match then {
                Then::Close => drop(client),
                Then::Leave => {
                    std::fs::remove_file(&socket).unwrap();
                    drop(client);
                }
                Then::Wait => {
                    line(&client);
                }
            }
            request
        });
        Fake { folder, thread: Some(thread) }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// Runs `masterd LINE` against it: how it ended, and the request it sent.
    fn run(mut self, words: &str) -> (Ended, String) {
        let ended = run(&self.socket(), words);
        let request = self.thread.take().unwrap().join().unwrap();
        (ended, request)
    }
}

fn line(stream: &UnixStream) -> String {
    let mut text = String::new();
    let _ = BufReader::new(stream).read_line(&mut text);
    text.trim_end().to_owned()
}

#[derive(Debug, PartialEq, Eq)]
struct Ended {
    exit: Exit,
    out: String,
    err: String,
}

fn invocation(socket: &Path, words: &str) -> Invocation {
    let words = words.split_whitespace().map(str::to_owned);
    let socket = ["--socket".to_owned(), socket.to_str().unwrap().to_owned()];
    parse_from(["masterd".to_owned()].into_iter().chain(socket).chain(words)).unwrap()
}

fn run(socket: &Path, words: &str) -> Ended {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = Console { out: &mut out, err: &mut err, live: false, bar: false, colour: false };
    let ended = dispatch(&invocation(socket, words), &mut console);
    let exit = report(ended, &mut console);
    Ended { exit, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

fn done(outcome: &str, text: &str) -> String {
    format!(r#"{{"reply":"done","outcome":"{outcome}","text":"{text}","lines":["one","two"]}}"#)
}

const PROGRESS: &str = r#"{"reply":"progress","stage":"starting generation 7","done":1,"total":2,"text":""}"#;

fn document(more: &str) -> String {
    let status = serde_json::to_string(&sample()).unwrap();
    format!(r#"{{"reply":"status","status":{}{more}}}"#, status)
}
