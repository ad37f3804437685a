//! Upgrades again and again: nothing is lost, and nothing grows.

use super::{comes_to_nothing, crew, goes_well, start};
use crate::harness::{Load, Place, Web, install, procs};
use crate::meddle::end;
use crate::tools::{at_rest, resident};

/// Memory may come and go by as much, KiB.
const SLACK: u64 = 2048;

#[test]
fn ten_upgrades_in_a_row_lose_nothing_and_leave_nothing() {
    let place = Place::new();
    let master = start(&place, &Web::new());
    let before = (at_rest(master.pid()), resident(master.pid()));
    let load = Load::start(&master.address());
    for generation in 2..=11 {
        let after = goes_well(&place, &master, &format!("0.{generation}.0"));
        assert_eq!(after.generation, generation);
        load.wait_answers(10);
    }
    let report = load.stop();
    report.assert_nothing_lost();
    assert!(report.generations.contains(&1) && report.generations.contains(&11), "{report:?}");
    let status = master.wait_generation(11);
    assert_eq!((status.pid, status.services[0].totals.deaths), (master.pid(), 0));
    assert_eq!(crew(&master).len(), 2);
    let after = (at_rest(master.pid()), resident(master.pid()));
    assert_eq!(after.0, before.0, "the descriptors");
    assert!(after.1 <= before.1 + SLACK, "{} KiB after ten upgrades, {} before", after.1, before.1);
    end(master);
}

#[test]
fn ten_lost_upgrades_in_a_row_lose_nothing_and_leave_nothing() {
    let place = Place::new();
    let master = start(&place, &Web::new());
    master.expect_error("upgrade failed");
    let load = Load::start(&master.address());
    install(&place, "masterd", &["at=restored", "do=abort"]);
    // The first one counts as the start: this is another process image.
    let lost = || comes_to_nothing(&master, &[], &["crashed (SIGABRT)"]);
    lost();
    let before = (procs::descriptors(master.pid()).len(), resident(master.pid()), crew(&master));
    for _ in 0..10 {
        lost();
        load.wait_answers(10);
    }
    load.stop().assert_nothing_lost();
    let now = at_rest(master.pid()).iter().map(|(_, n)| n).sum::<usize>();
    assert!(
        now <= before.0,
        "{now} descriptors, {} before: {:?}",
        before.0,
        procs::descriptors(master.pid())
    );
    assert_eq!(crew(&master), before.2);
    let memory = resident(master.pid());
    assert!(memory <= before.1 + SLACK, "{memory} KiB after ten lost upgrades, {} before", before.1);
    assert_eq!(goes_well(&place, &master, "0.2.0").services[0].totals.deaths, 0);
    end(master);
}
