//! A master that is PID 1 of its container: upgrades, and everybody's orphans.

use super::{Load, Place, SOON, Web, install, wait_until};
use crate::harness::place::Running as Client;
use crate::harness::{Signal, procs};
use crate::meddle::{children, send, status_at};
use crate::tools::{not_root, skip};
use masterd::wire::status::Status;
use std::process::{Child, Command, Stdio};

const APART: [&str; 4] = ["unshare", "--pid", "--fork", "--mount-proc"];

/// A master in a pid namespace of its own.
struct Apart {
    place: Place,
    unshare: Child,
    /// Its pid as it is known out here.
    pid: i32,
}

impl Apart {
    /// None (and said) if that is not permitted.
    fn start() -> Option<Apart> {
        if not_root() {
            return None;
        }
        let mut tried = Command::new(APART[0]);
        let tried = tried.args(&APART[1..]).arg("true").stderr(Stdio::null()).status();
        if !tried.is_ok_and(|status| status.success()) {
            skip("the right to make a pid namespace");
            return None;
        }
        let place = Place::new();
        place.config(&Web::new().text());
        let binary = install(&place, "masterd", &[]);
        let mut command = place.command_of(APART[0]);
        command.args(&APART[1..]).arg("--kill-child").arg(binary).arg("-c").arg("masterd.toml");
        let log = std::fs::File::create(place.path("stderr")).expect("a log");
        let unshare = command.stdout(Stdio::null()).stderr(log).spawn().expect("run unshare");
        let outer = unshare.id().cast_signed();
        let serves = || status_at(&place.socket()).is_ok_and(|s| s.state == "running");
        wait_until("the master serves", SOON, serves);
        let pid = children(outer)[0];
        Some(Apart { place, unshare, pid })
    }

    #[track_caller]
    fn status(&self) -> Status {
        status_at(&self.place.socket()).unwrap_or_else(|e| panic!("no status: {e}; {}", self.log()))
    }

    fn log(&self) -> String {
        self.place.read("stderr")
    }

    #[track_caller]
    fn upgrade(&self, words: &[&str], code: i32) -> String {
        install(&self.place, "masterd", words);
        let client: Client = self.place.begin(&["--socket", "c.sock", "upgrade", "--drained"]);
        let said = client.finish().expect(code);
        said.stdout + &said.stderr
    }

    /// Runs a script among the master's strangers.
    #[track_caller]
    fn inside(&self, script: &str) {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.pid.to_string(), "-p", "-m", "sh", "-ec", script]);
        assert!(command.status().expect("run nsenter").success(), "{script}");
    }

    /// Workers, and nobody else, are its children.
    #[track_caller]
    fn wait_reaped(&self) {
        wait_until("every orphan is reaped", SOON, || {
            procs::zombies(self.pid).is_empty()
                && children(self.pid).len() == self.status().services[0].workers.len()
        });
    }

    #[track_caller]
    fn end(mut self) {
        send(self.pid, Signal::SIGQUIT);
        wait_until("it ends", SOON, || self.unshare.try_wait().expect("look at it").is_some());
        let status = self.unshare.wait().expect("it has ended");
        assert_eq!(status.code(), Some(0), "{}", self.log());
        assert!(!self.place.path("c.sock").exists() && !self.place.path("m.pid").exists());
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // Only of use after a failure: the namespace goes with it.
        if self.unshare.try_wait().is_ok_and(|ended| ended.is_none()) {
            send(self.pid, Signal::SIGKILL);
            let _ = self.unshare.wait();
        }
    }
}

/// Two hundred whose parents have gone before them.
const ORPHANS: &str = "for i in $(seq 200); do (true &) ; done";

#[test]
fn pid_1_upgrades_and_takes_over_again_and_reaps_everybody() {
    let Some(apart) = Apart::start() else { return };
    assert_eq!(apart.status().pid, 1);
    let load = Load::start(&apart.status().services[0].listeners[0].address);
    apart.inside(ORPHANS);
    apart.wait_reaped();
    apart.upgrade(&["version=0.2.0"], 0);
    let status = apart.status();
    assert_eq!((status.pid, status.version.as_str(), status.generation), (1, "0.2.0", 2));
    let workers: Vec<i32> = status.services[0].workers.iter().map(|w| w.pid).collect();
    for how in ["do=abort", "do=panic"] {
        let said = apart.upgrade(&["version=0.3.0", "at=executed", how], 1);
        assert!(said.contains("the old binary and generation 2 serve on"), "{said}");
    }
    apart.inside(ORPHANS);
    apart.wait_reaped();
    let status = apart.status();
    assert_eq!((status.version.as_str(), status.services[0].totals.deaths), ("0.2.0", 0));
    let now: Vec<i32> = status.services[0].workers.iter().map(|w| w.pid).collect();
    assert_eq!(now, workers, "the deaths of strangers upset nobody");
    load.wait_answers(20);
    load.stop().assert_nothing_lost();
    apart.end();
}

/// While the program is another, nobody waits for them: they are reaped by whichever comes up.
#[test]
fn orphans_that_end_during_the_exec_are_reaped_by_the_next_image() {
    let Some(apart) = Apart::start() else { return };
    let stream = "for i in $(seq 400); do (sleep 0.00$((i % 10)) &) ; done";
    std::thread::scope(|scope| {
        scope.spawn(|| apart.inside(stream));
        apart.upgrade(&["version=0.2.0"], 0);
        apart.upgrade(&["version=0.3.0", "at=restored", "do=abort"], 1);
        apart.upgrade(&["version=0.4.0"], 0);
    });
    apart.wait_reaped();
    assert_eq!(apart.status().version, "0.4.0");
    assert_eq!(apart.status().services[0].totals.deaths, 0);
    apart.end();
}
