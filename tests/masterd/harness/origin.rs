//! A scriptable server: what masterd passes connections and requests on to.
//!
//! ```ignore
//! let origin = Origin::answering(|asked| ok(&asked.line));            // requests in, answers out
//! let other = Origin::start(|visit| { visit.conn.send(b"hello").ok(); });    // one call per connection
//! let port = Port::reserve();                                         // refuses connections...
//! let third = Origin::on(&port, script);                              // ...until now, and again when it is dropped
//! ```
//! Each connection has a thread, and is closed when its script returns. Heads that `Visit::request` has read are
//! recorded. Dropping an origin resets what is open, and waits for its threads.

use super::http::{Body, Conn, Lost, value_of};
use super::{SOON, wait_until};
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, sockopt};
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A request as it came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Method, target and version.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// The number of its connection, from 0.
    pub connection: usize,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        value_of(&self.headers, name)
    }

    pub fn method(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }

    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }
}

/// One connection to an origin, in its script's hands.
#[derive(Debug)]
pub struct Visit {
    pub conn: Conn,
    /// Counted from 0.
    pub number: usize,
    shared: Arc<Shared>,
}

impl Visit {
    /// Reads the head of a request and records it; None at the end of the connection.
    pub fn request(&mut self) -> Option<Asked> {
        let (line, headers) = self.conn.read_head().ok()?;
        let asked = Asked { line, headers, connection: self.number, ..Asked::default() };
        self.shared.asked.lock().expect("the record").push(asked.clone());
        Some(asked)
    }

    /// Reads the body of a request, and notes it in the record.
    pub fn body(&mut self, asked: &mut Asked) -> Result<(), Lost> {
        let (body, trailers): Body = self.conn.read_body(&asked.headers, false)?;
        let mut record = self.shared.asked.lock().expect("the record");
        let mine = record.iter_mut().rev().find(|other| other.connection == self.number);
        (asked.body, asked.trailers) = (body, trailers);
        *mine.expect("its head has been recorded") = asked.clone();
        Ok(())
    }

    /// Sends bytes; false if the other side is gone.
    pub fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.conn.send(bytes.as_ref()).is_ok()
    }

    /// Waits until the other side has ended the connection. What still comes is thrown away.
    pub fn wait_gone(&mut self) {
        while self.conn.read_any().is_ok_and(|bytes| !bytes.is_empty()) {}
    }

    /// Waits until a condition holds; false if the other side went first, the origin is dropped, or it takes too long.
    pub fn wait_for(&mut self, mut condition: impl FnMut() -> bool) -> bool {
        let mut held = false;
        super::came_true(SOON, || {
            held = condition();
            held || self.conn.unasked().is_some() || self.shared.stop.load(Ordering::Relaxed)
        });
        held
    }

    /// Reads nothing and says nothing until a condition holds, or the origin is dropped.
    pub fn ignore_until(&self, mut condition: impl FnMut() -> bool) {
        super::came_true(SOON, || condition() || self.shared.stop.load(Ordering::Relaxed));
    }

    /// Closes with a reset.
    pub fn reset(self) {
        self.shared.forget(self.number);
        self.conn.reset();
    }
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    accepted: AtomicUsize,
    open: AtomicUsize,
    asked: Mutex<Vec<Asked>>,
    /// Handles on what is open, to end it from outside.
    streams: Mutex<Vec<(usize, TcpStream)>>,
}

impl Shared {
    fn forget(&self, number: usize) {
        self.streams.lock().expect("the open connections").retain(|(other, _)| *other != number);
    }
}

/// A port of this machine at which nobody listens, and that nobody else can have.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    _seat: OwnedFd,
}

impl Port {
    pub fn reserve() -> Port {
        let fd = socket::socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
            .expect("a socket");
        // With this another socket of ours may listen there: as long as this one does not.
        socket::setsockopt(&fd, sockopt::ReuseAddr, &true).expect("set SO_REUSEADDR");
        socket::bind(fd.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).expect("bind");
        let name: SockaddrIn = socket::getsockname(fd.as_raw_fd()).expect("an address");
        Port { address: SocketAddr::new(name.ip().into(), name.port()), _seat: fd }
    }

    /// "127.0.0.1:PORT".
    pub fn address(&self) -> String {
        self.address.to_string()
    }
}

/// An address that takes no connection and refuses none: its queue of one is full, and nobody empties it.
#[derive(Debug)]
pub struct Hole {
    address: String,
    _seat: OwnedFd,
    _queued: TcpStream,
}

impl Hole {
    pub fn new() -> Hole {
        let port = Port::reserve();
        let address = port.address();
        socket::listen(&port._seat, Backlog::new(0).expect("a length")).expect("listen");
        let queued = TcpStream::connect(&address).expect("fill the queue");
        Hole { address, _seat: port._seat, _queued: queued }
    }

    /// "127.0.0.1:PORT".
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// A server.
#[derive(Debug)]
pub struct Origin {
    address: String,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
    _port: Option<Port>,
    path: Option<PathBuf>,
}

impl Origin {
    /// On a port of its own.
    pub fn start(script: impl Fn(Visit) + Send + Sync + 'static) -> Origin {
        let port = Port::reserve();
        let mut origin = Origin::on(&port, script);
        origin._port = Some(port);
        origin
    }

    /// Reads requests, bodies and all, and sends what is made of them, connection after connection. No bytes: close.
    pub fn answering(answer: impl Fn(&Asked) -> String + Send + Sync + 'static) -> Origin {
        Origin::start(conversation(answer))
    }

    /// On a port that was reserved.
    pub fn on(port: &Port, script: impl Fn(Visit) + Send + Sync + 'static) -> Origin {
        let listener = TcpListener::bind(port.address).expect("listen");
        let accept = move || {
            let (stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        Origin::run(port.address(), accept, script)
    }

    /// On a unix socket: a path, or "@NAME".
    pub fn unix(name: &str, script: impl Fn(Visit) + Send + Sync + 'static) -> Origin {
        let (listener, path) = match name.strip_prefix('@') {
            Some(name) => {
                let address = UnixAddr::from_abstract_name(name).expect("a name");
                (UnixListener::bind_addr(&address).expect("listen"), None)
            }
            None => {
                let listener = UnixListener::bind(name).expect("listen");
                // Workers may have another user.
                let everybody = std::fs::Permissions::from_mode(0o666);
                std::fs::set_permissions(name, everybody).expect("open the socket to all");
                (listener, Some(PathBuf::from(name)))
            }
        };
        // A stream is a stream: reading, writing and shutting down are the same calls for all of them.
        let accept = move || listener.accept().map(|(stream, _)| TcpStream::from(OwnedFd::from(stream)));
        let mut origin = Origin::run(format!("unix:{name}"), accept, script);
        origin.path = path;
        origin
    }

    fn run(
        address: String,
        accept: impl Fn() -> io::Result<TcpStream> + Send + 'static,
        script: impl Fn(Visit) + Send + Sync + 'static,
    ) -> Origin {
        let shared = Arc::new(Shared::default());
        let (ours, script) = (shared.clone(), Arc::new(script));
        let accepting = std::thread::spawn(move || {
            let mut threads = Vec::new();
            loop {
                let Ok(stream) = accept() else { continue };
                if ours.stop.load(Ordering::Relaxed) {
                    break;
                }
                let number = ours.accepted.fetch_add(1, Ordering::Relaxed);
                ours.open.fetch_add(1, Ordering::Relaxed);
                let handle = stream.try_clone().expect("a second handle");
                ours.streams.lock().expect("the open connections").push((number, handle));
                let (script, shared) = (script.clone(), ours.clone());
                threads.push(std::thread::spawn(move || {
                    script(Visit { conn: Conn::on(stream), number, shared: shared.clone() });
                    shared.forget(number);
                    shared.open.fetch_sub(1, Ordering::Relaxed);
                }));
            }
            threads
        });
        // The scripts end with their connections, which the drop ends.
        let accepting = std::thread::spawn(move || {
            for thread in accepting.join().expect("the accepting thread") {
                thread.join().expect("a script of an origin");
            }
        });
        Origin { address, shared, accepting: Some(accepting), _port: None, path: None }
    }

    /// As a config names it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Connections so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Connections whose script has not ended.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Requests so far, in the order of their heads.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().expect("the record").clone()
    }

    /// Waits until every connection is closed: by whom there is, or by its script.
    #[track_caller]
    pub fn wait_closed(&self, limit: Duration) {
        wait_until("no connection to the origin is left", limit, || self.open() == 0);
    }

    /// Ends what is open, in good order; the scripts see the end.
    pub fn hang_up(&self) {
        for (_, stream) in self.shared.streams.lock().expect("the open connections").drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Wakes the accepting thread, which closes the listener.
        match self.address.strip_prefix("unix:") {
            Some(name) => drop(match name.strip_prefix('@') {
                Some(name) => {
                    UnixAddr::from_abstract_name(name).and_then(|name| UnixStream::connect_addr(&name))
                }
                None => UnixStream::connect(name),
            }),
            None => drop(TcpStream::connect(&self.address)),
        }
        let Some(accepting) = self.accepting.take() else { return };
        let ended = super::came_true(SOON, || {
            self.hang_up();
            accepting.is_finished()
        });
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
        if !std::thread::panicking() {
            assert!(ended, "a script of an origin does not end");
            accepting.join().expect("an origin");
        }
    }
}

/// A script that answers every request of a connection.
pub fn conversation(
    answer: impl Fn(&Asked) -> String + Send + Sync + 'static,
) -> impl Fn(Visit) + Send + Sync {
    move |mut visit| {
        while let Some(mut asked) = visit.request() {
            if visit.body(&mut asked).is_err() {
                return;
            }
            let answer = answer(&asked);
            if answer.is_empty() || !visit.say(answer) {
                return;
            }
        }
    }
}

/// A whole answer of 200 with this body.
pub fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The body that the load of `load.rs` takes for an answer.
pub fn marked(mark: &str) -> String {
    ok(&format!("pid=1 gen=0 seat=0 mark={mark}\n"))
}
