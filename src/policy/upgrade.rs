//! Another binary: a candidate proves it, the image is executed, its first generation is the verdict.
//!
//! ```text
//!             old image                    │              new image
//! ask ─► room? ─► candidate ─► execute ────┼─► restored ─► a reload ─► in force: done
//!          └──────────┴───────────┴─ fail  │                  └─► lost: go back ─┐
//!                       fail ◄─ returned ◄─┴─────────────────────────────────────┘
//! ```
//!
//! Up to the execution nothing has changed, and a failure is a sentence. After it the reload under way
//! (`rollover`) decides: `verdict` calls `done`, or `lost`, and then the old image takes over again and
//! finds out by `returned`; so it does when the new one crashes or stands still. One upgrade at a
//! time; one asked for while a reload is undecided is refused, a reload asked for meanwhile remembered.

use super::turn::Turn;
use super::vocabulary::{Action, Answer, Level, Proof, Refused};
use super::{printed, rollover, verdict};
use crate::model::fleet::{Stage, Step, Until, Upgrade, UpgradeOutcome, UpgradeStep, Waiter};
use crate::model::{ClientId, Generation};

/// Somebody wants another image, from `binary` or from where this one came from.
pub fn ask(turn: &mut Turn, binary: Option<String>, client: Option<(ClientId, bool)>) {
    let fleet = &turn.fleet;
    let refused = match () {
        () if fleet.is_stopping() => Some("masterd is stopping: no upgrade"),
        () if fleet.stage == Stage::Starting => Some("the first generation is not ready yet: no upgrade"),
        () if fleet.upgrade.is_some() => Some("an upgrade is under way: try again when it is decided"),
        () if fleet.rollover.is_some() => Some("a reload is under way: try again when it is decided"),
        () => None,
    };
    if let Some(why) = refused {
        turn.note(Level::Warn, "upgrade_refused", why);
        if let Some((client, _)) = client {
            turn.push(Action::Answer { client, answer: Answer::bad(why) });
        }
        return;
    }
    let step = UpgradeStep::WaitingForRoom;
    turn.fleet.upgrade = Some(Upgrade { client, binary, step, version: None, failure: None });
    turn.note(Level::Info, "upgrade_started", "upgrade: the new binary is tried");
    due(turn, false);
}

/// Moves on when there is room for one more generation, and gives up a candidate that takes too long.
pub fn due(turn: &mut Turn, late: bool) {
    let now = turn.now;
    match turn.fleet.upgrade.as_ref().map(|u| u.step) {
        Some(UpgradeStep::WaitingForRoom) if rollover::make_room(turn) => try_candidate(turn),
        Some(UpgradeStep::Candidate(until)) if late && until <= now => {
            let patience = turn.fleet.plans.get(&turn.fleet.plan).map(|p| p.ready_timeout);
            let took = patience.unwrap_or_default();
            let why = format!("the new binary has not proved itself within {took:?} (ready_timeout)");
            turn.push(Action::CancelUpgrade);
            fail(turn, why, Vec::new());
        }
        _ => {}
    }
}

fn try_candidate(turn: &mut Turn) {
    let patience = turn.fleet.plans.get(&turn.fleet.plan).map(|p| p.ready_timeout).unwrap_or_default();
    let until = turn.now + patience;
    if let Some(upgrade) = turn.fleet.upgrade.as_mut() {
        upgrade.step = UpgradeStep::Candidate(until);
        let binary = upgrade.binary.clone();
        turn.push(Action::StartCandidate { binary });
    }
}

/// The candidate has ended: what it proved, or why it did not.
pub fn candidate(turn: &mut Turn, result: Result<Proof, Refused>) {
    let Some(upgrade) = turn.fleet.upgrade.as_mut() else { return };
    if !matches!(upgrade.step, UpgradeStep::Candidate(_)) {
        return;
    }
    match result {
        Ok(Proof { version }) => {
            upgrade.step = UpgradeStep::Executing;
            upgrade.version = Some(version.clone());
            let text = format!("masterd {version} has proved itself and takes over");
            turn.note(Level::Info, "upgrade_proved", text);
            turn.push(Action::ExecImage);
        }
        Err(Refused { version, why, lines }) => {
            upgrade.version = version;
            fail(turn, why, lines);
        }
    }
}

/// The image could not be executed: this one goes on.
pub fn exec_failed(turn: &mut Turn, why: String) {
    if turn.fleet.upgrade.as_ref().is_some_and(|u| u.step == UpgradeStep::Executing) {
        fail(turn, why, Vec::new());
    }
}

/// This is the new image, and everything is in its hands: its first generation decides.
pub fn restored(turn: &mut Turn) {
    let Some(upgrade) = turn.fleet.upgrade.as_mut() else { return };
    upgrade.step = UpgradeStep::Trial;
    let version = upgrade.version.clone().unwrap_or_default();
    turn.note(
        Level::Info,
        "upgrade_executed",
        format!("masterd {version} has taken over; its workers start"),
    );
    rollover::begin_trial(turn);
}

/// The new image's generation is in force.
pub fn done(turn: &mut Turn, generation: Generation) {
    let Some(upgrade) = turn.fleet.upgrade.take() else { return };
    let version = upgrade.version;
    let text = format!("masterd {} serves as generation {generation}", version.as_deref().unwrap_or("?"));
    turn.fleet.last_upgrade = Some(UpgradeOutcome { at: turn.now, version, error: None });
    turn.push(Action::CommitImage { binary: upgrade.binary });
    turn.note_generation(Level::Info, "upgrade_done", generation, text.clone());
    match upgrade.client {
        Some((client, true)) => {
            let until = Until::Drained { before: generation, service: None };
            turn.fleet.waiters.push(Waiter { client, until });
        }
        Some((client, false)) => {
            turn.push(Action::Answer { client, answer: Answer::good(text, generation) });
        }
        None => {}
    }
}

/// Whether the reload under way is the trial of a new image that is to be taken back as a whole.
pub fn on_trial(turn: &Turn) -> bool {
    let trial = turn.fleet.upgrade.as_ref().is_some_and(|u| u.step == UpgradeStep::Trial);
    trial && !turn.fleet.is_stopping()
}

/// The new image's generation does not come up: the old image takes over again, this reload with it.
pub fn lost(turn: &mut Turn, why: String, lines: Vec<String>) {
    let Some(rollover) = turn.fleet.rollover.as_mut().filter(|r| r.step != Step::Lost) else { return };
    rollover.step = Step::Lost;
    rollover.current.clear();
    rollover.left.clear();
    let generation = rollover.generation;
    turn.note_generation(
        Level::Error,
        "upgrade_lost",
        generation,
        format!(
            "generation {generation} does not come up: {}; the old binary takes over again",
            printed::brief(&why, &lines)
        ),
    );
    if let Some(upgrade) = turn.fleet.upgrade.as_mut() {
        upgrade.failure = Some((why, lines));
    }
    turn.push(Action::GoBack);
}

/// This is the old image again: because of what `lost` left, or for this reason.
pub fn returned(turn: &mut Turn, why: Option<String>) {
    let crashed = |why| format!("the new binary {why}");
    let (why, lines) = match turn.fleet.upgrade.as_mut().and_then(|u| u.failure.take()) {
        Some((why, lines)) => (why, lines),
        None => (crashed(why.unwrap_or_else(|| "gave up for no reason".to_owned())), Vec::new()),
    };
    if let Some(rollover) = turn.fleet.rollover.take() {
        verdict::undo(turn, &rollover);
    }
    fail(turn, why, lines);
}

/// The later word counts: an upgrade that has not executed its image yet ends here. One that has ends
/// with its reload.
pub fn abort(turn: &mut Turn, why: &str) {
    let step = turn.fleet.upgrade.as_ref().map(|u| u.step);
    if step.is_some_and(|step| step != UpgradeStep::Trial) {
        turn.push(Action::CancelUpgrade);
        fail(turn, why.to_owned(), Vec::new());
    }
}

/// The upgrade came to nothing; this image goes on.
pub fn fail(turn: &mut Turn, why: String, lines: Vec<String>) {
    let Some(upgrade) = turn.fleet.upgrade.take() else { return };
    let brief = printed::brief(&why, &lines);
    turn.note(Level::Error, "upgrade_failed", format!("upgrade failed: {brief}"));
    let served = turn.fleet.serving;
    let text = match turn.fleet.is_stopping() {
        true => why,
        false => format!("{why}; the old binary and generation {served} serve on"),
    };
    let error = Some(brief);
    turn.fleet.last_upgrade = Some(UpgradeOutcome { at: turn.now, version: upgrade.version, error });
    if let Some((client, _)) = upgrade.client {
        let answer = Answer { ok: false, text, lines, generation: Some(served) };
        turn.push(Action::Answer { client, answer });
    }
}
