//! Leaving: what a drain finishes, announces, closes and cuts.

use super::*;
use crate::scoreboard::layout::*;

/// Longer than anybody waits here: what happens does not happen because this is over.
const LONG: Duration = Duration::from_secs(100);

/// Another worker has idle connections and closes them because it drains, one after the other. When it has,
/// whoever was told to drain before would have done the same.
fn idle_ones_are_closed_by_now() {
    let mut trial = Trial::start(|_| {});
    let mut clients: Vec<Client> = (0..30).map(|_| trial.connect()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.get("/").status, 200));
    trial.drain(LONG, Idle::Close, &[], false);
    clients.iter_mut().for_each(Client::ends);
    drop(clients);
    assert_eq!(trial.exit(), 0);
}

#[test]
fn a_worker_without_connections_leaves_at_once() {
    let mut trial = Trial::start(|_| {});
    trial.drain(LONG, Idle::Announce, &[], false);
    assert_eq!(trial.report(), Report::Leaving { cut: 0 });
    assert_eq!(trial.exit(), 0);
    assert_eq!(trial.word(STATE), State::Leaving as u64);
}

#[test]
fn requests_in_flight_finish_and_say_close() {
    let mut trial = Trial::start(|_| {});
    let mut client = trial.connect();
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it is in flight", || trial.word(IN_FLIGHT) == 1);
    trial.drain(LONG, Idle::Announce, &[], false);
    let answer = client.answer();
    assert!(answer.status == 200 && answer.says_close(), "{answer:?}");
    client.ends();
    drop(client);
    assert_eq!(trial.report(), Report::Leaving { cut: 0 });
    assert_eq!(trial.exit(), 0);
}

#[test]
fn what_is_pipelined_is_answered_before_the_close() {
    let mut trial = Trial::start(|_| {});
    let mut client = trial.connect();
    let one = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    client.send(&(one("/slow") + &one("/") + &one("/ready")));
    eventually("it is in flight", || trial.word(IN_FLIGHT) == 1);
    trial.drain(LONG, Idle::Announce, &[], false);
    let answers = [client.answer(), client.answer(), client.answer()];
    assert_eq!(answers.each_ref().map(|answer| answer.body.as_str()), ["slow", "hello 3", "ready\n"]);
    assert_eq!(answers.each_ref().map(Answer::says_close), [false, false, true]);
    client.ends();
    drop(client);
    assert_eq!(trial.exit(), 0);
}

#[test]
fn announced_connections_stay_until_their_next_request() {
    let mut trial = Trial::start(|_| {});
    let mut client = trial.connect();
    assert_eq!(client.get("/").status, 200);
    trial.drain(LONG, Idle::Announce, &[], false);
    eventually("it drains", || trial.word(STATE) == State::Draining as u64);
    idle_ones_are_closed_by_now();
    let answer = client.get("/ready");
    assert!(answer.status == 200 && answer.says_close(), "{answer:?}");
    client.ends();
    drop(client);
    assert_eq!(trial.exit(), 0);
}

#[test]
fn announced_connections_end_with_the_grace_and_are_not_cut() {
    // The grace of the order counts, not that of the config.
    let mut trial = Trial::start(|service| service.drain.grace = LONG);
    let mut client = trial.connect();
    assert_eq!(client.get("/").status, 200);
    trial.drain(Duration::from_millis(1600), Idle::Announce, &[], false);
    client.ends();
    assert_eq!(trial.report(), Report::Leaving { cut: 0 });
    assert_eq!(trial.exit(), 0);
}

#[test]
fn the_deadline_cuts_counts_and_names() {
    let mut trial = Trial::start(|service| {
        service.drain.grace = LONG;
        let slow = Respond { status: 200, body: String::new(), headers: vec![], delay: LONG * 6 };
        http(service).routes.insert(
            0,
            Route { path: "/never".into(), host: None, action: Action::Respond(slow), headers: vec![] },
        );
    });
    let mut clients: Vec<Client> = (0..3).map(|_| trial.connect()).collect();
    clients[0].send("GET /never HTTP/1.1\r\nHost: a\r\n\r\n");
    clients[1].send("GET / HTT");
    assert_eq!(clients[2].get("/").status, 200);
    eventually("both are busy", || trial.word(IDLE) == 1);
    let started = Instant::now();
    trial.drain(Duration::from_millis(700), Idle::Announce, &[], false);
    assert_eq!(trial.report(), Report::Leaving { cut: 2 });
    assert_eq!(trial.exit(), 0);
    let took = started.elapsed();
    assert!(took > Duration::from_millis(690), "{took:?}");
    assert_eq!((trial.word(CUT), trial.word(ACTIVE), trial.word(IN_FLIGHT)), (2, 0, 0));
    let log = trial.log();
    assert!(log.contains("cut off 2 connections (2 http, 0 websocket"), "{log}");
}

#[test]
fn a_second_drain_only_shortens() {
    let mut trial = Trial::start(|_| {});
    let mut client = trial.connect();
    assert_eq!(client.get("/").status, 200);
    trial.drain(Duration::from_secs(100), Idle::Announce, &[], false);
    trial.drain(Duration::from_millis(500), Idle::Announce, &[], false);
    trial.drain(Duration::from_secs(100), Idle::Announce, &[], false);
    client.ends();
    assert_eq!(trial.exit(), 0);
}

#[test]
fn a_final_stop_announces_for_a_second() {
    let mut trial = Trial::start(|_| {});
    let mut asks = trial.connect();
    let mut waits = trial.connect();
    assert_eq!((asks.get("/").status, waits.get("/").status), (200, 200));
    let started = Instant::now();
    trial.drain(LONG, Idle::Announce, &[], true);
    eventually("it drains", || trial.word(STATE) == State::Draining as u64);
    assert!(asks.get("/").says_close());
    waits.ends();
    let took = started.elapsed();
    assert!(took > Duration::from_millis(950), "{took:?}");
    drop((asks, waits));
    assert_eq!(trial.exit(), 0);
}

#[test]
fn readiness_is_told_apart_from_draining() {
    let trial = Trial::start(|_| {});
    let mut client = trial.connect();
    assert_eq!(client.get("/ready").status, 200);
    trial.order(&Order::Readiness { ready: false }, &[]);
    eventually("readiness fails", || client.get("/ready").status == 503);
    trial.order(&Order::Readiness { ready: true }, &[]);
    eventually("readiness is back", || client.get("/ready").status == 200);
}

#[test]
fn stop_leaves_at_once() {
    let mut trial = Trial::start(|_| {});
    let mut client = trial.connect();
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it is in flight", || trial.word(IN_FLIGHT) == 1);
    trial.order(&Order::Stop, &[]);
    assert_eq!(trial.report(), Report::Leaving { cut: 1 });
    assert_eq!(trial.exit(), 0);
}

#[test]
fn the_masters_death_serves_the_queue_and_frees_the_port() {
    let mut trial = Trial::start(|_| {});
    let mut client = trial.connect();
    assert_eq!(client.get("/").status, 200);
    drop(trial.listener.take());
    trial.channel = None;
    let address = trial.address;
    eventually("the port is free", || std::net::TcpListener::bind(address).is_ok());
    assert!(client.get("/ready").status == 503);
    client.ends();
    drop(client);
    assert_eq!(trial.exit(), 0);
}

#[test]
fn nonsense_on_the_channel_is_ignored() {
    let trial = Trial::start(|_| {});
    let channel = trial.channel.as_ref().unwrap().as_fd();
    for text in [
        "{",
        "\"no_such_order\"",
        "{\"rescue\":{\"seat\":\"x\"}}",
        "\"reopen_log\"",
        "\"reopen_access_log\"",
        "\"status\"",
    ] {
        scm::send(channel, text.as_bytes(), &[]).unwrap();
    }
    scm::send(channel, &vec![b' '; MESSAGE_LIMIT + 1], &[]).unwrap();
    eventually("it is logged", || trial.log().matches("ignored").count() == 4);
    assert_eq!(trial.connect().get("/").status, 200);
}

#[test]
fn half_requests_and_long_answers_end_well() {
    for idle in [Idle::Announce, Idle::Close] {
        let mut trial = Trial::start(|_| {});
        let (mut head, mut body, mut long) = (trial.connect(), trial.connect(), trial.connect());
        head.send("GET /ready HTTP/1.1\r\nHo");
        body.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc");
        long.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
        eventually("all have begun", || trial.word(REQUESTS) == 2 && trial.word(IDLE) == 0);
        trial.drain(LONG, idle, &[], false);
        eventually("it drains", || trial.word(STATE) == State::Draining as u64);
        idle_ones_are_closed_by_now();
        head.send("st: a\r\n\r\n");
        body.send("def");
        for client in [&mut head, &mut body] {
            let answer = client.answer();
            assert!(answer.status == 200 && answer.says_close(), "{answer:?}");
            client.ends();
        }
        assert_eq!(long.answer().body.len(), 8 << 20);
        drop((head, body, long));
        assert_eq!(trial.report(), Report::Leaving { cut: 0 });
        assert_eq!(trial.exit(), 0);
    }
}
