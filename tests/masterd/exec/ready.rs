//! When a program counts as ready.

use super::super::harness::*;
use super::*;
use std::time::Duration;

/// Starts it, and how long its worker took to be ready.
fn time_to_ready(config: &Exec) -> Duration {
    let place = place();
    let master = Master::start(&place, &config.text());
    let log = master.log();
    let line = log.lines().find(|line| line.contains("worker is ready after")).expect("it is said");
    let (_, took) = line.split_once("after ").unwrap();
    let took = took.split_whitespace().next().unwrap();
    let number: f64 = took.trim_end_matches(|c: char| c.is_alphabetic() || c == 'µ').parse().unwrap();
    master.finish();
    Duration::from_secs_f64(if took.ends_with("ms") { number / 1000.0 } else { number })
}

#[test]
fn it_is_ready_when_it_waits_for_connections_and_not_before() {
    if no_python() {
        return;
    }
    let took = time_to_ready(&Exec::new(&["wait=0.7"]));
    assert!(took >= Duration::from_millis(700), "{took:?}");
}

#[test]
fn a_child_that_waits_is_as_good() {
    if no_python() {
        return;
    }
    let took = time_to_ready(&Exec::new(&["wait=0.5", "fork=2"]));
    assert!(took >= Duration::from_millis(500), "{took:?}");
}

#[test]
fn ready_1_is_waited_for_and_is_no_proof() {
    if no_python() {
        return;
    }
    let notify = |words: &[&str]| Exec::new(words).exec("ready = \"notify\"");
    let took = time_to_ready(&notify(&["wait=0.5", "notify=READY=1"]));
    assert!(took >= Duration::from_millis(500), "{took:?}");
    let took = time_to_ready(&notify(&["early", "wait=0.6", "notify=READY=1"]));
    assert!(took >= Duration::from_millis(600), "said too early: {took:?}");
}

#[test]
fn a_newline_and_a_delay_will_do() {
    if no_python() {
        return;
    }
    let took = time_to_ready(&Exec::new(&["wait=0.5", "newline={ready_fd}"]).exec("ready = \"fd\""));
    assert!(took >= Duration::from_millis(500), "{took:?}");
    let took = time_to_ready(&Exec::new(&["deaf"]).exec("ready = \"delay:600ms\""));
    assert!(took >= Duration::from_millis(600), "{took:?}");
}

#[test]
fn what_it_says_of_itself_is_shown() {
    if no_python() {
        return;
    }
    let place = place();
    let config = Exec::new(&["notify=RELOADING=1\\nREADY=1\\nSTATUS=warming up"]).exec("ready = \"notify\"");
    let master = Master::start(&place, &config.text());
    let why = || master.workers("app")[0].why.clone().unwrap_or_default();
    wait_until("it is shown", SOON, || why() == "it says: warming up");
    body(&master, "/notify?STATUS=at%20work");
    wait_until("it is shown anew", SOON, || why() == "it says: at work");
    master.finish();
}

#[test]
fn a_launcher_names_the_process_that_stands_for_it() {
    if no_python() {
        return;
    }
    let place = place();
    let words = ["leave", "notify=MAINPID=%CHILD%\\nREADY=1"];
    let master = Master::start(&place, &Exec::new(&words).exec("ready = \"notify\"").text());
    let main = program_of(&master);
    assert!(procs::runs(main) && body(&master, "/").contains(&format!("pid={main} ")));
    let old = main;
    master.cli(&["reload", "--drained"]).expect(0);
    assert!(!procs::runs(old));
    master.finish();
}

#[test]
fn nobody_speaks_for_another_and_no_strange_process_can_be_named() {
    if no_python() {
        return;
    }
    let place = place();
    // A child says READY=1 for it: its own word counts, and that does not come.
    let config = Exec::new(&["fork=1"]).exec("ready = \"notify\"").master("ready_timeout = \"2s\"");
    place.config(&config.text());
    let said = place.run(&["-c", "masterd.toml"]).expect(1).stderr;
    assert!(said.contains("has not said READY=1"), "{said}");
    let strange = format!("notify=MAINPID={}\\nREADY=1", std::process::id());
    let config = Exec::new(&[&strange]).exec("ready = \"notify\"").master("log = { level = \"debug\" }");
    let master = Master::start(&place, &config.text());
    master.wait_log("is none of its group");
    assert_ne!(program_of(&master).unsigned_abs(), std::process::id());
    master.finish();
}

#[test]
fn one_that_falls_silent_on_its_watchdog_is_replaced() {
    if no_python() {
        return;
    }
    let place = place();
    let config = Exec::new(&[]).exec("watchdog = \"1s\"");
    let master = Master::start(&place, &config.text());
    master.expect_error("");
    let first = program_of(&master);
    assert!(body(&master, "/env").contains("WATCHDOG_USEC=1000000"));
    wait_until("it is replaced", SOON, || master.ready_pids("app").first().is_some_and(|pid| *pid != first));
    master.wait_log("the program has not said WATCHDOG=1 for 1s");
    master.finish();
}

#[test]
fn the_watchdog_begins_when_it_is_ready() {
    if no_python() {
        return;
    }
    let place = place();
    let config = Exec::new(&["alive=0.3", "wait=1.6"]).exec("watchdog = \"1s\"");
    let master = Master::start(&place, &config.text());
    let pid = program_of(&master);
    holds_for("it lives", Duration::from_millis(1500), || procs::runs(pid));
    assert_eq!(master.service("app").totals.deaths, 0);
    master.finish();
}

#[test]
fn one_that_can_not_say_it_any_more_is_not_waited_for() {
    if no_python() {
        return;
    }
    let place = place();
    place.config(&Exec::new(&["shut={ready_fd}"]).exec("ready = \"fd\"").text());
    let begun = std::time::Instant::now();
    let said = place.run(&["-c", "masterd.toml"]).expect(1).stderr;
    assert!(said.contains("closed {ready_fd} without a newline"), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[test]
fn more_time_can_be_asked_for() {
    if no_python() {
        return;
    }
    let words = ["early", "notify=EXTEND_TIMEOUT_USEC=8000000", "wait=2"];
    let config = Exec::new(&words).exec("watchdog = \"1m\"").master("ready_timeout = \"1s\"");
    let took = time_to_ready(&config);
    assert!(took >= Duration::from_secs(2), "{took:?}");
}
