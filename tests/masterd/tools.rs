//! What the tests of scoreboard, control socket, resources and HTTP look with: /proc, raw clients, another user.
//!
//! A test that needs what the machine has not got says `skip` and returns; under CI a skip is a failure.

use super::harness::*;
use masterd::wire::control::{Outcome, Reply, Request};
use masterd::wire::status::Status;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Somebody who owns nothing here.
pub const STRANGER: u32 = 12_345;

/// Says why a test does nothing; with CI set that is a failure.
#[track_caller]
pub fn skip(needs: &str) {
    assert!(std::env::var_os("CI").is_none(), "skipped: needs {needs}");
    eprintln!("skipped: needs {needs}");
}

/// True (and said) if this test can't be done because we are not root.
#[track_caller]
pub fn not_root() -> bool {
    if !is_root() {
        skip("root");
    }
    !is_root()
}

/// What makes a command run as `STRANGER`, with its own groups only.
pub const AS_STRANGER: [&str; 5] = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "--"];

/// True (and said) if no command can be run as another user.
#[track_caller]
pub fn no_stranger() -> bool {
    if not_root() {
        return true;
    }
    let tried = Command::new(AS_STRANGER[0])
        .args(&AS_STRANGER[1..])
        .args([place::BINARY, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let works = tried.is_ok_and(|status| status.success());
    if !works {
        skip("setpriv, and a build folder that others may enter");
    }
    !works
}

/// A place that `STRANGER` owns.
pub fn place_of_stranger() -> Place {
    let place = Place::new();
    std::os::unix::fs::chown(place.dir(), Some(STRANGER), Some(STRANGER)).expect("give a folder away");
    place
}

/// One request over the control socket, as bytes; everything that comes back until the end.
pub fn say(socket: &Path, bytes: &[u8]) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(SOON))?;
    // Whoever is refused early may not be there any more for the rest.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(e) if e.kind() != io::ErrorKind::ConnectionReset => return Err(e),
        _ => {}
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A connection to the control socket that has sent this request.
pub fn ask(socket: &Path, request: &Request) -> UnixStream {
    let mut stream = UnixStream::connect(socket).expect("connect to the control socket");
    let mut line = serde_json::to_vec(request).expect("a request");
    line.push(b'\n');
    stream.write_all(&line).expect("send a request");
    stream.set_read_timeout(Some(SOON)).expect("set a timeout");
    stream
}

/// One reload over the control socket, waited for with more patience than the command has.
#[track_caller]
pub fn reload(place: &Place) {
    let stream = ask(&place.socket(), &Request::Reload { service: None, dry_run: false, drained: false });
    for line in BufReader::new(stream).lines() {
        let line = line.expect("a line");
        if let Reply::Done(done) = serde_json::from_str(&line).expect("a reply") {
            return assert_eq!(done.outcome, Outcome::Ok, "{done:?}");
        }
    }
    panic!("no verdict");
}

/// The status without the connections, and how long it took. Between two looks, nothing is kept.
pub fn timed_status(socket: &Path) -> io::Result<(Status, Duration)> {
    let begun = Instant::now();
    let stream = ask(socket, &Request::Status { service: None, connections: false, watch: false });
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    match serde_json::from_str(&line)? {
        Reply::Status { status } => Ok((*status, begun.elapsed())),
        other => Err(io::Error::other(format!("no status: {other:?}"))),
    }
}

/// Nanoseconds on a CPU so far: /proc/PID/schedstat.
pub fn cpu(pid: i32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("a living process");
    let first = text.split_ascii_whitespace().next().and_then(|n| n.parse().ok());
    Duration::from_nanos(first.expect("nanoseconds"))
}

/// Share of one CPU that a process uses during `span`.
pub fn cpu_share(pid: i32, span: Duration) -> f64 {
    let (begun, before) = (Instant::now(), cpu(pid));
    std::thread::sleep(span);
    (cpu(pid) - before).as_secs_f64() / begun.elapsed().as_secs_f64()
}

/// Resident memory in KiB.
pub fn resident(pid: i32) -> u64 {
    let line = procs::status_line(pid, "VmRSS").expect("a living process");
    line.trim_end_matches("kB").trim().parse().expect("a number")
}

/// The most memory a process has had, in KiB.
#[track_caller]
pub fn peak(pid: i32) -> u64 {
    let line = procs::status_line(pid, "VmHWM").expect("a living process");
    line.trim_end_matches("kB").trim().parse().expect("a number")
}

/// How often it has waited: each wake-up from a wait is one.
pub fn waits(pid: i32) -> u64 {
    let line = procs::status_line(pid, "voluntary_ctxt_switches").expect("a living process");
    line.parse().expect("a number")
}

/// Kinds of descriptors, each with its number: what must be the same before and after.
pub fn kinds(pid: i32) -> Vec<(String, usize)> {
    let mut found = std::collections::BTreeMap::new();
    for (_, target) in procs::descriptors(pid) {
        let kind = target.split(['[', '(']).next().unwrap_or_default().trim().to_owned();
        *found.entry(kind).or_insert(0) += 1;
    }
    found.into_iter().collect()
}

/// The kinds once they stay the same: a client's socket is closed a moment after its answer.
#[track_caller]
pub fn at_rest(pid: i32) -> Vec<(String, usize)> {
    let mut last = (kinds(pid), Instant::now());
    wait_until("descriptors stay the same", SOON, || {
        let now = kinds(pid);
        if now != last.0 {
            last = (now, Instant::now());
        }
        last.1.elapsed() > Duration::from_millis(150)
    });
    last.0
}

/// Mappings whose file is a memfd.
pub fn memory_maps(pid: i32) -> Vec<String> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    maps.lines().filter(|line| line.contains("memfd:")).map(str::to_owned).collect()
}

/// The names of all keys of a document, sorted, with arrays as their first item.
pub fn shape(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<String> = map.iter().map(|(k, v)| format!("{k}:{}", shape(v))).collect();
            keys.sort();
            format!("{{{}}}", keys.join(","))
        }
        Value::Array(items) => format!("[{}]", items.first().map(shape).unwrap_or_default()),
        Value::Null => "?".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(_) => "number".to_owned(),
        Value::String(_) => "text".to_owned(),
    }
}

/// Holds every document to have no counter below that of the one before.
#[derive(Default)]
pub struct Upwards(std::collections::BTreeMap<String, [u64; 8]>);

impl Upwards {
    #[track_caller]
    pub fn check(&mut self, status: &Status) {
        for service in &status.services {
            let t = &service.totals;
            let now =
                [t.accepted, t.requests, t.bytes_in, t.bytes_out, t.errors, t.migrated, t.cut, t.deaths];
            if let Some(before) = self.0.insert(service.name.clone(), now) {
                let fell = before.iter().zip(now).any(|(before, now)| now < *before);
                assert!(!fell, "totals of {} ran backwards: {before:?} then {now:?}", service.name);
            }
        }
    }
}

/// A client's bare socket.
pub fn client(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(SOON)).expect("set a timeout");
    stream.set_write_timeout(Some(SOON)).expect("set a timeout");
    stream
}
