//! Listeners: limits, last calls, rescues.

use super::*;
use crate::scoreboard::layout::*;
use crate::worker::accept::{Acceptor, Offer, Owner};
use crate::worker::conns::Conns;
use crate::worker::engine::reactor::Ready;
use std::os::unix::net::{UnixListener, UnixStream};

#[test]
fn at_the_limit_the_queue_waits_and_nobody_is_refused() {
    let trial = Trial::start(|service| service.connections = 4);
    let mut inside: Vec<Client> = (0..4).map(|_| trial.connect()).collect();
    eventually("it is full", || trial.word(ACTIVE) == 4);
    let mut waiting: Vec<Client> = (0..4).map(|_| trial.connect()).collect();
    for client in &mut waiting {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    eventually("the flag is up", || trial.word(FLAGS) == FULL);
    for client in &mut inside {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(trial.word(ACCEPTED), 4);
    drop(inside);
    for client in &mut waiting {
        assert_eq!(client.answer().status, 200);
    }
    drop(waiting);
    eventually("all is over", || trial.word(ACTIVE) == 0 && trial.word(FLAGS) == 0);
    assert_eq!(trial.word(ACCEPTED), 8);
}

#[test]
fn a_shared_listener_is_served_too() {
    let trial = Trial::start(|service| service.listen[0] = tcp_listen(Accept::Shared));
    for _ in 0..100 {
        assert_eq!(trial.connect().get("/").status, 200);
    }
    let mut clients: Vec<Client> = (0..100).map(|_| trial.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
}

#[test]
fn a_last_call_serves_the_queue_until_it_stays_empty() {
    for accept in [Accept::PerWorker, Accept::Shared] {
        let mut trial = Trial::start(|service| service.listen[0] = tcp_listen(accept));
        trial.drain(Duration::from_secs(100), Idle::Announce, &[0], false);
        eventually("it drains", || trial.word(STATE) == State::Draining as u64);
        // Clients come all the time, for longer than the second after which a last call ends.
        let begun = Instant::now();
        let mut last = begun;
        while begun.elapsed() < Duration::from_millis(1500) {
            let mut client = trial.connect();
            last = Instant::now();
            assert!(client.get("/").says_close());
            client.ends();
        }
        assert_eq!(trial.report(), Report::Closed { rites: None });
        let quiet = last.elapsed();
        assert!(quiet > Duration::from_millis(950), "{quiet:?}");
        assert_eq!(trial.report(), Report::Leaving { cut: 0 });
        assert_eq!(trial.exit(), 0);
    }
}

/// What a config said of some listeners, as it comes with their rites.
fn described(listeners: &[Listen]) -> OwnedFd {
    shm::sealed_bytes("masterd-test-rites", &serde_json::to_vec(listeners).unwrap()).unwrap()
}

#[test]
fn last_rites_are_given_by_the_settings_that_were_said_last() {
    let trial = Trial::start(|_| {});
    // The service's own listener is a plain one; of the two that are gone one wants a header.
    let ((plain, to_plain), (proxied, to_proxied)) = (listener(), listener());
    let said = [false, true].map(|proxy_protocol| Listen { proxy_protocol, ..tcp_listen(Accept::Shared) });
    let (mut first, mut second, mut third) =
        (Client::to(to_plain), Client::to(to_proxied), Client::to(to_proxied));
    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    second.send("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    third.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let fds = described(&said);
    let order = Order::LastRites { id: 7, described: true };
    trial.order(&order, &[plain.as_fd(), proxied.as_fd(), fds.as_fd()]);
    assert_eq!((first.answer().status, second.answer().status), (200, 200));
    third.ends();
    assert_eq!(trial.report(), Report::Closed { rites: Some(7) });
    // What can't be understood is not guessed at.
    let (other, _) = listener();
    let nonsense = shm::sealed_bytes("masterd-test-rites", b"[{}]").unwrap();
    trial.order(&Order::LastRites { id: 8, described: true }, &[other.as_fd(), nonsense.as_fd()]);
    assert_eq!(trial.report(), Report::Closed { rites: Some(8) });
    // Nor is a listener that is none of the service's.
    let folder = crate::sys::testing::Folder::new();
    let unix = UnixListener::bind(folder.join("none")).unwrap();
    unix.set_nonblocking(true).unwrap();
    trial.order(&Order::LastRites { id: 9, described: false }, &[unix.as_fd()]);
    assert_eq!(trial.report(), Report::Closed { rites: Some(9) });
}

#[test]
fn last_rites_come_to_a_draining_worker() {
    let mut trial = Trial::start(|_| {});
    let mut keeps = trial.connect();
    assert_eq!(keeps.get("/").status, 200);
    trial.drain(Duration::from_secs(20), Idle::Announce, &[], false);
    let (other, address) = listener();
    let mut queued = Client::to(address);
    queued.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let folder = std::env::temp_dir().join(format!("masterd-test-rites-{}", std::process::id()));
    let _ = std::fs::remove_file(&folder);
    let unix = UnixListener::bind(&folder).unwrap();
    unix.set_nonblocking(true).unwrap();
    let mut local = UnixStream::connect(&folder).unwrap();
    std::fs::remove_file(&folder).unwrap();
    local.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut listen = tcp_listen(Accept::Shared);
    let first = listen.clone();
    listen.address = Address::Unix(folder.clone());
    let described = described(&[first, listen]);
    let fds = [other.as_fd(), unix.as_fd(), described.as_fd()];
    trial.order(&Order::LastRites { id: 42, described: true }, &fds);
    drop((other, unix));
    assert!(queued.answer().says_close());
    let mut text = String::new();
    local.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("hello 3"), "{text}");
    assert_eq!(trial.report(), Report::Closed { rites: Some(42) });
    assert!(keeps.get("/").says_close());
    drop(keeps);
    assert_eq!(trial.report(), Report::Leaving { cut: 0 });
    assert_eq!(trial.exit(), 0);
}

#[test]
fn a_sibling_in_trouble_is_helped_until_it_recovers() {
    let trial = Trial::start(|_| {});
    let (other, address) = listener();
    let mut queued: Vec<Client> = (0..200).map(|_| Client::to(address)).collect();
    trial.order(&Order::Rescue { seat: Seat(1) }, &[other.as_fd()]);
    for client in &mut queued {
        assert_eq!(client.get("/").body, "hello 3");
    }
    trial.order(&Order::EndRescue { seat: Seat(1) }, &[]);
    // Orders are obeyed in their order: once this one is, the other has been.
    trial.order(&Order::Readiness { ready: false }, &[]);
    eventually("obeyed", || queued[0].get("/ready").status == 503);
    let accepted = trial.word(ACCEPTED);
    let mut late = Client::to(address);
    late.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    for _ in 0..20 {
        assert_eq!(trial.connect().get("/").status, 200);
    }
    assert_eq!(trial.word(ACCEPTED), accepted + 20);
    // The sibling's queue has it still.
    let (fd, _) = crate::sys::net::accept(other.as_fd()).unwrap();
    drop(fd);
}

/// An acceptor without a loop, and a shared listener of its own.
fn shared_listener(limit: usize) -> (Conns, Acceptor, OwnedFd, SocketAddr) {
    let (mut conns, _client, key) = closing::still_life();
    conns.close(key);
    let (fd, address) = listener();
    let mut acceptor = Acceptor::new(limit, 100);
    acceptor.add(&mut conns, shared_offer(&fd)).unwrap();
    (conns, acceptor, fd, address)
}

fn shared_offer(fd: &OwnedFd) -> Offer {
    let fd = fd.try_clone().unwrap();
    Offer { fd, owner: Owner::Own, index: 0, exclusive: true, tcp: true, last_call: false }
}

#[test]
fn an_order_before_the_event_in_one_batch_strands_no_connection() {
    let (mut conns, mut acceptor, fd, address) = shared_listener(10);
    let _client = TcpStream::connect(address).unwrap();
    let now = conns.shared.engine.now();
    acceptor.last_call(&mut conns, &[], now);
    assert_eq!((conns.open(), acceptor.any()), (1, false));
    assert_eq!(crate::sys::net::accept(fd.as_fd()).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn the_connection_that_fills_a_worker_is_the_last_it_is_woken_for() {
    let (mut conns, mut acceptor, fd, address) = shared_listener(1);
    let _clients = [TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap()];
    let now = conns.shared.engine.now();
    acceptor.event(0, &readable());
    acceptor.turn(&mut conns, now);
    assert_eq!((conns.open(), conns.shared.slot.get(FLAGS)), (1, FULL));
    // Not watched any more: the second one wakes somebody else.
    let batch = conns.reactor.wait(Duration::ZERO).unwrap();
    assert!(batch.is_empty(), "{batch:?}");
    crate::sys::net::accept(fd.as_fd()).unwrap();
}

#[test]
fn a_wake_up_met_at_the_limit_is_answered_all_the_same() {
    let (mut conns, mut acceptor, first, address) = shared_listener(1);
    let (second, other) = listener();
    acceptor.add(&mut conns, shared_offer(&second)).unwrap();
    let _clients = [address, address, other, other].map(|to| TcpStream::connect(to).unwrap());
    let now = conns.shared.engine.now();
    acceptor.event(0, &readable());
    acceptor.event(1, &readable());
    acceptor.turn(&mut conns, now);
    assert_eq!((conns.open(), conns.shared.slot.get(FLAGS)), (2, FULL));
    for fd in [first, second] {
        crate::sys::net::accept(fd.as_fd()).expect("one is left to the siblings");
    }
}

#[test]
fn a_last_call_at_the_limit_takes_what_waits_in_the_queue() {
    let mut trial = Trial::start(|service| service.connections = 1);
    let mut inside = trial.connect();
    assert_eq!(inside.get("/").status, 200);
    let mut waiting: Vec<Client> = (0..3).map(|_| trial.connect()).collect();
    eventually("the flag is up", || trial.word(FLAGS) == FULL);
    trial.drain(Duration::from_secs(20), Idle::Announce, &[0], false);
    for client in &mut waiting {
        assert!(client.get("/").says_close());
    }
    // Listeners of a dead sibling too.
    let (other, address) = listener();
    let mut queued = Client::to(address);
    trial.order(&Order::LastRites { id: 5, described: false }, &[other.as_fd()]);
    assert_eq!(queued.get("/").status, 200);
    drop((inside, waiting, queued));
    assert_eq!(trial.exit(), 0);
}

#[test]
fn last_rites_at_the_limit_are_given_while_serving() {
    let trial = Trial::start(|service| service.connections = 1);
    let mut inside = trial.connect();
    assert_eq!(inside.get("/").status, 200);
    let _waiting = trial.connect();
    eventually("the flag is up", || trial.word(FLAGS) == FULL);
    let (other, address) = listener();
    let mut queued = Client::to(address);
    trial.order(&Order::LastRites { id: 5, described: false }, &[other.as_fd()]);
    assert_eq!(queued.get("/").status, 200);
    assert_eq!(trial.report(), Report::Closed { rites: Some(5) });
}

#[test]
fn last_rites_that_can_not_be_given_are_over() {
    let trial = Trial::start(|_| {});
    trial.order(&Order::LastRites { id: 9, described: false }, &[]);
    assert_eq!(trial.report(), Report::Closed { rites: Some(9) });
    // epoll watches no plain file.
    trial.order(&Order::LastRites { id: 10, described: false }, &[trial.log.as_fd()]);
    assert_eq!(trial.report(), Report::Closed { rites: Some(10) });
}

#[test]
fn a_broken_listener_does_not_hold_up_the_others() {
    let (mut conns, mut acceptor, broken, _) = shared_listener(10);
    let (sound, address) = listener();
    acceptor.add(&mut conns, shared_offer(&sound)).unwrap();
    let _client = TcpStream::connect(address).unwrap();
    // Whoever shares a listener can do this to it.
    TcpStream::from(broken).shutdown(std::net::Shutdown::Read).unwrap();
    let now = conns.shared.engine.now();
    acceptor.event(0, &readable());
    acceptor.event(1, &readable());
    acceptor.turn(&mut conns, now);
    assert_eq!((conns.open(), conns.shared.slot.get(FLAGS)), (1, 0));
    assert!(acceptor.any() && acceptor.next_due().is_none());
}

#[test]
fn a_listener_in_blocking_mode_is_left_to_whoever_waits_in_it() {
    let (mut conns, mut acceptor, _, _) = shared_listener(10);
    let (fd, address) = listener();
    let mode = |on| crate::sys::listen::set_nonblocking(fd.as_fd(), on).unwrap();
    mode(false);
    acceptor.add(&mut conns, shared_offer(&fd)).unwrap();
    let _clients = [address, address].map(|to| TcpStream::connect(to).unwrap());
    let look = |conns: &mut Conns, acceptor: &mut Acceptor, at: u64| {
        let woken = !conns.reactor.wait(Duration::ZERO).unwrap().is_empty();
        if woken {
            acceptor.event(1, &readable());
        }
        acceptor.turn(conns, conns.shared.engine.now() + Duration::from_secs(at));
        (woken, conns.open())
    };
    assert_eq!(look(&mut conns, &mut acceptor, 1), (false, 0), "not even its wake-ups");
    assert!(acceptor.next_due().is_some() && !acceptor.any_more());
    mode(true);
    assert_eq!(look(&mut conns, &mut acceptor, 2), (false, 0), "seen, and watched from now on");
    assert_eq!(look(&mut conns, &mut acceptor, 3), (true, 1));
    // Who had it before changes its mind once more: a wake-up does not make us wait.
    mode(false);
    assert_eq!(look(&mut conns, &mut acceptor, 4), (true, 1));
    assert_eq!(look(&mut conns, &mut acceptor, 5), (false, 1));
    mode(true);
    look(&mut conns, &mut acceptor, 6);
    assert_eq!(look(&mut conns, &mut acceptor, 7), (true, 2));
}

fn readable() -> Ready {
    Ready { key: 0, readable: true, writable: false, read_closed: false, broken: false, failed: false }
}
