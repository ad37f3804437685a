//! Rollouts in steps, with a soak: forward, and back.

use crate::harness::{Load, Master, Mix, Place, SOON, Signal, Web, get};
use crate::meddle::{end, generations, held_by, send};
use masterd::wire::status::Status;
use std::time::{Duration, Instant};

fn ready_of(status: &Status, generation: u64) -> usize {
    status.services[0].workers.iter().filter(|w| w.state == "ready" && w.generation == generation).count()
}

#[test]
fn a_soak_is_waited_for_and_the_old_ones_serve_on_meanwhile() {
    let place = Place::new();
    let config = Web::new().master("rollout = { step = \"all\", soak = \"1500ms\" }");
    let master = Master::start(&place, &config.text());
    let load = Load::start(&master.address());
    let begun = Instant::now();
    let asked = master.begin(&["reload"]);
    let status =
        master.wait_status("both generations serve", SOON, |s| ready_of(s, 1) == 2 && ready_of(s, 2) == 2);
    assert_eq!((status.state.as_str(), status.generation), ("reloading", 1));
    let said = asked.finish().expect(0);
    assert!(begun.elapsed() >= Duration::from_millis(1500), "{:?}", begun.elapsed());
    assert!(said.stderr.contains("watched for"), "{said:?}");
    load.wait_answers(50);
    let report = load.stop();
    report.assert_nothing_lost();
    assert_eq!(report.closed_idle, 0);
    master.wait_generation(2);
    end(master);
}

#[test]
fn steps_replace_seat_by_seat() {
    let place = Place::new();
    let config = Web::new().workers(5).master("rollout = { step = 2, soak = \"600ms\" }");
    let master = Master::start(&place, &config.text());
    let load = Load::start(&master.address());
    let begun = Instant::now();
    let mut asked = master.begin(&["reload"]);
    let mut most = 0;
    let mut mixed = false;
    while !asked.ended() {
        let status = master.status();
        let (old, new) = (ready_of(&status, 1), ready_of(&status, 2));
        assert!(old + new >= 5, "every seat has somebody who is ready: {status:?}");
        if status.generation == 1 {
            most = most.max(old + new);
        }
        mixed |= old == 3 && new >= 2;
        std::thread::sleep(Duration::from_millis(3));
    }
    asked.finish().expect(0);
    assert!(
        begun.elapsed() >= Duration::from_millis(1800),
        "three steps, each soaked: {:?}",
        begun.elapsed()
    );
    assert!(most <= 7, "at most two more than the pool: {most}");
    assert!(mixed, "after the first step two new ones and three old ones serve");
    load.wait_answers(50);
    let report = load.stop();
    report.assert_nothing_lost();
    assert_eq!(report.closed_idle, 0);
    master.wait_generation(2);
    end(master);
}

/// Kills a new worker in the second step's soak: the first step is undone too.
#[test]
fn a_step_that_fails_takes_all_of_it_back() {
    let place = Place::new();
    let config = Web::new().workers(4).master("rollout = { step = 2, soak = \"2s\" }");
    let master = Master::start(&place, &config.text());
    master.expect_error("reload failed");
    master.expect_error("worker died");
    let mix = Mix { fresh: 3, kept: 3, slow_post: 1, slow_answer: 2, idle: 3 };
    let load = Load::with(&master.address(), mix);
    place.config(&config.mark("b").text());
    let asked = master.begin(&["reload"]);
    let status =
        master.wait_status("the second step soaks", SOON, |s| ready_of(s, 2) == 4 && ready_of(s, 1) == 2);
    let victim = status.services[0].workers.iter().find(|w| w.generation == 2 && w.seat == 3).unwrap().pid;
    // What is still in its queue is nobody's loss.
    let held = held_by(&master, victim);
    let lost_before = load.lost();
    send(victim, Signal::SIGKILL);
    let said = asked.finish().expect(1);
    for words in ["worker web/3 of generation 2", "before the verdict", "SIGKILL", "generation 1 serves on"] {
        assert!(said.stderr.contains(words), "no {words:?}: {said:?}");
    }
    let status = master.wait_status("the old generation has its seats again", SOON, |s| {
        generations(s) == [1].into() && ready_of(s, 1) == 4 && s.state == "running"
    });
    let last = status.last_reload.unwrap();
    assert!(!last.ok && last.generation == 2, "{last:?}");
    load.wait_answers(100);
    let report = load.stop();
    assert_eq!(lost_before, 0, "{:?}", report.lost);
    assert!(report.lost.len() as u64 <= held, "{held} were open there at most: {:#?}", report.lost);
    assert_eq!(get(&master.address(), "/").unwrap().field("mark"), Some("a"));
    // And the way forward is free.
    master.cli(&["reload", "--drained"]).expect(0);
    assert_eq!(get(&master.address(), "/").unwrap().field("mark"), Some("b"));
    end(master);
}

#[test]
fn a_worker_killed_in_the_soak_of_the_only_step_takes_it_back() {
    let place = Place::new();
    let config = Web::new().master("rollout = { soak = \"2s\" }");
    let master = Master::start(&place, &config.text());
    master.expect_error("reload failed");
    master.expect_error("worker died");
    let pids = master.ready_pids("web");
    let load = Load::start(&master.address());
    let asked = master.begin(&["reload"]);
    let status = master.wait_status("it soaks", SOON, |s| ready_of(s, 2) == 2);
    let victim = status.services[0].workers.iter().find(|w| w.generation == 2).unwrap().pid;
    let held = held_by(&master, victim);
    send(victim, Signal::SIGKILL);
    asked.finish().expect(1);
    master.wait_generation(1);
    assert_eq!(master.ready_pids("web"), pids, "the old ones were there all the time");
    load.wait_answers(50);
    let report = load.stop();
    assert!(report.lost.len() as u64 <= held, "{held} were open there at most: {:#?}", report.lost);
    end(master);
}
