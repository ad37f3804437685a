//! Readiness becomes events: signals, deaths, reports, clients, config children, figures.
//!
//! Every descriptor is read until it would block (mio is edge-triggered). A worker's last words are
//! read before its death is told. Nothing here decides; what makes no sense is dropped and counted.

use super::aftermath;
use super::asks;
use super::control::CLIENT_TOKENS;
use super::crew::{Handle, Heard, REPORTS_PER_TURN};
use super::turn::{Shell, now};
use super::upgrade::candidate;
use crate::model::{GAVE_UP, WorkerId};
use crate::policy::{Event, Queue, Reading, Word};
use crate::scoreboard::view::Beat;
use crate::sys::process::{self, Exit};
use crate::sys::signal::{self, Caught};
use crate::wire::order::MESSAGE_LIMIT;
use crate::wire::report::Report;
use mio::{Events, Token};
use std::time::Duration;

pub const SIGNALS: Token = Token(0);
pub const CONTROL: Token = Token(1);
pub const CANDIDATE: Token = Token(2);
/// Workers have two tokens each: pidfd and channel.
const WORKER_TOKENS: usize = 16;
const READING_TOKENS: usize = 1 << 61;
/// Reports of a dead worker that are read before its death is told.
const LAST_WORDS: usize = 4096;
/// Most bytes of what a worker says that are kept.
const WHY_LIMIT: usize = 512;
/// Most lines of what its program printed that are kept, and bytes of each.
const LINES: usize = 20;
const LINE_LIMIT: usize = 256;

/// The tokens of a worker's pidfd and channel.
pub fn tokens(worker: WorkerId) -> (Token, Token) {
    let base = WORKER_TOKENS + usize::try_from(worker.0).unwrap_or(0) * 2;
    (Token(base), Token(base + 1))
}

pub fn reading_token(number: usize) -> Token {
    Token(READING_TOKENS + number)
}

/// Deaths and reports first, then orders to stop, then the rest.
pub fn rank(event: &Event) -> u8 {
    match event {
        Event::Signal(Word::Quit | Word::Terminate | Word::Interrupt) => 1,
        Event::Ready { .. }
        | Event::Failed { .. }
        | Event::Extend { .. }
        | Event::Closed { .. }
        | Event::Leaving { .. }
        | Event::Died { .. } => 0,
        _ => 2,
    }
}

/// All that has happened since the last turn.
pub fn collect(shell: &mut Shell, events: &Events) -> Vec<Event> {
    let mut out = Vec::new();
    for worker in std::mem::take(&mut shell.talkative) {
        reports(shell, worker, &mut out);
    }
    for event in events {
        match event.token() {
            SIGNALS => signals(shell, &mut out),
            CONTROL => newcomers(shell),
            CANDIDATE => candidate::ended(shell, &mut out),
            Token(n) if n >= CLIENT_TOKENS => asks::client_ready(shell, Token(n), &mut out),
            Token(n) if n >= READING_TOKENS => reading_ended(shell, n - READING_TOKENS, &mut out),
            Token(n) => worker_ready(shell, n, event.is_writable(), &mut out),
        }
    }
    overdue_readings(shell, &mut out);
    out
}

/// Lets clients in.
pub fn newcomers(shell: &mut Shell) {
    if let Err(e) = shell.control.accept(shell.poll.registry(), now()) {
        slog::warn!(shell.log, "cannot accept a client on the control socket, and tries again: {}", e);
    }
}

fn signals(shell: &mut Shell, out: &mut Vec<Event>) {
    loop {
        match shell.signals.read() {
            Ok(Some(caught)) => out.extend(meaning(shell, &caught)),
            Ok(None) => return,
            Err(e) => return slog::error!(shell.log, "cannot read signals: {}", e),
        }
    }
}

/// What a signal means; a terminal sends some by itself.
fn meaning(shell: &mut Shell, caught: &Caught) -> Option<Event> {
    let entry = signal::TABLE.iter().find(|e| e.number == caught.number)?;
    if entry.word != signal::Word::Child {
        slog::info!(shell.log, "signal {}: {}", entry.name, entry.meaning; "sender" => caught.sender);
    }
    let word = match entry.word {
        signal::Word::Child => {
            strangers(shell);
            return None;
        }
        signal::Word::Reload if caught.from_kernel => Word::Quit,
        signal::Word::Drain | signal::Word::More | signal::Word::Fewer if caught.from_kernel => return None,
        signal::Word::Reload => Word::Reload,
        signal::Word::Upgrade => Word::Upgrade,
        signal::Word::Quit => Word::Quit,
        signal::Word::Terminate => Word::Terminate,
        signal::Word::Interrupt => Word::Interrupt,
        signal::Word::Reopen => Word::Reopen,
        signal::Word::Drain => Word::Drain,
        signal::Word::More => Word::More,
        signal::Word::Fewer => Word::Fewer,
    };
    Some(Event::Signal(word))
}

/// As a subreaper (or PID 1) others' children end up here.
fn strangers(shell: &mut Shell) {
    match process::reap_strangers(&|pid| is_ours(shell, pid)) {
        Ok(reaped) => {
            for (pid, _) in reaped {
                slog::debug!(shell.log, "reaped a process that is no worker"; "pid" => pid);
            }
        }
        Err(e) => slog::warn!(shell.log, "cannot look for ended processes: {}", e),
    }
    aftermath::kill_remnants(shell);
}

/// Whether this child was made here.
pub fn is_ours(shell: &Shell, pid: i32) -> bool {
    shell.crew.handles.values().any(|h| h.pid == pid)
        || shell.readings.values().any(|r| r.child.pid == pid)
        || shell.candidate.as_ref().is_some_and(|c| c.pid == pid)
}

fn worker_ready(shell: &mut Shell, token: usize, writable: bool, out: &mut Vec<Event>) {
    let Some(n) = token.checked_sub(WORKER_TOKENS) else { return };
    let worker = WorkerId((n / 2) as u64);
    let Some(handle) = shell.crew.handles.get_mut(&worker) else { return };
    if writable {
        for e in handle.flush() {
            slog::warn!(shell.log, "cannot send an order to a worker: {}", e; "pid" => handle.pid);
        }
    }
    match n % 2 {
        0 => death(shell, worker, out),
        _ => reports(shell, worker, out),
    }
}

/// Reads what a worker says, as much as one turn has time for.
fn reports(shell: &mut Shell, worker: WorkerId, out: &mut Vec<Event>) {
    if !hear(shell, worker, REPORTS_PER_TURN, out) {
        shell.talkative.insert(worker);
    }
}

/// Reads at most `most` messages of a worker; true if that was all.
fn hear(shell: &mut Shell, worker: WorkerId, most: usize, out: &mut Vec<Event>) -> bool {
    let mut buffer = vec![0u8; MESSAGE_LIMIT];
    for _ in 0..most {
        let Some(handle) = shell.crew.handles.get_mut(&worker) else { return true };
        match handle.hear(&mut buffer) {
            Heard::Report(report) => understand(shell, worker, report, out),
            Heard::Nonsense(why) => {
                handle.nonsense += 1;
                if handle.nonsense == 1 {
                    slog::warn!(shell.log, "a worker sent something that is no report: {}", why;
                        "worker" => worker.0, "pid" => handle.pid);
                }
            }
            Heard::Silence | Heard::End => return true,
        }
    }
    false
}

fn understand(shell: &mut Shell, worker: WorkerId, report: Report, out: &mut Vec<Event>) {
    match report {
        Report::Ready => out.push(Event::Ready { worker }),
        Report::Leaving { .. } => out.push(Event::Leaving { worker }),
        Report::Closed { rites } => out.push(Event::Closed { worker, rites }),
        Report::StatusWanted => asks::status_for_worker(shell, worker),
        Report::Extend { ms } => out.push(Event::Extend { worker, more: Duration::from_millis(ms) }),
        Report::Program { pid } => told(shell, worker, |h| h.program = Some(pid).filter(|pid| *pid > 0)),
        Report::Says { text } => {
            told(shell, worker, |h| h.says = text.map(|text| tamed(&text, WHY_LIMIT)));
        }
        Report::Sampled => told(shell, worker, |h| h.sample.came(now())),
        Report::Failed { why, lines } => {
            let lines = lines[lines.len().saturating_sub(LINES)..].iter();
            let lines = lines.map(|line| tamed(line, LINE_LIMIT)).collect();
            out.push(Event::Failed { worker, why: tamed(&why, WHY_LIMIT), lines });
        }
    }
}

/// Takes note of what a keeper says of its program.
fn told(shell: &mut Shell, worker: WorkerId, note: impl FnOnce(&mut Handle)) {
    if let Some(handle) = shell.crew.handles.get_mut(&worker).filter(|h| h.is_keeper()) {
        note(handle);
    }
}

/// Foreign text in at most so many bytes, its control characters written out: it can't be more than one
/// line, nor move a cursor.
fn tamed(text: &str, limit: usize) -> String {
    let mut tame = String::new();
    for c in text.chars() {
        let before = tame.len();
        match c {
            '\t' => tame.push_str("    "),
            '"' | '\'' | '\\' => tame.push(c),
            c => tame.extend(c.escape_debug()),
        }
        if tame.len() > limit {
            tame.truncate(before);
            break;
        }
    }
    tame
}

fn death(shell: &mut Shell, worker: WorkerId, out: &mut Vec<Event>) {
    let Some(handle) = shell.crew.handles.get_mut(&worker) else { return };
    // Reaped when it is forgotten: should this image crash before, the next one must find it.
    let (how, gave_up) = match handle.pidfd.ended() {
        Ok(Some(exit)) => (exit.to_string(), exit == Exit::Code(GAVE_UP)),
        Ok(None) => return,
        Err(e) => (format!("could not be reaped: {e}"), false),
    };
    // What comes after so many would be heard too late; a worker that means well says far less.
    hear(shell, worker, LAST_WORDS, out);
    out.push(Event::Died { worker, how, gave_up });
}

fn reading_ended(shell: &mut Shell, number: usize, out: &mut Vec<Event>) {
    let Some(reading) = shell.readings.get(&number) else { return };
    let exit = match reading.child.pidfd.try_reap() {
        Ok(Some(exit)) => exit,
        Ok(None) => return,
        Err(_) => Exit::Code(-1),
    };
    if let Some(reading) = shell.readings.remove(&number) {
        let clean = exit == Exit::Code(0);
        let findings = reading.child.finish(&exit.to_string(), clean);
        out.extend(asks::config_found(shell, findings, reading.purpose));
    }
}

fn overdue_readings(shell: &mut Shell, out: &mut Vec<Event>) {
    let now = now();
    let late: Vec<usize> =
        shell.readings.iter().filter(|(_, r)| r.deadline <= now).map(|(n, _)| *n).collect();
    for number in late {
        if let Some(reading) = shell.readings.remove(&number) {
            let findings = reading.child.give_up();
            out.extend(asks::config_found(shell, findings, reading.purpose));
        }
    }
}

/// The figures of every worker and every queue.
pub fn pulse(shell: &mut Shell) -> Event {
    let now = now();
    let Shell { fleet, crew, .. } = shell;
    let reading = |(id, handle): (&WorkerId, &mut Handle)| {
        let Beat { beat, busy, busy_total, full, long_lived, requests, mut memory, .. } = handle.view.beat();
        let limit = fleet.workers.get(id).and_then(|w| fleet.plan_of(w)).map_or(0, |p| p.max_memory);
        if limit > 0 && memory == 0 && !handle.is_keeper() {
            memory = handle.resident(now);
        }
        Reading { worker: *id, beat, busy, busy_total, full, long_lived, requests, memory }
    };
    let workers = crew.handles.iter_mut().map(reading).collect();
    let queue = |(service, seat, waiting)| Queue { service, seat, waiting };
    Event::Pulse { workers, queues: shell.sockets.queues().into_iter().map(queue).collect() }
}

#[cfg(test)]
mod tests {
    use super::tamed;

    #[test]
    fn foreign_text_is_one_line_of_bounded_length_and_cut_between_characters() {
        assert_eq!(tamed("a\tb \"c\" d\\e", 99), "a    b \"c\" d\\e");
        assert_eq!(tamed("x\n\x1b[2J\u{202e}ü", 99), "x\\n\\u{1b}[2J\\u{202e}ü");
        assert_eq!(tamed("üüü", 5), "üü");
        assert_eq!(tamed("ab\x1b", 5), "ab", "an escape is whole or not there");
        assert_eq!(tamed(&"x".repeat(600), 512).len(), 512);
    }
}
