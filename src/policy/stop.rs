//! The end: graceful (delay, fence, drain, deadline) or fast (cut now, killed after a second).
//!
//! A reload under way is taken back first; one that is remembered is refused. `leave_if_done` says
//! `Leave` once no worker is left, after whoever waits for the stop has been answered.

use super::turn::Turn;
use super::vocabulary::{Action, KillSignal, Level};
use super::{drain, rollover, upgrade, waiters};
use crate::model::fleet::{DrainWhy, Hold, Stage, Until, Waiter};
use crate::model::{ClientId, Phase, ServiceName, WorkerId};

/// `stop` from a client.
pub fn asked(turn: &mut Turn, client: ClientId, fast_stop: bool) {
    turn.fleet.waiters.push(Waiter { client, until: Until::Stopped });
    if fast_stop { fast(turn) } else { graceful(turn) }
}

/// TERM: graceful unless the config says fast; a second one is fast.
pub fn terminate(turn: &mut Turn) {
    let fast_first = turn.fleet.plans.get(&turn.fleet.plan).is_some_and(|p| p.sigterm_fast);
    let again = std::mem::replace(&mut turn.fleet.terminated, true);
    if fast_first || again { fast(turn) } else { graceful(turn) }
}

/// QUIT: nothing is cut before its deadline.
pub fn graceful(turn: &mut Turn) {
    if turn.fleet.is_stopping() {
        return;
    }
    begin(turn, Stage::Stopping { fast: false, code: 0 }, "masterd stops gracefully");
    for name in turn.service_names() {
        let now = turn.now;
        let delay = turn.fleet.service_plan(&name).map(|p| p.delay).unwrap_or_default();
        let Some(service) = turn.service(&name) else {
            continue;
        };
        let at = match service.hold {
            _ if service.removed => now,
            Hold::No => now + delay,
            Hold::Delayed(at) => at.min(now + delay),
            Hold::Held => now,
        };
        service.fence_at = Some(at);
        if service.hold != Hold::Held {
            // From here the fence decides, not the hold: a hold would leave the queues to nobody.
            service.hold = Hold::No;
        }
        if at > now {
            let ready = turn.workers_where(|w| w.service == name && w.phase == Phase::Ready);
            ready.into_iter().for_each(|worker| turn.push(Action::Readiness { worker, ready: false }));
        }
    }
    drain_strangers(turn);
}

/// Workers of services that are not in force yet: no fence is set for them.
fn drain_strangers(turn: &mut Turn) {
    let strangers: Vec<WorkerId> = turn
        .fleet
        .workers
        .iter()
        .filter(|(_, w)| !turn.fleet.services.contains_key(&w.service))
        .map(|(id, _)| *id)
        .collect();
    strangers.into_iter().for_each(|id| drain::start(turn, id, DrainWhy::Stop));
}

/// INT: connections are closed, workers that are still there after a second are killed.
pub fn fast(turn: &mut Turn) {
    if let Stage::Stopping { fast: true, .. } = turn.fleet.stage {
        return;
    }
    begin(turn, Stage::Stopping { fast: true, code: 0 }, "masterd stops at once");
    cut_all(turn);
}

/// The first generation did not come up: there is nothing to go on with.
pub fn give_up(turn: &mut Turn) {
    turn.fleet.stage = Stage::Stopping { fast: true, code: 1 };
    waiters::refuse_remembered(turn, "masterd could not start");
    cut_all(turn);
}

fn begin(turn: &mut Turn, stage: Stage, text: &str) {
    let starting = turn.fleet.stage == Stage::Starting;
    turn.fleet.stage = stage;
    turn.note(Level::Info, "stopping", text);
    waiters::refuse_remembered(turn, "masterd is stopping: no reload");
    if starting && let Some(plan) = turn.fleet.rollover.take().and_then(|r| r.plan) {
        // What it bound is served to its end by the workers that are ready already.
        turn.push(Action::Abandon { plan });
    }
    rollover::abort(turn, "masterd is stopping");
    upgrade::abort(turn, "masterd is stopping");
}

fn cut_all(turn: &mut Turn) {
    for service in turn.fleet.services.values_mut() {
        service.fence_at = None;
    }
    for id in turn.workers_where(|_| true) {
        if drain::finish(turn, id) {
            turn.push(Action::Kill { worker: id, signal: KillSignal::Term });
        }
    }
}

/// Ends accepting where the delay is over.
pub fn due(turn: &mut Turn) {
    let now = turn.now;
    for name in turn.service_names() {
        let Some(service) = turn.service(&name) else {
            continue;
        };
        if service.fence_at.is_some_and(|at| at <= now) {
            service.fence_at = None;
            service.hold = Hold::Held;
            fence(turn, &name);
        }
    }
}

fn fence(turn: &mut Turn, name: &ServiceName) {
    if turn.fleet.services.get(name).is_some_and(|s| !s.removed) {
        turn.push(Action::Fence { service: name.clone() });
    }
    for id in turn.workers_where(|w| w.service == *name) {
        drain::start(turn, id, DrainWhy::Stop);
    }
}

/// Leaves when the last worker is gone.
pub fn leave_if_done(turn: &mut Turn) {
    let Stage::Stopping { code, .. } = turn.fleet.stage else {
        return;
    };
    if turn.fleet.workers.is_empty() {
        turn.push(Action::Leave { code });
    }
}
