//! Requests and answers, keep-alive, bodies, counters.

use super::*;
use crate::scoreboard::layout::*;
use std::net::Shutdown;

#[test]
fn a_connection_is_kept_and_every_request_counted() {
    let trial = Trial::start(|_| {});
    let mut client = trial.connect();
    for _ in 0..50 {
        let answer = client.get("/");
        assert_eq!((answer.status, answer.body.as_str()), (200, "hello 3"));
        assert!(!answer.says_close());
        assert!(answer.head.contains("\r\ndate: "), "{}", answer.head);
    }
    assert_eq!(client.get("/ready").body, "ready\n");
    client.send("GET / HTTP/1.1\r\nno colon\r\n\r\n");
    assert_eq!(client.answer().status, 400);
    client.ends();
    drop(client);
    eventually("all is closed", || trial.word(CLOSED) == 1);
    let words = [ACCEPTED, REQUESTS, RESPONSES + 1, RESPONSES + 3, ERRORS, IN_FLIGHT, IDLE, ACTIVE, CUT];
    assert_eq!(words.map(|word| trial.word(word)), [1, 51, 51, 1, 1, 0, 0, 0, 0]);
    let timed: u64 = (0..LATENCY_BUCKETS).map(|bucket| trial.word(LATENCY + bucket)).sum();
    assert_eq!(timed, 51);
}

#[test]
fn bytes_are_counted_both_ways() {
    let trial = Trial::start(|_| {});
    let mut client = trial.connect();
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut received = 0;
    for _ in 0..10 {
        client.send(request);
        let answer = client.answer();
        received += answer.head.len() + answer.body.len();
    }
    assert_eq!(trial.word(BYTES_IN), 10 * request.len() as u64);
    // The answer may be here before its sender has counted it.
    eventually("all is counted", || trial.word(BYTES_OUT) == received as u64);
}

#[test]
fn an_idle_connection_shows_as_idle_and_serves_on() {
    let trial = Trial::start(|_| {});
    let mut clients: Vec<Client> = (0..20).map(|_| trial.connect()).collect();
    eventually("all are accepted", || trial.word(ACTIVE) == 20);
    assert_eq!(trial.word(IDLE), 20);
    for round in 1..=3 {
        for client in &mut clients {
            assert_eq!(client.get("/").status, 200);
        }
        eventually("all are parked again", || trial.word(IDLE) == 20);
        assert_eq!(trial.word(REQUESTS), 20 * round);
        assert_eq!(trial.word(IN_FLIGHT), 0);
    }
    let row = CONNECTIONS;
    assert_eq!(trial.word(row + C_REQUESTS), 3);
    assert_eq!(trial.word(row + C_KIND) & 0xffff, 1 | (Doing::Idle as u64) << 8);
    drop(clients);
    eventually("all are closed", || trial.word(ACTIVE) == 0 && trial.word(IDLE) == 0);
    assert_eq!(trial.word(row + C_KIND), 0);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let trial = Trial::start(|_| {});
    let mut client = trial.connect();
    let one = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut all = String::new();
    for _ in 0..40 {
        all += &(one("/") + &one("/slow")[..0] + &one("/ready"));
    }
    client.send(&all);
    for _ in 0..40 {
        assert_eq!(client.answer().body, "hello 3");
        assert_eq!(client.answer().body, "ready\n");
    }
    eventually("parked", || trial.word(IDLE) == 1);
    assert_eq!(trial.word(REQUESTS), 80);
}

#[test]
fn half_a_next_request_behind_a_whole_one_is_kept() {
    let trial = Trial::start(|_| {});
    let mut client = trial.connect();
    for split in 1..36 {
        let next = "GET /ready HTTP/1.1\r\nHost: a\r\n\r\n".to_owned() + &" ".repeat(0);
        let split = split.min(next.len() - 1);
        client.send(&format!("GET / HTTP/1.1\r\nHost: a\r\n\r\n{}", &next[..split]));
        assert_eq!(client.answer().body, "hello 3");
        client.send(&next[split..]);
        assert_eq!(client.answer().body, "ready\n");
    }
}

#[test]
fn head_and_http_1_0_are_understood() {
    let trial = Trial::start(|_| {});
    let mut client = trial.connect();
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut head = String::new();
    while !head.contains("hello 3") {
        client.more().unwrap();
        head = String::from_utf8(client.buffer.clone()).unwrap();
    }
    assert_eq!(head.matches("content-length: 7").count(), 2);
    assert_eq!(head.matches("hello 3").count(), 1);
    let mut old = trial.connect();
    old.send("GET / HTTP/1.0\r\n\r\n");
    assert!(old.answer().head.starts_with("HTTP/1.0 200"));
    old.ends();
    let mut old = trial.connect();
    for _ in 0..2 {
        old.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert!(old.answer().head.contains("keep-alive"));
    }
}

#[test]
fn exactly_one_valid_host_is_required() {
    let trial = Trial::start(|_| {});
    for hosts in ["", "Host: a\r\nHost: a\r\n", "Host: a b\r\n", "Host: a/b\r\n", "Host: u@a\r\n"] {
        let mut client = trial.connect();
        client.send(&format!("GET / HTTP/1.1\r\n{hosts}\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = client.answer();
        assert!(answer.status == 400 && answer.says_close(), "{hosts:?}: {answer:?}");
        client.ends();
    }
    let mut client = trial.connect();
    for host in ["a", "a:80", "[::1]:80", "a-b.example", "127.0.0.1", ""] {
        client.send(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(client.answer().status, 200, "{host:?}");
    }
    client.send("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(client.answer().status, 400);
    client.ends();
}

#[test]
fn who_sends_fin_after_a_request_still_gets_the_answer() {
    let trial = Trial::start(|_| {});
    for path in ["/", "/slow"] {
        let mut client = trial.connect();
        client.send(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client.stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.answer().status, 200, "{path}");
        client.ends();
    }
    eventually("all is closed", || trial.word(CLOSED) == 2);
    assert_eq!(trial.word(ERRORS), 0);
}

#[test]
fn bodies_are_read_up_to_the_limit() {
    let trial = Trial::start(|_| {});
    let mut client = trial.connect();
    for length in [1, 5000, 100_000] {
        let body = "b".repeat(length);
        client.send(&format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"));
        assert_eq!(client.answer().body, "hello 3");
    }
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_eq!(client.answer().status, 100);
    client.send("abc");
    assert_eq!(client.answer().status, 200);
}

#[test]
fn a_body_over_the_limit_gets_413_and_no_reset() {
    let trial = Trial::start(|_| {});
    let mut announced = trial.connect();
    announced.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100001\r\n\r\n");
    announced.send(&"b".repeat(100_001));
    let answer = announced.answer();
    assert!(answer.status == 413 && answer.says_close(), "{answer:?}");
    announced.ends();
    let mut chunked = trial.connect();
    chunked.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..30 {
        chunked.send(&format!("1000\r\n{}\r\n", "c".repeat(4096)));
    }
    let answer = chunked.answer();
    assert!(answer.status == 413 && answer.says_close(), "{answer:?}");
    chunked.ends();
    assert_eq!(trial.word(RESPONSES + 3), 2);
}

#[test]
fn a_slow_reader_gets_every_byte() {
    let trial = Trial::start(|_| {});
    let mut client = trial.connect();
    client.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    // Larger than what the sockets hold: it is in the middle when the reading begins.
    eventually("it has written what there is room for", || trial.word(BYTES_OUT) > 0);
    assert_eq!(client.answer().body.len(), 8 << 20);
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn a_panic_costs_its_connection_only() {
    let trial = Trial::start(|_| {});
    let mut bystander = trial.connect();
    assert_eq!(bystander.get("/").status, 200);
    let mut victim = trial.connect();
    victim.send("GET /panic-in-the-service HTTP/1.1\r\nHost: a\r\n\r\n");
    victim.ends();
    assert_eq!(bystander.get("/").status, 200);
    eventually("the books are closed", || trial.word(IN_FLIGHT) == 0);
    assert_eq!((trial.word(ERRORS), trial.word(ACTIVE)), (1, 1));
    let line = trial.log().lines().find(|line| line.contains("panic")).map(str::to_owned).unwrap_or_default();
    assert!(line.contains("127.0.0.1:"), "{line}");
}

#[test]
fn the_status_route_asks_the_master_once() {
    let trial = Trial::start(|_| {});
    let mut clients: Vec<Client> = (0..5).map(|_| trial.connect()).collect();
    for client in &mut clients {
        client.send("GET /status HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    assert_eq!(trial.report(), Report::StatusWanted);
    eventually("all are asked", || trial.word(REQUESTS) == 5);
    let document = shm::sealed_bytes("masterd-test-status", b"{\"version\":\"x\"}").unwrap();
    trial.order(&Order::Status, &[document.as_fd()]);
    for client in &mut clients {
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.as_str()), (200, "{\"version\":\"x\"}"));
        assert!(answer.head.contains("application/json"));
    }
    // Nobody answers the second question, which is asked when the answer is no longer fresh.
    eventually("it has aged", || clients[0].get("/status").status == 503);
    assert_eq!(trial.report(), Report::StatusWanted);
}

#[test]
fn who_breaks_off_leaves_nothing_behind() {
    let trial = Trial::start(|_| {});
    let beginnings = [
        "GET / HT",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /big HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    for text in beginnings {
        let before = [BYTES_IN, BYTES_OUT].map(|word| trial.word(word));
        let mut client = trial.connect();
        client.send(text);
        eventually("it is read", || trial.word(BYTES_IN) > before[0]);
        if text.starts_with("PRI") {
            // Whoever goes before a word of the answer is there has not broken off anything.
            eventually("it is answered", || trial.word(BYTES_OUT) > before[1]);
        }
    }
    eventually("all are closed", || trial.word(CLOSED) == beginnings.len() as u64);
    let gauges = [ACTIVE, IDLE, IN_FLIGHT].map(|word| trial.word(word));
    assert_eq!(gauges, [0, 0, 0]);
    assert_eq!(trial.word(ERRORS), beginnings.len() as u64);
}
