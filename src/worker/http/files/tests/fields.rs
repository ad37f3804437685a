//! Conditions, ranges and compressed files, of real files.

use super::*;
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE, VARY,
};

/// A day ago, so that dates count.
fn aged() -> (Place, String, String) {
    let place = Place::new("", true);
    place.write("a", "0123456789");
    place.age("a", 86_400);
    let got = place.get("/a");
    let (tag, date) = (got.field(ETAG).to_owned(), got.field(LAST_MODIFIED).to_owned());
    assert!(tag.starts_with('"') && tag.ends_with('"') && date.ends_with(" GMT"), "{tag} {date}");
    (place, tag, date)
}

#[test]
fn who_has_it_already_is_told_so() {
    let (place, tag, date) = aged();
    let weak = format!("W/{tag}");
    for (name, value) in [(IF_NONE_MATCH, &tag), (IF_NONE_MATCH, &weak), (IF_MODIFIED_SINCE, &date)] {
        for method in [Method::GET, Method::HEAD] {
            let got = place.ask(method, "/a", &[(name.clone(), value), (RANGE, "bytes=0-1")]);
            assert_eq!(got.status, 304, "{name}: {value}");
            assert_eq!((got.field(ETAG), got.field(LAST_MODIFIED)), (tag.as_str(), date.as_str()));
            assert_eq!((got.field(VARY), got.field(CONTENT_TYPE)), ("accept-encoding", ""));
            assert!(got.body.is_end_stream() && got.field(CONTENT_LENGTH).is_empty());
        }
    }
    place.write("a", "0123456789");
    for (name, value) in [(IF_NONE_MATCH, &tag), (IF_MODIFIED_SINCE, &date)] {
        assert_eq!(place.get_with("/a", name, value).text(), "0123456789", "it has been written anew");
    }
}

#[test]
fn who_expects_another_one_is_told_so() {
    let (place, tag, date) = aged();
    assert_eq!(place.get_with("/a", IF_MATCH, &tag).status, 200);
    assert_eq!(place.get_with("/a", IF_UNMODIFIED_SINCE, &date).status, 200);
    assert_eq!(place.get_with("/a", IF_MATCH, "\"other\"").status, 412);
    assert_eq!(place.get_with("/none", IF_MATCH, "*").status, 404);
    place.age("a", 0);
    assert_eq!(place.get_with("/a", IF_UNMODIFIED_SINCE, &date).status, 412);
    assert_eq!(place.get_with("/a", IF_MATCH, &tag).status, 412);
}

#[test]
fn a_part_is_sent_of_what_is_there() {
    let (place, tag, _) = aged();
    for (range, content, told) in [
        ("bytes=0-3", "0123", "bytes 0-3/10"),
        ("bytes=8-", "89", "bytes 8-9/10"),
        ("bytes=8-100", "89", "bytes 8-9/10"),
        ("bytes=-4", "6789", "bytes 6-9/10"),
    ] {
        let mut got = place.get_with("/a", RANGE, range);
        assert_eq!(
            (got.status, got.text().as_str(), got.field(CONTENT_RANGE)),
            (206, content, told),
            "{range}"
        );
        assert_eq!(
            (got.field(CONTENT_LENGTH), got.field(ETAG)),
            (content.len().to_string().as_str(), tag.as_str())
        );
    }
    let got = place.get_with("/a", RANGE, "bytes=10-");
    assert_eq!((got.status, got.field(CONTENT_RANGE)), (416, "bytes */10"));
    for all in ["bytes=0-1,4-5", "lines=1-2", "bytes=5-4"] {
        let mut got = place.get_with("/a", RANGE, all);
        assert_eq!(
            (got.status, got.text().as_str(), got.field(CONTENT_RANGE)),
            (200, "0123456789", ""),
            "{all}"
        );
    }
    let head = place.ask(Method::HEAD, "/a", &[(RANGE, "bytes=0-1")]);
    assert_eq!((head.status, head.field(CONTENT_LENGTH)), (200, "10"), "a range is for GET only");
}

#[test]
fn a_part_is_for_who_has_the_rest_of_the_same() {
    let (place, tag, date) = aged();
    let part =
        |if_range: &str| place.ask(Method::GET, "/a", &[(RANGE, "bytes=0-1"), (IF_RANGE, if_range)]).status;
    assert_eq!((part(&tag), part(&date)), (206, 206));
    assert_eq!(
        (part("\"other\""), part(&format!("W/{tag}")), part("Sun, 06 Nov 1994 08:49:37 GMT")),
        (200, 200, 200)
    );
}

#[test]
fn a_compressed_one_is_sent_to_who_takes_it() {
    let place = Place::new("index.html", true);
    place.write("index.html", "plain");
    place.write("index.html.gz", "squeezed");
    place.age("index.html", 60);
    place.age("index.html.gz", 60);
    place.age("index.html.gz", 30);
    for target in ["/", "/index.html"] {
        let mut got = place.get_with(target, ACCEPT_ENCODING, "gzip");
        assert_eq!((got.text().as_str(), got.field(CONTENT_ENCODING)), ("squeezed", "gzip"));
        assert_eq!(
            (got.field(CONTENT_TYPE), got.field(VARY)),
            ("text/html; charset=utf-8", "accept-encoding")
        );
        let mut plain = place.get_with(target, ACCEPT_ENCODING, "gzip;q=0");
        assert_eq!((plain.text().as_str(), plain.field(CONTENT_ENCODING)), ("plain", ""));
        assert_eq!(plain.field(VARY), "accept-encoding");
        assert_ne!(plain.field(ETAG), got.field(ETAG));
        // The tag of one is not that of the other.
        let fields = [(ACCEPT_ENCODING, "gzip"), (IF_NONE_MATCH, plain.field(ETAG))];
        assert_eq!(place.ask(Method::GET, target, &fields).status, 200);
        let fields = [(ACCEPT_ENCODING, "gzip"), (RANGE, "bytes=0-1"), (IF_MATCH, got.field(ETAG))];
        assert_eq!(place.ask(Method::GET, target, &fields).text(), "sq");
    }
    let mut itself = place.get_with("/index.html.gz", ACCEPT_ENCODING, "gzip");
    assert_eq!((itself.text().as_str(), itself.field(CONTENT_ENCODING)), ("squeezed", ""));
    assert_eq!(itself.field(CONTENT_TYPE), "application/gzip");
}

#[test]
fn a_compressed_one_must_be_a_file_of_its_own_time() {
    let place = Place::new("", true);
    for name in ["old", "none", "folder"] {
        place.write(name, "plain");
    }
    place.write("old.gz", "squeezed");
    place.age("old.gz", 3600);
    std::fs::create_dir(place.path("folder.gz")).unwrap();
    place.write("alone.gz", "squeezed");
    for target in ["/old", "/none", "/folder"] {
        let mut got = place.get_with(target, ACCEPT_ENCODING, "gzip");
        assert_eq!((got.text().as_str(), got.field(CONTENT_ENCODING)), ("plain", ""), "{target}");
    }
    assert_eq!(place.get_with("/alone", ACCEPT_ENCODING, "gzip").status, 404);
    let off = Place::new("", false);
    off.write("a", "plain");
    off.write("a.gz", "squeezed");
    let mut got = off.get_with("/a", ACCEPT_ENCODING, "gzip");
    assert_eq!((got.text().as_str(), got.field(VARY)), ("plain", ""));
}

#[test]
fn dates_that_http_cannot_say_are_left_out_or_cut() {
    let place = Place::new("", false);
    place.write("future", "x");
    place.age("future", -86_400);
    let told = httpdate::parse_http_date(place.get("/future").field(LAST_MODIFIED)).unwrap();
    assert!(told <= SystemTime::now(), "nothing changes later than it is sent");
    place.write("past", "x");
    let file = std::fs::File::options().write(true).open(place.path("past")).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH - Duration::from_secs(1)).unwrap();
    let got = place.get_with("/past", IF_MODIFIED_SINCE, "Thu, 01 Jan 1970 00:00:00 GMT");
    assert_eq!((got.status, got.field(LAST_MODIFIED)), (304, ""));
}
