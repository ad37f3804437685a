//! What keeping a program costs: counting its ten thousand connections, and swallowing what it prints.
//!
//! The program is a Python of a few lines, which needs python3. There is no peer to compare with: none counts the
//! connections of a program that does not cooperate.

use super::client::Conn;
use super::figures::{heading, spread};
use super::proc;
use super::server::wait_until;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 10_000;
const ROUNDS: usize = 10;
/// Bytes that are printed.
const FLOOD: usize = 1 << 30;

/// Holds every connection, and answers what it is asked; `flood` prints first.
const PROGRAM: &str = r#"
import os, selectors, socket, sys
if sys.argv[1] == "flood":
    line = (b"x" * 99 + b"\n") * 600
    left = int(sys.argv[2])
    while left > 0:
        left -= os.write(1, line)
listener = socket.socket(fileno=3)
listener.setblocking(False)
loop = selectors.DefaultSelector()
loop.register(listener, selectors.EVENT_READ)
while True:
    for key, _ in loop.select():
        if key.fileobj is listener:
            try:
                client, _ = listener.accept()
            except BlockingIOError:
                continue
            loop.register(client, selectors.EVENT_READ)
        elif key.fileobj.recv(4096):
            key.fileobj.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi\n")
        else:
            loop.unregister(key.fileobj)
            key.fileobj.close()
"#;

/// A master with one program.
struct Kept {
    address: SocketAddr,
    child: Child,
    dir: PathBuf,
}

impl Kept {
    fn start(words: &[&str]) -> Kept {
        let dir = std::env::temp_dir().join(format!("masterd-bench-program-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("make a folder");
        let address = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        fs::write(dir.join("program.py"), PROGRAM).expect("write the program");
        let mut command = vec!["/usr/bin/python3", "-S", "program.py"];
        command.extend(words);
        let limit = proc::descriptor_limit();
        let text = format!(
            "[master]\ncontrol_socket = \"c.sock\"\nready_timeout = \"2m\"\nlog = {{ file = \"log\" }}\n[[service]]\n\
             name = \"program\"\nlisten = [\"{address}\"]\nworkers = 1\nlimits = {{ nofile = {limit} }}\n\
             exec = {{ command = {command:?} }}\n"
        );
        fs::write(dir.join("masterd.toml"), text).expect("write the config");
        let child = Command::new(env!("CARGO_BIN_EXE_masterd"))
            .arg("-c")
            .arg(dir.join("masterd.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("start masterd");
        let kept = Kept { address, child, dir };
        wait_until("a keeper", || !proc::children(kept.master()).is_empty());
        kept
    }

    fn master(&self) -> i32 {
        self.child.id().cast_signed()
    }

    fn keeper(&self) -> i32 {
        proc::children(self.master())[0]
    }

    fn is_ready(&self) -> bool {
        fs::read_to_string(self.dir.join("log")).is_ok_and(|log| log.contains("generation 1 serves"))
    }

    /// One `masterd status`; whether it shows so many connections.
    fn counts(&self, connections: usize) -> bool {
        let output = Command::new(env!("CARGO_BIN_EXE_masterd"))
            .args(["status", "--json", "--socket"])
            .arg(self.dir.join("c.sock"))
            .output()
            .expect("run masterd");
        String::from_utf8_lossy(&output.stdout).contains(&format!("\"active\":{connections}"))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        proc::kill(self.master(), proc::INT);
        wait_until("masterd's end", || matches!(self.child.try_wait(), Ok(Some(_))));
        let _ = fs::remove_dir_all(&self.dir);
    }
}

pub fn run() {
    if !Path::new("/usr/bin/python3").exists() {
        return eprintln!("/usr/bin/python3 is missing: no figures of programs");
    }
    heading(
        "Programs",
        "One program, a Python. Counted: 10,000 open connections, found by sock_diag and the descriptors of the \
         program's processes; a sample is what `masterd status` costs with and without them. Printed: 1 GiB in lines of \
         100 bytes, as fast as it can; of that the log takes 8 MiB at once and 2 MiB a second, the rest is read, \
         counted and left out.",
    );
    println!("| | figure |\n|---|---|");
    count();
    flood();
}

fn count() {
    let kept = Kept::start(&["serve"]);
    wait_until("the program", || kept.is_ready());
    let (empty, _, _) = samples(&kept, 0);
    let open: Vec<Conn> = (0..CONNECTIONS)
        .map(|_| {
            let mut conn = Conn::open(kept.address).expect("connect");
            conn.exchange(false).expect("an answer");
            conn
        })
        .collect();
    let (keeper, master, took) = samples(&kept, CONNECTIONS);
    println!("| CPU of the keeper per sample, no connection, ms | {} |", spread(&empty, 2));
    println!("| the same, 10,000 connections, ms | {} |", spread(&keeper, 1));
    println!("| CPU of the master per status, 10,000 connections, ms | {} |", spread(&master, 2));
    println!("| `masterd status`, 10,000 connections, ms | {} |", spread(&took, 1));
    println!("| resident memory of the keeper then, KiB | {} |", proc::resident(kept.keeper()) / 1024);
    drop(open);
}

/// CPU of keeper and master for one status each, and how long it took, milliseconds.
fn samples(kept: &Kept, connections: usize) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (mut keeper, mut master, mut took) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        // A sample that is younger is good enough for another status.
        std::thread::sleep(Duration::from_millis(300));
        let before = (proc::cpu_ns(kept.keeper()), proc::cpu_ns(kept.master()));
        let begun = Instant::now();
        assert!(kept.counts(connections), "it shows {connections} connections");
        took.push(begun.elapsed().as_secs_f64() * 1e3);
        keeper.push((proc::cpu_ns(kept.keeper()) - before.0) as f64 / 1e6);
        master.push((proc::cpu_ns(kept.master()) - before.1) as f64 / 1e6);
    }
    (keeper, master, took)
}

fn flood() {
    let begun = Instant::now();
    let kept = Kept::start(&["flood", &FLOOD.to_string()]);
    while !kept.is_ready() {
        assert!(begun.elapsed() < Duration::from_secs(110), "the flood is over");
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = begun.elapsed().as_secs_f64();
    let cpu = proc::cpu_ns(kept.keeper()) as f64 / 1e9;
    println!("| until a program that prints 1 GiB first is ready, s | {took:.2} |");
    println!("| CPU of its keeper by then, s | {cpu:.2} |");
    println!("| resident memory of its keeper, KiB | {} |", proc::resident(kept.keeper()) / 1024);
}
