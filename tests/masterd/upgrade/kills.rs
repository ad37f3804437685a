//! Processes killed in the middle of an upgrade: the candidate, old workers, new workers, the image.

use super::{crew, goes_on, goes_well, start};
use crate::harness::{Conn, Load, Master, Place, Running, SOON, Signal, Web, install, wait_until};
use crate::meddle::{children, end, send};
use masterd::wire::status::Status;
use std::time::Duration;

const WATCHED: &str = "rollout = { step = \"all\", soak = \"60s\" }";

/// The candidate that `masterd upgrade` waits for, at work and not to end by itself.
#[track_caller]
fn candidate(place: &Place, master: &Master) -> (Running, i32) {
    let workers = crew(master);
    install(place, "masterd", &["at=candidate", "do=hang"]);
    let asked = master.begin(&["upgrade"]);
    let mut found = None;
    wait_until("the candidate is there", SOON, || {
        found = children(master.pid()).into_iter().find(|pid| !workers.contains(pid));
        found.is_some_and(|pid| crate::harness::procs::title(pid).contains("candidate"))
    });
    (asked, found.expect("a candidate"))
}

/// An upgrade whose new generation is ready and watched; its workers' pids.
#[track_caller]
fn on_trial(place: &Place, master: &Master) -> (Running, Vec<i32>) {
    install(place, "masterd", &["version=0.2.0"]);
    let old = master.status().generation;
    let asked = master.begin(&["upgrade"]);
    let new = |s: &Status| -> Vec<i32> {
        let workers = s.services[0].workers.iter();
        workers.filter(|w| w.generation > old && w.state == "ready").map(|w| w.pid).collect()
    };
    let status = master.wait_status("the new generation is ready", SOON, |s| {
        let wanted = s.services[0].workers_wanted as usize;
        s.state == "upgrading" && s.version == "0.1.0" && new(s).len() == wanted
    });
    (asked, new(&status))
}

#[test]
fn a_killed_candidate_fails_the_upgrade_only() {
    let place = Place::new();
    let master = start(&place, &Web::new());
    master.expect_error("upgrade failed");
    let load = Load::start(&master.address());
    let (before, old) = (master.status(), crew(&master));
    let (asked, pid) = candidate(&place, &master);
    send(pid, Signal::SIGKILL);
    let said = asked.finish().expect(1);
    assert!(said.stderr.contains("was killed by SIGKILL before it had proved itself"), "{said:?}");
    goes_on(&master, &before, &old);
    goes_well(&place, &master, "0.2.0");
    load.wait_answers(20);
    load.stop().assert_nothing_lost();
    end(master);
}

#[test]
fn an_old_worker_that_is_killed_beside_the_candidate_is_replaced() {
    let place = Place::new();
    let master = start(&place, &Web::new());
    for words in ["upgrade failed", "worker died"] {
        master.expect_error(words);
    }
    let (asked, pid) = candidate(&place, &master);
    let victim = master.ready_pids("web")[0];
    send(victim, Signal::SIGKILL);
    let status = master.wait_status("it is replaced", SOON, |s| {
        s.services[0].workers_ready == 2 && s.services[0].workers.iter().all(|w| w.pid != victim)
    });
    assert_eq!((status.state.as_str(), status.services[0].totals.deaths), ("upgrading", 1));
    send(pid, Signal::SIGKILL);
    asked.finish().expect(1);
    assert_eq!(crew(&master).len(), 2);
    assert_eq!(goes_well(&place, &master, "0.2.0").services[0].totals.deaths, 1);
    end(master);
}

/// Connections that have asked once and are left idle, spread over all workers.
#[track_caller]
fn thirty_idle(master: &Master) -> Vec<Conn> {
    let address = master.address();
    let mut kept: Vec<Conn> = (0..30).map(|_| Conn::open(&address).unwrap()).collect();
    kept.iter_mut().for_each(|conn| assert_eq!(conn.get("/").unwrap().status, 200));
    master.wait_status("all are counted", SOON, |s| s.services[0].totals.requests == 30);
    kept
}

#[test]
fn an_old_worker_that_is_killed_on_trial_is_replaced_and_counted_once() {
    let place = Place::new();
    let master = start(&place, &Web::new().master("rollout = { step = \"all\", soak = \"2s\" }"));
    master.expect_error("worker died");
    let kept = thirty_idle(&master);
    let victim = master.ready_pids("web")[0];
    let (asked, _) = on_trial(&place, &master);
    send(victim, Signal::SIGKILL);
    let books = |s: &Status| {
        let totals = &s.services[0].totals;
        (totals.accepted, totals.requests, totals.deaths)
    };
    master.wait_status("its death is counted", SOON, |s| s.services[0].totals.deaths == 1);
    asked.finish().expect(0);
    drop(kept);
    let status = master.wait_generation(2);
    assert_eq!((books(&status), status.version.as_str()), ((30, 30, 1), "0.2.0"));
    end(master);
}

#[test]
fn a_new_worker_that_is_killed_while_it_is_watched_loses_the_upgrade() {
    let place = Place::new();
    let master = start(&place, &Web::new().master(WATCHED));
    for words in ["upgrade failed", "does not come up", "worker died"] {
        master.expect_error(words);
    }
    let kept = thirty_idle(&master);
    let (before, old) = (master.status(), crew(&master));
    for round in 1..=2 {
        let (asked, new) = on_trial(&place, &master);
        send(new[round - 1], Signal::SIGKILL);
        let said = asked.finish().expect(1);
        assert!(said.stderr.contains("ended before the verdict: was killed by SIGKILL"), "{said:?}");
        goes_on(&master, &before, &old);
        let totals = master.status().services[0].totals.clone();
        assert_eq!((totals.accepted, totals.requests, totals.deaths), (30, 30, round as u64));
    }
    drop(kept);
    end(master);
}

/// The image crashes at any moment around a death: what the dead worker counted is counted once.
#[test]
fn a_death_and_a_crash_at_the_same_time_count_nothing_twice() {
    let place = Place::new();
    let restart = "restart = { backoff_min = \"5ms\", backoff_max = \"5ms\" }";
    let master = start(&place, &Web::new().workers(1).service(restart).master(WATCHED));
    for words in ["upgrade failed", "worker died"] {
        master.expect_error(words);
    }
    let address = master.address();
    let mut asked_for = 0;
    for round in 0..12 {
        for _ in 0..10 {
            assert_eq!(crate::harness::get(&address, "/").unwrap().status, 200);
        }
        asked_for += 10;
        let counted = |s: &Status| s.services[0].totals.requests == asked_for;
        master.wait_status("all are counted", SOON, counted);
        let victims = master.ready_pids("web");
        let (asked, _) = on_trial(&place, &master);
        victims.iter().for_each(|pid| send(*pid, Signal::SIGKILL));
        // Where in the death the crash comes is what the rounds differ in.
        std::thread::sleep(Duration::from_micros(round * 150));
        master.signal(Signal::SIGABRT);
        let said = asked.finish().expect(1);
        assert!(said.stderr.contains("the new binary crashed (SIGABRT)"), "{said:?}");
        let status = master.wait_status("an old one serves again", SOON, |s| {
            let workers = &s.services[0].workers;
            s.state == "running" && workers.len() == 1 && workers.iter().all(|w| w.state == "ready")
        });
        let totals = &status.services[0].totals;
        assert_eq!((totals.requests, totals.accepted), (asked_for, asked_for), "round {round}");
        assert_eq!((status.version.as_str(), status.generation), ("0.1.0", 1));
    }
    end(master);
}

#[test]
fn whoever_asked_may_go_and_the_upgrade_goes_on() {
    let place = Place::new();
    let master = start(&place, &Web::new().master("rollout = { step = \"all\", soak = \"700ms\" }"));
    let (asked, _) = on_trial(&place, &master);
    send(asked.pid(), Signal::SIGKILL);
    assert_eq!(asked.finish().code, -(Signal::SIGKILL as i32));
    let status = master.wait_generation(2);
    assert!(status.version == "0.2.0" && status.last_upgrade.is_some_and(|u| u.ok));
    end(master);
}

/// The candidate, and workers of both generations.
#[test]
fn nobody_outlives_a_master_that_is_killed_in_the_middle() {
    for trial in [false, true] {
        let place = Place::new();
        let master = start(&place, &Web::new().master(WATCHED));
        let asked = match trial {
            true => on_trial(&place, &master).0,
            false => candidate(&place, &master).0,
        };
        master.kill();
        let said = asked.finish();
        assert!(said.code != 0 && said.stderr.contains("went away"), "{said:?}");
        master.finish();
    }
}
