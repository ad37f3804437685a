//! Names that are no file's, and every way out of the root (nothing outside it is ever sent).

use super::super::tools::skip;
use super::*;
use nix::sys::stat::Mode;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

const SECRET: &str = "the secret of the folder above";

/// Each is sent as it stands; none may say the secret.
const WAYS_OUT: [&str; 40] = [
    "/../secret",
    "/../../../../../../../../../etc/passwd",
    "/..",
    "/../",
    "/./../secret",
    "/sub/../../secret",
    "/sub/..//../secret",
    "//../secret",
    "/%2e%2e/secret",
    "/%2E%2E/secret",
    "/.%2e/secret",
    "/%2e./secret",
    "/..%2fsecret",
    "/..%2Fsecret",
    "/%2e%2e%2fsecret",
    "/%2e%2e%5csecret",
    "/..\\secret",
    "/..%5csecret",
    "/%252e%252e/secret",
    "/%252e%252e%252fsecret",
    "/..%252fsecret",
    "/%c0%ae%c0%ae/secret",
    "/%c0%ae%c0%ae%c0%afsecret",
    "/..%c0%afsecret",
    "/%e0%80%ae%e0%80%ae/secret",
    "/%uff0e%uff0e/secret",
    "/..%00/secret",
    "/..%0d%0a/secret",
    "/%00/../secret",
    "/sub/%2e%2e/%2e%2e/secret",
    "/sub%2f..%2f..%2fsecret",
    "/....//secret",
    "/..;/secret",
    "/..%3b/secret",
    "/..?/../secret",
    "/%2fetc/passwd",
    "//etc/passwd",
    "/%2f%2fetc%2fpasswd",
    "/~/secret",
    "/secret",
];

#[test]
fn no_spelling_leads_out_of_the_root() {
    let place = Place::new();
    place.write("secret", SECRET);
    put(&place, "sub/file", "inside");
    let master = serving(&place);
    let address = master.address();
    // The same as a path, as a whole URL, and behind a folder that is there.
    for way in WAYS_OUT {
        for target in [way.to_owned(), format!("http://x{way}"), format!("/sub{way}")] {
            let mut conn = Conn::open(&address).unwrap();
            conn.send(format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
                .unwrap();
            let all = conn.read_to_end().unwrap_or_else(|lost| panic!("{target}: {lost}"));
            let text = String::from_utf8_lossy(&all);
            assert!(!text.contains(SECRET) && !text.contains("root:"), "{target}: {text}");
            let status = text.split(' ').nth(1).unwrap_or_default();
            assert!(["400", "404"].contains(&status), "{target}: {text}");
        }
    }
    // As they come, with bytes that no path has.
    for raw in [&b"/\xff\xfe/../secret"[..], b"/..\x00/secret", b"/a\x7f/../../secret", b"/\t/../secret"] {
        let mut conn = Conn::open(&address).unwrap();
        conn.send(&[b"GET ", raw, b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"].concat()).unwrap();
        let text = String::from_utf8_lossy(&conn.read_to_end().unwrap()).into_owned();
        assert!(text.starts_with("HTTP/1.1 4") && !text.contains(SECRET), "{raw:?}: {text}");
    }
    assert_eq!(get(&address, "/sub/file").unwrap().body, "inside");
    assert_eq!(master.service("web").totals.deaths, 0);
    end(master);
}

#[test]
fn links_are_followed_only_as_long_as_they_stay_inside() {
    let place = Place::new();
    let secret = place.write("secret", SECRET);
    put(&place, "sub/file", "inside");
    let www = place.path("www");
    let link = |to: &str, name: &str| symlink(to, www.join(name)).unwrap();
    link("sub/file", "inner");
    link("sub", "folder");
    link("../secret", "out");
    link(secret.to_str().unwrap(), "absolute");
    link("..", "up");
    link("/", "all");
    link("/proc/self/root", "magic");
    link("loop", "loop");
    link("none", "dangling");
    // In a folder, as its index and as its compressed form.
    fs::create_dir(www.join("index")).unwrap();
    symlink("../../secret", www.join("index/index.html")).unwrap();
    put(&place, "plain", "plain");
    link("../secret", "plain.gz");
    let master = serving(&place);
    let address = master.address();
    for (path, body) in [("/inner", "inside"), ("/folder/file", "inside")] {
        assert_eq!(get(&address, path).unwrap().body, body, "{path}");
    }
    for path in [
        "/out",
        "/absolute",
        "/up",
        "/up/",
        "/up/secret",
        "/all/etc/passwd",
        "/magic/etc/passwd",
        "/loop",
        "/dangling",
        "/index/",
        "/index/index.html",
        "/plain.gz",
    ] {
        let answer = get(&address, path).unwrap();
        assert_eq!((answer.status, answer.body.contains(SECRET)), (404, false), "{path}: {answer:?}");
    }
    let plain = ask(&address, "GET /plain HTTP/1.1\nHost: x\nAccept-Encoding: gzip\nConnection: close");
    assert_eq!((plain.body.as_str(), plain.header("content-encoding")), ("plain", None));
    end(master);
}

#[test]
fn a_link_that_is_turned_round_meanwhile_leads_nowhere_else() {
    let place = Place::new();
    place.write("secret", SECRET);
    put(&place, "file", "inside");
    let (link, beside) = (place.path("www/link"), place.path("www/beside"));
    symlink("file", &link).unwrap();
    let master = serving(&place);
    let address = master.address();
    let (mut inside, mut conn) = (0, Conn::open(&address).unwrap());
    for n in 0..600 {
        symlink(if n % 2 == 0 { "../secret" } else { "file" }, &beside).unwrap();
        fs::rename(&beside, &link).unwrap();
        conn.ask("/link").unwrap();
        let answer = conn.receive().unwrap();
        match answer.status {
            200 => assert_eq!(answer.body, "inside"),
            404 => {}
            other => panic!("{other}"),
        }
        inside += usize::from(answer.status == 200);
    }
    assert!(inside > 100, "{inside}");
    drop(conn);
    end(master);
}

#[test]
fn what_is_no_plain_file_is_not_there_and_is_not_waited_for() {
    let place = Place::new();
    put(&place, "file", "inside");
    let www = place.path("www");
    nix::unistd::mkfifo(&www.join("fifo"), Mode::from_bits_truncate(0o644)).unwrap();
    let _socket = UnixListener::bind(www.join("socket")).unwrap();
    let mut paths = vec!["/fifo", "/socket", "/fifo/", "/socket/"];
    let null = nix::sys::stat::makedev(1, 3);
    let kind = nix::sys::stat::SFlag::S_IFCHR;
    match nix::sys::stat::mknod(&www.join("null"), kind, Mode::from_bits_truncate(0o666), null) {
        Ok(()) => paths.push("/null"),
        Err(_) => skip("the right to make a device"),
    }
    let master = serving(&place);
    let mut conn = Conn::open(&master.address()).unwrap();
    for path in paths {
        assert_eq!(conn.get(path).unwrap().status, 404, "{path}");
    }
    assert_eq!(conn.get("/file").unwrap().body, "inside");
    drop(conn);
    end(master);
}

#[test]
fn what_may_not_be_read_is_forbidden_and_says_nothing_more() {
    let place = Place::new();
    let closed = put(&place, "closed", SECRET);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    put(&place, "folder/file", SECRET);
    fs::set_permissions(place.path("www/folder"), fs::Permissions::from_mode(0o000)).unwrap();
    // Workers of root are nobody; those of nobody special can't read it either.
    let master = serving(&place);
    let address = master.address();
    for path in ["/closed", "/folder/file", "/folder/"] {
        let answer = get(&address, path).unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (403, "this may not be read\n"), "{path}");
    }
    fs::set_permissions(place.path("www/folder"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(get(&address, "/folder/file").unwrap().status, 200, "as soon as it may be read");
    end(master);
}
