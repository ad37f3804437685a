//! Races between a close of ours and a request of theirs: nobody may meet a reset.

use super::*;
use crate::scoreboard::layout::IDLE;
use crate::sys::net::Peer;
use crate::worker::conns::Conns;
use crate::worker::engine::Handle;
use crate::worker::engine::helpers::Helpers;
use crate::worker::engine::reactor::Reactor;
use crate::worker::engine::task::Tasks;
use crate::worker::http::routes::{Means, Tokens};
use crate::worker::lists::List;
use crate::worker::moves::Retired;
use crate::worker::opening::Door;
use crate::worker::service::Service;
use crate::worker::shared::Shared;
use std::net::TcpListener;
use std::rc::Rc;

/// Opens connections, uses each once, and then sends a second request while the drain closes them.
/// Each must be answered or find a clean end, never a reset or half an answer; what is still on its way
/// when the grace is over, because the machine is busy, is cut then.
fn race(rounds: usize, idle: Idle, final_stop: bool, grace: Duration) {
    const CLIENTS: usize = 250;
    let (mut answered, mut ended) = (0, 0);
    for round in 0..rounds {
        let mut trial = Trial::start(|_| {});
        let mut clients: Vec<Client> = (0..CLIENTS).map(|_| trial.connect()).collect();
        for client in &mut clients {
            assert_eq!(client.get("/").status, 200);
        }
        let begun = Instant::now();
        trial.drain(grace, idle, &[], final_stop);
        for (nth, client) in clients.iter_mut().enumerate() {
            if nth % 25 == 0 {
                std::thread::sleep(Duration::from_millis(1 + (round as u64 * 37 + nth as u64 / 3) % 100));
            }
            // A write may find the worker gone after the client has seen its FIN: not a lost request.
            client.stream.set_nonblocking(true).unwrap();
            let over = matches!(client.stream.peek(&mut [0]), Ok(0));
            client.stream.set_nonblocking(false).unwrap();
            if over {
                ended += 1;
                continue;
            }
            client.send("GET /ready HTTP/1.1\r\nHost: a\r\n\r\n");
            match client.try_answer() {
                Ok(Some(answer)) => {
                    assert!(answer.status == 200 && answer.says_close(), "{answer:?}");
                    answered += 1;
                }
                Ok(None) => ended += 1,
                Err(_) if begun.elapsed() >= grace => ended += 1,
                Err(e) => panic!("round {round}, client {nth}: {e}"),
            }
        }
        drop(clients);
        assert_eq!(trial.exit(), 0);
    }
    assert_eq!(answered + ended, rounds * CLIENTS);
    assert!(answered > 0);
}

#[test]
fn close_races_with_requests() {
    race(8, Idle::Close, false, Duration::from_secs(10));
}

#[test]
fn final_stop_races_with_requests() {
    race(4, Idle::Announce, true, Duration::from_secs(10));
}

#[test]
fn the_end_of_the_grace_races_with_requests() {
    race(4, Idle::Announce, false, Duration::from_millis(1200));
}

#[test]
fn an_announcement_loses_no_request_at_all() {
    let mut trial = Trial::start(|_| {});
    let mut clients: Vec<Client> = (0..1000).map(|_| trial.connect()).collect();
    let (first, second) = clients.split_at_mut(500);
    for client in first.iter_mut() {
        assert_eq!(client.get("/").status, 200);
    }
    trial.drain(Duration::from_secs(100), Idle::Announce, &[], false);
    for client in first.iter_mut().chain(second) {
        let answer = client.get("/ready");
        assert!(answer.status == 200 && answer.says_close(), "{answer:?}");
        client.ends();
    }
    drop(clients);
    assert_eq!(trial.exit(), 0);
}

/// Connections without a loop: what happens between two events is up to the test.
pub fn still_life() -> (Conns, TcpStream, usize) {
    let slot = shm::create("masterd-test-slot", WORDS, &[MAGIC, VERSION]).unwrap();
    let reactor = Reactor::new().unwrap();
    let handle = Rc::new(Handle::new(reactor.registry()).unwrap());
    let tasks = Tasks::new(reactor.registry()).unwrap();
    let log = slog::Logger::root(slog::Discard, slog::o!());
    let tokens = Tokens { pid: 1, generation: 1, seat: 1 };
    let helpers = Rc::new(Helpers::new());
    let means = Means { tokens, engine: handle.clone(), helpers, log: log.clone() };
    let shared = Rc::new(Shared::new(handle, Slot::map(slot.as_fd()).unwrap(), log, None));
    let mut conns = Conns::new(
        reactor,
        tasks,
        shared,
        Service::new(&service().kind, &means).unwrap(),
        vec![Door::default()],
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    accepted.set_nonblocking(true).unwrap();
    conns.admit(accepted.into(), Peer::Unix, 0).unwrap();
    let key = conns.lists.first(List::New).unwrap();
    (conns, client, key)
}

#[test]
fn a_request_that_came_unseen_before_the_close_is_served() {
    let (mut conns, mut client, key) = still_life();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(conns.retire(key), Retired::Served);
    assert_eq!((conns.busy().len(), conns.parked()), (1, 0));
    run(&mut conns);
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert_eq!(conns.busy().len(), 0);
}

fn run(conns: &mut Conns) {
    for id in conns.tasks.take_ready() {
        if let Some((key, end)) = conns.tasks.poll(id) {
            conns.finish(key, end);
        }
    }
}

#[test]
fn an_idle_connection_keeps_hyper_until_it_is_chilled_and_counts_as_idle_throughout() {
    let (mut conns, mut client, key) = still_life();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    conns.retire(key);
    run(&mut conns);
    let now = conns.shared.engine.now();
    assert_eq!((conns.parked(), conns.shared.slot.get(IDLE)), (0, 1), "warm");
    conns.chill(now - Duration::from_secs(1));
    run(&mut conns);
    assert_eq!((conns.parked(), conns.shared.slot.get(IDLE)), (0, 1), "not idle long enough");
    conns.chill(now);
    run(&mut conns);
    assert_eq!((conns.parked(), conns.shared.slot.get(IDLE)), (1, 1), "parked");
    conns.close(key);
    assert_eq!(conns.shared.slot.get(IDLE), 0);
}

#[test]
fn half_a_head_on_a_warm_connection_is_carried_over_and_no_longer_idle() {
    let (mut conns, mut client, key) = still_life();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT").unwrap();
    conns.retire(key);
    run(&mut conns);
    conns.chill(conns.shared.engine.now());
    run(&mut conns);
    run(&mut conns);
    assert_eq!((conns.parked(), conns.busy().len(), conns.shared.slot.get(IDLE)), (0, 1, 0));
    assert!(conns.talk(key).unwrap().waits_for_head().is_some());
}

#[test]
fn a_client_that_has_sent_its_fin_is_not_kept_warm() {
    let (mut conns, mut client, key) = still_life();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    conns.retire(key);
    run(&mut conns);
    assert_eq!(conns.open(), 0, "closed in the turn of its answer");
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_worker_that_drains_keeps_no_idle_connection_warm() {
    let (mut conns, mut client, key) = still_life();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n").unwrap();
    conns.shared.draining.set(true);
    conns.retire(key);
    run(&mut conns);
    run(&mut conns);
    assert!(conns.talk(key).is_none_or(|talk| talk.warm_since().is_none()));
}

#[test]
fn a_request_that_comes_after_our_fin_meets_no_reset() {
    let (mut conns, mut client, key) = still_life();
    assert_eq!(conns.retire(key), Retired::Yes);
    assert_eq!((conns.open(), conns.parked(), conns.lists.len(List::Lingering)), (1, 0, 1));
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut seen = false;
    while !seen && Instant::now() < deadline {
        let batch = conns.reactor.wait(Duration::from_millis(100)).unwrap();
        seen = batch.iter().any(|ready| ready.key == key);
        batch.iter().for_each(|ready| conns.event(ready));
        conns.reactor.done(batch);
    }
    assert!(seen && conns.open() == 1);
    assert_eq!(client.read(&mut [0; 10]).unwrap(), 0);
    drop(client);
    while conns.open() > 0 && Instant::now() < deadline {
        let batch = conns.reactor.wait(Duration::from_millis(100)).unwrap();
        batch.iter().for_each(|ready| conns.event(ready));
        conns.reactor.done(batch);
    }
    assert_eq!(conns.open(), 0);
}

#[test]
fn a_request_with_a_body_and_its_fin_in_one_piece_is_answered() {
    for request in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        let (mut conns, mut client, key) = still_life();
        client.write_all(request.as_bytes()).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        conns.retire(key);
        for _ in 0..5 {
            run(&mut conns);
        }
        assert_eq!(conns.open(), 0);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}
