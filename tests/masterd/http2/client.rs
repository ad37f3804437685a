//! Just enough of HTTP/2 (RFC 9113) to be a client that keeps to it, or does not.
//!
//! ```ignore
//! let mut client = Client::open(&address);                 // preface and SETTINGS are exchanged
//! let answer = client.get("/");                            // one stream
//! let stream = client.ask(&[(":method", "POST"), …], false);
//! client.data(stream, b"body", true);                      // within the server's windows
//! let answer = client.answer(stream);
//! ```
//! Heads are sent without compression, in as many fields as a test likes. Windows are opened as what has come is read.

use super::hpack::{self, Decoder};
use crate::harness::{Conn, Lost};
use std::collections::BTreeMap;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The most that a frame may hold without being agreed on.
const FRAME: usize = 16_384;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// What has come on a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    pub ended: bool,
    /// The code of its RST_STREAM.
    pub reset: Option<u32>,
}

impl Answer {
    pub fn status(&self) -> u16 {
        crate::harness::http::value_of(&self.headers, ":status").and_then(|s| s.parse().ok()).unwrap_or(0)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub struct Client {
    pub conn: Conn,
    next: u32,
    decoder: Decoder,
    pub streams: BTreeMap<u32, Answer>,
    /// Last stream and code of each GOAWAY.
    pub goaway: Vec<(u32, u32)>,
    /// What may be sent: on the connection, and on each stream.
    window: i64,
    windows: BTreeMap<u32, i64>,
    initial: i64,
    /// Opens windows as it reads.
    pub generous: bool,
    /// Answers pings.
    pub polite: bool,
    settled: bool,
}

impl Client {
    /// By prior knowledge.
    #[track_caller]
    pub fn open(address: &str) -> Client {
        Client::on(Conn::open(address).expect("a connection"))
    }

    /// On a connection, which may be TLS.
    #[track_caller]
    pub fn on(conn: Conn) -> Client {
        let mut client = Client::bare(conn);
        client.send(PREFACE).expect("the preface");
        // No table: what is said of one head is never needed for the next.
        client.frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0]).expect("settings");
        while !client.settled {
            client.turn().expect("the server's settings");
        }
        client
    }

    /// Without a word yet.
    pub fn bare(conn: Conn) -> Client {
        Client {
            conn,
            next: 1,
            decoder: Decoder,
            streams: BTreeMap::new(),
            goaway: Vec::new(),
            window: 65_535,
            windows: BTreeMap::new(),
            initial: 65_535,
            generous: true,
            polite: true,
            settled: false,
        }
    }

    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        self.conn.send(bytes)
    }

    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<(), Lost> {
        self.send(&frame(kind, flags, stream, payload))
    }

    /// The number of the next stream.
    pub fn stream(&mut self) -> u32 {
        let stream = self.next;
        self.next += 2;
        self.streams.insert(stream, Answer::default());
        self.windows.insert(stream, self.initial);
        stream
    }

    /// Opens a stream with these fields, in this order.
    #[track_caller]
    pub fn ask(&mut self, fields: &[(&str, &str)], end: bool) -> u32 {
        let stream = self.stream();
        let mut rest = &hpack::encode(fields)[..];
        let (mut kind, mut flags) = (HEADERS, if end { END_STREAM } else { 0 });
        loop {
            let (part, left) = rest.split_at(rest.len().min(FRAME));
            rest = left;
            flags |= if rest.is_empty() { END_HEADERS } else { 0 };
            self.frame(kind, flags, stream, part).expect("send a head");
            if rest.is_empty() {
                return stream;
            }
            (kind, flags) = (CONTINUATION, 0);
        }
    }

    /// Sends a body, as fast as the server takes it. What comes meanwhile is taken in.
    pub fn data(&mut self, stream: u32, bytes: &[u8], end: bool) -> Result<(), Lost> {
        let mut rest = bytes;
        loop {
            let own = self.windows[&stream];
            let room = usize::try_from(self.window.min(own)).unwrap_or(0).min(FRAME).min(rest.len());
            if room == 0 && !rest.is_empty() {
                let answer = &self.streams[&stream];
                if answer.reset.is_some() || answer.ended {
                    return Err(Lost::Cut(bytes.len() - rest.len()));
                }
                self.turn()?;
                continue;
            }
            let last = end && room == rest.len();
            self.frame(DATA, if last { END_STREAM } else { 0 }, stream, &rest[..room])?;
            self.window -= room as i64;
            *self.windows.entry(stream).or_default() -= room as i64;
            rest = &rest[room..];
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// A GET and its whole answer.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Answer {
        let stream = self.ask(&getting(path), true);
        self.answer(stream)
    }

    /// Waits until a stream has ended, or was reset.
    #[track_caller]
    pub fn answer(&mut self, stream: u32) -> Answer {
        self.try_answer(stream).unwrap_or_else(|lost| panic!("stream {stream}: {lost}, {:?}", self.goaway))
    }

    pub fn try_answer(&mut self, stream: u32) -> Result<Answer, Lost> {
        while !self.streams.get(&stream).is_some_and(|answer| answer.ended || answer.reset.is_some()) {
            self.turn()?;
        }
        Ok(self.streams[&stream].clone())
    }

    /// Takes everything in until the connection ends.
    pub fn until_end(&mut self) -> Lost {
        loop {
            if let Err(lost) = self.turn() {
                return lost;
            }
        }
    }

    /// Takes one frame in and does what has to be done about it.
    pub fn turn(&mut self) -> Result<Frame, Lost> {
        let head = self.conn.read_exactly(9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let stream = number(&head[5..9]) & 0x7fff_ffff;
        let payload = self.conn.read_exactly(length)?;
        let frame = Frame { kind: head[3], flags: head[4], stream, payload };
        self.take_in(&frame)?;
        Ok(frame)
    }

    fn take_in(&mut self, frame: &Frame) -> Result<(), Lost> {
        let Frame { kind, flags, stream, payload } = frame;
        let (stream, end) = (*stream, flags & END_STREAM != 0);
        match *kind {
            SETTINGS if flags & ACK == 0 => {
                for setting in payload.chunks(6).filter(|setting| setting[..2] == [0, 4]) {
                    let initial = i64::from(number(&setting[2..6]));
                    self.windows.values_mut().for_each(|window| *window += initial - self.initial);
                    self.initial = initial;
                }
                self.settled = true;
                self.frame(SETTINGS, ACK, 0, b"")?;
            }
            PING if flags & ACK == 0 && self.polite => self.frame(PING, ACK, 0, payload)?,
            GOAWAY => self.goaway.push((number(&payload[..4]), number(&payload[4..8]))),
            WINDOW_UPDATE if stream == 0 => self.window += i64::from(number(payload)),
            WINDOW_UPDATE => *self.windows.entry(stream).or_default() += i64::from(number(payload)),
            RST_STREAM => self.streams.entry(stream).or_default().reset = Some(number(payload)),
            HEADERS => {
                assert!(flags & END_HEADERS != 0, "a head in several frames is not understood here");
                let fields = self.decoder.decode(payload);
                let answer = self.streams.entry(stream).or_default();
                answer.ended = end;
                if answer.headers.is_empty() { answer.headers = fields } else { answer.trailers = fields }
            }
            DATA => {
                let answer = self.streams.entry(stream).or_default();
                answer.body.extend(payload);
                answer.ended = end;
                if self.generous && !payload.is_empty() {
                    let more = (payload.len() as u32).to_be_bytes();
                    // Who has gone after its last word needs no more room.
                    let _ = self.frame(WINDOW_UPDATE, 0, 0, &more);
                    if !end {
                        let _ = self.frame(WINDOW_UPDATE, 0, stream, &more);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The fields of a GET.
pub fn getting(path: &str) -> [(&str, &str); 4] {
    request("GET", path)
}

pub fn request<'a>(method: &'a str, path: &'a str) -> [(&'a str, &'a str); 4] {
    [(":method", method), (":scheme", "http"), (":authority", "test"), (":path", path)]
}

/// A frame as bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |n, byte| n << 8 | u32::from(*byte))
}
