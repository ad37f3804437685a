//! How a master stops: what is in flight ends, what waits is served, and nothing is left.

use super::harness::*;
use super::meddle::{freeze, send};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// From the order to stop to the end, by the master's own log.
#[track_caller]
fn took(master: &Master) -> Duration {
    master.between("event=stopping", "masterd leaves")
}

/// QUIT when nothing is in flight: gone within 3 s.
#[test]
fn a_stop_with_nothing_in_flight_is_short() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().text());
    let said = master.cli(&["stop"]).expect(0);
    assert!(said.stdout.contains("stopped"), "{said:?}");
    master.wait_exit(0, SOON);
    let took = took(&master);
    assert!(took < 3 * SECOND, "it took {took:?}");
    master.finish();
}

#[test]
fn a_request_in_flight_is_answered_by_a_graceful_stop() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().slow("3s").text());
    let address = master.address();
    let mut slow: Vec<Conn> = (0..6).map(|_| Conn::open(&address).unwrap()).collect();
    slow.iter_mut().for_each(|conn| conn.ask("/slow").unwrap());
    let mut post = Conn::open(&address).unwrap();
    post.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf ").unwrap();
    wait_in_flight(&master, 7);
    master.signal(Signal::SIGQUIT);
    wait_until("the port refuses", SOON, || matches!(get_soon(&address), Err(Lost::Connect(_))));
    assert!(master.runs(), "it waits for what is in flight");
    post.send(b"done!").unwrap();
    for conn in slow.iter_mut().chain([&mut post]) {
        let answer = conn.receive().expect("an answer");
        assert_eq!(answer.status, 200);
        assert!(answer.closes(), "it says that it closes: {answer:?}");
        assert!(conn.closed_within(SOON), "and closes in good order");
    }
    master.wait_exit(0, SOON);
    assert!(!master.log().contains("  cut off "), "{}", master.log());
    master.finish();
}

/// A request with little patience: a fenced port does not even refuse, it is silent.
fn get_soon(address: &str) -> Result<Response, Lost> {
    let socket: std::net::SocketAddr = address.parse().unwrap();
    match std::net::TcpStream::connect_timeout(&socket, Duration::from_millis(200)) {
        Ok(_) => get(address, "/"),
        Err(e) => Err(Lost::Connect(e)),
    }
}

fn wait_in_flight(master: &Master, count: u64) {
    master.wait_status(&format!("{count} requests are in flight"), SOON, |s| {
        s.services.iter().flat_map(|s| &s.workers).map(|w| w.in_flight).sum::<u64>() == count
    });
}

#[test]
fn what_waits_in_the_queue_when_a_stop_begins_is_served() {
    let place = Place::new();
    let listen = ["\"127.0.0.1:0\"", "{ address = \"unix:web.sock\", name = \"file\" }"];
    for accept in ["per-worker", "shared"] {
        let tcp = format!("{{ address = \"127.0.0.1:0\", accept = \"{accept}\" }}");
        let master = Master::start(&place, &Web::new().listen_raw(&[&tcp, listen[1]]).text());
        let (address, file) = (master.address(), master.address_of("file"));
        let pids = master.ready_pids("web");
        pids.iter().for_each(|pid| freeze(*pid));
        let mut waiting: Vec<Conn> =
            [&address, &file].iter().flat_map(|a| (0..10).map(|_| Conn::open(a).unwrap())).collect();
        waiting.iter_mut().for_each(|conn| conn.ask("/").unwrap());
        master.signal(Signal::SIGQUIT);
        // When they go on they find the connections and the order to let go of the listeners at once.
        let told = || master.log().matches("  worker of generation 1 drains, ").count() == 2;
        wait_until("both workers have the order", SOON, told);
        pids.iter().for_each(|pid| send(*pid, Signal::SIGCONT));
        for conn in &mut waiting {
            assert_eq!(conn.receive().expect(accept).status, 200);
        }
        drop(waiting);
        master.wait_exit(0, SOON);
        master.finish();
    }
}

#[test]
fn idle_clients_are_told_and_then_let_go() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().text());
    let address = master.address();
    let mut idle: Vec<Conn> = (0..20).map(|_| Conn::open(&address).unwrap()).collect();
    for conn in &mut idle {
        assert!(!conn.get("/").unwrap().closes());
    }
    master.signal(Signal::SIGQUIT);
    let told = || master.log().matches("  draining (stop): ").count() == 2;
    wait_until("both workers know", SOON, told);
    // Within the second: together, and who comes too late because the machine is busy sees it first.
    let (asks, _) = idle.split_at_mut(10);
    let mut asks: Vec<&mut Conn> =
        asks.iter_mut().filter_map(|conn| conn.unasked().is_none().then_some(conn)).collect();
    asks.iter_mut().for_each(|conn| conn.ask("/").unwrap());
    assert!(!asks.is_empty(), "not one was open when both workers had said that they drain");
    for conn in asks {
        let answer = conn.receive().expect("the request after the announcement is answered");
        assert!(answer.closes(), "{answer:?}");
        assert!(conn.closed_within(SOON));
    }
    for conn in &mut idle[10..] {
        assert!(conn.closed_within(SOON), "closed in good order, without a byte");
    }
    drop(idle);
    master.wait_exit(0, SOON);
    let took = took(&master);
    assert!(took < 5 * SECOND, "it took {took:?}");
    assert!(!master.log().contains("  cut off "), "{}", master.log());
    master.finish();
}

#[test]
fn readiness_fails_first_while_new_connections_are_still_welcome() {
    let place = Place::new();
    let web = Web::new().service("drain = { delay = \"5s\" }");
    let master = Master::start(&place, &web.text());
    let address = master.address();
    assert_eq!(get(&address, "/readyz").unwrap().status, 200);
    let mut kept = Conn::open(&address).unwrap();
    assert!(!kept.get("/").unwrap().closes());
    let begun = Instant::now();
    master.signal(Signal::SIGQUIT);
    wait_until("readiness fails", SOON, || get(&address, "/readyz").unwrap().status == 503);
    for _ in 0..5 {
        assert_eq!(get(&address, "/").expect("new connections are welcome").status, 200);
        assert_eq!(get(&address, "/healthz").unwrap().status, 200, "it lives");
        assert!(!kept.get("/").expect("and old ones stay").closes());
    }
    wait_until("accepting ends", SOON, || matches!(get_soon(&address), Err(Lost::Connect(_))));
    assert!(begun.elapsed() >= 5 * SECOND, "not before the delay is over: {:?}", begun.elapsed());
    drop(kept);
    master.wait_exit(0, SOON);
    master.finish();
}

#[test]
fn the_deadline_cuts_clients_that_never_end_and_counts_them() {
    let place = Place::new();
    let big = "x".repeat(500_000);
    let web = Web::new()
        .workers(1)
        .service("drain = { grace = \"1500ms\" }")
        .route("/big", &format!("respond = {{ body = \"{big}\" }}"));
    let master = Master::start(&place, &web.text());
    let address = master.address();
    let mut deaf = Conn::open(&address).unwrap();
    // More than both sides' buffers hold, and it never reads.
    (0..30).for_each(|_| deaf.ask("/big").unwrap());
    let mut mute = Conn::open(&address).unwrap();
    mute.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhalf ").unwrap();
    let mut dull = Conn::open(&address).unwrap();
    dull.send(b"GET / HT").unwrap();
    wait_in_flight(&master, 2);
    master.signal(Signal::SIGQUIT);
    master.wait_exit(0, SOON);
    let took = master.between("  draining (stop): ", "  cut off 3 connections");
    assert!(took >= Duration::from_millis(1450) && took < Duration::from_millis(2500), "it took {took:?}");
    assert!(master.log().contains("  cut off 3 connections"), "{}", master.log());
    assert!(master.log().contains("leaving: 3 connections were cut off"), "{}", master.log());
    master.finish();
}

#[test]
fn a_stop_under_load_refuses_but_never_breaks_off() {
    let place = Place::new();
    for accept in ["per-worker", "shared"] {
        let listen = format!("{{ address = \"127.0.0.1:0\", accept = \"{accept}\" }}");
        let master = Master::start(&place, &Web::new().listen_raw(&[&listen]).text());
        let load = Load::start(&master.address());
        load.wait_answers(300);
        master.signal(Signal::SIGQUIT);
        master.wait_exit(0, SOON);
        let report = load.stop();
        let broken: Vec<_> = report.lost.iter().filter(|l| !l.contains("no connection: ")).collect();
        assert!(broken.is_empty(), "{accept}, {} answered: {broken:#?}", report.answered);
        assert!(!report.lost.is_empty(), "once it has stopped, nobody is served");
        master.finish();
    }
}

#[test]
fn a_fast_stop_cuts_at_once() {
    let place = Place::new();
    for how in ["cli", "INT", "TERM, TERM", "QUIT, INT", "stop, stop --fast"] {
        let master = Master::start(&place, &Web::new().slow("60s").text());
        let mut slow = Conn::open(&master.address()).unwrap();
        slow.ask("/slow").unwrap();
        wait_in_flight(&master, 1);
        let mut waiting = None;
        match how {
            "cli" => drop(master.cli(&["stop", "--fast"]).expect(0)),
            "INT" => master.signal(Signal::SIGINT),
            "TERM, TERM" => {
                master.signal(Signal::SIGTERM);
                master.wait_log("stops gracefully");
                master.signal(Signal::SIGTERM);
            }
            "QUIT, INT" => {
                master.signal(Signal::SIGQUIT);
                master.wait_log("stops gracefully");
                master.signal(Signal::SIGINT);
            }
            _ => {
                waiting = Some(master.begin(&["stop"]));
                master.wait_log("stops gracefully");
                master.cli(&["stop", "--fast"]).expect(0);
            }
        }
        master.wait_exit(0, SOON);
        let took = master.between("masterd stops at once", "masterd leaves");
        assert!(took < 3 * SECOND, "{how} took {took:?}");
        let lost = slow.receive().expect_err(how);
        assert!(matches!(lost, Lost::NoAnswer | Lost::Reset(0)), "{how}: {lost}");
        waiting.into_iter().for_each(|stop| drop(stop.finish().expect(0)));
        master.finish();
    }
}

#[test]
fn a_worker_that_stands_still_does_not_hold_up_a_stop() {
    let place = Place::new();
    for (signal, limit) in [(Signal::SIGINT, 3), (Signal::SIGQUIT, 5)] {
        let master = Master::start(&place, &Web::new().service("drain = { grace = \"1s\" }").text());
        let still = master.ready_pids("web")[0];
        kill(Pid::from_raw(still), Signal::SIGSTOP).unwrap();
        master.expect_error("worker died");
        master.signal(signal);
        master.wait_exit(0, SOON);
        let took = took(&master);
        assert!(took < limit * SECOND, "{signal} took {took:?}");
        master.finish();
    }
}

/// kill -9 of the master: what the workers find in the queue when they hear of it has nobody else.
#[test]
fn what_waits_in_the_queue_when_the_master_is_killed_is_served() {
    let place = Place::new();
    let file = "{ address = \"unix:web.sock\", name = \"file\" }";
    let master = Master::start(&place, &Web::new().listen_raw(&["\"127.0.0.1:0\"", file]).text());
    let (address, file) = (master.address(), master.address_of("file"));
    let workers = master.ready_pids("web");
    workers.iter().for_each(|pid| freeze(*pid));
    let mut waiting: Vec<Conn> =
        [&address, &file].iter().flat_map(|a| (0..10).map(|_| Conn::open(a).unwrap())).collect();
    waiting.iter_mut().for_each(|conn| conn.ask("/").unwrap());
    master.kill();
    workers.iter().for_each(|pid| send(*pid, Signal::SIGCONT));
    for conn in &mut waiting {
        assert_eq!(conn.receive().expect("an answer").status, 200);
    }
    drop(waiting);
    wait_until("the workers leave", SOON, || !workers.iter().any(|pid| procs::runs(*pid)));
    master.finish();
}

/// kill -9 of the master: workers serve what they have, let go of the port at once, and leave.
#[test]
fn workers_of_a_killed_master_finish_and_a_new_one_serves_at_once() {
    let place = Place::new();
    let tcp = format!("\"127.0.0.1:{}\"", free_port());
    for accept in ["per-worker", "shared"] {
        let tcp = format!("{{ address = {tcp}, accept = \"{accept}\" }}");
        let web =
            Web::new().slow("5s").listen_raw(&[&tcp, "{ address = \"unix:web.sock\", name = \"file\" }"]);
        let first = Master::start(&place, &web.text());
        let (address, file) = (first.address(), first.address_of("file"));
        let mut slow: Vec<Conn> = [&address, &file].iter().map(|a| Conn::open(a).unwrap()).collect();
        slow.iter_mut().for_each(|conn| conn.ask("/slow").unwrap());
        let mut idle = Conn::open(&address).unwrap();
        assert!(!idle.get("/").unwrap().closes());
        wait_in_flight(&first, 2);
        let orphans = first.ready_pids("web");
        first.kill();
        for name in ["m.pid", "c.sock", "web.sock"] {
            assert!(place.path(name).exists(), "{name} is stale, as after any kill");
        }
        wait_until("the workers let go of the port", SOON, || {
            matches!(get_soon(&address), Err(Lost::Connect(_)))
        });
        assert!(orphans.iter().any(|pid| procs::runs(*pid)), "before what they serve has ended");
        let second = Launch::new(&place).start();
        assert!(orphans.iter().any(|pid| procs::runs(*pid)), "the old workers still serve");
        assert_eq!(get(&address, "/").unwrap().number("gen"), 1);
        assert_eq!(get(&file, "/").unwrap().status, 200);
        let answer = idle.get("/").expect("an idle connection is not broken off");
        assert!(answer.closes() && orphans.contains(&(answer.number("pid") as i32)), "{answer:?}");
        for conn in &mut slow {
            let answer = conn.receive().expect("what was in flight is answered");
            assert!(answer.closes() && orphans.contains(&(answer.number("pid") as i32)), "{answer:?}");
        }
        drop((slow, idle));
        wait_until("the old workers leave", SOON, || !orphans.iter().any(|pid| procs::runs(*pid)));
        assert_eq!(get(&address, "/").unwrap().status, 200, "their going hurts nobody");
        assert_eq!(get(&file, "/").unwrap().status, 200, "nor the new socket file");
        first.finish();
        second.finish();
    }
}

#[test]
fn a_client_that_waits_for_a_stop_hears_of_it() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().slow("3s").text());
    let mut slow = Conn::open(&master.address()).unwrap();
    slow.ask("/slow").unwrap();
    wait_in_flight(&master, 1);
    let stops: Vec<Running> = (0..3).map(|_| master.begin(&["stop"])).collect();
    for stop in stops {
        let said = stop.finish().expect(0);
        assert!(said.stdout.contains("stopped"), "{said:?}");
        assert!(said.stderr.contains("draining"), "progress is shown: {said:?}");
        // It has said goodbye and closed its socket; the rest of its exit is the kernel's.
        assert!(master.log().contains("masterd leaves"), "{}", master.log());
        wait_until("the master is gone when stop returns", SOON, || !master.runs());
    }
    assert_eq!(slow.receive().unwrap().status, 200);
    master.finish();
}
