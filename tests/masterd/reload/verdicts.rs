//! New generations that do not come up: taken back, told, and nobody outside has noticed.

use crate::harness::{
    Launch, Load, Master, Mix, Place, SOON, Signal, Web, came_true, get, is_root, procs, wait_until,
};
use crate::meddle::{Midwife, children, end, is_stopped, send};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const NOBODY: u32 = 65534;

/// A master without rights, whose workers are to have a priority that only rights can give.
fn powerless(place: &Place) -> Master {
    place.config(&Web::new().text());
    let mut launch = Launch::new(place);
    if is_root() {
        chown(place.dir(), Some(NOBODY), Some(NOBODY)).unwrap();
        launch = launch.with(|command| {
            command.uid(NOBODY).gid(NOBODY);
        });
    }
    launch.start()
}

#[test]
fn workers_that_can_not_start_fail_the_reload_with_their_reason() {
    let place = Place::new();
    let master = powerless(&place);
    for words in ["reload failed", "died", "nice", "priority"] {
        master.expect_error(words);
    }
    let pids = master.ready_pids("web");
    let load = Load::start(&master.address());
    for round in 0..5 {
        place.config(&Web::new().mark("bad").service("limits = { nice = -5 }").text());
        let asked = Instant::now();
        let said = master.cli(&["reload"]).expect(1);
        // And not when it has not been ready for thirty seconds.
        assert!(asked.elapsed() < Duration::from_secs(15), "it fails at once: {:?}", asked.elapsed());
        for words in ["worker web/", "before it was ready", "ermission denied", "generation 1 serves on"] {
            assert!(said.stderr.contains(words), "no {words:?}: {said:?}");
        }
        let last = master.status().last_reload.unwrap();
        assert!(!last.ok && last.generation == 2 + round, "{last:?}");
        master.wait_status("nothing of it is left", SOON, |s| s.services[0].workers.len() == 2);
        assert_eq!(master.ready_pids("web"), pids);
        assert_eq!(get(&master.address(), "/").unwrap().field("mark"), Some("a"));
    }
    assert_eq!(master.service("web").listeners.len(), 1);
    load.wait_answers(50);
    let report = load.stop();
    report.assert_nothing_lost();
    assert_eq!(report.closed_idle, 0);
    assert_eq!(report.generations, [1].into(), "nobody of the others has answered");
    place.config(&Web::new().mark("good").text());
    master.cli(&["reload"]).expect(0);
    wait_until("every child is reaped", SOON, || procs::zombies(master.pid()).is_empty());
    end(master);
}

#[test]
fn workers_that_never_become_ready_are_given_up_after_the_timeout() {
    let place = Place::new();
    let config = Web::new().workers(8);
    let master = Master::start(&place, &config.text());
    place.config(&config.master("ready_timeout = \"400ms\"").text());
    for words in ["reload failed", "was not ready", "killed"] {
        master.expect_error(words);
    }
    let pids = master.ready_pids("web");
    let load = Load::start(&master.address());
    // The first child of a reload reads the config; the others are workers. One that is stopped too
    // late was ready: then the reload has gone well, and the next try counts.
    let mut caught = None;
    for _ in 0..20 {
        let nth = Arc::new(AtomicUsize::new(0));
        let midwife = Midwife::attend(&master, move |child| {
            if nth.fetch_add(1, Ordering::Relaxed) > 0 {
                send(child, Signal::SIGSTOP);
            }
        });
        let before = master.status().generation;
        let asked = Instant::now();
        let said = master.cli(&["reload"]);
        let took = asked.elapsed();
        // Those that were stopped when they were ready already hold connections.
        midwife.leave().into_iter().for_each(|child| send(child, Signal::SIGCONT));
        if said.code == 1 {
            caught = Some((before, said, took));
            break;
        }
        master.wait_generation(before + 1);
    }
    let (before, said, took) = caught.expect("a worker was stopped before it was ready, in one of 20 tries");
    assert!(took >= Duration::from_millis(380) && took < Duration::from_secs(15), "{took:?}");
    for words in ["worker web/", "before it was ready: it was not ready after ", "serves on"] {
        assert!(said.stderr.contains(words), "no {words:?}: {said:?}");
    }
    let status = master.wait_status("nothing of it is left", SOON, |s| {
        s.services[0].workers.len() == 8 && s.services[0].workers_ready == 8
    });
    assert_eq!(status.generation, before);
    assert!(status.last_reload.is_some_and(|r| !r.ok));
    if before == 1 {
        assert_eq!(master.ready_pids("web"), pids, "the old generation was not touched");
    }
    load.wait_answers(50);
    load.stop().assert_nothing_lost();
    assert!(came_true(SOON, || children(master.pid()).len() == 8), "no stopped child is left behind");
    end(master);
}

/// New seats have sockets of their own: until the verdict no connection may be sent to them.
#[test]
fn a_growing_generation_that_does_not_come_up_keeps_nobody_waiting() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().text());
    for words in ["reload failed", "was not ready", "killed"] {
        master.expect_error(words);
    }
    let few = Web::new().text();
    let many = Web::new().workers(16).master("ready_timeout = \"4s\"").text();
    // The first child reads the config, the next two have the seats of the old ones: they may serve as soon
    // as they are ready. If all others were ready before they were stopped, the next try counts.
    for tries in 1.. {
        assert!(tries < 20, "a worker was stopped before it was ready, in one of 20 tries");
        let before = master.status().generation;
        place.config(&many);
        let load = Load::with(&master.address(), Mix { fresh: 3, ..Mix::none() });
        let nth = Arc::new(AtomicUsize::new(0));
        let midwife = Midwife::attend(&master, move |child| {
            if nth.fetch_add(1, Ordering::Relaxed) > 2 {
                send(child, Signal::SIGSTOP);
            }
        });
        let said = master.cli(&["reload"]);
        if said.code == 1 {
            assert!(said.stderr.contains("it was not ready after "), "{said:?}");
            load.wait_answers(100);
            let report = load.stop();
            midwife.leave();
            report.assert_nothing_lost();
            assert!(report.slowest < Duration::from_secs(3), "somebody waited {:?}", report.slowest);
            master.wait_generation(before);
            break;
        }
        midwife.leave().into_iter().for_each(|child| send(child, Signal::SIGCONT));
        drop(load.stop());
        place.config(&few);
        master.cli(&["reload", "--drained"]).expect(0);
    }
    end(master);
}

#[test]
fn workers_that_die_at_once_fail_the_reload() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(8).text());
    for words in ["reload failed", "died"] {
        master.expect_error(words);
    }
    let load = Load::start(&master.address());
    let (mut failures, mut tries, mut costly) = (0, 0, 0);
    while failures < 3 {
        tries += 1;
        assert!(tries < 60, "{failures} of {tries} reloads met a killer in time");
        let (nth, settled) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&settled);
        let midwife = Midwife::attend(&master, move |child| {
            if nth.fetch_add(1, Ordering::Relaxed) > 0 {
                // One that has its title is about to be ready, or is: it may have accepted somebody.
                send(child, Signal::SIGSTOP);
                // Without a pause: the next one is on its way.
                let end = Instant::now() + SOON;
                while !is_stopped(child) && procs::runs(child) && Instant::now() < end {
                    std::thread::yield_now();
                }
                told.fetch_or(procs::title(child).starts_with("masterd: worker"), Ordering::Relaxed);
                send(child, Signal::SIGKILL);
            }
        });
        let before = master.status().generation;
        let asked = Instant::now();
        let said = master.cli(&["reload"]);
        midwife.leave();
        costly += usize::from(settled.load(Ordering::Relaxed));
        assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
        let status = master.wait_status("all seats are served", SOON, |s| {
            s.state == "running" && s.services[0].workers_ready == 8
        });
        if said.code == 1 {
            failures += 1;
            assert!(said.stderr.contains("killed by SIGKILL"), "{said:?}");
            let when = ["before it was ready", "before the verdict"];
            assert!(when.iter().any(|words| said.stderr.contains(words)), "{said:?}");
            assert!(said.stderr.contains(&format!("generation {before} serves on")), "{said:?}");
            assert_eq!(status.generation, before);
        }
    }
    // Those who were killed before they were ready had accepted nothing.
    let report = load.stop();
    assert!(report.lost.len() <= 11 * costly, "{costly} generations came that far: {:?}", report.lost);
    wait_until("every child is reaped", SOON, || procs::zombies(master.pid()).is_empty());
    end(master);
}

#[test]
fn a_killed_config_reader_fails_the_reload_only() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().text());
    for words in ["reload failed", "died"] {
        master.expect_error(words);
    }
    let load = Load::start(&master.address());
    let mut met = false;
    for _ in 0..30 {
        let nth = Arc::new(AtomicUsize::new(0));
        let midwife = Midwife::attend(&master, move |child| {
            if nth.fetch_add(1, Ordering::Relaxed) == 0 {
                send(child, Signal::SIGKILL);
            }
        });
        let said = master.cli(&["reload"]);
        midwife.leave();
        if said.code == 1 && said.stderr.contains("the reading process was killed by SIGKILL") {
            assert!(said.stderr.contains("masterd.toml") && said.stderr.contains("serves on"), "{said:?}");
            met = true;
            break;
        }
        let settled =
            |s: &masterd::wire::status::Status| s.state == "running" && s.services[0].workers_ready == 2;
        master.wait_status("all seats are served", SOON, settled);
    }
    assert!(met, "a config reader was killed while it read, in one of 30 tries");
    master.cli(&["reload"]).expect(0);
    load.wait_answers(20);
    drop(load.stop());
    end(master);
}
