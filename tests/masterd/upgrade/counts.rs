//! Counters, gauges and sizes of pools through upgrades that go well, and through those that do not.

use super::{comes_to_nothing, crew, goes_well, start};
use crate::harness::{Conn, Load, Place, SOON, Signal, Web, get, install};
use crate::meddle::{Sampler, end, send};
use masterd::wire::status::{Status, Worker};

/// Nothing is open any more.
#[track_caller]
fn quiet(master: &crate::harness::Master) -> Status {
    let rest = |w: &Worker| w.active.total() == 0 && w.in_flight == 0 && w.idle == 0;
    master.wait_status("all is quiet", SOON, |s| {
        s.state == "running" && s.services.iter().flat_map(|s| &s.workers).all(rest)
    })
}

#[test]
fn every_request_is_counted_once_and_no_counter_runs_backwards() {
    let place = Place::new();
    let web = Web::new().master("rollout = { step = \"all\", soak = \"500ms\" }");
    let master = start(&place, &web);
    for words in ["upgrade failed", "does not come up", "panic", "worker died"] {
        master.expect_error(words);
    }
    let (load, sampler) = (Load::start(&master.address()), Sampler::start(place.socket()));
    let bad = |words: &[&str], why: &str| {
        install(&place, "masterd", words);
        comes_to_nothing(&master, &[], &[why]);
        load.wait_answers(20);
    };
    goes_well(&place, &master, "0.2.0");
    load.wait_answers(20);
    bad(&["at=candidate", "do=exit"], "exited with status 3");
    bad(&["at=executed", "do=abort"], "crashed (SIGABRT)");
    bad(&["at=restored", "do=panic"], "panicked");
    master.cli(&["reload", "--drained"]).expect(0);
    bad(&["at=soaking", "do=abort"], "crashed (SIGABRT)");
    bad(&["at=soaking", "do=panic"], "panicked");
    bad(&["at=worker", "do=exit"], "ended before it was ready");
    goes_well(&place, &master, "0.3.0");
    master.cli(&["reload", "--drained"]).expect(0);
    load.wait_answers(20);
    let report = load.stop();
    report.assert_nothing_lost();
    let samples = sampler.finish();
    assert!(samples.count > 20 && samples.backwards.is_empty(), "{samples:?}");
    let status = quiet(&master);
    let totals = &status.services[0].totals;
    assert_eq!(totals.requests, report.answered, "{totals:?}");
    assert!(totals.accepted > 0 && totals.accepted <= totals.requests, "{totals:?}");
    assert!(totals.bytes_in > 16 * totals.requests && totals.bytes_out > 16 * totals.requests, "{totals:?}");
    assert_eq!((totals.errors, totals.cut, totals.deaths), (0, 0, 2), "two died at their start: {totals:?}");
    end(master);
}

#[test]
fn the_books_are_the_same_after_an_upgrade_and_after_a_lost_one() {
    let place = Place::new();
    let master = start(&place, &Web::new());
    for words in ["upgrade failed", "panic"] {
        master.expect_error(words);
    }
    let address = master.address();
    let mut kept: Vec<Conn> = (0..30).map(|_| Conn::open(&address).unwrap()).collect();
    for conn in &mut kept {
        assert_eq!(conn.get("/").unwrap().number("gen"), 1);
    }
    let books = |s: &Status| s.services[0].totals.clone();
    let idle = |s: &Status| s.services[0].workers.iter().map(|w| w.idle).sum::<u64>();
    let before = master.wait_status("all are idle", SOON, |s| idle(s) == 30);
    assert_eq!((books(&before).accepted, books(&before).requests), (30, 30));
    for step in ["executed", "restored"] {
        install(&place, "masterd", &[&format!("at={step}"), "do=panic"]);
        comes_to_nothing(&master, &[], &["panicked"]);
        let after = master.status();
        assert_eq!((books(&after), idle(&after)), (books(&before), 30), "{step}");
    }
    for conn in &mut kept {
        assert_eq!(conn.get("/").unwrap().number("gen"), 1, "still at home");
    }
    drop(kept);
    quiet(&master);
    let old = books(&master.status());
    goes_well(&place, &master, "0.2.0");
    let after = quiet(&master);
    assert_eq!(books(&after), old, "what the old generation counted, and nothing else");
    let fresh = |w: &Worker| (w.accepted, w.requests, w.bytes_in) == (0, 0, 0);
    assert!(after.services[0].workers.iter().all(fresh), "{after:#?}");
    assert_eq!(get(&address, "/").unwrap().number("gen"), after.generation.cast_signed());
    master.wait_status("one more", SOON, |s| books(s).requests == old.requests + 1);
    end(master);
}

/// What an operator has set holds until the next reload; an upgrade is none.
#[test]
fn a_size_set_by_hand_lives_through_an_upgrade_and_ends_at_the_next_reload() {
    let place = Place::new();
    let master = start(&place, &Web::new());
    for words in ["upgrade failed", "panic"] {
        master.expect_error(words);
    }
    let load = Load::start(&master.address());
    let size = |s: &Status| (s.services[0].workers_wanted, s.services[0].workers_ready, s.services[0].scaled);
    master.cli(&["scale", "web", "4"]).expect(0);
    install(&place, "masterd", &["at=restored", "do=panic"]);
    comes_to_nothing(&master, &[], &["panicked"]);
    assert_eq!(size(&master.status()), (4, 4, true), "after a lost one");
    assert_eq!(size(&goes_well(&place, &master, "0.2.0")), (4, 4, true), "after one that went well");
    assert_eq!(size(&goes_well(&place, &master, "0.3.0")), (4, 4, true), "and after another");
    master.signal(Signal::SIGTTIN);
    master.wait_status("one more", SOON, |s| size(s) == (5, 5, true));
    master.cli(&["reload", "--drained"]).expect(0);
    assert_eq!(size(&master.status()), (2, 2, false));
    load.wait_answers(20);
    load.stop().assert_nothing_lost();
    end(master);
}

/// A fleeting death is waited out for so long that the test would never see the end of it.
#[test]
fn a_service_that_waits_before_it_tries_again_waits_on_after_a_lost_upgrade() {
    let place = Place::new();
    let restart = "restart = { backoff_min = \"10m\", backoff_max = \"10m\" }";
    let master = start(&place, &Web::new().workers(1).service(restart));
    for words in ["upgrade failed", "worker died", "panic"] {
        master.expect_error(words);
    }
    master.cli(&["reload", "--drained"]).expect(0);
    send(master.ready_pids("web")[0], Signal::SIGKILL);
    let waits = |s: &Status| s.services[0].workers.is_empty() && s.services[0].why.is_some();
    let before = master.wait_status("it waits", SOON, waits);
    for step in ["candidate", "restored"] {
        install(&place, "masterd", &[&format!("at={step}"), "do=panic"]);
        master.cli(&["upgrade"]).expect(1);
        let after = master.wait_status("it is over", SOON, |s| s.state == "running");
        assert!(waits(&after), "{after:#?}");
        assert!(crew(&master).is_empty());
    }
    assert_eq!(before.services[0].totals.deaths, master.status().services[0].totals.deaths);
    // A new binary is a new chance.
    let after = goes_well(&place, &master, "0.2.0");
    assert_eq!((after.services[0].workers_ready, &after.services[0].why), (1, &None));
    end(master);
}
