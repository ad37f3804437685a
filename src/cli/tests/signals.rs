//! `-s`: who is signalled, and who never is.

use super::super::args::SignalWord;
use super::super::find::Place;
use super::super::signal::send;
use super::*;
use crate::sys::pidfile::PidFile;
use crate::sys::signal::TABLE;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

/// A process that a test may signal, ended with it.
struct Victim(Child);

impl Victim {
    fn new() -> Victim {
        Victim(Command::new("sleep").arg("60").spawn().unwrap())
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    /// The signal that ended it.
    fn ended_by(&mut self) -> Option<i32> {
        // It may leave a core behind, which takes its time on a busy machine.
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.signal();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        None
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn number(word: &str) -> i32 {
    TABLE.iter().find(|e| e.cli == Some(word)).unwrap().number
}

#[test]
fn the_holder_of_the_pid_file_gets_the_signal_of_the_word() {
    let folder = Folder::new();
    let path = folder.path().join("m.pid");
    let file = PidFile::lock(&path).unwrap();
    let place = Place { socket: folder.path().join("s"), pid_file: Some(path) };
    for word in [SignalWord::Reload, SignalWord::Quit, SignalWord::Stop, SignalWord::Reopen] {
        let mut victim = Victim::new();
        file.write(victim.pid()).unwrap();
        send(word, &place).unwrap();
        assert_eq!(victim.ended_by(), Some(number(word.word())), "{word:?}");
    }
}

#[test]
fn a_pid_file_that_nobody_holds_signals_nobody() {
    let folder = Folder::new();
    let path = folder.path().join("m.pid");
    let mut bystander = Victim::new();
    std::fs::write(&path, format!("{}\n", bystander.pid())).unwrap();
    let place = Place { socket: folder.path().join("s"), pid_file: Some(path.clone()) };
    let failure = send(SignalWord::Stop, &place).unwrap_err();
    let shown = path.display();
    let sentence = format!("no master: {shown} is stale, no living process holds it; nothing was signalled");
    assert_eq!((failure.exit, failure.text), (Exit::NoMaster, sentence));
    assert!(bystander.lives());

    std::fs::remove_file(&path).unwrap();
    let failure = send(SignalWord::Stop, &place).unwrap_err();
    assert_eq!(failure.exit, Exit::NoMaster);
    assert!(failure.text.contains("does not exist"), "{}", failure.text);
}

#[test]
fn a_master_that_claims_another_pid_than_the_kernel_sees_is_not_believed() {
    let mut bystander = Victim::new();
    let status = Status { pid: bystander.pid(), ..sample() };
    let reply = format!(r#"{{"reply":"status","status":{}}}"#, serde_json::to_string(&status).unwrap());
    let (ended, _) = Fake::new(&[&reply], Then::Close).run("-s stop");
    assert_eq!(ended.exit, Exit::Failed);
    let said = format!(
        "says it is pid {}, but the kernel says {}; nothing was",
        bystander.pid(),
        std::process::id()
    );
    assert!(ended.err.contains(&said), "{}", ended.err);
    assert!(bystander.lives());
}

/// Names the socket to the process that plays the master below.
const ROLE: &str = "MASTERD_TEST_ROLE_SOCKET";

/// Not a test of its own: as a child of the next one it is a master with its own pid.
#[test]
fn as_a_child_it_plays_the_master() {
    let Some(socket) = std::env::var_os(ROLE) else { return };
    let listener = UnixListener::bind(socket).unwrap();
    println!("listening");
    let (mut client, _) = listener.accept().unwrap();
    line(&client);
    let status = Status { pid: i32::try_from(std::process::id()).unwrap(), ..sample() };
    writeln!(client, r#"{{"reply":"status","status":{}}}"#, serde_json::to_string(&status).unwrap()).unwrap();
    std::thread::park_timeout(Duration::from_secs(60));
}

#[test]
fn without_a_pid_file_the_control_socket_tells_who_it_is() {
    let folder = Folder::new();
    let socket = folder.path().join("s");
    let role = ["--exact", "--nocapture", "cli::tests::signals::as_a_child_it_plays_the_master"];
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(role).env(ROLE, &socket).stdout(Stdio::piped());
    let mut master = Victim(child.spawn().unwrap());
    let listening =
        BufReader::new(master.0.stdout.take().unwrap()).lines().any(|l| l.unwrap().ends_with("listening"));
    assert!(listening, "the child came up");
    assert_eq!(run(&socket, "-s reopen"), Ended { exit: Exit::Done, out: String::new(), err: String::new() });
    assert_eq!(master.ended_by(), Some(number("reopen")));
}
