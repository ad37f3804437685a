//! What programs print: line by line in the log, bounded, and never waited for.

use super::super::harness::*;
use super::*;

#[test]
fn every_line_is_in_the_log_with_who_said_it() {
    if no_python() {
        return;
    }
    let place = place();
    let config =
        Exec::new(&["say=one two", "err=three"]).master("log = { format = \"json\", file = \"m.log\" }");
    let master = Master::start(&place, &config.text());
    master.wait_log("three");
    let log = master.log();
    let line = |text: &str| {
        let found = log.lines().find(|line| line.contains(text)).expect("the line");
        serde_json::from_str::<serde_json::Value>(found).expect("JSON")
    };
    assert_eq!(line("one two")["stream"], "stdout");
    let three = line("three");
    assert_eq!((&three["stream"], &three["text"]), (&"stderr".into(), &"three".into()));
    assert_eq!(three["who"], "worker app/0 gen 1");
    assert_eq!(three["pid"], program_of(&master));
    master.finish();
}

#[test]
fn a_flood_is_left_out_and_counted_and_holds_up_nobody() {
    if no_python() {
        return;
    }
    let place = place();
    let config = Exec::new(&[]).workers(2).master("log = { file = \"m.log\" }");
    let master = Master::start(&place, &config.text());
    let mut flood = Conn::open(&address(&master)).unwrap();
    flood.ask("/flood?80000000").unwrap();
    wait_until("some of it is left out", SOON * 3, || {
        master.log().contains("lines of the program's output are left out here")
    });
    master.cli(&["status"]).expect(0);
    let size = std::fs::metadata(place.path("m.log")).unwrap().len();
    assert!(size < 70_000_000, "{size} bytes of 80 MB are in the log");
    master.finish();
}

#[test]
fn output_can_go_where_masterds_own_goes() {
    if no_python() {
        return;
    }
    let place = place();
    let config = Exec::new(&["say=plainly said"]).exec("output = \"inherit\"");
    let master = Master::start(&place, &config.text());
    assert!(place.read("stdout").lines().any(|line| line == "plainly said"), "{}", place.read("stdout"));
    assert!(!master.log().contains("plainly said"));
    master.finish();
}

#[test]
fn a_log_that_is_reopened_gets_what_comes_after() {
    if no_python() {
        return;
    }
    let place = place();
    let config = Exec::new(&[]).master("log = { file = \"m.log\" }");
    let master = Master::start(&place, &config.text());
    std::fs::rename(place.path("m.log"), place.path("old.log")).unwrap();
    master.cli(&["reopen"]).expect(0);
    wait_until("the new file has its words", SOON, || {
        body(&master, "/flood?100");
        place.read("m.log").contains("the flood is over")
    });
    master.finish();
}
