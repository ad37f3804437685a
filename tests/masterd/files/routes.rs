//! Redirects, and which route a path gets however it is spelt.

use super::*;

const ELSEWHERE: &str = "redirect = { to = \"https://{host}{target}\" }";

#[test]
fn a_redirect_keeps_host_target_and_method() {
    let place = Place::new();
    let there = "redirect = { to = \"http://other.example:8080/new{target}\", status = 302 }";
    let twice = "redirect = { to = \"https://{host}/{host}{target}{target}\", status = 303 }";
    let web = Web::new().workers(1).root(ELSEWHERE).route("/there", there).route("/twice", twice);
    let master = Master::start(&place, &web.text());
    let mut conn = Conn::open(&master.address()).unwrap();
    let mut asked = |head: &str| {
        let answer = ask_on(&mut conn, head);
        (answer.status, answer.header("location").unwrap_or("none").to_owned())
    };
    let to = |status: u16, location: &str| (status, location.to_owned());
    assert_eq!(asked("GET /a?b=c HTTP/1.1\nHost: www.example:8443"), to(308, "https://www.example/a?b=c"));
    assert_eq!(asked("GET / HTTP/1.1\nHost: [::1]:80"), to(308, "https://[::1]/"));
    assert_eq!(
        asked("GET /%0d%0aX:y HTTP/1.1\nHost: a"),
        to(308, "https://a/%0d%0aX:y"),
        "no line of its own"
    );
    assert_eq!(asked("GET http://b/x HTTP/1.1\nHost: a"), to(308, "https://b/x"));
    assert_eq!(asked("GET /there?x HTTP/1.1\nHost: a"), to(302, "http://other.example:8080/new/there?x"));
    assert_eq!(asked("GET /twice HTTP/1.1\nHost: a"), to(303, "https://a/a/twice/twice"));
    // 308 is for every method, and a body is taken, not left to be read as a request.
    conn.send(b"POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n").unwrap();
    let answer = conn.receive().unwrap();
    assert_eq!((answer.status, answer.header("location")), (308, Some("https://a/form")));
    let head = ask_on(&mut conn, "HEAD /h HTTP/1.1\nHost: a");
    assert_eq!((head.status, head.header("location")), (308, Some("https://a/h")));
    // Nowhere to go without a host.
    let empty = ask_on(&mut conn, "GET / HTTP/1.1\nHost: ");
    assert_eq!((empty.status, empty.header("location")), (400, None));
    let old = ask(&master.address(), "GET / HTTP/1.0");
    assert_eq!((old.status, old.header("location")), (400, None));
    drop(conn);
    master.finish();
}

/// What may be asked of `/secret`, and of what lies beneath it.
const GUARDED: [&str; 18] = [
    "/secret",
    "/secret/",
    "/secret/x",
    "//secret",
    "/./secret",
    "/%73ecret",
    "/%73%65%63%72%65%74/x",
    "/public/../secret",
    "/public/%2e%2e/secret",
    "/public/..%2fsecret",
    "/%2fsecret",
    "/.//secret",
    "/secret/..%2fx",
    "/secret/../x",
    "/secret/%2e%2e/x",
    "/x/../secret/..%2fx",
    "/%73ecret/%ff",
    "/secret%2f..%2f..",
];

#[test]
fn a_guarded_route_has_no_back_door() {
    let place = Place::new();
    put(&place, "secret/file", "secret");
    put(&place, "public", "public");
    let origin = Origin::answering(|asked| ok(&format!("origin {}", asked.target())));
    let guard = "respond = { status = 403, body = \"guarded\" }";
    let behind = "host = \"proxy\"\n".to_owned() + &proxy(&[origin.address()], "");
    let master = serving_with(&place, |web| web.route("/secret", guard).route("/", &behind));
    let mut conn = Conn::open(&master.address()).unwrap();
    for path in GUARDED {
        let answer = conn.get(path).unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (403, "guarded"), "{path}");
    }
    for path in ["/secre", "/%2573ecret", "/public", "/a/../public", "/sec/ret"] {
        let answer = conn.get(path).unwrap();
        assert_ne!(answer.body, "guarded", "{path}");
        assert!(!answer.body.contains("secret"), "{path}: {answer:?}");
    }
    // What is passed on stays as it came.
    let odd = "/a%2Fb/.//%7e/../c?d=/../e";
    let passed = ask_on(&mut conn, &format!("GET {odd} HTTP/1.1\nHost: proxy"));
    assert_eq!(passed.body, format!("origin {odd}"));
    drop(conn);
    end(master);
}
