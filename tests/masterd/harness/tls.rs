//! TLS as clients speak it, and the certificates that they believe.
//!
//! ```ignore
//! let authority = Authority::new();
//! authority.issue(&place, "a", &["a.example"]);           // a.pem and a.key in the place
//! let mut conn = Caller::new(&authority).call(&address, "a.example").expect("a handshake");
//! ```
//! A `Conn` over TLS ends in good order with a close_notify only: a bare FIN counts as a loss.

use super::http::{Conn, PATIENCE};
use super::place::Place;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SerialNumber};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, SupportedProtocolVersion};
use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

static SERIAL: AtomicU64 = AtomicU64::new(1000);

/// Signs everything that is to be believed.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Authority {
        let mut about = CertificateParams::default();
        about.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        about.distinguished_name.push(DnType::CommonName, "tests");
        let key = KeyPair::generate().expect("a key");
        Authority { issuer: CertifiedIssuer::self_signed(about, key).expect("a certificate") }
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Certificate and key for these hosts, as PEM. Each has a serial number of its own.
    pub fn sign(&self, hosts: &[&str]) -> (String, String) {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut about = CertificateParams::new(hosts).expect("names");
        about.serial_number = Some(SerialNumber::from(SERIAL.fetch_add(1, Ordering::Relaxed)));
        let key = KeyPair::generate().expect("a key");
        let signed = about.signed_by(&key, &self.issuer).expect("a certificate");
        (signed.pem(), key.serialize_pem())
    }

    /// Puts NAME.pem and NAME.key into the place.
    pub fn issue(&self, place: &Place, name: &str, hosts: &[&str]) {
        let (certificate, key) = self.sign(hosts);
        place.write(&format!("{name}.pem"), &certificate);
        place.write(&format!("{name}.key"), &key);
    }
}

/// How a client shakes hands; it remembers sessions.
#[derive(Clone)]
pub struct Caller {
    config: Arc<ClientConfig>,
}

impl Caller {
    pub fn new(authority: &Authority) -> Caller {
        Caller::build(authority, rustls::DEFAULT_VERSIONS, None, &[])
    }

    /// With protocols to choose from: `["h2"]`.
    pub fn speaking(authority: &Authority, alpn: &[&str]) -> Caller {
        Caller::build(authority, rustls::DEFAULT_VERSIONS, None, alpn)
    }

    /// By this version only.
    pub fn by(authority: &Authority, version: &'static SupportedProtocolVersion) -> Caller {
        Caller::build(authority, &[version], None, &[])
    }

    /// Shows a certificate (and its key), both as PEM.
    pub fn showing(authority: &Authority, own: &(String, String)) -> Caller {
        Caller::build(authority, rustls::DEFAULT_VERSIONS, Some(own), &[])
    }

    fn build(
        authority: &Authority,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&(String, String)>,
        alpn: &[&str],
    ) -> Caller {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("a certificate");
        roots.add(root).expect("an authority");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate");
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
                builder.with_client_auth_cert(vec![chain], key).expect("a pair")
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Caller { config: Arc::new(config) }
    }

    /// Connects and shakes hands.
    pub fn call(&self, address: &str, host: &str) -> io::Result<Conn> {
        self.on(connect(address)?, host)
    }

    /// Shakes hands on a connection.
    pub fn on(&self, tcp: TcpStream, host: &str) -> io::Result<Conn> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(self.config.clone(), name).map_err(io::Error::other)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut &tcp)?;
        }
        Ok(Conn::on(Secure { tls: RefCell::new(tls), tcp }))
    }
}

/// A bare connection.
pub fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A TLS connection in the shape of a socket.
#[derive(Debug)]
pub struct Secure {
    tls: RefCell<ClientConnection>,
    tcp: TcpStream,
}

impl Secure {
    /// By a ticket.
    pub fn was_resumed(&self) -> bool {
        self.tls.borrow().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    pub fn alpn(&self) -> Option<String> {
        self.tls.borrow().alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned())
    }

    /// What the server has shown, DER. A resumed session shows what the first one did.
    pub fn certificate(&self) -> Vec<u8> {
        let tls = self.tls.borrow();
        tls.peer_certificates().and_then(|chain| chain.first()).map(|der| der.to_vec()).unwrap_or_default()
    }

    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    pub fn set_read_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        self.tcp.set_read_timeout(limit)
    }

    pub fn set_write_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        self.tcp.set_write_timeout(limit)
    }

    pub fn set_nonblocking(&self, on: bool) -> io::Result<()> {
        self.tcp.set_nonblocking(on)
    }

    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.tcp.take_error()
    }

    /// Says close_notify, and FIN.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let mut tls = self.tls.borrow_mut();
        tls.send_close_notify();
        while tls.wants_write() {
            tls.write_tls(&mut &self.tcp)?;
        }
        self.tcp.shutdown(how)
    }
}

impl AsFd for Secure {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tcp.as_fd()
    }
}

impl Read for &Secure {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        rustls::Stream::new(&mut *self.tls.borrow_mut(), &mut &self.tcp).read(buffer)
    }
}

impl Write for &Secure {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        rustls::Stream::new(&mut *self.tls.borrow_mut(), &mut &self.tcp).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        rustls::Stream::new(&mut *self.tls.borrow_mut(), &mut &self.tcp).flush()
    }
}
