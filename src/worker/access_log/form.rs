//! What an access log line looks like: the combined form with more fields, or one JSON object.
//!
//! The manual, masterd(8), tells every field; a test holds the two together. A line ends in one newline
//! and holds no other byte that could begin one, pretend to be another field, or talk to a terminal: in
//! text everything but printable ASCII, and quotes and backslashes, becomes `\xHH`; JSON has its own
//! escapes, and what is not UTF-8 becomes U+FFFD. Fields that would make a line too long are cut: `...`.
//! Never: writes, reads a clock, allocates for a field.

use super::{Author, Entry, What};
use crate::config::LogFormat;
use std::fmt;
use std::io::Write;
use std::time::Duration;
use time::OffsetDateTime;

const SECOND: u64 = 1_000_000_000;
/// Stands where a field was cut.
const CUT: &str = "...";
const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Puts lines together.
pub(super) struct Form {
    format: LogFormat,
    /// The fields that are the same in every line.
    author: String,
    /// The time down to the second, and which second that is.
    stamp: String,
    second: Option<u64>,
}

impl Form {
    pub(super) fn new(format: LogFormat, author: &Author<'_>) -> Form {
        let Author { service, generation, seat, pid } = author;
        let author = match format {
            LogFormat::Text => format!(" service={service} generation={generation} seat={seat} pid={pid}"),
            LogFormat::Json => {
                format!(
                    ",\"service\":\"{service}\",\"generation\":{generation},\"seat\":{seat},\"pid\":{pid}"
                )
            }
        };
        Form { format, author, stamp: String::new(), second: None }
    }

    /// Appends the line of an entry that ended at `now` (CLOCK_REALTIME, ns): at most `most` bytes, which
    /// are at least 4096.
    pub(super) fn compose(&mut self, entry: &Entry<'_>, now: u64, most: usize, out: &mut Vec<u8>) {
        self.tell_time(now);
        let start = out.len();
        for limit in [most, most / 4, most / 8, 32] {
            match self.format {
                LogFormat::Text => self.text_line(entry, limit, out),
                LogFormat::Json => self.json_line(entry, now, limit, out),
            }
            if out.len() - start <= most {
                return;
            }
            out.truncate(start);
        }
    }

    /// Formatted once a second.
    fn tell_time(&mut self, now: u64) {
        let second = now / SECOND;
        if self.second == Some(second) {
            return;
        }
        self.second = Some(second);
        let at = i64::try_from(second).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
        let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
        let (hour, minute, second) = at.to_hms();
        self.stamp = match self.format {
            LogFormat::Text => {
                let names =
                    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
                let month = names[usize::from(month - 1) % 12];
                format!("{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000")
            }
            LogFormat::Json => format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"),
        };
    }

    fn text_line(&self, entry: &Entry<'_>, limit: usize, out: &mut Vec<u8>) {
        put(out, entry.peer.host());
        put(out, format_args!(" - - [{}] \"", self.stamp));
        let (request, status) = match &entry.what {
            What::Request(request) => (Some(request), Some(request.status)),
            What::NoRequest { status } => (None, Some(*status)),
            What::Connection { .. } => (None, None),
        };
        match request {
            Some(request) => {
                text(request.method.as_bytes(), limit, out);
                out.push(b' ');
                text(request.target, limit, out);
                out.push(b' ');
                text(request.version.as_bytes(), limit, out);
            }
            None => out.push(b'-'),
        }
        out.extend_from_slice(b"\" ");
        number_or(out, status, b"-");
        put(out, format_args!(" {} \"", entry.bytes));
        text_or_dash(request.and_then(|r| r.referer), limit, out);
        out.extend_from_slice(b"\" \"");
        text_or_dash(request.and_then(|r| r.user_agent), limit, out);
        out.extend_from_slice(b"\" took=");
        seconds(entry.took, out);
        out.extend_from_slice(b" upstream=\"");
        text_or_dash(entry.upstream.map(|u| u.address.as_bytes()), limit, out);
        out.extend_from_slice(b"\" upstream_took=");
        match entry.upstream {
            Some(upstream) => seconds(upstream.took, out),
            None => out.push(b'-'),
        }
        put(out, format_args!(" class={}{} port=", entry.class.word(), self.author));
        number_or(out, entry.peer.port(), b"-");
        out.extend_from_slice(b" host=\"");
        text_or_dash(request.and_then(|r| r.host), limit, out);
        out.push(b'"');
        if let What::Connection { bytes_in } = entry.what {
            put(out, format_args!(" bytes_in={bytes_in}"));
        }
        out.push(b'\n');
    }

    fn json_line(&self, entry: &Entry<'_>, now: u64, limit: usize, out: &mut Vec<u8>) {
        let milli = now % SECOND / 1_000_000;
        put(out, format_args!("{{\"time\":\"{}.{milli:03}Z\",\"peer\":\"{}\"", self.stamp, entry.peer));
        let (request, status) = match &entry.what {
            What::Request(request) => (Some(request), Some(request.status)),
            What::NoRequest { status } => (None, Some(*status)),
            What::Connection { .. } => (None, None),
        };
        json("method", request.map(|r| r.method.as_bytes()), limit, out);
        json("target", request.map(|r| r.target), limit, out);
        json("version", request.map(|r| r.version.as_bytes()), limit, out);
        out.extend_from_slice(b",\"status\":");
        number_or(out, status, b"null");
        put(out, format_args!(",\"bytes\":{},\"took\":", entry.bytes));
        seconds(entry.took, out);
        json("upstream", entry.upstream.map(|u| u.address.as_bytes()), limit, out);
        out.extend_from_slice(b",\"upstream_took\":");
        match entry.upstream {
            Some(upstream) => seconds(upstream.took, out),
            None => out.extend_from_slice(b"null"),
        }
        put(out, format_args!(",\"class\":\"{}\"{}", entry.class.word(), self.author));
        json("referer", request.and_then(|r| r.referer), limit, out);
        json("user_agent", request.and_then(|r| r.user_agent), limit, out);
        json("host", request.and_then(|r| r.host), limit, out);
        if let What::Connection { bytes_in } = entry.what {
            put(out, format_args!(",\"bytes_in\":{bytes_in}"));
        }
        out.extend_from_slice(b"}\n");
    }
}

fn put(out: &mut Vec<u8>, what: impl fmt::Display) {
    // A Vec takes everything, and no Display of ours fails.
    let _ = write!(out, "{what}");
}

fn number_or(out: &mut Vec<u8>, number: Option<u16>, none: &[u8]) {
    match number {
        Some(number) => put(out, number),
        None => out.extend_from_slice(none),
    }
}

/// Seconds with microseconds: `0.001250`.
fn seconds(took: Duration, out: &mut Vec<u8>) {
    put(out, format_args!("{}.{:06}", took.as_secs(), took.subsec_micros()));
}

fn text_or_dash(field: Option<&[u8]>, limit: usize, out: &mut Vec<u8>) {
    text(field.unwrap_or(b"-"), limit, out);
}

/// A field between quotes in text: printable ASCII as it is, the rest as `\xHH`.
fn text(field: &[u8], limit: usize, out: &mut Vec<u8>) {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if field.len() <= limit && field.iter().all(|&byte| plain(byte)) {
        return out.extend_from_slice(field);
    }
    let end = out.len() + limit.saturating_sub(CUT.len() + 4);
    for &byte in field {
        if out.len() > end {
            return out.extend_from_slice(CUT.as_bytes());
        }
        if plain(byte) {
            out.push(byte);
        } else {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'\\', b'x', high, low]);
        }
    }
}

/// A member with a text or null, comma in front.
fn json(key: &str, field: Option<&[u8]>, limit: usize, out: &mut Vec<u8>) {
    put(out, format_args!(",\"{key}\":"));
    let Some(field) = field else { return out.extend_from_slice(b"null") };
    out.push(b'"');
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if field.len() <= limit && field.iter().all(|&byte| plain(byte)) {
        out.extend_from_slice(field);
    } else {
        json_text(field, limit, out);
    }
    out.push(b'"');
}

/// RFC 8259, 7; besides, DEL, C1 and the line separators of Unicode, at which some readers break lines.
fn json_text(field: &[u8], limit: usize, out: &mut Vec<u8>) {
    let end = out.len() + limit.saturating_sub(CUT.len() + 6);
    for chunk in field.utf8_chunks() {
        let broken = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
        for c in chunk.valid().chars().chain(broken) {
            if out.len() > end {
                return out.extend_from_slice(CUT.as_bytes());
            }
            match c {
                '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
                '\u{2028}' | '\u{2029}' => put(out, format_args!("\\u{:04x}", u32::from(c))),
                c if c.is_control() => put(out, format_args!("\\u{:04x}", u32::from(c))),
                c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Request, UNANSWERED, Upstream};
    use super::*;
    use crate::model::Class;
    use crate::sys::net::Peer;
    use crate::worker::who::Who;
    use proptest::prelude::*;
    use serde_json::Value;

    /// 2026-11-21T09:30:00.123Z.
    const NOW: u64 = 1_795_253_400_123_999_999;
    const AUTHOR: Author<'_> = Author { service: "web", generation: 7, seat: 3, pid: 42 };
    const SMALL: usize = 4096;

    fn request<'a>() -> Request<'a> {
        Request {
            method: "GET",
            target: b"/a?b=c",
            version: "HTTP/1.1",
            status: 200,
            referer: Some(b"http://h/"),
            user_agent: None,
            host: Some(b"example.com:8080"),
        }
    }

    fn entry(what: What<'_>) -> Entry<'_> {
        Entry {
            peer: Who::new(Peer::Tcp("[2001:db8::1]:5000".parse().unwrap())),
            class: Class::Http,
            bytes: 12,
            took: Duration::from_nanos(1_002_003_999),
            upstream: None,
            what,
        }
    }

    fn line(format: LogFormat, entry: &Entry<'_>, most: usize) -> String {
        let mut out = b"before\n".to_vec();
        Form::new(format, &AUTHOR).compose(entry, NOW, most, &mut out);
        let line = out.strip_prefix(b"before\n").unwrap();
        assert!(line.len() <= most, "{} bytes", line.len());
        let (last, body) = line.split_last().unwrap();
        assert_eq!(*last, b'\n');
        assert!(!body.iter().any(u8::is_ascii_control), "{}", String::from_utf8_lossy(body));
        String::from_utf8(body.to_vec()).expect("UTF-8")
    }

    fn parsed(entry: &Entry<'_>, most: usize) -> Value {
        serde_json::from_str(&line(LogFormat::Json, entry, most)).expect("JSON")
    }

    #[test]
    fn text_is_the_combined_form_and_more() {
        let plain = entry(What::Request(request()));
        assert_eq!(
            line(LogFormat::Text, &plain, SMALL),
            "2001:db8::1 - - [21/Nov/2026:09:30:00 +0000] \"GET /a?b=c HTTP/1.1\" 200 12 \"http://h/\" \"-\" \
             took=1.002003 upstream=\"-\" upstream_took=- class=http service=web generation=7 seat=3 pid=42 \
             port=5000 host=\"example.com:8080\""
        );
        let upstream = Some(Upstream { address: "unix:/a b", took: Duration::from_millis(20) });
        let peer = Who::new(Peer::Unix);
        let tunnel = Entry { peer, class: Class::Tcp, upstream, ..entry(What::Connection { bytes_in: 5 }) };
        assert_eq!(
            line(LogFormat::Text, &tunnel, SMALL),
            "unix - - [21/Nov/2026:09:30:00 +0000] \"-\" - 12 \"-\" \"-\" took=1.002003 upstream=\"unix:/a b\" \
             upstream_took=0.020000 class=tcp service=web generation=7 seat=3 pid=42 port=- host=\"-\" bytes_in=5"
        );
        let none = line(LogFormat::Text, &entry(What::NoRequest { status: 400 }), SMALL);
        assert!(none.contains("] \"-\" 400 12 \"-\" \"-\" took="), "{none}");
    }

    #[test]
    fn json_has_every_key_in_order() {
        let upstream = Some(Upstream { address: "127.0.0.1:9000", took: Duration::from_micros(15) });
        let full = Entry { upstream, ..entry(What::Request(request())) };
        assert_eq!(
            line(LogFormat::Json, &full, SMALL),
            r#"{"time":"2026-11-21T09:30:00.123Z","peer":"[2001:db8::1]:5000","method":"GET","target":"/a?b=c","version":"HTTP/1.1","status":200,"bytes":12,"took":1.002003,"upstream":"127.0.0.1:9000","upstream_took":0.000015,"class":"http","service":"web","generation":7,"seat":3,"pid":42,"referer":"http://h/","user_agent":null,"host":"example.com:8080"}"#
        );
        let tunnel = parsed(&entry(What::Connection { bytes_in: 5 }), SMALL);
        assert_eq!((tunnel["bytes_in"].as_u64(), tunnel["bytes"].as_u64()), (Some(5), Some(12)));
        for key in ["method", "target", "version", "status", "upstream", "upstream_took", "host"] {
            assert!(tunnel[key].is_null() && tunnel.get(key).is_some(), "{key}");
        }
        let none = parsed(&entry(What::NoRequest { status: 408 }), SMALL);
        assert_eq!((none["status"].as_u64(), none["method"].is_null()), (Some(408), true));
    }

    #[test]
    fn a_client_can_forge_nothing() {
        let evil = "x\" 200 1\n1.2.3.4 - - [\\\u{1b}[2J\u{9b}\u{2028}é".as_bytes();
        let evil = [evil, b"\xff\x00"].concat();
        let bad = Request {
            method: "G\"T",
            target: &evil,
            referer: Some(&evil),
            user_agent: Some(&evil),
            host: Some(&evil),
            ..request()
        };
        let text = line(LogFormat::Text, &entry(What::Request(bad)), SMALL);
        let shown = r"x\x22 200 1\x0A1.2.3.4 - - [\x5C\x1B[2J\xC2\x9B\xE2\x80\xA8\xC3\xA9\xFF\x00";
        assert_eq!(text.matches(shown).count(), 4, "{text}");
        assert!(text.contains(r#""G\x22T x\x22"#), "{text}");
        assert_eq!(text.matches('"').count(), 10, "only those of the form");
        let json = line(LogFormat::Json, &entry(What::Request(bad)), SMALL);
        assert!(!json.contains(['\u{9b}', '\u{2028}', '\u{7f}']), "{json}");
        let value: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["referer"], String::from_utf8_lossy(&evil).into_owned());
        assert_eq!(value["method"], "G\"T");
    }

    #[test]
    fn long_fields_are_cut_and_the_line_stays_what_it_is() {
        for fill in ["x", "\"", "\u{1}", "é", "\u{2028}"] {
            let long = fill.repeat(70_000 / fill.len());
            let field = Some(long.as_bytes());
            let big = Request {
                target: long.as_bytes(),
                referer: field,
                user_agent: field,
                host: field,
                method: &long,
                ..request()
            };
            for most in [SMALL, 64 * 1024] {
                let all = entry(What::Request(big));
                let text = line(LogFormat::Text, &all, most);
                assert_eq!(text.matches("...").count(), 5, "{text}");
                assert!(text.ends_with("...\"") && text.len() > most / 3, "{}", text.len());
                let value = parsed(&all, most);
                assert!(value["target"].as_str().unwrap().ends_with("..."));
                let one = Request { target: long.as_bytes(), ..request() };
                assert!(line(LogFormat::Text, &entry(What::Request(one)), most).len() > most / 5);
            }
        }
        let short = Request { target: &[b'x'; 3000], ..request() };
        assert!(!line(LogFormat::Text, &entry(What::Request(short)), SMALL).contains("..."));
    }

    #[test]
    fn the_time_is_told_anew_each_second() {
        let mut form = Form::new(LogFormat::Text, &AUTHOR);
        let mut times = Vec::new();
        for now in [0, SECOND - 1, SECOND, 951_827_696 * SECOND, 5] {
            let mut out = Vec::new();
            form.compose(&entry(What::Request(request())), now, SMALL, &mut out);
            let line = String::from_utf8(out).unwrap();
            times.push(line[line.find('[').unwrap() + 1..line.find(']').unwrap()].to_owned());
        }
        let expected = [
            "01/Jan/1970:00:00:00 +0000",
            "01/Jan/1970:00:00:00 +0000",
            "01/Jan/1970:00:00:01 +0000",
            "29/Feb/2000:12:34:56 +0000",
            "01/Jan/1970:00:00:00 +0000",
        ];
        assert_eq!(times, expected);
    }

    /// The manual tells every field of both forms.
    #[test]
    fn every_field_is_in_the_manual() {
        let page = include_str!("../../../man/masterd.8").replace("\\-", "-");
        let section = page.split(".SH ").find(|s| s.starts_with("\"ACCESS LOG\"")).expect("its section");
        let has = |word: &str| section.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == word);
        let tunnel = entry(What::Connection { bytes_in: 5 });
        let text = line(LogFormat::Text, &tunnel, SMALL);
        let keys = text.split(' ').filter_map(|word| Some(word.split_once('=')?.0.to_owned()));
        let value = parsed(&tunnel, SMALL);
        let members = value.as_object().unwrap().keys().cloned();
        let missing: Vec<String> = keys.chain(members).filter(|key| !has(key)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert!(has(&UNANSWERED.to_string()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_two_lines_or_bad_json(
            target in proptest::collection::vec(any::<u8>(), 0..6000),
            other in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..6000)),
        ) {
            let other = other.as_deref();
            let request =
                Request { target: &target, referer: other, user_agent: other, host: other, ..request() };
            let all = entry(What::Request(request));
            let text = line(LogFormat::Text, &all, SMALL);
            prop_assert!(text.is_ascii());
            prop_assert_eq!(text.matches('"').count(), 10);
            prop_assert_eq!(parsed(&all, SMALL).as_object().map(|members| members.len()), Some(18));
        }
    }
}
