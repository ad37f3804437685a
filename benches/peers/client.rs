//! An HTTP/1.1 client of a few lines, which knows exactly what became of each request.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than this is lost.
pub const PATIENCE: Duration = Duration::from_secs(5);

const KEEP: &[u8] = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n";
const CLOSE: &[u8] = b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";

pub struct Conn {
    stream: TcpStream,
}

#[derive(Debug)]
pub struct Answer {
    pub body: String,
    /// The server said `Connection: close`.
    pub last: bool,
}

impl Conn {
    pub fn open(address: SocketAddr) -> io::Result<Conn> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Conn { stream })
    }

    /// One request, one whole answer; anything less is an error.
    pub fn exchange(&mut self, close: bool) -> io::Result<Answer> {
        self.stream.write_all(if close { CLOSE } else { KEEP })?;
        self.answer()
    }

    /// The same, with a pause in the middle of the request's head.
    pub fn exchange_slowly(&mut self, pause: Duration) -> io::Result<Answer> {
        let (first, second) = KEEP.split_at(20);
        self.stream.write_all(first)?;
        std::thread::sleep(pause);
        self.stream.write_all(second)?;
        self.answer()
    }

    /// The server has closed, or said something unasked: nobody would send a request here.
    pub fn is_over(&self) -> bool {
        let look = || {
            self.stream.set_nonblocking(true)?;
            let seen = self.stream.peek(&mut [0]);
            self.stream.set_nonblocking(false)?;
            seen
        };
        !matches!(look(), Err(e) if e.kind() == io::ErrorKind::WouldBlock)
    }

    fn answer(&mut self) -> io::Result<Answer> {
        let mut buffer = [0; 4096];
        let mut held = 0;
        loop {
            let got = self.stream.read(&mut buffer[held..])?;
            if got == 0 {
                let what = if held == 0 { "closed without an answer" } else { "closed within an answer" };
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
            }
            held += got;
            if let Some(answer) = parse(&buffer[..held])? {
                return Ok(answer);
            }
        }
    }
}

/// One request on a connection of its own.
pub fn get(address: SocketAddr) -> io::Result<Answer> {
    Conn::open(address)?.exchange(true)
}

fn parse(bytes: &[u8]) -> io::Result<Option<Answer>> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, String::from_utf8_lossy(bytes).into_owned());
    let text = std::str::from_utf8(bytes).map_err(|_| bad())?;
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(None) };
    let mut lines = head.split("\r\n");
    if !lines.next().is_some_and(|status| status.starts_with("HTTP/1.1 200")) {
        return Err(bad());
    }
    let (mut length, mut last) = (None, false);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse::<usize>().ok();
        } else if name.eq_ignore_ascii_case("connection") {
            last = value.eq_ignore_ascii_case("close");
        }
    }
    let length = length.ok_or_else(bad)?;
    Ok((body.len() >= length).then(|| Answer { body: body[..length].to_owned(), last }))
}
