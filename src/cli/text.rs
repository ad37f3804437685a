//! Numbers, sizes, times and foreign text as people read them in a terminal.
//!
//! Called by every view. Pure. What came from elsewhere (names, reasons, peers) goes through `clean`
//! before it is shown, so that no name can move the cursor or hide a line.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A count: exact below 100,000, then three digits and a unit, never rounded up (`12345`, `123k`, `1.20M`).
pub fn count(n: u64) -> String {
    if n < 100_000 {
        return n.to_string();
    }
    let (unit, word) = [(1_000, "k"), (1_000_000, "M"), (1_000_000_000, "G"), (1_000_000_000_000, "T")]
        .into_iter()
        .chain([(1_000_000_000_000_000, "P"), (1_000_000_000_000_000_000, "E")])
        .rev()
        .find(|(unit, _)| n >= *unit)
        .unwrap_or((1, ""));
    let thousandths = u128::from(n) * 1000 / unit as u128;
    let (whole, rest) = (thousandths / 1000, thousandths % 1000);
    match whole {
        0..10 => format!("{whole}.{:02}{word}", rest / 10),
        10..100 => format!("{whole}.{}{word}", rest / 100),
        _ => format!("{whole}{word}"),
    }
}

/// Bytes: `512 B`, `12.3 KiB`, `512 MiB`, never rounded up.
pub fn size(bytes: u64) -> String {
    let mut step = 0;
    while step < 6 && bytes >> (10 * (step + 1)) > 0 {
        step += 1;
    }
    let word = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"][step];
    let whole = bytes >> (10 * step);
    if step == 0 || whole >= 100 {
        return format!("{whole} {word}");
    }
    let tenths = ((u128::from(bytes) * 10) >> (10 * step)) % 10;
    format!("{whole}.{tenths} {word}")
}

/// A duration in seconds by its two largest units: `0.4s`, `45s`, `3m12s`, `3h12m`, `2d3h`.
pub fn span(seconds: f64) -> String {
    if seconds.is_nan() {
        return "?".to_owned();
    }
    if seconds > 0.0 && seconds < 1.0 {
        return format!("{seconds:.1}s");
    }
    let s = seconds as u64;
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{}s", s / 60, s % 60),
        3600..86400 => format!("{}h{}m", s / 3600, s / 60 % 60),
        _ => format!("{}d{}h", s / 86400, s / 3600 % 24),
    }
}

/// How long before `now_ns` (nanoseconds since 1970) an RFC 3339 time was; `?` if it is none.
pub fn since(then: &str, now_ns: u64) -> String {
    let Ok(then) = OffsetDateTime::parse(then, &Rfc3339) else { return "?".to_owned() };
    let ns = i128::from(now_ns) - then.unix_timestamp_nanos();
    span((ns / 1_000_000_000).max(0) as f64)
}

/// `text` with everything that is not one visible column or a space written as an escape.
pub fn clean(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push(' '),
            c if c.is_control() => shown.push_str(&format!("\\x{:02x}", c as u32)),
            // Zero-width and direction marks: they reorder or hide what stands beside them.
            '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}' => {
                shown.push_str(&format!("\\u{{{:x}}}", c as u32));
            }
            c => shown.push(c),
        }
    }
    shown
}

/// Columns that cleaned text takes, at most: what may be wide counts as two.
pub fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

fn columns(c: char) -> usize {
    if matches!(c, '\u{1100}'..='\u{11ff}' | '\u{2300}'..) { 2 } else { 1 }
}

/// Cleaned `text` in at most `room` columns, ending in `…` if something was cut.
pub fn fit(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let mut left = room.saturating_sub(1);
    let mut shown = String::new();
    for c in text.chars() {
        let Some(rest) = left.checked_sub(columns(c)) else { break };
        left = rest;
        shown.push(c);
    }
    shown.push('…');
    shown
}

/// Cleaned `text` in lines of at most `room` columns, broken at spaces where there are some; after
/// `lines` lines the rest is cut with `…`.
pub fn wrap(text: &str, room: usize, lines: usize) -> Vec<String> {
    let mut wrapped = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if width(rest) <= room || wrapped.len() + 1 == lines {
            wrapped.push(fit(rest, room));
            break;
        }
        let (line, more) = rest.split_at(break_at(rest, room));
        wrapped.push(line.trim_end().to_owned());
        rest = more.trim_start();
    }
    wrapped
}

/// The byte at which to break a line that is too long: its last space that fits, else the edge.
fn break_at(text: &str, room: usize) -> usize {
    let mut taken = 0;
    let mut space = None;
    for (at, c) in text.char_indices() {
        if c == ' ' {
            space = Some(at);
        }
        taken += columns(c);
        if taken > room {
            return space.filter(|at| *at > 0).unwrap_or(at.max(c.len_utf8()));
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_exact_until_they_are_long() {
        for (n, shown) in [
            (0, "0"),
            (99_999, "99999"),
            (100_000, "100k"),
            (999_999, "999k"),
            (1_000_000, "1.00M"),
            (12_399_999, "12.3M"),
            (999_999_999, "999M"),
            (1_234_567_890_123, "1.23T"),
            (u64::MAX, "18.4E"),
        ] {
            assert_eq!(count(n), shown, "{n}");
        }
    }

    #[test]
    fn sizes_have_binary_units() {
        for (n, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (12_700, "12.4 KiB"),
            (1024 * 1024 - 1, "1023 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(size(n), shown, "{n}");
        }
    }

    #[test]
    fn spans_have_two_units_and_survive_nonsense() {
        for (s, shown) in [
            (0.0, "0s"),
            (0.44, "0.4s"),
            (59.9, "59s"),
            (192.0, "3m12s"),
            (11_520.0, "3h12m"),
            (183_600.0, "2d3h"),
            (-5.0, "0s"),
            (f64::NAN, "?"),
        ] {
            assert_eq!(span(s), shown, "{s}");
        }
        assert!(span(f64::INFINITY).ends_with('h'));
    }

    #[test]
    fn ages_come_from_rfc_3339() {
        let now = 1_700_000_000_000_000_000;
        assert_eq!(since("2023-11-14T22:10:08Z", now), "3m12s");
        assert_eq!(since("2023-11-14T22:10:08.25Z", now), "3m11s");
        assert_eq!(since("2033-11-14T22:10:08Z", now), "0s");
        assert_eq!(since("yesterday", now), "?");
    }

    #[test]
    fn foreign_text_cannot_move_the_cursor() {
        assert_eq!(clean("a\x1b[2Jb\r\n\u{7f}\u{9b}"), "a\\x1b[2Jb\\x0d\\n\\x7f\\x9b");
        assert_eq!(clean("\u{202e}abc\u{200b}"), "\\u{202e}abc\\u{200b}");
        assert_eq!(clean("Zürich 東京"), "Zürich 東京");
    }

    #[test]
    fn text_is_cut_and_wrapped_by_columns() {
        assert_eq!(fit("abcdef", 6), "abcdef");
        assert_eq!(fit("abcdefg", 6), "abcde…");
        assert_eq!(fit("東京東京", 5), "東京…");
        assert_eq!(wrap("one two three", 8, 9), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij", 4, 9), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("one two three four", 8, 2), ["one two", "three f…"]);
        assert_eq!(wrap("", 8, 2), Vec::<String>::new());
        assert_eq!(wrap("東京", 1, 9).len(), 2, "a column too narrow still comes to an end");
    }
}
