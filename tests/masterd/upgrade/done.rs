//! An upgrade that goes well: what changes, and what does not.

use super::start;
use crate::harness::{Load, Place, Signal, Web, install};
use crate::meddle::end;

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
