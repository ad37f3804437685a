//! Sessions that go on with another worker, and for how long.

use super::*;
use rustls::server::ProducesTickets;
use std::io::Write;

/// The secret, so many epochs later.
fn later(epochs: u32) -> TicketSecret {
    let mut secret = secret();
    secret.advance(now() + EPOCH * epochs);
    secret
}

/// A client that remembers sessions visits; whether it could resume one.
fn resumes(config: &ClientConfig, settings: &Arc<ServerConfig>) -> bool {
    let (ours, theirs) = pair();
    let visitor = visit(config.clone(), "a.example", theirs, |client| {
        client.write_all(b"?").unwrap();
        client.flush().unwrap();
        // The ticket comes before it.
        let mut end = Vec::new();
        std::io::Read::read_to_end(client, &mut end).unwrap();
        client.conn.handshake_kind()
    });
    let mut side = Side::new(ours, settings);
    let shaken = side.handshake().unwrap();
    assert_eq!(side.read(1).unwrap(), b"?");
    side.run(Tls::send_close_notify).unwrap();
    let kind = visitor.join().unwrap();
    assert_eq!(shaken.resumed, kind == Some(rustls::HandshakeKind::Resumed));
    assert_eq!(shaken.sni.as_deref(), Some("a.example"), "a resumed session has its name too");
    shaken.resumed
}

#[test]
fn a_session_goes_on_with_another_worker_for_two_epochs() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        for (epochs, expected) in [(0, true), (1, true), (2, false), (3, false)] {
            let config = client_of(version, None);
            assert!(!resumes(&config, &server(&PLAIN, &secret())), "nothing to resume yet");
            assert_eq!(resumes(&config, &server(&PLAIN, &later(epochs))), expected, "{epochs}");
            // What the other has given out is as good.
            assert!(resumes(&config, &server(&PLAIN, &later(epochs))));
        }
    }
}

#[test]
fn another_secret_resumes_nothing() {
    let config = client();
    assert!(!resumes(&config, &server(&PLAIN, &secret())));
    let other = TicketSecret::new([1; 32], now());
    assert!(!resumes(&config, &server(&PLAIN, &other)));
}

#[test]
fn a_session_goes_on_only_where_the_same_was_proved() {
    let shows = AUTHORITY.issue(&["client"]);
    let optional = with_clients(ClientAuth::Optional);
    let other_ca = config::Tls {
        clients: Some(Clients { ca: Authority::new("others").pem(), auth: ClientAuth::Optional }),
        ..PLAIN.clone()
    };
    let renewed = config::Tls { certificate: AUTHORITY.issue(&["a.example"]), ..PLAIN.clone() };
    let fewer = config::Tls { sni: Vec::new(), ..PLAIN.clone() };
    for (n, (first, second, expected)) in [
        (&optional, &optional, true),
        (&*PLAIN, &optional, false),
        (&optional, &with_clients(ClientAuth::Required), false),
        (&optional, &other_ca, false),
        (&*PLAIN, &renewed, false),
        (&*PLAIN, &fewer, false),
    ]
    .into_iter()
    .enumerate()
    {
        let shows = std::ptr::eq(first, second).then_some(&shows);
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let config = client_of(version, shows);
            resumes(&config, &server(first, &secret()));
            let settings = server(second, &secret());
            if n == 2 {
                // Without a certificate it is not let in, ticket or not.
                let (ours, theirs) = pair();
                let visitor = visit(config, "a.example", theirs, |client| {
                    client.write_all(b"?").and_then(|()| std::io::Read::read(client, &mut [0])).is_err()
                });
                assert!(Side::new(ours, &settings).handshake().is_err() && visitor.join().unwrap());
            } else {
                assert_eq!(resumes(&config, &settings), expected, "{n}");
            }
        }
    }
}

#[test]
fn only_a_whole_ticket_of_ours_is_opened() {
    let tickets = |secret: TicketSecret, bound_to: u8| Keyring::new(secret, now).tickets([bound_to; 32]);
    let ours = tickets(secret(), 1);
    let ticket = ours.encrypt(b"session").unwrap();
    assert_eq!(ticket.len(), 8 + 12 + 7 + 16);
    assert_ne!(ours.encrypt(b"session").unwrap(), ticket, "no nonce twice");
    assert_eq!(ours.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
    for n in 0..ticket.len() {
        assert_eq!(ours.decrypt(&ticket[..n]), None, "cut at {n}");
        let mut forged = ticket.clone();
        forged[n] ^= 1;
        assert_eq!(ours.decrypt(&forged), None, "changed at {n}");
    }
    assert_eq!(tickets(secret(), 2).decrypt(&ticket), None, "bound to something else");
    assert!(tickets(later(1), 1).decrypt(&ticket).is_some());
    assert_eq!(tickets(later(2), 1).decrypt(&ticket), None);
    assert_eq!(ours.decrypt(&tickets(later(1), 1).encrypt(b"session").unwrap()), None, "of the future");
    assert_eq!(ours.lifetime(), 8 * 3600);
    let shown = format!("{ours:?}");
    assert!(shown.contains("epoch") && !shown.contains("current"), "{shown}");
}

#[test]
fn a_worker_goes_on_by_its_clock() {
    for (clock, expected) in
        [(now as fn() -> Moment, true), (|| now() + EPOCH, true), (|| now() + EPOCH * 2, false)]
    {
        let ticket = Keyring::new(secret(), now).tickets([0; 32]).encrypt(b"session").unwrap();
        let tickets = Keyring::new(secret(), clock).tickets([0; 32]);
        assert_eq!(tickets.decrypt(&ticket).is_some(), expected, "by those who come");
        let keyring = Keyring::new(secret(), clock);
        keyring.advance();
        let same = Keyring { clock: now, ..keyring };
        assert_eq!(same.tickets([0; 32]).decrypt(&ticket).is_some(), expected, "and without them");
    }
    let later = Keyring::new(secret(), || now() + EPOCH * 3).tickets([0; 32]).encrypt(b"session").unwrap();
    assert_eq!(later[..8], (secret().epoch() + 3).to_be_bytes());
}
