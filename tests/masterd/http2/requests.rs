//! Requests on streams, answered by every kind of route.

use super::client::*;
use super::*;
use crate::tls::{PLAIN, place_with, secure};

#[test]
fn every_kind_of_route_answers() {
    let place = Place::new();
    std::fs::write(place.path("f.txt"), b"from a file").unwrap();
    let origin = Origin::answering(|asked| ok(&asked.line));
    let web = Web::new()
        .workers(1)
        .route("/f", &format!("files = {{ root = {:?} }}", place.dir()))
        .route("/f.txt", &format!("files = {{ root = {:?} }}", place.dir()))
        .route("/up", &proxy(&[origin.address()], ""));
    let master = Master::start(&place, &web.text());
    let mut client = Client::open(&master.address());
    let answer = client.get("/");
    assert_eq!(answer.status(), 200);
    assert!(answer.text().contains("mark=a"), "{answer:?}");
    assert_eq!(client.get("/healthz").text(), "live\n");
    assert_eq!(client.get("/f.txt").text(), "from a file");
    assert_eq!(client.get("/up?x=%2F").text(), "GET /up?x=%2F HTTP/1.1");
    assert_eq!(client.get("/status").status(), 200);
    let asked = &origin.asked()[0];
    assert_eq!((asked.header("host"), asked.header("x-forwarded-for")), (Some("test"), Some("127.0.0.1")));
    let fields = client::request("HEAD", "/f.txt");
    let stream = client.ask(&fields, true);
    let head = client.answer(stream);
    assert_eq!((head.status(), head.body.len()), (200, 0));
    assert!(client.goaway.is_empty());
    drop(client);
    end(master);
}

#[test]
fn an_answer_waits_for_nothing_else() {
    const MANY: u32 = 20;
    let place = Place::new();
    let master = plain(&place);
    let mut client = Client::open(&master.address());
    let begun = std::time::Instant::now();
    for _ in 0..MANY {
        assert_eq!(client.get("/").status(), 200);
    }
    // The worker looks around twice a second without any event: that must not be what moves a stream.
    assert!(begun.elapsed() < SECOND * MANY / 5, "{:?}", begun.elapsed());
    drop(client);
    end(master);
}

#[test]
fn it_is_agreed_on_within_tls() {
    let authority = Authority::new();
    let place = place_with(&authority);
    let master = Master::start(&place, &secure(PLAIN).text());
    let address = master.address();
    for offered in [vec!["h2"], vec!["h2", "http/1.1"]] {
        let conn = Caller::speaking(&authority, &offered).call(&address, "a.example").unwrap();
        assert_eq!(conn.tls().alpn().as_deref(), Some("h2"));
        let mut client = Client::on(conn);
        assert_eq!(client.get("/").status(), 200);
    }
    let mut conn = Caller::speaking(&authority, &["http/1.1"]).call(&address, "a.example").unwrap();
    assert_eq!(conn.tls().alpn().as_deref(), Some("http/1.1"));
    assert_eq!(conn.get("/").unwrap().status, 200);
    assert!(Caller::speaking(&authority, &["spdy/1"]).call(&address, "a.example").is_err());
    drop(conn);
    end(master);
}

#[test]
fn a_hundred_streams_are_answered_at_once() {
    const MANY: usize = 100;
    let place = Place::new();
    let master = plain(&place);
    let mut client = Client::open(&master.address());
    let streams: Vec<u32> = (0..MANY).map(|_| client.ask(&getting("/slow"), true)).collect();
    wait_until("all are under way", SOON, || master.workers("web")[0].in_flight as usize == MANY);
    for stream in streams {
        assert_eq!(client.answer(stream).status(), 200);
    }
    let totals = master.service("web").totals;
    assert_eq!((totals.requests as usize, totals.accepted), (MANY, 1));
    wait_until("the books are closed", SOON, || master.workers("web")[0].in_flight == 0);
    drop(client);
    end(master);
}

#[test]
fn large_bodies_go_both_ways_within_the_windows() {
    const LENGTH: usize = 8 << 20;
    let place = Place::new();
    let origin = Origin::answering(|asked| {
        let text = String::from_utf8(asked.body.clone()).expect("letters");
        ok(&text)
    });
    let master = fronting(&place, &origin);
    let mut client = Client::open(&master.address());
    let body: Vec<u8> = (0..LENGTH).map(|n| b'a' + (n * 31 % 26) as u8).collect();
    let stream = client.ask(&client::request("POST", "/"), false);
    client.data(stream, &body, true).unwrap();
    let answer = client.answer(stream);
    assert_eq!(answer.status(), 200);
    assert!(answer.body == body, "{} bytes came back", answer.body.len());
    let asked = &origin.asked()[0];
    assert!(asked.body == body);
    assert_eq!(asked.header("transfer-encoding"), Some("chunked"), "no length was announced");
    drop(client);
    end(master);
}

#[test]
fn a_client_that_reads_nothing_of_one_stream_gets_the_others() {
    let place = Place::new();
    let origin = Origin::answering(|asked| match asked.target() {
        "/large" => ok(&"x".repeat(4 << 20)),
        _ => ok("small"),
    });
    let master = fronting(&place, &origin);
    let mut client = Client::open(&master.address());
    client.generous = false;
    let large = client.ask(&getting("/large"), true);
    while client.streams[&large].body.len() < 65_535 {
        client.turn().unwrap();
    }
    // The window of the connection is used up, too; it is opened for the others.
    client.frame(WINDOW_UPDATE, 0, 0, &1_000_000u32.to_be_bytes()).unwrap();
    for _ in 0..10 {
        assert_eq!(client.get("/small").text(), "small");
    }
    assert_eq!(client.streams[&large].body.len(), 65_535);
    client.generous = true;
    for stream in [0, large] {
        client.frame(WINDOW_UPDATE, 0, stream, &(8u32 << 20).to_be_bytes()).unwrap();
    }
    assert_eq!(client.answer(large).body.len(), 4 << 20);
    drop(client);
    end(master);
}

#[test]
fn trailers_pass_in_both_directions() {
    let place = Place::new();
    let origin = Origin::answering(|_| {
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n".to_owned()
    });
    let master = fronting(&place, &origin);
    let mut client = Client::open(&master.address());
    let fields = [&client::request("POST", "/")[..], &[("te", "trailers"), ("trailer", "x-own")]].concat();
    let stream = client.ask(&fields, false);
    client.data(stream, b"body", false).unwrap();
    let block = hpack::encode(&[("x-own", "1")]);
    client.frame(HEADERS, END_HEADERS | END_STREAM, stream, &block).unwrap();
    let answer = client.answer(stream);
    assert_eq!((answer.status(), answer.text().as_str()), (200, "abc"));
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "6".to_owned())]);
    let asked = &origin.asked()[0];
    assert_eq!(asked.body, b"body");
    assert_eq!(asked.trailers, [("x-own".to_owned(), "1".to_owned())]);
    drop(client);
    end(master);
}

#[test]
fn cookies_in_pieces_are_joined_for_http_1() {
    let place = Place::new();
    let origin = Origin::answering(|_| ok(""));
    let master = fronting(&place, &origin);
    let mut client = Client::open(&master.address());
    let cookies = [("cookie", "a=1"), ("cookie", "b=2"), ("x", "y"), ("cookie", "c=3")];
    let stream = client.ask(&[&getting("/")[..], &cookies].concat(), true);
    assert_eq!(client.answer(stream).status(), 200);
    let asked = &origin.asked()[0];
    let found: Vec<&str> =
        asked.headers.iter().filter(|(name, _)| name == "cookie").map(|(_, value)| value.as_str()).collect();
    assert_eq!(found, ["a=1; b=2; c=3"]);
    drop(client);
    end(master);
}

#[test]
fn an_upstream_that_breaks_off_resets_its_stream_only() {
    let place = Place::new();
    let origin = Origin::answering(|asked| match asked.target() {
        "/cut" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf".to_owned(),
        "/gone" => String::new(),
        _ => ok("whole"),
    });
    let origin_address = origin.address().to_owned();
    let action = proxy(&[&origin_address], "max_failures = 0, retries = 0");
    let master = Master::start(&place, &Web::new().workers(1).root(&action).text());
    let mut client = Client::open(&master.address());
    let cut = client.ask(&getting("/cut"), true);
    while client.streams[&cut].body.len() < 4 {
        client.turn().unwrap();
    }
    origin.hang_up();
    let answer = client.answer(cut);
    assert!(answer.reset.is_some() && !answer.ended, "{answer:?}");
    assert_eq!(client.get("/gone").status(), 502);
    assert_eq!(client.get("/").text(), "whole");
    assert!(client.goaway.is_empty());
    drop(client);
    end(master);
}

#[test]
fn a_body_beyond_the_limit_is_answered_with_413() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(1).http("max_body = \"10KiB\"").text());
    let mut client = Client::open(&master.address());
    let stream = client.ask(&client::request("POST", "/"), false);
    // It may be answered, and reset, before everything has been sent.
    let _ = client.data(stream, &[b'x'; 100_000], true);
    assert_eq!(client.answer(stream).status(), 413);
    let fields = [&client::request("POST", "/")[..], &[("content-length", "100000")]].concat();
    let stream = client.ask(&fields, false);
    assert_eq!(client.answer(stream).status(), 413, "before a byte of it has come");
    assert_eq!(client.get("/").status(), 200, "the connection goes on");
    drop(client);
    end(master);
}
