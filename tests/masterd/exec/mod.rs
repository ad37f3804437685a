//! Services that run a program: `program.py`, which does as it is told, and real ones (`programs`).

mod counting;
mod ends;
mod faults;
mod life;
mod modes;
mod output;
mod programs;
mod ready;
mod scoreboard;
mod sockets;

use super::harness::*;
use super::tools::*;

/// A config with one service, `app`, whose workers run `program.py`.
#[derive(Clone, Debug)]
pub struct Exec {
    words: Vec<String>,
    listen: String,
    workers: u32,
    master: String,
    service: String,
    exec: String,
}

impl Exec {
    /// One worker on a port of the kernel's choice; `words` tell the program what to do.
    pub fn new(words: &[&str]) -> Exec {
        Exec {
            words: words.iter().map(|&word| word.to_owned()).collect(),
            listen: "\"127.0.0.1:0\"".to_owned(),
            workers: 1,
            master: String::new(),
            service: String::new(),
            exec: String::new(),
        }
    }

    pub fn workers(mut self, workers: u32) -> Exec {
        self.workers = workers;
        self
    }

    /// The listeners, as TOML.
    pub fn listen(mut self, listen: &str) -> Exec {
        self.listen = listen.to_owned();
        self
    }

    /// A line for `[master]`.
    pub fn master(mut self, line: &str) -> Exec {
        self.master += &format!("{line}\n");
        self
    }

    /// A line for the service.
    pub fn service(mut self, line: &str) -> Exec {
        self.service += &format!("{line}\n");
        self
    }

    /// A line for its program: `ready = "notify"`.
    pub fn exec(mut self, line: &str) -> Exec {
        self.exec += &format!("{line}\n");
        self
    }

    /// The whole file.
    pub fn text(&self) -> String {
        let mut command = vec![python().to_owned(), "-S".to_owned(), "program.py".to_owned()];
        command.extend(self.words.iter().cloned());
        let Exec { listen, workers, master, service, exec, .. } = self;
        format!(
            "[master]\ncontrol_socket = \"c.sock\"\npid_file = \"m.pid\"\n{master}\n[[service]]\nname = \"app\"\n\
             listen = [{listen}]\nworkers = {workers}\n{service}[service.exec]\ncommand = {command:?}\n\
             env = {{ GENERATION = \"{{generation}}\", SEAT = \"{{seat}}\" }}\n{exec}"
        )
    }
}

/// A place with `program.py` in it, where any user may read it.
pub fn place() -> Place {
    let place = Place::new();
    place.write("program.py", include_str!("program.py"));
    place
}

/// The machine's own, which any user may execute, or whatever is found.
fn python() -> &'static str {
    const OWN: &str = "/usr/bin/python3";
    if std::path::Path::new(OWN).exists() { OWN } else { "python3" }
}

/// True (and said) without a Python.
#[track_caller]
pub fn no_python() -> bool {
    let found =
        std::process::Command::new(python()).arg("--version").output().is_ok_and(|o| o.status.success());
    if !found {
        skip("python3");
    }
    !found
}

/// The program of the only worker.
pub fn program_of(master: &Master) -> i32 {
    master.ready_pids("app")[0]
}

/// The keeper of the only worker.
pub fn keeper_of(master: &Master) -> i32 {
    master.workers("app")[0].keeper.expect("a keeper")
}

/// Where its first socket is bound.
pub fn address(master: &Master) -> String {
    master.service("app").listeners[0].address.clone()
}

/// The body of an answer.
#[track_caller]
pub fn body(master: &Master, path: &str) -> String {
    get(&address(master), path).expect("an answer").body
}
