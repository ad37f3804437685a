//! Whoever is connected to the control socket stays so across the exec, and gets what was asked for.

use super::{comes_to_nothing, goes_well, start};
use crate::harness::{Conn, Place, SOON, Web, install, wait_until};
use crate::meddle::end;
use masterd::wire::control::{EventLine, Reply};
use masterd::wire::status::Status;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};

/// A client whose output goes to a file, ended with the test.
struct Writer(Child);

impl Writer {
    fn start(place: &Place, args: &[&str], name: &str) -> Writer {
        let mut command = place.command();
        command.arg("--socket").arg(place.socket()).args(args);
        let file = File::create(place.path(name)).expect("a file");
        Writer(command.stdout(file).stderr(Stdio::null()).spawn().expect("a client"))
    }

    #[track_caller]
    fn assert_connected(&mut self) {
        assert_eq!(self.0.try_wait().expect("look at a client"), None, "it is still there");
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // It may have ended with its master.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn events(place: &Place) -> Vec<String> {
    let text = place.read("events.out");
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let event = |line: &str| serde_json::from_str::<EventLine>(line).expect("an event").event;
    whole.lines().map(event).collect()
}

#[test]
fn who_follows_events_sees_an_upgrade_from_both_sides() {
    let place = Place::new();
    let master = start(&place, &Web::new());
    for words in ["upgrade failed", "panic"] {
        master.expect_error(words);
    }
    let mut follower = Writer::start(&place, &["events"], "events.out");
    wait_until("somebody follows", SOON, || events(&place) == ["following"]);
    goes_well(&place, &master, "0.2.0");
    install(&place, "masterd", &["at=restored", "do=panic"]);
    comes_to_nothing(&master, &[], &["panicked"]);
    master.cli(&["reload"]).expect(0);
    wait_until("the reload is told", SOON, || events(&place).contains(&"reload_done".to_owned()));
    follower.assert_connected();
    let told = events(&place);
    let mut rest = told.iter();
    for name in [
        "following",
        "upgrade_started",
        "upgrade_proved",
        "upgrade_executed",
        "spawned",
        "ready",
        "upgrade_done",
        "ended",
        "upgrade_started",
        "upgrade_proved",
        "upgrade_failed",
        "reload_started",
        "reload_done",
    ] {
        assert!(rest.any(|event| event == name), "no {name} in its place: {told:?}");
    }
    assert_eq!(told.iter().filter(|e| *e == "following").count(), 1, "one connection: {told:?}");
    end(master);
}

#[test]
fn who_watches_the_status_sees_the_new_version() {
    let place = Place::new();
    let master = start(&place, &Web::new());
    for words in ["upgrade failed", "panic"] {
        master.expect_error(words);
    }
    let seen = || -> Vec<Status> {
        let text = place.read("status.out");
        serde_json::Deserializer::from_str(&text).into_iter().map_while(Result::ok).collect()
    };
    let mut watcher = Writer::start(&place, &["status", "--watch", "--json"], "status.out");
    wait_until("somebody watches", SOON, || seen().iter().any(|s| s.version == "0.1.0"));
    goes_well(&place, &master, "0.2.0");
    wait_until("the new version is seen", SOON, || seen().iter().any(|s| s.version == "0.2.0"));
    install(&place, "masterd", &["version=0.3.0", "at=executed", "do=panic"]);
    comes_to_nothing(&master, &[], &["panicked"]);
    let lost = |s: &Status| s.last_upgrade.as_ref().is_some_and(|u| !u.ok) && s.state == "running";
    wait_until("what became of the next is seen", SOON, || seen().iter().any(lost));
    watcher.assert_connected();
    assert!(seen().iter().all(|s| s.version != "0.3.0"));
    end(master);
}

#[test]
fn who_waits_for_a_long_drain_hears_of_its_end_from_the_next_image() {
    let place = Place::new();
    let master = start(&place, &Web::new().slow("2s"));
    for words in ["upgrade failed", "panic"] {
        master.expect_error(words);
    }
    let mut slow = Conn::open(&master.address()).unwrap();
    slow.ask("/slow").unwrap();
    master.wait_status("it is in flight", SOON, |s| s.services[0].workers.iter().any(|w| w.in_flight == 1));
    let waiting = master.begin(&["reload", "--drained"]);
    master.wait_status("the reload is decided", SOON, |s| s.generation == 2);
    install(&place, "masterd", &["at=restored", "do=panic"]);
    assert!(master.cli(&["upgrade"]).expect(1).stderr.contains("panicked"));
    install(&place, "masterd", &["version=0.2.0"]);
    master.cli(&["upgrade"]).expect(0);
    let status = master.status();
    assert_eq!(status.version, "0.2.0");
    assert!(status.services[0].workers.iter().any(|w| w.generation == 1), "it still drains: {status:#?}");
    assert_eq!(slow.receive().unwrap().status, 200);
    drop(slow);
    let said = waiting.finish().expect(0);
    assert!(said.stdout.contains("generation 2 serves, the old one is gone"), "{said:?}");
    end(master);
}

/// A client has five seconds to say what it wants, and a standstill lasts as long.
#[test]
fn a_half_said_request_is_heard_to_its_end_by_the_image_that_goes_on() {
    let place = Place::new();
    let master = start(&place, &Web::new());
    master.expect_error("upgrade failed");
    install(&place, "masterd", &["at=executed", "do=hang"]);
    let mut stream = UnixStream::connect(place.socket()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(b"{\"verb\":").unwrap();
    assert!(master.cli(&["upgrade"]).expect(1).stderr.contains("stood still"));
    stream.write_all(b"\"status\"}\n").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    let reply: Reply = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e} in {line:?}"));
    assert!(matches!(reply, Reply::Status { .. }), "{line}");
    end(master);
}
