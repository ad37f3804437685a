//! What the master does, as it does it; and verdicts that reach whoever waits for them.

use super::super::harness::*;
use super::super::tools::*;
use masterd::wire::control::EventLine;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};

/// `masterd events`, line by line.
struct Follower {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
    seen: Vec<EventLine>,
}

impl Follower {
    fn new(place: &Place) -> Follower {
        let mut command = place.command();
        command.arg("--socket").arg(place.socket()).arg("events");
        let mut child = command.stdout(Stdio::piped()).spawn().expect("follow events");
        let out: ChildStdout = child.stdout.take().expect("a pipe");
        let (send, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let mut follower = Follower { child, lines, seen: Vec::new() };
        follower.until("following");
        follower
    }

    /// Reads on until this event has come; all since the last call.
    #[track_caller]
    fn until(&mut self, event: &str) -> EventLine {
        loop {
            let line = self.lines.recv_timeout(SOON);
            let line = line.unwrap_or_else(|e| panic!("no {event} ({e}); seen: {:#?}", self.seen));
            let event_line: EventLine =
                serde_json::from_str(&line).unwrap_or_else(|e| panic!("no event: {e} in {line:?}"));
            assert!(event_line.at.ends_with('Z') && !event_line.text.is_empty(), "{line}");
            self.seen.push(event_line.clone());
            if event_line.event == event {
                return event_line;
            }
        }
    }

    fn names(&self) -> Vec<&str> {
        self.seen.iter().map(|e| e.event.as_str()).collect()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn events_tell_of_births_deaths_and_reloads() {
    let place = Place::new();
    let web = Web::new().workers(1).service("drain = { grace = \"2s\" }");
    let master = Master::start(&place, &web.text());
    for words in ["worker died", "reload failed", "can't", "cannot"] {
        master.expect_error(words);
    }
    let mut follower = Follower::new(&place);
    let victim = master.ready_pids("web")[0];
    kill(Pid::from_raw(victim), Signal::SIGKILL).unwrap();
    let died = follower.until("died");
    assert_eq!((died.pid, died.seat, died.service.as_deref()), (Some(victim), Some(0), Some("web")));
    assert!(died.level == "error" && died.text.contains("SIGKILL"), "{died:?}");
    let ready = follower.until("ready");
    assert_eq!((ready.generation, ready.level.as_str()), (Some(1), "info"));
    assert!(follower.names().contains(&"spawned"), "{:?}", follower.names());

    let reload = master.begin(&["reload", "--drained"]);
    assert_eq!(follower.until("reload_started").generation, Some(2));
    follower.until("spawned");
    follower.until("ready");
    follower.until("draining");
    follower.until("ended");
    reload.finish().expect(0);
    assert!(follower.names().contains(&"reload_done"), "{:?}", follower.names());

    place.config("nonsense");
    master.cli(&["reload"]).expect(1);
    let failed = follower.until("reload_failed");
    assert!(failed.text.contains("nonsense") || failed.text.contains("masterd.toml"), "{failed:?}");
    place.config(&web.text());
    master.signal(Signal::SIGQUIT);
    follower.until("stopping");
    wait_until("the stream ends with the master", SOON, || {
        follower.child.try_wait().expect("look at the follower").is_some()
    });
    master.wait_exit(0, SOON);
    master.finish();
}

#[test]
fn a_client_that_is_interrupted_takes_no_verdict_from_another() {
    let place = Place::new();
    // A connection in flight holds the drain of the old generation open.
    let master = Master::start(&place, &Web::new().workers(1).text());
    let mut held = Conn::open(&master.address()).unwrap();
    held.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf").unwrap();
    master.wait_status("it is in flight", SOON, |s| s.services[0].workers[0].in_flight == 1);
    let waiting: Vec<Running> = (0..3).map(|_| master.begin(&["reload", "--drained"])).collect();
    wait_until("the reload is decided", SOON, || master.status().generation >= 2);
    let [a, b, c] = <[Running; 3]>::try_from(waiting).unwrap();
    kill(Pid::from_raw(b.pid()), Signal::SIGINT).unwrap();
    assert_eq!(b.finish().code, -(Signal::SIGINT as i32));
    held.send(b"whole!").unwrap();
    assert_eq!(held.receive().unwrap().status, 200);
    drop(held);
    for client in [a, c] {
        let said = client.finish().expect(0);
        assert!((said.stdout + &said.stderr).contains("generation"), "a verdict");
    }
    master.wait_status("nothing is under way", SOON, |s| {
        s.state == "running" && s.services[0].workers.len() == 1
    });
    master.finish();
}

#[test]
fn everybody_who_waits_hears_of_a_failure() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().text());
    master.expect_error("reload failed");
    place.config("nonsense");
    let waiting: Vec<Running> = (0..5).map(|_| master.begin(&["reload"])).collect();
    for client in waiting {
        let said = client.finish().expect(1);
        assert!(said.stderr.contains("masterd.toml"), "{said:?}");
    }
    place.config(&Web::new().text());
    assert_eq!(get(&master.address(), "/").unwrap().number("gen"), 1);
    let many: Vec<Running> = (0..5).map(|_| master.begin(&["reload"])).collect();
    many.into_iter().for_each(|client| drop(client.finish().expect(0)));
    assert_eq!(kinds(master.pid()).iter().filter(|(kind, _)| kind.contains("pidfd")).count(), 0);
    master.finish();
}
