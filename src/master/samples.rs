//! A status waits, for a moment, until the keepers have looked at their programs.
//!
//! Nobody counts a program's connections as they come and go: its keeper looks at them now and then. So
//! whoever asks for the status has the keepers look once more, and gets the document when all have, or when
//! that takes too long. Nothing is decided by it. A `status` route does not wait: it would hold up a worker.

use super::asks;
use super::turn::{Shell, now};
use crate::model::{ClientId, Moment, Phase, ServiceName};
use crate::wire::control::Request;
use crate::wire::order::Order;
use std::time::Duration;

/// Figures that were taken so long ago are good enough.
const FRESH: Duration = Duration::from_millis(200);
/// How long a document waits for the keepers.
const PATIENCE: Duration = Duration::from_millis(300);

/// Where a keeper stands with its looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// The one it has been told to take and has not taken yet: one at a time.
    asked: Option<Moment>,
    taken: Option<Moment>,
}

/// What a document has to do about a keeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Its figures are good, or it is so late that nobody waits for it any more.
    Nothing,
    Wait,
    /// Tell it to look, and wait.
    Ask,
}

impl Sample {
    fn need(&self, now: Moment) -> Need {
        match self.asked {
            Some(at) if now.since(at) < PATIENCE => Need::Wait,
            Some(_) => Need::Nothing,
            None if self.taken.is_some_and(|at| now.since(at) < FRESH) => Need::Nothing,
            None => Need::Ask,
        }
    }

    /// The keeper has looked; unasked it means nothing.
    pub fn came(&mut self, now: Moment) {
        if self.asked.take().is_some() {
            self.taken = Some(now);
        }
    }
}

/// A client whose document waits.
#[derive(Debug)]
struct Waiting {
    client: ClientId,
    request: Request,
    until: Moment,
    of: Option<ServiceName>,
}

/// Everybody whose document waits.
#[derive(Debug, Default)]
pub struct Samples {
    waiting: Vec<Waiting>,
}

impl Samples {
    /// When the first of them has waited long enough.
    pub fn due(&self) -> Option<Moment> {
        self.waiting.iter().map(|w| w.until).min()
    }
}

/// Has the keepers look whose figures the document shows; true if it is worth while to wait for them. Then
/// the client gets its document later.
pub fn hold(shell: &mut Shell, client: ClientId, request: &Request, of: Option<&ServiceName>) -> bool {
    let now = now();
    let Shell { fleet, crew, log, .. } = shell;
    let mut wait = false;
    for (id, handle) in &mut crew.handles {
        let phase = fleet.workers.get(id).map(|w| w.phase);
        let meant = of.is_none_or(|name| *name == handle.service) && !handle.deaf && handle.is_keeper();
        if !meant || !matches!(phase, Some(Phase::Ready | Phase::Draining)) {
            continue;
        }
        match handle.sample.need(now) {
            Need::Nothing => {}
            Need::Wait => wait = true,
            Need::Ask => match handle.tell(&Order::Sample, &[]) {
                Ok(()) => (handle.sample.asked, wait) = (Some(now), true),
                Err(e) => {
                    slog::warn!(log, "cannot have a keeper look at its program: {}", e; "pid" => handle.pid);
                }
            },
        }
    }
    if wait {
        let (request, of, until) = (request.clone(), of.cloned(), now + PATIENCE);
        shell.samples.waiting.push(Waiting { client, request, until, of });
    }
    wait
}

/// Sends the documents that need not wait any longer. Once a turn.
pub fn settle(shell: &mut Shell) {
    if shell.samples.waiting.is_empty() {
        return;
    }
    let now = now();
    let Shell { crew, samples, .. } = shell;
    let waits = |w: &Waiting| {
        let meant = |name: &ServiceName| w.of.as_ref().is_none_or(|of| of == name);
        let mut asked = crew.handles.values().filter(|h| meant(&h.service));
        w.until > now && asked.any(|h| h.sample.need(now) == Need::Wait)
    };
    let (still, done) = std::mem::take(&mut samples.waiting).into_iter().partition(waits);
    samples.waiting = still;
    send(shell, done);
}

/// Nobody waits any longer: this image ends.
pub fn give_up(shell: &mut Shell) {
    let all = std::mem::take(&mut shell.samples.waiting);
    send(shell, all);
}

fn send(shell: &mut Shell, done: Vec<Waiting>) {
    for Waiting { client, request, .. } in done {
        asks::show_status(shell, client, &request);
    }
}

#[cfg(test)]
mod tests {
    use super::{Need, Sample};
    use crate::model::Moment;
    use std::time::Duration;

    fn at(ms: u64) -> Moment {
        Moment(0) + Duration::from_millis(1_000 + ms)
    }

    #[test]
    fn a_keeper_is_asked_once_waited_for_a_moment_and_believed_for_a_while() {
        let mut sample = Sample::default();
        assert_eq!(sample.need(at(0)), Need::Ask);
        sample.asked = Some(at(0));
        assert_eq!(sample.need(at(299)), Need::Wait);
        assert_eq!(sample.need(at(300)), Need::Nothing, "it is late, and not asked again meanwhile");
        sample.came(at(400));
        assert_eq!(sample.need(at(599)), Need::Nothing);
        assert_eq!(sample.need(at(600)), Need::Ask);
    }

    #[test]
    fn a_keeper_that_was_not_asked_is_not_believed() {
        let mut sample = Sample::default();
        sample.came(at(0));
        assert_eq!(sample.need(at(1)), Need::Ask);
    }
}
