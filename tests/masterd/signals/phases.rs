//! Every signal in every phase of the master's life: it always ends either serving or properly gone.

use super::super::harness::*;
use super::in_flight;
use masterd::wire::status::Status;
use std::sync::Mutex;

const SIGNALS: [Signal; 9] = [
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
];

/// Runs `phase` once for each signal, side by side.
fn each_signal(phase: fn(Signal)) {
    // A panic of a thread is shown by it; the scope passes it on.
    std::thread::scope(|scope| {
        for signal in SIGNALS {
            scope.spawn(move || phase(signal));
        }
    });
}

/// How long a request takes that is in flight when the signal comes: for one that is to cut it, longer than
/// anybody waits.
fn slow_for(signal: Signal) -> &'static str {
    if signal == Signal::SIGINT { "60s" } else { "3s" }
}

fn ends(signal: Signal) -> bool {
    matches!(signal, Signal::SIGQUIT | Signal::SIGTERM | Signal::SIGINT)
}

/// A master that goes on after `signal` comes to rest in a state that follows from it, and serves
/// (after a HUP, if it was drained).
#[track_caller]
fn comes_to_rest(master: &Master, signal: Signal) -> Status {
    let rest = |s: &Status| {
        let web = &s.services[0];
        let full =
            web.workers_ready == web.workers_wanted && web.workers.len() == web.workers_wanted as usize;
        (s.state == "running" && full) || s.state == "drained"
    };
    let status = master.wait_status(&format!("{signal} comes to rest"), SOON, rest);
    if status.state == "drained" {
        assert_eq!(signal, Signal::SIGWINCH, "nothing else drains");
        master.signal(Signal::SIGHUP);
        master.wait_status("it is back", SOON, |s| s.state == "running" && rest(s));
    }
    assert_eq!(get(&master.address(), "/").expect("it serves").status, 200, "after {signal}");
    status
}

#[test]
fn while_it_starts() {
    each_signal(|signal| {
        let place = Place::new();
        place.config(&Web::new().text());
        let master = Launch::new(&place).spawn();
        // From here on it listens to signals, if only later; before, they do what they do to anybody.
        wait_until("signals are blocked", SOON, || {
            let blocked = procs::status_line(master.pid(), "SigBlk").unwrap_or_default();
            u64::from_str_radix(&blocked, 16).is_ok_and(|mask| mask & 1 != 0)
        });
        master.signal(signal);
        if ends(signal) {
            master.wait_exit(0, SOON);
        } else {
            master.wait_running_or_drained();
            comes_to_rest(&master, signal);
        }
        master.finish();
    });
}

#[test]
fn while_it_runs() {
    each_signal(|signal| {
        let place = Place::new();
        let master = Master::start(&place, &Web::new().text());
        master.signal(signal);
        if ends(signal) {
            master.wait_exit(0, SOON);
        } else {
            master.wait_log(&format!("signal {}", &signal.as_str()[3..]));
            let status = comes_to_rest(&master, signal);
            let wanted = match signal {
                Signal::SIGTTIN => 3,
                Signal::SIGTTOU => 1,
                Signal::SIGWINCH => 0,
                _ => 2,
            };
            assert_eq!(status.services[0].workers_wanted, wanted, "{signal}");
            let next = matches!(signal, Signal::SIGHUP | Signal::SIGUSR2);
            assert_eq!(status.generation, if next { 2 } else { 1 }, "{signal}");
        }
        master.finish();
    });
}

#[test]
fn while_it_reloads() {
    each_signal(|signal| {
        let place = Place::new();
        let master = Master::start(&place, &Web::new().slow(slow_for(signal)).text());
        let mut slow = in_flight(&master, &master.address(), "/slow", 1);
        place.config(&Web::new().slow(slow_for(signal)).master("rollout = { soak = \"2s\" }").text());
        let reload = master.begin(&["reload"]);
        master.wait_status("the new generation soaks", SOON, |s| {
            s.state == "reloading" && s.services[0].workers.iter().filter(|w| w.generation == 2).count() == 2
        });
        master.signal(signal);
        let verdict = reload.finish();
        let answer = slow.receive();
        if signal == Signal::SIGINT {
            answer.expect_err("a fast stop cuts");
        } else {
            assert_eq!(answer.expect("the old generation answers").status, 200, "{signal}");
        }
        drop(slow);
        if ends(signal) {
            master.expect_error("reload failed");
            master.wait_exit(0, SOON);
            assert_eq!(verdict.code, 1, "whoever asked is told: {verdict:?}");
            assert!(verdict.stderr.contains("stopping"), "{verdict:?}");
        } else if signal == Signal::SIGWINCH {
            // Draining everybody is not what the reload was asked for: it is taken back.
            master.expect_error("reload failed");
            assert_eq!(verdict.code, 1, "{verdict:?}");
            assert!(verdict.stderr.contains("all workers are drained"), "{verdict:?}");
            comes_to_rest(&master, signal);
        } else {
            assert_eq!(verdict.code, 0, "{signal}: {verdict:?}");
            if signal == Signal::SIGHUP {
                // Remembered, and done when the first was decided.
                master.wait_generation(3);
            }
            comes_to_rest(&master, signal);
        }
        master.finish();
    });
}

#[test]
fn while_an_old_generation_drains() {
    each_signal(|signal| {
        let place = Place::new();
        let master = Master::start(&place, &Web::new().slow(slow_for(signal)).text());
        let mut slow = in_flight(&master, &master.address(), "/slow", 1);
        master.cli(&["reload"]).expect(0);
        master.wait_status("the old generation drains", SOON, |s| {
            s.services[0].workers.iter().any(|w| w.generation == 1 && w.state == "draining")
        });
        master.signal(signal);
        let answer = slow.receive();
        if signal == Signal::SIGINT {
            answer.expect_err("a fast stop cuts");
        } else {
            assert_eq!(answer.expect("the old generation answers").status, 200, "{signal}");
        }
        drop(slow);
        if ends(signal) {
            master.wait_exit(0, SOON);
        } else {
            comes_to_rest(&master, signal);
        }
        master.finish();
    });
}

#[test]
fn while_it_stops() {
    each_signal(|signal| {
        let place = Place::new();
        let master = Master::start(&place, &Web::new().slow(slow_for(signal)).text());
        let mut slow = in_flight(&master, &master.address(), "/slow", 1);
        master.signal(Signal::SIGQUIT);
        master.wait_log("stops gracefully");
        master.signal(signal);
        let answer = slow.receive();
        // INT is fast at any time; of TERM it takes a second one.
        if signal == Signal::SIGINT {
            answer.expect_err("a fast stop cuts");
        } else {
            assert_eq!(answer.expect("it goes on stopping gracefully").status, 200, "{signal}");
        }
        drop(slow);
        master.wait_exit(0, SOON);
        assert!(!master.log().contains("generation 2"), "no reload any more: {}", master.log());
        master.finish();
    });
}

#[test]
fn while_it_is_drained() {
    each_signal(|signal| {
        let place = Place::new();
        let master = Master::start(&place, &Web::new().text());
        master.signal(Signal::SIGWINCH);
        master.wait_status("drained", SOON, |s| s.state == "drained");
        master.signal(signal);
        if ends(signal) {
            master.wait_exit(0, SOON);
        } else {
            let words = format!("signal {}:", &signal.as_str()[3..]);
            let times = if signal == Signal::SIGWINCH { 2 } else { 1 };
            wait_until("it has come", SOON, || master.log().matches(&words).count() == times);
            if signal != Signal::SIGHUP {
                master.signal(Signal::SIGHUP);
            }
            comes_to_rest(&master, Signal::SIGHUP);
        }
        master.finish();
    });
}

/// Many signals of all kinds that let it live, as fast as they can be sent: nothing is lost and it
/// comes to rest with the last config.
#[test]
fn a_storm_of_signals_under_load_loses_nothing() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().master("log = { file = \"m.log\" }").text());
    let load = Load::start(&master.address());
    let kinds = [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGTTIN, Signal::SIGUSR2, Signal::SIGTTOU];
    let rounds = Mutex::new(0);
    wait_until("400 signals are sent", SOON, || {
        let mut round = rounds.lock().unwrap();
        master.signal(kinds[*round % kinds.len()]);
        *round += 1;
        *round == 400
    });
    place.config(&Web::new().mark("last").workers(3).master("log = { file = \"m.log\" }").text());
    // The reload that runs may have read the old file: the next one is asked for, and waited for.
    wait_until("a reload is let in", SOON, || master.cli(&["reload"]).code == 0);
    let rest = |s: &Status| {
        let web = &s.services[0];
        s.state == "running" && web.workers_ready == 3 && web.workers.len() == 3
    };
    master.wait_status("it comes to rest", SOON * 2, rest);
    load.wait_answers(50);
    let report = load.stop();
    report.assert_nothing_lost();
    assert_eq!(get(&master.address(), "/").unwrap().field("mark"), Some("last"));
    master.finish();
}
