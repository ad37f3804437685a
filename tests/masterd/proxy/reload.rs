//! What a reload and a crash cost those whose requests are being passed on: nothing, and only their own.

use super::super::harness::*;
use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// An origin that answers what the load asks, each slow request after a while.
fn for_load() -> Origin {
    Origin::start(|mut visit| {
        while let Some(mut asked) = visit.request() {
            if visit.body(&mut asked).is_err() {
                return;
            }
            if asked.target() == "/slow" {
                std::thread::sleep(Duration::from_millis(150));
            }
            if !visit.say(marked("o")) {
                return;
            }
        }
    })
}

#[test]
fn reloads_under_load_lose_no_request() {
    let place = Place::new();
    let origins = [for_load(), for_load()];
    let text = |retries: u32| {
        let action = proxy(&[origins[0].address(), origins[1].address()], &format!("retries = {retries}"));
        Web::new().root(&action).text()
    };
    let master = Master::start(&place, &text(1));
    let load = Load::start(&master.address());
    for retries in 2..=6 {
        place.config(&text(retries));
        master.cli(&["reload"]).expect(0);
        load.wait_answers(30);
    }
    let report = load.stop();
    report.assert_nothing_lost();
    assert_eq!(report.closed_idle, 0, "{report:?}");
    let status = master.wait_generation(6);
    let totals = &status.services[0].totals;
    assert_eq!((totals.errors, totals.cut, totals.deaths), (0, 0, 0), "{totals:?}");
    end(master);
    // The workers that left have closed what they had open.
    origins.iter().for_each(|origin| origin.wait_closed(SOON));
}

#[test]
fn what_is_under_way_goes_on_through_a_reload() {
    let place = Place::new();
    let step = Arc::new(AtomicUsize::new(0));
    let ours = step.clone();
    let origin = Origin::start(move |mut visit| {
        let Some(mut asked) = visit.request() else { return };
        if asked.method() == "POST" {
            let whole = visit.body(&mut asked).is_ok();
            visit.say(ok(if whole { "whole" } else { "broken" }));
            return;
        }
        visit.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
        visit.wait_for(|| ours.load(Relaxed) == 1);
        visit.say("3\r\ntwo\r\n0\r\n\r\n");
    });
    let text = |retries: u32| {
        let action = proxy(&[origin.address()], &format!("retries = {retries}"));
        Web::new().workers(1).root(&action).text()
    };
    let master = Master::start(&place, &text(1));
    let (mut down, mut up) = (Conn::open(&master.address()).unwrap(), Conn::open(&master.address()).unwrap());
    down.ask("/").unwrap();
    assert_eq!(down.receive_head().unwrap().status, 200);
    assert_eq!(down.read_chunk().unwrap(), b"one");
    up.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhello").unwrap();
    wait_until("both are under way", SOON, || origin.asked().len() == 2);
    place.config(&text(2));
    master.cli(&["reload"]).expect(0);
    assert_eq!(master.workers("web").len(), 2, "the old one stays for them");
    step.store(1, Relaxed);
    assert_eq!((down.read_chunk().unwrap(), down.read_chunk().unwrap()), (b"two".to_vec(), vec![]));
    up.send(b"world").unwrap();
    let answer = up.receive().unwrap();
    assert!(answer.body == "whole" && answer.closes(), "{answer:?}");
    drop((down, up));
    master.wait_generation(2);
    assert_eq!((errors(&master), master.service("web").totals.cut), (0, 0));
    end(master);
}

#[test]
fn a_killed_worker_costs_its_own_requests_only() {
    const EACH: usize = 10;
    let place = Place::new();
    let together = Arc::new(AtomicUsize::new(0));
    let ours = together.clone();
    let origin = Origin::start(move |mut visit| {
        while visit.request().is_some() {
            if visit.wait_for(|| ours.load(Relaxed) > 0) && !visit.say(ok("whole")) {
                return;
            }
        }
    });
    let action = proxy(&[origin.address()], "max_failures = 0");
    let master = Master::start(&place, &Web::new().workers(2).root(&action).text());
    let mut conns: Vec<Conn> = Vec::new();
    wait_until("each worker has its requests", SOON, || {
        let mut conn = Conn::open(&master.address()).unwrap();
        conn.ask("/").unwrap();
        conns.push(conn);
        wait_until("it is in flight", SOON, || origin.asked().len() == conns.len());
        master.workers("web").iter().all(|w| w.in_flight >= EACH as u64)
    });
    master.expect_error("was killed by SIGKILL");
    let victim = worker(&master);
    let held = victim.in_flight as usize;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(victim.pid), Signal::SIGKILL).unwrap();
    // Its upstream connections end with it.
    wait_until("the origin sees it go", SOON, || origin.open() == conns.len() - held);
    together.store(1, Relaxed);
    let ends: Vec<_> = conns.iter_mut().map(Conn::receive).collect();
    let whole = ends.iter().filter(|end| matches!(end, Ok(answer) if answer.body == "whole")).count();
    assert_eq!(whole, conns.len() - held, "{ends:?}");
    let lost = ends.iter().filter(|end| matches!(end, Err(Lost::Reset(_) | Lost::NoAnswer))).count();
    assert_eq!(lost, held, "{ends:?}");
    drop(conns);
    master.wait_status("it is replaced", SOON, |s| s.services[0].workers_ready == 2);
    assert_eq!(get(&master.address(), "/").unwrap().body, "whole");
    end(master);
}
