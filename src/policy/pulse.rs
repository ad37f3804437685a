//! What the regular look at the scoreboard decides: hung workers, seats in trouble, pool sizes, who is tired.
//!
//! A sign of life is a *change* of the beat word, seen by the master's own clock, so that a hostile
//! value can at most pretend to be alive. If the master itself was away (stopped, swapped out), the
//! time it missed is nobody's silence.

use super::turn::Turn;
use super::vocabulary::{Queue, Reading};
use super::{deaths, pool_size, recycle, rescue};
use crate::model::Phase;
use std::time::Duration;

/// A gap between pulses longer than this means that the master was away.
const AWAY: Duration = Duration::from_secs(2);

pub fn beat(turn: &mut Turn, readings: &[Reading], queues: &[Queue]) {
    let now = turn.now;
    let gap = turn.fleet.last_pulse.map_or(Duration::ZERO, |at| now.since(at));
    let away = gap > AWAY;
    turn.fleet.last_pulse = Some(now);
    for reading in readings {
        let Some(worker) = turn.fleet.workers.get_mut(&reading.worker) else {
            continue;
        };
        let pulse = &mut worker.pulse;
        if away || pulse.changed.is_none() || reading.beat != pulse.beat {
            pulse.beat = reading.beat;
            pulse.changed = Some(now);
            pulse.busy_since = None;
        }
        pulse.busy_since = reading.busy.then(|| pulse.busy_since.unwrap_or(now));
        pulse.full = reading.full;
        pulse.long_lived = reading.long_lived;
    }
    hung(turn, gap);
    rescue::watch(turn, readings, queues);
    pool_size::watch(turn, readings, queues);
    recycle::watch(turn, readings);
}

/// Kills workers whose loop stands still longer than the watchdog allows. A look that comes late, `gap`
/// after the one before, proves nothing: what held up the master may have held up the workers, and
/// these need a moment to show that they go on.
fn hung(turn: &mut Turn, gap: Duration) {
    let now = turn.now;
    let late = turn
        .fleet
        .workers
        .iter()
        .filter(|(_, w)| matches!(w.phase, Phase::Ready | Phase::Draining))
        .filter_map(|(id, w)| {
            let limit = turn.fleet.plans.get(&w.plan)?.watchdog;
            let still = now.since(w.pulse.changed?);
            let how = || format!("its loop stood still for {still:.0?} (watchdog)");
            (!limit.is_zero() && still >= limit && gap < limit * 3 / 4).then(|| (*id, how()))
        })
        .collect();
    deaths::stuck(turn, late);
}
