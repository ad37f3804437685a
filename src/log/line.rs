//! What a log line looks like: text for people, JSON for programs.
//!
//! Text: `2026-11-21T09:30:00.123Z info  master  text key=value key="two words"`.
//! JSON: `{"at":"…","level":"info","who":"master","text":"…","key":value}`; numbers and truth values
//! stay what they are. Both end in one newline, hold no other control character, and have at most
//! 4096 bytes: text is cut at the end; in JSON the long values are cut, so that it stays JSON. "…" marks a cut.
//! Never: writes, keeps anything.

use crate::config::LogFormat;
use crate::sys::clock;
use slog::{KV, Key, OwnedKVList, Record, Serializer};
use std::fmt::{self, Write};
use time::OffsetDateTime;

/// One line is one write: PIPE_BUF, up to which pipe(7) promises not to mix writers.
const MOST: usize = 4096;

/// Members every JSON line has; a key of the caller's with such a name gets an underscore.
const FIXED: [&str; 4] = ["at", "level", "who", "text"];

pub(super) struct Line<'a> {
    at: String,
    level: &'static str,
    who: &'a str,
    text: String,
    fields: Fields,
}

/// A value: already JSON (numbers, truth values, null), or text to be quoted.
enum Value {
    Literal(String),
    Text(String),
}

#[derive(Default)]
struct Fields(Vec<(String, Value)>);

impl<'a> Line<'a> {
    /// A line of now without fields.
    pub(super) fn now(level: &'static str, who: &'a str, text: String) -> Line<'a> {
        Line { at: timestamp(clock::wall_ns()), level, who, text, fields: Fields::default() }
    }

    pub(super) fn of(record: &Record<'_>, values: &OwnedKVList, who: &'a str) -> Line<'a> {
        let mut line = Line::now(word_of(record.level()), who, record.msg().to_string());
        // A value that can't be formatted is left out; there is nobody to tell.
        let _ = record.kv().serialize(record, &mut line.fields);
        // slog hands over the last key first.
        line.fields.0.reverse();
        let own = line.fields.0.len();
        let _ = values.serialize(record, &mut line.fields);
        line.fields.0[own..].reverse();
        line
    }

    /// The bytes to write, newline included.
    pub(super) fn render(&self, format: LogFormat) -> Vec<u8> {
        match format {
            LogFormat::Text => self.text_line(),
            LogFormat::Json => self.json_line(),
        }
    }

    fn text_line(&self) -> Vec<u8> {
        let mut out = format!("{} {:<5} {}  ", self.at, self.level, self.who);
        escape(&self.text, &mut out);
        for (key, value) in &self.fields.0 {
            out.push(' ');
            out.push_str(key);
            out.push('=');
            match value {
                Value::Literal(text) => out.push_str(text),
                Value::Text(text) => quote(text, &mut out),
            }
        }
        let mut out = cut(&out, MOST - 1);
        out.push('\n');
        out.into_bytes()
    }

    fn json_line(&self) -> Vec<u8> {
        for limit in [MOST, 1024, 256, 64] {
            let line = self.json(limit, &self.fields.0);
            if line.len() <= MOST {
                return line;
            }
        }
        // Hundreds of fields: what was said matters more.
        self.json(64, &[])
    }

    fn json(&self, limit: usize, fields: &[(String, Value)]) -> Vec<u8> {
        let string = |text: &str| serde_json::Value::from(cut(text, limit)).to_string();
        let mut out = format!(
            "{{\"at\":\"{}\",\"level\":\"{}\",\"who\":{},\"text\":{}",
            self.at,
            self.level,
            string(self.who),
            string(&self.text)
        );
        for (key, value) in fields {
            let tail = if FIXED.contains(&key.as_str()) { "_" } else { "" };
            out.push(',');
            out.push_str(&string(&format!("{key}{tail}")));
            out.push(':');
            match value {
                Value::Literal(text) => out.push_str(text),
                Value::Text(text) => out.push_str(&string(text)),
            }
        }
        out.push_str("}\n");
        out.into_bytes()
    }
}

fn word_of(level: slog::Level) -> &'static str {
    match level {
        slog::Level::Critical | slog::Level::Error => "error",
        slog::Level::Warning => "warn",
        slog::Level::Info => "info",
        slog::Level::Debug | slog::Level::Trace => "debug",
    }
}

/// RFC 3339, UTC, milliseconds.
fn timestamp(ns: u64) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ns)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let (hour, minute, second, milli) = (at.hour(), at.minute(), at.second(), at.millisecond());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// At most `limit` bytes of a text; "…" stands for what was cut.
fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let most = limit.saturating_sub('…'.len_utf8());
    let end = (0..=most).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    format!("{}…", &text[..end])
}

/// Control characters become escapes, so that no value can begin a line or talk to a terminal.
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
}

/// A value in text format: quoted where a reader could not tell its end otherwise.
fn quote(text: &str, out: &mut String) {
    let plain = !text.is_empty() && !text.contains([' ', '"', '=', '\\']);
    if plain {
        return escape(text, out);
    }
    out.push('"');
    for piece in text.split_inclusive(['"', '\\']) {
        let body = piece.trim_end_matches(['"', '\\']);
        escape(body, out);
        if let Some(mark) = piece[body.len()..].chars().next() {
            out.push('\\');
            out.push(mark);
        }
    }
    out.push('"');
}

impl Fields {
    /// The first to come stays: the record's own keys come before those of its logger.
    fn put(&mut self, key: Key, value: Value) -> slog::Result {
        if !self.0.iter().any(|(known, _)| known == key) {
            self.0.push((key.to_owned(), value));
        }
        Ok(())
    }

    fn literal(&mut self, key: Key, value: impl fmt::Display) -> slog::Result {
        self.put(key, Value::Literal(value.to_string()))
    }

    fn float(&mut self, key: Key, value: f64) -> slog::Result {
        // JSON has no infinities.
        if value.is_finite() {
            self.literal(key, value)
        } else {
            self.put(key, Value::Text(value.to_string()))
        }
    }
}

impl Serializer for Fields {
    fn emit_arguments(&mut self, key: Key, value: &fmt::Arguments<'_>) -> slog::Result {
        let mut text = String::new();
        text.write_fmt(*value)?;
        self.put(key, Value::Text(text))
    }
    fn emit_str(&mut self, key: Key, value: &str) -> slog::Result {
        self.put(key, Value::Text(value.to_owned()))
    }
    fn emit_char(&mut self, key: Key, value: char) -> slog::Result {
        self.put(key, Value::Text(value.to_string()))
    }
    fn emit_bool(&mut self, key: Key, value: bool) -> slog::Result {
        self.literal(key, value)
    }
    fn emit_u8(&mut self, key: Key, value: u8) -> slog::Result {
        self.literal(key, value)
    }
    fn emit_i8(&mut self, key: Key, value: i8) -> slog::Result {
        self.literal(key, value)
    }
    fn emit_u16(&mut self, key: Key, value: u16) -> slog::Result {
        self.literal(key, value)
    }
    fn emit_i16(&mut self, key: Key, value: i16) -> slog::Result {
        self.literal(key, value)
    }
    fn emit_u32(&mut self, key: Key, value: u32) -> slog::Result {
        self.literal(key, value)
    }
    fn emit_i32(&mut self, key: Key, value: i32) -> slog::Result {
        self.literal(key, value)
    }
    fn emit_u64(&mut self, key: Key, value: u64) -> slog::Result {
        self.literal(key, value)
    }
    fn emit_i64(&mut self, key: Key, value: i64) -> slog::Result {
        self.literal(key, value)
    }
    fn emit_usize(&mut self, key: Key, value: usize) -> slog::Result {
        self.literal(key, value)
    }
    fn emit_isize(&mut self, key: Key, value: isize) -> slog::Result {
        self.literal(key, value)
    }
    fn emit_f32(&mut self, key: Key, value: f32) -> slog::Result {
        self.float(key, value.into())
    }
    fn emit_f64(&mut self, key: Key, value: f64) -> slog::Result {
        self.float(key, value)
    }
    fn emit_none(&mut self, key: Key) -> slog::Result {
        self.literal(key, "null")
    }
    fn emit_unit(&mut self, key: Key) -> slog::Result {
        self.literal(key, "null")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, fields: Vec<(&str, Value)>) -> Line<'static> {
        let mut line = Line::now("info", "master", text.to_owned());
        line.fields.0 = fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        line
    }

    fn text(value: &str) -> Value {
        Value::Text(value.to_owned())
    }

    /// The text form, checked to be one line, without its timestamp.
    fn shown(line: &Line<'_>) -> String {
        let bytes = line.render(LogFormat::Text);
        assert!(bytes.len() <= MOST);
        let all = String::from_utf8(bytes).unwrap();
        let body = all.strip_suffix('\n').unwrap();
        assert!(!body.contains(char::is_control), "{body:?}");
        body.split_once(' ').unwrap().1.to_owned()
    }

    fn parsed(line: &Line<'_>) -> serde_json::Value {
        let bytes = line.render(LogFormat::Json);
        assert!(bytes.len() <= MOST && bytes.ends_with(b"}\n"), "{} bytes", bytes.len());
        assert_eq!(bytes.iter().filter(|&&byte| byte < b' ').count(), 1);
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(timestamp(1_795_253_400_123_999_999), "2026-11-21T09:30:00.123Z");
        assert_eq!(timestamp(951_827_696_007_000_000), "2000-02-29T12:34:56.007Z");
    }

    #[test]
    fn text_for_people() {
        let fields =
            vec![("pid", Value::Literal("42".into())), ("why", text("no such file")), ("path", text("/a"))];
        let line = line("worker ended", fields);
        assert_eq!(shown(&line), "info  master  worker ended pid=42 why=\"no such file\" path=/a");
    }

    #[test]
    fn values_can_not_pretend_to_be_something_else() {
        let evil = "a\n2026-11-21T09:30:00.123Z error x\u{1b}[2J\u{9b}";
        let escaped = "a\\n2026-11-21T09:30:00.123Z error x\\u{1b}[2J\\u{9b}";
        assert_eq!(shown(&line(evil, vec![])), format!("info  master  {escaped}"));
        assert_eq!(shown(&line("x", vec![("k", text(evil))])), format!("info  master  x k=\"{escaped}\""));
        let quotes =
            [("", r#""""#), ("a=b", r#""a=b""#), (r#"say "\""#, r#""say \"\\\"""#), ("plain", "plain")];
        for (value, expected) in quotes {
            assert_eq!(shown(&line("x", vec![("k", text(value))])), format!("info  master  x k={expected}"));
        }
        assert_eq!(parsed(&line(evil, vec![("k", text(evil))]))["k"], evil);
    }

    #[test]
    fn json_for_programs() {
        let fields = vec![
            ("pid", Value::Literal("42".into())),
            ("ok", Value::Literal("true".into())),
            ("none", Value::Literal("null".into())),
            ("text", text("a key of the caller's")),
        ];
        let value = parsed(&line("worker \"a\" ended", fields));
        assert!(value["at"].as_str().unwrap().ends_with('Z'));
        assert_eq!((value["level"].as_str(), value["who"].as_str()), (Some("info"), Some("master")));
        assert_eq!(value["text"], "worker \"a\" ended");
        assert_eq!((value["pid"].as_i64(), value["ok"].as_bool()), (Some(42), Some(true)));
        assert!(value["none"].is_null());
        assert_eq!(value["text_"], "a key of the caller's");
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        for pad in 0..4 {
            let long = format!("{}{}", "x".repeat(pad), "€".repeat(5000));
            let line = line(&long, vec![("k", text(&long))]);
            let shown = shown(&line);
            assert!(shown.ends_with('…') && shown.len() > 4000, "{} bytes", shown.len());
            let value = parsed(&line);
            assert!(value["text"].as_str().unwrap().ends_with("€…"));
            assert!(value["k"].as_str().unwrap().ends_with("€…"));
        }
        // Escapes make it longer than its bytes.
        assert!(parsed(&line(&"\u{1}".repeat(4000), vec![]))["text"].as_str().unwrap().ends_with('…'));
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "…");
    }

    #[test]
    fn with_hundreds_of_fields_the_text_is_kept() {
        let names: Vec<String> = (0..500).map(|i| format!("key{i}")).collect();
        let fields = names.iter().map(|name| (name.as_str(), text("value"))).collect();
        let value = parsed(&line("what was said", fields));
        assert_eq!(value["text"], "what was said");
        assert!(value["key0"].is_null());
    }

    #[test]
    fn infinities_are_words() {
        let mut fields = Fields::default();
        fields.float("half", 0.5).unwrap();
        fields.float("huge", f64::INFINITY).unwrap();
        fields.float("half", 7.0).unwrap();
        let line = Line { fields, ..Line::now("info", "master", "x".into()) };
        assert_eq!(shown(&line), "info  master  x half=0.5 huge=inf");
        assert_eq!(parsed(&line)["half"].as_f64(), Some(0.5));
    }
}
