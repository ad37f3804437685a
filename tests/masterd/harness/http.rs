//! A plain HTTP/1.1 client over TCP and unix sockets, exact about how a request was lost.
//!
//! `get` for one request, `Conn` for a connection that is kept, fed byte by byte, or left alone. Bodies may be
//! framed in every way there is (`body`). Every wait has a deadline (`PATIENCE`, or `Conn::patience`).

use super::tls::Secure;
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixStream};
use std::time::{Duration, Instant};

/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Why a request got no complete answer.
#[derive(Debug)]
pub enum Lost {
    /// No connection: refused, or not accepted in time.
    Connect(io::Error),
    Send(io::Error),
    /// Closed in good order before the first byte of an answer.
    NoAnswer,
    /// Reset, with so many bytes of an answer read.
    Reset(usize),
    /// Closed in the middle of an answer, with so many bytes of it read.
    Cut(usize),
    /// Nothing, or not the rest, in time.
    Late(usize),
    /// Not HTTP, or not what was asked for.
    Wrong(String),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::Connect(e) => write!(f, "no connection: {e}"),
            Lost::Send(e) => write!(f, "could not send: {e}"),
            Lost::NoAnswer => write!(f, "closed without an answer"),
            Lost::Reset(n) => write!(f, "reset after {n} bytes"),
            Lost::Cut(n) => write!(f, "cut off after {n} bytes"),
            Lost::Late(n) => write!(f, "not in time, {n} bytes had come"),
            Lost::Wrong(what) => write!(f, "wrong: {what}"),
        }
    }
}

/// A complete answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub trailers: Vec<(String, String)>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        value_of(&self.headers, name)
    }

    /// Whether the server closes after this answer.
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("close"))
    }

    /// A `name=value` of the body that `Web` configs answer with.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.body.split_ascii_whitespace().find_map(|w| w.strip_prefix(name)?.strip_prefix('='))
    }

    /// A field that is a number.
    #[track_caller]
    pub fn number(&self, name: &str) -> i64 {
        let found = self.field(name).and_then(|v| v.parse().ok());
        found.unwrap_or_else(|| panic!("no number {name} in {self:?}"))
    }
}

/// One GET on a connection of its own, which the server is asked to close.
pub fn get(address: &str, path: &str) -> Result<Response, Lost> {
    let mut conn = Conn::open(address)?;
    conn.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").as_bytes())?;
    conn.receive()
}

/// What a connection runs over.
#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<Secure>),
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Stream {
        Stream::Tcp(stream)
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Stream {
        Stream::Unix(stream)
    }
}

impl From<Secure> for Stream {
    fn from(stream: Secure) -> Stream {
        Stream::Tls(Box::new(stream))
    }
}

/// A connection.
#[derive(Debug)]
pub struct Conn {
    stream: Stream,
    /// Read, and not yet part of an answer.
    pending: Vec<u8>,
    pub patience: Duration,
}

/// All kinds of stream know these calls.
macro_rules! either {
    ($self:expr, $stream:ident => $call:expr) => {
        match &$self.stream {
            Stream::Tcp($stream) => $call,
            Stream::Unix($stream) => $call,
            Stream::Tls(stream) => {
                let $stream = &**stream;
                $call
            }
        }
    };
}

impl Conn {
    /// Connects to "IP:PORT", "unix:PATH" or "unix:@NAME", as `status` shows them.
    pub fn open(address: &str) -> Result<Conn, Lost> {
        Ok(Conn::on(Conn::stream_to(address).map_err(Lost::Connect)?))
    }

    /// The other side: a connection that was accepted.
    pub fn on(stream: impl Into<Stream>) -> Conn {
        Conn { stream: stream.into(), pending: Vec::new(), patience: PATIENCE }
    }

    fn stream_to(address: &str) -> io::Result<Stream> {
        if let Some(name) = address.strip_prefix("unix:@") {
            let address = UnixAddr::from_abstract_name(name)?;
            return Ok(Stream::Unix(UnixStream::connect_addr(&address)?));
        }
        if let Some(path) = address.strip_prefix("unix:") {
            return Ok(Stream::Unix(UnixStream::connect(path)?));
        }
        let address: SocketAddr =
            address.parse().map_err(|_| io::Error::new(ErrorKind::InvalidInput, address.to_owned()))?;
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        Ok(Stream::Tcp(stream))
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        let sent = either!(self, s => {
            s.set_write_timeout(Some(self.patience)).and_then(|()| { let mut s = s; s.write_all(bytes) })
        });
        sent.map_err(Lost::Send)
    }

    /// A GET that keeps the connection, and its answer.
    pub fn get(&mut self, path: &str) -> Result<Response, Lost> {
        self.ask(path)?;
        self.receive()
    }

    /// Sends a GET that keeps the connection.
    pub fn ask(&mut self, path: &str) -> Result<(), Lost> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes())
    }

    /// Reads one answer to a GET.
    pub fn receive(&mut self) -> Result<Response, Lost> {
        self.receive_for("GET")
    }

    /// Reads one answer to this method; a 1xx is an answer, too.
    pub fn receive_for(&mut self, method: &str) -> Result<Response, Lost> {
        let mut response = self.receive_head()?;
        let bare = method == "HEAD" || response.status < 200 || [204, 304].contains(&response.status);
        if !bare {
            let (body, trailers) = self.read_body(&response.headers, true).map_err(|lost| match lost {
                Lost::NoAnswer => Lost::Cut(0),
                other => other,
            })?;
            response.body = String::from_utf8_lossy(&body).into_owned();
            response.trailers = trailers;
        }
        Ok(response)
    }

    /// Reads the head of an answer; what follows is left to be read.
    pub fn receive_head(&mut self) -> Result<Response, Lost> {
        let (first, headers) = self.read_head()?;
        let status = first.strip_prefix("HTTP/1.").and_then(|l| l.get(2..5)?.parse().ok());
        let status = status.ok_or_else(|| Lost::Wrong(format!("first line {first:?}")))?;
        Ok(Response { status, headers, body: String::new(), trailers: Vec::new() })
    }

    /// Reads the head of a message: its first line, and the fields.
    pub fn read_head(&mut self) -> Result<(String, Vec<(String, String)>), Lost> {
        let head = self.until(b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(&head);
        let (first, rest) = text.split_once("\r\n").unwrap_or((&text, ""));
        Ok((first.to_owned(), fields(rest)))
    }

    /// Reads the body that this head announces, and its trailers. One of no announced length ends with the
    /// connection (answers) or is none (requests).
    pub fn read_body(&mut self, headers: &[(String, String)], answer: bool) -> Result<Body, Lost> {
        if value_of(headers, "transfer-encoding").is_some() {
            let mut body = Vec::new();
            loop {
                let chunk = self.read_chunk()?;
                if chunk.is_empty() {
                    break;
                }
                body.extend(chunk);
            }
            let mut trailers = Vec::new();
            loop {
                let line = self.until(b"\r\n")?;
                if line.is_empty() {
                    return Ok((body, trailers));
                }
                trailers.extend(fields(&String::from_utf8_lossy(&line)));
            }
        }
        match value_of(headers, "content-length").map(str::parse) {
            Some(Ok(length)) => Ok((self.read_exactly(length)?, Vec::new())),
            Some(Err(e)) => Err(Lost::Wrong(format!("a length that is none: {e}"))),
            None if answer => Ok((self.read_to_end()?, Vec::new())),
            None => Ok((Vec::new(), Vec::new())),
        }
    }

    /// Reads one chunk of a chunked body; the last one is empty, and trailers follow.
    pub fn read_chunk(&mut self) -> Result<Vec<u8>, Lost> {
        let line = self.until(b"\r\n")?;
        let text = String::from_utf8_lossy(&line).into_owned();
        let size = usize::from_str_radix(text.split(';').next().unwrap_or_default().trim(), 16);
        match size.map_err(|_| Lost::Wrong(format!("a chunk of size {text:?}")))? {
            0 => Ok(Vec::new()),
            size => {
                let mut chunk = self.read_exactly(size + 2)?;
                chunk.truncate(size);
                Ok(chunk)
            }
        }
    }

    /// Reads up to this mark, which is thrown away.
    pub fn until(&mut self, mark: &[u8]) -> Result<Vec<u8>, Lost> {
        let end = Instant::now() + self.patience;
        loop {
            if let Some(at) = self.pending.windows(mark.len()).position(|w| w == mark) {
                let mut head: Vec<u8> = self.pending.drain(..at + mark.len()).collect();
                head.truncate(at);
                return Ok(head);
            }
            self.more(end)?;
        }
    }

    /// Reads so many bytes.
    pub fn read_exactly(&mut self, length: usize) -> Result<Vec<u8>, Lost> {
        let end = Instant::now() + self.patience;
        while self.pending.len() < length {
            self.more(end)?;
        }
        Ok(self.pending.drain(..length).collect())
    }

    /// Reads until the other side has ended; anything but a FIN is a loss.
    pub fn read_to_end(&mut self) -> Result<Vec<u8>, Lost> {
        let end = Instant::now() + self.patience;
        loop {
            match self.read_some(end) {
                Ok(0) => return Ok(std::mem::take(&mut self.pending)),
                Ok(_) => {}
                Err(e) => return Err(self.lost(&e)),
            }
        }
    }

    /// Reads what is there, or waits for something; empty at the end.
    pub fn read_any(&mut self) -> Result<Vec<u8>, Lost> {
        if self.pending.is_empty()
            && let Err(e) = self.read_some(Instant::now() + self.patience)
        {
            return Err(self.lost(&e));
        }
        Ok(std::mem::take(&mut self.pending))
    }

    /// Reads more; an end or an error is a loss.
    fn more(&mut self, end: Instant) -> Result<(), Lost> {
        let had = self.pending.len();
        match self.read_some(end) {
            Ok(0) if had == 0 => Err(Lost::NoAnswer),
            Ok(0) => Err(Lost::Cut(had)),
            Ok(_) => Ok(()),
            Err(e) => Err(self.lost(&e)),
        }
    }

    fn lost(&self, error: &io::Error) -> Lost {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Lost::Late(self.pending.len()),
            _ => Lost::Reset(self.pending.len()),
        }
    }

    fn read_some(&mut self, end: Instant) -> io::Result<usize> {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let mut chunk = [0; 16 << 10];
        let n = either!(self, s => {
            s.set_read_timeout(Some(left))?;
            let mut s = s;
            s.read(&mut chunk)?
        });
        self.pending.extend_from_slice(&chunk[..n]);
        Ok(n)
    }

    /// Waits until the server has closed; true if it did so in good order and without another byte.
    pub fn closed_within(&mut self, limit: Duration) -> bool {
        matches!(self.read_some(Instant::now() + limit), Ok(0)) && self.pending.is_empty()
    }

    /// How it is right now, without waiting: None if open and silent, else what came instead.
    pub fn unasked(&mut self) -> Option<Lost> {
        if !self.pending.is_empty() {
            return Some(Lost::Wrong(format!("bytes that nobody asked for: {:?}", self.pending)));
        }
        let mut byte = [0; 1];
        let looked = match &self.stream {
            Stream::Tcp(s) => s.set_nonblocking(true).and_then(|()| s.peek(&mut byte)).and_then(|n| {
                s.set_nonblocking(false)?;
                Ok(n)
            }),
            // No peek in std; what is read is kept as pending.
            Stream::Unix(s) => s.set_nonblocking(true).and_then(|()| {
                let mut s = s;
                let read = s.read(&mut byte);
                s.set_nonblocking(false)?;
                read
            }),
            Stream::Tls(s) => s.set_nonblocking(true).and_then(|()| {
                let mut s = &**s;
                let read = s.read(&mut byte);
                s.set_nonblocking(false)?;
                read
            }),
        };
        // Blocking again even after "nothing there".
        let _ = either!(self, s => s.set_nonblocking(false));
        match looked {
            Ok(0) => Some(Lost::NoAnswer),
            Ok(_) => Some(Lost::Wrong("bytes that nobody asked for".to_owned())),
            Err(e) if e.kind() == ErrorKind::WouldBlock => None,
            Err(_) => Some(Lost::Reset(0)),
        }
    }

    /// Whether it has failed: a reset that came behind a FIN shows nowhere else.
    pub fn has_failed(&self) -> bool {
        either!(self, s => s.take_error().is_ok_and(|error| error.is_some()))
    }

    /// No more will be sent.
    pub fn shut_write(&self) {
        let _ = either!(self, s => s.shutdown(Shutdown::Write));
    }

    /// Closes with a reset, where the protocol has one (SO_LINGER with zero seconds, socket(7)).
    pub fn reset(self) {
        let _ = either!(self, s => setsockopt(s, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 }));
    }

    /// The local address, for finding this connection in `status --connections`.
    pub fn local(&self) -> Option<SocketAddr> {
        match &self.stream {
            Stream::Tcp(s) => s.local_addr().ok(),
            Stream::Unix(_) => None,
            Stream::Tls(s) => s.tcp().local_addr().ok(),
        }
    }

    /// What TLS knows of it.
    #[track_caller]
    pub fn tls(&self) -> &Secure {
        match &self.stream {
            Stream::Tls(secure) => secure,
            other => panic!("no TLS on {other:?}"),
        }
    }
}

/// For whoever writes to anything; `Conn::patience` bounds it.
impl Write for Conn {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.send(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(Lost::Send(e)) => Err(e),
            Err(other) => Err(io::Error::other(other.to_string())),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A body and its trailers.
pub type Body = (Vec<u8>, Vec<(String, String)>);

/// Lines of fields, names in lower case.
fn fields(lines: &str) -> Vec<(String, String)> {
    let pairs = lines.split("\r\n").filter_map(|line| line.split_once(':'));
    pairs.map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned())).collect()
}

/// The first field of this name.
pub fn value_of<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}
