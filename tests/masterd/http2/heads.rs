//! Heads and bodies that mean nothing, or two things: refused, and never passed on.

use super::client::*;
use super::*;

/// How a request was refused: by an answer of 400 or 431, by the end of its stream or of the connection.
fn refused(client: &mut Client, stream: u32) -> bool {
    match client.try_answer(stream) {
        Ok(answer) => answer.reset.is_some() || matches!(answer.status(), 400 | 413 | 431),
        Err(_) => !client.goaway.is_empty(),
    }
}

/// A master in front of an origin that must not be asked, and what it is not asked.
#[track_caller]
fn none_passes(requests: &[&[(&str, &str)]]) {
    let place = Place::new();
    let origin = Origin::answering(|_| ok("passed"));
    // The other kinds of route see no more than the proxy does.
    let web = Web::new()
        .workers(1)
        .root(&proxy(&[origin.address()], ""))
        .route("/own", "respond = { body = \"x\" }");
    let master = Master::start(&place, &web.text());
    for fields in requests {
        for path in ["/", "/own"] {
            let mut client = Client::open(&master.address());
            let mut all: Vec<(&str, &str)> = fields.to_vec();
            all.iter_mut().filter(|(name, value)| *name == ":path" && *value == "/").for_each(|f| f.1 = path);
            let stream = client.ask(&all, true);
            assert!(refused(&mut client, stream), "{all:?}: {:?}", client.streams[&stream]);
        }
    }
    assert_eq!(origin.asked(), [], "none of them went on");
    assert_eq!(Client::open(&master.address()).get("/").text(), "passed");
    end(master);
}

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const HOST: (&str, &str) = (":authority", "test");
const PATH: (&str, &str) = (":path", "/");

#[test]
fn the_authority_and_the_host_agree() {
    none_passes(&[
        &[METHOD, SCHEME, HOST, PATH, ("host", "other")],
        &[METHOD, SCHEME, HOST, PATH, ("host", "test:81")],
        &[METHOD, SCHEME, HOST, PATH, ("host", "test"), ("host", "test")],
        &[METHOD, SCHEME, HOST, PATH, ("host", "")],
        &[METHOD, SCHEME, (":authority", "me@test"), PATH],
        &[METHOD, SCHEME, (":authority", "test,other"), PATH],
        &[METHOD, SCHEME, (":authority", "test:99999"), PATH],
    ]);
    let place = Place::new();
    let origin = Origin::answering(|_| ok(""));
    let master = fronting(&place, &origin);
    let mut client = Client::open(&master.address());
    for fields in
        [&[METHOD, SCHEME, HOST, PATH, ("host", "test")][..], &[METHOD, SCHEME, PATH, ("host", "test")]]
    {
        let stream = client.ask(fields, true);
        assert_eq!(client.answer(stream).status(), 200, "{fields:?}");
        assert_eq!(origin.asked().pop().unwrap().header("host"), Some("test"));
    }
    drop(client);
    end(master);
}

#[test]
fn fields_of_one_hop_are_refused() {
    none_passes(&[
        &[METHOD, SCHEME, HOST, PATH, ("connection", "close")],
        &[METHOD, SCHEME, HOST, PATH, ("keep-alive", "5")],
        &[METHOD, SCHEME, HOST, PATH, ("proxy-connection", "x")],
        &[METHOD, SCHEME, HOST, PATH, ("transfer-encoding", "chunked")],
        &[METHOD, SCHEME, HOST, PATH, ("upgrade", "h2c")],
        &[METHOD, SCHEME, HOST, PATH, ("te", "gzip")],
    ]);
}

#[test]
fn heads_that_http_1_would_read_otherwise_are_refused() {
    none_passes(&[
        &[METHOD, SCHEME, HOST, PATH, ("x", "a\r\nHost: other")],
        &[METHOD, SCHEME, HOST, PATH, ("x", "a\nb")],
        &[METHOD, SCHEME, HOST, PATH, ("x", "a\0b")],
        &[METHOD, SCHEME, HOST, PATH, ("x\r\ny", "a")],
        &[METHOD, SCHEME, HOST, PATH, ("x y", "a")],
        &[METHOD, SCHEME, HOST, PATH, ("X-Upper", "a")],
        &[METHOD, SCHEME, HOST, PATH, ("x:", "a")],
        &[METHOD, SCHEME, HOST, PATH, ("", "a")],
        &[(":method", "GET / HTTP/1.1\r\nx: y"), SCHEME, HOST, PATH],
        &[METHOD, SCHEME, HOST, (":path", "/ HTTP/1.1\r\nx: y")],
        &[METHOD, SCHEME, HOST, (":path", "/a b")],
        &[METHOD, SCHEME, (":authority", "te st"), PATH],
        &[METHOD, SCHEME, (":authority", "test\r\nx: y"), PATH],
    ]);
}

#[test]
fn pseudo_fields_are_all_there_and_once() {
    none_passes(&[
        &[SCHEME, HOST, PATH],
        &[METHOD, SCHEME, HOST],
        &[METHOD, SCHEME, HOST, (":path", "")],
        &[METHOD, METHOD, SCHEME, HOST, PATH],
        &[METHOD, SCHEME, HOST, PATH, PATH],
        &[METHOD, SCHEME, HOST, PATH, (":status", "200")],
        &[METHOD, SCHEME, HOST, PATH, (":unknown", "x")],
        &[METHOD, SCHEME, HOST, ("x", "y"), PATH],
        &[METHOD, SCHEME, HOST, (":path", "x")],
    ]);
}

#[test]
fn a_body_has_the_length_that_was_announced() {
    let place = Place::new();
    let origin = Origin::answering(|asked| ok(&String::from_utf8_lossy(&asked.body)));
    let master = fronting(&place, &origin);
    for (length, body) in [("5", "abc"), ("2", "abc"), ("x", "abc"), ("-1", "abc"), ("0", "abc")] {
        let mut client = Client::open(&master.address());
        let fields = [&client::request("POST", "/")[..], &[("content-length", length)]].concat();
        let stream = client.ask(&fields, false);
        // The stream may be refused by its head alone.
        let _ = client.data(stream, body.as_bytes(), true);
        let refused = refused(&mut client, stream);
        assert!(refused, "{length}: {:?}", client.streams[&stream]);
    }
    let whole = origin.asked().into_iter().filter(|asked| !asked.body.is_empty()).count();
    assert_eq!(whole, 0, "no origin took one of them for whole: {:?}", origin.asked());
    let mut client = Client::open(&master.address());
    let fields = [&client::request("POST", "/")[..], &[("content-length", "3")]].concat();
    let stream = client.ask(&fields, false);
    client.data(stream, b"abc", true).unwrap();
    assert_eq!(client.answer(stream).text(), "abc");
    assert_eq!(origin.asked().pop().unwrap().header("content-length"), Some("3"));
    drop(client);
    end(master);
}

#[test]
fn connect_is_not_served() {
    let place = Place::new();
    let master = plain(&place);
    let mut client = Client::open(&master.address());
    let stream = client.ask(&[(":method", "CONNECT"), (":authority", "other:443")], false);
    let answer = client.answer(stream);
    assert!(answer.status() == 405 || answer.reset.is_some(), "{answer:?}");
    assert_eq!(client.get("/").status(), 200);
    drop(client);
    end(master);
}
