//! Idle connections of a generation that drains: announced, or closed with care.

use crate::harness::{Conn, Load, Master, Mix, Place, SOON, Web, holds_for, wait_until};
use crate::meddle::end;
use std::time::{Duration, Instant};

#[test]
fn announced_ones_stay_until_their_next_request() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().text());
    let address = master.address();
    let mut used: Vec<Conn> = (0..20).map(|_| Conn::open(&address).unwrap()).collect();
    for conn in &mut used {
        conn.get("/").unwrap();
    }
    let mut silent: Vec<Conn> = (0..20).map(|_| Conn::open(&address).unwrap()).collect();
    master.cli(&["reload"]).expect(0);
    holds_for("nobody is closed unasked", Duration::from_millis(1500), || {
        used.iter_mut().chain(&mut silent).all(|conn| conn.unasked().is_none())
    });
    for conn in used.iter_mut().chain(&mut silent) {
        let answer = conn.get("/").unwrap();
        assert!(answer.number("gen") == 1 && answer.closes(), "{answer:?}");
        assert!(conn.closed_within(SOON));
    }
    master.wait_generation(2);
    assert_eq!(master.service("web").totals.cut, 0);
    end(master);
}

#[test]
fn announced_ones_that_say_nothing_are_closed_before_the_deadline_and_not_cut() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().service("drain = { grace = \"2s\" }").text());
    let address = master.address();
    let mut idle: Vec<Conn> = (0..20).map(|_| Conn::open(&address).unwrap()).collect();
    for conn in &mut idle {
        conn.get("/").unwrap();
    }
    master.cli(&["reload"]).expect(0);
    for mut conn in idle {
        assert!(conn.closed_within(SOON), "closed in good order");
    }
    master.wait_generation(2);
    // From a second before the deadline on, which is from one second on; the one that has none leaves first.
    let drains = &master.stamped("  draining (replaced): ")[0];
    let took = master.stamped("  leaving: ").pop().expect("they left").since(drains);
    assert!(took >= Duration::from_millis(980) && took < Duration::from_millis(2500), "{took:?}");
    assert_eq!(master.service("web").totals.cut, 0, "an idle connection is no loss");
    end(master);
}

/// Clients that look before they send, as good clients do, lose nothing to `idle = "close"` but time:
/// the one that sends at that very moment may meet the close, and tries again on a new connection.
#[test]
fn closed_ones_are_closed_over_a_second_and_never_under_a_request() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().service("drain = { idle = \"close\" }").text());
    let address = master.address();
    let mut idle: Vec<Conn> = (0..40).map(|_| Conn::open(&address).unwrap()).collect();
    for conn in &mut idle {
        conn.get("/").unwrap();
    }
    let busy = Load::with(&address, Mix { fresh: 2, slow_post: 2, slow_answer: 3, ..Mix::none() });
    let begun = Instant::now();
    master.cli(&["reload"]).expect(0);
    let mut closed = Vec::new();
    wait_until("all are closed", SOON, || {
        idle.retain_mut(|conn| {
            let open = conn.unasked().is_none();
            if !open {
                closed.push(begun.elapsed());
            }
            open
        });
        idle.is_empty()
    });
    let (first, last) = (closed[0], closed[closed.len() - 1]);
    // Announced ones would be closed in the last of the thirty seconds of grace.
    assert!(last < Duration::from_secs(10), "{closed:?}");
    assert!(last - first >= Duration::from_millis(400), "spread over a second: {closed:?}");
    busy.wait_answers(20);
    busy.stop().assert_nothing_lost();
    master.wait_generation(2);
    assert_eq!(master.service("web").totals.cut, 0);
    end(master);
}

/// A request that is on its way while `idle = "close"` closes is answered: bytes that are there are
/// looked at before the FIN.
#[test]
fn a_closing_worker_serves_what_has_arrived() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(1).service("drain = { idle = \"close\" }").text());
    let address = master.address();
    // More than the worker hears of at one time.
    let mut conns: Vec<Conn> = (0..700).map(|_| Conn::open(&address).unwrap()).collect();
    for conn in &mut conns {
        conn.get("/").unwrap();
    }
    let old = master.ready_pids("web")[0];
    // The old worker stands still while the drain is ordered and the requests arrive: when it goes on
    // it finds both at once.
    crate::meddle::freeze(old);
    master.cli(&["reload"]).expect(0);
    for conn in &mut conns {
        conn.ask("/").unwrap();
    }
    crate::meddle::send(old, crate::harness::Signal::SIGCONT);
    for conn in &mut conns {
        let answer = conn.receive().unwrap();
        assert!(answer.number("gen") == 1 && answer.closes(), "{answer:?}");
    }
    master.wait_generation(2);
    end(master);
}
