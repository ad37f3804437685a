//! How far it is, for whoever waits: one line and a bar, made from the fleet and the scoreboard.
//!
//! Says what the master itself waits for at this moment, not what one client asked.

use super::turn::{Shell, now};
use crate::model::fleet::{Fleet, Rollover, Step, UpgradeStep, Worker};
use crate::model::{Class, Generation, Moment, Phase, WorkerId};
use crate::policy::Request;
use crate::scoreboard::view::Figures;
use crate::wire::control::Progress;
use std::collections::BTreeMap;

/// The first word to a client whose request was understood.
pub fn asked(request: &Request) -> Progress {
    let stage = match request {
        Request::Reload { .. } => "reload",
        Request::Upgrade { .. } => "upgrade",
        Request::Stop { .. } => "stop",
        Request::Scale { .. } => "scale",
        Request::Drain { .. } => "drain",
        Request::Resume { .. } => "resume",
        Request::Reopen => "reopen",
    };
    Progress { stage: stage.to_owned(), text: format!("{stage} asked for"), ..Progress::default() }
}

/// What happens now.
pub fn of(shell: &mut Shell) -> Progress {
    let now = now();
    if let Some(rollover) = &shell.fleet.rollover {
        return rolling(&shell.fleet, rollover, now);
    }
    if let Some(upgrade) = &shell.fleet.upgrade {
        return upgrading(&shell.fleet, upgrade.step);
    }
    match shell.fleet.draining_generations().first() {
        Some(oldest) => draining(shell, *oldest, now),
        None => settling(&shell.fleet),
    }
}

fn upgrading(fleet: &Fleet, step: UpgradeStep) -> Progress {
    let (stage, text) = match step {
        UpgradeStep::WaitingForRoom => {
            let n = fleet.draining_generations().len();
            ("waiting", format!("waiting: {n} generations still drain"))
        }
        UpgradeStep::Candidate(_) => ("candidate", "the new binary is tried".to_owned()),
        UpgradeStep::Executing | UpgradeStep::Trial => ("executing", "the new binary takes over".to_owned()),
    };
    Progress { stage: stage.to_owned(), text, ..Progress::default() }
}

fn rolling(fleet: &Fleet, rollover: &Rollover, now: Moment) -> Progress {
    let generation = rollover.generation;
    let ours = || fleet.workers.values().filter(|w| w.generation == generation);
    let done = ours().filter(|w| w.phase == Phase::Ready).count() as u64;
    let total = (ours().count() + rollover.left.len()) as u64;
    let (stage, text) = match rollover.step {
        Step::WaitingForRoom => {
            let n = fleet.draining_generations().len();
            ("waiting", format!("waiting: {n} generations still drain"))
        }
        Step::ReadingConfig => ("reading", "reading the config".to_owned()),
        Step::OpeningListeners => ("opening", "opening listeners".to_owned()),
        Step::Starting => ("starting", format!("starting gen {generation}: {done} of {total} ready")),
        Step::Lost => ("returning", "the old binary takes over again".to_owned()),
        Step::Soaking(until) => {
            let left = until.since(now).as_secs_f64();
            ("soaking", format!("gen {generation} is ready, watched for {left:.0}s more"))
        }
    };
    Progress { stage: stage.to_owned(), done, total, text }
}

fn draining(shell: &mut Shell, generation: Generation, now: Moment) -> Progress {
    let fleet = &shell.fleet;
    let going = |id| {
        let worker = fleet.workers.get(id);
        worker.is_some_and(|w| w.generation == generation && w.phase != Phase::Ready)
    };
    let figures: BTreeMap<WorkerId, Figures> = shell
        .crew
        .handles
        .iter_mut()
        .filter(|(id, _)| going(id))
        .map(|(id, h)| (*id, h.view.figures()))
        .collect();
    let by_class = |class: Class| figures.values().map(|f| f.active[class.index()]).sum::<u64>();
    let active: u64 = Class::ALL.iter().map(|c| by_class(*c)).sum();
    let migrated: u64 = figures.values().map(|f| f.migrated_out).sum();
    let end = |(id, worker): (&WorkerId, &Worker)| {
        let lasts = worker.pulse.long_lived || figures.get(id).is_some_and(Figures::has_long_lived);
        worker.drain.filter(|_| worker.generation == generation).map(|drain| drain.cut_at(lasts))
    };
    let left = fleet.workers.iter().filter_map(end).map(|at| at.since(now)).max().unwrap_or_default();
    let text = format!(
        "draining gen {generation}: {active} active ({}), {migrated} migrated, {:.1}s left",
        Class::census(by_class),
        left.as_secs_f64()
    );
    Progress { stage: "draining".to_owned(), done: migrated, total: migrated + active, text }
}

fn settling(fleet: &Fleet) -> Progress {
    let ready = fleet.workers.values().filter(|w| w.phase == Phase::Ready).count() as u64;
    let wanted: u64 = fleet.services.values().map(|s| u64::from(s.wanted)).sum();
    let text = format!("{ready} of {wanted} workers ready");
    Progress { stage: "settling".to_owned(), done: ready, total: wanted, text }
}
