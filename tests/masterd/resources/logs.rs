//! A log that can't be written is waited for by nobody; what is lost is counted; rotation loses nothing.

use super::super::harness::*;
use super::super::tools::*;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A small file system of its own, gone at the end.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path) -> Option<Disk> {
        std::fs::create_dir(at).expect("make a folder");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k,mode=755", "tmpfs"]).arg(at).status();
        mounted.is_ok_and(|status| status.success()).then(|| Disk(at.to_owned()))
    }

    /// Takes every block that is left.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = File::create(&path).expect("make a file");
        for size in [4096, 1] {
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Reloads, and sends signals that only make it talk, until lines are dropped; the master answers quickly all the while.
#[track_caller]
fn until_lines_drop(master: &Master, place: &Place) {
    let begun = Instant::now();
    let mut times = Vec::new();
    loop {
        master.signal(Signal::SIGHUP);
        for _ in 0..10 {
            master.signal(Signal::SIGUSR2);
            let (status, took) = timed_status(&place.socket()).expect("it answers");
            times.push(took);
            if status.log_lines_dropped > 0 {
                times.sort();
                let at = times.len() * 9 / 10;
                // The machine is shared; a write that waits for the reader would do so for ever.
                assert!(times[at] < Duration::from_secs(1), "{:?}", times[at]);
                return;
            }
        }
        assert!(begun.elapsed() < SOON * 6, "no line was dropped");
    }
}

/// Many lines for each reload.
fn talkative(log: &str) -> Web {
    Web::new().workers(4).master(log)
}

#[test]
fn a_full_disk_costs_log_lines_and_nothing_else() {
    if not_root() {
        return;
    }
    let place = Place::new();
    let Some(disk) = Disk::mount(&place.path("disk")) else { return skip("a mount of tmpfs") };
    let web = talkative("log = { level = \"debug\", file = \"disk/m.log\" }");
    let master = Master::start(&place, &web.text());
    let load = Load::with(&master.address(), Mix { fresh: 1, kept: 1, ..Mix::none() });
    let filler = disk.fill();
    until_lines_drop(&master, &place);
    master
        .wait_status("reloads are over", SOON, |s| s.state == "running" && s.services[0].workers.len() == 4);
    load.stop().assert_nothing_lost();
    let dropped = master.status().log_lines_dropped;
    let share = cpu_share(master.pid(), Duration::from_secs(1));
    assert!(share < 0.05, "{:.1} % of a CPU", share * 100.0);
    assert!(master.status().log_lines_dropped >= dropped, "never fewer");
    // Space returns, more than the ring needs: what was kept comes out, and how much is missing.
    std::fs::remove_file(&filler).unwrap();
    let grown = Command::new("mount").args(["-o", "remount,size=4m"]).arg(&disk.0).status();
    assert!(grown.is_ok_and(|status| status.success()));
    let log = || std::fs::read_to_string(disk.0.join("m.log")).unwrap_or_default();
    wait_until("the gap is told", SOON, || log().contains("log lines were dropped"));
    let generation = master.status().generation + 1;
    master.cli(&["reload", "--drained"]).expect(0);
    wait_until("it goes on", SOON, || log().contains(&format!("generation {generation} serves")));
    for line in log().lines() {
        assert!(line.starts_with("20") && line.contains("Z "), "torn: {line:?}");
    }
    master.finish();
}

#[test]
fn a_reader_that_stalls_and_then_dies_blocks_nobody() {
    let place = Place::new();
    nix::unistd::mkfifo(&place.path("pipe"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let reader = File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(place.path("pipe"));
    let mut reader = reader.unwrap();
    place.config(&talkative("log = { level = \"debug\" }").text());
    let master = Launch::through(&place, &["sh", "-c", "exec \"$@\" 2>pipe", "sh"]).start();
    let load = Load::with(&master.address(), Mix { fresh: 1, kept: 2, ..Mix::none() });
    until_lines_drop(&master, &place);
    // The reader takes something, then goes for good.
    let mut some = vec![0; 16 << 10];
    assert!(reader.read(&mut some).unwrap() > 0);
    assert!(String::from_utf8_lossy(&some).contains("generation 1 serves"));
    drop(reader);
    master.cli(&["reload", "--drained"]).expect(0);
    let pids = master.ready_pids("web");
    let report = load.stop();
    report.assert_nothing_lost();
    // A worker that waits for the reader is late for ever, which is a loss.
    assert!(report.slowest < Duration::from_secs(5), "{:?}", report.slowest);
    let share = cpu_share(master.pid(), Duration::from_millis(500));
    assert!(share < 0.05, "{:.1} % of a CPU", share * 100.0);
    assert_eq!(master.ready_pids("web"), pids);
    assert_eq!(master.service("web").totals.deaths, 0, "nobody dies of SIGPIPE");
    // Somebody reads again.
    let again = File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(place.path("pipe"));
    let mut again = again.unwrap();
    let mut text = Vec::new();
    wait_until("it tells what was missed", SOON, || {
        let mut chunk = [0; 1 << 16];
        while let Ok(n @ 1..) = again.read(&mut chunk) {
            text.extend_from_slice(&chunk[..n]);
        }
        String::from_utf8_lossy(&text).contains("log lines were dropped")
    });
    master.finish();
}

#[test]
fn fifty_rotations_under_load_lose_nothing() {
    let place = Place::new();
    let web = Web::new().workers(2).master("log = { file = \"m.log\" }");
    let master = Master::start(&place, &web.text());
    let held = at_rest(master.pid());
    let load = Load::with(&master.address(), Mix { fresh: 1, kept: 1, ..Mix::none() });
    for round in 0..50 {
        std::fs::rename(place.path("m.log"), place.path(&format!("old.{round}"))).unwrap();
        if round % 2 == 0 {
            master.signal(Signal::SIGUSR1);
        } else {
            master.cli(&["reopen"]).expect(0);
        }
        wait_until("there is a log again", SOON, || place.path("m.log").exists());
        if round % 10 == 0 {
            master.cli(&["reload"]).expect(0);
        }
    }
    load.stop().assert_nothing_lost();
    master.wait_status("reloads are over", SOON, |s| s.services[0].workers.len() == 2);
    let now = place.path("m.log").to_str().unwrap().to_owned();
    for pid in [vec![master.pid()], master.ready_pids("web")].concat() {
        wait_until("all write to the new file", SOON, || {
            let logs: Vec<String> = procs::descriptors(pid).into_iter().map(|(_, t)| t).collect();
            logs.contains(&now) && !logs.iter().any(|t| t.contains("old."))
        });
    }
    assert_eq!(at_rest(master.pid()), held);
    // Every line is in exactly one of the files, and whole.
    let mut serves = 0;
    for name in place.files().iter().filter(|n| n.starts_with("old.") || *n == "m.log") {
        let text = place.read(name);
        assert!(text.is_empty() || text.ends_with('\n'), "torn: {name}");
        assert!(text.lines().all(|line| line.starts_with("20")), "{name}: {text}");
        serves += text.matches(" serves event=").count();
    }
    assert_eq!(serves, 6, "the start and five reloads, each told once");
    master.finish();
}
