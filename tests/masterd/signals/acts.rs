//! Each signal by itself.

use super::super::harness::*;
use super::{SECOND, in_flight, wait_pool};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[test]
fn hup_reloads_the_config_as_it_is_now() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().mark("old").text());
    let address = master.address();
    assert_eq!(get(&address, "/").unwrap().field("mark"), Some("old"));
    place.config(&Web::new().mark("new").workers(3).text());
    master.signal(Signal::SIGHUP);
    let status = master.wait_generation(2);
    assert_eq!(master.address(), address, "the same address is the same socket");
    assert_eq!(get(&address, "/").unwrap().field("mark"), Some("new"));
    assert_eq!(status.services[0].workers.len(), 3);
    let last = status.last_reload.expect("it is told");
    assert!(last.ok && last.generation == 2 && last.error.is_none(), "{last:?}");
    master.finish();
}

#[test]
fn the_first_term_is_graceful_and_the_config_may_say_otherwise() {
    let place = Place::new();
    // A minute is longer than anybody here waits: who is not cut is late.
    for (line, graceful, slow) in
        [("sigterm = \"graceful\"", true, "3s"), ("sigterm = \"fast\"", false, "60s")]
    {
        let master = Master::start(&place, &Web::new().slow(slow).master(line).text());
        let mut slow = in_flight(&master, &master.address(), "/slow", 1);
        master.signal(Signal::SIGTERM);
        match (slow.receive(), graceful) {
            (Ok(answer), true) => assert!(answer.closes() && answer.status == 200, "{answer:?}"),
            (Err(Lost::NoAnswer | Lost::Reset(0)), false) => {}
            (other, _) => panic!("{line}: {other:?}"),
        }
        drop(slow);
        master.wait_exit(0, SOON);
        if !graceful {
            // Cut at once; a worker that is still there after a second is killed.
            let took = master.between("masterd stops at once", "masterd leaves");
            assert!(took < 2 * SECOND, "fast is {took:?}");
        }
        master.finish();
    }
}

/// A service manager, `kill -- -GROUP` and ^\ reach the workers too: only the master decides.
#[test]
fn a_signal_to_everybody_is_one_to_the_master() {
    for signal in [Signal::SIGTERM, Signal::SIGQUIT] {
        let place = Place::new();
        let master = Master::start(&place, &Web::new().slow("2s").text());
        let mut slow = in_flight(&master, &master.address(), "/slow", 1);
        let workers: Vec<i32> = master.status().services[0].workers.iter().map(|w| w.pid).collect();
        for pid in workers {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).expect("it lives");
        }
        master.signal(signal);
        assert_eq!(slow.receive().expect("nothing is cut").status, 200, "{signal}");
        drop(slow);
        master.wait_exit(0, SOON);
        assert!(!master.log().contains("worker died"), "{}", master.log());
        master.finish();
    }
}

#[test]
fn a_reload_changes_what_term_means() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().slow("60s").text());
    place.config(&Web::new().slow("60s").master("sigterm = \"fast\"").text());
    master.cli(&["reload", "--drained"]).expect(0);
    let slow = in_flight(&master, &master.address(), "/slow", 1);
    master.signal(Signal::SIGTERM);
    master.wait_exit(0, SOON);
    let took = master.between("masterd stops at once", "masterd leaves");
    assert!(took < 3 * SECOND, "it took {took:?}");
    drop(slow);
    master.finish();
}

/// Rotation as logrotate does it, again and again while workers come and go: every line is in
/// exactly one file, and those that were renamed grow no more.
#[test]
fn usr1_reopens_the_log_in_master_and_workers() {
    let place = Place::new();
    let web = Web::new().master("log = { file = \"m.log\", level = \"debug\" }");
    let master = Master::start(&place, &web.text());
    let rounds = 15;
    let mut closed = BTreeMap::new();
    for round in 1..=rounds {
        let old = format!("rotated-{round}.log");
        std::fs::rename(place.path("m.log"), place.path(&old)).unwrap();
        if round % 2 == 0 {
            master.signal(Signal::SIGUSR1);
        } else {
            master.cli(&["reopen"]).expect(0);
        }
        wait_until("the log is there again", SOON, || place.path("m.log").exists());
        master.cli(&["reload", "--drained"]).expect(0);
        // The workers of the old generation have said goodbye by now, to the new file.
        let log = place.read("m.log");
        assert_eq!(log.matches("leaving: ").count(), 2, "round {round}: {log}");
        assert!(log.contains(&format!("generation {} serves", round + 1)), "{log}");
        closed.insert(old.clone(), place.read(&old).len());
    }
    master.signal(Signal::SIGQUIT);
    master.wait_exit(0, SOON);
    let mut all = place.read("m.log");
    for (name, size) in closed {
        let text = place.read(&name);
        assert_eq!(text.len(), size, "{name} grew after it was closed");
        assert!(text.ends_with('\n'));
        all += &text;
    }
    for generation in 1..=rounds + 1 {
        let words = format!("generation {generation} serves event=");
        assert_eq!(all.matches(&words).count(), 1, "{words}");
        let words = format!("gen {generation}  leaving: ");
        assert_eq!(all.matches(&words).count(), 2, "{words}");
    }
    master.finish();
}

#[test]
fn a_log_that_can_not_be_reopened_is_told_and_the_old_one_goes_on() {
    let place = Place::new();
    std::fs::create_dir(place.path("logs")).unwrap();
    let master = Master::start(&place, &Web::new().master("log = { file = \"logs/it.log\" }").text());
    std::fs::rename(place.path("logs"), place.path("away")).unwrap();
    let said = master.cli(&["reopen"]).expect(1);
    assert!(said.stderr.contains("logs/it.log"), "{said:?}");
    master.signal(Signal::SIGUSR1);
    let log = || std::fs::read_to_string(place.path("away/it.log")).unwrap();
    wait_until("the old log tells of it", SOON, || log().matches("logs/it.log: No such file").count() >= 2);
    std::fs::rename(place.path("away"), place.path("logs")).unwrap();
    master.cli(&["reopen"]).expect(0);
    master.finish();
}

#[test]
fn winch_drains_and_what_comes_then_waits_for_the_return() {
    let place = Place::new();
    for back in ["HUP", "resume"] {
        let master = Master::start(&place, &Web::new().slow("3s").text());
        let address = master.address();
        let mut slow = in_flight(&master, &address, "/slow", 1);
        master.signal(Signal::SIGWINCH);
        let answer = slow.receive().expect("what is in flight is answered");
        assert!(answer.closes(), "{answer:?}");
        drop(slow);
        let drained = |s: &masterd::wire::status::Status| {
            s.state == "drained" && s.services[0].workers.is_empty() && s.services[0].workers_ready == 0
        };
        master.wait_status("all workers are gone", SOON, drained);
        let mut waiting: Vec<Conn> = (0..10).map(|_| Conn::open(&address).expect("a listener")).collect();
        waiting.iter_mut().for_each(|conn| conn.ask("/").unwrap());
        master.wait_status("the queue is shown", SOON, |s| s.services[0].listeners[0].queue == 10);
        assert!(waiting.iter_mut().all(|conn| conn.unasked().is_none()), "nobody answers, nobody refuses");
        match back {
            "HUP" => master.signal(Signal::SIGHUP),
            _ => drop(master.cli(&["resume"]).expect(0)),
        }
        for conn in &mut waiting {
            assert_eq!(conn.receive().expect("served after the return").status, 200);
        }
        drop(waiting);
        wait_pool(&master, 2);
        assert_eq!(master.status().state, "running");
        assert_eq!(get(&address, "/readyz").unwrap().status, 200);
        master.finish();
    }
}

#[test]
fn winch_waits_for_the_delay_and_a_second_one_changes_nothing() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().service("drain = { delay = \"3s\" }").text());
    let address = master.address();
    let begun = Instant::now();
    master.signal(Signal::SIGWINCH);
    wait_until("readiness fails", SOON, || get(&address, "/readyz").unwrap().status == 503);
    master.signal(Signal::SIGWINCH);
    while begun.elapsed() < Duration::from_millis(800) {
        assert_eq!(get(&address, "/").expect("still welcome").status, 200);
    }
    master.wait_status("drained", SOON, |s| s.state == "drained");
    assert!(begun.elapsed() >= 3 * SECOND);
    // A hold is no state to be stuck in: a stop ends it too.
    master.signal(Signal::SIGQUIT);
    master.wait_exit(0, SOON);
    master.finish();
}

#[test]
fn ttin_and_ttou_change_the_pool_until_the_next_reload() {
    let place = Place::new();
    for accept in ["per-worker", "shared"] {
        let listen = format!("{{ address = \"127.0.0.1:0\", accept = \"{accept}\" }}");
        let master = Master::start(&place, &Web::new().listen_raw(&[&listen]).text());
        let load = Load::start(&master.address());
        for size in [3, 4, 5] {
            master.signal(Signal::SIGTTIN);
            wait_pool(&master, size);
            load.wait_answers(30);
        }
        assert!(master.service("web").scaled);
        for size in [4, 3, 2, 1] {
            master.signal(Signal::SIGTTOU);
            wait_pool(&master, size);
            load.wait_answers(30);
        }
        master.signal(Signal::SIGTTOU);
        master.wait_log("needs a worker");
        assert_eq!(master.service("web").workers_wanted, 1, "the last one stays");
        master.signal(Signal::SIGHUP);
        master.wait_generation(2);
        let web = master.service("web");
        assert!(web.workers_wanted == 2 && !web.scaled, "as the config says: {web:?}");
        let report = load.stop();
        report.assert_nothing_lost();
        master.finish();
    }
}

#[test]
fn ttin_stays_within_bounds_and_survives_a_crash() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers("{ min = 1, max = 2 }").text());
    master.signal(Signal::SIGTTIN);
    wait_pool(&master, 2);
    master.signal(Signal::SIGTTIN);
    master.wait_log("between 1 and 2");
    assert_eq!(master.service("web").workers_wanted, 2);
    master.finish();

    let master = Master::start(&place, &Web::new().workers(1).text());
    master.signal(Signal::SIGTTIN);
    wait_pool(&master, 2);
    let pids = master.ready_pids("web");
    master.expect_error("worker died");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pids[1]), Signal::SIGKILL).unwrap();
    master.wait_status("the dead one is replaced", SOON, |s| {
        let web = &s.services[0];
        web.totals.deaths == 1 && web.workers_ready == 2 && web.workers_wanted == 2 && web.scaled
    });
    master.finish();
}

/// Signals that mean nothing to it must not end it.
#[test]
fn other_signals_change_nothing() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().text());
    let pids = master.ready_pids("web");
    let others = [Signal::SIGPIPE, Signal::SIGALRM, Signal::SIGCONT, Signal::SIGTSTP, Signal::SIGIO];
    for signal in others {
        master.signal(signal);
        for pid in &pids {
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), signal).unwrap();
        }
    }
    // Signals arrive before anything sent later is answered.
    master.cli(&["reopen"]).expect(0);
    assert_eq!(master.ready_pids("web"), pids);
    assert_eq!(get(&master.address(), "/").unwrap().status, 200);
    master.finish();
}

#[test]
fn dash_s_sends_what_it_says() {
    let place = Place::new();
    for pid_file in [true, false] {
        let web = if pid_file { Web::new() } else { Web::new().no_pid_file() };
        let master = Master::start(&place, &web.text());
        let send = |word: &str| place.run(&["-s", word, "-c", "masterd.toml"]).expect(0);
        send("reload");
        master.wait_generation(2);
        send("reopen");
        master.wait_log("signal USR1");
        send("quit");
        master.wait_exit(0, SOON);
        assert!(master.log().contains("signal QUIT"), "{}", master.log());
        master.finish();
        let master = Master::start(&place, &web.text());
        send("stop");
        master.wait_exit(0, SOON);
        master.finish();
        place.run(&["-s", "stop", "-c", "masterd.toml"]).expect(3);
    }
}
