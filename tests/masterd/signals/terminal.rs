//! A terminal sends signals by itself: a changed size and a hang-up are not what `kill` means by them.
//!
//! A piece of Python holds the other end of a pseudo-terminal and does what it is told on its stdin.

use super::super::harness::*;
use super::SECOND;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::Receiver;

const HOLDER: &str = r#"
import fcntl, os, pty, struct, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
print(pid, flush=True)
for line in sys.stdin:
    word = line.strip()
    if word == "size":
        for rows in range(30, 50):
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 80, 0, 0))
    elif word == "interrupt":
        os.write(terminal, b"\x03")
    elif word == "quit":
        os.write(terminal, b"\x1c")
    elif word == "suspend":
        os.write(terminal, b"\x1a")
    elif word == "hangup":
        os.close(terminal)
    print("done", flush=True)
    if word in ("interrupt", "quit", "hangup"):
        break
_, status = os.waitpid(pid, 0)
print(os.waitstatus_to_exitcode(status), flush=True)
"#;

/// A master in the foreground of a terminal.
struct Terminal {
    holder: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    pid: i32,
}

impl Terminal {
    fn start(place: &Place) -> Terminal {
        let mut command = place.command_of("python3");
        command.args(["-c", HOLDER, env!("CARGO_BIN_EXE_masterd"), "-c", "masterd.toml"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().expect("start python3");
        let input = holder.stdin.take().expect("a pipe");
        let output = BufReader::new(holder.stdout.take().expect("a pipe"));
        let (send, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let mut terminal = Terminal { holder, input, lines, pid: 0 };
        terminal.pid = terminal.line().parse().expect("a pid");
        wait_until("it serves", SOON, || terminal.state(place) == "running");
        terminal
    }

    #[track_caller]
    fn line(&mut self) -> String {
        let line = self.lines.recv_timeout(30 * SECOND).expect("a line of the holder");
        line.trim().to_owned()
    }

    fn tell(&mut self, word: &str) {
        writeln!(self.input, "{word}").expect("tell the holder");
        assert_eq!(self.line(), "done");
    }

    fn try_status(&self, place: &Place) -> Option<serde_json::Value> {
        let said = place.run(&["--socket", "c.sock", "status", "--json"]);
        (said.code == 0).then(|| serde_json::from_str(&said.stdout).expect("JSON"))
    }

    /// A client has little patience, and this machine may be busy with other tests.
    #[track_caller]
    fn status(&self, place: &Place) -> serde_json::Value {
        let mut status = None;
        wait_until("there is a status", SOON, || {
            status = self.try_status(place);
            status.is_some()
        });
        status.expect("waited for")
    }

    /// Waits until a request is in flight.
    #[track_caller]
    fn wait_in_flight(&self, place: &Place) {
        wait_until("a request is in flight", SOON, || {
            let status = self.status(place);
            let workers = status["services"][0]["workers"].as_array().cloned().unwrap_or_default();
            workers.iter().filter_map(|w| w["in_flight"].as_u64()).sum::<u64>() == 1
        });
    }

    fn state(&self, place: &Place) -> String {
        self.try_status(place).and_then(|s| Some(s["state"].as_str()?.to_owned())).unwrap_or_default()
    }

    fn address(&self, place: &Place) -> String {
        let status = self.status(place);
        status["services"][0]["listeners"][0]["address"].as_str().expect("an address").to_owned()
    }

    /// The exit status, and nothing of it left.
    fn end(mut self, place: &Place) -> i32 {
        let code = self.line().parse().expect("an exit status");
        wait_until("the holder ends", SOON, || self.holder.try_wait().unwrap().is_some());
        wait_until("nothing is left", SOON, || procs::living(self.pid, 0).is_empty());
        assert_eq!(place.files(), ["m.log", "masterd.toml"]);
        code
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Of use after a failure only: the end of the terminal ends the master.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn place() -> Place {
    let place = Place::new();
    place.config(&Web::new().slow("3s").master("log = { file = \"m.log\" }").text());
    place
}

#[test]
fn a_changed_size_changes_nothing() {
    let place = place();
    let mut terminal = Terminal::start(&place);
    let before = terminal.status(&place)["services"][0]["workers"].clone();
    terminal.tell("size");
    wait_until("WINCH has come", SOON, || place.read("m.log").contains("signal WINCH"));
    let address = terminal.address(&place);
    assert_eq!(get(&address, "/readyz").unwrap().status, 200);
    assert_eq!(terminal.state(&place), "running");
    let after = terminal.status(&place)["services"][0]["workers"].clone();
    let pids = |workers: &serde_json::Value| {
        workers.as_array().unwrap().iter().map(|w| w["pid"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(pids(&after), pids(&before));
    // Whereas one that somebody sends drains.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(terminal.pid), Signal::SIGWINCH).unwrap();
    wait_until("it drains", SOON, || terminal.state(&place) == "drained");
    terminal.tell("hangup");
    assert_eq!(terminal.end(&place), 0);
}

#[test]
fn the_end_of_the_terminal_is_a_graceful_stop() {
    let place = place();
    let mut terminal = Terminal::start(&place);
    let mut slow = Conn::open(&terminal.address(&place)).unwrap();
    slow.ask("/slow").unwrap();
    terminal.wait_in_flight(&place);
    terminal.tell("hangup");
    let answer = slow.receive().expect("what is in flight is answered");
    assert!(answer.closes(), "{answer:?}");
    drop(slow);
    assert_eq!(terminal.end(&place), 0);
    let log = place.read("m.log");
    assert!(log.contains("stops gracefully") && !log.contains("generation 2"), "no reload: {log}");
}

/// ^C goes to the whole group: the workers leave it to the master what to make of it.
#[test]
fn an_interrupt_from_the_terminal_is_a_fast_stop_and_a_quit_a_graceful_one() {
    for (word, fast) in [("interrupt", true), ("quit", false)] {
        let place = place();
        let mut terminal = Terminal::start(&place);
        let mut slow = Conn::open(&terminal.address(&place)).unwrap();
        slow.ask("/slow").unwrap();
        terminal.wait_in_flight(&place);
        terminal.tell(word);
        let answer = slow.receive();
        drop(slow);
        assert_eq!(terminal.end(&place), 0, "{word}");
        assert_eq!(answer.is_ok(), !fast, "{word}: {answer:?}");
        let log = place.read("m.log");
        assert!(!log.contains("worker died"), "nobody died of it: {log}");
    }
}
