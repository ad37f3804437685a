//! Clients behind another proxy: who they are is said by a PROXY protocol header, which listeners insist on.

use super::*;
use crate::harness::tls::connect;
use std::io::{Read, Write};
use std::net::Shutdown;

/// A listener that wants the header.
const LISTENER: &str = "{ address = \"127.0.0.1:0\", proxy_protocol = true }";
const REQUEST: &[u8] = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

#[track_caller]
fn introduced(place: &Place, origin: &Origin) -> Master {
    fronting_with(place, &[origin], "", |web| web.listen_raw(&[LISTENER]))
}

/// A header of version 2: command and family, and what follows.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([0x20 | command, family]);
    bytes.extend((rest.len() as u16).to_be_bytes());
    bytes.extend(rest);
    bytes
}

fn v2_ipv4(from: [u8; 4], port: u16) -> Vec<u8> {
    let mut rest = from.to_vec();
    rest.extend([127, 0, 0, 1]);
    rest.extend(port.to_be_bytes());
    rest.extend(443u16.to_be_bytes());
    v2(1, 0x11, &rest)
}

fn v2_ipv6() -> Vec<u8> {
    let mut rest = "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec();
    rest.extend(std::net::Ipv6Addr::LOCALHOST.octets());
    rest.extend([0x12, 0x67, 0x01, 0xbb]);
    // An addition of a kind that nobody knows.
    rest.extend([0xee, 0, 3, 1, 2, 3]);
    v2(1, 0x21, &rest)
}

/// Sends a header and two requests, and gives back how the first reached the origin.
#[track_caller]
fn passed_on(origin: &Origin, address: &str, header: &[u8]) -> Asked {
    let mut conn = Conn::open(address).unwrap();
    conn.send(&[header, REQUEST].concat()).unwrap();
    assert_eq!(conn.receive().unwrap().status, 200);
    let asked = origin.asked().pop().expect("a request");
    conn.send(REQUEST).unwrap();
    assert_eq!(conn.receive().unwrap().status, 200, "one header is for the whole connection");
    let again = origin.asked().pop().expect("a request");
    assert_eq!(again.header("x-forwarded-for"), asked.header("x-forwarded-for"));
    asked
}

#[test]
fn both_versions_tell_who_the_client_is() {
    let place = Place::new();
    let origin = Origin::answering(|_| ok(""));
    let master = introduced(&place, &origin);
    let address = master.address();
    let cases: [(&[u8], &str); 7] = [
        (b"PROXY TCP4 198.51.100.7 127.0.0.1 4711 443\r\n", "198.51.100.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 4711 443\r\n", "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (b"PROXY UNKNOWN ffff::1 whatever 1 2\r\n", "127.0.0.1"),
        (&v2_ipv4([203, 0, 113, 9], 4711), "203.0.113.9"),
        (&v2_ipv6(), "2001:db8::7"),
        (&v2(0, 0, b""), "127.0.0.1"),
    ];
    for (header, client) in cases {
        let asked = passed_on(&origin, &address, header);
        assert_eq!(asked.header("x-forwarded-for"), Some(client), "{}", String::from_utf8_lossy(header));
        assert_eq!(asked.line, "GET /x HTTP/1.1");
    }
    assert_eq!(errors(&master), 0);
    end(master);
}

#[test]
fn a_header_may_come_byte_by_byte() {
    let place = Place::new();
    let origin = Origin::answering(|_| ok(""));
    let master = introduced(&place, &origin);
    for header in [b"PROXY TCP4 198.51.100.7 127.0.0.1 4711 443\r\n".to_vec(), v2_ipv4([198, 51, 100, 7], 1)]
    {
        let mut conn = Conn::open(&master.address()).unwrap();
        for byte in header.iter().chain(REQUEST) {
            conn.send(&[*byte]).unwrap();
        }
        assert_eq!(conn.receive().unwrap().status, 200);
        assert_eq!(origin.asked().pop().unwrap().header("x-forwarded-for"), Some("198.51.100.7"));
    }
    assert_eq!(errors(&master), 0);
    end(master);
}

#[test]
fn status_and_access_log_name_the_client_and_not_the_proxy() {
    let place = Place::new();
    let origin = Origin::answering(|_| ok(""));
    let log = "access_log = { file = \"access.log\" }";
    let master = fronting_with(&place, &[&origin], "", |web| web.listen_raw(&[LISTENER]).service(log));
    let mut conn = Conn::open(&master.address()).unwrap();
    conn.send(&[v2_ipv4([203, 0, 113, 9], 4711), REQUEST.to_vec()].concat()).unwrap();
    assert_eq!(conn.receive().unwrap().status, 200);
    let peers: Vec<String> = worker(&master).connections.into_iter().flatten().map(|c| c.peer).collect();
    assert_eq!(peers, ["203.0.113.9:4711"]);
    let said = master.cli(&["status", "--connections"]).expect(0);
    assert!(said.stdout.contains("203.0.113.9:4711"), "{said:?}");
    wait_until("it is in the access log", SOON, || place.read("access.log").contains("203.0.113.9"));
    let line = place.read("access.log");
    assert!(line.starts_with("203.0.113.9 ") && line.contains(" port=4711 "), "{line}");
    drop(conn);
    end(master);
}

#[test]
fn no_header_no_word() {
    let place = Place::new();
    let origin = Origin::answering(|_| ok(""));
    let master = introduced(&place, &origin);
    let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200], b"\r\n"].concat();
    let oversized = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff], &[0; 20_000]].concat();
    let bad: [&[u8]; 12] = [
        REQUEST,
        b"\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"PROXY TCP4 198.51.100.7 127.0.0.1 4711\r\n",
        b"PROXY TCP4 198.51.100.777 127.0.0.1 4711 443\r\n",
        b"PROXY TCP4 198.51.100.7 127.0.0.1 4711 443\n",
        b"proxy TCP4 198.51.100.7 127.0.0.1 4711 443\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &long,
        &oversized,
        &v2(1, 0x11, &[1, 2, 3]),
        &v2(7, 0x11, &[0; 12]),
        &[0x16, 3, 1, 2, 0, 1],
    ];
    for (n, bytes) in bad.into_iter().enumerate() {
        let mut stream = connect(&master.address()).unwrap();
        let _ = stream.write_all(&[bytes, REQUEST].concat());
        let mut said = Vec::new();
        // A reset is as good as a FIN to who has not kept to the agreement.
        let _ = stream.read_to_end(&mut said);
        assert!(said.is_empty(), "{n}: {:?}", String::from_utf8_lossy(&said));
        wait_until("it is counted", SOON, || errors(&master) == n as u64 + 1);
    }
    // Half a header, then the end.
    let mut stream = connect(&master.address()).unwrap();
    stream.write_all(b"PROXY TCP4 198").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    assert!(said.is_empty());
    wait_until("it is counted", SOON, || errors(&master) == bad.len() as u64 + 1);
    assert_eq!(origin.asked().len(), 0, "nothing of it was read as a request");
    assert_eq!(worker(&master).requests, 0);
    end(master);
}

#[test]
fn a_proxy_that_says_nothing_is_closed_in_time() {
    let place = Place::new();
    let origin = Origin::answering(|_| ok(""));
    let touch = |web: Web| web.listen_raw(&[LISTENER]).http("header_timeout = \"600ms\"");
    let master = fronting_with(&place, &[&origin], "", touch);
    let words = [b"".as_slice(), b"PROXY TCP4", &SIGNATURE[..8]];
    let mut conns: Vec<Conn> = words.iter().map(|_| Conn::open(&master.address()).unwrap()).collect();
    conns.iter_mut().zip(words).for_each(|(conn, words)| conn.send(words).unwrap());
    for (conn, words) in conns.iter_mut().zip(words) {
        let end = conn.read_to_end();
        assert!(!matches!(end, Err(Lost::Late(_))) && end.unwrap_or_default().is_empty(), "{words:?}");
    }
    drop(conns);
    end(master);
}

#[test]
fn unix_sockets_and_tcp_services_take_it_too() {
    let place = Place::new();
    let origin = Origin::start(|mut visit| {
        let line = visit.conn.until(b"\r\n").unwrap_or_default();
        visit.say(&line);
        visit.wait_gone();
    });
    let text = Tcp::to(&[origin.address()], "proxy_protocol = \"v1\"").text();
    let master = Master::start(&place, &text.replace("\"127.0.0.1:0\"", LISTENER));
    let mut conn = Conn::open(&master.address_of("tcp")).unwrap();
    conn.send(&v2_ipv4([203, 0, 113, 9], 4711)).unwrap();
    let said = conn.read_any().unwrap();
    let said = String::from_utf8_lossy(&said);
    assert!(said.starts_with("PROXY TCP4 203.0.113.9 "), "who it is goes on: {said}");
    assert!(said.ends_with(" 127.0.0.1 4711 443"), "and where he meant to go: {said}");
    drop(conn);
    origin.wait_closed(SOON);
    end(master);
    let origin = Origin::answering(|_| ok(""));
    let address = format!("unix:{}", place.path("t.sock").display());
    let listen = format!("{{ address = {address:?}, proxy_protocol = true }}");
    let master = fronting_with(&place, &[&origin], "", |web| web.listen_raw(&[&listen]));
    let asked = passed_on(&origin, &address, &v2_ipv4([203, 0, 113, 9], 4711));
    assert_eq!(asked.header("x-forwarded-for"), Some("203.0.113.9"));
    let asked = passed_on(&origin, &address, &v2(0, 0, b""));
    assert_eq!(asked.header("x-forwarded-for"), Some("unix:"));
    end(master);
    // A unix socket has no address of its own to be told of.
    let origin = Origin::start(|mut visit| {
        let header = visit.conn.until(b"\r\n").unwrap_or_default();
        if let Some(asked) = visit.request() {
            visit.say(ok(&format!("{}{}", String::from_utf8_lossy(&header), asked.line)));
        }
        visit.wait_gone();
    });
    let more = "proxy_protocol = \"v1\"";
    let master = fronting_with(&place, &[&origin], more, |web| web.listen_raw(&[&listen]));
    for (header, passed_on) in [
        (v2_ipv4([203, 0, 113, 9], 4711), "PROXY TCP4 203.0.113.9 127.0.0.1 4711 443"),
        (v2_ipv6(), "PROXY TCP6 2001:db8::7 ::1 4711 443"),
        (v2(0, 0, b""), "PROXY UNKNOWN"),
    ] {
        let mut conn = Conn::open(&address).unwrap();
        conn.send(&[header, REQUEST.to_vec()].concat()).unwrap();
        assert_eq!(conn.receive().unwrap().body, format!("{passed_on}GET /x HTTP/1.1"));
    }
    end(master);
}
