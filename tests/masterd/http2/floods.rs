//! Clients that ask for more than they may: their connection ends, and nobody else notices.

use super::client::*;
use super::*;
use crate::tools::resident;
use std::time::Instant;

/// Somebody else is served, and quickly.
#[track_caller]
fn others_are_served(master: &Master) {
    let begun = Instant::now();
    assert_eq!(Client::open(&master.address()).get("/").status(), 200);
    assert_eq!(harness_get(master), 200);
    assert!(begun.elapsed() < SECOND * 5, "{:?}", begun.elapsed());
}

fn harness_get(master: &Master) -> u16 {
    crate::harness::get(&master.address(), "/").expect("an answer").status
}

/// The connection has ended, or ends before long.
#[track_caller]
fn ended(client: &mut Client) {
    let lost = client.until_end();
    assert!(!matches!(lost, Lost::Late(_)), "it goes on: {lost}");
}

#[test]
fn resets_without_end_end_the_connection() {
    let place = Place::new();
    let origin = Origin::start(|mut visit| {
        // Never answers: every stream would be work for nothing.
        while visit.request().is_some() {}
    });
    let web = Web::new().workers(1).route("/up", &proxy(&[origin.address()], ""));
    let master = Master::start(&place, &web.text());
    for path in ["/", "/slow", "/up"] {
        let mut client = Client::open(&master.address());
        let block = hpack::encode(&getting(path));
        let mut sent = 0;
        while sent < 10_000 {
            // A reset right behind each head.
            let mut bytes = Vec::new();
            for _ in 0..100 {
                let stream = client.stream();
                bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &block));
                bytes.extend(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
            }
            if client.send(&bytes).is_err() {
                break;
            }
            sent += 100;
        }
        ended(&mut client);
        others_are_served(&master);
        wait_until("nothing of it is left", SOON, || master.workers("web")[0].in_flight == 0);
    }
    end(master);
}

#[test]
fn a_head_without_end_ends_the_connection() {
    let place = Place::new();
    let master = plain(&place);
    let pid = master.ready_pids("web")[0];
    let before = resident(pid);
    let mut client = Client::open(&master.address());
    let stream = client.stream();
    let block = hpack::encode(&getting("/"));
    client.frame(HEADERS, END_STREAM, stream, &block).unwrap();
    let more = hpack::encode(&[("x", &"y".repeat(1000))]).repeat(8);
    // Whatever of it is still taken is thrown away.
    (0..2000).any(|_| client.frame(CONTINUATION, 0, stream, &more).is_err());
    ended(&mut client);
    assert!(resident(pid) < before + 8192, "{} KiB, then {}", before, resident(pid));
    others_are_served(&master);
    end(master);
}

#[test]
fn empty_continuations_end_the_connection_too() {
    let place = Place::new();
    let master = plain(&place);
    let mut client = Client::open(&master.address());
    let stream = client.stream();
    client.frame(HEADERS, END_STREAM, stream, &hpack::encode(&getting("/"))).unwrap();
    let many = frame(CONTINUATION, 0, stream, b"").repeat(100);
    (0..1000).any(|_| client.send(&many).is_err());
    ended(&mut client);
    others_are_served(&master);
    end(master);
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(1).http("max_header_size = \"16KiB\"").text());
    let mut client = Client::open(&master.address());
    let large = "y".repeat(20_000);
    let stream = client.ask(&[&getting("/")[..], &[("x", &large)]].concat(), true);
    match client.try_answer(stream) {
        Ok(answer) => assert!(answer.status() == 431 || answer.reset.is_some(), "{answer:?}"),
        Err(lost) => assert!(!client.goaway.is_empty(), "{lost}"),
    }
    drop(client);
    others_are_served(&master);
    // Small ones, but many: the same sum.
    let many: Vec<(&str, &str)> = (0..2000).map(|_| ("x", "y")).collect();
    let mut client = Client::open(&master.address());
    let stream = client.ask(&[&getting("/")[..], &many].concat(), true);
    match client.try_answer(stream) {
        Ok(answer) => assert!(answer.status() == 431 || answer.reset.is_some(), "{answer:?}"),
        Err(lost) => assert!(!client.goaway.is_empty(), "{lost}"),
    }
    drop(client);
    end(master);
}

#[test]
fn pings_settings_and_empty_frames_do_not_pile_up() {
    let place = Place::new();
    let master = plain(&place);
    let pid = master.ready_pids("web")[0];
    let before = resident(pid);
    let floods = [
        frame(PING, 0, 0, &[7; 8]),
        frame(SETTINGS, 0, 0, b""),
        frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes()),
        frame(2, 0, 1, &[0, 0, 0, 0, 1]),
    ];
    for flood in floods {
        let mut client = Client::open(&master.address());
        client.conn.patience = SECOND / 5;
        // The answers are read by nobody.
        for _ in 0..1000 {
            if client.send(&flood.repeat(100)).is_err() {
                break;
            }
        }
        others_are_served(&master);
        assert!(resident(pid) < before + 16_384, "{} KiB, then {}", before, resident(pid));
    }
    end(master);
}

#[test]
fn more_streams_than_allowed_are_refused() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(1).http("max_streams = 5").text());
    let mut client = Client::open(&master.address());
    let streams: Vec<u32> = (0..10).map(|_| client.ask(&getting("/slow"), true)).collect();
    let answers: Vec<Answer> = streams.into_iter().map(|stream| client.answer(stream)).collect();
    let served = answers.iter().filter(|answer| answer.status() == 200).count();
    // REFUSED_STREAM: they may be asked again.
    let refused = answers.iter().filter(|answer| answer.reset == Some(7)).count();
    assert_eq!((served, refused), (5, 5), "{answers:?}");
    drop(client);
    end(master);
}
