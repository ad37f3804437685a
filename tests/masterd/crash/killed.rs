//! kill -9: a crash costs the connections that the worker held, and no other.

use crate::harness::{Conn, Load, Master, Mix, Place, SOON, Signal, Web, get, procs, wait_until};
use crate::meddle::{Midwife, end, held_by, send};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A death is made good in the turn that saw it; the rest is for the machine.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Until every worker has been ready for more than a second, so that its death is no early one.
#[track_caller]
pub fn settle(master: &Master) {
    let ready = Instant::now();
    master.wait_running();
    wait_until("the workers have settled", SOON, || ready.elapsed() > Duration::from_millis(1100));
}

#[test]
fn a_killed_worker_costs_its_connections_and_is_replaced_at_once() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(4).text());
    master.expect_error("worker died");
    let load = Load::start(&master.address());
    settle(&master);
    for round in 1..=3 {
        let victim = master.ready_pids("web")[0];
        let before = load.lost();
        let held = held_by(&master, victim);
        send(victim, Signal::SIGKILL);
        master.wait_status("it is replaced", SOON, |s| {
            s.services[0].workers_ready == 4 && s.services[0].workers.iter().all(|w| w.pid != victim)
        });
        master.assert_replaced(&[victim], AT_ONCE);
        load.wait_answers(100);
        assert!(load.lost() - before <= held, "{held} were open: {} lost", load.lost() - before);
        assert_eq!(master.service("web").totals.deaths, round);
        settle(&master);
    }
    let report = load.stop();
    assert!(report.lost.iter().all(|l| !l.contains("no connection")), "{:?}", report.lost);
    end(master);
}

#[test]
fn connections_of_the_others_live_on() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(4).slow("500ms").text());
    master.expect_error("worker died");
    let address = master.address();
    let mut conns: Vec<(i64, Conn)> = (0..80)
        .map(|_| {
            let mut conn = Conn::open(&address).unwrap();
            (conn.get("/").unwrap().number("pid"), conn)
        })
        .collect();
    settle(&master);
    for (_, conn) in &mut conns {
        conn.ask("/slow").unwrap();
    }
    let victim = master.ready_pids("web")[0];
    send(victim, Signal::SIGKILL);
    let mut lost = 0;
    for (pid, conn) in &mut conns {
        match conn.receive() {
            Ok(answer) => assert_eq!(answer.number("pid"), *pid),
            Err(_) => {
                assert_eq!(*pid, i64::from(victim), "a connection of somebody else was lost");
                lost += 1;
            }
        }
    }
    assert!(lost > 0, "the victim had some of eighty connections");
    end(master);
}

#[test]
fn all_workers_killed_at_once_refuse_nobody() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(4).text());
    master.expect_error("worker died");
    let load = Load::with(&master.address(), Mix { fresh: 6, ..Mix::none() });
    settle(&master);
    let old = master.ready_pids("web");
    let held: u64 = old.iter().map(|pid| held_by(&master, *pid)).sum();
    old.iter().for_each(|pid| send(*pid, Signal::SIGKILL));
    master.wait_status("all are back", SOON, |s| {
        s.services[0].workers_ready == 4 && s.services[0].workers.iter().all(|w| !old.contains(&w.pid))
    });
    master.assert_replaced(&old, AT_ONCE);
    load.wait_answers(100);
    let report = load.stop();
    assert!(report.lost.len() as u64 <= held, "{held} were open: {:?}", report.lost);
    assert!(report.lost.iter().all(|l| !l.contains("no connection")), "{:?}", report.lost);
    assert_eq!(master.service("web").totals.deaths, 4);
    end(master);
}

#[test]
fn the_only_worker_leaves_a_small_gap() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(1).text());
    master.expect_error("worker died");
    let load = Load::with(&master.address(), Mix { fresh: 2, ..Mix::none() });
    settle(&master);
    let victim = master.ready_pids("web")[0];
    send(victim, Signal::SIGKILL);
    master.wait_status("it is replaced", SOON, |s| {
        s.services[0].workers_ready == 1 && s.services[0].workers[0].pid != victim
    });
    load.wait_answers(100);
    let report = load.stop();
    assert!(report.lost.len() <= 2, "{:?}", report.lost);
    master.assert_replaced(&[victim], AT_ONCE);
    assert!(report.slowest < 3 * AT_ONCE, "somebody waited {:?}", report.slowest);
    assert!(report.lost.iter().all(|l| !l.contains("not in time")), "{:?}", report.lost);
    end(master);
}

#[test]
fn fifty_killed_at_once_are_all_reaped_and_all_back() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(50).text());
    master.expect_error("worker died");
    settle(&master);
    let old = master.ready_pids("web");
    assert_eq!(old.len(), 50);
    let descriptors = procs::descriptors(master.pid()).len();
    old.iter().for_each(|pid| send(*pid, Signal::SIGKILL));
    let status = master.wait_status("all are back", SOON, |s| {
        s.services[0].workers_ready == 50 && s.services[0].workers.iter().all(|w| !old.contains(&w.pid))
    });
    master.assert_replaced(&old, 5 * AT_ONCE);
    assert_eq!(status.services[0].workers.len(), 50);
    assert_eq!(status.services[0].totals.deaths, 50);
    wait_until("every child is reaped", SOON, || procs::zombies(master.pid()).is_empty());
    let seats: std::collections::BTreeSet<u32> = status.services[0].workers.iter().map(|w| w.seat).collect();
    assert_eq!(seats.len(), 50, "one for each seat");
    wait_until("no descriptor was lost", SOON, || procs::descriptors(master.pid()).len() <= descriptors);
    assert_eq!(get(&master.address(), "/").unwrap().status, 200);
    end(master);
}

#[test]
fn a_draining_worker_that_is_killed_is_missed_by_nobody() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(1).text());
    master.expect_error("worker died");
    let address = master.address();
    let load = Load::start(&address);
    let mut held = Conn::open(&address).unwrap();
    held.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf").unwrap();
    let old = master.ready_pids("web")[0];
    wait_until("it is under way", SOON, || master.workers("web")[0].in_flight >= 1);
    let waits = master.begin(&["reload", "--drained"]);
    master.wait_status("the old one drains with one connection", SOON, |s| {
        let drain = s.services[0].workers.iter().find(|w| w.pid == old).and_then(|w| w.drain);
        s.generation == 2 && drain.is_some_and(|d| d.remaining == 1)
    });
    let new = master.ready_pids("web");
    send(old, Signal::SIGKILL);
    waits.finish().expect(0);
    assert!(held.receive().is_err());
    assert_eq!(master.ready_pids("web"), new, "nobody takes its place");
    assert_eq!(master.workers("web").len(), 1);
    assert_eq!(master.service("web").totals.deaths, 1);
    load.wait_answers(20);
    load.stop().assert_nothing_lost();
    end(master);
}

#[test]
fn a_worker_killed_while_it_starts_is_tried_again() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(2).text());
    master.expect_error("worker died");
    let load = Load::start(&master.address());
    settle(&master);
    let victim = master.ready_pids("web")[0];
    let once = Arc::new(AtomicBool::new(false));
    let midwife = Midwife::attend(&master, move |child| {
        if !once.swap(true, Ordering::Relaxed) {
            send(child, Signal::SIGKILL);
        }
    });
    let held = held_by(&master, victim);
    send(victim, Signal::SIGKILL);
    master.wait_status("a third one serves", SOON, |s| {
        s.services[0].workers_ready == 2 && s.services[0].totals.deaths == 2
    });
    // The second death was an early one: a tenth of a second of backoff, and no more.
    assert_eq!(master.log().matches("next try in ").count(), 1, "{}", master.log());
    let back = master.stamped("event=ready").pop().expect("the third one");
    let took = back.since(&master.stamped("next try in 100ms")[0]);
    assert!(took < 2 * AT_ONCE, "{took:?}");
    assert!(!midwife.leave().is_empty());
    load.wait_answers(100);
    let report = load.stop();
    // The one that was killed as it came up had accepted nothing, or little.
    assert!(report.lost.len() as u64 <= held + 11, "{held} were open: {:?}", report.lost);
    assert!(report.lost.iter().all(|l| !l.contains("no connection")), "{:?}", report.lost);
    end(master);
}
