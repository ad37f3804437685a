//! Upgrades that go wrong after the new image was executed: the old image takes over again, with the
//! same pid and workers, under load; and the next upgrade goes well.

use super::{assert_all_served, comes_to_nothing, every_listener, goes_well, load_all, start};
use crate::harness::{Conn, Load, Place, Web, free_port, install};
use crate::meddle::{Sampler, end};

/// Words of the log that belong to a lost upgrade.
const EXPECTED: [&str; 5] =
    ["upgrade failed", "does not come up", "panic", "worker died", "worker is killed"];

/// Upgrades a master under load to one bad image after the other, each an image's words and what is
/// said of it; then to a good one.
#[track_caller]
fn all_lost(touch: impl Fn(Web) -> Web, before_each: impl Fn(&Place, &Web), bad: &[(&str, &str, &[&str])]) {
    let place = Place::new();
    let kinds = every_listener(&place);
    let web = Web::new().listen_raw(&kinds.each_ref().map(String::as_str));
    let master = start(&place, &touch(web.clone()));
    EXPECTED.iter().for_each(|words| master.expect_error(words));
    let (loads, sampler) = (load_all(&master), Sampler::start(place.socket()));
    for (at, how, words) in bad {
        install(&place, "masterd", &["version=0.2.0", &format!("at={at}"), &format!("do={how}")]);
        before_each(&place, &web);
        comes_to_nothing(&master, &[], words);
        let last = master.status().last_upgrade.expect("it was tried");
        assert_eq!(last.version.as_deref(), Some("0.2.0"), "{at} {how}");
        loads.iter().for_each(|load| load.wait_answers(10));
    }
    place.config(&touch(web).text());
    goes_well(&place, &master, "0.3.0");
    assert_all_served(loads);
    let samples = sampler.finish();
    assert!(samples.count > 0 && samples.backwards.is_empty(), "{samples:?}");
    end(master);
}

#[test]
fn an_image_that_crashes_or_panics_gives_the_process_back() {
    let panicked: &[&str] = &["the new binary panicked: made to panic", "src/image.rs"];
    all_lost(
        |web| web,
        |_, _| (),
        &[
            ("executed", "abort", &["the new binary crashed (SIGABRT)"]),
            ("executed", "overflow", &["the new binary crashed (SIGSEGV)"]),
            ("executed", "panic", panicked),
            ("restored", "abort", &["the new binary crashed (SIGABRT)"]),
            ("restored", "overflow", &["the new binary crashed (SIGSEGV)"]),
            ("restored", "panic", panicked),
        ],
    );
}

#[test]
fn workers_that_do_not_come_up_give_the_process_back() {
    let patience = |place: &Place, web: &Web| {
        place.config(&web.clone().master("ready_timeout = \"1s\"").text());
    };
    all_lost(
        |web| web,
        patience,
        &[
            ("worker", "exit", &["ended before it was ready: exited with status 3"]),
            ("worker", "leave", &["ended before it was ready: exited with status 0"]),
            ("worker", "abort", &["ended before it was ready: was killed by SIGABRT"]),
            ("worker", "panic", &["ended before it was ready: exited with status"]),
            ("worker", "hang", &["it was not ready after 1"]),
        ],
    );
}

#[test]
fn an_image_that_crashes_while_it_is_watched_gives_the_process_back() {
    all_lost(
        |web| web.master("rollout = { step = \"all\", soak = \"1s\" }"),
        |_, _| (),
        &[
            ("soaking", "abort", &["the new binary crashed (SIGABRT)"]),
            ("soaking", "panic", &["the new binary panicked: made to panic"]),
            ("soaking", "overflow", &["the new binary crashed (SIGSEGV)"]),
        ],
    );
}

#[test]
fn an_image_that_stands_still_at_once_is_replaced_after_five_seconds() {
    all_lost(|web| web, |_, _| (), &[("executed", "hang", &["the new binary stood still"])]);
}

#[test]
fn an_image_that_stands_still_with_everything_in_its_hands_is_replaced() {
    all_lost(|web| web, |_, _| (), &[("restored", "hang", &["the new binary stood still"])]);
}

#[test]
fn an_image_that_stands_still_while_it_is_watched_is_replaced() {
    all_lost(
        |web| web.master("rollout = { step = \"all\", soak = \"1s\" }"),
        |_, _| (),
        &[("soaking", "hang", &["the new binary stood still"])],
    );
}

/// What only the new generation listened on is closed, and its file is gone, however the trial ended.
#[test]
fn listeners_that_were_bound_for_a_lost_upgrade_are_gone() {
    let place = Place::new();
    let (file, port) = (place.path("new.sock"), format!("127.0.0.1:{}", free_port()));
    let soak = "rollout = { step = \"all\", soak = \"1s\" }";
    let both = [format!("\"unix:{}\"", file.display()), format!("{port:?}"), "\"127.0.0.1:0\"".to_owned()];
    let wider = Web::new().listen_raw(&both.each_ref().map(String::as_str)).workers(3).master(soak);
    let master = start(&place, &Web::new().listen_raw(&["{ name = \"web\", address = \"127.0.0.1:0\" }"]));
    EXPECTED.iter().for_each(|words| master.expect_error(words));
    let loads = load_all(&master);
    for (at, how) in [("worker", "exit"), ("soaking", "abort"), ("soaking", "panic")] {
        install(&place, "masterd", &[&format!("at={at}"), &format!("do={how}")]);
        place.config(&wider.text());
        comes_to_nothing(&master, &[], &[""]);
        assert!(!file.exists(), "{at} {how}: the file of a socket is left");
        assert!(Conn::open(&port).is_err(), "{at} {how}: somebody listens on {port}");
        loads.iter().for_each(|load| load.wait_answers(20));
    }
    let after = goes_well(&place, &master, "0.2.0");
    assert_eq!((after.services[0].listeners.len(), after.services[0].workers_ready), (3, 3));
    assert!(file.exists() && Conn::open(&port).is_ok());
    assert_all_served(loads);
    end(master);
}

/// A socket file that somebody removed is made anew by whatever generation comes into force, and no other.
#[test]
fn a_socket_file_made_anew_for_a_lost_upgrade_is_gone_again() {
    let place = Place::new();
    let file = place.path("w.sock");
    let address = format!("\"unix:{}\"", file.display());
    let soak = "rollout = { step = \"all\", soak = \"1s\" }";
    let master = start(&place, &Web::new().listen_raw(&[&address]).master(soak));
    EXPECTED.iter().for_each(|words| master.expect_error(words));
    std::fs::remove_file(&file).unwrap();
    for (at, how) in [("worker", "exit"), ("soaking", "abort")] {
        install(&place, "masterd", &[&format!("at={at}"), &format!("do={how}")]);
        comes_to_nothing(&master, &[], &[""]);
        assert!(!file.exists(), "{at} {how}: the file of a lost upgrade is left");
    }
    goes_well(&place, &master, "0.2.0");
    let load = Load::start(&master.address());
    load.wait_answers(20);
    load.stop().assert_nothing_lost();
    end(master);
}

/// The old image reads what the new one has written last: an older version from a later one, and the
/// other way round.
#[test]
fn an_image_reads_the_state_that_another_version_leaves_behind() {
    let later = ["version=9.0.0", "handover=9", "readable_from=1", "unknown_key=moon"];
    let plain = ["version=0.1.1"];
    for (old, new) in [(&plain[..], &later[..]), (&later[..], &plain[..])] {
        let place = Place::new();
        place.config(&Web::new().master("rollout = { step = \"all\", soak = \"1s\" }").text());
        let master = crate::harness::Launch::of(&place, &install(&place, "masterd", old)).start();
        EXPECTED.iter().for_each(|words| master.expect_error(words));
        let load = Load::start(&master.address());
        for bad in [["at=worker", "do=exit"], ["at=soaking", "do=abort"], ["at=restored", "do=panic"]] {
            install(&place, "masterd", &[new, &bad[..]].concat());
            comes_to_nothing(&master, &[], &[""]);
        }
        install(&place, "masterd", new);
        master.cli(&["upgrade", "--drained"]).expect(0);
        assert_eq!(format!("version={}", master.status().version), new[0]);
        load.wait_answers(20);
        load.stop().assert_nothing_lost();
        end(master);
    }
}
