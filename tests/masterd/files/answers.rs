//! What comes back for a file: whole, in part, or not at all because the client has it.

use super::*;

#[test]
fn a_file_comes_as_it_is_with_what_is_known_of_it() {
    let place = Place::new();
    put(&place, "index.html", "<p>home</p>\n");
    put(&place, "sub/index.html", "sub\n");
    put(&place, "a b.TXT", "text\n");
    put(&place, "empty", "");
    fs::create_dir(place.path("www/bare")).unwrap();
    let master = serving(&place);
    let address = master.address();
    let home = get(&address, "/").unwrap();
    assert_eq!((home.status, home.body.as_str()), (200, "<p>home</p>\n"));
    assert_eq!(home.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!((home.header("content-length"), home.header("accept-ranges")), (Some("12"), Some("bytes")));
    assert!(home.header("etag").is_some() && home.header("last-modified").is_some(), "{home:?}");
    assert_eq!(get(&address, "/index.html?x=1").unwrap().body, home.body);
    let text = get(&address, "/a%20b.TXT").unwrap();
    assert_eq!(
        (text.header("content-type"), text.body.as_str()),
        (Some("text/plain; charset=utf-8"), "text\n")
    );
    let empty = get(&address, "/empty").unwrap();
    assert_eq!((empty.status, empty.header("content-length")), (200, Some("0")));
    assert_eq!(get(&address, "/sub/").unwrap().body, "sub\n");
    let moved = get(&address, "/sub?a=b&c").unwrap();
    assert_eq!((moved.status, moved.header("location")), (301, Some("/sub/?a=b&c")));
    for (path, status) in
        [("/bare", 301), ("/bare/", 404), ("/none", 404), ("/empty/", 404), ("/empty/x", 404)]
    {
        assert_eq!(get(&address, path).unwrap().status, status, "{path}");
    }
    end(master);
}

#[test]
fn a_head_says_what_a_get_would_and_others_are_refused() {
    let place = Place::new();
    put(&place, "page.html", "x".repeat(200_000));
    let master = serving(&place);
    let address = master.address();
    let mut conn = Conn::open(&address).unwrap();
    let got = ask_on(&mut conn, "GET /page.html HTTP/1.1\nHost: x");
    let head = ask_on(&mut conn, "HEAD /page.html HTTP/1.1\nHost: x");
    let but_date = |r: &Response| r.headers.iter().filter(|(n, _)| n != "date").cloned().collect::<Vec<_>>();
    assert_eq!((head.status, but_date(&head)), (200, but_date(&got)));
    assert_eq!(got.body.len(), 200_000);
    let absent = ask_on(&mut conn, "HEAD /none HTTP/1.1\nHost: x");
    assert_eq!(absent.status, 404);
    let posted = ask_on(&mut conn, "POST /page.html HTTP/1.1\nHost: x\nContent-Length: 0");
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")));
    // The connection has outlived them all.
    assert_eq!(conn.get("/page.html").unwrap().status, 200);
    drop(conn);
    assert_eq!(master.service("web").totals.accepted, 1);
    end(master);
}

#[test]
fn ranges_are_cut_to_the_byte() {
    let place = Place::new();
    let text: String = (0..40_000).map(|n| format!("{n:05},")).collect();
    put(&place, "data", &text);
    let master = serving(&place);
    let mut conn = Conn::open(&master.address()).unwrap();
    let size = text.len();
    for (range, start, end) in [
        ("0-0", 0, 1),
        ("65530-65541", 65530, 65542),
        ("65536-", 65536, size),
        ("-7", size - 7, size),
        ("0-999999999", 0, size),
        ("-999999999", 0, size),
        ("239999-239999", size - 1, size),
    ] {
        let part = ask_on(&mut conn, &format!("GET /data HTTP/1.1\nHost: x\nRange: bytes={range}"));
        assert_eq!(part.status, 206, "{range}");
        let told = format!("bytes {start}-{}/{size}", end - 1);
        assert_eq!(part.header("content-range"), Some(told.as_str()), "{range}");
        assert!(part.body == text[start..end], "{range}: {} bytes", part.body.len());
    }
    let beyond = ask_on(&mut conn, "GET /data HTTP/1.1\nHost: x\nRange: bytes=240000-");
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */240000")));
    for range in ["bytes=0-1,5-6", "lines=0-1", "bytes=5-1", "bytes=x", "bytes=18446744073709551616-"] {
        let whole = ask_on(&mut conn, &format!("GET /data HTTP/1.1\nHost: x\nRange: {range}"));
        let is_whole = whole.status == 200 && whole.body == text;
        // An offset beyond any number is beyond the file, too.
        assert!(is_whole || range.contains("1844") && whole.status == 416, "{range}: {}", whole.status);
    }
    let tag = conn.get("/data").unwrap().header("etag").unwrap().to_owned();
    let with = |tag: &str| format!("GET /data HTTP/1.1\nHost: x\nRange: bytes=0-3\nIf-Range: {tag}");
    assert_eq!(ask_on(&mut conn, &with(&tag)).status, 206);
    assert_eq!(ask_on(&mut conn, &with("\"other\"")).status, 200);
    drop(conn);
    end(master);
}

#[test]
fn what_the_client_has_is_not_sent_again() {
    let place = Place::new();
    let path = put(&place, "page", "one");
    let master = serving(&place);
    let mut conn = Conn::open(&master.address()).unwrap();
    let first = conn.get("/page").unwrap();
    let (tag, date) =
        (first.header("etag").unwrap().to_owned(), first.header("last-modified").unwrap().to_owned());
    let mut asked = |field: &str| {
        let answer = ask_on(&mut conn, &format!("GET /page HTTP/1.1\nHost: x\n{field}"));
        (answer.status, answer.body)
    };
    assert_eq!(asked(&format!("If-None-Match: \"no\", W/{tag}")), (304, String::new()));
    assert_eq!(asked(&format!("If-Modified-Since: {date}")), (304, String::new()));
    assert_eq!(asked(&format!("If-Match: {tag}")).0, 200);
    assert_eq!(asked("If-Match: \"no\"").0, 412);
    assert_eq!(asked("If-Unmodified-Since: Mon, 01 Jan 2001 00:00:00 GMT").0, 412);
    assert_eq!(asked("If-None-Match: \"no\"").0, 200);
    // Changed within the same second, and of the same length.
    fs::write(&path, "two").unwrap();
    assert_eq!(asked(&format!("If-None-Match: {tag}")), (200, "two".to_owned()));
    drop(conn);
    end(master);
}

#[test]
fn what_was_compressed_beforehand_goes_to_who_takes_it() {
    let place = Place::new();
    put(&place, "page.html", "plain");
    put(&place, "page.html.gz", "squeezed");
    put(&place, "stale.html", "new");
    let stale = put(&place, "stale.html.gz", "old");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    fs::File::options().write(true).open(stale).unwrap().set_modified(old).unwrap();
    let off = "files = { root = \"www\", precompressed = false }";
    let master = serving_with(&place, |web| web.route("/stale.html.gz", off));
    let mut conn = Conn::open(&master.address()).unwrap();
    let mut asked = |path: &str, takes: &str| {
        let answer = ask_on(&mut conn, &format!("GET {path} HTTP/1.1\nHost: x\nAccept-Encoding: {takes}"));
        assert_eq!(answer.status, 200);
        let kind = answer.header("content-type").unwrap_or_default().to_owned();
        (answer.body.clone(), answer.header("content-encoding").map(str::to_owned), kind, answer)
    };
    let (body, coding, kind, answer) = asked("/page.html", "br, gzip");
    assert_eq!((body.as_str(), coding.as_deref()), ("squeezed", Some("gzip")));
    assert!(kind.starts_with("text/html") && answer.header("vary") == Some("accept-encoding"), "{answer:?}");
    let (body, coding, _, plain) = asked("/page.html", "gzip;q=0, identity");
    assert_eq!((body.as_str(), coding), ("plain", None));
    assert_eq!(plain.header("vary"), Some("accept-encoding"), "or a cache mixes them up");
    assert_ne!(plain.header("etag"), answer.header("etag"));
    assert_eq!(asked("/stale.html", "gzip").0, "new", "what is older than the file is not it");
    drop(conn);
    end(master);
}

#[test]
fn old_clients_pipelines_headers_and_the_access_log() {
    let place = Place::new();
    put(&place, "page.html", "page");
    let dressed = "headers = { Cache-Control = \"max-age=60\", ETag = \"\" }\nfiles = { root = \"www\" }";
    let master = serving_with(&place, |web| {
        web.route("/page", dressed).master("access_log = { file = \"a.log\", format = \"json\" }")
    });
    let address = master.address();
    let mut old = Conn::open(&address).unwrap();
    let answer = ask_on(&mut old, "GET /page.html HTTP/1.0\nUser-Agent: old");
    assert_eq!((answer.status, answer.body.as_str()), (200, "page"));
    assert_eq!((answer.header("cache-control"), answer.header("etag")), (Some("max-age=60"), None));
    assert!(old.closed_within(SOON), "HTTP/1.0 ends with its answer");
    let mut conn = Conn::open(&address).unwrap();
    let three = "GET /page.html HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3);
    conn.send(three.as_bytes()).unwrap();
    for _ in 0..3 {
        assert_eq!(conn.receive().unwrap().body, "page");
    }
    // What is absent is dressed, too.
    let absent = conn.get("/page-none").unwrap();
    assert_eq!((absent.status, absent.header("cache-control")), (404, Some("max-age=60")));
    drop((conn, old));
    wait_until("the access log has all five", SOON, || place.read("a.log").lines().count() == 5);
    let log = place.read("a.log");
    let first: serde_json::Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
    assert_eq!((&first["status"], &first["bytes"]), (&200.into(), &4.into()), "{first}");
    assert!(log.contains("/page-none") && first["user_agent"] == "old", "{log}");
    end(master);
}
