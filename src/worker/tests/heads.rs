//! Requests that come in pieces, or not at all.

use super::*;
use crate::scoreboard::layout::*;

#[test]
fn a_head_may_be_split_anywhere() {
    let trial = Trial::start(|_| {});
    let request = "GET /x?y=1 HTTP/1.1\r\nHost: a.example\r\nX-Long: 0123456789\r\n\r\n";
    let mut client = trial.connect();
    for split in 1..request.len() {
        let before = trial.word(BYTES_IN);
        client.send(&request[..split]);
        eventually("the first half is read", || trial.word(BYTES_IN) == before + split as u64);
        client.send(&request[split..]);
        assert_eq!(client.answer().body, "hello 3", "split at {split}");
    }
    assert_eq!(trial.word(REQUESTS), request.len() as u64 - 1);
}

#[test]
fn a_head_that_trickles_gets_408_at_its_first_deadline() {
    let trial = Trial::start(|service| http(service).header_timeout = Duration::from_millis(600));
    for warm in [false, true] {
        let mut client = trial.connect();
        if warm {
            assert_eq!(client.get("/").status, 200);
        }
        let started = Instant::now();
        client.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        client.send("GET / HTTP/1.1\r\nX: ");
        let answer = loop {
            assert!(started.elapsed() < PATIENCE, "no answer");
            match client.try_answer() {
                Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock, "{e}"),
                Ok(answer) => break answer.expect("408"),
            }
            let _ = client.stream.write_all(b"x");
        };
        assert!(answer.status == 408 && answer.says_close(), "{answer:?}");
        let took = started.elapsed();
        assert!(took >= Duration::from_millis(600) && took < PATIENCE, "{took:?}");
    }
    assert_eq!((trial.word(ERRORS), trial.word(RESPONSES + 3)), (2, 2));
}

#[test]
fn who_says_nothing_is_let_go_without_a_word() {
    let trial = Trial::start(|service| {
        http(service).header_timeout = Duration::from_millis(300);
        http(service).keep_alive = Duration::from_millis(300);
    });
    let mut silent = trial.connect();
    let mut idle = trial.connect();
    assert_eq!(idle.get("/").status, 200);
    silent.ends();
    idle.ends();
    drop((silent, idle));
    eventually("both are closed", || trial.word(CLOSED) == 2);
    assert_eq!((trial.word(ERRORS), trial.word(CUT)), (0, 0));
}

#[test]
fn a_silent_body_gets_408_and_a_talking_one_does_not() {
    let trial = Trial::start(|service| http(service).body_timeout = Duration::from_secs(2));
    let head = |length: usize| format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    let mut left = 50_000;
    let mut talking = trial.connect();
    // It begins first and ends last: the other's deadline comes while it is at it.
    talking.send(&head(left));
    eventually("it is read", || trial.word(REQUESTS) == 1);
    let mut silent = trial.connect();
    silent.send(&(head(8) + "abc"));
    eventually("the silent one is answered", || {
        talking.send("x");
        left -= 1;
        trial.word(RESPONSES + 3) == 1
    });
    assert_eq!(silent.answer().status, 408);
    silent.ends();
    talking.send(&"x".repeat(left));
    assert_eq!(talking.answer().status, 200);
}

#[test]
fn who_does_not_read_is_closed() {
    let trial = Trial::start(|service| http(service).write_timeout = Duration::from_millis(300));
    let mut client = trial.connect();
    client.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it is closed", || trial.word(CLOSED) == 1);
    assert_eq!((trial.word(ERRORS), trial.word(IN_FLIGHT)), (1, 0));
}

#[test]
fn a_head_too_large_gets_431() {
    let trial = Trial::start(|_| {});
    let mut client = trial.connect();
    client.send(&format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(9000)));
    assert_eq!(client.answer().status, 431);
    client.ends();
    assert_eq!((trial.word(ERRORS), trial.word(RESPONSES + 3)), (1, 1));
}
