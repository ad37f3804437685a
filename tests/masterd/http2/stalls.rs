//! Streams that stand still: each is let go by itself, and its connection goes on.

use super::client::*;
use super::*;
use std::time::Instant;

/// RST_STREAM: nobody wants it any more.
const CANCEL: u32 = 8;
const CALL: (&str, &str) = ("content-type", "application/grpc");

fn errors(master: &Master) -> u64 {
    master.service("web").totals.errors
}

/// A large answer of each kind, small ones at `/` and `/small`; a log of accesses; and this timeout.
#[track_caller]
fn slow_readers(place: &Place, origin: &Origin, write_timeout: &str) -> Master {
    std::fs::write(place.path("f"), vec![b'f'; 4 << 20]).unwrap();
    let canned = "c".repeat(300_000);
    let web = Web::new()
        .workers(1)
        .master("access_log = { file = \"access\", format = \"json\" }")
        .http(&format!("write_timeout = {write_timeout:?}"))
        .route("/f", &format!("files = {{ root = {:?} }}", place.dir()))
        .route("/canned", &format!("respond = {{ body = {canned:?} }}"))
        .route("/up", &proxy(&[origin.address()], ""));
    Master::start(place, &web.text())
}

#[test]
fn a_client_that_takes_nothing_of_some_streams_loses_only_them() {
    let place = Place::new();
    let origin = Origin::answering(|_| ok(&"x".repeat(4 << 20)));
    let master = slow_readers(&place, &origin, "500ms");
    let mut client = Client::open(&master.address());
    client.generous = false;
    // The window of the connection is not what stops them, but that of each stream.
    client.frame(WINDOW_UPDATE, 0, 0, &(1u32 << 24).to_be_bytes()).unwrap();
    let begun = Instant::now();
    let large: Vec<u32> =
        ["/f", "/canned", "/up"].iter().map(|path| client.ask(&getting(path), true)).collect();
    for stream in &large {
        let answer = client.answer(*stream);
        assert_eq!((answer.status(), answer.body.len(), answer.reset), (200, 65_535, Some(CANCEL)));
    }
    assert!((SECOND / 2..SECOND * 5).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    // No window at all: the smallest answer waits.
    client.frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).unwrap();
    let none = client.ask(&getting("/"), true);
    let answer = client.answer(none);
    assert_eq!((answer.status(), answer.body.len(), answer.reset), (200, 0, Some(CANCEL)));
    client.frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]).unwrap();
    assert_eq!(client.get("/").status(), 200, "the connection goes on");
    assert!(client.goaway.is_empty());
    origin.wait_closed(SOON);
    wait_until("the books are closed", SOON, || master.workers("web")[0].in_flight == 0);
    assert_eq!(errors(&master), 4, "each is an error");
    wait_until("all are told of", SOON, || place.read("access").lines().count() == 5);
    drop(client);
    end(master);
}

#[test]
fn one_that_takes_a_little_now_and_then_gets_all() {
    let place = Place::new();
    let origin = Origin::answering(|_| ok(&"x".repeat(300_000)));
    let master = slow_readers(&place, &origin, "600ms");
    let mut client = Client::open(&master.address());
    client.generous = false;
    client.frame(WINDOW_UPDATE, 0, 0, &(1u32 << 24).to_be_bytes()).unwrap();
    let stream = client.ask(&getting("/up"), true);
    let begun = Instant::now();
    let mut room = 65_535;
    while !client.streams[&stream].ended {
        while client.streams[&stream].body.len() < room.min(300_000) {
            client.turn().expect("more of it");
            assert_eq!(client.streams[&stream].reset, None, "after {:?}", begun.elapsed());
        }
        std::thread::sleep(SECOND / 5);
        room += 30_000;
        client.frame(WINDOW_UPDATE, 0, stream, &30_000u32.to_be_bytes()).unwrap();
    }
    assert!(begun.elapsed() > SECOND, "or nothing is shown: {:?}", begun.elapsed());
    assert_eq!(errors(&master), 0);
    drop(client);
    end(master);
}

#[test]
fn a_call_that_falls_silent_before_its_answer_is_let_go() {
    let place = Place::new();
    let origin = Origin::start(|mut visit| {
        let Some(mut asked) = visit.request() else { return };
        let _ = visit.body(&mut asked);
    });
    let action = proxy(&[origin.address()], "idle_timeout = \"900ms\"");
    let web = Web::new().workers(1).http("body_timeout = \"300ms\"").route("/up", &action);
    let master = Master::start(&place, &web.text());
    let mut client = Client::open(&master.address());
    let begun = Instant::now();
    let stream = client.ask(&[&client::request("POST", "/up")[..], &[CALL]].concat(), false);
    client.data(stream, b"some", false).unwrap();
    let answer = client.answer(stream);
    assert!(answer.status() == 408 || answer.reset.is_some(), "{answer:?}");
    // It may be silent for as long as a call may, which is longer than any other body.
    assert!((SECOND * 8 / 10..SECOND * 5).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    origin.wait_closed(SOON);
    assert_eq!(client.get("/").status(), 200, "the connection goes on");
    wait_until("nothing of it is left", SOON, || master.workers("web")[0].in_flight == 0);
    assert_eq!(errors(&master), 1);
    drop(client);
    end(master);
}

#[test]
fn a_call_whose_answer_flows_may_be_silent_until_that_ends() {
    let place = Place::new();
    let origin = Origin::start(|mut visit| {
        if visit.request().is_none() {
            return;
        }
        visit.say("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..10 {
            visit.say("1\r\nx\r\n");
            std::thread::sleep(SECOND / 10);
        }
        visit.say("0\r\n\r\n");
        visit.wait_gone();
    });
    let web = Web::new()
        .workers(1)
        .http("body_timeout = \"300ms\"")
        .route("/up", &proxy(&[origin.address()], "idle_timeout = \"600ms\""));
    let master = Master::start(&place, &web.text());
    let mut client = Client::open(&master.address());
    let stream = client.ask(&[&client::request("POST", "/up")[..], &[CALL]].concat(), false);
    client.data(stream, b"some", false).unwrap();
    let answer = client.answer(stream);
    assert_eq!((answer.status(), answer.text().as_str(), answer.reset), (200, "xxxxxxxxxx", None));
    // The client never ends its part.
    wait_until("nothing of it is left", SOON, || master.workers("web")[0].in_flight == 0);
    origin.wait_closed(SOON);
    assert_eq!(client.get("/").status(), 200, "the connection goes on");
    drop(client);
    end(master);
}
