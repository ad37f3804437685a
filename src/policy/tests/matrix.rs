//! Every word in every stage: it leaves the rules intact (`watch`) and ends in a settled state.

use super::sim::{GOOD, Life, MS, SECOND, SLEEPER, STILLBORN, Sim, plan, service};
use crate::model::Phase;
use crate::model::fleet::{Hold, Stage, Step};
use crate::model::plan::Plan;
use crate::policy::{Event, Request, Word};

const WORDS: [Word; 8] = [
    Word::Reload,
    Word::Quit,
    Word::Terminate,
    Word::Interrupt,
    Word::Reopen,
    Word::Drain,
    Word::More,
    Word::Fewer,
];

/// A world in some stage of its life, and its name.
type Scene = (&'static str, fn() -> Sim);

fn file() -> Plan {
    let mut file = plan(vec![service("web", 3), service("api", 1)]);
    file.rollout = crate::model::plan::Rollout { step: Some(2), soak: SECOND };
    file.max_draining = 1;
    file.services[0].delay = 2 * SECOND;
    file.services[0].per_worker = true;
    file
}

fn step_of(sim: &Sim) -> Option<Step> {
    sim.fleet.rollover.as_ref().map(|r| r.step)
}

fn reloading(name: &str, test: fn(&Sim) -> bool) -> Sim {
    let mut sim = Sim::started(file());
    sim.since_generation(2, Life { ready: Some(50 * MS), ..GOOD });
    sim.reload();
    sim.until(name, test);
    sim
}

fn signalled(word: Word, then: std::time::Duration) -> Sim {
    let mut sim = Sim::started(file());
    sim.signal(word);
    sim.pass(then);
    sim
}

fn crash_looping() -> Sim {
    let mut sim = Sim::started(file());
    sim.everybody(STILLBORN);
    let worker = sim.worker_at(0);
    sim.kill(worker);
    sim.pass(SECOND);
    sim
}

fn taken_back() -> Sim {
    let mut sim = Sim::started(file());
    sim.at_seat(2, 2, STILLBORN);
    sim.rules.push((None, Some(0), 1..=1, SLEEPER));
    sim.reload();
    sim.until("it is taken back", |s| s.fleet.last_reload.is_some());
    sim.pass(100 * MS);
    sim
}

const SCENES: [Scene; 16] = [
    ("before the start", || Sim::new(file())),
    ("starting", || {
        let mut sim = Sim::new(file());
        sim.since_generation(1, Life { ready: Some(50 * MS), ..GOOD });
        sim.tell(Event::Boot);
        sim.pass(20 * MS);
        sim
    }),
    ("running", || Sim::started(file())),
    ("reading the config", || reloading("reading", Sim::is_reading)),
    ("opening listeners", || reloading("opening", |s| step_of(s) == Some(Step::OpeningListeners))),
    ("in the first step", || reloading("starting", |s| step_of(s) == Some(Step::Starting))),
    ("in the soak", || reloading("soaking", |s| matches!(step_of(s), Some(Step::Soaking(_))))),
    ("in the second step", || {
        reloading("stepping", |s| {
            step_of(s) == Some(Step::Starting)
                && s.generations().contains(&(1, 2))
                && s.generations().len() == 3
        })
    }),
    ("waiting for room", || {
        let mut sim = Sim::started(file());
        sim.everybody(Life { drains: Some(25 * SECOND), ..GOOD });
        for _ in 0..3 {
            sim.reload();
            sim.until("it is decided", |s| {
                s.fleet.rollover.is_none() || step_of(s) == Some(Step::WaitingForRoom)
            });
        }
        sim
    }),
    ("with a reload remembered", || {
        let mut sim = reloading("soaking", |s| matches!(step_of(s), Some(Step::Soaking(_))));
        sim.reload();
        sim
    }),
    ("taken back, with stand-ins", taken_back),
    ("about to be held", || signalled(Word::Drain, SECOND)),
    ("held", || signalled(Word::Drain, 10 * SECOND)),
    ("about to be fenced", || signalled(Word::Quit, SECOND)),
    ("in the last drain", || signalled(Word::Quit, 2500 * MS)),
    ("crash looping", crash_looping),
];

fn settles(mut sim: Sim, what: &str) {
    sim.everybody(GOOD);
    if sim.fleet.last_generation.0 == 0 && !sim.fleet.is_stopping() {
        sim.tell(Event::Boot);
    }
    sim.rest();
    assert_eq!(sim.unanswered(), None, "{what}");
    if sim.fleet.is_stopping() {
        return assert_eq!(sim.left, Some(0), "{what}");
    }
    assert_eq!((sim.fleet.stage, sim.left), (Stage::Running, None), "{what}");
    assert!(sim.fleet.rollover.is_none() && sim.fleet.remembered.is_none(), "{what}");
    assert!(sim.fleet.workers.values().all(|w| w.phase == Phase::Ready), "{what}");
    for (name, service) in &sim.fleet.services {
        let ready = sim.ready(&name.0);
        match service.hold {
            Hold::No => assert_eq!(ready, service.wanted, "{name} {what}"),
            Hold::Held => assert_eq!(ready, 0, "{name} {what}"),
            Hold::Delayed(_) => panic!("{name} is still about to drain {what}"),
        }
    }
}

#[test]
fn every_scene_is_what_it_says() {
    for (name, scene) in SCENES {
        settles(scene(), name);
    }
    let waiting = SCENES.iter().find(|(name, _)| *name == "waiting for room").expect("it is there").1();
    assert_eq!(step_of(&waiting), Some(Step::WaitingForRoom));
    let stand_ins = taken_back();
    assert!(stand_ins.generations().contains(&(0, 2)) && stand_ins.fleet.rollover.is_none());
}

#[test]
fn every_word_in_every_stage_settles() {
    for (name, scene) in SCENES {
        for word in WORDS {
            let mut sim = scene();
            sim.signal(word);
            settles(sim, &format!("{word:?} {name}"));
        }
    }
}

#[test]
fn every_pair_of_words_in_every_stage_settles() {
    for (name, scene) in SCENES {
        for (first, second) in WORDS.iter().flat_map(|a| WORDS.map(|b| (*a, b))) {
            for gap in [0, 5, 50, 1500] {
                let mut sim = scene();
                sim.signal(first);
                sim.pass(gap * MS);
                sim.signal(second);
                settles(sim, &format!("{first:?}, {second:?} after {gap} ms, {name}"));
            }
        }
    }
}

#[test]
fn every_request_in_every_stage_is_answered() {
    let requests = [
        Request::Reload { service: None, drained: false },
        Request::Reload { service: Some("web".into()), drained: true },
        Request::Stop { fast: false },
        Request::Stop { fast: true },
        Request::Scale { service: "web".into(), workers: 5 },
        Request::Scale { service: "web".into(), workers: 1 },
        Request::Drain { service: None },
        Request::Resume { service: Some("web".into()) },
    ];
    for (name, scene) in SCENES {
        for request in &requests {
            let mut sim = scene();
            sim.ask(request.clone());
            settles(sim, &format!("{request:?} {name}"));
        }
    }
}
