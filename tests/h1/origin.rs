//! The origin behind the proxy: it records every byte of every connection, and answers by script.
//!
//! One thread a connection. Requests whose path begins with `/probe/` are always answered with
//! `Act::Echo`; all others are the case's, and take its scripts in turn. What the strict reader does not
//! take is recorded as wrong and never answered.

use crate::case::{Act, Gate, Script};
use crate::message::{End, Kind, Message, read, text};
use crate::queue::{unread, waiting};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long anything may take that is waited for. Only a failure waits that long.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Waits until `condition` holds; whether it did.
pub fn until(mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    true
}

/// Something that has reached the origin, in the order in which it was understood.
#[derive(Clone, Debug)]
pub enum Seen {
    Request(Message),
    /// The connection ended within a request: its head, if that was whole, and what came of its body.
    Part(Option<Message>),
    /// Not to be read, or out of turn.
    Wrong(String),
}

/// How far the client of the present case is: what gates wait for.
#[derive(Debug, Default)]
pub struct Stage {
    pub sent: AtomicBool,
    pub heads: AtomicUsize,
    pub answers: AtomicUsize,
    /// The origin waits for the client to have sent all: until then nobody need read from it.
    waits: AtomicBool,
}

impl Stage {
    pub fn waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }
}

/// An open connection.
#[derive(Debug, Default)]
struct Line {
    /// It has carried something of the present case.
    used: bool,
    /// The origin has ended it.
    ended: bool,
    /// Bytes that are not a whole request yet.
    unfinished: usize,
    /// Set before it is read from, cleared when what was read is understood.
    busy: bool,
    /// Of this end and of the proxy's.
    ends: Option<(SocketAddrV4, SocketAddrV4)>,
}

#[derive(Debug, Default)]
struct State {
    case: usize,
    scripts: Vec<Script>,
    begun: usize,
    /// Answers under way.
    playing: usize,
    log: Vec<Seen>,
    lines: BTreeMap<usize, Line>,
    opened: usize,
}

#[derive(Debug, Default)]
pub struct Shared {
    state: Mutex<State>,
    address: OnceLock<SocketAddrV4>,
    pub stage: Stage,
    /// Set before a connection is accepted, cleared when it is known.
    accepting: AtomicBool,
    stop: AtomicBool,
}

#[derive(Debug)]
pub struct Origin {
    pub address: SocketAddr,
    pub shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Origin {
    pub fn start() -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        let SocketAddr::V4(v4) = address else { panic!("{address} is not what was asked for") };
        shared.address.set(v4).expect("set once");
        let thread = std::thread::spawn({
            let shared = shared.clone();
            move || {
                while !shared.stop.load(Ordering::Relaxed) {
                    shared.accepting.store(false, Ordering::SeqCst);
                    let mut ready = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
                    poll(&mut ready, PollTimeout::NONE).expect("wait for a connection");
                    shared.accepting.store(true, Ordering::SeqCst);
                    let talk = Talk::new(listener.accept().expect("accept").0, shared.clone());
                    std::thread::spawn(move || talk.run());
                }
            }
        });
        Origin { address, shared, thread: Some(thread) }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // The listener waits for somebody: this is only to wake it.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// The next case: its number, and what its requests are answered with.
    pub fn begin(&self, case: usize, scripts: &[Script]) {
        let mut state = self.state.lock();
        state.lines.values_mut().for_each(|line| line.used = false);
        (state.case, state.scripts, state.begun) = (case, scripts.to_vec(), 0);
        state.log.clear();
        self.stage.sent.store(false, Ordering::Relaxed);
        self.stage.heads.store(0, Ordering::Relaxed);
        self.stage.answers.store(0, Ordering::Relaxed);
        self.stage.waits.store(false, Ordering::Relaxed);
    }

    /// Heads of requests of the case that have come.
    pub fn begun(&self) -> usize {
        self.state.lock().begun
    }

    pub fn log(&self) -> Vec<Seen> {
        self.state.lock().log.clone()
    }

    /// All that has come is understood, and no connection waits for the rest of a request.
    pub fn is_settled(&self) -> bool {
        // The kernel is asked first: what was taken out by then has made somebody busy.
        let accepted = self.address.get().is_some_and(|listener| waiting(*listener) == 0);
        if !accepted || self.accepting.load(Ordering::SeqCst) {
            return false;
        }
        let ends: Vec<_> = self.state.lock().lines.values().filter_map(|line| line.ends).collect();
        let read = ends.into_iter().all(|(own, peer)| unread(own, peer).is_none_or(|bytes| bytes == 0));
        read && self.state.lock().lines.values().all(|line| line.unfinished == 0 && !line.busy)
    }

    /// No connection that has carried something of the case is open.
    pub fn is_closed(&self) -> bool {
        !self.state.lock().lines.values().any(|line| line.used)
    }

    /// All answers are given to their end, and no connection that ended with one is open.
    pub fn is_over(&self) -> bool {
        let state = self.state.lock();
        state.playing == 0 && !state.lines.values().any(|line| line.ended)
    }
}

/// The body of `Act::Echo`.
pub fn echo(asks: &str, case: usize) -> String {
    format!("{asks} in case {case}")
}

/// One connection.
struct Talk {
    stream: TcpStream,
    shared: Arc<Shared>,
    line: usize,
    /// Read, and not yet part of a whole request.
    bytes: Vec<u8>,
    /// The head of the present request has come; what it is answered with if that was not done yet.
    begun: bool,
    script: Option<Script>,
}

/// What a connection does next.
#[derive(PartialEq)]
enum Next {
    Read,
    /// It is not read any more.
    Drop,
}

impl Talk {
    fn new(stream: TcpStream, shared: Arc<Shared>) -> Talk {
        let mut state = shared.state.lock();
        state.opened += 1;
        let line = state.opened;
        let ends = match (stream.local_addr(), stream.peer_addr()) {
            (Ok(SocketAddr::V4(own)), Ok(SocketAddr::V4(peer))) => Some((own, peer)),
            _ => None,
        };
        state.lines.insert(line, Line { ends, ..Line::default() });
        drop(state);
        Talk { stream, shared, line, bytes: Vec::new(), begun: false, script: None }
    }

    fn run(mut self) {
        let mut chunk = vec![0; 64 << 10];
        loop {
            self.set_busy(false);
            // Nothing is taken before the connection is busy.
            let _ = self.stream.peek(&mut chunk[..1]);
            self.set_busy(true);
            match self.stream.read(&mut chunk) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
                Ok(n) => {
                    self.bytes.extend_from_slice(&chunk[..n]);
                    if self.understand() == Next::Drop {
                        break;
                    }
                }
            }
        }
        let mut state = self.shared.state.lock();
        if !self.bytes.is_empty() {
            let part = read(&self.bytes, Kind::Request, End::Fin).unwrap_or_default();
            state.log.push(Seen::Part(part.map(|(message, _)| message)));
        }
        state.lines.remove(&self.line);
    }

    fn set_busy(&self, busy: bool) {
        if let Some(line) = self.shared.state.lock().lines.get_mut(&self.line) {
            line.busy = busy;
        }
    }

    /// Takes whole requests out of what was read, and answers them.
    fn understand(&mut self) -> Next {
        loop {
            let (message, used) = match read(&self.bytes, Kind::Request, End::Open) {
                Ok(Some(found)) => found,
                Ok(None) => return self.wait(),
                Err(why) => return self.wrong(&why),
            };
            if !self.begun && self.begin(&message) == Next::Drop {
                return Next::Drop;
            }
            if !message.whole {
                return self.wait();
            }
            self.begun = false;
            self.bytes.drain(..used);
            self.shared.state.lock().log.push(Seen::Request(message.clone()));
            if let Some(script) = self.script.take() {
                if !self.bytes.is_empty() {
                    return self.wrong("bytes behind a request that has no answer yet");
                }
                self.wait();
                if self.play(&script, &message) == Next::Drop {
                    return Next::Drop;
                }
            }
            if self.bytes.is_empty() {
                return self.wait();
            }
        }
    }

    fn wait(&self) -> Next {
        if let Some(line) = self.shared.state.lock().lines.get_mut(&self.line) {
            line.unfinished = self.bytes.len();
        }
        Next::Read
    }

    fn wrong(&mut self, why: &str) -> Next {
        let shown = text(&self.bytes[..self.bytes.len().min(400)]);
        self.bytes.clear();
        self.shared.state.lock().log.push(Seen::Wrong(format!("{why}, in {shown:?}")));
        Next::Drop
    }

    /// A head has come: its answer is chosen, and begun if it does not wait for the body.
    fn begin(&mut self, message: &Message) -> Next {
        self.begun = true;
        let script = self.choose(message);
        if script.at_head {
            return self.play(&script, message);
        }
        self.script = Some(script);
        if !message.whole && message.elements("expect") == ["100-continue"] {
            return self.send(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        Next::Read
    }

    fn choose(&self, message: &Message) -> Script {
        let echo = Script { at_head: false, acts: vec![Act::Echo] };
        if message.asks().starts_with("GET /probe/") {
            return echo;
        }
        let mut state = self.shared.state.lock();
        let turn = state.begun.min(state.scripts.len().saturating_sub(1));
        state.begun += 1;
        if let Some(line) = state.lines.get_mut(&self.line) {
            line.used = true;
        }
        state.scripts.get(turn).cloned().unwrap_or(echo)
    }

    fn play(&mut self, script: &Script, message: &Message) -> Next {
        self.shared.state.lock().playing += 1;
        let next = self.act(script, message);
        self.shared.state.lock().playing -= 1;
        next
    }

    fn act(&mut self, script: &Script, message: &Message) -> Next {
        for act in &script.acts {
            let next = match act {
                Act::Send(bytes) => self.send(bytes),
                Act::Echo => self.echo(message),
                Act::After(gate) => self.pass(*gate),
                Act::Fin => self.end(),
                Act::Reset => {
                    let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
                    setsockopt(&self.stream, sockopt::Linger, &at_once).expect("set SO_LINGER");
                    Next::Drop
                }
            };
            if next == Next::Drop {
                return Next::Drop;
            }
        }
        Next::Read
    }

    /// Whoever has gone needs no answer; its end is met by the next read.
    fn send(&mut self, bytes: &[u8]) -> Next {
        let _ = self.stream.write_all(bytes);
        Next::Read
    }

    fn echo(&mut self, message: &Message) -> Next {
        let body = echo(message.asks(), self.shared.state.lock().case);
        let close = if message.is_old() { "Connection: close\r\n" } else { "" };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{close}\r\n", body.len());
        let body = if message.asks().starts_with("HEAD ") { "" } else { body.as_str() };
        self.send(&[head.as_bytes(), body.as_bytes()].concat());
        if message.is_old() { self.end() } else { Next::Read }
    }

    fn end(&mut self) -> Next {
        // The proxy may have closed already.
        let _ = self.stream.shutdown(Shutdown::Write);
        if let Some(line) = self.shared.state.lock().lines.get_mut(&self.line) {
            line.ended = true;
        }
        Next::Read
    }

    fn pass(&mut self, gate: Gate) -> Next {
        let stage = &self.shared.stage;
        stage.waits.store(matches!(gate, Gate::Sent), Ordering::Relaxed);
        let passed = until(|| match gate {
            Gate::Sent => stage.sent.load(Ordering::Relaxed),
            Gate::Head => stage.heads.load(Ordering::Relaxed) > 0,
            Gate::Answer => stage.answers.load(Ordering::Relaxed) > 0,
        });
        if passed { Next::Read } else { self.wrong(&format!("waited in vain for {gate:?}")) }
    }
}
