//! The rows of a service's pool, and the open connections of each worker.
//!
//! Part of the status view. What a worker drains, rescues or suffers from stands right below its row.
//! Pure; counters come from processes that may lie, so no sum here may overflow.

use super::table::{Column, Line, Row, Tone, table};
use super::text::{count, since, size, span};
use crate::wire::status::{Active, Drain, Worker};

const COLUMNS: [Column; 12] = [
    Column { head: "SEAT", right: true, most: 5 },
    Column { head: "PID", right: true, most: 7 },
    Column { head: "GEN", right: true, most: 7 },
    Column { head: "STATE", right: false, most: 8 },
    Column { head: "ACTIVE", right: true, most: 6 },
    Column { head: "IDLE", right: true, most: 6 },
    Column { head: "IN-FLIGHT", right: true, most: 9 },
    Column { head: "ACCEPTED", right: true, most: 8 },
    Column { head: "REQUESTS", right: true, most: 8 },
    Column { head: "ERRORS", right: true, most: 6 },
    Column { head: "MEMORY", right: true, most: 8 },
    Column { head: "UP", right: true, most: 7 },
];

/// Where the lines below a worker's row begin: under its pid.
const BELOW: &str = "        ";

/// The table of workers; nothing if there is none.
pub fn rows(workers: &[Worker], now_ns: u64) -> Vec<Line> {
    if workers.is_empty() {
        return Vec::new();
    }
    table(&COLUMNS, workers.iter().map(|w| row(w, now_ns)).collect())
}

/// A program is looked at from outside: what it does not count itself nobody knows.
fn counted(w: &Worker, n: u64) -> String {
    let unknown = w.keeper.is_some() && w.accepted == 0 && w.requests == 0;
    if unknown { "-".to_owned() } else { count(n) }
}

fn row(w: &Worker, now_ns: u64) -> Row {
    let tone = match w.state.as_str() {
        _ if w.why.is_some() => Tone::Bad,
        "ready" => Tone::Plain,
        _ => Tone::Changing,
    };
    let cells = vec![
        w.seat.to_string(),
        if w.pid == 0 { "-".to_owned() } else { w.pid.to_string() },
        w.generation.to_string(),
        w.state.clone(),
        count(active(&w.active)),
        counted(w, w.idle),
        counted(w, w.in_flight),
        counted(w, w.accepted),
        counted(w, w.requests),
        counted(w, w.errors),
        w.memory.map_or("-".to_owned(), size),
        since(&w.started, now_ns),
    ];
    Row { cells, tone, below: below(w) }
}

fn below(w: &Worker) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(why) = &w.why {
        lines.extend(Line::sentence(Tone::Bad, &format!("{BELOW}! "), why, 6));
    }
    if let Some(drain) = &w.drain {
        lines.extend(Line::sentence(Tone::Changing, BELOW, &draining(drain, &w.active), 2));
    }
    if !w.rescues.is_empty() {
        let seats: Vec<String> = w.rescues.iter().map(u32::to_string).collect();
        let word = if seats.len() == 1 { "seat" } else { "seats" };
        let text = format!("serves the queue of {word} {} as well", seats.join(", "));
        lines.extend(Line::sentence(Tone::Changing, BELOW, &text, 2));
    }
    lines
}

/// `45 left (40 http, 5 websocket), the oldest 3m12s, cut in 25s`.
fn draining(drain: &Drain, active: &Active) -> String {
    let classes: Vec<String> = classes(active)
        .into_iter()
        .filter(|(_, n)| *n > 0)
        .map(|(word, n)| format!("{} {word}", count(n)))
        .collect();
    let classes = if classes.is_empty() { String::new() } else { format!(" ({})", classes.join(", ")) };
    let oldest =
        if drain.oldest > 0.0 { format!(", the oldest {}", span(drain.oldest)) } else { String::new() };
    let deadline =
        if drain.deadline > 0.0 { format!("cut in {}", span(drain.deadline)) } else { "cut now".to_owned() };
    format!("{} left{classes}{oldest}, {deadline}", count(drain.remaining))
}

fn classes(active: &Active) -> [(&'static str, u64); 5] {
    [
        ("http", active.http),
        ("websocket", active.websocket),
        ("grpc", active.grpc),
        ("sse", active.sse),
        ("tcp", active.tcp),
    ]
}

fn active(active: &Active) -> u64 {
    classes(active).iter().fold(0, |sum, (_, n)| sum.saturating_add(*n))
}

/// The open connections, worker by worker, where the document has them.
pub fn connections(workers: &[Worker]) -> Vec<Line> {
    workers.iter().flat_map(connections_of).collect()
}

fn connections_of(w: &Worker) -> Vec<Line> {
    let Some(open) = &w.connections else { return Vec::new() };
    let who = format!("  seat {}, pid {}", w.seat, w.pid);
    if open.is_empty() && active(&w.active) == 0 {
        return vec![Line::new(Tone::Plain, &format!("{who}: no connections"))];
    }
    let shown = count(open.len() as u64);
    // The list and the gauge are read at different moments.
    let all = count(active(&w.active).max(open.len() as u64));
    let mut lines = vec![Line::new(Tone::Plain, &format!("{who}: {shown} of {all} connections"))];
    let columns = [
        Column { head: "PEER", right: false, most: 47 },
        Column { head: "CLASS", right: false, most: 9 },
        Column { head: "STATE", right: false, most: 8 },
        Column { head: "AGE", right: true, most: 7 },
        Column { head: "REQUESTS", right: true, most: 8 },
    ];
    let rows = open.iter().map(|c| {
        let cells = vec![c.peer.clone(), c.class.clone(), c.state.clone(), span(c.age), count(c.requests)];
        Row { cells, tone: Tone::Plain, below: Vec::new() }
    });
    lines.extend(table(&columns, rows.collect()));
    lines
}
