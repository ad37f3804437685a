//! Real programs as workers, by the examples as they are written: each serves, is reloaded twice under load and
//! loses nothing, and leaves nothing behind when it is stopped.
//!
//! Only the address is replaced by one that is free. A program that is not there is skipped. Python's are looked for
//! where `.ci/run` installs them: in `python` within the target folder, or anywhere Python looks.

use super::*;
use masterd::wire::status::Status;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// An example.
struct Case {
    /// Its config, in `conf/examples/programs`.
    config: &'static str,
    /// A command that ends well where the program is.
    needs: &'static [&'static str],
    /// Whether it leaves idle connections time for a request when it is to end: then some clients keep theirs.
    keeps: bool,
}

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/examples/programs");
/// What the examples listen on.
const ADDRESS: (&str, &str) = ("127.0.0.1", "8080");
/// What the stand-in for a server behind one of them listens on.
const BEHIND: &str = "127.0.0.1:9001";
/// Where the example in Rust is built, as its config has it, and as `test` can look for it.
const BUILT: &str = "../../../../target/debug/examples/listenfd";
/// A later answer is a loss.
const TOO_LATE: Duration = Duration::from_secs(5);

#[test]
fn gunicorn() {
    holds(&Case {
        config: "gunicorn/gunicorn.toml",
        needs: &["python3", "-c", "import gunicorn"],
        keeps: true,
    });
}

#[test]
fn gunicorn_with_threads() {
    holds(&Case {
        config: "gunicorn/threads.toml",
        needs: &["python3", "-c", "import gunicorn"],
        keeps: true,
    });
}

#[test]
fn uvicorn() {
    holds(&Case {
        config: "uvicorn/uvicorn.toml",
        needs: &["python3", "-c", "import uvicorn"],
        keeps: false,
    });
}

#[test]
fn hypercorn() {
    holds(&Case {
        config: "hypercorn/hypercorn.toml",
        needs: &["python3", "-c", "import hypercorn"],
        keeps: false,
    });
}

#[test]
fn puma() {
    holds(&Case { config: "puma/puma.toml", needs: &["puma", "--version"], keeps: true });
}

#[test]
fn node() {
    holds(&Case { config: "node/node.toml", needs: &["node", "--version"], keeps: true });
}

#[test]
fn python_socketserver() {
    holds(&Case { config: "socketserver/socketserver.toml", needs: &["python3", "--version"], keeps: true });
}

#[test]
fn rust_with_listenfd() {
    holds(&Case { config: "rust/rust.toml", needs: &["test", "-x", BUILT], keeps: true });
}

#[test]
fn lighttpd() {
    holds(&Case { config: "lighttpd/lighttpd.toml", needs: &["/usr/sbin/lighttpd", "-v"], keeps: false });
}

#[test]
fn haproxy() {
    holds(&Case { config: "haproxy/haproxy.toml", needs: &["/usr/sbin/haproxy", "-v"], keeps: false });
}

/// It cuts what is under way, as its example says; but it can't make masterd refuse anybody.
#[test]
fn systemd_socket_proxyd() {
    let needs = &["/lib/systemd/systemd-socket-proxyd", "--version"];
    let case = Case { config: "socket-proxyd.toml", needs, keeps: false };
    if lacks(&case) {
        return;
    }
    let stage = Stage::start(&case);
    let mut lost = stage.reload_twice(&case);
    lost.retain(|why| why.contains("no connection"));
    assert!(lost.is_empty(), "refused: {lost:#?}");
    stage.end();
}

/// All of it, for a program that loses nothing.
#[track_caller]
fn holds(case: &Case) {
    if lacks(case) {
        return;
    }
    let stage = Stage::start(case);
    let lost = stage.reload_twice(case);
    assert!(lost.is_empty(), "lost: {lost:#?}");
    stage.end();
}

/// The folder of Python's packages.
fn packages() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("python")
}

/// The example in Rust, beside the tests: cargo builds it with them.
fn built() -> String {
    let test = std::env::current_exe().expect("this program has a path");
    let folder = test.parent().and_then(Path::parent).expect("it lies in deps");
    folder.join("examples/listenfd").to_string_lossy().into_owned()
}

/// What programs and their config need to be found: `bin` of the place, the machine's own Python before any other.
fn with_paths(command: &mut Command, bin: &Path) {
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .env("PATH", format!("{}:/usr/bin:{path}", bin.display()))
        .env("PYTHONPATH", packages())
        .env("PYTHONDONTWRITEBYTECODE", "1");
}

/// True (and said) if the program is not there, or not for the user that workers run as.
#[track_caller]
fn lacks(case: &Case) -> bool {
    let built = built();
    let needs = case.needs.iter().map(|word| if *word == BUILT { built.as_str() } else { word });
    let words: Vec<&str> =
        if is_root() { AS_STRANGER.into_iter().chain(needs).collect() } else { needs.collect() };
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    with_paths(&mut command, Path::new("/usr/bin"));
    let there = command.status().is_ok_and(|status| status.success());
    if !there {
        skip(&format!("what `{}` looks for, for any user", words.join(" ")));
    }
    !there
}

/// A master that runs an example.
struct Stage {
    place: Place,
    master: Master,
    address: String,
}

impl Stage {
    /// Two workers, ready, and one answer.
    #[track_caller]
    fn start(case: &Case) -> Stage {
        let (place, port) = (Place::new(), free_port().to_string());
        let config = Path::new(EXAMPLES).join(case.config);
        let folder = config.parent().expect("a folder");
        if folder != Path::new(EXAMPLES) {
            copy(folder, place.dir(), &port);
        }
        let text = fs::read_to_string(&config).expect("read an example");
        let text = text.replace(BEHIND, &format!("127.0.0.1:{}", free_port()));
        let text = format!("[master]\ncontrol_socket = \"c.sock\"\n{}", touched(&text, &port));
        place.config(&text.replace(BUILT, &built()));
        // Whatever Python a script of that name begins with: the one that was asked.
        let (bin, script) = (place.path("bin"), place.path("bin/gunicorn"));
        fs::create_dir(&bin).expect("make a folder");
        fs::write(&script, "#!/bin/sh\nexec python3 -m gunicorn \"$@\"\n").expect("write a script");
        fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("let it be executed");
        let master = Launch::new(&place).with(|command| with_paths(command, &bin)).start();
        let stage = Stage { place, master, address: format!("{}:{port}", ADDRESS.0) };
        let web = stage.status().services.into_iter().find(|s| s.name == "web").expect("a service");
        assert_eq!((web.kind.as_str(), web.workers_ready, web.workers_wanted), ("exec", 2, 2), "{web:#?}");
        assert!(web.workers.iter().all(|w| w.state == "ready" && procs::runs(w.pid)), "{web:#?}");
        ask(&stage.address).expect("an answer");
        stage
    }

    /// `masterd status --json`.
    #[track_caller]
    fn status(&self) -> Status {
        let said = self.master.cli(&["status", "--json"]).expect(0).stdout;
        serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e} in {said}"))
    }

    /// What clients have lost through two reloads, each of which is waited for until nothing of the old is left.
    #[track_caller]
    fn reload_twice(&self, case: &Case) -> Vec<String> {
        let clients = Clients::start(&self.address, 4, if case.keeps { 2 } else { 0 });
        for generation in 2..=3 {
            self.master.cli(&["reload", "--drained"]).expect(0);
            let status = self.status();
            assert_eq!(status.generation, generation);
            assert!(
                status.services.iter().flat_map(|s| &s.workers).all(|w| w.generation == generation),
                "{status:#?}"
            );
            clients.wait(30);
        }
        clients.stop()
    }

    /// Stops it; no process of it is left.
    #[track_caller]
    fn end(self) {
        let workers = self.status().services.into_iter().flat_map(|s| s.workers);
        let pids: Vec<i32> = workers.flat_map(|w| [Some(w.pid), w.keeper]).flatten().collect();
        self.master.cli(&["stop"]).expect(0);
        self.master.wait_exit(0, SOON);
        let here = |pid: i32| {
            fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(self.place.dir()))
        };
        let left = || procs::all(|p| p.state != 'Z' && (pids.contains(&p.pid) || here(p.pid)));
        assert_eq!(left(), [], "processes are left");
        self.master.finish();
    }
}

/// An example's files, with another port in them.
fn copy(from: &Path, to: &Path, port: &str) {
    for entry in fs::read_dir(from).expect("list a folder").flatten() {
        let (path, name) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            fs::create_dir(&name).expect("make a folder");
            copy(&path, &name, port);
        } else if let Ok(text) = fs::read_to_string(&path) {
            fs::write(name, touched(&text, port)).expect("write a file");
        }
    }
}

fn touched(text: &str, port: &str) -> String {
    let (ip, old) = ADDRESS;
    text.replace(&format!("{ip}:{old}"), &format!("{ip}:{port}"))
        .replace(&format!("server.port = {old}"), &format!("server.port = {port}"))
}

/// One request on a connection of its own.
fn ask(address: &str) -> Result<(), Lost> {
    judge(&get(address, "/")?)
}

fn judge(response: &Response) -> Result<(), Lost> {
    let right = response.status == 200 && response.body.contains("hello");
    if right { Ok(()) } else { Err(Lost::Wrong(format!("{response:?}"))) }
}

/// One request on a connection that is kept if the server keeps it. One that was closed while it was idle is no loss.
fn ask_again(kept: &mut Option<Conn>, address: &str) -> Result<(), Lost> {
    let mut open = kept.take();
    let alive = open.as_mut().is_some_and(|conn| conn.unasked().is_none());
    let mut conn = match open.filter(|_| alive) {
        Some(conn) => conn,
        None => Conn::open(address)?,
    };
    let response = conn.get("/")?;
    judge(&response)?;
    if !response.closes() {
        *kept = Some(conn);
    }
    Ok(())
}

/// Clients that repeat nothing.
struct Clients {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Clients {
    #[track_caller]
    fn start(address: &str, fresh: usize, kept: usize) -> Clients {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let client = |keeps: bool| {
            let (stop, answered, address) = (stop.clone(), answered.clone(), address.to_owned());
            std::thread::spawn(move || run(keeps, &address, &stop, &answered))
        };
        let threads = [vec![false; fresh], vec![true; kept]].concat().into_iter().map(client).collect();
        let clients = Clients { stop, answered, threads };
        clients.wait(10);
        clients
    }

    /// Waits for so many more answers.
    #[track_caller]
    fn wait(&self, more: u64) {
        let before = self.answered.load(Ordering::Relaxed);
        wait_until("clients are answered", SOON, || self.answered.load(Ordering::Relaxed) >= before + more);
    }

    /// Every loss.
    fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().flat_map(|thread| thread.join().expect("a client")).collect()
    }
}

fn run(keeps: bool, address: &str, stop: &AtomicBool, answered: &AtomicU64) -> Vec<String> {
    let (mut lost, mut kept, begun) = (Vec::new(), None, Instant::now());
    while !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let outcome = if keeps { ask_again(&mut kept, address) } else { ask(address) };
        let took = asked.elapsed();
        match outcome {
            Ok(()) if took < TOO_LATE => drop(answered.fetch_add(1, Ordering::Relaxed)),
            outcome => {
                let why = outcome.map_or_else(|e| e.to_string(), |()| "too late".to_owned());
                let habit = if keeps { "kept" } else { "fresh" };
                lost.push(format!("{habit} at {:.3?}, after {took:?}: {why}", begun.elapsed()));
            }
        }
        // The rhythm of a client, and room for the others on this machine.
        std::thread::sleep(Duration::from_millis(1));
    }
    lost
}
