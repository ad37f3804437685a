//! The servers: configured alike, started in a folder of their own, ended by their pid.
//!
//! They answer every request with the same few bytes. Settings are what their manuals give as
//! defaults, but for those that `Setup` names, quiet logs, and timeouts longer than any section.

use super::client::{Conn, get};
use super::proc;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Masterd,
    Nginx,
    Haproxy,
}

pub const BOTH: [Kind; 2] = [Kind::Masterd, Kind::Nginx];
pub const ALL: [Kind; 3] = [Kind::Masterd, Kind::Nginx, Kind::Haproxy];

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Masterd => "masterd",
            Kind::Nginx => "nginx",
            Kind::Haproxy => "haproxy",
        }
    }

    /// Where its program lies, if it is installed.
    pub fn program(self) -> Option<PathBuf> {
        match self {
            Kind::Masterd => Some(PathBuf::from(env!("CARGO_BIN_EXE_masterd"))),
            Kind::Nginx | Kind::Haproxy => {
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

#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub workers: usize,
    pub body: Body,
    /// Workers run on CPU 0 only.
    pub pinned: bool,
    /// nginx: one socket for each worker, as masterd has by default.
    pub reuseport: bool,
    /// Runs from a copy in its own folder, in the way that lets it be upgraded; masterd logs its acts.
    pub upgradable: bool,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup { workers: 1, body: Body::Hello, pinned: false, reuseport: false, upgradable: false }
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
const CONNECTIONS: u32 = 15_000;
/// HAProxy demands two descriptors for each in advance.
const HAPROXY_CONNECTIONS: u32 = 4_000;

impl Server {
    /// Starts it; returns when all workers are there and one has answered.
    pub fn start(kind: Kind, setup: Setup) -> Server {
        let server = Server::launch(kind, setup);
        wait_until("the first answer", || get(server.address).is_ok());
        let workers = if kind == Kind::Haproxy { 1 } else { setup.workers };
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

    /// The pids of the master's children.
    pub fn workers(&self) -> Vec<i32> {
        proc::children(self.master())
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
    let mut command = Command::new(if setup.upgradable { dir.join(kind.name()) } else { installed() });
    match kind {
        Kind::Masterd => command.arg("-c").arg(dir.join("masterd.toml")),
        Kind::Nginx => command.arg("-p").arg(dir).arg("-c").arg(dir.join("nginx.conf")),
        Kind::Haproxy => command.arg("-W").arg("-f").arg(dir.join("haproxy.cfg")),
    };
    command
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
    let (name, text) = match kind {
        Kind::Masterd => ("masterd.toml", masterd_config(setup, dir, address)),
        Kind::Nginx => ("nginx.conf", nginx_config(setup, address, generation)),
        Kind::Haproxy => ("haproxy.cfg", haproxy_config(setup, dir, address, generation)),
    };
    let new = dir.join("new");
    fs::write(&new, text).and_then(|()| fs::rename(new, dir.join(name))).expect("write the config");
}

fn masterd_config(setup: &Setup, dir: &Path, address: SocketAddr) -> String {
    let Setup { workers, body, pinned, upgradable, .. } = setup;
    let body = match body {
        Body::Hello => "hello world\\n",
        Body::Pid => "{pid}",
        Body::Generation => "{generation}",
    };
    let affinity = if *pinned { "[0]" } else { "\"off\"" };
    let level = if *upgradable { "info" } else { "warn" };
    let dir = dir.display();
    format!(
        r#"
[master]
control_socket = "{dir}/control.sock"
log = {{ level = "{level}" }}
[[service]]
name = "bench"
listen = ["{address}"]
workers = {workers}
connections = {CONNECTIONS}
limits = {{ cpu_affinity = {affinity}, nofile = {nofile} }}
[service.http]
keep_alive = "10m"
[[service.http.route]]
path = "/"
respond = {{ body = "{body}", headers = {{ Content-Type = "text/plain" }} }}
"#,
        nofile = proc::descriptor_limit(),
    )
}

fn nginx_config(setup: &Setup, address: SocketAddr, generation: u32) -> String {
    let Setup { workers, body, pinned, reuseport, upgradable } = setup;
    let body = match body {
        Body::Hello => "hello world\\n".to_owned(),
        Body::Pid => "$pid".to_owned(),
        Body::Generation => generation.to_string(),
    };
    let affinity = if *pinned { "worker_cpu_affinity 01;" } else { "" };
    let daemon = if *upgradable { "on" } else { "off" };
    let reuseport = if *reuseport { " reuseport" } else { "" };
    let user = if proc::is_root() { "user nobody nogroup;" } else { "" };
    format!(
        r#"
{user}
daemon {daemon};
worker_processes {workers};
{affinity}
worker_rlimit_nofile {nofile};
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections {CONNECTIONS}; }}
http {{
    access_log off;
    server_tokens off;
    default_type text/plain;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
    server {{
        listen {address} backlog=4096{reuseport};
        location / {{ return 200 "{body}"; }}
    }}
}}
"#,
        nofile = proc::descriptor_limit(),
    )
}

/// One process with as many threads as the others have workers.
fn haproxy_config(setup: &Setup, dir: &Path, address: SocketAddr, generation: u32) -> String {
    let Setup { workers, body, .. } = setup;
    let body = match body {
        Body::Hello => r#"string "hello world\n""#.to_owned(),
        Body::Pid => r#"lf-string "%pid""#.to_owned(),
        Body::Generation => format!(r#"string "{generation}""#),
    };
    let user = if proc::is_root() { "user nobody\n    group nogroup" } else { "" };
    let dir = dir.display();
    format!(
        r#"
global
    {user}
    master-worker
    nbthread {workers}
    maxconn {HAPROXY_CONNECTIONS}
    hard-stop-after 30s
    stats socket {dir}/stats.sock mode 600 level admin expose-fd listeners
defaults
    mode http
    maxconn {HAPROXY_CONNECTIONS}
    timeout connect 10s
    timeout server 600s
    timeout client 600s
    timeout http-request 600s
    timeout http-keep-alive 600s
frontend bench
    bind {address} backlog 4096
    http-request return status 200 content-type text/plain {body}
"#
    )
}
