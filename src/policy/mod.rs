//! Every decision of the master: `decide(&mut Fleet, Event, now) -> Vec<Action>`.
//!
//! Pure: time comes in as an argument, acts go out as values, nothing is read, written or logged.
//! The shell (`master/`) turns readiness into events and actions into system calls, and brings
//! their outcomes back as events. One rule, one file: `rollover` (a reload up to its listeners),
//! `rollout` (its steps), `verdict` (how it ends), `pool` (who is missing), `backoff`, `deaths`,
//! `drain` (orders and deadlines), `hold` (`drain`/`resume`), `stop`, `scale`, `pool_size`, `rescue`,
//! `recycle` (used up workers), `upgrade` (another binary), `waiters`; `invariants` says what always holds. After each event the same settling pass runs, so that
//! no rule has to know who else might be waiting for what it changed.
//! The shell owes it `Event::Due`, after all else that has happened, when `next_due` has come.

mod backoff;
mod deaths;
mod drain;
mod due;
mod hold;
mod invariants;
mod pool;
mod pool_size;
mod printed;
mod pulse;
mod recycle;
mod rescue;
mod rollout;
mod rollover;
mod scale;
mod stop;
mod turn;
mod upgrade;
mod verdict;
mod vocabulary;
mod waiters;

#[cfg(test)]
mod tests;

pub use due::{next_due, pulse_interval};
pub use vocabulary::*;

use crate::model::Moment;
use crate::model::fleet::Fleet;
use turn::Turn;

/// What to do about `event` at `now`. The fleet afterwards satisfies `check_invariants`.
pub fn decide(fleet: &mut Fleet, event: Event, now: Moment) -> Vec<Action> {
    let mut turn = Turn::new(fleet, now);
    // A worker's word may lie unread when its deadline passes: time counts only when the shell, which
    // says `Due` after everything else that has happened, says so.
    let late = matches!(event, Event::Due);
    apply(&mut turn, event);
    settle(&mut turn, late);
    turn.out
}

fn apply(turn: &mut Turn, event: Event) {
    match event {
        Event::Boot => rollover::boot(turn),
        Event::Signal(word) => signal(turn, word),
        Event::Asked { client, request } => asked(turn, client, request),
        Event::ClientGone { client } => waiters::forget(turn, client),
        Event::ConfigRead(result) => rollover::config_read(turn, result),
        Event::Candidate(result) => upgrade::candidate(turn, result),
        Event::ExecFailed { why } => upgrade::exec_failed(turn, why),
        Event::Restored => upgrade::restored(turn),
        Event::Returned { why } => upgrade::returned(turn, why),
        Event::Opened => rollover::opened(turn),
        Event::OpenFailed { why } => rollover::open_failed(turn, why),
        Event::SeatsOpened { service, result } => scale::seats_opened(turn, &service, result),
        Event::Spawned { worker, pid } => pool::spawned(turn, worker, pid),
        Event::SpawnFailed { worker, why } => deaths::spawn_failed(turn, worker, why),
        Event::Ready { worker } => pool::ready(turn, worker),
        Event::Orphaned { service, seat } => rescue::orphaned(turn, service, seat),
        Event::Leaving { worker } => deaths::leaving(turn, worker),
        Event::Closed { worker, rites } => rescue::closed(turn, worker, rites),
        Event::Failed { worker, why, lines } => deaths::failed(turn, worker, why, lines),
        Event::Extend { worker, more } => drain::extend(turn, worker, more),
        Event::Died { worker, how, gave_up } => deaths::died(turn, worker, &how, gave_up),
        Event::Pulse { workers, queues } => pulse::beat(turn, &workers, &queues),
        Event::Due => {}
    }
}

fn signal(turn: &mut Turn, word: Word) {
    match word {
        Word::Reload => rollover::ask(turn, None, None),
        Word::Upgrade => upgrade::ask(turn, None, None),
        Word::Quit => stop::graceful(turn),
        Word::Terminate => stop::terminate(turn),
        Word::Interrupt => stop::fast(turn),
        Word::Reopen => turn.push(Action::ReopenLogs { client: None }),
        Word::Drain => hold::drain_all(turn),
        Word::More => scale::step(turn, 1),
        Word::Fewer => scale::step(turn, -1),
    }
}

fn asked(turn: &mut Turn, client: crate::model::ClientId, request: Request) {
    match request {
        Request::Reload { service, drained } => rollover::ask(turn, service, Some((client, drained))),
        Request::Upgrade { binary, drained } => upgrade::ask(turn, binary, Some((client, drained))),
        Request::Stop { fast } => stop::asked(turn, client, fast),
        Request::Scale { service, workers } => scale::asked(turn, client, service, workers),
        Request::Drain { service } => hold::drain(turn, client, service),
        Request::Resume { service } => hold::resume(turn, client, service),
        Request::Reopen => turn.push(Action::ReopenLogs { client: Some(client) }),
    }
}

/// What follows from any change: deadlines, missing workers, the next reload, answers, the end.
fn settle(turn: &mut Turn, late: bool) {
    if late {
        drain::deadlines(turn);
    }
    stop::due(turn);
    rollover::due(turn, late);
    upgrade::due(turn, late);
    hold::due(turn);
    backoff::due(turn);
    pool::fill_all(turn);
    rescue::mend(turn);
    turn.tidy();
    waiters::answer(turn);
    stop::leave_if_done(turn);
}
