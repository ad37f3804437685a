//! One range of bytes (RFC 9110, 14).
//!
//! Whoever asks for several gets the whole file, which 14.2 allows: a server may ignore the field, and
//! many small overlapping ranges are an attack more often than a wish.

use hyper::header::{HeaderMap, RANGE};

/// What is asked for, before the size is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// From the first to the second, or to the end.
    From(u64, Option<u64>),
    /// So many at the end.
    Last(u64),
}

/// What of a file is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Whole,
    /// So many bytes, at least one, from there.
    Some {
        start: u64,
        length: u64,
    },
    /// Nothing of it is there: 416.
    Nothing,
}

/// Reads the field. `None` if there is none, or one that is to be ignored: another unit, nonsense,
/// more than one range.
pub fn asked(headers: &HeaderMap) -> Option<Asked> {
    let mut values = headers.get_all(RANGE).iter();
    let value = values.next()?.to_str().ok().filter(|_| values.next().is_none())?;
    let (unit, set) = value.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut ranges =
        set.split(',').map(|range| range.trim_matches([' ', '\t'])).filter(|range| !range.is_empty());
    let (first, last) = ranges.next().filter(|_| ranges.next().is_none())?.split_once('-')?;
    match (first, last) {
        ("", last) => Some(Asked::Last(number(last)?)),
        (first, "") => Some(Asked::From(number(first)?, None)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Asked::From(first, Some(last)))
        }
    }
}

/// A number of any length; beyond 64 bits it is the largest there is.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

impl Asked {
    /// What of a file of this size, in bytes, is meant.
    pub fn of(self, size: u64) -> Part {
        let (start, end) = match self {
            // All of nothing: no Content-Range can say that.
            Asked::Last(1..) if size == 0 => return Part::Whole,
            Asked::Last(length) => (size - length.min(size), size),
            Asked::From(first, last) => (first, last.map_or(size, |last| last.saturating_add(1).min(size))),
        };
        if start < end { Part::Some { start, length: end - start } } else { Part::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn of(value: &str, size: u64) -> Part {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, HeaderValue::from_str(value).unwrap());
        asked(&headers).map_or(Part::Whole, |asked| asked.of(size))
    }

    #[test]
    fn a_range_is_cut_to_the_file() {
        let some = |start, length| Part::Some { start, length };
        assert_eq!(of("bytes=0-0", 10), some(0, 1));
        assert_eq!(of("bytes=0-9", 10), some(0, 10));
        assert_eq!(of("bytes=2-", 10), some(2, 8));
        assert_eq!(of("bytes=9-99999999999999999999999", 10), some(9, 1));
        assert_eq!(of("bytes=-3", 10), some(7, 3));
        assert_eq!(of("bytes=-30", 10), some(0, 10));
        assert_eq!(of("Bytes= 1-2 ,", 10), some(1, 2));
        assert_eq!(of(&format!("bytes=5-{}", u64::MAX), u64::MAX), some(5, u64::MAX - 5));
    }

    #[test]
    fn what_lies_behind_the_end_is_nothing() {
        for value in [
            "bytes=10-",
            "bytes=10-11",
            "bytes=-0",
            "bytes=99999999999999999999-",
            "bytes=18446744073709551615-",
        ] {
            assert_eq!(of(value, 10), Part::Nothing, "{value}");
        }
        assert_eq!(of("bytes=0-", 0), Part::Nothing);
        assert_eq!(of("bytes=-5", 0), Part::Whole);
    }

    #[test]
    fn what_is_not_understood_is_the_whole() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=1",
            "bytes=2-1",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1-2-3",
            "bytes=-1-2",
            "bytes =0-1",
            "items=0-1",
            "bytes=0-1,3-4",
            "bytes=0x1-2",
            "bytes=1 - 2",
        ] {
            assert_eq!(of(value, 10), Part::Whole, "{value}");
        }
        let mut two = HeaderMap::new();
        two.append(RANGE, HeaderValue::from_static("bytes=0-1"));
        two.append(RANGE, HeaderValue::from_static("bytes=0-1"));
        assert_eq!(asked(&two), None);
    }
}
