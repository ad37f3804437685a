//! The client of a case: sends its bytes, whole or with a pause within each line end, and reads on until
//! nothing more can come.
//!
//! It ends its own side only when all awaited answers are there and the proxy has not said that it
//! closes; whatever comes until the proxy's end belongs to the conversation, so that an answer to a
//! smuggled request is never overlooked.

use crate::case::{Case, Step};
use crate::message::{End, Kind, Message, read};
use crate::origin::{PATIENCE, Shared, until};
use crate::queue::unread;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Places in which a request is cut, at most.
const MOST_CUTS: usize = 12;

/// All that a client has read.
#[derive(Debug)]
pub struct Heard {
    pub bytes: Vec<u8>,
    pub end: End,
    /// The proxy has closed before the client had ended its side.
    pub closed_first: bool,
}

/// Answers in order: those below 200, and the final ones.
#[derive(Debug, Default)]
pub struct Answers {
    pub interim: Vec<u16>,
    pub finals: Vec<Message>,
    /// What is behind them.
    pub rest: usize,
}

/// Reads answers to requests with these methods.
pub fn answers(bytes: &[u8], end: End, methods: &[String]) -> Result<Answers, String> {
    let mut found = Answers { rest: bytes.len(), ..Answers::default() };
    while found.rest > 0 && found.finals.len() < methods.len() {
        let to_head = methods[found.finals.len()] == "HEAD";
        let left = &bytes[bytes.len() - found.rest..];
        let Some((message, used)) = read(left, Kind::Answer { to_head }, end)? else { return Ok(found) };
        found.rest -= used;
        match message.status() {
            status if status < 200 && status != 101 => found.interim.push(status),
            _ => {
                let whole = message.whole;
                found.finals.push(message);
                if !whole {
                    return Ok(found);
                }
            }
        }
    }
    Ok(found)
}

/// One connection to the proxy.
pub struct Client<'a> {
    stream: TcpStream,
    /// Of the proxy's end and of this one.
    ends: Option<(SocketAddrV4, SocketAddrV4)>,
    origin: &'a Shared,
    methods: Vec<String>,
    heard: Heard,
    ended: bool,
}

impl<'a> Client<'a> {
    pub fn connect(proxy: SocketAddr, origin: &'a Shared, methods: Vec<String>) -> Client<'a> {
        let stream = TcpStream::connect_timeout(&proxy, PATIENCE).expect("connect to the proxy");
        stream.set_nodelay(true).expect("set TCP_NODELAY");
        stream.set_write_timeout(Some(PATIENCE)).expect("set a timeout");
        let heard = Heard { bytes: Vec::new(), end: End::Open, closed_first: false };
        let ends = match (stream.peer_addr(), stream.local_addr()) {
            (Ok(SocketAddr::V4(theirs)), Ok(SocketAddr::V4(mine))) => Some((theirs, mine)),
            _ => None,
        };
        Client { stream, ends, origin, methods, heard, ended: false }
    }

    /// Does what the case says and reads to the end.
    pub fn converse(mut self, case: &Case, pauses: bool) -> Result<Heard, String> {
        for step in &case.steps {
            match step {
                Step::Send(bytes) if pauses => self.send_with_pauses(bytes),
                Step::Send(bytes) => self.send(bytes),
                Step::Told(status) => self.wait_told(*status)?,
                Step::Begun if !until(|| self.origin.begun() > 0) => {
                    return Err("the origin has seen no request".to_owned());
                }
                Step::Begun => {}
                Step::Fin => self.end(),
            }
        }
        self.origin.stage.sent.store(true, Ordering::Relaxed);
        let closed = |told: &Answers| told.finals.last().is_some_and(Message::closes);
        let all = |client: &Self, told: &Answers| told.finals.len() == client.methods.len();
        self.read_until(|client, told| all(client, told) && told.finals.iter().all(|m| m.whole))?;
        if case.origin_closed && !until(|| self.origin.is_closed()) {
            return Err("the proxy keeps a connection to the origin that it must close".to_owned());
        }
        if self.heard.end == End::Open && !self.told().is_ok_and(|told| closed(&told)) {
            self.end();
        }
        self.read_until(|_, _| false)?;
        Ok(self.heard)
    }

    /// Reads until the proxy closes.
    pub fn hear_all(mut self) -> Result<Heard, String> {
        self.read_until(|_, _| false)?;
        Ok(self.heard)
    }

    /// Sends; whoever is refused early may not be there any more for the rest.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Cut behind each CR and in the middle, each piece read by the proxy before the next is sent.
    fn send_with_pauses(&mut self, bytes: &[u8]) {
        let behind_cr = bytes.iter().enumerate().filter(|(_, b)| **b == b'\r').map(|(at, _)| at + 1);
        let mut cuts: Vec<usize> = behind_cr.take(MOST_CUTS).chain([bytes.len() / 2, bytes.len()]).collect();
        cuts.sort_unstable();
        cuts.dedup();
        let mut begin = 0;
        for cut in cuts {
            self.send(&bytes[begin..cut]);
            begin = cut;
            if begin < bytes.len() {
                until(|| self.was_read() || self.has_something() || self.origin.stage.waits());
            }
        }
    }

    /// Whether the proxy has taken from its socket all that was sent, or has closed it.
    fn was_read(&self) -> bool {
        let (theirs, mine) = self.ends.expect("an IPv4 connection");
        unread(theirs, mine).is_none_or(|bytes| bytes == 0)
    }

    /// Whether the proxy has answered or closed.
    fn has_something(&self) -> bool {
        self.stream.set_nonblocking(true).expect("set O_NONBLOCK");
        let looked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).expect("clear O_NONBLOCK");
        !matches!(looked, Err(e) if e.kind() == ErrorKind::WouldBlock)
    }

    fn end(&mut self) {
        // A proxy that has reset the connection has ended it already.
        let _ = self.stream.shutdown(Shutdown::Write);
        self.ended = true;
    }

    fn told(&self) -> Result<Answers, String> {
        let told = answers(&self.heard.bytes, self.heard.end, &self.methods);
        told.map_err(|why| format!("the client can't read this: {why}"))
    }

    fn wait_told(&mut self, status: u16) -> Result<(), String> {
        let has = |told: &Answers| {
            told.interim.contains(&status) || told.finals.iter().any(|m| m.status() == status)
        };
        self.read_until(|_, told| has(told))?;
        if has(&self.told()?) { Ok(()) } else { Err(format!("the client was not told {status}")) }
    }

    /// Reads until `enough`, the end, or PATIENCE is over: an answer that never comes is missed later.
    fn read_until(&mut self, enough: impl Fn(&Self, &Answers) -> bool) -> Result<(), String> {
        let limit = Instant::now() + PATIENCE;
        loop {
            let told = self.told()?;
            let stage = &self.origin.stage;
            stage.heads.store(told.finals.len(), Ordering::Relaxed);
            stage.answers.store(told.finals.iter().filter(|m| m.whole).count(), Ordering::Relaxed);
            let left = limit.saturating_duration_since(Instant::now());
            if self.heard.end != End::Open || enough(self, &told) || left.is_zero() {
                return Ok(());
            }
            self.read_some(left);
        }
    }

    fn read_some(&mut self, left: Duration) {
        self.stream.set_read_timeout(Some(left)).expect("set a timeout");
        let mut chunk = [0; 64 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.heard.end = End::Fin,
            Ok(n) => self.heard.bytes.extend_from_slice(&chunk[..n]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => self.heard.end = End::Reset,
        }
        if self.heard.end != End::Open {
            self.heard.closed_first = !self.ended;
        }
    }
}
