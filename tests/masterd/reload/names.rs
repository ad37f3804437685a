//! A config that is replaced again and again: every generation is made from one whole file.

use crate::harness::{Conn, Load, Master, Mix, Place, SOON, Signal, Web};
use crate::meddle::end;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn config(letter: &str) -> String {
    // A long tail, so that half a file would be seen as half a file.
    let padding: String = (0..2000).map(|n| format!("# {letter} {n}\n")).collect();
    let x = format!("respond = {{ body = \"{letter}\" }}");
    Web::new().workers(1).mark(letter).route("/x", &x).more(&padding).text()
}

#[test]
fn a_config_replaced_two_hundred_times_is_never_mixed() {
    let place = Place::new();
    let master = Master::start(&place, &config("a"));
    let address = master.address();
    let load = Load::with(&address, Mix { fresh: 1, kept: 1, idle: 1, ..Mix::none() });
    let done = Arc::new(AtomicBool::new(false));
    let watcher = {
        let (address, done) = (address.clone(), Arc::clone(&done));
        std::thread::spawn(move || {
            let mut seen = std::collections::BTreeMap::new();
            while !done.load(Ordering::Relaxed) {
                let mut conn = Conn::open(&address).unwrap();
                // Together on the wire: one connection is one worker, and that has one config.
                conn.send(b"GET / HTTP/1.1\r\nHost: t\r\n\r\nGET /x HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
                    .unwrap();
                let first = conn.receive().unwrap();
                let second = conn.receive().unwrap();
                let mark = first.field("mark").unwrap().to_owned();
                assert_eq!(second.body, mark, "{first:?}");
                let known = seen.entry(first.number("gen")).or_insert_with(|| mark.clone());
                assert_eq!(*known, mark, "one generation, one config");
            }
            seen
        })
    };
    for n in 1..=200 {
        place.config(&config(if n % 2 == 0 { "a" } else { "b" }));
        master.signal(Signal::SIGHUP);
        std::thread::sleep(Duration::from_millis(5));
    }
    // The last HUP came after the last rename.
    let status = master.wait_status("no reload is under way", SOON, |s| s.state == "running");
    place.config(&config("b"));
    master.cli(&["reload"]).expect(0);
    assert_eq!(crate::harness::get(&address, "/").unwrap().field("mark"), Some("b"));
    done.store(true, Ordering::Relaxed);
    let seen = watcher.join().unwrap();
    assert!(seen.len() > 3, "several generations were seen: {seen:?}");
    load.stop().assert_nothing_lost();
    assert!(status.last_reload.is_some_and(|r| r.ok));
    let log = master.log();
    let sums: std::collections::BTreeSet<&str> =
        log.lines().filter_map(|l| l.split_once("checksum")).map(|(_, sum)| sum).collect();
    assert_eq!(sums.len(), 2, "two files, two checksums: {sums:?}");
    end(master);
}
