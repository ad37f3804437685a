//! Files and folders that change while they are served.

use super::*;
use std::io::{Seek, SeekFrom, Write};

/// More than all buffers between a file and a client that does not read.
const LARGE: usize = 24 << 20;

/// A client that has asked and read the head, and nothing behind it.
#[track_caller]
fn begun(address: &str, path: &str) -> Conn {
    let mut conn = Conn::open(address).unwrap();
    conn.ask(path).unwrap();
    let head = conn.receive_head().unwrap();
    assert_eq!((head.status, head.header("content-length")), (200, Some(LARGE.to_string().as_str())));
    conn
}

fn large(place: &Place) -> PathBuf {
    let path = put(place, "large", "");
    Pattern::new().write(fs::File::create(&path).unwrap(), LARGE).unwrap();
    path
}

#[test]
fn a_file_truncated_while_it_is_sent_is_a_visible_cut() {
    let place = Place::new();
    let path = large(&place);
    let master = serving_with(&place, |web| web.master("access_log = { file = \"a.log\" }"));
    let address = master.address();
    let mut conn = begun(&address, "/large");
    fs::File::options().write(true).open(&path).unwrap().set_len(1000).unwrap();
    let length = [("content-length".to_owned(), LARGE.to_string())];
    match conn.read_body(&length, true) {
        Err(Lost::Cut(n) | Lost::Reset(n)) => assert!(n < LARGE, "{n}"),
        other => panic!("{other:?}"),
    }
    // An operator learns which file it was, where, and why.
    master.wait_log("an answer breaks off");
    let log = master.log();
    let line = log.lines().find(|line| line.contains("breaks off")).unwrap();
    let says = |word: &str| line.contains(word);
    assert!(says("/www/large at ") && says("become shorter while it was sent"), "{line}");
    assert!(line.to_lowercase().contains("warn"), "{line}");
    // Nobody else is hurt: what is there now is served, and no worker died of it (SIGBUS).
    assert_eq!(get(&address, "/large").unwrap().header("content-length"), Some("1000"));
    wait_until("both are in the access log", SOON, || place.read("a.log").lines().count() == 2);
    let totals = master.service("web").totals;
    assert_eq!((totals.deaths, totals.errors), (0, 1));
    drop(conn);
    end(master);
}

#[test]
fn a_file_replaced_or_removed_while_it_is_sent_arrives_as_it_was() {
    let place = Place::new();
    let path = large(&place);
    let master = serving(&place);
    let address = master.address();
    let (replaced, removed) = (begun(&address, "/large"), begun(&address, "/large"));
    fs::write(place.path("www/new"), "new").unwrap();
    fs::rename(place.path("www/new"), &path).unwrap();
    assert_eq!(get(&address, "/large").unwrap().body, "new");
    fs::remove_file(&path).unwrap();
    assert_eq!(get(&address, "/large").unwrap().status, 404);
    for mut conn in [replaced, removed] {
        let body = conn.read_exactly(LARGE).unwrap();
        Pattern::new().check(0, &body);
        assert_eq!(conn.get("/large").unwrap().status, 404, "and the connection is in order");
    }
    end(master);
}

#[test]
fn a_file_that_grows_is_sent_as_long_as_it_was() {
    let place = Place::new();
    let path = large(&place);
    let master = serving(&place);
    let address = master.address();
    let mut conn = begun(&address, "/large");
    let mut file = fs::File::options().write(true).open(&path).unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
    file.write_all(&[b'+'; 100_000]).unwrap();
    Pattern::new().check(0, &conn.read_exactly(LARGE).unwrap());
    let part = ask_on(&mut conn, "GET /large HTTP/1.1\nHost: x\nRange: bytes=-5");
    assert_eq!(part.body, "+++++");
    drop(conn);
    end(master);
}

#[test]
fn a_root_that_is_gone_fails_the_reload_and_is_named() {
    let place = Place::new();
    put(&place, "file", "inside");
    let master = serving(&place);
    master.expect_error("reload failed");
    let address = master.address();
    let mut kept = Conn::open(&address).unwrap();
    fs::rename(place.path("www"), place.path("gone")).unwrap();
    let said = master.cli(&["reload"]).expect(1);
    let named = place.path("www");
    assert!(said.stderr.contains(named.to_str().unwrap()) && said.stderr.contains("no folder"), "{said:?}");
    // What serves has the folder open, whatever it is called now.
    assert_eq!(kept.get("/file").unwrap().body, "inside");
    assert_eq!(get(&address, "/file").unwrap().body, "inside");
    fs::write(&named, "a file").unwrap();
    let said = master.cli(&["reload"]).expect(1);
    assert!(said.stderr.contains("is no folder"), "{said:?}");
    fs::remove_file(&named).unwrap();
    put(&place, "file", "another");
    master.cli(&["reload"]).expect(0);
    assert_eq!(get(&address, "/file").unwrap().body, "another");
    drop(kept);
    master.wait_generation(master.status().generation);
    end(master);
}

#[test]
fn a_root_that_is_a_link_is_followed_at_a_reload() {
    let place = Place::new();
    for name in ["v1", "v2"] {
        fs::create_dir(place.path(name)).unwrap();
        fs::write(place.path(name).join("file"), name).unwrap();
    }
    let link = |to: &str| {
        std::os::unix::fs::symlink(to, place.path("beside")).unwrap();
        fs::rename(place.path("beside"), place.path("www")).unwrap();
    };
    link("v1");
    let master = serving(&place);
    let address = master.address();
    link("v2");
    assert_eq!(get(&address, "/file").unwrap().body, "v1");
    master.cli(&["reload"]).expect(0);
    assert_eq!(get(&address, "/file").unwrap().body, "v2");
    master.wait_generation(2);
    end(master);
}
