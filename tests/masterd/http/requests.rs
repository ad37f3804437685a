//! What is answered to good, odd and bad requests, over TCP and unix sockets; and every one is counted.

use super::super::harness::*;
use super::super::tools::*;
use nix::sys::socket::{setsockopt, sockopt};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

/// Sends bytes, then FIN; everything that comes back.
fn raw(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    String::from_utf8_lossy(&all).into_owned()
}

fn status_of(text: &str) -> &str {
    text.get(9..12).unwrap_or(text)
}

#[test]
fn routes_are_chosen_by_host_and_longest_path() {
    let place = Place::new();
    let hosted =
        "[[service.http.route]]\npath = \"/\"\nhost = \"a.example\"\nrespond = { body = \"host a\" }\n";
    let web = Web::new()
        .workers(1)
        .route("/dir", "respond = { body = \"dir\", status = 203, headers = { X-Own = \"7\" } }")
        .route("/dir/deep", "respond = { body = \"deep\" }")
        .more(hosted);
    let master = Master::start(&place, &web.text());
    let ask = |host: &str, path: &str| {
        let mut conn = Conn::open(&master.address()).unwrap();
        conn.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).unwrap();
        conn.receive().unwrap()
    };
    assert_eq!(ask("x", "/dir/").body, "dir");
    assert_eq!(ask("x", "/dir/deep/er?q=/").body, "deep");
    let dir = ask("x", "/dir");
    assert_eq!((dir.status, dir.header("x-own")), (203, Some("7")));
    assert_eq!(ask("x", "/elsewhere").field("gen"), Some("1"), "the root takes the rest");
    for host in ["a.example", "A.EXAMPLE", "a.example:8080"] {
        assert_eq!(ask(host, "/dir").body, "host a", "{host}: a host's routes go before those for all");
    }
    master.finish();

    let only = Web::new().workers(1).text().replacen("path = \"/\"\n", "path = \"/here\"\n", 1);
    let master = Master::start(&place, &only);
    assert_eq!(get(&master.address(), "/here").unwrap().status, 200);
    assert_eq!(get(&master.address(), "/").unwrap().status, 404);
    assert_eq!(get(&master.address(), "/herf").unwrap().status, 404);
    master.finish();
}

#[test]
fn methods_versions_and_pipelines_are_understood() {
    let place = Place::new();
    let web = Web::new().listen_raw(&["\"127.0.0.1:0\"", "\"unix:web.sock\""]).workers(1);
    let master = Master::start(&place, &web.text());
    let address = master.address();
    let head = raw(&address, b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).unwrap();
    assert!(
        length.parse::<u32>().unwrap() > 20 && head.ends_with("\r\n\r\n"),
        "a length and no body: {head}"
    );
    let old = raw(&address, b"GET / HTTP/1.0\r\n\r\n");
    assert!(status_of(&old) == "200" && old.contains("gen=1"), "{old}");
    let kept = raw(&address, b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n");
    assert_eq!(kept.matches("gen=1").count(), 2, "{kept}");
    let many = raw(&address, &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100));
    assert_eq!(many.matches("HTTP/1.1 200").count(), 100);
    let chunked = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    assert_eq!(status_of(&raw(&address, chunked)), "200");
    let mut conn = Conn::open(&format!("unix:{}", place.path("web.sock").display())).unwrap();
    (0..3).for_each(|_| assert_eq!(conn.get("/").unwrap().status, 200));
    drop(conn);
    let service =
        master.wait_status("nothing is open", SOON, |s| s.services[0].workers[0].active.total() == 0);
    let totals = &service.services[0].totals;
    assert_eq!((totals.accepted, totals.requests, totals.errors), (6, 1 + 1 + 2 + 100 + 1 + 3, 0));
    master.finish();
}

#[test]
fn a_client_that_asks_before_it_sends_is_told_to_go_on() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(1).http("max_body = \"100KiB\"").text());
    let mut stream = TcpStream::connect(master.address()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n").unwrap();
    let mut told = [0; 25];
    stream.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"12345").unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert_eq!(status_of(&rest), "200", "{rest}");
    // One that would be refused is refused before it sends.
    let mut conn = Conn::open(&master.address()).unwrap();
    conn.send(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n")
        .unwrap();
    let answer = conn.receive().unwrap();
    assert!(answer.status == 413 && answer.closes(), "{answer:?}");
    master.finish();
}

#[test]
fn what_is_too_large_is_refused_by_number() {
    let place = Place::new();
    let web = Web::new().workers(1).http("max_body = \"1KiB\"\nmax_header_size = \"8KiB\"\nmax_headers = 20");
    let master = Master::start(&place, &web.text());
    let address = master.address();
    let with_body = |length: usize, sent: usize| {
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
        raw(&address, &[head.as_bytes(), &vec![b'x'; sent]].concat())
    };
    assert_eq!(status_of(&with_body(1024, 1024)), "200");
    assert_eq!(status_of(&with_body(1025, 1025)), "413");
    assert_eq!(status_of(&with_body(300_000, 300_000)), "413", "and no reset destroys the answer");
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
    let chunked =
        format!("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n");
    assert_eq!(status_of(&raw(&address, chunked.as_bytes())), "413");
    let header = |name: &str, length: usize| format!("{name}: {}\r\n", "h".repeat(length));
    let with_headers =
        |headers: &str| raw(&address, format!("GET / HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes());
    assert_eq!(status_of(&with_headers(&header("X", 7000))), "200");
    assert_eq!(status_of(&with_headers(&header("X", 9000))), "431");
    assert_eq!(
        status_of(&with_headers(&(0..19).map(|n| header(&format!("X{n}"), 3)).collect::<String>())),
        "200"
    );
    assert_eq!(
        status_of(&with_headers(&(0..30).map(|n| header(&format!("X{n}"), 3)).collect::<String>())),
        "431"
    );
    let long = raw(&address, format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "p".repeat(20_000)).as_bytes());
    assert!(["414", "431"].contains(&status_of(&long)), "{long}");
    assert_eq!(get(&address, "/").unwrap().status, 200);
    master.finish();
}

#[test]
fn bad_requests_get_400_or_nothing_and_the_next_client_is_served() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(1).text());
    let address = master.address();
    let bad: [&[u8]; 13] = [
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\n: empty\r\n\r\n",
        b"GET / HTTP/1.1\r\nA B: c\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\0b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ];
    for bytes in bad {
        let answer = raw(&address, bytes);
        let shown = String::from_utf8_lossy(bytes).into_owned();
        assert!(answer.is_empty() || status_of(&answer).starts_with('4'), "{shown:?}: {answer:?}");
        assert!(answer.matches("HTTP/1.").count() <= 1, "one answer at most: {shown:?}: {answer:?}");
        assert_eq!(get(&address, "/").unwrap().status, 200, "after {shown:?}");
    }
    assert_eq!(status_of(&raw(&address, bad[0])), "400");
    assert_eq!(status_of(&raw(&address, bad[3])), "400");
    master.wait_status("nothing is open", SOON, |s| s.services[0].workers[0].active.total() == 0);
    assert_eq!(master.service("web").totals.deaths, 0);
    master.finish();
}

#[test]
fn five_thousand_resets_right_after_connect_cost_nothing() {
    const MANY: u64 = 5000;
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(2).text());
    let address = master.address();
    let load = Load::with(&address, Mix { fresh: 1, kept: 1, ..Mix::none() });
    let pids = master.ready_pids("web");
    let held: Vec<_> = pids.iter().map(|pid| kinds(*pid)).collect();
    let accepted = |m: &Master| m.service("web").totals.accepted;
    for round in 0..MANY {
        let mut stream = TcpStream::connect(&address).unwrap();
        match round % 3 {
            0 => {}
            1 => stream.write_all(b"GET / HT").unwrap(),
            _ => stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap(),
        }
        // Closing sends a reset.
        setsockopt(&stream, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
    }
    let report = load.stop();
    report.assert_nothing_lost();
    let fresh = report.by_habit["fresh"];
    master.wait_status("all were accepted, and nothing is open", SOON, |s| {
        s.services[0].totals.accepted >= MANY + fresh
            && s.services[0].workers.iter().all(|w| w.active.total() == 0 && w.in_flight == 0 && w.idle == 0)
    });
    let kept = accepted(&master) - MANY - fresh;
    assert!((1..=1 + report.closed_idle).contains(&kept), "each connection is counted once: {kept} more");
    for (pid, held) in pids.iter().zip(held) {
        let sockets = |kinds: &[(String, usize)]| kinds.iter().find(|(k, _)| k == "socket:").map(|(_, n)| *n);
        // A listener of a sibling that was in trouble goes a moment later.
        let back = came_true(SOON, || sockets(&kinds(*pid)) <= sockets(&held));
        assert!(back, "{:?} then {:?}", held, kinds(*pid));
    }
    assert_eq!((master.ready_pids("web"), master.service("web").totals.deaths), (pids, 0));
    master.finish();
}
