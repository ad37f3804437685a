//! What comes back, by which upstream, over how many connections.

use super::super::harness::*;
use super::super::tools::*;
use super::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

#[test]
fn upstreams_of_every_kind_take_turns() {
    let place = Place::new();
    let said = |name: &'static str| conversation(move |_| ok(name));
    let name = place.dir().file_name().unwrap().to_str().unwrap().to_owned();
    let origins = [
        Origin::start(said("tcp")),
        Origin::unix(place.path("o.sock").to_str().unwrap(), said("unix")),
        Origin::unix(&format!("@{name}-o"), said("abstract")),
        Origin::start(said("name")),
    ];
    // It listens on one of the name's addresses only, perhaps not the first.
    let named = origins[3].address().replace("127.0.0.1", "localhost");
    let addresses = [origins[0].address(), origins[1].address(), origins[2].address(), &named];
    let master = Master::start(&place, &Web::new().workers(1).root(&proxy(&addresses, "")).text());
    let address = master.address();
    let mut count = BTreeMap::new();
    let mut conn = Conn::open(&address).unwrap();
    for _ in 0..12 {
        let answer = conn.get("/").unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        *count.entry(answer.body).or_insert(0) += 1;
    }
    let wanted = ["abstract", "name", "tcp", "unix"].map(|kind| (kind.to_owned(), 3));
    assert_eq!(count.into_iter().collect::<Vec<_>>(), wanted);
    for origin in &origins {
        assert_eq!((origin.accepted(), origin.asked().len()), (1, 3), "{}", origin.address());
    }
    drop(conn);
    assert_eq!(errors(&master), 0);
    end(master);
}

#[test]
fn idle_connections_are_used_again_up_to_their_number_and_timeout() {
    let place = Place::new();
    let together = Arc::new(AtomicUsize::new(0));
    let origin = Origin::answering(move |asked| {
        if asked.target() == "/together" {
            together.fetch_add(1, Relaxed);
            came_true(SOON, || together.load(Relaxed).is_multiple_of(5));
        }
        ok(asked.target())
    });
    let short = proxy(&[origin.address()], "keep_alive_timeout = \"500ms\"");
    let master = fronting_with(&place, &[&origin], "keep_alive = 2", |web| web.route("/short", &short));
    let address = master.address();
    // However many clients: one at a time needs one connection.
    for n in 0..40 {
        assert_eq!(get(&address, &format!("/{n}")).unwrap().body, format!("/{n}"));
    }
    assert_eq!((origin.accepted(), origin.asked().len()), (1, 40));
    // Five at once, of which two are kept: three more the next time.
    let mut conns: Vec<Conn> = (0..5).map(|_| Conn::open(&address).unwrap()).collect();
    for accepted in [5, 8] {
        conns.iter_mut().for_each(|conn| conn.ask("/together").unwrap());
        for conn in &mut conns {
            assert_eq!(conn.receive().unwrap().body, "/together");
        }
        wait_until("two are left", SOON, || origin.open() == 2);
        assert_eq!(origin.accepted(), accepted);
    }
    // Each route has its own.
    assert_eq!(conns[0].get("/short").unwrap().status, 200);
    assert_eq!((origin.accepted(), origin.open()), (9, 3));
    wait_until("it has been idle for too long", SOON, || origin.open() == 2);
    drop(conns);
    end(master);
}

#[test]
fn nothing_is_kept_where_that_is_not_wanted() {
    let place = Place::new();
    let origin = Origin::answering(|_| ok("x"));
    let closing = Origin::answering(|_| ok("x").replacen("\r\n", "\r\nConnection: close\r\n", 1));
    let old = Origin::answering(|_| ok("x").replacen("HTTP/1.1", "HTTP/1.0", 1));
    let other = proxy(&[closing.address(), old.address()], "");
    let master = fronting_with(&place, &[&origin], "keep_alive = 0", |web| web.route("/other", &other));
    let mut conn = Conn::open(&master.address()).unwrap();
    for _ in 0..3 {
        let answer = conn.get("/").unwrap();
        assert!((answer.status, answer.closes()) == (200, false), "{answer:?}");
        origin.wait_closed(SOON);
    }
    assert_eq!(origin.accepted(), 3);
    for _ in 0..6 {
        // Whether the upstream closes is no concern of the client's.
        let answer = conn.get("/other").unwrap();
        assert!((answer.status, answer.closes()) == (200, false), "{answer:?}");
    }
    assert_eq!((closing.accepted(), old.accepted()), (3, 3));
    assert_eq!((closing.asked().len(), old.asked().len()), (3, 3));
    drop(conn);
    assert_eq!(errors(&master), 0);
    end(master);
}

#[test]
fn answers_without_a_body_end_where_their_head_ends() {
    let place = Place::new();
    let origin = Origin::answering(|asked| match asked.target() {
        "/204" => "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n".to_owned(),
        "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 1234\r\n\r\n".to_owned(),
        "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nX-A: 1\r\n\r\n".to_owned(),
        "/chunked-head" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        "/empty" => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "/early" => {
            let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n";
            hint.to_owned() + &ok("after all")
        }
        "/odd" => "HTTP/1.1 299 Rather Odd\r\nContent-Length: 3\r\n\r\nodd".to_owned(),
        _ => ok("body"),
    });
    let master = fronting(&place, &[&origin], "");
    let mut conn = Conn::open(&master.address()).unwrap();
    let mut ask = |method: &str, target: &str| {
        conn.send(format!("{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        let mut answer = conn.receive_for(method).unwrap();
        while answer.status < 200 {
            answer = conn.receive_for(method).unwrap();
        }
        assert!(!answer.closes(), "{method} {target}: {answer:?}");
        answer
    };
    let none = ask("GET", "/204");
    assert_eq!((none.status, none.header("x-a"), none.header("content-length")), (204, Some("1"), None));
    let fresh = ask("GET", "/304");
    assert_eq!((fresh.status, fresh.header("etag")), (304, Some("\"x\"")));
    let head = ask("HEAD", "/head");
    assert_eq!(
        (head.status, head.header("content-length"), head.header("x-a")),
        (200, Some("1234"), Some("1"))
    );
    assert_eq!(ask("HEAD", "/chunked-head").status, 200);
    assert_eq!(ask("GET", "/empty").body, "");
    assert_eq!(ask("GET", "/early").body, "after all");
    assert_eq!(ask("GET", "/odd").status, 299);
    assert_eq!(ask("GET", "/").body, "body", "and the next one is whole");
    assert_eq!(origin.accepted(), 1, "all of it over one connection");
    drop(conn);
    assert_eq!(errors(&master), 0);
    end(master);
}

#[test]
fn a_client_of_http_1_0_gets_every_answer() {
    let place = Place::new();
    let origin = Origin::answering(|asked| match asked.target() {
        "/chunked" => {
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
                .to_owned()
        }
        _ => ok("long enough"),
    });
    let master = fronting(&place, &[&origin], "");
    let ask = |head: &str| {
        let mut conn = Conn::open(&master.address()).unwrap();
        conn.send(head.as_bytes()).unwrap();
        conn
    };
    let mut conn = ask("GET /chunked HTTP/1.0\r\n\r\n");
    let answer = conn.receive().unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "abcdefg"));
    assert_eq!((answer.header("transfer-encoding"), answer.header("content-length")), (None, None));
    let mut conn = ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(conn.receive().unwrap().body, "long enough");
    conn.send(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(conn.receive().unwrap().body, "long enough");
    assert!(conn.closed_within(SOON));
    let asked = origin.asked();
    assert!(asked.iter().all(|asked| asked.line.ends_with(" HTTP/1.1") && asked.header("host").is_some()));
    drop(conn);
    end(master);
}

#[test]
fn trailers_go_both_ways() {
    let place = Place::new();
    let origin = Origin::answering(|_| {
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n"
            .to_owned()
    });
    let master = fronting(&place, &[&origin], "");
    let mut conn = Conn::open(&master.address()).unwrap();
    conn.send(
        b"POST / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: te\r\nTransfer-Encoding: chunked\r\nTrailer: X-Own\r\n\r\n\
        2\r\nhi\r\n0\r\nX-Own: 9\r\n\r\n",
    )
    .unwrap();
    let answer = conn.receive().unwrap();
    let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    assert_eq!((answer.body.as_str(), answer.trailers), ("abc", pair("x-sum", "7")));
    let asked = &origin.asked()[0];
    assert_eq!((asked.body.as_slice(), asked.trailers.clone()), (b"hi".as_slice(), pair("x-own", "9")));
    assert_eq!(asked.header("te"), Some("trailers"));
    // Who has not asked for any gets none.
    assert_eq!(conn.get("/").unwrap().trailers, Vec::new());
    drop(conn);
    end(master);
}

#[test]
fn what_is_no_answer_is_a_502_and_ends_the_connection_it_came_by() {
    let place = Place::new();
    let origin = Origin::answering(|asked| {
        let line = "HTTP/1.1 200 OK\r\n";
        match asked.target() {
            "/large" => format!("{line}X-A: {}\r\nContent-Length: 0\r\n\r\n", "a".repeat(200_000)),
            "/many" => format!("{line}{}Content-Length: 0\r\n\r\n", "X-A: 1\r\n".repeat(150)),
            "/none" => "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
            "/gzip" => format!("{line}Transfer-Encoding: gzip\r\n\r\nxx"),
            "/both" => format!("{line}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"),
            "/lengths" => format!("{line}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
            "/negative" => format!("{line}Content-Length: -3\r\n\r\nabcd"),
            "/unasked" => ws::GRANTED.to_owned(),
            _ => ok("good"),
        }
    });
    let master = fronting(&place, &[&origin], "max_failures = 0");
    let mut conn = Conn::open(&master.address()).unwrap();
    let bad = ["/large", "/many", "/none", "/gzip", "/both", "/lengths", "/negative", "/unasked"];
    for target in bad {
        let answer = conn.get(target).unwrap_or_else(|lost| panic!("{target}: {lost}"));
        assert_eq!(answer.status, 502, "{target}: {answer:?}");
        assert!(answer.body.starts_with("502 Bad Gateway: the upstream "), "{target}: {}", answer.body);
        assert_eq!(conn.get("/").unwrap().body, "good", "after {target}");
    }
    let log = master.log();
    assert!(log.contains("answered with a head that is too large"), "{log}");
    drop(conn);
    end(master);
}

#[test]
fn what_an_upstream_says_unasked_is_nobodys_answer() {
    let place = Place::new();
    let said = Arc::new(AtomicUsize::new(0));
    let ours = said.clone();
    let origin = Origin::start(move |mut visit| {
        while let Some(asked) = visit.request() {
            if asked.target() == "/late" {
                visit.say(ok("own"));
                visit.say(ok("poison"));
                ours.fetch_add(1, Relaxed);
                continue;
            }
            // More than was announced, or another answer: in one piece with the first.
            let more = if asked.target() == "/longer" { "too much".to_owned() } else { ok("poison") };
            visit.say(ok("own") + &more);
        }
    });
    let master = fronting(&place, &[&origin], "max_failures = 0");
    let mut conns = [Conn::open(&master.address()).unwrap(), Conn::open(&master.address()).unwrap()];
    for round in 0..10 {
        for target in ["/longer", "/twice", "/late"] {
            let answer = conns[round % 2].get(target).unwrap();
            assert_eq!((answer.status, answer.body.as_str()), (200, "own"), "{target} {round}");
            if target == "/late" {
                // It reaches the worker before the next request does.
                wait_until("it has been said", SOON, || said.load(Relaxed) == round + 1);
            }
        }
    }
    assert_eq!(origin.accepted(), 30, "no connection is used again");
    drop(conns);
    assert_eq!(errors(&master), 0);
    end(master);
}

#[test]
fn requests_that_come_together_are_answered_in_their_order() {
    let place = Place::new();
    let origin = Origin::answering(|asked| ok(&format!("{} {}", asked.target(), asked.body.len())));
    let master = fronting(&place, &[&origin], "");
    let mut conn = Conn::open(&master.address()).unwrap();
    let mut all = String::new();
    for n in 0..50 {
        all += &format!("GET /{n} HTTP/1.1\r\nHost: h\r\n\r\n");
        all += &format!("POST /{n} HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
        all += &format!(
            "PUT /{n} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
        );
    }
    conn.send(all.as_bytes()).unwrap();
    conn.shut_write();
    for n in 0..50 {
        for length in [0, 5, 2] {
            assert_eq!(conn.receive().unwrap().body, format!("/{n} {length}"));
        }
    }
    assert!(conn.closed_within(SOON));
    assert_eq!((origin.accepted(), origin.asked().len()), (1, 150));
    drop(conn);
    end(master);
}

#[test]
fn routes_redirect_and_dress_whatever_comes_from_an_upstream() {
    let place = Place::new();
    let origin = Origin::answering(|_| ok("x").replacen("\r\n", "\r\nServer: secret\r\nX-Own: 1\r\n", 1));
    let dressed =
        proxy(&[origin.address()], "") + "\nheaders = { Server = \"\", X-Frame-Options = \"DENY\" }";
    let master = fronting_with(&place, &[&origin], "", |web| {
        web.route("/dressed", &dressed)
            .route("/away", "redirect = { to = \"https://{host}{target}\" }\nheaders = { X-Why = \"moved\" }")
            .route("/fixed", "redirect = { to = \"http://other.example/\", status = 302 }")
    });
    let mut conn = Conn::open(&master.address()).unwrap();
    let plain = conn.get("/").unwrap();
    assert_eq!((plain.header("server"), plain.header("x-own")), (Some("secret"), Some("1")));
    let dressed = conn.get("/dressed").unwrap();
    assert_eq!((dressed.status, dressed.header("server")), (200, None));
    assert_eq!((dressed.header("x-frame-options"), dressed.header("x-own")), (Some("DENY"), Some("1")));
    conn.send(b"GET /away/a?b=c HTTP/1.1\r\nHost: h.example:8080\r\n\r\n").unwrap();
    let away = conn.receive().unwrap();
    assert_eq!((away.status, away.header("location")), (308, Some("https://h.example/away/a?b=c")));
    assert_eq!(away.header("x-why"), Some("moved"));
    let fixed = conn.get("/fixed").unwrap();
    assert_eq!((fixed.status, fixed.header("location")), (302, Some("http://other.example/")));
    assert_eq!(origin.asked().len(), 2);
    drop(conn);
    end(master);
}

#[test]
fn many_clients_at_once_get_each_their_own_answer() {
    const CLIENTS: usize = 50;
    const EACH: usize = 20;
    let place = Place::new();
    let origins: Vec<Origin> = (0..2).map(|_| Origin::answering(|asked| ok(asked.target()))).collect();
    let master = fronting(&place, &[&origins[0], &origins[1]], "keep_alive = 10");
    let address = master.address();
    let before = at_rest(worker(&master).pid);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let address = &address;
            scope.spawn(move || {
                let mut conn = Conn::open(address).unwrap();
                for n in 0..EACH {
                    let target = format!("/{client}/{n}");
                    let answer = conn.get(&target).unwrap();
                    assert_eq!((answer.status, answer.body), (200, target));
                }
            });
        }
    });
    let asked: usize = origins.iter().map(|origin| origin.asked().len()).sum();
    assert_eq!(asked, CLIENTS * EACH);
    let service = master.service("web");
    assert_eq!((service.totals.requests, service.totals.errors), ((CLIENTS * EACH) as u64, 0));
    wait_until("ten idle connections are left of each", SOON, || origins.iter().all(|o| o.open() <= 10));
    drop(origins);
    wait_until("descriptors are those of the beginning", SOON, || kinds(worker(&master).pid) == before);
    end(master);
}
