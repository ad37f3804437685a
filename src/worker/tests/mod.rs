//! Whole workers in a thread of the test process: real sockets, a channel and a slot, no master.
//!
//! `Trial` plays the master. Every wait is for a condition and has a deadline.

mod closing;
mod drains;
mod heads;
mod lasting;
mod lines;
mod listening;
mod requests;

use super::turn::{Setup, serve};
use crate::config::*;
use crate::log::Sink;
use crate::model::{Generation, Seat, TicketSecret};
use crate::scoreboard::layout::{MAGIC, VERSION, WORDS};
use crate::scoreboard::slot::Slot;
use crate::sys::listen::{self, TcpOptions};
use crate::sys::shm::Pages;
use crate::sys::{fd, scm, shm};
use crate::wire::order::{Drain as DrainOrder, MESSAGE_LIMIT, Order};
use crate::wire::report::Report;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A service with the routes all tests use.
fn service() -> Service {
    let respond = |body: &str, delay| Respond { status: 200, body: body.into(), headers: vec![], delay };
    let route = |path: &str, action| Route { path: path.into(), host: None, action, headers: vec![] };
    let ms = Duration::from_millis;
    Service {
        name: "web".into(),
        listen: vec![tcp_listen(Accept::PerWorker)],
        workers: Pool::Fixed(1),
        connections: 20_000,
        drain: Drain { grace: ms(60_000), delay: ms(0), idle: Idle::Announce, long_lived_grace: ms(60_000) },
        restart: Restart {
            backoff_min: ms(100),
            backoff_max: ms(100),
            give_up: 0,
            max_requests: 0,
            max_memory: 0,
            max_age: Duration::ZERO,
        },
        limits: Limits { nofile: Some(1024), core: None, cpu_affinity: Affinity::Off, nice: 0 },
        access_log: None,
        kind: Kind::Http(Http {
            routes: vec![
                route("/status", Action::Status),
                route("/ready", Action::Health(Health::Ready)),
                route("/slow", Action::Respond(respond("slow", ms(300)))),
                route("/big", Action::Respond(respond(&"x".repeat(8 << 20), ms(0)))),
                route("/", Action::Respond(respond("hello {seat}", ms(0)))),
            ],
            header_timeout: ms(60_000),
            body_timeout: ms(60_000),
            write_timeout: ms(60_000),
            keep_alive: ms(60_000),
            max_header_size: 8192,
            max_headers: 100,
            max_body: 100_000,
            http2: true,
            max_streams: 128,
        }),
    }
}

fn tcp_listen(accept: Accept) -> Listen {
    Listen {
        address: Address::Tcp("127.0.0.1:0".parse().unwrap()),
        name: "web".into(),
        backlog: 1024,
        accept,
        ipv6_only: true,
        defer_accept: Duration::ZERO,
        mode: 0o600,
        owner: None,
        proxy_protocol: false,
        tls: None,
    }
}

fn http(service: &mut Service) -> &mut Http {
    let Kind::Http(http) = &mut service.kind else { panic!("an HTTP service") };
    http
}

/// A listener as the master makes them, and where it is bound.
fn listener() -> (OwnedFd, SocketAddr) {
    let options = TcpOptions { backlog: 1024, ipv6_only: true, defer_accept: Duration::ZERO };
    let fd = listen::tcp("127.0.0.1:0".parse().unwrap(), options, false).unwrap();
    let address = listen::local_address(fd.as_fd()).unwrap();
    (fd, address)
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

struct Trial {
    address: SocketAddr,
    channel: Option<OwnedFd>,
    pages: Pages,
    log: OwnedFd,
    /// The master's copy, as in life.
    listener: Option<OwnedFd>,
    thread: Option<JoinHandle<i32>>,
}

impl Trial {
    fn start(change: impl FnOnce(&mut Service)) -> Trial {
        let mut service = service();
        change(&mut service);
        let (listener, address) = listener();
        let (ours, theirs) = fd::channel().unwrap();
        let slot = shm::create("masterd-test-slot", WORDS, &[MAGIC, VERSION]).unwrap();
        let pages = Pages::map(slot.as_fd(), WORDS, false).unwrap();
        let log = shm::scratch("masterd-test-log").unwrap();
        let access_log = service.access_log.as_ref().map(|log| fd::open_log(&log.file).unwrap());
        let (copy, log_copy) = (listener.try_clone().unwrap(), log.try_clone().unwrap());
        let thread = std::thread::spawn(move || {
            let sink = Sink::new(log_copy, LogFormat::Text, LogLevel::Debug);
            serve(Setup {
                tickets: TicketSecret::new([1; 32], crate::model::Moment(0)),
                trial: false,
                ready_timeout: Duration::from_secs(30),
                home: None,
                seat: Seat(3),
                generation: Generation(7),
                service,
                listeners: vec![copy],
                channel: theirs,
                slot: Slot::map(slot.as_fd()).unwrap(),
                log: sink.logger("worker web/3 gen 7"),
                sink,
                access_log,
                signals: None,
            })
        });
        let trial = Trial {
            address,
            channel: Some(ours),
            pages,
            log,
            listener: Some(listener),
            thread: Some(thread),
        };
        assert_eq!(trial.report(), Report::Ready);
        trial
    }

    fn connect(&self) -> Client {
        Client::to(self.address)
    }

    fn word(&self, index: usize) -> u64 {
        self.pages.words()[index].load(Relaxed)
    }

    fn log(&self) -> String {
        String::from_utf8(shm::read_all(self.log.as_fd(), 1 << 24).unwrap()).unwrap()
    }

    fn order(&self, order: &Order, fds: &[BorrowedFd<'_>]) {
        let bytes = serde_json::to_vec(order).unwrap();
        scm::send(self.channel.as_ref().unwrap().as_fd(), &bytes, fds).unwrap();
    }

    fn drain(&self, grace: Duration, idle: Idle, last_call: &[usize], final_stop: bool) {
        let grace_ms = grace.as_millis() as u64;
        let last_call = last_call.to_vec();
        self.order(
            &Order::Drain(DrainOrder {
                grace_ms,
                long_lived_ms: 0,
                idle,
                unready: false,
                last_call,
                final_stop,
                why: String::new(),
            }),
            &[],
        );
    }

    fn report(&self) -> Report {
        let mut bytes = [0; MESSAGE_LIMIT];
        let deadline = Instant::now() + PATIENCE;
        loop {
            match scm::recv(self.channel.as_ref().unwrap().as_fd(), &mut bytes) {
                Ok((n, _)) if n > 0 => return serde_json::from_slice(&bytes[..n]).unwrap(),
                Ok(_) => panic!("the worker is gone; its log:\n{}", self.log()),
                Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock, "{e}"),
            }
            assert!(Instant::now() < deadline, "no report; the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The exit status, when the worker leaves by itself.
    fn exit(&mut self) -> i32 {
        let thread = self.thread.take().unwrap();
        eventually("the worker leaves", || thread.is_finished());
        thread.join().unwrap()
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            if let Some(channel) = &self.channel {
                let stop = serde_json::to_vec(&Order::Stop).unwrap();
                let _ = scm::send(channel.as_fd(), &stop, &[]);
            }
            if !std::thread::panicking() {
                eventually("the worker stops", || thread.is_finished());
                assert_eq!(thread.join().unwrap(), 0);
            }
        }
    }
}

/// A client that speaks just enough HTTP.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn says_close(&self) -> bool {
        self.head.to_lowercase().contains("\r\nconnection: close")
    }
}

impl Client {
    fn to(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, buffer: Vec::new() }
    }

    fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    fn get(&mut self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        self.answer()
    }

    fn answer(&mut self) -> Answer {
        self.try_answer().unwrap().expect("an answer, not the end of the connection")
    }

    /// The next answer; `None` is a clean end before its first byte.
    fn try_answer(&mut self) -> std::io::Result<Option<Answer>> {
        let head = loop {
            if let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break self.buffer.drain(..end + 4).collect::<Vec<u8>>();
            }
            if self.more()? == 0 {
                assert!(self.buffer.is_empty(), "half an answer: {:?}", self.buffer);
                return Ok(None);
            }
        };
        let head = String::from_utf8(head).unwrap();
        let length = head
            .to_lowercase()
            .lines()
            .find_map(|line| Some(line.strip_prefix("content-length: ")?.to_owned()));
        let length: usize = length.map_or(0, |length| length.parse().unwrap());
        while self.buffer.len() < length {
            assert!(self.more()? > 0, "half a body");
        }
        let body = String::from_utf8(self.buffer.drain(..length).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Ok(Some(Answer { status, head, body }))
    }

    fn more(&mut self) -> std::io::Result<usize> {
        let mut bytes = [0; 65536];
        let n = self.stream.read(&mut bytes)?;
        self.buffer.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    /// The connection ends with a FIN and nothing before it.
    fn ends(&mut self) {
        assert_eq!(self.try_answer().unwrap(), None);
    }
}
