//! Servers behind the proxy that have no end of their own, and a client that reads them raw.

use crate::harness::SOON;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Serves each connection in a thread of its own, until the process ends; the address.
fn serve(one: fn(TcpStream) -> io::Result<()>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Its end is what the tests are about: whoever reads sees it.
            std::thread::spawn(move || one(stream));
        }
    });
    address
}

/// Takes the head of a request off a connection.
fn take_head(stream: &mut TcpStream) -> io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(())
}

/// Events with the ids 0, 1, 2, …, one every twenty milliseconds.
pub fn events() -> String {
    serve(|mut stream| {
        take_head(&mut stream)?;
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes())?;
        for id in 0u64.. {
            let event = format!("id: {id}\ndata: x\n\n");
            write!(stream, "{:x}\r\n{event}\r\n", event.len())?;
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    })
}

/// WebSockets that send back every frame, close frames included, and then end.
pub fn websockets() -> String {
    serve(|mut stream| {
        take_head(&mut stream)?;
        let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
        stream.write_all(head.as_bytes())?;
        loop {
            let (kind, payload) = take_frame(&mut stream)?;
            stream.write_all(&[&[kind, payload.len() as u8][..], &payload].concat())?;
            if kind == CLOSE {
                return Ok(());
            }
        }
    })
}

/// Bytes, sent back.
pub fn echo() -> String {
    serve(|mut stream| {
        let mut bytes = [0; 4096];
        loop {
            match stream.read(&mut bytes)? {
                0 => return Ok(()),
                n => stream.write_all(&bytes[..n])?,
            }
        }
    })
}

/// The first bytes of a text and of a close frame, each the last of its message (RFC 6455, 5.2).
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
/// The status code of a server that goes away (RFC 6455, 7.4.1).
const GOING_AWAY: [u8; 2] = 1001u16.to_be_bytes();

/// One frame of at most 125 bytes.
fn take_frame(stream: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let (mut head, mut mask) = ([0; 2], [0; 4]);
    stream.read_exact(&mut head)?;
    if head[1] & 0x80 != 0 {
        stream.read_exact(&mut mask)?;
    }
    let mut payload = vec![0; usize::from(head[1] & 0x7f)];
    stream.read_exact(&mut payload)?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Ok((head[0], payload))
}

/// A client of any of them.
pub struct Raw(TcpStream);

impl Raw {
    pub fn to(address: &str) -> Raw {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        Raw(stream)
    }

    /// Asks for events.
    pub fn listens(address: &str) -> Raw {
        let mut raw = Raw::to(address);
        raw.0.write_all(b"GET /events HTTP/1.1\r\nHost: test\r\n\r\n").expect("a request");
        take_head(&mut raw.0).expect("the head of an answer");
        raw
    }

    /// Reads lines until one begins so.
    fn line(&mut self, begins: &str) -> io::Result<String> {
        loop {
            let (mut line, mut byte) = (Vec::new(), [0]);
            while byte[0] != b'\n' {
                self.0.read_exact(&mut byte)?;
                line.push(byte[0]);
            }
            if let Some(rest) = String::from_utf8_lossy(&line).strip_prefix(begins) {
                return Ok(rest.trim().to_owned());
            }
        }
    }

    /// The id of the next event.
    pub fn event(&mut self) -> u64 {
        self.line("id: ").expect("an event").parse().expect("a number")
    }

    /// All that comes until the end; an error if that is a reset.
    pub fn rest(mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        self.0.read_to_end(&mut all).map(|_| all)
    }

    /// A WebSocket at `/ws`.
    pub fn websocket(address: &str) -> Raw {
        let mut raw = Raw::to(address);
        let head = "GET /ws HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
        raw.0.write_all(head.as_bytes()).expect("a handshake");
        take_head(&mut raw.0).expect("an answer");
        raw.says("hello");
        raw
    }

    /// A message goes through and comes back.
    pub fn says(&mut self, text: &str) {
        let mask = [7, 7, 7, 7];
        let masked: Vec<u8> = text.bytes().map(|byte| byte ^ mask[0]).collect();
        let frame = [&[TEXT, 0x80 | text.len() as u8], &mask[..], &masked].concat();
        self.0.write_all(&frame).expect("send a frame");
        let frame = take_frame(&mut self.0).expect("a frame");
        assert_eq!(frame, (TEXT, text.as_bytes().to_vec()));
    }

    /// The server says 1001, hears the answer, and closes in good order.
    pub fn goes_when_told(mut self) {
        let frame = take_frame(&mut self.0).expect("a close frame, not a bare end");
        assert_eq!(frame, (CLOSE, GOING_AWAY.to_vec()));
        self.0.write_all(&[&[CLOSE, 0x82, 0, 0, 0, 0][..], &GOING_AWAY].concat()).expect("answer it");
        assert_eq!(self.rest().expect("a FIN, not a reset"), b"");
    }

    /// Bytes go through and come back.
    pub fn echoes(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).expect("send");
        let mut back = vec![0; text.len()];
        self.0.read_exact(&mut back).expect("the same bytes");
        assert_eq!(back, text.as_bytes());
    }

    /// No more will be sent.
    pub fn ends(&self) {
        self.0.shutdown(Shutdown::Write).expect("a FIN");
    }
}

/// Does this again and again for a while.
pub fn goes_on(span: Duration, mut what: impl FnMut()) {
    let end = Instant::now() + span;
    while Instant::now() < end {
        what();
    }
}
