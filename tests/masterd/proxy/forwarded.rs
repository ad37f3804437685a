//! What an upstream is told of a request and of who sent it.

use super::super::harness::*;
use super::*;

/// Sends a request and gives back how it reached the origin.
#[track_caller]
fn passed_on(origin: &Origin, address: &str, request: &str) -> Asked {
    let mut conn = Conn::open(address).unwrap();
    conn.send(request.as_bytes()).unwrap();
    let answer = conn.receive().unwrap();
    assert_eq!(answer.status, 200, "{request}: {answer:?}");
    origin.asked().pop().expect("a request")
}

/// All values of a field, in order.
fn all<'a>(asked: &'a Asked, name: &str) -> Vec<&'a str> {
    asked.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect()
}

#[test]
fn the_upstream_hears_who_asks_and_for_which_host() {
    let place = Place::new();
    let origin = Origin::answering(|_| ok(""));
    let master = fronting(&place, &[&origin], "");
    let address = master.address();
    let asked = passed_on(&origin, &address, "GET /a%20b?c=%2F HTTP/1.1\r\nHost: Shop.example:8080\r\n\r\n");
    assert_eq!(asked.line, "GET /a%20b?c=%2F HTTP/1.1", "the target is untouched");
    assert_eq!(all(&asked, "host"), ["Shop.example:8080"]);
    assert_eq!(all(&asked, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(all(&asked, "x-forwarded-proto"), ["http"]);
    assert_eq!(all(&asked, "x-forwarded-host"), ["Shop.example:8080"]);
    assert_eq!(all(&asked, "forwarded"), ["for=127.0.0.1;host=\"Shop.example:8080\";proto=http"]);
    // What earlier proxies have noted stays in front; what only the last one can know does not.
    let asked = passed_on(
        &origin,
        &address,
        "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2\r\n\
        Forwarded: for=10.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: lie\r\n\r\n",
    );
    assert_eq!(all(&asked, "x-forwarded-for"), ["10.0.0.1, 10.0.0.2, 127.0.0.1"]);
    assert_eq!(all(&asked, "forwarded"), ["for=10.0.0.1, for=127.0.0.1;host=\"h\";proto=http"]);
    assert_eq!(
        (all(&asked, "x-forwarded-proto"), all(&asked, "x-forwarded-host")),
        (vec!["http"], vec!["h"])
    );
    // The target in whole, as proxies are asked.
    let asked = passed_on(&origin, &address, "GET http://h.example/x?y HTTP/1.1\r\nHost: h.example\r\n\r\n");
    assert_eq!((asked.line.as_str(), all(&asked, "host")), ("GET /x?y HTTP/1.1", vec!["h.example"]));
    end(master);
}

#[test]
fn clients_by_ipv6_and_unix_sockets_are_named_in_their_way() {
    let place = Place::new();
    let origin = Origin::answering(|_| ok(""));
    let unix = format!("\"unix:{}\"", place.path("w.sock").display());
    let master = fronting_with(&place, &[&origin], "", |web| web.listen_raw(&["\"[::1]:0\"", &unix]));
    let listeners = master.service("web").listeners;
    let asked = passed_on(&origin, &listeners[0].address, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(all(&asked, "x-forwarded-for"), ["::1"]);
    assert_eq!(all(&asked, "forwarded"), ["for=\"[::1]\";host=\"h\";proto=http"]);
    let asked = passed_on(&origin, &listeners[1].address, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(all(&asked, "x-forwarded-for"), ["unix:"]);
    assert_eq!(all(&asked, "forwarded"), ["for=unknown;host=\"h\";proto=http"]);
    end(master);
}

#[test]
fn what_concerns_one_hop_only_stays_on_it() {
    let place = Place::new();
    let origin = Origin::answering(|_| {
        ok("x").replacen(
            "\r\n",
            "\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-End: 2\r\n\
            Proxy-Authenticate: Basic\r\nUpgrade: h2c\r\n",
            1,
        )
    });
    let master = fronting(&place, &[&origin], "");
    let mut conn = Conn::open(&master.address()).unwrap();
    conn.send(
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close, X-Own, Host\r\nX-Own: 1\r\nKeep-Alive: 5\r\n\
        Proxy-Connection: keep-alive\r\nTE: gzip\r\nUpgrade: h2c\r\nX-End: 2\r\n\r\n",
    )
    .unwrap();
    let answer = conn.receive().unwrap();
    for gone in ["x-hop", "keep-alive", "proxy-authenticate", "upgrade"] {
        assert_eq!(answer.header(gone), None, "{gone}");
    }
    assert_eq!((answer.header("x-end"), answer.closes()), (Some("2"), true), "the client asked for the end");
    let asked = &origin.asked()[0];
    for gone in ["x-own", "keep-alive", "proxy-connection", "te", "upgrade", "connection"] {
        assert_eq!(asked.header(gone), None, "{gone}");
    }
    assert_eq!((asked.header("x-end"), asked.header("host")), (Some("2"), Some("h")));
    drop(conn);
    end(master);
}

#[test]
fn bodies_are_framed_anew_and_unambiguously() {
    let place = Place::new();
    let origin = Origin::answering(|_| ok(""));
    let master = fronting(&place, &[&origin], "");
    let address = master.address();
    let chunked = "Transfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    for method in ["POST", "PUT", "DELETE", "PATCH", "GET", "OPTIONS"] {
        let asked = passed_on(&origin, &address, &format!("{method} / HTTP/1.1\r\nHost: h\r\n{chunked}"));
        assert_eq!(asked.body, b"abcde", "{method}: {asked:?}");
        assert_eq!(asked.header("transfer-encoding"), Some("chunked"), "{method}");
        let known = format!("{method} / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabcde");
        let asked = passed_on(&origin, &address, &known);
        assert_eq!((asked.body.as_slice(), asked.header("content-length")), (b"abcde".as_slice(), Some("5")));
        assert_eq!(asked.header("transfer-encoding"), None);
    }
    let asked = passed_on(&origin, &address, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    assert_eq!((asked.header("content-length"), asked.body.len()), (Some("0"), 0));
    let before = origin.asked().len();
    let refused = [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", 400),
        ("Content-Length: 5\r\nContent-Length: 6", 400),
        ("Transfer-Encoding: gzip", 501),
        ("Expect: miracles", 417),
    ];
    for (field, status) in refused {
        let mut conn = Conn::open(&address).unwrap();
        conn.send(format!("POST / HTTP/1.1\r\nHost: h\r\n{field}\r\n\r\n0\r\n\r\n").as_bytes()).unwrap();
        let answer = conn.receive().unwrap();
        assert!(answer.closes() || conn.closed_within(SOON), "{field}: {answer:?}");
        assert!(answer.status == status || answer.status == 400, "{field}: {answer:?}");
    }
    assert_eq!(origin.asked().len(), before, "none of them went on");
    end(master);
}
