//! A TLS 1.3 client that makes a connection for each request, with or without the tickets it has been given.

use super::certificate;
use masterd::sys::limits;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, Stream};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

const CLIENTS: usize = 8;
const LOAD_CPU: usize = 1;
const PATIENCE: Duration = Duration::from_secs(5);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: bench.example\r\nConnection: close\r\n\r\n";

/// What came of a storm of connections.
#[derive(Clone, Copy, Default)]
pub struct Made {
    pub full: usize,
    pub resumed: usize,
}

/// Connections from eight clients for so long, each of which has had one before; `begun` is called between.
pub fn storm(address: SocketAddr, resume: bool, time: Duration, begun: impl FnOnce()) -> Made {
    let (ready, go) = (Barrier::new(CLIENTS + 1), Barrier::new(CLIENTS + 1));
    let client = || {
        limits::set_affinity(&[LOAD_CPU]).expect("a second CPU");
        let config = config(resume);
        connect(&config, address).expect("the first connection");
        ready.wait();
        go.wait();
        let (start, mut made) = (Instant::now(), Made::default());
        while start.elapsed() < time {
            match connect(&config, address).expect("a connection") {
                HandshakeKind::Resumed => made.resumed += 1,
                _ => made.full += 1,
            }
        }
        made
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        ready.wait();
        begun();
        go.wait();
        let made = clients.into_iter().map(|client| client.join().expect("a client"));
        made.fold(Made::default(), |all, one| Made {
            full: all.full + one.full,
            resumed: all.resumed + one.resumed,
        })
    })
}

/// The same suite and group with every server: what they choose by themselves differs.
fn config(resume: bool) -> Arc<ClientConfig> {
    let ring = ring::default_provider();
    let suites =
        ring.cipher_suites.iter().filter(|suite| **suite == ring::cipher_suite::TLS13_AES_128_GCM_SHA256);
    let provider = CryptoProvider {
        cipher_suites: suites.copied().collect(),
        kx_groups: vec![ring::kx_group::X25519],
        ..ring.clone()
    };
    let mut roots = RootCertStore::empty();
    roots.add(certificate::own().der.clone()).expect("trust the certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3");
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.resumption = if resume { Resumption::in_memory_sessions(32) } else { Resumption::disabled() };
    Arc::new(config)
}

/// Handshake, request, answer, the end.
fn connect(config: &Arc<ClientConfig>, address: SocketAddr) -> io::Result<HandshakeKind> {
    let host = certificate::HOST.try_into().expect("a host name");
    let mut conn = ClientConnection::new(config.clone(), host).map_err(io::Error::other)?;
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut stream = Stream::new(&mut conn, &mut socket);
    stream.write_all(REQUEST)?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // Some end without saying so in TLS; the answer's length tells whether it is whole.
        Err(e) if e.kind() != ErrorKind::UnexpectedEof => return Err(e),
        _ => {}
    }
    if !answer.starts_with(b"HTTP/1.1 200") || !answer.ends_with(b"hello world\n") {
        return Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned()));
    }
    conn.handshake_kind().ok_or_else(|| io::Error::other("no handshake"))
}
