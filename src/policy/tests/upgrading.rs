//! Another binary: proved, executed, in force; or refused, lost and taken back, with the old one going on.

use super::sim::{MS, SECOND, SLEEPER, STILLBORN, Sim, plan, service};
use crate::model::fleet::{Hold, Stage, Step, UpgradeStep};
use crate::model::plan::Pool;
use crate::model::{ClientId, Generation, ServiceName};
use crate::policy::{Action, Event, Proof, Refused, Request, Word};

impl Sim {
    /// What becomes of the actions of an upgrade.
    pub fn cross(&mut self, action: &Action) {
        match action {
            Action::StartCandidate { .. } => {
                if let Some(said) = self.candidate.clone() {
                    self.plan(20 * MS, Event::Candidate(said));
                }
            }
            Action::CancelUpgrade => {
                self.forget_planned(|e| {
                    matches!(e, Event::Candidate(_) | Event::Restored | Event::ExecFailed { .. })
                });
            }
            Action::ExecImage => {
                let failed = self.exec_fails.clone().map(|why| Event::ExecFailed { why });
                self.plan(5 * MS, failed.unwrap_or(Event::Restored));
            }
            Action::GoBack => self.plan(5 * MS, Event::Returned { why: None }),
            _ => {}
        }
    }

    /// Whatever an upgrade under way waits for is about to happen.
    pub fn resume_upgrade(&mut self) {
        match self.fleet.upgrade.as_ref().map(|u| u.step) {
            Some(UpgradeStep::Candidate(_)) => self.cross(&Action::StartCandidate { binary: None }),
            Some(UpgradeStep::Executing) => self.cross(&Action::ExecImage),
            Some(UpgradeStep::Trial) if self.is_lost() => self.cross(&Action::GoBack),
            Some(UpgradeStep::Trial | UpgradeStep::WaitingForRoom) | None => {}
        }
    }

    fn is_lost(&self) -> bool {
        self.fleet.rollover.as_ref().is_some_and(|r| r.step == Step::Lost)
    }

    fn upgrade(&mut self) -> ClientId {
        self.ask(Request::Upgrade { binary: None, drained: false })
    }

    fn last_error(&self) -> Option<String> {
        self.fleet.last_upgrade.clone().expect("an upgrade was decided").error
    }

    fn on_trial(&self) -> bool {
        self.fleet.upgrade.as_ref().is_some_and(|u| u.step == UpgradeStep::Trial)
    }
}

#[test]
fn a_binary_that_proves_itself_serves_as_the_next_generation() {
    let mut sim = Sim::running(2);
    let client = sim.upgrade();
    assert_eq!(sim.spawns(), 2, "nothing is started before it has proved itself");
    sim.rest();
    assert_eq!(sim.generations(), [(0, 2), (1, 2)]);
    assert_eq!(sim.answer(client).text, "masterd 2 serves as generation 2");
    assert_eq!((sim.last_error(), sim.fleet.last_reload.clone()), (None, None));
    assert_eq!(sim.count(|a| matches!(a, Action::CommitImage { .. })), 1);
    assert_eq!(sim.count(|a| *a == Action::GoBack), 0);
}

#[test]
fn who_waits_for_the_old_generation_is_answered_when_it_is_gone() {
    let mut sim = Sim::running(1);
    let client = sim.ask(Request::Upgrade { binary: Some("/new".to_owned()), drained: true });
    sim.until("it is in force", |s| s.fleet.serving == Generation(2));
    assert!(!sim.answers.contains_key(&client));
    sim.rest();
    assert!(sim.answer(client).ok);
    assert_eq!(sim.count(|a| *a == Action::CommitImage { binary: Some("/new".to_owned()) }), 1);
}

#[test]
fn a_candidate_that_fails_changes_nothing() {
    let mut sim = Sim::running(2);
    let lines = vec!["it said this".to_owned()];
    let refused = Refused { version: Some("2".to_owned()), why: "it crashed".to_owned(), lines };
    sim.candidate = Some(Err(refused));
    let client = sim.upgrade();
    sim.rest();
    assert_eq!(sim.refused(client), "it crashed; the old binary and generation 1 serve on");
    assert_eq!(sim.answer(client).lines, ["it said this"]);
    assert_eq!((sim.spawns(), sim.fleet.last_generation), (2, Generation(1)), "no number is used up");
    assert_eq!(sim.last_error().as_deref(), Some("it crashed"));
}

#[test]
fn a_candidate_that_says_nothing_is_ended_at_the_deadline() {
    let mut sim = Sim::running(1);
    sim.candidate = None;
    let (client, began) = (sim.upgrade(), sim.now);
    sim.rest();
    assert_eq!(sim.now.since(began), 30 * SECOND);
    assert!(sim.refused(client).contains("within 30s"), "{}", sim.refused(client));
    assert_eq!(sim.count(|a| *a == Action::CancelUpgrade), 1);
}

#[test]
fn an_image_that_can_not_be_executed_changes_nothing() {
    let mut sim = Sim::running(1);
    sim.exec_fails = Some("no memory".to_owned());
    let client = sim.upgrade();
    sim.rest();
    assert!(sim.refused(client).starts_with("no memory"));
    assert_eq!((sim.generations(), sim.spawns()), (vec![(0, 1)], 1));
}

#[test]
fn a_generation_that_does_not_come_up_is_taken_back_by_the_old_image() {
    for life in [STILLBORN, SLEEPER] {
        let mut sim = Sim::running(2);
        sim.at_seat(1, 2, life);
        let client = sim.upgrade();
        sim.until("it is lost", Sim::is_lost);
        assert!(!sim.answers.contains_key(&client), "the old image answers");
        sim.rest();
        assert_eq!(sim.generations(), [(0, 1), (1, 1)]);
        assert!(sim.refused(client).ends_with("the old binary and generation 1 serve on"));
        assert_eq!((sim.fleet.upgrade.clone(), sim.fleet.rollover.is_some()), (None, false));
        assert_eq!(sim.fleet.last_generation, Generation(2), "its number is used up");
        assert_eq!(sim.fleet.last_reload, None, "nobody asked for a reload");
        assert_eq!(sim.count(|a| *a == Action::GoBack), 1);
    }
}

#[test]
fn a_new_image_that_crashes_at_any_moment_leaves_the_old_generation_whole() {
    for after in 0..40 {
        let mut file = plan(vec![service("web", 3)]);
        file.rollout.step = Some(1);
        file.rollout.soak = SECOND;
        let mut sim = Sim::started(file);
        let client = sim.upgrade();
        sim.until("the new image runs", Sim::on_trial);
        for _ in 0..after {
            sim.step();
        }
        if sim.fleet.upgrade.is_none() {
            return assert!(after > 10, "it was long enough");
        }
        // What was asked of the image that crashed is asked of nobody any more.
        sim.forget_planned(|e| matches!(e, Event::ConfigRead(_) | Event::Opened));
        sim.tell(Event::Returned { why: Some("crashed (SIGSEGV)".to_owned()) });
        sim.rest();
        assert_eq!(sim.generations(), [(0, 1), (1, 1), (2, 1)], "after {after} steps");
        let told = "the new binary crashed (SIGSEGV); the old binary and generation 1 serve on";
        assert_eq!(sim.refused(client), told);
    }
    panic!("it is never decided");
}

#[test]
fn one_change_at_a_time() {
    let mut sim = Sim::running(1);
    let first = sim.reload();
    let second = sim.upgrade();
    assert!(sim.refused(second).contains("a reload is under way"));
    sim.rest();
    assert!(sim.answer(first).ok);

    let third = sim.upgrade();
    let fourth = sim.upgrade();
    assert!(sim.refused(fourth).contains("an upgrade is under way"));
    let fifth = sim.reload();
    sim.rest();
    assert!(sim.answer(third).ok && sim.answer(fifth).ok);
    assert_eq!(sim.generations(), [(0, 4)], "the reload was remembered");
}

#[test]
fn a_reload_asked_for_meanwhile_runs_in_the_old_image_if_the_new_one_is_lost() {
    let mut sim = Sim::running(1);
    sim.at_seat(0, 2, STILLBORN);
    let upgrade = sim.upgrade();
    sim.until("the new image runs", Sim::on_trial);
    let reload = sim.reload();
    sim.until("the upgrade is decided", |s| s.answers.contains_key(&upgrade));
    sim.rules.clear();
    sim.rest();
    assert!(sim.answer(reload).ok, "{:?}", sim.answer(reload));
    assert_eq!(sim.generations(), [(0, 3)]);
}

#[test]
fn a_stop_ends_an_upgrade_wherever_it_is() {
    for steps in 0..12 {
        let mut sim = Sim::running(2);
        let client = sim.upgrade();
        for _ in 0..steps {
            sim.step();
        }
        if sim.fleet.upgrade.is_none() {
            return assert!(steps > 5);
        }
        sim.signal(Word::Quit);
        assert_eq!(sim.refused(client), "masterd is stopping", "after {steps} steps");
        sim.rest();
        assert_eq!(sim.left, Some(0));
        assert_eq!(sim.count(|a| *a == Action::GoBack), 0, "this image sees to the end");
    }
    panic!("it is never decided");
}

#[test]
fn a_drain_of_everything_ends_an_upgrade() {
    for trial in [false, true] {
        let mut sim = Sim::running(1);
        let client = sim.upgrade();
        if trial {
            sim.until("the new image runs", Sim::on_trial);
        }
        sim.signal(Word::Drain);
        sim.rest();
        assert!(sim.refused(client).starts_with("all workers are drained"));
        assert!(sim.fleet.workers.is_empty() && sim.fleet.stage == Stage::Running);
        assert_eq!(sim.count(|a| *a == Action::GoBack), usize::from(trial));
    }
}

#[test]
fn numbers_set_by_hand_and_grown_pools_go_on_and_end_with_the_next_reload() {
    let mut by_load = service("load", 0);
    by_load.pool = Pool::Range { min: 1, max: 4 };
    let mut sim = Sim::started(plan(vec![service("web", 2), by_load]));
    let (web, load) = (ServiceName::from("web"), ServiceName::from("load"));
    for (name, workers) in [(&web, 5), (&load, 3)] {
        sim.ask(Request::Scale { service: name.clone(), workers });
        sim.rest();
    }
    let client = sim.upgrade();
    sim.rest();
    assert!(sim.answer(client).ok);
    assert_eq!((sim.ready("web"), sim.ready("load")), (5, 3));
    assert!(sim.fleet.services[&web].scaled);
    sim.reload();
    sim.rest();
    assert_eq!((sim.ready("web"), sim.ready("load"), sim.fleet.services[&web].scaled), (2, 1, false));
}

#[test]
fn what_is_drained_stays_so_until_it_is_resumed() {
    let mut sim = Sim::started(plan(vec![service("web", 2), service("api", 1)]));
    sim.ask(Request::Drain { service: Some("web".into()) });
    sim.rest();
    let client = sim.upgrade();
    sim.rest();
    assert!(sim.answer(client).ok);
    assert_eq!((sim.ready("web"), sim.ready("api")), (0, 1));
    assert_eq!(sim.fleet.services[&ServiceName::from("web")].hold, Hold::Held);
    sim.ask(Request::Resume { service: Some("web".into()) });
    sim.rest();
    assert_eq!(sim.generations(), [(0, 2), (1, 2)]);
}

#[test]
fn a_throttled_service_goes_on_being_throttled() {
    let mut sim = Sim::started(plan(vec![service("web", 1), service("bad", 1)]));
    sim.rules.push((Some("bad".into()), None, 0..=1, STILLBORN));
    let bad = ServiceName::from("bad");
    let id = sim.fleet.workers_of(&bad).map(|(id, _)| id).next().expect("its worker");
    sim.kill(id);
    sim.until("it has died early five times", |s| s.fleet.services[&bad].backoff.early_deaths >= 5);
    let before = sim.fleet.services[&bad].backoff.early_deaths;
    sim.upgrade();
    sim.until("it is in force", |s| s.fleet.serving == Generation(2));
    assert!(sim.fleet.services[&bad].backoff.early_deaths >= before);
    sim.rest();
    assert_eq!(sim.fleet.services[&bad].backoff.early_deaths, 0, "a second of life disproves it");
}

#[test]
fn an_upgrade_waits_for_room_like_a_reload() {
    let mut file = plan(vec![service("web", 1)]);
    file.max_draining = 1;
    let mut sim = Sim::started(file);
    let worker = sim.worker_at(0);
    sim.deafen(worker);
    sim.reload();
    sim.until("the first generation drains", |s| s.fleet.serving == Generation(2));
    let (client, began) = (sim.upgrade(), sim.now);
    sim.until("it is decided", |s| s.answers.contains_key(&client));
    assert!(sim.answer(client).ok && sim.now.since(began) >= 29 * SECOND, "after the grace of the oldest");
}

#[test]
fn a_client_that_went_away_is_not_answered() {
    let mut sim = Sim::running(1);
    let client = sim.upgrade();
    sim.hang_up(client);
    sim.rest();
    assert_eq!(sim.last_error(), None);
    assert!(!sim.answers.contains_key(&client));
}

#[test]
fn what_comes_too_late_means_nothing() {
    let mut sim = Sim::running(1);
    let proof = Proof { version: "2".to_owned() };
    for event in [
        Event::Candidate(Ok(proof)),
        Event::Restored,
        Event::Returned { why: Some("crashed".to_owned()) },
        Event::ExecFailed { why: "no".to_owned() },
    ] {
        assert_eq!(sim.tell(event), [], "there is no upgrade");
    }
}
