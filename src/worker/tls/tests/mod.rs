//! TLS against rustls as a client, in a thread of its own, over a pair of sockets.

mod handshakes;
mod streams;
mod tickets;

use super::{Keyring, Tls, settings};
use crate::config;
use crate::config::testing::Authority;
use crate::config::types::{ClientAuth, Clients, Sni};
use crate::model::tickets::EPOCH;
use crate::model::{Moment, TicketSecret};
use crate::worker::engine::Handle;
use crate::worker::engine::io::{Io, Socket};
use crate::worker::engine::reactor::Reactor;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, StreamOwned, SupportedProtocolVersion};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Wake};
use std::thread::JoinHandle;
use std::time::Duration;

pub const PATIENCE: Duration = Duration::from_secs(20);

/// Signs everything that is to be believed.
pub static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::new("tests"));
/// The `tls` of most tests: a.example, and b.example with what is below it.
pub static PLAIN: LazyLock<config::Tls> = LazyLock::new(|| config::Tls {
    certificate: AUTHORITY.issue(&["a.example"]),
    sni: vec![
        Sni { hosts: vec!["b.example".into()], certificate: AUTHORITY.issue(&["b.example"]) },
        Sni { hosts: vec!["*.b.example".into()], certificate: AUTHORITY.issue(&["*.b.example"]) },
    ],
    clients: None,
});

/// `PLAIN` where clients have certificates of the authority.
pub fn with_clients(auth: ClientAuth) -> config::Tls {
    config::Tls { clients: Some(Clients { ca: AUTHORITY.pem(), auth }), ..PLAIN.clone() }
}

/// When all tests take place.
pub fn now() -> Moment {
    Moment(0) + EPOCH * 5
}

pub fn secret() -> TicketSecret {
    TicketSecret::new([9; 32], now())
}

pub fn server(tls: &config::Tls, secret: &TicketSecret) -> Arc<ServerConfig> {
    settings::shared(tls, &["h2", "http/1.1"], &Keyring::new(secret.clone(), now)).unwrap()
}

/// A client that believes the authority; `shows` is its own certificate.
pub fn client_of(
    version: &'static SupportedProtocolVersion,
    shows: Option<&config::Certificate>,
) -> ClientConfig {
    let roots = config::pem::authorities(&AUTHORITY.pem()).unwrap();
    let builder = ClientConfig::builder_with_provider(config::pem::provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    match shows {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            let pair = Arc::new(config::pem::certified_key(certificate).unwrap());
            builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(pair)))
        }
    }
}

pub fn client() -> ClientConfig {
    client_of(&rustls::version::TLS13, None)
}

/// The client's end: reading and writing shake hands first.
pub type Client = StreamOwned<ClientConnection, UnixStream>;

/// Runs a client in a thread.
pub fn visit<T: Send + 'static>(
    config: ClientConfig,
    host: &'static str,
    socket: UnixStream,
    act: impl FnOnce(&mut Client) -> T + Send + 'static,
) -> JoinHandle<T> {
    std::thread::spawn(move || {
        let session = ClientConnection::new(Arc::new(config), ServerName::try_from(host).unwrap()).unwrap();
        act(&mut StreamOwned::new(session, socket))
    })
}

/// Two sockets: ours, and the client's, which gives up in time.
pub fn pair() -> (OwnedFd, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_read_timeout(Some(PATIENCE)).unwrap();
    theirs.set_write_timeout(Some(PATIENCE)).unwrap();
    (ours.into(), theirs)
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A worker's side of one connection.
pub struct Side {
    reactor: Reactor<()>,
    pub io: Io,
    pub tls: Tls,
}

impl Side {
    pub fn new(socket: OwnedFd, settings: &Arc<ServerConfig>) -> Side {
        let mut reactor = Reactor::new().unwrap();
        let engine = Rc::new(Handle::new(reactor.registry()).unwrap());
        let key = reactor.add(socket.as_raw_fd(), ()).unwrap();
        let io = Io::new(&engine, key, Socket { fd: socket, watches_writing: false }, false);
        Side { reactor, io, tls: Tls::new(settings).unwrap() }
    }

    /// Polls once; `None` is Pending and nobody to wake it but the socket.
    pub fn once<T>(&mut self, mut step: impl FnMut(&mut Tls, &Io, &mut Context<'_>) -> Poll<T>) -> Option<T> {
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        let waker = flag.clone().into();
        let mut cx = Context::from_waker(&waker);
        loop {
            match step(&mut self.tls, &self.io, &mut cx) {
                Poll::Ready(done) => return Some(done),
                Poll::Pending if flag.0.swap(false, Ordering::Relaxed) => {}
                Poll::Pending => return None,
            }
        }
    }

    /// Polls until it is ready.
    pub fn run<T>(&mut self, mut step: impl FnMut(&mut Tls, &Io, &mut Context<'_>) -> Poll<T>) -> T {
        loop {
            if let Some(done) = self.once(&mut step) {
                return done;
            }
            let batch = self.reactor.wait(PATIENCE).unwrap();
            assert!(!batch.is_empty(), "nothing happens any more");
            batch.iter().for_each(|ready| self.io.event(ready));
            self.reactor.done(batch);
        }
    }

    pub fn handshake(&mut self) -> std::io::Result<super::Handshaken> {
        self.run(Tls::handshake)
    }

    /// Reads until `length` bytes or the end.
    pub fn read(&mut self, length: usize) -> std::io::Result<Vec<u8>> {
        let mut all = Vec::new();
        while all.len() < length {
            let most = length - all.len();
            if self.run(|tls, io, cx| tls.poll_read(io, cx, most, |bytes| all.extend_from_slice(bytes)))? == 0
            {
                break;
            }
        }
        Ok(all)
    }

    pub fn write(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            let n = self.run(|tls, io, cx| tls.poll_write(io, cx, bytes))?;
            bytes = &bytes[n..];
        }
        self.run(Tls::poll_flush)
    }
}
