//! Certificates are read anew with each reload, and a bad one changes nothing.

use super::*;

/// The certificate that a new client is shown, DER.
#[track_caller]
fn shown(authority: &Authority, master: &Master) -> Vec<u8> {
    let mut conn = Caller::new(authority).call(&master.address(), "a.example").expect("a handshake");
    assert_eq!(conn.get("/").expect("an answer").status, 200);
    conn.tls().certificate()
}

#[test]
fn a_reload_shows_the_new_certificate() {
    let authority = Authority::new();
    let place = place_with(&authority);
    let master = Master::start(&place, &secure(PLAIN).workers(2).text());
    let old = shown(&authority, &master);
    let caller = Caller::new(&authority);
    let mut kept = caller.call(&master.address(), "a.example").unwrap();
    assert_eq!(kept.get("/").unwrap().status, 200);
    authority.issue(&place, "a", &["a.example"]);
    assert_eq!(shown(&authority, &master), old, "files are read when they are asked to be");
    master.cli(&["reload"]).expect(0);
    let new = shown(&authority, &master);
    assert!(new != old && !new.is_empty());
    // Who was connected is served to the end of what it asks.
    assert!(kept.get("/").is_ok());
    // A session of the old certificate proves nothing about the new one, or does: either way it is served.
    assert_eq!(caller.call(&master.address(), "a.example").unwrap().get("/").unwrap().status, 200);
    drop(kept);
    end(master);
}

#[test]
fn a_bad_certificate_fails_the_reload_and_is_named() {
    let authority = Authority::new();
    let place = place_with(&authority);
    let master = Master::start(&place, &secure(PLAIN).text());
    master.expect_error("reload failed");
    let old = shown(&authority, &master);
    let (good, key) = (place.read("a.pem"), place.read("a.key"));
    let (_, other_key) = authority.sign(&["a.example"]);
    let bad = [
        ("a.pem", "no certificate\n"),
        ("a.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ("a.pem", ""),
        ("a.key", "no key\n"),
        ("a.key", other_key.as_str()),
    ];
    for (name, text) in bad {
        place.write(name, text);
        let said = master.cli(&["reload"]).expect(1);
        assert!(said.stderr.contains(name), "{name} is not named: {said:#?}");
        let secret = other_key.lines().nth(1).unwrap();
        assert!(!said.stderr.contains(secret), "{said:#?}");
        assert_eq!(shown(&authority, &master), old);
        place.write("a.pem", &good);
        place.write("a.key", &key);
    }
    std::fs::remove_file(place.path("a.key")).unwrap();
    let said = master.cli(&["reload"]).expect(1);
    assert!(said.stderr.contains("a.key"), "{said:#?}");
    assert_eq!(shown(&authority, &master), old);
    place.write("a.key", &key);
    master.cli(&["reload"]).expect(0);
    end(master);
}
