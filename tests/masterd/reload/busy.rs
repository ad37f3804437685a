//! Reloads under load: nothing is lost, nothing piles up.

use crate::harness::{Conn, Load, Master, Mix, Place, SOON, Signal, Web, get, procs, wait_until};
use crate::meddle::{Sampler, end, generations};
use std::time::{Duration, Instant};

#[test]
fn a_reload_by_verb_loses_nothing() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().text());
    let before = master.ready_pids("web");
    let load = Load::start(&master.address());
    place.config(&Web::new().mark("b").text());
    let said = master.cli(&["reload", "--drained"]).expect(0);
    assert_eq!(said.stdout, "generation 2 serves, the old one is gone\n");
    load.wait_answers(50);
    let report = load.stop();
    report.assert_nothing_lost();
    assert_eq!(report.closed_idle, 0, "idle connections are told, not closed: {report:?}");
    assert_eq!(report.generations, [1, 2].into());
    assert_eq!(report.marks, ["a".to_owned(), "b".to_owned()].into());
    let status = master.wait_generation(2);
    assert!(status.services[0].workers.iter().all(|w| !before.contains(&w.pid)), "new processes: {status:?}");
    let last = status.last_reload.expect("a reload was asked for");
    assert!(last.ok && last.generation == 2 && last.error.is_none(), "{last:?}");
    assert_eq!(status.services[0].totals.deaths, 0);
    assert_eq!(status.services[0].totals.cut, 0);
    end(master);
}

#[test]
fn twenty_hups_100_ms_apart_lose_nothing() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().text());
    let load = Load::start(&master.address());
    let begun = Instant::now();
    for n in 1..=20 {
        master.signal(Signal::SIGHUP);
        let next = begun + Duration::from_millis(100) * n;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let status = master.wait_status("the last reload is decided", SOON, |s| s.state == "running");
    assert!(status.last_reload.as_ref().is_some_and(|r| r.ok), "{status:?}");
    assert!(status.generation >= 3, "several were decided: {status:?}");
    load.wait_answers(100);
    let report = load.stop();
    report.assert_nothing_lost();
    assert_eq!(report.closed_idle, 0, "{report:?}");
    master.wait_generation(status.generation);
    wait_until("every child is reaped", SOON, || procs::zombies(master.pid()).is_empty());
    end(master);
}

#[test]
fn a_double_hup_is_one_reload_and_one_that_was_remembered() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().master("max_draining_generations = 1").text());
    // Half a request keeps generation 1 draining, and with it the second reload waiting.
    let mut held = Conn::open(&master.address()).unwrap();
    held.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf").unwrap();
    wait_until("it is under way", SOON, || master.workers("web").iter().any(|w| w.in_flight == 1));
    let load = Load::start(&master.address());
    master.cli(&["reload"]).expect(0);
    for count in 1..=3 {
        // One by one: two of the same pending signal are one to the kernel.
        master.signal(Signal::SIGHUP);
        wait_until("it has come", SOON, || master.log().matches("signal HUP").count() == count);
    }
    assert_eq!((master.status().generation, master.status().state.as_str()), (2, "reloading"));
    held.send(b"whole!").unwrap();
    assert_eq!(held.receive().unwrap().number("gen"), 1);
    drop(held);
    master.wait_status("the one that waited, and one more", SOON, |s| {
        s.generation == 4 && s.state == "running"
    });
    load.wait_answers(100);
    load.stop().assert_nothing_lost();
    master.wait_generation(4);
    end(master);
}

#[test]
fn a_thousand_hups_in_a_second_end_with_one_generation() {
    let place = Place::new();
    let config =
        Web::new().mark("a").master("max_draining_generations = 2").service("drain = { grace = \"1s\" }");
    let master = Master::start(&place, &config.text());
    let load = Load::start(&master.address());
    let sampler = Sampler::start(place.socket());
    place.config(&config.mark("b").text());
    let begun = Instant::now();
    for n in 1..=1000 {
        master.signal(Signal::SIGHUP);
        std::thread::sleep((begun + Duration::from_millis(n)).saturating_duration_since(Instant::now()));
    }
    let status = master.wait_status("no reload is under way or remembered", SOON * 2, |s| {
        s.state == "running" && generations(s) == [s.generation].into()
    });
    assert!(status.last_reload.as_ref().is_some_and(|r| r.ok), "{status:?}");
    let samples = sampler.finish();
    // Draining ones, the serving one and the one that comes.
    assert!(samples.most_generations <= 2 + 2, "{samples:?}");
    assert_eq!(samples.backwards, Vec::<String>::new());
    load.wait_answers(50);
    let report = load.stop();
    report.assert_nothing_lost();
    assert_eq!(get(&master.address(), "/").unwrap().field("mark"), Some("b"));
    wait_until("every child is reaped", SOON, || procs::zombies(master.pid()).is_empty());
    end(master);
}

#[test]
fn a_hup_during_a_drain_starts_the_next_at_once() {
    let place = Place::new();
    let config = Web::new().slow("6s");
    let master = Master::start(&place, &config.text());
    let mut slow = Conn::open(&master.address()).unwrap();
    slow.ask("/slow").unwrap();
    wait_until("the slow request is under way", SOON, || {
        master.workers("web").iter().any(|w| w.in_flight == 1)
    });
    master.cli(&["reload"]).expect(0);
    master.wait_status("generation 1 drains", SOON, |s| generations(s) == [1, 2].into());
    master.signal(Signal::SIGHUP);
    // Nobody waits for the drain, or there would be nothing left of generation 1 then.
    master.wait_status("generation 3 serves while 1 drains", SOON, |s| {
        s.generation == 3 && s.state == "running" && generations(s).contains(&1)
    });
    let answer = slow.receive().unwrap();
    assert_eq!((answer.status, answer.number("gen")), (200, 1));
    assert!(answer.closes(), "{answer:?}");
    master.wait_generation(3);
    end(master);
}

#[test]
fn the_number_of_workers_changes_under_load() {
    let place = Place::new();
    let config = |n: u32| Web::new().workers(n).slow("100ms").text();
    let master = Master::start(&place, &config(1));
    let load = Load::start(&master.address());
    let base = procs::descriptors(master.pid()).len();
    for (generation, workers) in [(2, 4), (3, 2), (4, 64), (5, 1)] {
        place.config(&config(workers));
        master.cli(&["reload", "--drained"]).expect(0);
        let status = master.wait_generation(generation);
        assert_eq!(status.services[0].workers.len(), workers as usize);
        load.wait_answers(100);
    }
    let report = load.stop();
    report.assert_nothing_lost();
    assert_eq!(report.closed_idle, 0, "{report:?}");
    let mut now = Vec::new();
    wait_until("the master's descriptors are those of the beginning", SOON, || {
        now = procs::descriptors(master.pid());
        now.len() <= base
    });
    assert_eq!(master.service("web").totals.deaths, 0);
    end(master);
}

#[test]
fn unix_and_shared_listeners_lose_nothing_either() {
    let place = Place::new();
    let config = |mark: &str| {
        let unix = format!("\"unix:{}\"", place.path("w.sock").display());
        let name = format!("\"unix:@md-reload-{}\"", place.dir().file_name().unwrap().to_str().unwrap());
        let shared = "{ address = \"127.0.0.1:0\", accept = \"shared\" }";
        Web::new().listen_raw(&[&unix, &name, shared, "\"[::1]:0\""]).mark(mark).text()
    };
    let master = Master::start(&place, &config("a"));
    let mix = Mix { fresh: 1, kept: 1, slow_post: 0, slow_answer: 1, idle: 1 };
    let listeners = master.service("web").listeners;
    assert_eq!(listeners.len(), 4);
    let loads: Vec<Load> = listeners.iter().map(|l| Load::with(&l.address, mix)).collect();
    for mark in ["b", "c", "d", "e", "f"] {
        place.config(&config(mark));
        master.cli(&["reload"]).expect(0);
        loads.iter().for_each(|load| load.wait_answers(20));
    }
    for (load, listener) in loads.into_iter().zip(&listeners) {
        let report = load.stop();
        assert!(report.lost.is_empty(), "{}: {:?}", listener.address, report.lost);
        assert_eq!(report.closed_idle, 0, "{}", listener.address);
        assert!(report.marks.contains("f"), "{}: {:?}", listener.address, report.marks);
    }
    master.wait_generation(6);
    assert_eq!(master.service("web").listeners.len(), 4);
    let now: Vec<String> = master.service("web").listeners.iter().map(|l| l.address.clone()).collect();
    assert_eq!(now, listeners.iter().map(|l| l.address.clone()).collect::<Vec<_>>(), "the same sockets");
    end(master);
}

/// Raises this process's own limit and says how many connections it can hold.
fn connections_possible(wish: usize) -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("raise the soft limit to the hard one");
    // Leave room for the tests that run beside this one.
    wish.min(usize::try_from(hard).unwrap_or(usize::MAX).saturating_sub(2000))
}

#[test]
fn ten_thousand_idle_connections_live_through_a_reload() {
    let place = Place::new();
    let count = connections_possible(10_000);
    assert!(count >= 500, "too few descriptors are allowed to try anything: {count}");
    let config = Web::new()
        .service("connections = 20000\nlimits = { nofile = 20100 }\ndrain = { grace = \"10m\" }")
        .http("keep_alive = \"10m\"\nheader_timeout = \"10m\"");
    let master = Master::start(&place, &config.text());
    let address = master.address();
    let mut conns: Vec<Conn> = (0..count).map(|_| Conn::open(&address).unwrap()).collect();
    for conn in &mut conns {
        let answer = conn.get("/").unwrap();
        assert!(answer.number("gen") == 1 && !answer.closes(), "{answer:?}");
    }
    wait_until("all are idle", SOON, || {
        master.workers("web").iter().map(|w| w.idle).sum::<u64>() == count as u64
    });
    master.cli(&["reload"]).expect(0);
    assert_eq!(get(&address, "/").unwrap().number("gen"), 2);
    for conn in &mut conns {
        assert!(conn.unasked().is_none(), "an idle connection was closed by the reload");
    }
    for (n, conn) in conns.iter_mut().enumerate() {
        let answer = conn.get("/").unwrap_or_else(|lost| panic!("connection {n} of {count}: {lost}"));
        assert_eq!(answer.number("gen"), 1, "by the worker that has the connection");
        assert!(answer.closes(), "connection {n}: {answer:?}");
    }
    drop(conns);
    let status = master.wait_generation(2);
    let totals = &status.services[0].totals;
    assert_eq!((totals.cut, totals.errors), (0, 0), "{totals:?}");
    assert!(totals.requests >= 2 * count as u64, "{totals:?}");
    end(master);
}

#[test]
fn bodies_and_headers_tell_the_generation() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(1).text());
    let address = master.address();
    let mut kept = Conn::open(&address).unwrap();
    let mut silent = Conn::open(&address).unwrap();
    for generation in 1..=5 {
        let answer = kept.get("/").unwrap();
        assert_eq!(answer.number("gen"), generation);
        assert!(!answer.closes(), "{answer:?}");
        master.cli(&["reload"]).expect(0);
        assert_eq!(get(&address, "/").unwrap().number("gen"), generation + 1);
        let old = kept.get("/").unwrap();
        assert_eq!(old.number("gen"), generation, "the old worker keeps what it accepted");
        assert!(old.closes(), "{old:?}");
        assert!(kept.closed_within(SOON), "and closes after it has said so");
        kept = Conn::open(&address).unwrap();
    }
    let first = silent.get("/").unwrap();
    assert_eq!(first.number("gen"), 1, "a connection that had not sent a byte before the reload is served");
    assert!(first.closes());
    end(master);
}
