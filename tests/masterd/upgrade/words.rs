//! Signals and requests that come while an upgrade, or a reload, is under way: each ends as documented,
//! with one master, and none is lost in an exec.

use super::{crew, goes_on, goes_well, start};
use crate::harness::{Load, Master, Mix, Place, Running, SOON, Signal, Web, get, install, procs};
use crate::meddle::{children, end};
use masterd::wire::status::Status;
use std::time::Duration;

/// All is watched for so long that whatever comes meanwhile comes on trial.
const LONG: &str = "rollout = { step = \"all\", soak = \"60s\" }";
const SHORT: &str = "rollout = { step = \"all\", soak = \"700ms\" }";

/// How far an upgrade is.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The candidate is at work, and does not end by itself.
    Candidate,
    /// The new image watches its generation.
    Trial,
}

const PHASES: [Phase; 2] = [Phase::Candidate, Phase::Trial];

/// A master whose upgrade has come so far, and who waits for it.
#[track_caller]
fn underway(place: &Place, phase: Phase, web: Web) -> (Master, Running) {
    let master = start(place, &web.master(LONG));
    let words: &[&str] = match phase {
        Phase::Candidate => &["version=0.2.0", "at=candidate", "do=hang"],
        Phase::Trial => &["version=0.2.0"],
    };
    install(place, "masterd", words);
    let asked = master.begin(&["upgrade"]);
    let there = |s: &Status| match phase {
        Phase::Candidate => s.state == "upgrading" && s.version == "0.1.0" && children(s.pid).len() == 3,
        Phase::Trial => {
            let ready = s.services[0].workers.iter().filter(|w| w.generation == 2 && w.state == "ready");
            s.state == "upgrading" && s.version == "0.1.0" && ready.count() == 2
        }
    };
    master.wait_status(&format!("the upgrade is at its {phase:?}"), SOON, there);
    (master, asked)
}

#[test]
fn a_stop_ends_an_upgrade_and_the_master_in_good_order() {
    std::thread::scope(|scope| {
        for signal in [Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGINT] {
            scope.spawn(move || PHASES.map(|phase| stopped_by(signal, phase)));
        }
    });
}

fn stopped_by(signal: Signal, phase: Phase) {
    let place = Place::new();
    let (master, asked) = underway(&place, phase, Web::new().slow("400ms"));
    for words in ["upgrade failed: masterd is stopping", "reload failed (generation 2): masterd is stopping"]
    {
        master.expect_error(words);
    }
    let graceful = signal != Signal::SIGINT;
    let mut slow = crate::harness::Conn::open(&master.address()).unwrap();
    slow.ask("/slow").unwrap();
    master.wait_status("it is in flight", SOON, |s| {
        s.services[0].workers.iter().map(|w| w.in_flight).sum::<u64>() == 1
    });
    master.signal(signal);
    let answer = slow.receive();
    assert_eq!(answer.is_ok_and(|a| a.status == 200), graceful, "{signal} {phase:?}");
    let said = asked.finish().expect(1);
    assert!(said.stderr.contains("masterd is stopping"), "{signal} {phase:?}: {said:?}");
    drop(slow);
    master.wait_exit(0, SOON);
    master.finish();
}

#[test]
fn winch_ends_an_upgrade_and_drains_and_hup_brings_all_back() {
    for phase in PHASES {
        let place = Place::new();
        let (master, asked) = underway(&place, phase, Web::new());
        for words in ["upgrade failed: all workers are drained", "all workers are drained; the old binary"] {
            master.expect_error(words);
        }
        master.signal(Signal::SIGWINCH);
        let said = asked.finish().expect(1);
        assert!(said.stderr.contains("all workers are drained"), "{phase:?}: {said:?}");
        let status = master.wait_status("it is drained", SOON, |s| s.state == "drained");
        assert_eq!((status.version.as_str(), status.generation), ("0.1.0", 1), "{phase:?}");
        assert!(crew(&master).is_empty(), "{phase:?}");
        place.config(&Web::new().text());
        master.signal(Signal::SIGHUP);
        master.wait_status("it is back", SOON, |s| s.state == "running" && s.services[0].workers_ready == 2);
        assert_eq!(get(&master.address(), "/").unwrap().status, 200);
        end(master);
    }
}

#[test]
fn a_second_upgrade_is_refused_until_the_first_is_decided() {
    for phase in PHASES {
        let place = Place::new();
        let (master, asked) = underway(&place, phase, Web::new());
        let said = master.cli(&["upgrade"]).expect(1);
        let why = "an upgrade is under way: try again when it is decided";
        assert!(said.stderr.contains(why), "{phase:?}: {said:?}");
        let refused = |n: usize| master.log().matches("event=upgrade_refused").count() == n;
        assert!(refused(1), "{}", master.log());
        master.signal(Signal::SIGUSR2);
        crate::harness::wait_until("the second one is refused too", SOON, || refused(2));
        assert_eq!(master.status().state, "upgrading");
        for words in ["upgrade failed", "reload failed"] {
            master.expect_error(words);
        }
        end(master);
        asked.finish().expect(1);
    }
}

#[test]
fn a_pool_can_grow_while_the_candidate_runs_and_nothing_is_lost() {
    let place = Place::new();
    let (master, asked) = underway(&place, Phase::Candidate, Web::new().master("ready_timeout = \"3s\""));
    master.expect_error("upgrade failed");
    let load = Load::with(&master.address(), Mix { fresh: 2, kept: 1, ..Mix::none() });
    master.signal(Signal::SIGTTIN);
    master.wait_status("a third worker serves", SOON, |s| s.services[0].workers_ready == 3);
    asked.finish().expect(1);
    let status = master.wait_status("it is over", SOON, |s| s.state == "running");
    assert_eq!((status.services[0].workers_wanted, status.generation), (3, 1));
    assert_eq!(crew(&master).len(), 3);
    load.wait_answers(20);
    load.stop().assert_nothing_lost();
    end(master);
}

#[test]
fn another_size_is_refused_on_trial() {
    let place = Place::new();
    let (master, asked) = underway(&place, Phase::Trial, Web::new());
    let said = master.cli(&["scale", "web", "3"]).expect(1);
    assert!(said.stderr.contains("under way: try again when it is decided"), "{said:?}");
    master.signal(Signal::SIGTTIN);
    master.wait_log("event=scale_refused");
    master.expect_error("upgrade failed");
    master.expect_error("reload failed");
    end(master);
    asked.finish().expect(1);
}

#[test]
fn a_reload_asked_for_during_an_upgrade_runs_when_that_is_done() {
    let place = Place::new();
    let master = start(&place, &Web::new().master(SHORT));
    let load = Load::start(&master.address());
    install(&place, "masterd", &["version=0.2.0"]);
    master.signal(Signal::SIGUSR2);
    master.wait_status("the upgrade is under way", SOON, |s| s.state == "upgrading");
    master.signal(Signal::SIGHUP);
    let reload = master.begin(&["reload"]);
    let said = reload.finish().expect(0);
    assert!(said.stdout.contains("generation 3 serves"), "one reload for both: {said:?}");
    let status = master.wait_generation(3);
    assert_eq!(status.version, "0.2.0");
    assert!(status.last_reload.is_some_and(|r| r.ok && r.generation == 3));
    assert!(status.last_upgrade.is_some_and(|u| u.ok));
    load.wait_answers(20);
    load.stop().assert_nothing_lost();
    end(master);
}

#[test]
fn a_reload_asked_for_during_an_upgrade_runs_when_that_has_failed() {
    for words in [["at=restored", "do=panic"], ["at=worker", "do=exit"], ["at=candidate", "do=exit"]] {
        let place = Place::new();
        let master = start(&place, &Web::new());
        for words in ["upgrade failed", "does not come up", "panic", "worker died"] {
            master.expect_error(words);
        }
        install(&place, "masterd", &words);
        let upgrade = master.begin(&["upgrade"]);
        // Remembered, since an upgrade that has been heard of is not decided within one turn.
        master.wait_log("event=upgrade_started");
        place.config(&Web::new().mark("b").text());
        let said = master.cli(&["reload"]).expect(0);
        upgrade.finish().expect(1);
        let number: u64 =
            said.stdout.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
        let status = master.wait_generation(number);
        assert_eq!(status.version, "0.1.0", "{words:?}");
        assert_eq!(get(&master.address(), "/").unwrap().field("mark"), Some("b"));
        end(master);
    }
}

#[test]
fn an_upgrade_asked_for_during_a_reload_is_refused() {
    let place = Place::new();
    let master = start(&place, &Web::new().master(SHORT));
    install(&place, "masterd", &["version=0.2.0"]);
    let reload = master.begin(&["reload"]);
    master.wait_status("the reload is under way", SOON, |s| s.state == "reloading");
    let said = master.cli(&["upgrade"]).expect(1);
    assert!(said.stderr.contains("a reload is under way: try again when it is decided"), "{said:?}");
    reload.finish().expect(0);
    let status = master.wait_generation(2);
    assert_eq!((status.version.as_str(), status.last_upgrade.is_none()), ("0.1.0", true));
    goes_well(&place, &master, "0.2.0");
    end(master);
}

/// Once with a word at every moment from the fork of the candidate to the verdict.
#[test]
fn no_word_is_lost_in_an_exec() {
    let place = Place::new();
    let master = start(&place, &Web::new());
    let load = Load::with(&master.address(), Mix { fresh: 1, kept: 1, ..Mix::none() });
    let mut generation = 1;
    for round in 0..16 {
        let started = master.log().matches("event=upgrade_started").count();
        master.signal(Signal::SIGUSR2);
        crate::harness::wait_until("the upgrade is heard of", SOON, || {
            master.log().matches("event=upgrade_started").count() > started
        });
        // Not waited for anything: this is where in the upgrade the word comes.
        std::thread::sleep(Duration::from_millis(round * 15));
        master.signal(Signal::SIGHUP);
        generation += 2;
        master.wait_generation(generation);
    }
    load.stop().assert_nothing_lost();
    end(master);
}

const WORDS: [Signal; 6] =
    [Signal::SIGHUP, Signal::SIGUSR2, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGWINCH, Signal::SIGUSR1];

#[test]
fn any_two_words_a_few_milliseconds_apart_end_as_documented() {
    std::thread::scope(|scope| {
        for (n, first) in WORDS.into_iter().enumerate() {
            scope.spawn(move || {
                for (m, second) in WORDS.into_iter().enumerate() {
                    pair(first, second, Duration::from_millis((n * 5 + m * 7) as u64 % 60));
                }
            });
        }
    });
}

fn pair(first: Signal, second: Signal, pause: Duration) {
    let both = [first, second];
    let has = |signal| both.contains(&signal);
    let place = Place::new();
    let master = start(&place, &Web::new());
    install(&place, "masterd", &["version=0.2.0"]);
    for words in ["masterd is stopping", "all workers are drained"] {
        master.expect_error(words);
    }
    let stops = has(Signal::SIGQUIT) || has(Signal::SIGTERM);
    let quiet = stops || has(Signal::SIGWINCH);
    let mix = Mix { fresh: 1, kept: 1, ..Mix::none() };
    let load = (!quiet).then(|| Load::with(&master.address(), mix));
    master.signal(first);
    std::thread::sleep(pause);
    if master.runs() {
        master.signal(second);
    }
    if stops {
        master.wait_exit(0, SOON);
        return master.finish();
    }
    // What was asked for is begun when the log says so; then it is waited for.
    let heard =
        |signal: &Signal| master.log().contains(&format!("signal {}:", signal.as_str().replace("SIG", "")));
    crate::harness::wait_until("both are heard", SOON, || both.iter().all(heard));
    let status = master.wait_status(&format!("{both:?} come to rest"), SOON, |s| {
        let web = &s.services[0];
        let full = web.workers_ready == web.workers_wanted && web.workers.len() == web.workers_ready as usize;
        (s.state == "running" && full) || s.state == "drained"
    });
    let documented: &[(u64, &str)] = match (has(Signal::SIGHUP), has(Signal::SIGUSR2)) {
        (false, false) => &[(1, "0.1.0")],
        (true, false) => &[(1, "0.1.0"), (2, "0.1.0"), (3, "0.1.0")],
        (false, true) => &[(1, "0.1.0"), (2, "0.2.0"), (3, "0.2.0")],
        (true, true) => &[(2, "0.1.0"), (3, "0.2.0")],
    };
    let found = (status.generation, status.version.as_str());
    assert!(documented.contains(&found), "{both:?} {pause:?}: {found:?}");
    let may_do_nothing =
        has(Signal::SIGWINCH) || found.0 > 1 || !(has(Signal::SIGHUP) || has(Signal::SIGUSR2));
    assert!(may_do_nothing, "{both:?} {pause:?}: nothing was done");
    let one = procs::all(|p| p.group == master.pid() && p.parent != master.pid() && p.state != 'Z');
    assert_eq!(one.len(), 1, "one master: {one:?}");
    if let Some(load) = load {
        load.wait_answers(5);
        load.stop().assert_nothing_lost();
    }
    if status.state == "drained" {
        assert!(has(Signal::SIGWINCH), "nothing else drains");
        master.signal(Signal::SIGHUP);
        master.wait_status("it is back", SOON, |s| s.state == "running" && s.services[0].workers_ready == 2);
    }
    assert_eq!(get(&master.address(), "/").expect("it serves").status, 200, "{both:?}");
    end(master);
}

/// What comes to nothing leaves no trace even if it was asked for again and again.
#[test]
fn twenty_words_at_once_are_one_upgrade() {
    let place = Place::new();
    let master = start(&place, &Web::new());
    master.expect_error("upgrade failed");
    let (before, old) = (master.status(), crew(&master));
    install(&place, "masterd", &["at=candidate", "do=exit"]);
    let asked: Vec<Running> = (0..20).map(|_| master.begin(&["upgrade"])).collect();
    for client in asked {
        let said = client.finish().expect(1);
        let why = ["before it had proved itself", "an upgrade is under way"];
        assert!(why.iter().any(|w| said.stderr.contains(w)), "{said:?}");
    }
    goes_on(&master, &before, &old);
    goes_well(&place, &master, "0.2.0");
    end(master);
}
