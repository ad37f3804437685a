//! Which upstream a connection is joined to, what that is told of the client, and what happens if there is none.

use super::super::harness::*;
use super::*;
use std::net::Ipv4Addr;

/// Says its name and reads to the end.
fn named(name: &'static str) -> impl Fn(Visit) + Send + Sync {
    move |mut visit| {
        visit.say(name);
        visit.wait_gone();
    }
}

#[test]
fn without_an_upstream_the_client_is_not_left_waiting() {
    let place = Place::new();
    let port = Port::reserve();
    let gone = format!("unix:{}", place.path("nothing.sock").display());
    let config = Tcp::to(&[&port.address(), &gone], "max_failures = 2, retry_after = \"10m\"");
    let master = Master::start(&place, &config.text());
    for n in 1..=6 {
        // The reset may come before connect(2) has returned.
        let end_of_it = Conn::open(&master.address_of("tcp")).and_then(|mut conn| conn.read_to_end());
        assert!(matches!(end_of_it, Err(Lost::Reset(_) | Lost::Connect(_))), "{end_of_it:?}");
        wait_until("it is counted", SOON, || errors(&master) == n);
    }
    master.wait_log(&format!("upstream {} has failed 2 times in a row", port.address()));
    master.wait_log(&format!("upstream {gone} has failed 2 times in a row"));
    // It is found again within about a second.
    let origin = Origin::on(&port, named("back"));
    let begun = std::time::Instant::now();
    wait_until("it is found again", SOON, || {
        let word = Conn::open(&master.address_of("tcp")).and_then(|mut conn| conn.read_exactly(4));
        word.is_ok_and(|word| word == b"back")
    });
    assert!(begun.elapsed() < SECOND * 3, "{:?}", begun.elapsed());
    master.wait_log(&format!("upstream {} answers again", port.address()));
    drop(origin);
    end(master);
}

#[test]
fn one_that_is_down_is_passed_over_and_nobody_notices() {
    let place = Place::new();
    let port = Port::reserve();
    let (one, two) = (Origin::start(named("one")), Origin::start(named("two")));
    let named = two.address().replace("127.0.0.1", "localhost");
    let config = Tcp::to(&[one.address(), &port.address(), &named], "");
    let master = Master::start(&place, &config.text());
    let mut words = Vec::new();
    for _ in 0..9 {
        words.push(String::from_utf8(connect(&master).read_exactly(3).unwrap()).unwrap());
    }
    assert!(words.contains(&"one".to_owned()) && words.contains(&"two".to_owned()), "{words:?}");
    assert_eq!(errors(&master), 0);
    end(master);
}

#[test]
fn what_a_client_sends_ahead_waits_for_the_upstream() {
    let place = Place::new();
    let (hole, origin) = (
        Hole::new(),
        Origin::start(|mut visit| {
            let Ok(all) = visit.conn.read_to_end() else { return };
            Pattern::new().check(0, &all);
            visit.say(format!("{} bytes", all.len()));
        }),
    );
    let config = Tcp::to(&[hole.address(), origin.address()], "connect_timeout = \"500ms\"");
    let master = Master::start(&place, &config.text());
    for length in [5, 100_000] {
        let mut conn = connect(&master);
        Pattern::new().write(&mut conn, length).unwrap();
        conn.shut_write();
        assert_eq!(conn.read_to_end().unwrap(), format!("{length} bytes").as_bytes());
    }
    assert_eq!(errors(&master), 0);
    end(master);
}

#[test]
fn a_client_that_goes_while_its_upstream_is_looked_for_is_let_go() {
    let place = Place::new();
    let hole = Hole::new();
    let master = Master::start(&place, &Tcp::to(&[hole.address()], "connect_timeout = \"60s\"").text());
    let conn = connect(&master);
    wait_until("it is there", SOON, || worker(&master).active.tcp == 1);
    let gone = std::time::Instant::now();
    conn.reset();
    wait_until("it is let go", SOON, || worker(&master).active.tcp == 0);
    assert!(gone.elapsed() < SECOND * 2, "{:?}", gone.elapsed());
    assert_eq!(errors(&master), 1);
    end(master);
}

#[test]
fn an_upstream_is_told_whose_connection_it_is() {
    let place = Place::new();
    let origin = Origin::start(|mut visit| {
        // Header and bytes may come in one piece or in several: the client's word ends them.
        let all = visit.conn.until(b"ask").unwrap();
        visit.say(all);
    });
    let told = |version: &str| {
        let more = format!("proxy_protocol = \"{version}\"");
        let master = Master::start(&place, &Tcp::to(&[origin.address()], &more).text());
        let mut conn = connect(&master);
        conn.send(b"ask").unwrap();
        let header = conn.read_to_end().unwrap();
        let ours = conn.local().unwrap().port();
        let listener: std::net::SocketAddr = master.address_of("tcp").parse().unwrap();
        drop(conn);
        end(master);
        (header, ours, listener.port())
    };
    let (header, source, destination) = told("v1");
    let text = String::from_utf8(header).unwrap();
    assert_eq!(text, format!("PROXY TCP4 127.0.0.1 127.0.0.1 {source} {destination}\r\n"));
    let (header, source, destination) = told("v2");
    let mut wanted = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    wanted.extend(Ipv4Addr::LOCALHOST.octets());
    wanted.extend(Ipv4Addr::LOCALHOST.octets());
    wanted.extend(source.to_be_bytes());
    wanted.extend(destination.to_be_bytes());
    assert_eq!(header, wanted);
}

#[test]
fn an_http_upstream_is_told_on_a_connection_for_each_request() {
    let place = Place::new();
    let origin = Origin::start(|mut visit| {
        let line = visit.conn.until(b"\r\n").unwrap();
        while visit.request().is_some() {
            visit.say(ok(std::str::from_utf8(&line).unwrap()));
        }
    });
    let action = proxy(&[origin.address()], "proxy_protocol = \"v1\"");
    let master = Master::start(&place, &Web::new().workers(1).root(&action).text());
    let (mut one, mut two) = (Conn::open(&master.address()).unwrap(), Conn::open(&master.address()).unwrap());
    for _ in 0..3 {
        for conn in [&mut one, &mut two] {
            let port = conn.local().unwrap().port();
            let answer = conn.get("/").unwrap();
            assert!(answer.body.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 "), "{answer:?}");
            assert!(answer.body.contains(&format!(" {port} ")), "{port}: {answer:?}");
        }
    }
    assert_eq!(origin.accepted(), 6);
    drop((one, two));
    end(master);
}
