//! The access log of a whole worker: what is a line, when, and where.

use super::*;
use crate::scoreboard::layout::{IN_FLIGHT, UNLOGGED};
use crate::sys::testing::{Folder, fifo};
use serde_json::Value;
use std::path::PathBuf;

/// A worker with a JSON access log, in a folder that goes with it.
struct Logged {
    trial: Trial,
    folder: Folder,
}

impl Logged {
    fn start(change: impl FnOnce(&mut Service)) -> Logged {
        let folder = Folder::new();
        let file = folder.join("access");
        let trial = Trial::start(|service| {
            service.access_log = Some(AccessLog { file, format: LogFormat::Json });
            change(service);
        });
        Logged { trial, folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.join("access")
    }

    /// The lines, when there are so many of them.
    fn lines(&self, count: usize) -> Vec<Value> {
        lines(&self.file(), count)
    }
}

fn lines(file: &std::path::Path, count: usize) -> Vec<Value> {
    let mut found = Vec::new();
    eventually("the lines are there", || {
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "torn: {text:?}");
        found = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert!(found.len() <= count, "more than {count}: {text}");
        found.len() == count
    });
    found
}

/// Target, status and bytes of a line.
fn told(line: &Value) -> (String, u64, u64) {
    let number = |key: &str| line[key].as_u64().unwrap();
    (line["target"].as_str().unwrap_or("-").to_owned(), number("status"), number("bytes"))
}

#[test]
fn every_answer_is_a_line_of_its_own() {
    let logged = Logged::start(|_| {});
    let mut client = logged.trial.connect();
    client.send(
        "GET /a%20b?c=%22 HTTP/1.1\r\nHost: h:1\r\nReferer: http://r/\"\r\nUser-Agent: t\\1\t\u{e9}\r\n\r\n",
    );
    assert_eq!(client.answer().body, "hello 3");
    let line = &logged.lines(1)[0];
    assert_eq!(told(line), ("/a%20b?c=%22".into(), 200, 7));
    let local = client.stream.local_addr().unwrap().to_string();
    let expected = [
        ("peer", local.as_str()),
        ("method", "GET"),
        ("version", "HTTP/1.1"),
        ("class", "http"),
        ("service", "web"),
        ("referer", "http://r/\""),
        ("user_agent", "t\\1\té"),
        ("host", "h:1"),
    ];
    expected.iter().for_each(|(key, value)| assert_eq!(line[key], *value, "{line}"));
    assert_eq!((line["generation"].as_u64(), line["seat"].as_u64()), (Some(7), Some(3)));
    assert_eq!(line["pid"].as_u64(), Some(std::process::id().into()));
    assert!(line["upstream"].is_null() && line["took"].as_f64().is_some());

    // Three in a pipeline, of which one has no body and one no route's host.
    client.send("POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nxx");
    client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\nGET http://other/x?y HTTP/1.0\r\n\r\n");
    eventually("all are answered", || client.more().unwrap() == 0);
    let told: Vec<_> = logged.lines(4).iter().map(told).collect();
    let slow = ("/slow".into(), 200, 4);
    assert_eq!(told[1..], [slow, ("/".into(), 200, 0), ("http://other/x?y".into(), 200, 7)]);
    let took = logged.lines(4)[1]["took"].as_f64().unwrap();
    assert!((0.29..20.0).contains(&took), "{took}");
}

#[test]
fn what_could_not_be_read_or_did_not_come_is_a_line_too() {
    let ms = Duration::from_millis;
    let logged = Logged::start(|service| {
        http(service).header_timeout = ms(300);
        http(service).body_timeout = ms(300);
    });
    let mut bad = logged.trial.connect();
    bad.send("NONSENSE\r\n\r\n");
    assert_eq!(bad.answer().status, 400);
    assert_eq!(told(&logged.lines(1)[0]), ("-".into(), 400, 0));
    let mut slow = logged.trial.connect();
    slow.send("GET /half HT");
    assert_eq!(slow.answer().status, 408);
    let half = &logged.lines(2)[1];
    assert_eq!((told(half), half["method"].is_null()), (("-".into(), 408, 0), true));
    let mut body = logged.trial.connect();
    body.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nx");
    assert_eq!(body.answer().status, 408);
    assert_eq!(told(&logged.lines(3)[2]), ("/".into(), 408, 0));
    let mut twice = logged.trial.connect();
    twice.send("GET /two HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert_eq!(twice.answer().status, 400);
    assert_eq!(told(&logged.lines(4)[3]).0, "/two");
    // One that was only opened is no line.
    drop(logged.trial.connect());
    assert_eq!(logged.trial.connect().get("/").status, 200);
    assert_eq!(told(&logged.lines(5)[4]).1, 200);
}

#[test]
fn who_leaves_before_the_answer_is_a_line() {
    let logged = Logged::start(|_| {});
    let mut client = logged.trial.connect();
    client.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
    eventually("it is being answered", || logged.trial.word(IN_FLIGHT) == 1);
    drop(client);
    // The FIN alone does not say that nobody reads: the answer is given.
    assert_eq!(told(&logged.lines(1)[0]), ("/slow".into(), 200, 4));
}

#[test]
fn the_last_lines_are_written_before_the_worker_leaves() {
    let mut logged = Logged::start(|service| {
        let delay = Duration::from_secs(60);
        let Action::Respond(slow) = &mut http(service).routes[2].action else { panic!("the slow route") };
        slow.delay = delay;
    });
    let mut clients: Vec<Client> = (0..5).map(|_| logged.trial.connect()).collect();
    for client in &mut clients {
        client.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    eventually("all are at it", || logged.trial.word(IN_FLIGHT) == 5);
    logged.trial.drain(Duration::from_millis(200), Idle::Announce, &[], false);
    assert_eq!(logged.trial.report(), Report::Leaving { cut: 5 });
    assert_eq!(logged.trial.exit(), 0);
    let cut: Vec<_> = logged.lines(5).iter().map(told).collect();
    assert!(cut.iter().all(|line| *line == ("/slow".into(), 499, 0)), "{cut:?}");
}

#[test]
fn a_reopened_log_goes_on_in_the_new_file() {
    let logged = Logged::start(|_| {});
    let mut client = logged.trial.connect();
    (0..3).for_each(|_| drop(client.get("/old")));
    let old = logged.folder.join("old");
    std::fs::rename(logged.file(), &old).unwrap();
    client.get("/old");
    let new = fd::open_log(&logged.file()).unwrap();
    logged.trial.order(&Order::ReopenAccessLog, &[new.as_fd()]);
    // Orders of one channel are obeyed in turn.
    logged.trial.order(&Order::Readiness { ready: false }, &[]);
    eventually("it has read both", || client.get("/ready").status == 503);
    client.get("/new");
    let count = |name: &str, file| {
        let text = std::fs::read_to_string(file).unwrap();
        text.matches(&format!("\"target\":\"{name}\"")).count()
    };
    eventually("the last one is written", || count("/new", logged.file()) == 1);
    assert_eq!((count("/old", old.clone()), count("/old", logged.file()), count("/new", old)), (4, 0, 0));
}

#[test]
fn a_reader_that_stalls_costs_lines_which_are_counted() {
    let folder = Folder::new();
    let file = folder.join("access");
    let mut reader = fifo(&file);
    let trial =
        Trial::start(|service| service.access_log = Some(AccessLog { file, format: LogFormat::Text }));
    let mut client = trial.connect();
    let long = format!("GET /?{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(3000));
    let dropped = || trial.word(UNLOGGED);
    let mut asked = 0;
    while dropped() < 10 {
        client.send(&long);
        assert_eq!(client.answer().status, 200);
        asked += 1;
        assert!(asked < 1000, "nothing is ever dropped");
    }
    eventually("it is said", || trial.log().contains("access log lines were dropped: nobody reads"));
    let lost = trial.log().matches("access log lines were dropped").count();
    assert_eq!(lost, 1, "once in ten seconds");
    let mut text = Vec::new();
    let kept = || (asked - dropped()) as usize;
    eventually("what was kept comes", || {
        let mut chunk = vec![0; 1 << 16];
        while let Ok(n @ 1..) = reader.read(&mut chunk) {
            text.extend_from_slice(&chunk[..n]);
        }
        text.iter().filter(|&&byte| byte == b'\n').count() == kept()
    });
    let text = String::from_utf8(text).unwrap();
    assert!(text.lines().all(|line| line.starts_with("127.0.0.1 - - [") && line.ends_with("host=\"h\"")));
    client.get("/");
}
