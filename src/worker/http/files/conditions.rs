//! Conditional requests (RFC 9110, 13): what is asked on condition, and whether the condition holds.
//!
//! Read from the fields before a file is opened, judged once its validators are known, in the order
//! of 13.2.2. A date that is none is as good as absent, as is one given twice; an entity tag that is
//! none matches nothing.

use hyper::header::{
    HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
};
use std::time::UNIX_EPOCH;

/// What tells one state of a file from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validators {
    /// A strong entity tag, with its quotes.
    pub tag: String,
    /// Of the last change, in seconds since 1970.
    pub modified: i64,
}

/// What comes of the conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Serve,
    /// 304: the client has it.
    NotModified,
    /// 412: it is not what the client thinks it is.
    Failed,
}

/// The conditions of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    if_match: Option<Tags>,
    unmodified_since: Option<i64>,
    if_none_match: Option<Tags>,
    modified_since: Option<i64>,
    if_range: Option<IfRange>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    /// `*`: whatever it is, if it is there.
    Any,
    Of(Vec<Tag>),
}

/// An entity tag (8.8.3), its quotes included.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tag {
    weak: bool,
    text: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum IfRange {
    Tag(Tag),
    Date(i64),
    Never,
}

impl Conditions {
    pub fn of(headers: &HeaderMap) -> Conditions {
        Conditions {
            if_match: tags(headers, &IF_MATCH),
            unmodified_since: single(headers, &IF_UNMODIFIED_SINCE).and_then(date),
            if_none_match: tags(headers, &IF_NONE_MATCH),
            modified_since: single(headers, &IF_MODIFIED_SINCE).and_then(date),
            if_range: headers.contains_key(IF_RANGE).then(|| {
                let value = single(headers, &IF_RANGE).unwrap_or_default();
                match (read_tags(value).pop(), date(value)) {
                    (Some(tag), _) => IfRange::Tag(tag),
                    (_, Some(date)) => IfRange::Date(date),
                    _ => IfRange::Never,
                }
            }),
        }
    }

    /// Steps 1 to 4 of 13.2.2, for GET and HEAD of a file that is there.
    pub fn judge(&self, file: &Validators) -> Verdict {
        let as_expected = match (&self.if_match, self.unmodified_since) {
            (Some(tags), _) => tags.hold(file, false),
            (None, Some(date)) => file.modified <= date,
            (None, None) => true,
        };
        if !as_expected {
            return Verdict::Failed;
        }
        let is_known = match (&self.if_none_match, self.modified_since) {
            (Some(tags), _) => tags.hold(file, true),
            (None, Some(date)) => file.modified <= date,
            (None, None) => false,
        };
        if is_known { Verdict::NotModified } else { Verdict::Serve }
    }

    /// Step 5: whether a range may be sent, or the file has changed and all of it is due.
    ///
    /// A date counts only from a second later on (`now`, in seconds since 1970): within it the file may
    /// have changed again (8.8.2.2).
    pub fn allow_range(&self, file: &Validators, now: i64) -> bool {
        match &self.if_range {
            None => true,
            Some(IfRange::Tag(tag)) => tag.is(file, false),
            Some(IfRange::Date(date)) => *date == file.modified && now > file.modified,
            Some(IfRange::Never) => false,
        }
    }
}

impl Tags {
    fn hold(&self, file: &Validators, weakly: bool) -> bool {
        match self {
            Tags::Any => true,
            Tags::Of(tags) => tags.iter().any(|tag| tag.is(file, weakly)),
        }
    }
}

impl Tag {
    /// Compared with a strong tag of ours (8.8.3.2).
    fn is(&self, file: &Validators, weakly: bool) -> bool {
        (weakly || !self.weak) && self.text == file.tag.as_bytes()
    }
}

/// The value of a field that is there exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value.as_bytes())
}

/// A date in any of the three forms (5.6.7), as seconds since 1970.
fn date(value: &[u8]) -> Option<i64> {
    let date = httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()?;
    i64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

/// All tags of a field, if it is there.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<Tags> {
    if !headers.contains_key(name) {
        return None;
    }
    if single(headers, name) == Some(b"*") {
        return Some(Tags::Any);
    }
    let values = headers.get_all(name).iter();
    Some(Tags::Of(values.flat_map(|value| read_tags(value.as_bytes())).collect()))
}

/// A list of tags, up to where it is none any more. A comma may be part of a tag.
fn read_tags(value: &[u8]) -> Vec<Tag> {
    let mut found = Vec::new();
    let mut rest = value;
    loop {
        rest = rest.trim_ascii_start();
        if let Some(after) = rest.strip_prefix(b",") {
            rest = after;
            continue;
        }
        let (weak, quoted) = match rest.strip_prefix(b"W/") {
            Some(after) => (true, after),
            None => (false, rest),
        };
        let inner = quoted.strip_prefix(b"\"").unwrap_or_default();
        let Some(length) = inner.iter().position(|byte| *byte == b'"') else { return found };
        let (text, after) = quoted.split_at(length + 2);
        found.push(Tag { weak, text: text.to_vec() });
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::*;
    use super::*;
    use hyper::header::HeaderValue;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const MODIFIED: i64 = 784_111_777;
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn file() -> Validators {
        Validators { tag: "\"a,b\"".to_owned(), modified: MODIFIED }
    }

    fn conditions(fields: &[(HeaderName, &str)]) -> Conditions {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        Conditions::of(&headers)
    }

    fn judge(fields: &[(HeaderName, &str)]) -> Verdict {
        conditions(fields).judge(&file())
    }

    #[test]
    fn without_a_condition_it_is_served() {
        assert_eq!(judge(&[]), Serve);
        assert!(conditions(&[]).allow_range(&file(), MODIFIED));
    }

    #[test]
    fn each_condition_alone() {
        for (name, value, verdict) in [
            (IF_MATCH, "*", Serve),
            (IF_MATCH, "\"a,b\"", Serve),
            (IF_MATCH, "\"x\", \"a,b\"", Serve),
            (IF_MATCH, "W/\"a,b\"", Failed),
            (IF_MATCH, "\"x\"", Failed),
            (IF_MATCH, "a,b", Failed),
            (IF_MATCH, "", Failed),
            (IF_MATCH, "\"x\", *", Failed),
            (IF_UNMODIFIED_SINCE, SAME, Serve),
            (IF_UNMODIFIED_SINCE, AFTER, Serve),
            (IF_UNMODIFIED_SINCE, BEFORE, Failed),
            (IF_UNMODIFIED_SINCE, "yesterday", Serve),
            (IF_NONE_MATCH, "*", NotModified),
            (IF_NONE_MATCH, "\"a,b\"", NotModified),
            (IF_NONE_MATCH, "W/\"a,b\"", NotModified),
            (IF_NONE_MATCH, ",, W/\"x\" , \"a,b\",", NotModified),
            (IF_NONE_MATCH, "\"x\"", Serve),
            (IF_NONE_MATCH, "\"a\",b\"", Serve),
            (IF_NONE_MATCH, "\"a,b", Serve),
            (IF_NONE_MATCH, "w/\"a,b\"", Serve),
            (IF_MODIFIED_SINCE, SAME, NotModified),
            (IF_MODIFIED_SINCE, AFTER, NotModified),
            (IF_MODIFIED_SINCE, BEFORE, Serve),
            (IF_MODIFIED_SINCE, "Sunday, 06-Nov-94 08:49:37 GMT", NotModified),
            (IF_MODIFIED_SINCE, "Sun Nov  6 08:49:37 1994", NotModified),
            (IF_MODIFIED_SINCE, "0", Serve),
        ] {
            assert_eq!(judge(&[(name.clone(), value)]), verdict, "{name}: {value}");
        }
    }

    #[test]
    fn tags_go_before_dates_and_what_must_hold_before_what_is_known() {
        assert_eq!(judge(&[(IF_MATCH, "\"a,b\""), (IF_UNMODIFIED_SINCE, BEFORE)]), Serve);
        assert_eq!(judge(&[(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, AFTER)]), Serve);
        assert_eq!(judge(&[(IF_NONE_MATCH, "\"a,b\""), (IF_MODIFIED_SINCE, BEFORE)]), NotModified);
        assert_eq!(judge(&[(IF_MATCH, "\"x\""), (IF_NONE_MATCH, "\"a,b\"")]), Failed);
        assert_eq!(judge(&[(IF_UNMODIFIED_SINCE, BEFORE), (IF_MODIFIED_SINCE, AFTER)]), Failed);
        assert_eq!(judge(&[(IF_MATCH, "*"), (IF_MODIFIED_SINCE, AFTER)]), NotModified);
    }

    #[test]
    fn a_list_may_come_in_several_fields_and_a_date_may_not() {
        assert_eq!(judge(&[(IF_NONE_MATCH, "\"x\""), (IF_NONE_MATCH, "\"a,b\"")]), NotModified);
        assert_eq!(judge(&[(IF_MODIFIED_SINCE, AFTER), (IF_MODIFIED_SINCE, AFTER)]), Serve);
        assert_eq!(judge(&[(IF_UNMODIFIED_SINCE, BEFORE), (IF_UNMODIFIED_SINCE, BEFORE)]), Serve);
    }

    #[test]
    fn a_range_is_for_who_has_the_rest() {
        for (value, allowed) in [
            ("\"a,b\"", true),
            ("W/\"a,b\"", false),
            ("\"x\"", false),
            (SAME, true),
            (AFTER, false),
            (BEFORE, false),
            ("", false),
            ("nonsense", false),
        ] {
            let conditions = conditions(&[(IF_RANGE, value)]);
            assert_eq!(conditions.allow_range(&file(), MODIFIED + 1), allowed, "{value}");
        }
        assert!(!conditions(&[(IF_RANGE, SAME)]).allow_range(&file(), MODIFIED), "it may yet change");
        assert!(!conditions(&[(IF_RANGE, "\"a,b\""), (IF_RANGE, "\"a,b\"")]).allow_range(&file(), MODIFIED));
    }
}
