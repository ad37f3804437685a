//! Configs that can't be used: everything stays as it was, and whoever asked learns why.

use crate::harness::{Launch, Load, Master, Place, SOON, Signal, Web, came_true, get, is_root, wait_until};
use crate::meddle::{children, end, status_at};
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

/// What a failed reload must look like from everywhere; the sentence.
#[track_caller]
fn refused(place: &Place, master: &Master, words: &[&str]) -> String {
    let before = master.status();
    let pids = master.ready_pids("web");
    let said = master.cli(&["reload"]).expect(1);
    let last_line = said.stderr.trim_end().to_owned();
    for word in words {
        assert!(last_line.contains(word), "no {word:?} in {last_line:?}");
    }
    assert!(
        last_line.contains(&format!("generation {} serves on", before.generation)),
        "it says what goes on: {last_line}"
    );
    assert_eq!(said.stdout, "");
    let after = master.status();
    assert_eq!(after.generation, before.generation);
    assert_eq!(master.ready_pids("web"), pids, "nobody was replaced");
    assert_eq!(after.services.len(), before.services.len());
    let last = after.last_reload.expect("it was tried");
    assert!(!last.ok && last.generation > before.generation, "{last:?}");
    let error = last.error.expect("a reason");
    assert!(words.iter().all(|word| last_line.contains(word) || error.contains(word)), "{error}");
    assert!(last_line.contains(error.lines().next().unwrap()), "the same reason: {error} / {last_line}");
    assert!(place.read("stderr").contains("reload failed"), "and in the log");
    error
}

#[test]
fn a_config_that_is_none_changes_nothing() {
    let place = Place::new();
    let good = Web::new().text();
    let master = Master::start(&place, &good);
    master.expect_error("reload failed");
    let load = Load::start(&master.address());
    let path = place.path("masterd.toml");
    place.config(&format!("{good}\n}}\n"));
    refused(&place, &master, &["masterd.toml:", "not usable"]);
    place.config(&good.replace("workers = 2", "wokers = 2"));
    refused(&place, &master, &["wokers", "did you mean", "workers"]);
    place.config("");
    refused(&place, &master, &["service"]);
    fs::remove_file(&path).unwrap();
    refused(&place, &master, &["masterd.toml", "No such file"]);
    fs::create_dir(&path).unwrap();
    refused(&place, &master, &["masterd.toml", "director"]);
    fs::remove_dir(&path).unwrap();
    fs::write(&path, [good.as_bytes(), &[0; 4096]].concat()).unwrap();
    refused(&place, &master, &["masterd.toml"]);
    fs::write(&path, [good.as_bytes(), b"\xff\xfe"].concat()).unwrap();
    refused(&place, &master, &["masterd.toml", "UTF-8"]);
    place.config(&good);
    master.cli(&["reload"]).expect(0);
    assert!(master.status().last_reload.is_some_and(|r| r.ok && r.error.is_none()));
    load.wait_answers(50);
    let report = load.stop();
    report.assert_nothing_lost();
    assert_eq!(report.closed_idle, 0);
    end(master);
}

#[test]
fn a_hundred_megabytes_are_refused_and_not_kept() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().text());
    master.expect_error("reload failed");
    let load = Load::start(&master.address());
    let memory = || crate::harness::procs::status_line(master.pid(), "VmRSS").unwrap();
    let kilobytes = |text: String| text.split_whitespace().next().unwrap().parse::<u64>().unwrap();
    let before = kilobytes(memory());
    let line = format!("# {}\n", "x".repeat(1021));
    // It would be a good one, if it were not so large.
    fs::write(place.path("masterd.toml"), Web::new().text() + &line.repeat(100 << 10)).unwrap();
    refused(&place, &master, &["masterd.toml", "larger than 1 MiB"]);
    let after = kilobytes(memory());
    assert!(after < before + 4096, "the master grew from {before} to {after} kB");
    load.stop().assert_nothing_lost();
    place.config(&Web::new().text());
    end(master);
}

#[test]
fn a_fifo_is_waited_for_by_nobody_but_the_asker() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().text());
    master.expect_error("reload failed");
    let load = Load::start(&master.address());
    let path = place.path("masterd.toml");
    fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
    let mut asked = master.begin(&["reload"]);
    wait_until("the reload is under way or over", SOON, || {
        asked.ended() || master.status().state == "reloading"
    });
    let mut slowest = Duration::ZERO;
    let begun = Instant::now();
    while !asked.ended() && begun.elapsed() < SOON {
        let looked = Instant::now();
        status_at(&place.socket()).unwrap();
        slowest = slowest.max(looked.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
    // A master that opened the FIFO itself would wait for a writer: for ever.
    assert!(slowest < Duration::from_secs(5), "status took {slowest:?}");
    let said = asked.finish().expect(1);
    assert!(said.stderr.contains("masterd.toml") && said.stderr.contains("FIFO"), "{said:?}");
    assert!(said.stderr.contains("generation 1 serves on"), "{said:?}");
    fs::remove_file(&path).unwrap();
    place.config(&Web::new().text());
    master.cli(&["reload"]).expect(0);
    wait_until("only workers are children", SOON, || children(master.pid()).len() == 2);
    load.stop().assert_nothing_lost();
    end(master);
}

#[test]
fn a_config_that_may_not_be_read_is_refused_by_its_path() {
    const NOBODY: u32 = 65534;
    let place = Place::new();
    place.config(&Web::new().text());
    let path = place.path("masterd.toml");
    let mut launch = Launch::new(&place);
    if is_root() {
        chown(place.dir(), Some(NOBODY), Some(NOBODY)).unwrap();
        launch = launch.with(|command| {
            command.uid(NOBODY).gid(NOBODY);
        });
    }
    let master = launch.start();
    master.expect_error("reload failed");
    let load = Load::start(&master.address());
    fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
    refused(&place, &master, &["masterd.toml", "ermission denied"]);
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    master.cli(&["reload"]).expect(0);
    load.stop().assert_nothing_lost();
    end(master);
}

#[test]
fn an_address_in_use_refuses_all_of_it() {
    let place = Place::new();
    let first = "{ address = \"127.0.0.1:0\", name = \"first\" }";
    let second = "{ address = \"127.0.0.2:0\", name = \"second\" }";
    let master = Master::start(&place, &Web::new().listen_raw(&[first]).text());
    master.expect_error("reload failed");
    let load = Load::start(&master.address_of("first"));
    let busy = TcpListener::bind("127.0.0.3:0").unwrap();
    let taken = busy.local_addr().unwrap();
    let file = "{ address = \"unix:w.sock\", name = \"file\" }";
    let sockets = || {
        let all = crate::harness::procs::descriptors(master.pid()).into_iter();
        all.filter(|(_, what)| what.starts_with("socket:")).collect::<Vec<_>>()
    };
    let before = sockets();
    // Good ones before and after the one that can't be had: none of them stays.
    let all = [first, second, file, &format!("\"{taken}\""), "\"127.0.0.4:0\""];
    place.config(&Web::new().mark("b").workers(5).listen_raw(&all).text());
    let why = refused(&place, &master, &[&taken.to_string(), "in use"]);
    assert!(why.contains("service web"), "{why}");
    assert!(!place.path("w.sock").exists(), "bound for nothing, and taken away");
    let closed = came_true(SOON, || sockets().len() <= before.len());
    assert!(closed, "something of it is bound still: {before:?} {:?}", sockets());
    assert_eq!(master.service("web").listeners.len(), 1);
    drop(busy);
    master.cli(&["reload"]).expect(0);
    assert_eq!(master.service("web").listeners.len(), 5);
    assert_eq!(get(&taken.to_string(), "/").unwrap().field("mark"), Some("b"));
    load.wait_answers(20);
    let report = load.stop();
    report.assert_nothing_lost();
    assert_eq!(report.closed_idle, 0);
    end(master);
}

#[test]
fn what_fails_is_mended_ten_times_over() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().mark("0").text());
    master.expect_error("reload failed");
    let load = Load::start(&master.address());
    for n in 1..=10 {
        let mark = n.to_string();
        place.config("[master\n");
        master.signal(Signal::SIGHUP);
        master.wait_status("the bad config is refused", SOON, |s| {
            s.state == "running" && s.last_reload.as_ref().is_some_and(|r| !r.ok && r.generation == 2 * n)
        });
        place.config(&Web::new().mark(&mark).text());
        master.signal(Signal::SIGHUP);
        let status = master
            .wait_status("the good one serves", SOON, |s| s.state == "running" && s.generation == 2 * n + 1);
        assert!(status.last_reload.is_some_and(|r| r.ok && r.generation == 2 * n + 1));
        let answer = get(&master.address(), "/").unwrap();
        assert_eq!((answer.field("mark"), answer.number("gen")), (Some(mark.as_str()), 2 * n as i64 + 1));
    }
    load.wait_answers(50);
    let report = load.stop();
    report.assert_nothing_lost();
    assert_eq!(report.closed_idle, 0);
    master.wait_generation(21);
    end(master);
}

#[test]
fn a_generation_that_finds_no_descriptors_is_refused() {
    let place = Place::new();
    place.config(&Web::new().text());
    let script = "ulimit -n 128; exec \"$@\"";
    let master = Launch::through(&place, &["sh", "-c", script, "sh"]).start();
    master.expect_error("reload failed");
    let load = Load::start(&master.address());
    place.config(&Web::new().workers(200).text());
    refused(&place, &master, &["descriptors", "128", "ulimit -n"]);
    load.stop().assert_nothing_lost();
    end(master);
}
