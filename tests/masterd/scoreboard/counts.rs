//! Counters survive deaths, gauges do not.

use super::super::harness::*;
use super::super::tools::*;
use masterd::wire::status::{Status, Totals, Worker};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

fn kill_hard(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill a worker");
}

#[test]
fn gauges_of_the_dead_are_gone_and_their_counters_stay() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(2).text());
    master.expect_error("worker died");
    let address = master.address();
    let mut idle: Vec<Conn> = Vec::new();
    // One may stand in for the other for a moment: on until both have some.
    let before = loop {
        for _ in 0..40 {
            let mut conn = Conn::open(&address).unwrap();
            conn.get("/").unwrap();
            idle.push(conn);
        }
        let many = idle.len() as u64;
        let status = master.wait_status("all are idle", SOON, |s| {
            s.services[0].workers.iter().map(|w| w.idle).sum::<u64>() == many
        });
        if status.services[0].workers.iter().all(|w| w.idle > 0) {
            break status;
        }
        assert!(many < 2000, "one worker has them all: {status:#?}");
    };
    let many = idle.len() as u64;
    let [victim, other] = &before.services[0].workers[..] else { panic!("two workers") };
    assert_eq!(before.services[0].totals.accepted, many);
    kill_hard(victim.pid);
    let after = master.wait_status("the dead worker is replaced", SOON, |s| {
        s.services[0].workers_ready == 2 && s.services[0].workers.iter().all(|w| w.pid != victim.pid)
    });
    let (old, new) = (&before.services[0].totals, &after.services[0].totals);
    assert_eq!((new.accepted, new.requests, new.deaths), (many, many, 1));
    assert_eq!((new.bytes_in, new.bytes_out, new.errors, new.cut), (old.bytes_in, old.bytes_out, 0, 0));
    let active: u64 = after.services[0].workers.iter().map(|w| w.active.total()).sum();
    let idle_now: u64 = after.services[0].workers.iter().map(|w| w.idle).sum();
    assert_eq!((active, idle_now), (other.idle, other.idle), "what the dead held is no longer shown");
    let fresh = after.services[0].workers.iter().find(|w| w.pid != other.pid).unwrap();
    assert_eq!((fresh.accepted, fresh.requests, fresh.bytes_in), (0, 0, 0), "a slot is never used again");
    drop(idle);
    master.wait_status("all are closed", SOON, |s| {
        s.services[0].workers.iter().all(|w| w.active.total() == 0 && w.idle == 0)
    });
    master.finish();
}

/// Connects, asks once and closes, again and again; counts what was connected.
fn hammer(address: &str, stop: &AtomicBool, made: &AtomicU64, answered: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(address) else { panic!("nobody is ever refused") };
        made.fetch_add(1, Ordering::Relaxed);
        stream.set_read_timeout(Some(SOON)).unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
        let mut answer = Vec::new();
        // A worker that is killed takes its connections with it.
        if stream.write_all(request).is_ok() && stream.read_to_end(&mut answer).is_ok() && !answer.is_empty()
        {
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Three services of one worker each: a throttled service tries one worker at a time, and that is all
/// these have, so that a kill is made good within milliseconds.
fn three_services() -> Web {
    let restart = "restart = { backoff_min = \"2ms\", backoff_max = \"2ms\" }";
    let one = |name: &str, listen: &str| Web::new().name(name).listen(listen).workers(1).service(restart);
    let others = one("b", "127.0.0.2:0").service_text() + &one("c", "127.0.0.3:0").service_text();
    one("a", "127.0.0.1:0").more(&others)
}

#[test]
fn totals_are_right_after_200_kills_under_load() {
    const KILLS: u64 = 200;
    let place = Place::new();
    let master = Master::start(&place, &three_services().text());
    master.expect_error("worker died");
    let stop = Arc::new(AtomicBool::new(false));
    let (made, answered) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = ["a", "b", "c", "a", "b", "c"]
        .map(|service| {
            let (address, stop) = (master.address_of(service), Arc::clone(&stop));
            let (made, answered) = (Arc::clone(&made), Arc::clone(&answered));
            std::thread::spawn(move || hammer(&address, &stop, &made, &answered))
        })
        .into();
    let mut upwards = Upwards::default();
    let mut killed = std::collections::BTreeSet::new();
    for round in 0..KILLS as usize {
        let turn = (round * 7 + round / 3) % 3;
        let victim = |s: &Status| {
            let ready = s.services[turn].workers.iter().find(|w| w.state == "ready")?;
            (!killed.contains(&ready.pid)).then_some(ready.pid)
        };
        let status = master.wait_status("a worker is to be killed", SOON, |s| victim(s).is_some());
        upwards.check(&status);
        let pid = victim(&status).unwrap();
        killed.insert(pid);
        kill_hard(pid);
    }
    stop.store(true, Ordering::Relaxed);
    // Two clients for each service, each with one connection at a time.
    let at_risk = clients.len() as u64 / 3;
    clients.into_iter().for_each(|client| client.join().expect("a client"));
    let (made, answered) = (made.load(Ordering::Relaxed), answered.load(Ordering::Relaxed));
    let status = master.wait_status("all is quiet", SOON, |s| {
        let at_rest = |w: &Worker| w.active.total() == 0 && w.in_flight == 0 && w.idle == 0;
        s.services.iter().map(|service| service.totals.deaths).sum::<u64>() == KILLS
            && s.services.iter().all(|v| v.workers_ready == 1 && v.workers.len() == 1)
            && s.services.iter().flat_map(|v| &v.workers).all(at_rest)
    });
    upwards.check(&status);
    let sum = |of: fn(&Totals) -> u64| status.services.iter().map(|v| of(&v.totals)).sum::<u64>();
    let (accepted, requests) = (sum(|t| t.accepted), sum(|t| t.requests));
    // A kill may hit between accept(2) and the count: one connection of one worker each time.
    assert!(accepted <= made && made - accepted <= KILLS, "{accepted} accepted of {made} made");
    assert!(answered <= requests && requests <= accepted, "{answered}, {requests}, {accepted}");
    assert!(answered + KILLS * at_risk >= made, "a kill costs what its worker held: {answered} of {made}");
    assert!(answered > 100, "there was load: {answered}");
    assert_eq!(procs::zombies(master.pid()), []);
    assert_eq!(memory_maps(master.pid()).len(), 1 + 3, "the totals, and the slots of those that live");
    master.finish();
}

#[test]
fn what_a_removed_service_counted_is_there_when_it_comes_back() {
    let place = Place::new();
    let second = Web::new().name("second").listen("127.0.0.2:0").workers(1);
    let two = Web::new().workers(1).more(&second.service_text());
    let master = Master::start(&place, &two.text());
    let second = master.address_of("second");
    (0..5).for_each(|_| drop(get(&second, "/").unwrap()));
    place.config(&Web::new().workers(1).text());
    master.cli(&["reload", "--drained"]).expect(0);
    master.wait_status("the service is gone", SOON, |s| s.services.len() == 1);
    place.config(&two.text());
    master.cli(&["reload", "--drained"]).expect(0);
    let totals = master.service("second").totals;
    assert_eq!((totals.accepted, totals.requests), (5, 5));
    master.finish();
}
