//! The access log: every request once, whatever is renamed, reloaded, stopped, upgraded or not read meanwhile.

use super::super::harness::*;
use super::super::tools::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Clients whose requests all have a target of their own.
struct Callers {
    done: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<(Vec<String>, Vec<String>)>>,
}

impl Callers {
    /// Half of them keep their connection. They go on until stopped, or until nobody answers any more.
    fn start(address: &str, count: usize) -> Callers {
        let done = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let caller = |n: usize| {
            let (done, answered, address) = (done.clone(), answered.clone(), address.to_owned());
            std::thread::spawn(move || call(n, &address, &done, &answered))
        };
        let threads = (0..count).map(caller).collect();
        let callers = Callers { done, answered, threads };
        callers.wait_answers(count * 20);
        callers
    }

    #[track_caller]
    fn wait_answers(&self, more: usize) {
        let goal = self.answered.load(Ordering::Relaxed) + more;
        wait_until("the callers are answered", SOON, || self.answered.load(Ordering::Relaxed) >= goal);
    }

    /// The targets that were answered, and those that were asked for in vain.
    fn stop(self) -> (Vec<String>, Vec<String>) {
        self.done.store(true, Ordering::Relaxed);
        let (mut good, mut vain) = (Vec::new(), Vec::new());
        for thread in self.threads {
            let (answered, unanswered) = thread.join().expect("a caller");
            good.extend(answered);
            vain.extend(unanswered);
        }
        (good, vain)
    }
}

fn call(n: usize, address: &str, done: &AtomicBool, answered: &AtomicUsize) -> (Vec<String>, Vec<String>) {
    let (mut good, mut vain) = (Vec::new(), Vec::new());
    let mut kept: Option<Conn> = None;
    for turn in 0.. {
        if done.load(Ordering::Relaxed) || vain.len() > 3 {
            break;
        }
        let target = format!("/?{n}-{turn}");
        let usable = |conn: Conn| {
            let mut conn = conn;
            conn.unasked().is_none().then_some(conn)
        };
        let opened = kept.take().filter(|_| n.is_multiple_of(2)).and_then(usable);
        let Ok(mut conn) = opened.map_or_else(|| Conn::open(address), Ok) else { break };
        match conn.get(&target) {
            Ok(response) => {
                assert_eq!(response.status, 200);
                if !response.closes() {
                    kept = Some(conn);
                }
                good.push(target);
                answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => vain.push(target),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    (good, vain)
}

/// The targets of JSON lines, each with how often it is there, in all files whose names begin so.
#[track_caller]
fn targets(place: &Place, prefix: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for name in place.files().iter().filter(|name| name.starts_with(prefix)) {
        let text = place.read(name);
        assert!(text.is_empty() || text.ends_with('\n'), "torn: {name}");
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
            *found.entry(value["target"].as_str().expect("a target").to_owned()).or_default() += 1;
        }
    }
    found
}

/// Every answered request is one line; one that was asked for in vain may be.
#[track_caller]
fn assert_each_once(mut found: BTreeMap<String, usize>, good: &[String], vain: &[String]) {
    assert!(good.len() > 50, "only {} requests", good.len());
    let wrong: Vec<_> = good.iter().filter(|target| found.remove(*target) != Some(1)).collect();
    assert!(wrong.is_empty(), "{} of {} are not one line: {wrong:?}", wrong.len(), good.len());
    found.retain(|target, count| *count > 1 || !vain.contains(target));
    assert!(found.is_empty(), "nobody asked for these: {found:?}");
}

fn web() -> Web {
    Web::new().workers(2).master("access_log = { file = \"a.log\", format = \"json\" }")
}

#[test]
fn rotations_and_reloads_under_load_lose_and_repeat_no_line() {
    let place = Place::new();
    let master = Master::start(&place, &web().text());
    let held = at_rest(master.pid());
    let callers = Callers::start(&master.address(), 4);
    for round in 0..30 {
        std::fs::rename(place.path("a.log"), place.path(&format!("a.log.{round}"))).unwrap();
        callers.wait_answers(4);
        if round % 2 == 0 {
            master.signal(Signal::SIGUSR1);
        } else {
            let said = master.cli(&["reopen"]).expect(0);
            assert!(said.stdout.contains("a.log reopened"), "{said:?}");
        }
        wait_until("there is a log again", SOON, || place.path("a.log").exists());
        if round % 10 == 0 {
            master.cli(&["reload"]).expect(0);
        }
    }
    callers.wait_answers(20);
    let (good, vain) = callers.stop();
    master.wait_status("reloads are over", SOON, |s| s.services[0].workers.len() == 2);
    let now = place.path("a.log").to_str().unwrap().to_owned();
    for pid in [vec![master.pid()], master.ready_pids("web")].concat() {
        wait_until("all have the new file and no other", SOON, || {
            let open: Vec<String> = procs::descriptors(pid).into_iter().map(|(_, t)| t).collect();
            open.contains(&now) && !open.iter().any(|t| t.contains("a.log."))
        });
    }
    assert_eq!(at_rest(master.pid()), held);
    assert!(vain.is_empty(), "{vain:?}");
    wait_until("the last lines are written", SOON, || targets(&place, "a.log").len() == good.len());
    assert_eq!(master.service("web").totals.access_log_lines_dropped, 0);
    assert_each_once(targets(&place, "a.log"), &good, &vain);
    master.finish();
}

#[test]
fn a_stop_under_load_leaves_a_line_for_every_answer() {
    for (signal, fast) in [(Signal::SIGQUIT, false), (Signal::SIGINT, true)] {
        let place = Place::new();
        let master = Master::start(&place, &web().text());
        let callers = Callers::start(&master.address(), 4);
        master.signal(signal);
        master.wait_exit(0, SOON);
        wait_until("nobody is left", SOON, || master.left().is_empty());
        let (good, vain) = callers.stop();
        assert!(fast || vain.len() <= 4, "{vain:?}");
        assert_each_once(targets(&place, "a.log"), &good, &vain);
        master.finish();
    }
}

#[test]
fn an_upgrade_goes_on_with_the_files_that_are_open() {
    let place = Place::new();
    place.config(&web().text());
    let master = Launch::of(&place, &install(&place, "masterd", &[])).start();
    let callers = Callers::start(&master.address(), 2);
    // Renamed and not reopened: the new image's workers find it all the same.
    std::fs::rename(place.path("a.log"), place.path("a.log.1")).unwrap();
    install(&place, "masterd", &["version=9.9.9"]);
    master.cli(&["upgrade", "--drained"]).expect(0);
    assert_eq!(master.status().version, "9.9.9");
    callers.wait_answers(20);
    assert!(!place.path("a.log").exists(), "nobody has opened it");
    master.cli(&["reopen"]).expect(0);
    callers.wait_answers(20);
    let (good, vain) = callers.stop();
    wait_until("the last lines are written", SOON, || targets(&place, "a.log").len() == good.len());
    assert!(place.read("a.log.1").contains("\"generation\":2") && place.read("a.log").contains("\"pid\""));
    assert_each_once(targets(&place, "a.log"), &good, &vain);
    assert!(!master.log().contains("not known here"), "{}", master.log());
    master.finish();
}

/// The fields of the combined form, and the words behind it.
fn combined(line: &str) -> Option<([&str; 7], &str)> {
    let (host, rest) = line.split_once(" - - [")?;
    let (time, rest) = rest.split_once("] \"")?;
    let (request, rest) = rest.split_once("\" ")?;
    let (status, rest) = rest.split_once(' ')?;
    let (bytes, rest) = rest.split_once(" \"")?;
    let (referer, rest) = rest.split_once("\" \"")?;
    let (agent, rest) = rest.split_once("\" ")?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (digits(status) && digits(bytes)).then_some(([host, time, request, status, bytes, referer, agent], rest))
}

#[test]
fn services_have_the_masters_log_or_their_own_or_none() {
    let place = Place::new();
    let own = "access_log = { file = \"own.log\" }";
    let off = "access_log = { enabled = false }";
    let more = [("own", 2, own), ("off", 3, off), ("too", 4, own)].map(|(name, n, line)| {
        Web::new().workers(1).name(name).listen(&format!("127.0.0.{n}:0")).service(line).service_text()
    });
    let master = Master::start(&place, &web().more(&more.concat()).text());
    let agent = "a \"b\\\"";
    for name in ["web", "own", "off", "too"] {
        let mut conn = Conn::open(&master.address_of(name)).unwrap();
        let head = format!("GET /?{name} HTTP/1.1\r\nHost: {name}.example\r\nUser-Agent: {agent}\r\n\r\n");
        conn.send(head.as_bytes()).unwrap();
        assert_eq!(conn.receive().unwrap().status, 200);
        conn.send(b"GET /missing HTTP/1.1\r\nHost: h\r\nReferer: /\xff\xfe\r\nConnection: close\r\n\r\n")
            .unwrap();
        conn.receive().unwrap();
    }
    wait_until("all lines are there", SOON, || {
        place.read("own.log").lines().count() == 4 && place.read("a.log").lines().count() == 2
    });
    let text = place.read("own.log");
    let lines: Vec<_> =
        text.lines().map(|line| combined(line).unwrap_or_else(|| panic!("not combined: {line}"))).collect();
    let ([host, time, request, status, _, referer, agent], rest) = lines[0];
    assert_eq!((host, request, status, referer), ("127.0.0.1", "GET /?own HTTP/1.1", "200", "-"));
    assert!(time.len() == 26 && time.ends_with(" +0000"), "{time}");
    assert_eq!(agent, r"a \x22b\x5C\x22");
    for word in ["took=0.", "upstream=\"-\"", "class=http", "service=own", "seat=0", "host=\"own.example\""] {
        assert!(rest.contains(word), "{word} in {rest}");
    }
    let ([.., referer, _], _) = lines[1];
    assert_eq!(referer, r"/\xFF\xFE");
    assert!(lines[2].1.contains("service=too") && lines[3].0[2] == "GET /missing HTTP/1.1");
    let json: Vec<Value> =
        place.read("a.log").lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((json[0]["target"].as_str(), json[0]["service"].as_str()), (Some("/?web"), Some("web")));
    assert_eq!(json[0]["bytes"].as_u64(), Some(get(&master.address(), "/").unwrap().body.len() as u64));
    assert_eq!(json[1]["referer"], "/\u{fffd}\u{fffd}");
    assert!(!place.read("a.log").contains("off") && !text.contains("off"));
    master.finish();
}

#[test]
fn what_can_not_be_opened_fails_start_and_reload_and_is_named() {
    let place = Place::new();
    let bad = |line: &str| Web::new().workers(1).service(line).text();
    place.config(&bad("access_log.file = \"nowhere/a.log\""));
    let said = place.run(&["-c", "masterd.toml"]).expect(1);
    let named = format!("cannot open log {}", place.path("nowhere/a.log").display());
    assert!(said.stderr.contains(&named) && said.stderr.contains("access_log"), "{said:?}");

    let master = Master::start(&place, &bad("access_log.file = \"a.log\""));
    master.expect_error("reload failed");
    master.expect_error("cannot reopen access log");
    let held = at_rest(master.pid());
    std::os::unix::fs::symlink(place.path("a.log"), place.path("link")).unwrap();
    nix::unistd::mkfifo(&place.path("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    for (file, why) in [
        ("nowhere/a.log", "No such file"),
        ("link", "a symbolic link"),
        ("fifo", "a FIFO that nobody reads"),
        (".", "is a directory"),
    ] {
        place.config(&bad(&format!("access_log.file = \"{file}\"")));
        let said = master.cli(&["reload"]).expect(1);
        assert!(said.stderr.to_lowercase().contains(&why.to_lowercase()), "{file}: {said:?}");
        assert!(said.stderr.contains("generation 1 serves on"), "{said:?}");
    }
    assert_eq!(at_rest(master.pid()), held);
    // One that can't be opened again stays in use.
    std::fs::rename(place.path("a.log"), place.path("old")).unwrap();
    std::fs::create_dir(place.path("a.log")).unwrap();
    let said = master.cli(&["reopen"]).expect(1);
    let named = format!("cannot reopen access log {}", place.path("a.log").display());
    assert!(said.stderr.contains(&named) && said.stderr.contains("the old one is kept"), "{said:?}");
    get(&master.address(), "/?kept").unwrap();
    wait_until("it is in the old one", SOON, || place.read("old").contains("/?kept"));
    // Another one is opened by a reload, and the old one closed when nobody needs it.
    place.config(&bad("access_log.file = \"b.log\""));
    master.cli(&["reload", "--drained"]).expect(0);
    get(&master.address(), "/?new").unwrap();
    wait_until("it is in the new one", SOON, || place.read("b.log").contains("/?new"));
    let open: Vec<String> = procs::descriptors(master.pid()).into_iter().map(|(_, t)| t).collect();
    assert!(
        open.iter().any(|t| t.ends_with("/b.log")) && !open.iter().any(|t| t.ends_with("/old")),
        "{open:?}"
    );
    place.config(&Web::new().workers(1).text());
    master.cli(&["reload", "--drained"]).expect(0);
    let open: Vec<String> = procs::descriptors(master.pid()).into_iter().map(|(_, t)| t).collect();
    assert!(!open.iter().any(|t| t.ends_with(".log")), "{open:?}");
    master.finish();
}

#[test]
fn a_fifo_that_nobody_reads_on_blocks_no_worker() {
    let place = Place::new();
    nix::unistd::mkfifo(&place.path("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let reader = File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(place.path("fifo"));
    let mut reader = reader.unwrap();
    let web = Web::new().workers(2).master("access_log = { file = \"fifo\", format = \"json\" }");
    let master = Master::start(&place, &web.text());
    let address = master.address();
    let padding = "x".repeat(3000);
    let (mut asked, mut slowest) = (0u64, Duration::ZERO);
    let dropped = || master.service("web").totals.access_log_lines_dropped;
    while dropped() < 50 {
        for _ in 0..50 {
            let begun = Instant::now();
            assert_eq!(get(&address, &format!("/?{padding}")).unwrap().status, 200);
            slowest = slowest.max(begun.elapsed());
            asked += 1;
        }
        assert!(asked < 5000, "nothing is ever dropped");
    }
    // The machine is shared; a write that waits for the reader would do so for ever.
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    master.wait_log("access log lines were dropped: nobody reads it fast enough");
    for pid in master.ready_pids("web") {
        let share = cpu_share(pid, Duration::from_millis(500));
        assert!(share < 0.05, "{:.1} % of a CPU", share * 100.0);
    }
    // Read on: what was kept comes whole, and what is missing is what was counted.
    let lost = dropped();
    let mut bytes = Vec::new();
    let whole = |bytes: &[u8]| bytes.iter().filter(|&&b| b == b'\n').count() as u64;
    wait_until("all that was kept comes", SOON, || {
        let mut chunk = vec![0; 1 << 16];
        while let Ok(n @ 1..) = reader.read(&mut chunk) {
            bytes.extend_from_slice(&chunk[..n]);
        }
        whole(&bytes) == asked - lost
    });
    let text = String::from_utf8(bytes).unwrap();
    for line in text.lines() {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        assert_eq!(value["status"], 200);
    }
    // Nobody reads any more: a reopen says so, and a stop does not wait for it.
    drop(reader);
    master.expect_error("cannot reopen access log");
    assert!(master.cli(&["reopen"]).expect(1).stderr.contains("a FIFO that nobody reads"));
    get(&address, "/").unwrap();
    assert_eq!(master.service("web").totals.deaths, 0, "nobody dies of SIGPIPE");
    master.finish();
}

#[test]
fn workers_without_rights_write_where_only_the_master_may() {
    if not_root() {
        return;
    }
    let place = Place::new();
    std::fs::create_dir(place.path("logs")).unwrap();
    std::fs::set_permissions(place.path("logs"), PermissionsExt::from_mode(0o700)).unwrap();
    let line = "user = \"nobody\"\naccess_log = { file = \"logs/a\", format = \"json\" }";
    let master = Master::start(&place, &Web::new().workers(1).master(line).text());
    let pid = master.ready_pids("web")[0];
    assert_ne!(procs::status_line(pid, "Uid").unwrap().split('\t').next(), Some("0"));
    get(&master.address(), "/?one").unwrap();
    wait_until("it is written", SOON, || place.read("logs/a").contains("/?one"));
    std::fs::rename(place.path("logs/a"), place.path("logs/b")).unwrap();
    master.cli(&["reopen"]).expect(0);
    wait_until("the worker has the new file", SOON, || {
        procs::descriptors(pid).iter().any(|(_, t)| t.ends_with("logs/a"))
    });
    get(&master.address(), "/?two").unwrap();
    wait_until("it goes on", SOON, || place.read("logs/a").contains("/?two"));
    assert!(!place.read("logs/b").contains("/?two"));
    let mode = std::fs::metadata(place.path("logs/a")).unwrap().permissions().mode();
    assert_eq!(mode & 0o137, 0, "0640 at most");
    master.finish();
}
