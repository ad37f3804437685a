//! What is spoken behind TLS: large bodies both ways, WebSockets, and how it all ends.

use super::*;
use crate::harness::tls::connect;
use std::io::Write;

#[test]
fn a_slow_reader_gets_everything() {
    const LENGTH: usize = 8 << 20;
    let authority = Authority::new();
    let place = place_with(&authority);
    let body: Vec<u8> = (0..LENGTH).map(|n| (n * 31 % 251) as u8).collect();
    std::fs::write(place.path("large"), &body).unwrap();
    let files = format!("files = {{ root = {:?} }}", place.dir());
    let sent = body.clone();
    let origin = Origin::start(move |mut visit| {
        while visit.request().is_some() {
            visit.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n"));
            visit.say(&sent);
        }
    });
    let web = secure(PLAIN).root(&files).route("/up/", &proxy(&[origin.address()], ""));
    let master = Master::start(&place, &web.text());
    for path in ["/large", "/up/"] {
        let mut conn = Caller::new(&authority).call(&master.address(), "a.example").unwrap();
        conn.ask(path).unwrap();
        let head = conn.receive_head().unwrap();
        assert_eq!((head.status, head.header("content-length")), (200, Some("8388608")), "{path}");
        // It reads nothing until masterd has nothing left to do but to wait.
        let mut last = 0;
        wait_until("masterd waits for the client", SOON, || {
            let now = master.service("web").totals.bytes_out;
            std::mem::replace(&mut last, now) == now && now > 0
        });
        let mut got = Vec::with_capacity(LENGTH);
        while got.len() < LENGTH {
            got.extend(conn.read_any().unwrap());
        }
        assert!(got == body, "{path}");
        assert_eq!(conn.get("/healthz").unwrap().status, 200, "and the connection goes on");
        drop(conn);
    }
    end(master);
}

#[test]
fn large_uploads_arrive_whole() {
    const LENGTH: usize = 8 << 20;
    let authority = Authority::new();
    let place = place_with(&authority);
    let origin = Origin::answering(|asked| ok(&format!("{} bytes", asked.body.len())));
    let master = Master::start(&place, &secure(PLAIN).root(&proxy(&[origin.address()], "")).text());
    let mut conn = Caller::new(&authority).call(&master.address(), "a.example").unwrap();
    let body: Vec<u8> = (0..LENGTH).map(|n| (n * 31 % 251) as u8).collect();
    conn.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\n\r\n").as_bytes()).unwrap();
    conn.send(&body).unwrap();
    assert_eq!(conn.receive().unwrap().body, "8388608 bytes");
    assert!(origin.asked()[0].body == body);
    drop(conn);
    end(master);
}

#[test]
fn websockets_pass_through_it() {
    let authority = Authority::new();
    let place = place_with(&authority);
    let origin = Origin::start(ws::echoing);
    let master = Master::start(&place, &secure(PLAIN).root(&proxy(&[origin.address()], "")).text());
    let mut conn = Caller::new(&authority).call(&master.address(), "a.example").unwrap();
    conn.send(ws::HANDSHAKE.as_bytes()).unwrap();
    assert_eq!(conn.receive().unwrap().status, 101);
    for size in [0, 1, 125, 70_000, 1 << 20] {
        ws::echo(&mut conn, ws::BINARY, &vec![b'x'; size]);
    }
    wait_until("it is counted as one", SOON, || master.workers("web")[0].active.websocket == 1);
    ws::echo(&mut conn, ws::CLOSE, &[0x03, 0xe8]);
    assert!(conn.closed_within(SOON), "close_notify, then FIN");
    drop(conn);
    end(master);
}

#[test]
fn a_drain_says_close_notify() {
    let authority = Authority::new();
    let place = place_with(&authority);
    let web = secure(PLAIN).slow("1s").service("drain = { idle = \"close\" }");
    let master = Master::start(&place, &web.text());
    let caller = Caller::new(&authority);
    let mut idle = caller.call(&master.address(), "a.example").unwrap();
    assert_eq!(idle.get("/").unwrap().status, 200);
    let mut busy = caller.call(&master.address(), "a.example").unwrap();
    busy.ask("/slow").unwrap();
    wait_until("it is asked", SOON, || master.workers("web")[0].in_flight == 1);
    master.cli(&["reload"]).expect(0);
    assert!(idle.closed_within(SOON), "close_notify, then FIN");
    let answer = busy.receive().unwrap();
    assert!(answer.closes() && answer.field("mark") == Some("a"), "{answer:?}");
    assert!(busy.closed_within(SOON));
    drop((idle, busy));
    end(master);
}

#[test]
fn a_client_may_leave_without_a_word() {
    let authority = Authority::new();
    let place = place_with(&authority);
    let master = Master::start(&place, &secure(PLAIN).text());
    let caller = Caller::new(&authority);
    let mut conn = caller.call(&master.address(), "a.example").unwrap();
    conn.ask("/").unwrap();
    // No close_notify: the FIN alone.
    conn.tls().tcp().shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(conn.receive().unwrap().status, 200);
    assert!(conn.closed_within(SOON));
    // And an idle one.
    let mut conn = caller.call(&master.address(), "a.example").unwrap();
    assert_eq!(conn.get("/").unwrap().status, 200);
    drop(conn);
    wait_until("all are gone", SOON, || master.workers("web")[0].active.total() == 0);
    assert_eq!(master.service("web").totals.errors, 0, "nobody did anything wrong");
    end(master);
}

#[test]
fn requests_in_pieces_and_in_a_row_are_all_answered() {
    let authority = Authority::new();
    let place = place_with(&authority);
    let master = Master::start(&place, &secure(PLAIN).text());
    let mut conn = Caller::new(&authority).call(&master.address(), "a.example").unwrap();
    for byte in b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" {
        conn.send(&[*byte]).unwrap();
    }
    assert_eq!(conn.receive().unwrap().status, 200);
    conn.send(&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(50)).unwrap();
    for _ in 0..50 {
        assert_eq!(conn.receive().unwrap().status, 200);
    }
    drop(conn);
    end(master);
}

#[test]
fn the_proxy_header_comes_before_the_handshake() {
    let authority = Authority::new();
    let place = place_with(&authority);
    let origin = Origin::answering(|_| ok(""));
    let listen = format!("{{ address = \"127.0.0.1:0\", proxy_protocol = true, tls = {{ {PLAIN} }} }}");
    let web = secure(PLAIN).listen_raw(&[&listen]).root(&proxy(&[origin.address()], ""));
    let master = Master::start(&place, &web.text());
    let header = b"PROXY TCP4 198.51.100.7 127.0.0.1 4711 443\r\n";
    let mut tcp = connect(&master.address()).unwrap();
    tcp.write_all(header).unwrap();
    let mut conn = Caller::new(&authority).on(tcp, "a.example").unwrap();
    assert_eq!(conn.get("/").unwrap().status, 200);
    let asked = &origin.asked()[0];
    assert_eq!(asked.header("x-forwarded-for"), Some("198.51.100.7"));
    assert_eq!(asked.header("x-forwarded-proto"), Some("https"));
    // TLS first, the header within: not what was agreed on.
    assert!(Caller::new(&authority).call(&master.address(), "a.example").is_err());
    wait_until("it is counted", SOON, || master.service("web").totals.errors == 1);
    drop(conn);
    end(master);
}
