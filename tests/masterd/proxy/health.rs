//! When an upstream is passed over, for how long, and how it comes back.

use super::super::harness::*;
use super::*;
use crate::http2::client::{Client, getting};
use std::time::Instant;

#[test]
fn when_all_are_down_it_is_502_then_503_and_over_a_second_after_one_is_back() {
    let place = Place::new();
    let ports = [Port::reserve(), Port::reserve()];
    let addresses = [ports[0].address(), ports[1].address()];
    let action = proxy(&[&addresses[0], &addresses[1]], "max_failures = 2, retry_after = \"10m\"");
    let master = Master::start(&place, &Web::new().workers(1).root(&action).text());
    let mut conn = Conn::open(&master.address()).unwrap();
    // One request tries both; after two failures each of them is passed over.
    for _ in 0..2 {
        let answer = conn.get("/").unwrap();
        assert_eq!(answer.status, 502, "{answer:?}");
    }
    for address in &addresses {
        master.wait_log(&format!("upstream {address} has failed 2 times in a row"));
    }
    let mut unavailable = 0;
    for _ in 0..20 {
        let answer = conn.get("/").unwrap();
        match answer.status {
            503 => unavailable += 1,
            // One of them is tried once a second.
            502 => {}
            other => panic!("{other}: {answer:?}"),
        }
    }
    assert!(unavailable >= 15, "{unavailable} of 20");
    let origin = Origin::on(&ports[1], conversation(|_| ok("back")));
    let begun = Instant::now();
    wait_until("it is found again", SOON, || conn.get("/").unwrap().status == 200);
    assert!(begun.elapsed() < SECOND * 3, "{:?}", begun.elapsed());
    master.wait_log(&format!("upstream {} answers again", addresses[1]));
    for _ in 0..10 {
        assert_eq!(conn.get("/").unwrap().body, "back", "the other is still passed over");
    }
    assert!(!master.log().contains(&format!("{} answers again", addresses[0])));
    drop((conn, origin));
    end(master);
}

#[test]
fn who_fails_too_often_is_left_alone_until_its_time_is_over() {
    let place = Place::new();
    let port = Port::reserve();
    let up = Origin::answering(|_| ok("up"));
    let action = proxy(&[&port.address(), up.address()], "max_failures = 3, retry_after = \"1s\"");
    let master = Master::start(&place, &Web::new().workers(1).root(&action).text());
    let mut conn = Conn::open(&master.address()).unwrap();
    let complaints = || master.log().matches(&format!("upstream {}: ", port.address())).count();
    let begun = Instant::now();
    wait_until("it is passed over", SOON, || {
        assert_eq!(conn.get("/").unwrap().body, "up");
        master.log().contains("has failed 3 times in a row")
    });
    assert_eq!(complaints(), 3);
    let origin = Origin::on(&port, conversation(|_| ok("other")));
    wait_until("it is tried again", SOON, || conn.get("/").unwrap().body == "other");
    assert!(begun.elapsed() >= SECOND * 9 / 10, "{:?}", begun.elapsed());
    master.wait_log(&format!("upstream {} answers again", port.address()));
    assert_eq!(complaints(), 3, "nobody had tried it meanwhile");
    let bodies: Vec<String> = (0..4).map(|_| conn.get("/").unwrap().body).collect();
    assert!(bodies.contains(&"up".to_owned()) && bodies.contains(&"other".to_owned()), "{bodies:?}");
    drop((conn, origin));
    end(master);
}

#[test]
fn who_was_tried_and_failed_is_not_told_as_nobody_there() {
    let place = Place::new();
    let port = Port::reserve();
    let origin = Origin::answering(|asked| if asked.target() == "/break" { String::new() } else { ok("up") });
    let action = proxy(&[&port.address(), origin.address()], "max_failures = 2, retry_after = \"10m\"");
    let master = Master::start(&place, &Web::new().workers(1).root(&action).text());
    let mut conn = Conn::open(&master.address()).unwrap();
    wait_until("one is passed over", SOON, || {
        assert_eq!(conn.get("/").unwrap().body, "up");
        master.log().contains("in a row")
    });
    assert_eq!(conn.get("/break").unwrap().status, 502, "the other has been asked");
    assert_eq!(conn.get("/").unwrap().body, "up");
    drop(conn);
    end(master);
}

#[test]
fn descriptors_that_run_out_cost_no_request() {
    const MANY: usize = 100;
    let place = Place::new();
    let origin = Origin::answering(|_| {
        std::thread::sleep(Duration::from_millis(10));
        ok("served")
    });
    let master = fronting_with(&place, &[&origin], "max_failures = 1, keep_alive = 5", |web| {
        web.service("limits = { nofile = 64, cpu_affinity = \"off\" }")
    });
    let address = master.address();
    std::thread::scope(|scope| {
        for _ in 0..MANY {
            scope.spawn(|| assert_eq!(get(&address, "/").unwrap().body, "served"));
        }
    });
    // Nobody fails for what is lacking here.
    assert!(!master.log().contains("upstream"), "{}", master.log());
    end(master);
}

#[test]
fn what_is_lacking_here_is_not_held_against_an_upstream() {
    const MANY: usize = 60;
    let place = Place::new();
    let origin = Origin::answering(|_| {
        std::thread::sleep(Duration::from_millis(50));
        ok("served")
    });
    // One client, and a connection for each of its streams.
    let limits = "limits = { nofile = 64, cpu_affinity = \"off\" }";
    let master = fronting_with(&place, &[&origin], "max_failures = 1", |web| web.service(limits));
    let mut client = Client::open(&master.address());
    let streams: Vec<u32> = (0..MANY).map(|_| client.ask(&getting("/"), true)).collect();
    let mut refused = 0;
    for stream in streams {
        let answer = client.answer(stream);
        assert!([200, 502].contains(&answer.status()), "{answer:?}");
        refused += usize::from(answer.status() == 502);
    }
    assert!(refused > 0, "there was enough for all of them");
    let log = master.log();
    assert!(log.contains("Too many open files") && !log.contains("in a row"), "{log}");
    drop(client);
    end(master);
}

#[test]
fn failures_count_only_in_a_row_and_an_answer_of_any_status_is_none() {
    let place = Place::new();
    let origin = Origin::answering(|asked| match asked.target() {
        "/break" => String::new(),
        "/500" => "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n".to_owned(),
        _ => ok("x"),
    });
    let master = fronting(&place, &[&origin], "max_failures = 2, retry_after = \"10m\"");
    let mut conn = Conn::open(&master.address()).unwrap();
    for target in ["/break", "/", "/break", "/500", "/500", "/500", "/break", "/"] {
        let status = match target {
            "/break" => 502,
            "/500" => 500,
            _ => 200,
        };
        assert_eq!(conn.get(target).unwrap().status, status, "{target}");
    }
    assert!(!master.log().contains("in a row"), "{}", master.log());
    for _ in 0..2 {
        assert_eq!(conn.get("/break").unwrap().status, 502);
    }
    master
        .wait_log("has failed 2 times in a row (last: closed the connection before its answer was complete)");
    drop(conn);
    end(master);
}
