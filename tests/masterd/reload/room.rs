//! The number of draining generations is bounded: a reload beyond it waits.

use crate::harness::{Conn, Load, Lost, Master, Place, SOON, Signal, Web, get, wait_until};
use crate::meddle::{end, generations};
use std::time::Duration;

/// A connection in the middle of a POST: its worker can't leave before the grace is over.
fn unfinished(address: &str) -> Conn {
    let mut conn = Conn::open(address).unwrap();
    conn.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf").unwrap();
    conn
}

#[test]
fn a_reload_beyond_the_bound_waits_for_the_oldest_to_have_had_its_grace() {
    let place = Place::new();
    // The second one to drain may take its time: only the oldest is in the way.
    let config = |grace: &str| {
        let drain = format!("drain = {{ grace = \"{grace}\" }}");
        Web::new().workers(1).master("max_draining_generations = 2").service(&drain).text()
    };
    let master = Master::start(&place, &config("4s"));
    place.config(&config("30s"));
    let address = master.address();
    let load = Load::start(&address);
    let mut held = Vec::new();
    for generation in 1..=2 {
        held.push(unfinished(&address));
        wait_until("the request is under way", SOON, || {
            master.workers("web").iter().any(|w| w.generation == generation && w.in_flight >= 1)
        });
        master.cli(&["reload"]).expect(0);
    }
    let third = master.begin(&["reload"]);
    master.wait_status("the reload is decided", SOON, |s| {
        assert!(generations(s).len() <= 4, "two drain, one serves, one comes: {s:?}");
        s.generation == 4
    });
    let waited = master.between("event=draining", "generation 4 serves");
    assert!(waited >= Duration::from_secs(4), "the oldest had its grace: {waited:?}");
    assert!(waited < Duration::from_millis(5500), "and no more than that: {waited:?}");
    let said = third.finish().expect(0);
    assert!(said.stderr.contains("2 generations still drain"), "{said:?}");
    // The oldest was cut, the next not before its own time.
    let mut conns = held.into_iter();
    let mut oldest = conns.next().unwrap();
    assert!(matches!(oldest.receive(), Err(Lost::NoAnswer | Lost::Reset(_))));
    assert_eq!(master.service("web").totals.cut, 1);
    let mut second = conns.next().unwrap();
    second.send(b"whole!").unwrap();
    assert_eq!(second.receive().unwrap().number("gen"), 2);
    load.wait_answers(20);
    load.stop().assert_nothing_lost();
    end(master);
}

#[test]
fn room_that_comes_by_itself_is_taken_at_once() {
    let place = Place::new();
    let config = Web::new().workers(1).master("max_draining_generations = 1");
    let master = Master::start(&place, &config.text());
    let address = master.address();
    let mut held = unfinished(&address);
    wait_until("the request is under way", SOON, || master.workers("web")[0].in_flight == 1);
    master.cli(&["reload"]).expect(0);
    master.signal(Signal::SIGHUP);
    master.wait_status("the next reload waits", SOON, |s| s.state == "reloading");
    assert_eq!(get(&address, "/").unwrap().number("gen"), 2);
    held.send(b"whole!").unwrap();
    let answer = held.receive().unwrap();
    assert_eq!((answer.status, answer.number("gen")), (200, 1));
    master.wait_status("it goes on", SOON, |s| s.generation == 3);
    let waited = master.between("event=draining", "generation 3 serves");
    assert!(waited < Duration::from_secs(15), "well before the end of its thirty seconds: {waited:?}");
    assert_eq!(master.service("web").totals.cut, 0);
    end(master);
}
