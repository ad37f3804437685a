//! `scale`, TTIN and TTOU under load.

use crate::harness::{Load, Master, Mix, Place, SOON, Signal, Web, procs, wait_until};
use crate::meddle::{end, send};

#[test]
fn scale_changes_the_pool_until_the_next_reload() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().text());
    let load = Load::start(&master.address());
    for n in [5, 1, 8, 3] {
        let said = master.cli(&["scale", "web", &n.to_string()]).expect(0);
        assert_eq!(said.stdout, format!("scaled: web has {n} workers\n"));
        let service = master.service("web");
        assert_eq!((service.workers_wanted, service.workers_ready, service.scaled), (n, n, true));
        load.wait_answers(50);
    }
    master.wait_status("those that were too many are gone", SOON, |s| s.services[0].workers.len() == 3);
    master.cli(&["reload", "--drained"]).expect(0);
    let service = master.service("web");
    assert_eq!((service.workers_wanted, service.workers_ready, service.scaled), (2, 2, false));
    let report = load.stop();
    report.assert_nothing_lost();
    assert_eq!(report.closed_idle, 0);
    end(master);
}

/// New connections all the while: the sockets that go have queues, and those are served.
#[test]
fn shrinking_ten_times_loses_nothing() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(1).text());
    let load = Load::with(&master.address(), Mix { fresh: 8, ..Mix::none() });
    let before = procs::descriptors(master.pid()).len();
    for _ in 0..10 {
        master.cli(&["scale", "web", "4"]).expect(0);
        load.wait_answers(50);
        master.cli(&["scale", "web", "1"]).expect(0);
        load.wait_answers(50);
    }
    let report = load.stop();
    report.assert_nothing_lost();
    assert!(report.slowest.as_secs() < 2, "{:?}", report.slowest);
    master.wait_status("one is left", SOON, |s| s.services[0].workers.len() == 1);
    wait_until("and one socket", SOON, || procs::descriptors(master.pid()).len() <= before);
    assert_eq!(master.service("web").totals.deaths, 0);
    end(master);
}

/// The seats that come back have the sockets of those that go: who serves these to their end must not
/// go on doing so until its deadline, and cut what it has accepted.
#[test]
fn a_pool_that_grows_again_at_once_cuts_nobody() {
    let place = Place::new();
    let config = Web::new().workers(4).slow("700ms").service("drain = { grace = \"4s\" }");
    let master = Master::start(&place, &config.text());
    let load = Load::with(&master.address(), Mix { fresh: 2, slow_answer: 12, ..Mix::none() });
    for _ in 0..3 {
        let old = master.ready_pids("web");
        master.cli(&["scale", "web", "1"]).expect(0);
        master.cli(&["scale", "web", "4"]).expect(0);
        master.wait_status("those that went are gone", SOON, |s| {
            s.services[0].workers.iter().all(|w| w.state == "ready") && s.services[0].workers.len() == 4
        });
        assert_ne!(master.ready_pids("web"), old);
    }
    load.stop().assert_nothing_lost();
    assert_eq!(master.service("web").totals.cut, 0);
    end(master);
}

#[test]
fn shrinking_with_a_shared_listener_loses_nothing_either() {
    let place = Place::new();
    let unix = format!("\"unix:{}\"", place.path("w.sock").display());
    let master = Master::start(&place, &Web::new().listen_raw(&[&unix]).text());
    let load = Load::start(&master.address());
    for n in ["4", "1", "6", "2"] {
        master.cli(&["scale", "web", n]).expect(0);
        load.wait_answers(50);
    }
    let report = load.stop();
    report.assert_nothing_lost();
    assert_eq!(report.closed_idle, 0);
    end(master);
}

#[test]
fn ttin_and_ttou_are_one_more_and_one_fewer() {
    let place = Place::new();
    let ranged =
        Web::new().name("ranged").workers("{ min = 1, max = 2 }").listen("127.0.0.2:0").service_text();
    let master = Master::start(&place, &Web::new().more(&ranged).text());
    master.expect_error("worker died");
    let load = Load::start(&master.address());
    let sizes = |web: u32, ranged: u32| {
        master.wait_status(&format!("web has {web}, ranged {ranged}"), SOON, |s| {
            let of = |name: &str| s.services.iter().find(|s| s.name == name).unwrap();
            let full = |name: &str, n: u32| of(name).workers_wanted == n && of(name).workers_ready == n;
            full("web", web) && full("ranged", ranged)
        })
    };
    sizes(2, 1);
    for (signal, web, ranged) in [
        (Signal::SIGTTIN, 3, 2),
        (Signal::SIGTTIN, 4, 2),
        (Signal::SIGTTOU, 3, 1),
        (Signal::SIGTTOU, 2, 1),
        (Signal::SIGTTOU, 1, 1),
        (Signal::SIGTTOU, 1, 1),
        (Signal::SIGTTIN, 2, 2),
    ] {
        master.signal(signal);
        let status = sizes(web, ranged);
        assert!(status.services.iter().any(|s| s.scaled), "{status:?}");
    }
    master.signal(Signal::SIGTTIN);
    sizes(3, 2);
    // It survives a crash.
    let victim = master.ready_pids("web")[2];
    send(victim, Signal::SIGKILL);
    master.wait_status("it is replaced", SOON, |s| {
        let web = s.services.iter().find(|s| s.name == "web").unwrap();
        web.workers_ready == 3 && web.workers.iter().all(|w| w.pid != victim)
    });
    // And ends at the reload.
    master.cli(&["reload", "--drained"]).expect(0);
    sizes(2, 1);
    let report = load.stop();
    assert!(report.lost.len() <= 11, "only what the killed one held: {:?}", report.lost);
    end(master);
}

#[test]
fn sizes_out_of_bounds_are_refused() {
    let place = Place::new();
    let ranged =
        Web::new().name("ranged").workers("{ min = 1, max = 2 }").listen("127.0.0.2:0").service_text();
    let master = Master::start(&place, &Web::new().more(&ranged).text());
    for (service, n, words) in [
        ("web", "0", "masterd drain web"),
        ("web", "513", "more than 512"),
        ("ranged", "3", "between 1 and 2 workers"),
        ("ranged", "0", "between 1 and 2 workers"),
    ] {
        let said = master.cli(&["scale", service, n]).expect(1);
        assert!(said.stderr.contains(words), "{service} {n}: {said:?}");
    }
    let status = master.status();
    assert!(status.services.iter().all(|s| !s.scaled), "{status:?}");
    end(master);
}

#[test]
fn a_pool_that_finds_no_descriptors_does_not_grow() {
    let place = Place::new();
    place.config(&Web::new().text());
    let wrapper = ["sh", "-c", "ulimit -n 60; exec \"$@\"", "sh"];
    let master = crate::harness::Launch::through(&place, &wrapper).start();
    for words in ["can't grow", "could not be started", "Too many open files", "died"] {
        master.expect_error(words);
    }
    let load = Load::start(&master.address());
    let said = master.cli(&["scale", "web", "100"]).expect(1);
    assert!(said.stderr.contains("open files") || said.stderr.contains("descriptors"), "{said:?}");
    let service = master.service("web");
    assert!(service.workers_ready >= 2, "{service:?}");
    load.wait_answers(20);
    load.stop().assert_nothing_lost();
    end(master);
}
