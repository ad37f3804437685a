//! A tunnel outlives a reload: the worker that has it stays until it is over, or its grace is.

use super::super::harness::*;
use super::*;
use std::time::Instant;

#[test]
fn a_running_tunnel_goes_on_through_a_reload() {
    let place = Place::new();
    let config = Tcp::echo().service("drain = { grace = \"5m\" }").text();
    let master = Master::start(&place, &config);
    let mut old = connect(&master);
    old.send(b"one").unwrap();
    assert_eq!(old.read_exactly(3).unwrap(), b"one");
    master.cli(&["reload"]).expect(0);
    let mut new = connect(&master);
    new.send(b"two").unwrap();
    assert_eq!(new.read_exactly(3).unwrap(), b"two");
    let workers = master.workers("tcp");
    let counts: Vec<_> = workers.iter().map(|w| (w.generation, w.active.tcp)).collect();
    assert_eq!(counts, [(1, 1), (2, 1)], "{workers:?}");
    old.send(b"still here").unwrap();
    assert_eq!(old.read_exactly(10).unwrap(), b"still here");
    drop((old, new));
    let status = master.wait_generation(2);
    let totals = &status.services[0].totals;
    assert_eq!((totals.cut, totals.errors, totals.accepted), (0, 0, 2), "{totals:?}");
    end(master);
}

#[test]
fn a_tunnel_that_outstays_its_grace_is_cut_and_counted() {
    let place = Place::new();
    let config = Tcp::echo().service("drain = { grace = \"1s\", long_lived_grace = \"1s\" }").text();
    let master = Master::start(&place, &config);
    let mut conn = connect(&master);
    conn.send(b"one").unwrap();
    assert_eq!(conn.read_exactly(3).unwrap(), b"one");
    let begun = Instant::now();
    master.cli(&["reload"]).expect(0);
    assert!(conn.read_any().map_or(true, |bytes| bytes.is_empty()), "it ends, in whichever way");
    assert!((SECOND * 9 / 10..SECOND * 5).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    let status = master.wait_generation(2);
    assert_eq!(status.services[0].totals.cut, 1);
    assert!(master.log().contains("cut off 1 connections"), "{}", master.log());
    drop(conn);
    end(master);
}
