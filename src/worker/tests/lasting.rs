//! Leaving what is meant to last: two deadlines, and how each kind of connection hears of the second.

use super::*;
use crate::scoreboard::layout::*;
use std::net::TcpListener;
use std::sync::mpsc::{self, Receiver, Sender};

const MS: Duration = Duration::from_millis(1);
/// Behind a moment that is in nobody's way.
const LONG: Duration = Duration::from_secs(100);
/// How exact a deadline is, on a machine that is busy with other things.
const EXACT: Duration = Duration::from_millis(500);

/// A server whose connections are served by a thread each; they end with the process.
fn upstream(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Reads the head of a request.
fn take_head(stream: &mut TcpStream) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
}

/// Sends numbered events, or pieces of something else, until nobody takes them.
fn sends_events(content_type: &'static str) -> SocketAddr {
    upstream(move |mut stream| {
        take_head(&mut stream);
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n");
        let mut sent = stream.write_all(head.as_bytes());
        for id in 0u32.. {
            let event = format!("id: {id:06}\n\n");
            sent = sent.and_then(|()| write!(stream, "{:x}\r\n{event}\r\n", event.len()));
            if sent.is_err() {
                return;
            }
            std::thread::sleep(10 * MS);
        }
    })
}

/// One short frame: opcode (with the bit that says it is the last of its message) and payload.
fn take_frame(stream: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let mut mask = [0; 4];
    if head[1] & 0x80 != 0 {
        stream.read_exact(&mut mask)?;
    }
    let mut payload = vec![0; usize::from(head[1] & 0x7f)];
    stream.read_exact(&mut payload)?;
    payload.iter_mut().enumerate().for_each(|(i, byte)| *byte ^= mask[i % 4]);
    Ok((head[0], payload))
}

/// Answers with what it gets, and passes on what it got when that was no text.
fn echoes_frames(others: Sender<(u8, Vec<u8>)>) -> SocketAddr {
    upstream(move |mut stream| {
        take_head(&mut stream);
        let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        while let Ok((kind, payload)) = take_frame(&mut stream) {
            if kind != 0x81 {
                let _ = others.send((kind, payload));
                continue;
            }
            let frame = [&[kind, payload.len() as u8][..], &payload].concat();
            if stream.write_all(&frame).is_err() {
                return;
            }
        }
    })
}

/// A route that passes requests on.
fn passes_on(path: &str, to: SocketAddr) -> Route {
    let upstreams = Upstreams {
        servers: vec![Server::Ip(to)],
        connect_timeout: PATIENCE,
        max_failures: 0,
        retry_after: PATIENCE,
        proxy_protocol: None,
    };
    let action = Action::Proxy(Proxy {
        upstreams,
        http2: false,
        read_timeout: LONG,
        write_timeout: LONG,
        idle_timeout: LONG,
        keep_alive: 0,
        keep_alive_timeout: PATIENCE,
        retries: 0,
    });
    Route { path: path.into(), host: None, action, headers: vec![] }
}

/// A worker with everything that lasts: `/events`, `/pieces` (no event stream) and `/ws`; and what the
/// WebSocket's other end has heard but text.
fn lasting() -> (Trial, Receiver<(u8, Vec<u8>)>) {
    let (others, heard) = mpsc::channel();
    let trial = Trial::start(|service| {
        service.drain.grace = LONG;
        service.drain.long_lived_grace = LONG;
        let slow = Respond { status: 200, body: "late".into(), headers: vec![], delay: LONG };
        let slow =
            Route { path: "/never".into(), host: None, action: Action::Respond(slow), headers: vec![] };
        let routes = [
            passes_on("/events", sends_events("text/event-stream")),
            passes_on("/pieces", sends_events("application/octet-stream")),
            passes_on("/ws", echoes_frames(others)),
            slow,
        ];
        http(service).routes.splice(0..0, routes);
    });
    (trial, heard)
}

/// A worker that sends everything back.
fn echo() -> Trial {
    Trial::start(|service| {
        service.kind = Kind::Tcp(Tcp { action: TcpAction::Echo, idle_timeout: LONG });
    })
}

impl Trial {
    fn drain_both(&self, grace: Duration, long_lived: Duration) {
        let [grace_ms, long_lived_ms] = [grace, long_lived].map(|d| d.as_millis() as u64);
        let (idle, last_call, why) = (Idle::Announce, vec![], String::new());
        let (unready, final_stop) = (false, false);
        let order = DrainOrder { grace_ms, long_lived_ms, idle, unready, last_call, final_stop, why };
        self.order(&Order::Drain(order), &[]);
    }

    fn active(&self, class: crate::model::Class) -> u64 {
        self.word(ACTIVE + class.index())
    }
}

impl Client {
    /// Asks for a stream that does not end and waits for some of it.
    fn follow(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        while !self.buffer.windows(6).any(|w| w == b"000003") {
            assert!(self.more().unwrap() > 0, "it has begun");
        }
    }

    fn websocket(&mut self) {
        let head = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
        self.send(head);
        assert_eq!(self.answer().status, 101);
        self.says("hello");
    }

    /// Sends a text and gets it back.
    fn says(&mut self, text: &str) {
        let frame = [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0][..], text.as_bytes()].concat();
        self.stream.write_all(&frame).unwrap();
        assert_eq!(self.frame().unwrap(), (0x81, text.as_bytes().to_vec()));
    }

    fn frame(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        assert!(self.buffer.is_empty(), "{:?}", self.buffer);
        take_frame(&mut self.stream)
    }

    /// Everything until the end, which may be a reset.
    fn rest(&mut self) -> std::io::Result<Vec<u8>> {
        while self.more()? > 0 {}
        Ok(std::mem::take(&mut self.buffer))
    }

    fn echoed(&mut self, text: &str) {
        self.send(text);
        while self.buffer.len() < text.len() {
            assert!(self.more().unwrap() > 0);
        }
        assert_eq!(String::from_utf8(std::mem::take(&mut self.buffer)).unwrap(), text);
    }
}

fn about(took: Duration, expected: Duration) {
    assert!(took + 10 * MS > expected && took < expected + EXACT, "{took:?} instead of {expected:?}");
}

/// `1001` as it is in a close frame.
const GOING_AWAY: (u8, [u8; 2]) = (0x88, [0x03, 0xe9]);

fn is_goodbye((kind, payload): (u8, Vec<u8>)) {
    assert_eq!((kind, &payload[..]), (GOING_AWAY.0, &GOING_AWAY.1[..]));
}

#[test]
fn an_event_stream_goes_on_until_the_second_deadline_and_ends_with_its_last_chunk() {
    let (mut trial, _heard) = lasting();
    let mut client = trial.connect();
    client.follow("/events");
    let begun = Instant::now();
    trial.drain_both(300 * MS, 1300 * MS);
    let all = client.rest().expect("a FIN");
    about(begun.elapsed(), 1300 * MS);
    let all = String::from_utf8(all).unwrap();
    assert!(all.ends_with("\n\n\r\n0\r\n\r\n"), "{:?}", &all[all.len().saturating_sub(60)..]);
    let ids: Vec<u32> = all.lines().filter_map(|line| line.strip_prefix("id: ")?.parse().ok()).collect();
    assert_eq!(ids, (0..ids.len() as u32).collect::<Vec<_>>(), "no event is missing");
    assert!(ids.len() > 60, "{} events in more than a second", ids.len());
    drop(client);
    assert_eq!(trial.report(), Report::Leaving { cut: 1 });
    assert_eq!(trial.exit(), 0);
    let log = trial.log();
    assert!(
        log.contains("cut off 1 connections (0 http, 0 websocket, 1 sse, 0 grpc, 0 tcp); the oldest was")
    );
}

#[test]
fn a_websocket_works_until_the_second_deadline_and_gets_a_close_frame() {
    let (mut trial, heard) = lasting();
    let mut client = trial.connect();
    client.websocket();
    let begun = Instant::now();
    trial.drain_both(300 * MS, 1800 * MS);
    while begun.elapsed() < 1000 * MS {
        client.says("still here");
    }
    is_goodbye(client.frame().unwrap());
    about(begun.elapsed(), 1800 * MS);
    is_goodbye(heard.recv_timeout(PATIENCE).unwrap());
    // It answers and closes, and nobody is waited for any longer.
    client.stream.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9]).unwrap();
    client.ends();
    drop(client);
    assert_eq!(trial.report(), Report::Leaving { cut: 1 });
    about(begun.elapsed(), 1800 * MS);
    assert_eq!(trial.exit(), 0);
    assert_eq!((trial.word(CUT), trial.active(crate::model::Class::Websocket)), (1, 0));
}

#[test]
fn who_does_not_answer_a_goodbye_is_waited_for_a_second() {
    let (mut trial, _heard) = lasting();
    let mut client = trial.connect();
    client.websocket();
    let begun = Instant::now();
    trial.drain_both(100 * MS, 200 * MS);
    is_goodbye(client.frame().unwrap());
    assert_eq!(trial.report(), Report::Leaving { cut: 1 });
    about(begun.elapsed(), 1200 * MS);
    assert_eq!(trial.exit(), 0);
}

#[test]
fn a_websocket_in_the_middle_of_a_frame_is_reset() {
    let (others, _heard) = mpsc::channel::<(u8, Vec<u8>)>();
    drop(others);
    let half = upstream(|mut stream| {
        take_head(&mut stream);
        let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&[0x81, 100, b'h', b'a', b'l', b'f']).unwrap();
        let _ = stream.read(&mut [0]);
        std::thread::sleep(PATIENCE);
    });
    let mut trial = Trial::start(|service| http(service).routes.insert(0, passes_on("/ws", half)));
    let mut client = trial.connect();
    client.send("GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    assert_eq!(client.answer().status, 101);
    while client.buffer.len() < 6 {
        assert!(client.more().unwrap() > 0);
    }
    trial.drain_both(100 * MS, 200 * MS);
    assert_eq!(client.rest().unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(trial.report(), Report::Leaving { cut: 1 });
    assert_eq!(trial.exit(), 0);
}

#[test]
fn what_is_short_is_cut_at_the_first_deadline_while_the_rest_lives_on() {
    let (mut trial, _heard) = lasting();
    let (mut lives, mut never, mut pieces) = (trial.connect(), trial.connect(), trial.connect());
    let mut idle = trial.connect();
    lives.websocket();
    assert_eq!(idle.get("/").status, 200);
    never.send("GET /never HTTP/1.1\r\nHost: a\r\n\r\n");
    pieces.follow("/pieces");
    eventually("all are under way", || trial.word(IN_FLIGHT) == 2);
    let begun = Instant::now();
    trial.drain_both(800 * MS, LONG);
    eventually("the master can see it", || trial.word(FLAGS) & LONG_LIVED != 0);
    idle.ends();
    assert!(never.rest().is_ok_and(|rest| rest.is_empty()), "not a word");
    about(begun.elapsed(), 800 * MS);
    // Nobody is to take the pieces for the whole: their length was not announced.
    let text = pieces.rest().unwrap_or_else(|_| std::mem::take(&mut pieces.buffer));
    assert!(!text.ends_with(b"0\r\n\r\n"));
    lives.says("still here");
    eventually("the idle one has gone too", || trial.active(crate::model::Class::Http) == 0);
    assert_eq!((trial.word(CUT), trial.word(STATE)), (2, State::Draining as u64));
    let log = trial.log();
    assert!(log.contains("cut off 2 connections (2 http, 0 websocket, 0 sse, 0 grpc, 0 tcp)"), "{log}");
    // The last one goes, and so does the worker, long before its time.
    drop(lives);
    assert_eq!(trial.report(), Report::Leaving { cut: 2 });
    assert_eq!(trial.exit(), 0);
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn both_at_one_deadline_are_named_in_one_line() {
    let (mut trial, _heard) = lasting();
    let (mut lasts, mut never) = (trial.connect(), trial.connect());
    lasts.websocket();
    never.send("GET /never HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it is under way", || trial.word(IN_FLIGHT) == 1);
    trial.drain_both(300 * MS, 300 * MS);
    is_goodbye(lasts.frame().unwrap());
    drop((lasts, never));
    assert_eq!(trial.report(), Report::Leaving { cut: 2 });
    assert_eq!(trial.exit(), 0);
    let log = trial.log();
    assert!(log.contains("cut off 2 connections (1 http, 1 websocket, 0 sse, 0 grpc, 0 tcp)"), "{log}");
}

#[test]
fn an_older_master_that_names_one_grace_means_it_for_all() {
    let mut trial = echo();
    let mut client = trial.connect();
    client.echoed("hello");
    let begun = Instant::now();
    let order =
        r#"{"drain":{"grace_ms":300,"idle":"announce","unready":false,"last_call":[],"final_stop":false}}"#;
    scm::send(trial.channel.as_ref().unwrap().as_fd(), order.as_bytes(), &[]).unwrap();
    let _ = client.rest();
    about(begun.elapsed(), 300 * MS);
    assert_eq!(trial.report(), Report::Leaving { cut: 1 });
    assert_eq!(trial.exit(), 0);
}

#[test]
fn a_tcp_connection_outlives_the_grace_and_ends_plainly_if_it_is_silent() {
    let mut trial = echo();
    let (mut silent, mut busy) = (trial.connect(), trial.connect());
    silent.echoed("hello");
    let begun = Instant::now();
    trial.drain_both(200 * MS, 2000 * MS);
    while begun.elapsed() < 1500 * MS {
        busy.echoed("still here");
    }
    assert!(silent.rest().expect("a FIN").is_empty());
    about(begun.elapsed(), 2000 * MS);
    assert_eq!(busy.rest().unwrap_err().kind(), ErrorKind::ConnectionReset, "who knows what was under way");
    assert_eq!(trial.report(), Report::Leaving { cut: 2 });
    about(begun.elapsed(), 2000 * MS);
    assert_eq!(trial.exit(), 0);
    assert_eq!((trial.word(CUT), trial.word(ERRORS)), (2, 0));
    let log = trial.log();
    assert!(log.contains("cut off 2 connections (0 http, 0 websocket, 0 sse, 0 grpc, 2 tcp)"), "{log}");
}

#[test]
fn a_tcp_connection_that_ends_by_itself_is_not_cut() {
    let mut trial = echo();
    let mut client = trial.connect();
    client.echoed("hello");
    trial.drain_both(100 * MS, LONG);
    eventually("the master can see it", || trial.word(FLAGS) & LONG_LIVED != 0);
    client.echoed("still here");
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    client.ends();
    assert_eq!(trial.report(), Report::Leaving { cut: 0 });
    assert_eq!(trial.exit(), 0);
}

#[test]
fn a_second_order_shortens_both_and_lengthens_neither() {
    let mut trial = echo();
    let mut client = trial.connect();
    client.echoed("hello");
    trial.drain_both(LONG, LONG);
    let begun = Instant::now();
    trial.drain_both(100 * MS, 600 * MS);
    trial.drain_both(LONG, LONG);
    let _ = client.rest();
    about(begun.elapsed(), 600 * MS);
    assert_eq!(trial.report(), Report::Leaving { cut: 1 });
    assert_eq!(trial.exit(), 0);
}

#[test]
fn an_order_to_stop_lets_nobody_go_without_a_word() {
    let (mut trial, heard) = lasting();
    let (mut socket, mut events) = (trial.connect(), trial.connect());
    socket.websocket();
    events.follow("/events");
    let begun = Instant::now();
    trial.order(&Order::Stop, &[]);
    is_goodbye(socket.frame().unwrap());
    is_goodbye(heard.recv_timeout(PATIENCE).unwrap());
    assert!(events.rest().expect("a FIN").ends_with(b"0\r\n\r\n"));
    assert_eq!(trial.report(), Report::Leaving { cut: 2 });
    about(begun.elapsed(), Duration::ZERO);
    assert_eq!(trial.exit(), 0);
    assert_eq!(trial.active(crate::model::Class::Sse), 0);
}

#[test]
fn who_has_lost_its_master_goes_by_its_own_two_graces() {
    let mut trial = Trial::start(|service| {
        service.drain.grace = 100 * MS;
        service.drain.long_lived_grace = 700 * MS;
        service.kind = Kind::Tcp(Tcp { action: TcpAction::Echo, idle_timeout: LONG });
    });
    let mut client = trial.connect();
    client.echoed("hello");
    let begun = Instant::now();
    trial.channel = None;
    let _ = client.rest();
    about(begun.elapsed(), 700 * MS);
    assert_eq!(trial.exit(), 0);
    assert_eq!(trial.word(CUT), 1);
}
