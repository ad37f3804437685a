//! `masterd reload` and its options: what is said, what it waits for, what it refuses.

use crate::harness::{Conn, Load, Master, Place, SOON, Web, get, wait_until};
use crate::meddle::{end, generations};

/// Two services, `a` and `b`.
fn two(a: &str, b: &str) -> String {
    let more = Web::new().name("b").workers(1).mark(b).listen("127.0.0.2:0").service_text();
    Web::new().name("a").workers(1).mark(a).more(&more).text()
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    let place = Place::new();
    let config = Web::new().workers(2);
    let master = Master::start(&place, &config.text());
    let before = master.status();
    let pids = master.ready_pids("web");
    let said = master.cli(&["reload", "--dry-run"]).expect(0);
    assert!(said.stdout.contains("changes nothing"), "{said:?}");
    let more = Web::new().name("more").listen("127.0.0.2:0").service_text();
    let other = config.clone().workers(3).mark("b").master("pid_file2 = 1");
    place.config(&other.text());
    let said = master.cli(&["reload", "--dry-run"]).expect(1);
    assert!(said.stderr.contains("pid_file2") && said.stderr.contains("not usable"), "{said:?}");
    let other = config.workers(3).mark("b").listen("127.0.0.3:0").no_pid_file().more(&more);
    place.config(&other.text());
    let said = master.cli(&["reload", "--dry-run"]).expect(0);
    for words in [
        "service \"web\": workers changes from 2 to 3",
        "service \"more\" is added",
        "listener 127.0.0.3:0 is added",
        "listener 127.0.0.1:0 is removed",
        "pid_file",
        "route /: respond.body changes",
    ] {
        assert!(said.stdout.contains(words), "no {words:?} in {}", said.stdout);
    }
    let after = master.status();
    assert_eq!((after.generation, &after.last_reload), (before.generation, &before.last_reload));
    assert_eq!(master.ready_pids("web"), pids);
    assert_eq!(after.services.len(), 1);
    assert_eq!(get(&master.address(), "/").unwrap().field("mark"), Some("a"));
    // The next reload has the next number: a dry run uses none.
    place.config(&Web::new().text());
    master.cli(&["reload"]).expect(0);
    assert_eq!(master.status().generation, 2);
    end(master);
}

#[test]
fn drained_waits_for_the_old_generation_to_be_gone() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().slow("3s").text());
    let mut slow = Conn::open(&master.address()).unwrap();
    slow.ask("/slow").unwrap();
    wait_until("it is under way", SOON, || master.workers("web").iter().any(|w| w.in_flight == 1));
    let mut waits = master.begin(&["reload", "--drained"]);
    master.wait_status("the new generation serves", SOON, |s| s.generation == 2 && s.state == "running");
    assert!(!waits.ended(), "it waits for the drain");
    assert_eq!(generations(&master.status()), [1, 2].into());
    assert_eq!(slow.receive().unwrap().number("gen"), 1);
    let said = waits.finish().expect(0);
    assert_eq!(generations(&master.status()), [2].into(), "gone means gone");
    assert!(said.stderr.contains("draining gen 1: 1 active (1 http"), "{said:?}");
    end(master);
}

#[test]
fn a_reload_of_one_service_touches_no_other() {
    let place = Place::new();
    let master = Master::start(&place, &two("1", "1"));
    master.expect_error("reload failed");
    let (a, b) = (master.address_of("a"), master.address_of("b"));
    let loads = [Load::start(&a), Load::start(&b)];
    let b_pids = master.ready_pids("b");
    place.config(&two("2", "1"));
    let said = master.cli(&["reload", "a"]).expect(0);
    assert_eq!(said.stdout, "generation 2 serves\n");
    assert_eq!(get(&a, "/").unwrap().field("mark"), Some("2"));
    assert_eq!(master.ready_pids("b"), b_pids, "not touched");
    assert_eq!(get(&b, "/").unwrap().number("gen"), 1);
    // The file differs elsewhere: refused, and nothing changes.
    place.config(&two("3", "3"));
    let said = master.cli(&["reload", "a"]).expect(1);
    assert!(said.stderr.contains("reload of a alone is refused") && said.stderr.contains("b"), "{said:?}");
    assert_eq!(get(&a, "/").unwrap().field("mark"), Some("2"));
    let dry = master.cli(&["reload", "a", "--dry-run"]).expect(1);
    assert!(dry.stderr.contains("would be refused"), "{dry:?}");
    // No such service.
    let said = master.cli(&["reload", "c"]).expect(1);
    assert!(said.stderr.contains("c"), "{said:?}");
    // A worker of the service that stayed is replaced within its own generation and config.
    crate::meddle::send(b_pids[0], crate::harness::Signal::SIGKILL);
    master.expect_error("worker died");
    wait_until("b has a worker again", SOON, || {
        let ready = master.ready_pids("b");
        ready.len() == 1 && ready != b_pids
    });
    let again = get(&b, "/").unwrap();
    assert_eq!((again.number("gen"), again.field("mark")), (1, Some("1")));
    // Both, then.
    master.cli(&["reload", "--drained"]).expect(0);
    assert_eq!(get(&b, "/").unwrap().field("mark"), Some("3"));
    let [a, b] = loads.map(Load::stop);
    a.assert_nothing_lost();
    assert!(b.lost.len() <= 11, "only what the killed worker held: {:?}", b.lost);
    end(master);
}

#[test]
fn reloads_asked_for_by_many_at_once_are_two() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().text());
    let load = Load::start(&master.address());
    let asked: Vec<_> = (0..12).map(|_| master.begin(&["reload"])).collect();
    let said: Vec<_> = asked.into_iter().map(|one| one.finish().expect(0)).collect();
    let generation = master.status().generation;
    assert!((2..=8).contains(&generation), "remembered once, not twelve times: {generation}");
    for one in said {
        assert!(one.stdout.starts_with("generation ") && one.stdout.ends_with(" serves\n"), "{one:?}");
    }
    load.stop().assert_nothing_lost();
    end(master);
}

#[test]
fn an_asker_that_goes_away_changes_nothing() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().master("rollout = { soak = \"2s\" }").text());
    let load = Load::start(&master.address());
    let asked = master.begin(&["reload"]);
    master.wait_status("it is under way", SOON, |s| s.state == "reloading");
    drop(asked);
    let status = master.wait_generation(2);
    assert!(status.last_reload.is_some_and(|r| r.ok));
    load.stop().assert_nothing_lost();
    end(master);
}

#[test]
fn signals_by_hand_are_reloads_too() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().text());
    let said = place.run(&["-c", "masterd.toml", "-s", "reload"]).expect(0);
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""));
    master.wait_generation(2);
    end(master);
}
