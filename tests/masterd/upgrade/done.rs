//! An upgrade that goes well: what changes, and what does not.

use super::{goes_well, start};
use crate::harness::{Conn, Load, Place, SOON, Signal, Web, holds_for, install};
use crate::meddle::{children, end};
use std::time::Duration;

#[test]
fn the_binary_is_replaced_under_load_and_nothing_is_lost() {
    let place = Place::new();
    let master = start(&place, &Web::new().workers(2).slow("300ms"));
    let load = Load::start(&master.address());
    load.wait_answers(50);
    install(&place, "masterd", &["version=0.2.0"]);
    let said = master.cli(&["upgrade", "--drained"]).expect(0);
    assert!(said.stdout.contains("generation 2 serves, the old one is gone"), "{said:?}");
    load.wait_answers(50);
    let report = load.stop();
    report.assert_nothing_lost();
    assert!(report.generations.contains(&1) && report.generations.contains(&2), "{report:?}");
    let status = master.wait_generation(2);
    let last = status.last_upgrade.expect("it is remembered");
    assert!(last.ok && last.version.as_deref() == Some("0.2.0") && last.error.is_none(), "{last:?}");
    assert_eq!((status.version.as_str(), status.pid), ("0.2.0", master.pid()));
    end(master);
}

#[test]
fn usr2_does_it_too() {
    let place = Place::new();
    let master = start(&place, &Web::new());
    install(&place, "masterd", &["version=0.2.0"]);
    master.signal(Signal::SIGUSR2);
    let status = master.wait_generation(2);
    assert_eq!(status.version, "0.2.0");
    end(master);
}

/// The timer against a standstill is put off for as long as the new image is alive.
#[test]
fn a_trial_may_last_longer_than_a_standstill() {
    let place = Place::new();
    let master = start(&place, &Web::new().master("rollout = { step = \"all\", soak = \"6s\" }"));
    goes_well(&place, &master, "0.2.0");
    end(master);
}

/// Nothing is left of it afterwards either.
#[test]
fn an_upgrade_that_is_done_is_not_taken_back() {
    let place = Place::new();
    let master = start(&place, &Web::new());
    let before = goes_well(&place, &master, "0.2.0");
    holds_for("the new binary goes on", Duration::from_millis(5500), || {
        std::thread::sleep(Duration::from_millis(50));
        let status = master.status();
        (status.version.as_str(), status.generation) == ("0.2.0", before.generation)
    });
    end(master);
}

#[test]
fn an_upgrade_waits_until_there_is_room_for_one_more_generation() {
    let place = Place::new();
    let master = start(&place, &Web::new().slow("1500ms").master("max_draining_generations = 1"));
    let mut slow = Conn::open(&master.address()).unwrap();
    slow.ask("/slow").unwrap();
    master.wait_status("it is in flight", SOON, |s| s.services[0].workers.iter().any(|w| w.in_flight == 1));
    master.cli(&["reload"]).expect(0);
    install(&place, "masterd", &["version=0.2.0"]);
    let asked = master.begin(&["upgrade"]);
    let status = master.wait_status("it is heard of", SOON, |s| s.state == "upgrading");
    let workers = status.services[0].workers.len();
    assert!(status.version == "0.1.0" && workers > 2, "the first generation drains: {status:#?}");
    assert_eq!(children(master.pid()).len(), workers, "no candidate yet");
    assert_eq!(slow.receive().unwrap().status, 200);
    drop(slow);
    asked.finish().expect(0);
    assert_eq!(master.wait_generation(3).version, "0.2.0");
    end(master);
}
