//! What is found by which path, and what is not.

use super::*;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use std::os::unix::fs::symlink;

#[test]
fn a_file_is_sent_with_its_fields() {
    let place = Place::new("index.html", false);
    place.write("a/b.css", "body {}");
    let mut got = place.get("/a/b.css?x=1");
    assert_eq!((got.status, got.text().as_str()), (200, "body {}"));
    assert_eq!(got.field(CONTENT_TYPE), "text/css; charset=utf-8");
    assert_eq!(got.field(CONTENT_LENGTH), "7");
    assert_eq!(got.field(hyper::header::ACCEPT_RANGES), "bytes");
    assert_eq!((got.field(CONTENT_ENCODING), got.field(hyper::header::VARY)), ("", ""));
    assert_eq!(place.get("http://host/a/b.css").text(), "body {}");
}

#[test]
fn an_empty_file_is_one_too() {
    let place = Place::new("", false);
    place.write("empty", "");
    let mut got = place.get("/empty");
    assert_eq!((got.status, got.body(), got.field(CONTENT_LENGTH)), (200, vec![], "0"));
}

#[test]
fn head_is_told_what_get_is_sent() {
    let place = Place::new("index.html", true);
    place.write("small", "abc");
    place.write("large", vec![7; 300_000]);
    std::fs::create_dir(place.path("folder")).unwrap();
    for target in ["/small", "/large", "/none", "/folder", "/folder/", "/..", "//"] {
        let got = place.get(target);
        let head = place.ask(Method::HEAD, target, &[]);
        assert_eq!((head.status, head.headers), (got.status, got.headers), "{target}");
        assert!(head.body.is_end_stream(), "{target}");
    }
}

#[test]
fn other_methods_are_refused() {
    let place = Place::new("", false);
    place.write("a", "abc");
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
        let got = place.ask(method, "/a", &[]);
        assert_eq!((got.status, got.field(ALLOW)), (405, "GET, HEAD"));
    }
}

#[test]
fn a_folder_shows_its_index_and_never_a_listing() {
    let place = Place::new("index.html", false);
    place.write("index.html", "root");
    place.write("sub/index.html", "sub");
    place.write("bare/file", "x");
    std::fs::create_dir_all(place.path("odd/index.html")).unwrap();
    assert_eq!(place.get("/").text(), "root");
    assert_eq!(place.get("/sub/").text(), "sub");
    assert_eq!(place.get("/sub/").field(CONTENT_TYPE), "text/html; charset=utf-8");
    for target in ["/bare/", "/odd/", "/none/", "/bare/file/"] {
        assert_eq!(place.status(target), 404, "{target}");
    }
    let without = Place::new("", false);
    without.write("index.html", "root");
    assert_eq!(without.status("/"), 404);
}

#[test]
fn a_folder_without_its_slash_is_moved_to_it() {
    let place = Place::new("index.html", false);
    std::fs::create_dir_all(place.path("a b/c")).unwrap();
    for (target, location) in [
        ("/a%20b", "/a%20b/"),
        ("/a%20b/c?d=e&f", "/a%20b/c/?d=e&f"),
        ("http://host/a%20b/c", "/a%20b/c/"),
        ("/%61%20b", "/%61%20b/"),
    ] {
        let got = place.get(target);
        assert_eq!((got.status, got.field(LOCATION)), (301, location), "{target}");
    }
    // What another host would be made of: two slashes name nothing here.
    assert_eq!(place.status("//a%20b"), 404);
}

#[test]
fn bad_paths_are_refused_and_absent_ones_are_absent() {
    let place = Place::new("", false);
    place.write("a/b", "x");
    for target in ["/../secret", "/a/../a/b", "/%2e%2e/secret", "/a/b%00", "/%0d", "/%zz"] {
        assert_eq!(place.status(target), 400, "{target}");
    }
    for target in
        ["/none", "/a/none", "/a/b/none", "/a%2fb", "/a//b", "/./a/b", "/%252e%252e/secret", "/..\\secret"]
    {
        let got = place.get(target);
        assert_eq!((got.status, got.field(CACHE_CONTROL)), (404, "no-store"), "{target}");
    }
    assert_eq!(place.status(&format!("/{}", "x".repeat(300))), 404);
    assert_eq!(place.status(&format!("/{}", "x/".repeat(3000))), 404);
}

#[test]
fn names_of_any_bytes_are_found() {
    let place = Place::new("", false);
    place.write("a\\b", "backslash");
    place.write("%2e%2e", "percent");
    place.write("ü?#", "odd");
    assert_eq!(place.get("/a%5Cb").text(), "backslash");
    assert_eq!(place.get("/%252e%252e").text(), "percent");
    assert_eq!(place.get("/%C3%BC%3F%23").text(), "odd");
}

#[test]
fn links_are_followed_inside_and_nowhere_else() {
    let place = Place::new("index.html", true);
    place.write("real/index.html", "inside");
    place.write("plain", "plain");
    symlink("real", place.path("link")).unwrap();
    symlink("../secret", place.path("out")).unwrap();
    symlink("..", place.path("up")).unwrap();
    symlink("/etc/passwd", place.path("absolute")).unwrap();
    symlink("/proc/self/root", place.path("magic")).unwrap();
    symlink("loop", place.path("loop")).unwrap();
    symlink("../secret", place.path("plain.gz")).unwrap();
    assert_eq!(place.get("/link/").text(), "inside");
    assert_eq!(place.status("/link"), 301);
    for target in
        ["/out", "/up/secret", "/up/root/plain", "/up/", "/up", "/absolute", "/magic/etc/passwd", "/loop"]
    {
        assert_eq!(place.status(target), 404, "{target}");
    }
    let mut got = place.get_with("/plain", hyper::header::ACCEPT_ENCODING, "gzip");
    assert_eq!((got.text().as_str(), got.field(CONTENT_ENCODING)), ("plain", ""));
}

#[test]
fn what_is_no_file_is_not_served_and_not_waited_for() {
    let place = Place::new("index.html", false);
    let made = std::process::Command::new("mkfifo").arg(place.path("fifo")).status().unwrap();
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(place.path("socket")).unwrap();
    std::fs::create_dir(place.path("sub")).unwrap();
    std::fs::rename(place.path("fifo"), place.path("sub/index.html")).unwrap();
    for target in ["/sub/index.html", "/sub/", "/socket"] {
        assert_eq!(place.status(target), 404, "{target}");
    }
}

#[test]
fn the_root_is_the_folder_that_was_opened() {
    let place = Place::new("", false);
    place.write("a", "old");
    std::fs::rename(place.folder.join("root"), place.folder.join("moved")).unwrap();
    place.write("a", "new");
    assert_eq!(place.get("/a").text(), "old");
}

#[test]
fn too_much_at_once_is_told_at_once() {
    use crate::worker::engine::helpers::tests::{fill, occupy};
    let place = Place::new("", false);
    place.write("a", "abc");
    let (go, running) = occupy(&place.helpers);
    let waiting = fill(&place.helpers);
    let got = place.get("/a");
    assert_eq!((got.status, got.field(hyper::header::RETRY_AFTER)), (503, "1"));
    assert!(place.ask(Method::HEAD, "/a", &[]).body.is_end_stream());
    drop((go, running, waiting));
}
