//! What is meant to last has a deadline of its own, and hears of it in its own words.

use super::upstream::{self, Raw, goes_on};
use crate::harness::{Conn, Lost, Master, Place, SOON, Web, get, wait_until};
use crate::meddle::end;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// `/events` and `/ws` are passed on; a TCP service `tcp` stands beside.
fn config(drain: &str) -> Web {
    let passed = |upstream: String| format!("proxy = {{ upstream = [\"{upstream}\"] }}");
    let drain = format!("drain = {{ {drain} }}");
    let tcp = format!(
        "[[service]]\nname = \"tcp\"\nlisten = [\"127.0.0.2:0\"]\nworkers = 1\n\
         limits = {{ cpu_affinity = \"off\" }}\n{drain}\n[service.tcp]\nproxy = {{ upstream = [\"{}\"] }}\n",
        upstream::echo()
    );
    Web::new()
        .workers(1)
        .slow("30s")
        .route("/events", &passed(upstream::events()))
        .route("/ws", &passed(upstream::websockets()))
        .service(&drain)
        .more(&tcp)
}

/// The one worker of a service that drains.
fn drains(master: &Master, service: &str) -> masterd::wire::status::Drain {
    let status = master.wait_status("the old generation drains", SOON, |s| {
        s.services.iter().any(|s| s.name == service && s.workers.iter().any(|w| w.drain.is_some()))
    });
    let found = status.services.iter().find(|s| s.name == service).expect("the service");
    found.workers.iter().find_map(|w| w.drain).expect("one drains")
}

/// From the beginning of the drain to these words, in the log of the worker.
#[track_caller]
fn assert_took(master: &Master, words: &str, expected: Duration) {
    master.wait_log(words);
    let took = master.between("  draining (", words);
    assert!(took + 20 * MS > expected && took < expected + 500 * MS, "{took:?} instead of {expected:?}");
}

#[test]
fn an_event_stream_goes_through_a_reload_without_a_gap() {
    let place = Place::new();
    let master = Master::start(&place, &config("grace = \"1s\"").text());
    let address = master.address();
    let mut stream = Raw::listens(&address);
    assert_eq!(stream.event(), 0);
    let waits = master.begin(&["reload", "--drained"]);
    let mut next = 1;
    let mut follow = |span| {
        goes_on(span, || {
            assert_eq!(stream.event(), next, "no event is missing, none comes twice");
            next += 1;
        });
    };
    follow(500 * MS);
    let drain = drains(&master, "web");
    assert!(drain.deadline > 250.0, "what it waits for has five minutes: {drain:?}");
    follow(1500 * MS);
    assert_eq!(get(&address, "/").unwrap().number("gen"), 2, "everybody else is served by the new one");
    drop(stream);
    waits.finish().expect(0);
    assert_eq!(master.service("web").totals.cut, 0);
    end(master);
}

#[test]
fn an_event_stream_ends_at_its_deadline_with_a_last_chunk() {
    let place = Place::new();
    let master = Master::start(&place, &config("grace = \"1s\", long_lived_grace = \"2s\"").text());
    let address = master.address();
    let mut stream = Raw::listens(&address);
    stream.event();
    let waits = master.begin(&["reload", "--drained"]);
    let all = stream.rest().expect("a FIN, not a reset");
    assert!(all.ends_with(b"data: x\n\n\r\n0\r\n\r\n"), "{}", String::from_utf8_lossy(&all));
    assert_took(&master, "cut off 1 connections (0 http, 0 websocket, 1 sse, 0 grpc, 0 tcp)", 2000 * MS);
    waits.finish().expect(0);
    assert_eq!(master.service("web").totals.cut, 1);
    // It reconnects, as an EventSource does.
    let mut stream = Raw::listens(&address);
    assert_eq!(stream.event(), 0);
    drop(stream);
    end(master);
}

#[test]
fn a_websocket_works_across_a_reload_until_its_deadline_and_is_told() {
    let place = Place::new();
    let master = Master::start(&place, &config("grace = \"1s\", long_lived_grace = \"3s\"").text());
    let mut socket = Raw::websocket(&master.address());
    let waits = master.begin(&["reload", "--drained"]);
    drains(&master, "web");
    goes_on(1500 * MS, || socket.says("still here"));
    socket.goes_when_told();
    let said = "cut off 1 connections (0 http, 1 websocket, 0 sse, 0 grpc, 0 tcp); the oldest was 127.0.0.1:";
    assert_took(&master, said, 3000 * MS);
    waits.finish().expect(0);
    let took = master.between(said, "  leaving: ");
    assert!(took < 500 * MS, "who has heard it is not waited for: {took:?}");
    let service = master.service("web");
    assert_eq!((service.totals.cut, service.totals.deaths), (1, 0));
    end(master);
}

#[test]
fn a_tcp_connection_outlives_the_grace_and_is_cut_at_its_own() {
    let place = Place::new();
    let master = Master::start(&place, &config("grace = \"1s\", long_lived_grace = \"3s\"").text());
    let address = master.address_of("tcp");
    let (mut cut, mut goes) = (Raw::to(&address), Raw::to(&address));
    cut.echoes("hello");
    goes.echoes("hello");
    let waits = master.begin(&["reload", "--drained"]);
    drains(&master, "tcp");
    goes_on(1500 * MS, || {
        cut.echoes("still here");
        goes.echoes("still here");
    });
    goes.ends();
    assert_eq!(goes.rest().expect("a FIN"), b"");
    assert!(cut.rest().is_ok_and(|rest| rest.is_empty()), "silent for a second: its end is a plain one");
    assert_took(&master, "cut off 1 connections (0 http, 0 websocket, 0 sse, 0 grpc, 1 tcp)", 3000 * MS);
    waits.finish().expect(0);
    let service = master.service("tcp");
    assert_eq!((service.totals.cut, service.totals.deaths), (1, 0));
    let mut fresh = Raw::to(&address);
    fresh.echoes("hello");
    drop(fresh);
    end(master);
}

/// The seconds that are left, by the first line that begins so.
#[track_caller]
fn left_after(beginning: &str, text: &str) -> f64 {
    let number = text.split(beginning).nth(1).and_then(|rest| rest.split_once("s left")?.0.parse().ok());
    number.unwrap_or_else(|| panic!("no {beginning:?} in {text}"))
}

#[test]
fn a_request_is_cut_at_the_grace_while_a_websocket_beside_it_lives_on() {
    let place = Place::new();
    let master = Master::start(&place, &config("grace = \"2s\", long_lived_grace = \"25s\"").text());
    let address = master.address();
    let mut socket = Raw::websocket(&address);
    let mut slow = Conn::open(&address).unwrap();
    slow.ask("/slow").unwrap();
    wait_until("it is in flight", SOON, || master.workers("web")[0].in_flight == 1);
    let waits = master.begin(&["reload", "--drained"]);
    assert!(matches!(slow.receive(), Err(Lost::NoAnswer | Lost::Reset(0))));
    assert_took(&master, "cut off 1 connections (1 http, 0 websocket, 0 sse, 0 grpc, 0 tcp)", 2000 * MS);
    socket.says("still here");
    let progress = "draining gen 1: 1 active (0 http, 1 websocket, 0 sse, 0 grpc, 0 tcp), 0 migrated, ";
    assert_took(&master, progress, 5000 * MS);
    let line = &master.stamped(progress)[0].line;
    let left = left_after(progress, line);
    assert!((19.0..=20.1).contains(&left), "that of the deadline that ends it: {line}");
    socket.says("still here");
    drop(socket);
    let said = waits.finish().expect(0).stderr;
    let streamed = "draining gen 1: 2 active (1 http, 1 websocket, 0 sse, 0 grpc, 0 tcp), 0 migrated, ";
    let left = left_after(streamed, &said);
    assert!((23.0..=25.0).contains(&left), "from the beginning: {said}");
    assert_eq!(master.service("web").totals.cut, 1, "the request, and nothing else");
    end(master);
}

#[test]
fn a_stop_gives_what_lasts_its_own_time() {
    let place = Place::new();
    let master = Master::start(&place, &config("grace = \"1s\", long_lived_grace = \"3s\"").text());
    let mut socket = Raw::websocket(&master.address());
    let mut bytes = Raw::to(&master.address_of("tcp"));
    bytes.echoes("hello");
    let waits = master.begin(&["stop"]);
    master.wait_log("  draining (stop): ");
    goes_on(1500 * MS, || {
        socket.says("still here");
        bytes.echoes("still here");
    });
    socket.goes_when_told();
    let _ = bytes.rest();
    waits.finish().expect(0);
    assert_took(&master, "cut off 1 connections (0 http, 1 websocket, 0 sse, 0 grpc, 0 tcp)", 3000 * MS);
    assert_took(&master, "cut off 1 connections (0 http, 0 websocket, 0 sse, 0 grpc, 1 tcp)", 3000 * MS);
    master.finish();
}

#[test]
fn a_fast_stop_says_goodbye_in_passing() {
    let place = Place::new();
    let master = Master::start(&place, &config("grace = \"30s\"").text());
    let address = master.address();
    let (socket, mut stream) = (Raw::websocket(&address), Raw::listens(&address));
    stream.event();
    let waits = master.begin(&["stop", "--fast"]);
    socket.goes_when_told();
    assert!(stream.rest().expect("a FIN").ends_with(b"0\r\n\r\n"));
    waits.finish().expect(0);
    master.finish();
}

#[test]
fn a_reload_that_waits_for_room_gives_what_lasts_no_more_than_the_grace() {
    let place = Place::new();
    let config = config("grace = \"3s\"").master("max_draining_generations = 1");
    let master = Master::start(&place, &config.text());
    let mut socket = Raw::websocket(&master.address());
    master.cli(&["reload"]).expect(0);
    let waits = master.begin(&["reload"]);
    master.wait_status("the next one waits", SOON, |s| s.state == "reloading");
    goes_on(1000 * MS, || socket.says("still here"));
    socket.goes_when_told();
    waits.finish().expect(0);
    assert_took(&master, "generation 1 has drained for its grace and makes room now", 3000 * MS);
    let said = "cut off 1 connections (0 http, 1 websocket, 0 sse, 0 grpc, 0 tcp)";
    assert_took(&master, said, 3000 * MS);
    assert_eq!(master.service("web").totals.cut, 1);
    master.wait_generation(3);
    end(master);
}
