//! The servers: configured alike, started in a folder of their own, ended by their pid.
//!
//! They answer every request with the same few bytes unless `Setup` gives them other work. Settings are what
//! their manuals give as defaults, but for those that `Setup` names, quiet logs, timeouts longer than any
//! section, and upstream connections kept as long as they are of use. The text of the configs is in `config`.

use super::client::{Conn, get};
use super::{certificate, config, proc};
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Masterd,
    Nginx,
    Haproxy,
    Envoy,
}

pub const BOTH: [Kind; 2] = [Kind::Masterd, Kind::Nginx];
pub const ALL: [Kind; 3] = [Kind::Masterd, Kind::Nginx, Kind::Haproxy];

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Masterd => "masterd",
            Kind::Nginx => "nginx",
            Kind::Haproxy => "haproxy",
            Kind::Envoy => "envoy",
        }
    }

    /// Where its program lies, if it is installed.
    pub fn program(self) -> Option<PathBuf> {
        match self {
            Kind::Masterd => Some(PathBuf::from(env!("CARGO_BIN_EXE_masterd"))),
            Kind::Envoy if std::env::var_os("ENVOY").is_some() => {
                std::env::var_os("ENVOY").map(PathBuf::from).filter(|file| file.is_file())
            }
            Kind::Nginx | Kind::Haproxy | Kind::Envoy => {
                let path = std::env::var_os("PATH")?;
                std::env::split_paths(&path).map(|dir| dir.join(self.name())).find(|file| file.is_file())
            }
        }
    }
}

/// What a response says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    Hello,
    /// The worker's pid.
    Pid,
    /// Another text in every generation.
    Generation,
}

/// What a server does with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Answers by itself, with `Setup::body`.
    Answer,
    /// Passes requests on to an HTTP/1.1 server; WebSockets too, for which nginx has to be told more.
    Proxy { origin: SocketAddr, websocket: bool },
    /// Passes bytes on; `splice` is for HAProxy, which has a choice.
    Tunnel { origin: SocketAddr, splice: bool },
    /// Sends `/1k` and `/100k` from its folder; nginx answers `/` with the few bytes, too.
    Files,
}

#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub workers: usize,
    pub work: Work,
    pub body: Body,
    /// Workers run on this CPU only.
    pub cpu: Option<usize>,
    /// With the certificate of `certificate`.
    pub tls: bool,
    /// HTTP/2: by ALPN with TLS, else by prior knowledge, where nginx and HAProxy then speak nothing else.
    pub http2: bool,
    /// Sockets of connections for which there is room, per worker.
    pub room: u32,
    /// nginx: one socket for each worker, as masterd has by default.
    pub reuseport: bool,
    /// Runs from a copy in its own folder, in the way that lets it be upgraded; masterd logs its acts.
    pub upgradable: bool,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            workers: 1,
            work: Work::Answer,
            body: Body::Hello,
            cpu: None,
            tls: false,
            http2: false,
            room: ROOM,
            reuseport: false,
            upgradable: false,
        }
    }
}

impl Setup {
    /// An HTTP/1.1 request without TLS is answered here.
    fn is_plain(&self) -> bool {
        let http = matches!(self.work, Work::Answer | Work::Proxy { websocket: false, .. });
        http && !self.tls && !self.http2
    }
}

pub struct Server {
    pub kind: Kind,
    pub address: SocketAddr,
    child: Child,
    setup: Setup,
    dir: PathBuf,
    generation: u32,
}

const PATIENCE: Duration = Duration::from_secs(20);
/// Per worker; below the descriptors that an ordinary hard limit allows.
const ROOM: u32 = 15_000;

impl Server {
    /// Starts it; returns when all workers are there and one has answered.
    pub fn start(kind: Kind, setup: Setup) -> Server {
        let server = Server::launch(kind, setup);
        wait_until("the first answer", || match setup.is_plain() {
            true => get(server.address).is_ok(),
            false => TcpStream::connect(server.address).is_ok(),
        });
        let workers = if matches!(kind, Kind::Haproxy | Kind::Envoy) { 1 } else { setup.workers };
        wait_until("all workers", || server.workers().len() == workers);
        server
    }

    /// Starts it and does not wait.
    pub fn launch(kind: Kind, setup: Setup) -> Server {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("masterd-bench-{}-{number}", std::process::id()));
        fs::create_dir_all(&dir).expect("make a folder for the server");
        let address = free_port();
        write_belongings(&setup, &dir);
        write_config(kind, &setup, &dir, address, 1);
        let errors = fs::File::create(dir.join("stderr")).expect("make a file for the server's stderr");
        if setup.upgradable {
            replace_program(kind, &dir);
        }
        let child = command(kind, &setup, &dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {}: {e}", kind.name()));
        Server { kind, address, child, setup, dir, generation: 1 }
    }

    pub fn master(&self) -> i32 {
        // Only a daemon accepts an upgrade from nginx, so this one isn't our child.
        let daemon = self.setup.upgradable && self.kind == Kind::Nginx;
        let started = self.child.id().cast_signed();
        if daemon { self.pid_in("nginx.pid").unwrap_or(started) } else { started }
    }

    fn pid_in(&self, name: &str) -> Option<i32> {
        fs::read_to_string(self.dir.join(name)).ok()?.trim().parse().ok()
    }

    /// Puts a new file in the place of the program it was started from.
    pub fn replace_program(&self) {
        replace_program(self.kind, &self.dir);
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.join("stderr")).expect("read what it said")).into_owned()
    }

    /// The pids of the master's children. Envoy has no master, though perhaps a script that started it.
    pub fn workers(&self) -> Vec<i32> {
        let children = proc::children(self.master());
        if self.kind == Kind::Envoy && children.is_empty() { vec![self.master()] } else { children }
    }

    /// Nanoseconds on a CPU so far, all threads of all workers.
    pub fn cpu_ns(&self) -> u64 {
        self.workers().into_iter().map(proc::cpu_ns).sum()
    }

    /// A config that differs from the one before in what it answers; the signal is still to come.
    pub fn change(&mut self) {
        self.generation += 1;
        write_config(self.kind, &self.setup, &self.dir, self.address, self.generation);
    }

    pub fn signal(&self, number: i32) {
        proc::kill(self.master(), number);
    }

    /// masterd's commands, of this server.
    pub fn ask(&self, words: &[&str]) -> bool {
        let socket = self.dir.join("control.sock");
        let mut command = Command::new(env!("CARGO_BIN_EXE_masterd"));
        command.args(words).arg("--socket").arg(socket).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().expect("run masterd").success()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for worker in self.workers() {
            proc::kill(worker, proc::CONT);
        }
        // In the middle of an upgrade nginx has two.
        let masters = [Some(self.master()), self.pid_in("nginx.pid.oldbin")];
        masters.into_iter().flatten().for_each(|master| proc::kill(master, proc::INT));
        wait_until("the server's end", || matches!(self.child.try_wait(), Ok(Some(_))));
        let gone = |master: i32| !proc::is_alive(master);
        wait_until("the masters' end", || masters.into_iter().flatten().all(gone));
        // What is left over in the temporary folder harms nobody.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// `n` connections that have had one request each and are kept open.
pub fn kept(address: SocketAddr, n: usize) -> Vec<Conn> {
    let one = |_| {
        let mut conn = Conn::open(address).expect("connect");
        conn.exchange(false).expect("an answer");
        conn
    };
    (0..n).map(one).collect()
}

fn free_port() -> SocketAddr {
    let probe = TcpListener::bind("127.0.0.1:0").expect("find a free port");
    probe.local_addr().expect("name the free port")
}

fn command(kind: Kind, setup: &Setup, dir: &Path) -> Command {
    let installed = || kind.program().unwrap_or_else(|| panic!("{} is not installed", kind.name()));
    let program = if setup.upgradable { dir.join(kind.name()) } else { installed() };
    let mut command = match (kind, setup.cpu) {
        // The only one that can't be told by its config.
        (Kind::Envoy, Some(cpu)) => {
            let mut command = Command::new("taskset");
            command.arg("-c").arg(cpu.to_string()).arg(program);
            command
        }
        _ => Command::new(program),
    };
    let file = dir.join(config::file_name(kind));
    match kind {
        Kind::Masterd => command.arg("-c").arg(file),
        Kind::Nginx => command.arg("-p").arg(dir).arg("-c").arg(file),
        Kind::Haproxy => command.arg("-W").arg("-f").arg(file),
        Kind::Envoy => {
            let threads = setup.workers.to_string();
            let rest = ["--disable-hot-restart", "-l", "error", "--concurrency", &threads];
            command.arg("-c").arg(file).args(rest)
        }
    };
    command
}

/// What its config speaks of.
fn write_belongings(setup: &Setup, dir: &Path) {
    let write = |name: &str, text: &[u8]| fs::write(dir.join(name), text).expect("write what a server needs");
    if setup.tls {
        let own = certificate::own();
        write("cert.pem", own.chain.as_bytes());
        write("key.pem", own.key.as_bytes());
        write("both.pem", format!("{}{}", own.chain, own.key).as_bytes());
    }
    if setup.work == Work::Files {
        fs::create_dir_all(dir.join("www")).expect("make a folder for files");
        write("www/1k", &[b'x'; 1 << 10]);
        write("www/100k", &vec![b'x'; 100 << 10]);
    }
}

/// Written beside and renamed: what runs is not to be written to.
fn replace_program(kind: Kind, dir: &Path) {
    let program = kind.program().unwrap_or_else(|| panic!("{} is not installed", kind.name()));
    let new = dir.join("new-program");
    fs::copy(program, &new)
        .and_then(|_| fs::rename(new, dir.join(kind.name())))
        .expect("copy the server's program");
}

/// Written beside and renamed: a reload must never meet half a file.
fn write_config(kind: Kind, setup: &Setup, dir: &Path, address: SocketAddr, generation: u32) {
    let text = config::text(kind, setup, dir, address, generation);
    let (new, place) = (dir.join("new"), dir.join(config::file_name(kind)));
    fs::write(&new, text).and_then(|()| fs::rename(new, place)).expect("write the config");
}
