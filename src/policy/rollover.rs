//! Reload, and the first start: a new generation comes in step by step, or is taken back whole.
//!
//! ```text
//! ask ─► room? ─► read config ─► open listeners ─► start a step ─► all ready ─► soak ─► next step
//!                      └──────────────┴───────────────────┴───────── fail           └─► done
//! ```
//!
//! The steps are `rollout`'s, the end `verdict`'s. A reload asked for meanwhile is remembered once, and
//! begins when this one is decided. One that would leave too many generations draining waits.

use super::turn::Turn;
use super::vocabulary::{Action, Answer, Level, NewConfig};
use super::{drain, rollout, upgrade, verdict};
use crate::model::fleet::{Ask, Fleet, Hold, Rollover, Stage, Step};
use crate::model::plan::{Pool, ServicePlan};
use crate::model::{ClientId, Generation, Moment, Phase, PlanId, Seat, ServiceName};
use std::collections::BTreeSet;

/// Whether a generation is that of the reload under way.
pub fn owns(turn: &Turn, generation: Generation) -> bool {
    turn.fleet.rollover.as_ref().is_some_and(|r| r.generation == generation)
}

/// The first generation, from the plan the fleet was made with.
pub fn boot(turn: &mut Turn) {
    if turn.fleet.last_generation > Generation(0) {
        return;
    }
    begin(turn, Ask::default(), true);
    let plan = turn.fleet.plan;
    open(turn, plan);
}

/// Somebody wants a reload.
pub fn ask(turn: &mut Turn, only: Option<ServiceName>, client: Option<(ClientId, bool)>) {
    let asked = Ask { only, clients: client.into_iter().collect() };
    if turn.fleet.is_stopping() {
        return refuse(turn, asked, "masterd is stopping: no reload");
    }
    if turn.fleet.rollover.is_none() && turn.fleet.upgrade.is_none() && turn.fleet.stage == Stage::Running {
        return begin(turn, asked, false);
    }
    let earlier =
        turn.fleet.remembered.get_or_insert_with(|| Ask { only: asked.only.clone(), clients: Vec::new() });
    if earlier.only != asked.only {
        if let (Some(one), Some(_)) = (&earlier.only, &asked.only) {
            let why = format!("a reload of {one} alone is waiting already: try again when it is decided");
            return refuse(turn, asked, &why);
        }
        earlier.only = None;
    }
    earlier.clients.extend(asked.clients);
    let what = if turn.fleet.upgrade.is_some() { "an upgrade" } else { "a reload" };
    let text = format!("{what} is under way: the next reload runs when it is decided");
    turn.note(Level::Info, "reload_remembered", text);
}

fn refuse(turn: &mut Turn, ask: Ask, why: &str) {
    turn.note(Level::Warn, "reload_refused", why);
    for (client, _) in ask.clients {
        turn.push(Action::Answer { client, answer: Answer::bad(why) });
    }
}

/// Something stronger than a reload ends the one under way; the start is not its business.
pub fn abort(turn: &mut Turn, why: &str) {
    if turn.fleet.rollover.as_ref().is_some_and(|r| !r.first) {
        verdict::fail(turn, why.to_owned(), Vec::new());
    }
}

/// The first generation of a new image: nobody asked for it as a reload.
pub fn begin_trial(turn: &mut Turn) {
    begin(turn, Ask::default(), false);
}

fn begin(turn: &mut Turn, ask: Ask, first: bool) {
    let generation = Generation(turn.fleet.last_generation.0 + 1);
    turn.fleet.last_generation = generation;
    let step = Step::WaitingForRoom;
    turn.fleet.rollover = Some(Rollover {
        generation,
        ask,
        first,
        step,
        plan: None,
        left: Vec::new(),
        current: BTreeSet::new(),
    });
    let what = match first {
        true => "starting",
        false if turn.fleet.upgrade.is_some() => "upgrade:",
        false => "reload:",
    };
    turn.note(Level::Info, "reload_started", format!("{what} generation {generation}"));
}

pub fn set_step(turn: &mut Turn, step: Step) {
    if let Some(rollover) = turn.fleet.rollover.as_mut() {
        rollover.step = step;
    }
}

/// The generation that has drained longest, and when its workers will have had their grace; `None` if
/// there is none, or if it is being ended already.
pub fn room_at(fleet: &Fleet) -> Option<(Generation, Moment)> {
    let superseded = || fleet.workers.values().filter(|w| fleet.is_superseded(w));
    let oldest = superseded().map(|w| w.generation).min()?;
    let drains = superseded().filter(|w| w.generation == oldest && w.phase == Phase::Draining);
    Some((oldest, drains.filter_map(|w| w.drain.map(|d| d.until)).max()?))
}

/// Moves on whatever only time (`late`), the end of a drain or of another reload was missing for.
pub fn due(turn: &mut Turn, late: bool) {
    if let Some(Step::Soaking(until)) = turn.fleet.rollover.as_ref().map(|r| r.step)
        && late
        && until <= turn.now
    {
        rollout::step_done(turn);
    }
    if turn.fleet.rollover.is_none()
        && turn.fleet.upgrade.is_none()
        && turn.fleet.stage == Stage::Running
        && let Some(ask) = turn.fleet.remembered.take()
    {
        begin(turn, ask, false);
    }
    if turn.fleet.rollover.as_ref().is_some_and(|r| r.step == Step::WaitingForRoom) {
        wait_for_room(turn);
    }
}

fn wait_for_room(turn: &mut Turn) {
    if make_room(turn) {
        set_step(turn, Step::ReadingConfig);
        turn.push(Action::ReadConfig);
    }
}

/// Whether one more generation may come to drain; if not, the oldest drain ends once it has had its
/// grace.
pub fn make_room(turn: &mut Turn) -> bool {
    let max = turn.fleet.plans.get(&turn.fleet.plan).map_or(1, |p| p.max_draining);
    let superseded = turn.fleet.workers.values().filter(|w| turn.fleet.is_superseded(w));
    let draining: BTreeSet<Generation> = superseded.map(|w| w.generation).collect();
    if draining.len() < max.max(1) {
        return true;
    }
    let Some((oldest, _)) = room_at(turn.fleet).filter(|(_, at)| *at <= turn.now) else {
        return false;
    };
    let text = format!("generation {oldest} has drained for its grace and makes room now");
    turn.note_generation(Level::Warn, "cut_short", oldest, text);
    for id in turn.workers_where(|w| w.generation == oldest && w.phase == Phase::Draining) {
        drain::finish(turn, id);
    }
    false
}

/// The config child answered.
pub fn config_read(turn: &mut Turn, result: Result<NewConfig, Vec<String>>) {
    let reading = |r: &&Rollover| r.step == Step::ReadingConfig;
    let Some(rollover) = turn.fleet.rollover.as_ref().filter(reading) else {
        return unasked(turn, result);
    };
    let only = rollover.ask.only.clone();
    match result {
        Err(mut errors) => {
            let first = if errors.is_empty() { "no reason given".to_owned() } else { errors.remove(0) };
            verdict::fail(turn, format!("the config is not usable: {first}"), errors);
        }
        Ok(new) => {
            turn.fleet.plans.insert(new.id, new.plan);
            if let Some(rollover) = turn.fleet.rollover.as_mut() {
                rollover.plan = Some(new.id);
            }
            match refusal(turn, only.as_ref(), &new.changed) {
                Some(why) => verdict::fail(turn, why, Vec::new()),
                None => open(turn, new.id),
            }
        }
    }
}

/// A config that came too late, for a reload that was ended meanwhile.
fn unasked(turn: &mut Turn, result: Result<NewConfig, Vec<String>>) {
    if let Ok(NewConfig { id: plan, .. }) = result
        && !turn.fleet.plans.contains_key(&plan)
    {
        turn.push(Action::DropPlan { plan });
    }
}

/// Why a reload of one service can't be done with this config.
fn refusal(turn: &Turn, only: Option<&ServiceName>, changed: &[ServiceName]) -> Option<String> {
    let name = only?;
    let others: Vec<&str> = changed.iter().filter(|c| *c != name).map(|c| c.0.as_str()).collect();
    if !others.is_empty() {
        return Some(format!(
            "reload of {name} alone is refused: the config also changes {}; reload everything instead",
            others.join(", ")
        ));
    }
    let plan = turn.fleet.rollover.as_ref().and_then(|r| r.plan)?;
    let known = turn.fleet.plans.get(&plan).is_some_and(|p| p.service(name).is_some());
    (!known).then(|| format!("there is no service named {name} in the config"))
}

fn open(turn: &mut Turn, plan: PlanId) {
    if let Some(rollover) = turn.fleet.rollover.as_mut() {
        rollover.plan = Some(plan);
    }
    set_step(turn, Step::OpeningListeners);
    let seats = services_of(turn).iter().map(|s| (s.name.clone(), size_of(turn, s))).collect();
    turn.push(Action::OpenListeners { plan, seats });
}

/// The services that the rollover replaces, as its plan has them.
fn services_of(turn: &Turn) -> Vec<ServicePlan> {
    let Some(rollover) = turn.fleet.rollover.as_ref() else {
        return Vec::new();
    };
    let Some(plan) = rollover.plan.and_then(|p| turn.fleet.plans.get(&p)) else {
        return Vec::new();
    };
    let wanted = |s: &&ServicePlan| rollover.ask.only.as_ref().is_none_or(|only| *only == s.name);
    plan.services.iter().filter(wanted).cloned().collect()
}

/// The pool of a service in the generation coming up. A reload begins with what the config says; another
/// image goes on with what there is: a number set by hand, or grown to within the bounds.
pub fn size_of(turn: &Turn, plan: &ServicePlan) -> u32 {
    let before = turn.fleet.services.get(&plan.name).filter(|_| upgrade::on_trial(turn));
    match (before, plan.pool) {
        (Some(service), Pool::Range { min, max }) => service.wanted.clamp(min, max),
        (Some(service), Pool::Fixed(_)) if service.scaled => service.wanted,
        (_, pool) => pool.initial(),
    }
}

/// A reload ends a hold; another image does not: who took a service out brings it back.
fn stays_held(turn: &Turn, name: &ServiceName) -> bool {
    upgrade::on_trial(turn) && turn.fleet.services.get(name).is_some_and(|s| s.hold != Hold::No)
}

/// The listeners are bound: start the first step.
pub fn opened(turn: &mut Turn) {
    if turn.fleet.rollover.as_ref().is_none_or(|r| r.step != Step::OpeningListeners) {
        return;
    }
    let mut left = Vec::new();
    for service in services_of(turn).iter().filter(|s| !stays_held(turn, &s.name)) {
        left.extend((0..size_of(turn, service)).map(|n| (service.name.clone(), Seat(n))));
    }
    if let Some(rollover) = turn.fleet.rollover.as_mut() {
        rollover.left = left;
    }
    rollout::next_step(turn);
}

/// A listener can't be bound: nothing has changed yet, and nothing does.
pub fn open_failed(turn: &mut Turn, why: String) {
    if turn.fleet.rollover.as_ref().is_some_and(|r| r.step == Step::OpeningListeners) {
        verdict::fail(turn, why, Vec::new());
    }
}
