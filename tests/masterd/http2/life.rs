//! How a connection begins, idles, and ends.

use super::client::*;
use super::*;
use crate::tls::{PLAIN, place_with, secure};

const NO_ERROR: u32 = 0;

/// A reload while a stream is under way: it ends well, and then the connection.
#[track_caller]
fn outlives_a_reload(place: &Place, text: &str, connect: impl Fn(&str) -> Conn) {
    let master = Master::start(place, text);
    let mut client = Client::on(connect(&master.address()));
    let stream = client.ask(&getting("/slow"), true);
    wait_until("it is asked", SOON, || master.workers("web")[0].in_flight == 1);
    master.cli(&["reload"]).expect(0);
    assert_eq!(client.answer(stream).status(), 200);
    let lost = client.until_end();
    assert!(matches!(lost, Lost::NoAnswer), "it ends in good order: {lost}");
    let goaway = &client.goaway;
    assert!(goaway.iter().all(|(_, code)| *code == NO_ERROR) && !goaway.is_empty(), "{goaway:?}");
    master.wait_generation(2);
    assert_eq!(master.service("web").totals.cut, 0);
    drop(client);
    end(master);
}

#[test]
fn a_reload_lets_streams_end_and_takes_no_more() {
    let text = Web::new().workers(1).text();
    outlives_a_reload(&Place::new(), &text, |address| Conn::open(address).unwrap());
}

#[test]
fn a_reload_does_so_within_tls() {
    let authority = Authority::new();
    let caller = Caller::speaking(&authority, &["h2"]);
    let connect = |address: &str| caller.call(address, "a.example").unwrap();
    outlives_a_reload(&place_with(&authority), &secure(PLAIN).text(), connect);
}

#[test]
fn an_idle_connection_is_told_goodbye_in_time() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(1).http("keep_alive = \"300ms\"").text());
    let mut client = Client::open(&master.address());
    assert_eq!(client.get("/").status(), 200);
    let lost = client.until_end();
    assert!(matches!(lost, Lost::NoAnswer), "a FIN behind it: {lost}");
    assert!(client.goaway.iter().all(|(_, code)| *code == NO_ERROR) && !client.goaway.is_empty());
    end(master);
}

#[test]
fn one_that_does_not_answer_is_closed_all_the_same() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(1).http("keep_alive = \"300ms\"").text());
    // The farewell waits for an answer to a ping.
    let mut rude = Client::open(&master.address());
    rude.polite = false;
    assert_eq!(rude.get("/").status(), 200);
    let lost = rude.until_end();
    assert!(!matches!(lost, Lost::Late(_)), "{lost}");
    drop(rude);
    end(master);
}

#[test]
fn one_that_does_not_begin_is_given_the_time_of_a_head() {
    let authority = Authority::new();
    let place = place_with(&authority);
    let both = format!("{}, {}", "\"127.0.0.1:0\"", crate::tls::listener(PLAIN));
    let web = Web::new().workers(1).listen_raw(&[&both]).http("header_timeout = \"400ms\"");
    let master = Master::start(&place, &web.text());
    let begun = std::time::Instant::now();
    let within_tls = |said: &[u8]| {
        let address = master.address_of("web-2");
        let mut conn = Caller::speaking(&authority, &["h2"]).call(&address, "a.example").unwrap();
        conn.send(said).unwrap();
        conn
    };
    let plainly = |said: &[u8]| {
        let mut conn = Conn::open(&master.address()).unwrap();
        conn.send(said).unwrap();
        conn
    };
    let settings = frame(SETTINGS, 0, 0, b"");
    // Agreed on, and then nothing, or a part of it, or all but the settings; and without TLS.
    let mut mute = [
        within_tls(b""),
        within_tls(&PREFACE[..10]),
        within_tls(PREFACE),
        plainly(&PREFACE[..10]),
        plainly(PREFACE),
        plainly(&[PREFACE, &settings[..5]].concat()),
    ];
    for (n, conn) in mute.iter_mut().enumerate() {
        let mut end = conn.read_any();
        while end.as_ref().is_ok_and(|bytes| !bytes.is_empty()) {
            end = conn.read_any();
        }
        assert!(!matches!(end, Err(Lost::Late(_))), "{n}: {end:?}");
    }
    let took = begun.elapsed();
    assert!((SECOND * 4 / 10..SECOND * 8).contains(&took), "{took:?}");
    // Whoever has begun may idle for longer.
    let mut client = Client::open(&master.address());
    holds_for("it is open", SECOND * 3 / 2, || {
        client.frame(PING, 0, 0, &[1; 8]).is_ok() && client.turn().is_ok() && client.goaway.is_empty()
    });
    assert_eq!(client.get("/").status(), 200);
    drop((mute, client));
    end(master);
}

#[test]
fn the_reason_of_an_end_is_not_lost_however_much_is_still_sent() {
    let place = Place::new();
    let origin = Origin::start(|mut visit| while visit.request().is_some() {});
    let web = Web::new().workers(1).route("/up", &proxy(&[origin.address()], ""));
    let master = Master::start(&place, &web.text());
    for turn in 0..20 {
        let mut client = Client::open(&master.address());
        for path in ["/slow", "/up"] {
            client.ask(&getting(path), true);
        }
        let upload = client.ask(&client::request("POST", "/up"), false);
        wait_until("all are under way", SOON, || master.workers("web")[0].in_flight == 3);
        // What breaks the protocol is followed by more than is read at once: unread, it would be a reset.
        let mut bytes = frame(DATA, 0, 0, b"x");
        bytes.extend(frame(DATA, 0, upload, &[b'x'; 1000]).repeat(60));
        client.send(&bytes).unwrap();
        let lost = client.until_end();
        assert!(matches!(lost, Lost::NoAnswer), "{turn}: a FIN, not {lost}");
        assert!(client.goaway.iter().any(|(_, code)| *code != NO_ERROR), "{turn}: {:?}", client.goaway);
        drop(client);
        wait_until("nothing of it is left", SOON, || master.workers("web")[0].active.total() == 0);
    }
    wait_until("nor of its streams", SOON, || master.workers("web")[0].in_flight == 0);
    origin.wait_closed(SOON);
    end(master);
}

#[test]
fn where_it_is_off_the_preface_is_no_request() {
    let authority = Authority::new();
    let place = place_with(&authority);
    let both = format!("{}, {}", "\"127.0.0.1:0\"", crate::tls::listener(PLAIN));
    let master =
        Master::start(&place, &Web::new().workers(1).listen_raw(&[&both]).http("http2 = false").text());
    let mut client = Client::bare(Conn::open(&master.address()).unwrap());
    client.send(PREFACE).unwrap();
    client.send(&frame(SETTINGS, 0, 0, b"")).unwrap();
    let said = client.conn.read_to_end().unwrap_or_default();
    assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 "), "{said:?}");
    assert_eq!(get_one(&master), 200);
    let address = master.address_of("web-2");
    let conn = Caller::speaking(&authority, &["h2", "http/1.1"]).call(&address, "a.example").unwrap();
    assert_eq!(conn.tls().alpn().as_deref(), Some("http/1.1"));
    assert!(Caller::speaking(&authority, &["h2"]).call(&address, "a.example").is_err());
    drop((client, conn));
    end(master);
}

fn get_one(master: &Master) -> u16 {
    crate::harness::get(&master.address(), "/").expect("an answer").status
}

#[test]
fn a_preface_may_come_byte_by_byte() {
    let place = Place::new();
    let master = plain(&place);
    let mut client = Client::bare(Conn::open(&master.address()).unwrap());
    for byte in PREFACE {
        client.send(&[*byte]).unwrap();
    }
    client.send(&frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0])).unwrap();
    assert_eq!(client.get("/").status(), 200);
    drop(client);
    end(master);
}

#[test]
fn an_upload_that_stands_still_is_not_waited_for_without_end() {
    let place = Place::new();
    let origin = Origin::answering(|_| ok(""));
    let web =
        Web::new().workers(1).http("body_timeout = \"400ms\"").route("/up", &proxy(&[origin.address()], ""));
    let master = Master::start(&place, &web.text());
    let mut client = Client::open(&master.address());
    for path in ["/", "/up"] {
        let stream = client.ask(&client::request("POST", path), false);
        client.data(stream, b"some", false).unwrap();
        let answer = client.answer(stream);
        assert!(answer.status() == 408 || answer.reset.is_some(), "{answer:?}");
    }
    assert_eq!(client.get("/").status(), 200, "the connection goes on");
    wait_until("nothing of them is left", SOON, || master.workers("web")[0].in_flight == 0);
    drop(client);
    end(master);
}

#[test]
fn frames_that_break_the_protocol_end_the_connection_with_a_reason() {
    let place = Place::new();
    let master = plain(&place);
    let bad: [Vec<u8>; 7] = [
        frame(DATA, 0, 0, b"x"),
        frame(HEADERS, END_HEADERS, 0, b""),
        frame(HEADERS, END_HEADERS, 2, &hpack::encode(&getting("/"))),
        frame(DATA, 0, 101, b"x"),
        frame(SETTINGS, 0, 0, b"x"),
        frame(PING, 0, 0, b"x"),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x80]),
    ];
    for (n, bytes) in bad.iter().enumerate() {
        let mut client = Client::open(&master.address());
        client.send(bytes).unwrap();
        let lost = client.until_end();
        assert!(!matches!(lost, Lost::Late(_)), "{n}: {lost}");
        assert!(client.goaway.iter().any(|(_, code)| *code != NO_ERROR), "{n}: {:?}", client.goaway);
    }
    assert_eq!(get_one(&master), 200);
    end(master);
}
