//! `drain`, `resume`, WINCH: no workers for a while, and nobody is refused.

use crate::harness::{Conn, Load, Master, Mix, Place, SOON, Signal, Web, get, wait_until};
use crate::meddle::end;
use std::time::{Duration, Instant};

fn two() -> String {
    let more = Web::new().name("more").listen("127.0.0.2:0").service_text();
    Web::new().more(&more).text()
}

#[test]
fn a_drained_service_keeps_its_listeners_and_connections_wait() {
    let place = Place::new();
    let master = Master::start(&place, &two());
    let (web, more) = (master.address(), master.address_of("more"));
    let other = Load::start(&more);
    let load = Load::start(&web);
    let said = master.cli(&["drain", "web"]).expect(0);
    assert_eq!(said.stdout, "drained: web\n");
    let service = master.service("web");
    assert_eq!((service.workers_wanted, service.workers.len()), (0, 0), "{service:?}");
    assert!(service.why.as_ref().is_some_and(|w| w.contains("masterd resume web")), "{service:?}");
    assert_eq!(master.status().state, "running", "the other one serves");
    // New connections are taken by the kernel and wait.
    let mut waiting: Vec<Conn> = (0..20).map(|_| Conn::open(&web).unwrap()).collect();
    for conn in &mut waiting {
        conn.ask("/").unwrap();
    }
    wait_until("they are seen in the queue", SOON, || master.service("web").listeners[0].queue >= 20);
    let said = master.cli(&["resume", "web"]).expect(0);
    assert!(said.stdout.contains("resumed: web has 2 workers"), "{said:?}");
    for conn in &mut waiting {
        assert_eq!(conn.receive().unwrap().status, 200);
    }
    load.wait_answers(30);
    let report = load.stop();
    report.assert_nothing_lost();
    let report = other.stop();
    report.assert_nothing_lost();
    assert_eq!(report.closed_idle, 0, "the other service was not touched");
    assert_eq!(master.service("more").totals.deaths + master.service("web").totals.deaths, 0);
    end(master);
}

#[test]
fn twenty_drains_and_resumes_lose_nothing() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().slow("50ms").text());
    let mix = Mix { fresh: 2, kept: 2, slow_post: 0, slow_answer: 2, idle: 0 };
    let load = Load::with(&master.address(), mix);
    for _ in 0..20 {
        master.cli(&["drain"]).expect(0);
        assert_eq!(master.status().state, "drained");
        master.cli(&["resume"]).expect(0);
        load.wait_answers(10);
    }
    load.stop().assert_nothing_lost();
    assert_eq!(master.service("web").totals.cut, 0);
    end(master);
}

#[test]
fn readiness_fails_first_and_the_delay_welcomes_everybody() {
    let place = Place::new();
    let config = Web::new().service("drain = { delay = \"5s\", grace = \"10s\" }");
    let master = Master::start(&place, &config.text());
    let address = master.address();
    assert_eq!(get(&address, "/readyz").unwrap().status, 200);
    let load = Load::with(&address, Mix { fresh: 2, kept: 2, slow_answer: 1, ..Mix::none() });
    let begun = Instant::now();
    let mut waits = master.begin(&["drain"]);
    wait_until("readiness fails", SOON, || get(&address, "/readyz").unwrap().status == 503);
    let (before, mut rounds) = (load.answered(), 0);
    while load.answered() <= before + 20 || rounds < 5 {
        rounds += 1;
        assert_eq!(get(&address, "/").unwrap().status, 200, "new connections are welcome");
        assert_eq!(get(&address, "/healthz").unwrap().status, 200, "it lives");
        let why = master.service("web").why;
        assert!(why.as_ref().is_some_and(|w| w.contains("draining, accepts for")), "{why:?}");
    }
    assert!(!waits.ended());
    waits.finish().expect(0);
    assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());
    master.cli(&["resume"]).expect(0);
    assert_eq!(get(&address, "/readyz").unwrap().status, 200);
    load.wait_answers(20);
    load.stop().assert_nothing_lost();
    end(master);
}

#[test]
fn a_drain_taken_back_within_its_delay_has_drained_nobody() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().service("drain = { delay = \"20s\" }").text());
    let (address, pids) = (master.address(), master.ready_pids("web"));
    let load = Load::start(&address);
    let waits = master.begin(&["drain"]);
    wait_until("readiness fails", SOON, || get(&address, "/readyz").unwrap().status == 503);
    master.cli(&["resume"]).expect(0);
    let said = waits.finish().expect(1);
    assert!(said.stderr.contains("told to serve again before it was drained"), "{said:?}");
    wait_until("it is ready again", SOON, || get(&address, "/readyz").unwrap().status == 200);
    assert_eq!(master.ready_pids("web"), pids);
    let report = load.stop();
    report.assert_nothing_lost();
    assert_eq!(report.closed_idle, 0);
    end(master);
}

#[test]
fn readiness_holds_to_the_end_on_a_reload() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().service("drain = { delay = \"2s\" }").slow("3s").text());
    let address = master.address();
    // Old connections ask the old workers while those drain, new ones whoever is there.
    let mut kept: Vec<Conn> = (0..40).map(|_| Conn::open(&address).unwrap()).collect();
    for conn in &mut kept {
        assert_eq!(conn.get("/readyz").unwrap().status, 200);
    }
    let mut slow = Conn::open(&address).unwrap();
    slow.ask("/slow").unwrap();
    let waits = master.begin(&["reload", "--drained"]);
    master.wait_status("generation 1 drains", SOON, |s| {
        s.services[0].workers.iter().any(|w| w.generation == 1 && w.state == "draining")
    });
    for conn in &mut kept {
        let answer = conn.get("/readyz").unwrap();
        assert_eq!((answer.status, answer.closes()), (200, true), "{answer:?}");
        assert_eq!(get(&address, "/readyz").unwrap().status, 200);
    }
    slow.receive().unwrap();
    waits.finish().expect(0);
    end(master);
}

#[test]
fn winch_drains_and_hup_brings_workers_back() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().text());
    let load = Load::with(&master.address(), Mix { fresh: 1, kept: 1, slow_answer: 1, ..Mix::none() });
    master.signal(Signal::SIGWINCH);
    master.wait_status("all workers are gone", SOON, |s| {
        s.state == "drained" && s.services[0].workers.is_empty()
    });
    let said = master.cli(&["scale", "web", "3"]).expect(1);
    assert!(said.stderr.contains("resume it first"), "{said:?}");
    master.signal(Signal::SIGHUP);
    master.wait_generation(2);
    load.wait_answers(20);
    load.stop().assert_nothing_lost();
    end(master);
}

#[test]
fn verbs_that_make_no_sense_are_refused() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().master("rollout = { soak = \"4s\" }").text());
    for args in [["drain", "nix"], ["resume", "nix"]] {
        let said = master.cli(&args).expect(1);
        assert!(said.stderr.contains("there is no service named nix"), "{said:?}");
    }
    let said = master.cli(&["scale", "nix", "3"]).expect(1);
    assert!(said.stderr.contains("there is no service named nix"), "{said:?}");
    let waits = master.begin(&["reload"]);
    master.wait_status("a reload is under way", SOON, |s| s.state == "reloading");
    for args in [&["drain"][..], &["resume"], &["scale", "web", "3"]] {
        let said = master.cli(args).expect(1);
        assert!(said.stderr.contains("a reload is under way"), "{said:?}");
    }
    waits.finish().expect(0);
    end(master);
}
