//! Who is shown what, who is let in, and what those get that speak something else.

use super::*;
use std::io::{ErrorKind, Read, Write};

/// A handshake, one byte each way, and what both sides make of it.
fn meet(
    settings: &Arc<ServerConfig>,
    config: ClientConfig,
    host: &'static str,
) -> (std::io::Result<super::super::Handshaken>, Result<Vec<u8>, String>) {
    let (ours, theirs) = pair();
    let visitor = visit(config, host, theirs, |client| {
        client.write_all(b"?").map_err(|e| e.to_string())?;
        let mut answer = [0];
        client.read_exact(&mut answer).map_err(|e| e.to_string())?;
        Ok(client.conn.peer_certificates().unwrap()[0].to_vec())
    });
    let mut side = Side::new(ours, settings);
    let shaken = side.handshake();
    if shaken.is_ok() {
        assert_eq!(side.read(1).unwrap(), b"?");
        side.write(b"!").unwrap();
    }
    // As long as we listen, what the client says too late is no reason to hear nothing.
    (shaken, visitor.join().unwrap())
}

/// What the client is shown, as it is in the config.
fn shown(certificate: &config::Certificate) -> Vec<u8> {
    config::pem::certified_key(certificate).unwrap().cert[0].to_vec()
}

#[test]
fn each_host_has_its_certificate() {
    let settings = server(&PLAIN, &secret());
    for (host, certificate) in [
        ("a.example", &PLAIN.certificate),
        ("b.example", &PLAIN.sni[0].certificate),
        ("B.EXAMPLE", &PLAIN.sni[0].certificate),
        ("x.b.example", &PLAIN.sni[1].certificate),
    ] {
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let (shaken, seen) = meet(&settings, client_of(version, None), host);
            let shaken = shaken.unwrap();
            assert_eq!(shaken.sni.as_deref(), Some(host.to_ascii_lowercase().as_str()));
            assert_eq!((shaken.alpn, shaken.resumed), (None, false));
            assert_eq!(seen.unwrap(), shown(certificate), "{host}");
        }
    }
}

#[test]
fn unknown_hosts_see_the_default() {
    let settings = server(&PLAIN, &secret());
    for host in ["c.example", "x.y.b.example", "x.a.example"] {
        let (shaken, seen) = meet(&settings, client(), host);
        assert!(seen.unwrap_err().contains("not valid for name"), "{host}");
        let error = shaken.unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::InvalidData, "the client refused: BadCertificate")
        );
    }
    let mut nameless = client();
    nameless.enable_sni = false;
    let (shaken, seen) = meet(&settings, nameless, "a.example");
    assert_eq!((shaken.unwrap().sni, seen.unwrap()), (None, shown(&PLAIN.certificate)));
}

#[test]
fn a_name_goes_before_a_pattern() {
    let [default, exact, wild] = ["a", "x.b", "b"].map(|name| AUTHORITY.issue(&[name]));
    let pair = |c: &config::Certificate| config::pem::certified_key(c).unwrap();
    let mut names = crate::worker::tls::names::Names::new(pair(&default));
    names.add(&["*.b".into()], pair(&wild));
    names.add(&["x.b".into()], pair(&exact));
    for (host, certificate) in [
        (None, &default),
        (Some("x.b"), &exact),
        (Some("X.b"), &exact),
        (Some("y.b"), &wild),
        (Some("b"), &default),
        (Some("z.y.b"), &default),
        (Some(""), &default),
    ] {
        assert_eq!(names.choose(host).cert[0].to_vec(), shown(certificate), "{host:?}");
    }
}

#[test]
fn protocols_are_agreed_on() {
    let settings = server(&PLAIN, &secret());
    for (offered, agreed) in [
        (vec!["h2", "http/1.1"], Some("h2")),
        (vec!["http/1.1", "h2"], Some("h2")),
        (vec!["http/1.1"], Some("http/1.1")),
        (vec!["spdy", "http/1.1"], Some("http/1.1")),
        (vec![], None),
    ] {
        let mut config = client();
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let (shaken, seen) = meet(&settings, config, "a.example");
        assert_eq!(shaken.unwrap().alpn.as_deref(), agreed.map(str::as_bytes));
        assert!(seen.is_ok());
    }
    let mut config = client();
    config.alpn_protocols = vec![b"spdy".to_vec()];
    let (shaken, seen) = meet(&settings, config.clone(), "a.example");
    assert!(shaken.is_err() && seen.unwrap_err().contains("NoApplicationProtocol"));
    let unasked = settings::shared(&PLAIN, &[], &Keyring::new(secret(), now)).unwrap();
    let (shaken, seen) = meet(&unasked, config, "a.example");
    assert_eq!((shaken.unwrap().alpn, seen.is_ok()), (None, true));
}

#[test]
fn clients_are_judged() {
    let good = AUTHORITY.issue(&["client"]);
    let stranger = Authority::new("strangers").issue(&["client"]);
    let expired = AUTHORITY.issue_until(&["client"], 2001);
    use ClientAuth::{Optional, Required};
    for (auth, shows, welcome) in [
        (Required, Some(&good), true),
        (Required, None, false),
        (Required, Some(&stranger), false),
        (Required, Some(&expired), false),
        (Optional, Some(&good), true),
        (Optional, None, true),
        (Optional, Some(&stranger), false),
    ] {
        let settings = server(&with_clients(auth), &secret());
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let (shaken, seen) = meet(&settings, client_of(version, shows), "a.example");
            let said = shaken.as_ref().map_or_else(ToString::to_string, |_| String::new());
            assert_eq!((shaken.is_ok(), seen.is_ok()), (welcome, welcome), "{auth:?} {said}");
            assert!(welcome || seen.unwrap_err().contains("received fatal alert"), "it is told");
        }
    }
}

/// What a client that is no TLS client is answered before the end, and what is said of it.
fn insult(words: &[u8]) -> (Vec<u8>, std::io::Error) {
    let (ours, mut theirs) = pair();
    theirs.write_all(words).unwrap();
    let mut side = Side::new(ours, &server(&PLAIN, &secret()));
    let error = side.handshake().unwrap_err();
    drop(side);
    let mut answer = Vec::new();
    // What it has sent and nobody read makes a reset of the end.
    let _ = theirs.read_to_end(&mut answer);
    (answer, error)
}

#[test]
fn who_speaks_something_else_gets_an_alert() {
    for words in [
        &b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"[..],
        b"\x00\x01\x02\x03\x04\x05\x06\x07",
        b"SSH-2.0-x\r\n",
    ] {
        let (answer, error) = insult(words);
        // Alert, of some version, two bytes: fatal.
        assert!(matches!(answer[..], [0x15, 3, _, 0, 2, 2, _]), "{answer:?}");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert_eq!(error.to_string(), "what came is not TLS (plain HTTP to a TLS port?)");
    }
    let (answer, error) = insult(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\xff");
    assert!(matches!(answer[..], [0x15, 3, _, 0, 2, 2, _]), "{answer:?}: {error}");
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}

#[test]
fn who_leaves_in_the_middle_is_no_mystery() {
    for words in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let (ours, mut theirs) = pair();
        theirs.write_all(words).unwrap();
        drop(theirs);
        let error = Side::new(ours, &server(&PLAIN, &secret())).handshake().unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::UnexpectedEof, "the client left during the handshake")
        );
    }
}

#[test]
fn a_handshake_may_come_in_single_bytes() {
    struct Drops(UnixStream);
    impl Read for Drops {
        fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(bytes)
        }
    }
    impl Write for Drops {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            std::thread::yield_now();
            self.0.write(&bytes[..1])
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (ours, theirs) = pair();
    let visitor = std::thread::spawn(move || {
        let name = ServerName::try_from("a.example").unwrap();
        let session = ClientConnection::new(Arc::new(client()), name).unwrap();
        let mut client = StreamOwned::new(session, Drops(theirs));
        client.write_all(b"drop by drop").unwrap();
        client.flush().unwrap();
        let mut answer = [0; 4];
        client.read_exact(&mut answer).unwrap();
        answer
    });
    let mut side = Side::new(ours, &server(&PLAIN, &secret()));
    side.handshake().unwrap();
    assert_eq!(side.read(12).unwrap(), b"drop by drop");
    side.write(b"fine").unwrap();
    assert_eq!(&visitor.join().unwrap(), b"fine");
}
