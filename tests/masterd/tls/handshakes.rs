//! Who is shown which certificate, who is let in, and what becomes of those who don't speak TLS.

use super::*;
use crate::harness::tls::connect;
use crate::tools::{not_root, resident};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

/// Everything that comes, until the end, whichever it is.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    // A reset is an end, too.
    let _ = stream.read_to_end(&mut all);
    all
}

#[track_caller]
fn errors(master: &Master) -> u64 {
    master.status().services[0].totals.errors
}

#[test]
fn both_versions_are_spoken_and_requests_answered() {
    let authority = Authority::new();
    let place = place_with(&authority);
    let origin = Origin::answering(|_| ok("whole"));
    let web = secure(PLAIN).route("/up", &proxy(&[origin.address()], ""));
    let master = Master::start(&place, &web.text());
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut conn = Caller::by(&authority, version).call(&master.address(), "a.example").unwrap();
        assert_eq!(conn.get("/").unwrap().field("mark"), Some("a"));
        assert_eq!(conn.get("/up").unwrap().body, "whole");
        conn.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        assert!(conn.receive().unwrap().closes());
        assert!(conn.closed_within(SOON), "it says close_notify");
    }
    let asked = &origin.asked()[0];
    assert_eq!(asked.header("x-forwarded-proto"), Some("https"));
    assert!(asked.header("forwarded").is_some_and(|value| value.ends_with("proto=https")), "{asked:?}");
    assert_eq!(errors(&master), 0);
    end(master);
}

#[test]
fn the_certificate_is_that_of_the_host_asked_for() {
    let authority = Authority::new();
    let place = place_with(&authority);
    authority.issue(&place, "b", &["b.example"]);
    authority.issue(&place, "w", &["*.b.example"]);
    let sni = "sni = [{ certificate = \"b.pem\", key = \"b.key\", hosts = [\"b.example\"] }, \
        { certificate = \"w.pem\", key = \"w.key\", hosts = [\"*.b.example\"] }]";
    let master = Master::start(&place, &secure(&format!("{PLAIN}, {sni}")).text());
    let (caller, address) = (Caller::new(&authority), master.address());
    for host in ["a.example", "b.example", "x.b.example"] {
        let mut conn = caller.call(&address, host).unwrap_or_else(|e| panic!("{host}: {e}"));
        assert_eq!(conn.get("/").unwrap().status, 200, "{host}");
    }
    for host in ["c.example", "x.y.b.example"] {
        let refused = caller.call(&address, host).expect_err(host).to_string();
        assert!(refused.contains("NotValidForName") || refused.contains("not valid for name"), "{refused}");
    }
    end(master);
}

#[test]
fn clients_show_certificates_where_they_must_and_may() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let place = place_with(&authority);
    place.write("clients.pem", &authority.pem());
    for auth in ["required", "optional"] {
        let tls = format!("{PLAIN}, client_ca = \"clients.pem\", client_auth = \"{auth}\"");
        let master = Master::start(&place, &secure(&tls).text());
        let address = master.address();
        // With TLS 1.3 the client is done before the server has looked at its certificate.
        let talk = |caller: Caller| {
            let mut conn = caller.call(&address, "a.example").map_err(|e| e.to_string())?;
            conn.get("/").map(|answer| answer.status).map_err(|e| format!("{e:?}"))
        };
        assert_eq!(talk(Caller::showing(&authority, &authority.sign(&["me"]))), Ok(200), "{auth}");
        let bad = talk(Caller::showing(&authority, &stranger.sign(&["me"])));
        assert!(bad.is_err(), "{auth}: {bad:?}");
        let none = talk(Caller::new(&authority));
        assert_eq!(none.is_ok(), auth == "optional", "{none:?}");
        let failed = if auth == "optional" { 1 } else { 2 };
        wait_until("they are counted", SOON, || errors(&master) == failed);
        end(master);
    }
}

#[test]
fn tcp_services_speak_it_too() {
    let authority = Authority::new();
    let place = place_with(&authority);
    let text = Tcp::echo().text().replace("[\"127.0.0.1:0\"]", &format!("[{}]", listener(PLAIN)));
    let master = Master::start(&place, &text);
    let mut conn = Caller::new(&authority).call(&master.address_of("tcp"), "a.example").unwrap();
    let bytes: Vec<u8> = (0..200_000u32).map(|n| (n * 7 % 251) as u8).collect();
    for part in bytes.chunks(50_000) {
        conn.send(part).unwrap();
        assert!(conn.read_exactly(part.len()).unwrap() == part);
    }
    conn.send(b"the end").unwrap();
    conn.shut_write();
    assert_eq!(conn.read_to_end().unwrap(), b"the end", "all of it, and close_notify");
    drop(conn);
    end(master);
}

#[test]
fn plain_http_and_garbage_are_sent_away_and_counted() {
    let authority = Authority::new();
    let place = place_with(&authority);
    let master = Master::start(&place, &secure(PLAIN).text());
    let address = master.address();
    let garbage: Vec<u8> = (0..10_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let words: [&[u8]; 4] = [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &garbage, &[0x16; 10_000], &[0; 10_000]];
    for (n, bytes) in words.into_iter().enumerate() {
        let mut stream = connect(&address).unwrap();
        // It may be gone before it has had everything.
        let _ = stream.write_all(bytes);
        let said = rest(&mut stream);
        let is_alert = said.len() == 7 && said[0] == 0x15;
        assert!(is_alert || said.is_empty(), "{n}: {said:?}");
        wait_until("it is counted", SOON, || errors(&master) == n as u64 + 1);
    }
    assert_eq!(Caller::new(&authority).call(&address, "a.example").unwrap().get("/").unwrap().status, 200);
    end(master);
}

#[test]
fn who_stalls_within_the_handshake_is_closed_in_time() {
    let authority = Authority::new();
    let place = place_with(&authority);
    let master = Master::start(&place, &secure(PLAIN).http("header_timeout = \"700ms\"").text());
    let begun = Instant::now();
    // Nothing at all, the beginning of a record, and a byte now and then.
    let mut stalled: Vec<TcpStream> = (0..3).map(|_| connect(&master.address()).unwrap()).collect();
    stalled[1].write_all(&[0x16, 3, 1, 2, 0, 1]).unwrap();
    stalled[2].write_all(&[0x16, 3, 1, 2, 0, 1]).unwrap();
    let mut trickling = stalled[2].try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        came_true(SOON, || {
            std::thread::sleep(Duration::from_millis(20));
            trickling.write_all(&[0]).is_err()
        })
    });
    for stream in &mut stalled {
        assert!(rest(stream).len() <= 7);
    }
    assert!(begun.elapsed() > SECOND / 2 && begun.elapsed() < SECOND * 10, "{:?}", begun.elapsed());
    drop(stalled);
    assert!(writer.join().unwrap());
    end(master);
}

#[test]
fn idle_connections_cost_little() {
    const MANY: usize = 100;
    let authority = Authority::new();
    let place = place_with(&authority);
    let master = Master::start(&place, &secure(PLAIN).text());
    let (caller, address) = (Caller::new(&authority), master.address());
    let call = || {
        let mut conn = caller.call(&address, "a.example").unwrap();
        assert_eq!(conn.get("/").unwrap().status, 200);
        conn
    };
    let mut conns: Vec<Conn> = (0..20).map(|_| call()).collect();
    let pid = master.ready_pids("web")[0];
    let before = resident(pid);
    conns.extend((0..MANY).map(|_| call()));
    master.wait_status("all are idle", SOON, |s| s.services[0].workers[0].idle as usize == conns.len());
    let each = resident(pid).saturating_sub(before) / MANY as u64;
    assert!(each < 24, "{each} KiB for each idle connection");
    for conn in &mut conns {
        assert_eq!(conn.get("/").unwrap().status, 200, "and all are served again");
    }
    drop(conns);
    end(master);
}

#[test]
fn workers_need_no_right_to_read_the_key() {
    if not_root() {
        return;
    }
    let authority = Authority::new();
    let place = place_with(&authority);
    for name in ["a.pem", "a.key"] {
        std::fs::set_permissions(place.path(name), PermissionsExt::from_mode(0o600)).unwrap();
    }
    let master = Master::start(&place, &secure(PLAIN).master("user = \"nobody\"").text());
    let (caller, address) = (Caller::new(&authority), master.address());
    let pid = master.ready_pids("web")[0];
    let uid = procs::status_line(pid, "Uid").unwrap();
    assert!(!uid.starts_with('0'), "{uid}");
    assert_eq!(caller.call(&address, "a.example").unwrap().get("/").unwrap().status, 200);
    master.cli(&["reload"]).expect(0);
    assert_eq!(caller.call(&address, "a.example").unwrap().get("/").unwrap().status, 200);
    end(master);
}
