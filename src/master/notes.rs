//! Notes become log lines and event lines: one act, said once, in both places.
//!
//! `policy` decides what is worth saying; this room only adds the pid and the time.

use crate::policy::{Level, Note};
use crate::sys::clock;
use crate::wire::control::EventLine;
use slog::Logger;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Wall-clock nanoseconds as RFC 3339 UTC, to the millisecond.
pub fn rfc3339(wall_ns: u64) -> String {
    let millis = i128::from(wall_ns / 1_000_000) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(millis)
        .ok()
        .and_then(|t| t.format(&Rfc3339).ok())
        .unwrap_or_default()
}

/// The note as an event line.
pub fn event_line(note: &Note, pid: Option<i32>) -> EventLine {
    let level = match note.level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
    };
    EventLine {
        at: rfc3339(clock::wall_ns()),
        level: level.to_owned(),
        event: note.event.to_owned(),
        text: note.brief(),
        service: note.service.as_ref().map(|s| s.0.clone()),
        seat: note.seat.map(|s| s.0),
        generation: note.generation.map(|g| g.0),
        pid,
    }
}

/// Writes the note to the log.
pub fn log(logger: &Logger, note: &Note, pid: Option<i32>) {
    let service = note.service.as_ref().map(|s| s.0.as_str());
    let seat = note.seat.map(|s| s.0);
    let generation = note.generation.map(|g| g.0);
    let text = note.brief();
    let more = Fields { service, seat, generation, pid };
    match note.level {
        Level::Error => slog::error!(logger, "{}", text; "event" => note.event, more),
        Level::Warn => slog::warn!(logger, "{}", text; "event" => note.event, more),
        Level::Info => slog::info!(logger, "{}", text; "event" => note.event, more),
        Level::Debug => slog::debug!(logger, "{}", text; "event" => note.event, more),
    }
}

/// The fields of a note, those that it has.
struct Fields<'a> {
    service: Option<&'a str>,
    seat: Option<u32>,
    generation: Option<u64>,
    pid: Option<i32>,
}

impl slog::KV for Fields<'_> {
    fn serialize(&self, _: &slog::Record<'_>, out: &mut dyn slog::Serializer) -> slog::Result {
        self.service.map_or(Ok(()), |v| out.emit_str("service", v))?;
        self.seat.map_or(Ok(()), |v| out.emit_u32("seat", v))?;
        self.generation.map_or(Ok(()), |v| out.emit_u64("gen", v))?;
        self.pid.map_or(Ok(()), |v| out.emit_i32("pid", v))
    }
}
