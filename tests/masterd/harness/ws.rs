//! Just enough of WebSockets (RFC 6455) to be either end of one, whatever a proxy in between does.

use super::http::{Conn, Lost};
use super::origin::Visit;

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;

/// A request for a WebSocket.
pub const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// The answer that grants it.
pub const GRANTED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// One frame, the last of its message; what a client sends is masked.
pub fn frame(kind: u8, payload: &[u8], masked: bool) -> Vec<u8> {
    let mut bytes = vec![0x80 | kind];
    let mask = if masked { 0x80 } else { 0 };
    match payload.len() {
        0..126 => bytes.push(mask | payload.len() as u8),
        126..=0xffff => {
            bytes.push(mask | 126);
            bytes.extend((payload.len() as u16).to_be_bytes());
        }
        _ => {
            bytes.push(mask | 127);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    if masked {
        bytes.extend(KEY);
        bytes.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    } else {
        bytes.extend(payload);
    }
    bytes
}

const KEY: [u8; 4] = [0x11, 0x22, 0x33, 0x44];

/// Reads one frame: its kind, and its payload in clear.
pub fn read_frame(conn: &mut Conn) -> Result<(u8, Vec<u8>), Lost> {
    let head = conn.read_exactly(2)?;
    let number = |bytes: Vec<u8>| bytes.iter().fold(0usize, |n, byte| n << 8 | usize::from(*byte));
    let length = match head[1] & 0x7f {
        126 => number(conn.read_exactly(2)?),
        127 => number(conn.read_exactly(8)?),
        short => usize::from(short),
    };
    let key = if head[1] & 0x80 != 0 { conn.read_exactly(4)? } else { vec![0] };
    let payload = conn.read_exactly(length)?;
    let clear = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key);
    Ok((head[0] & 0x0f, clear.collect()))
}

/// A client's WebSocket at this address, granted.
#[track_caller]
pub fn open(address: &str) -> Conn {
    let mut conn = Conn::open(address).expect("a connection");
    conn.send(HANDSHAKE.as_bytes()).expect("send a handshake");
    let answer = conn.receive().expect("an answer");
    assert_eq!((answer.status, answer.header("upgrade")), (101, Some("websocket")), "{answer:?}");
    conn
}

/// Sends a message and insists on the same as the answer.
#[track_caller]
pub fn echo(conn: &mut Conn, kind: u8, payload: &[u8]) {
    conn.send(&frame(kind, payload, true)).expect("send a frame");
    let (got, back) = read_frame(conn).expect("a frame");
    assert!((got, back.as_slice()) == (kind, payload), "{} bytes of kind {got} came back", back.len());
}

/// An origin's script: grants every request, and sends every frame back; answers a close frame and ends.
pub fn echoing(mut visit: Visit) {
    if visit.request().is_none() || !visit.say(GRANTED) {
        return;
    }
    while let Ok((kind, payload)) = read_frame(&mut visit.conn) {
        if !visit.say(frame(kind, &payload, false)) || kind == CLOSE {
            return;
        }
    }
}
