//! HTTP/2 without TLS, begun by its preface: frame by frame, as a client may send them.

use super::super::harness::*;
use std::time::Duration;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// No settings (RFC 9113, 6.5), and a request for `/` of host `x` on stream 1: fields of HPACK's static table.
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
const REQUEST: &[u8] = b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01x";
const HEADERS: u8 = 1;

/// The next frame: its type, stream and content.
fn frame(conn: &mut Conn) -> Result<(u8, u32, Vec<u8>), Lost> {
    let head = conn.read_exactly(9)?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Ok((head[3], stream, conn.read_exactly(length)?))
}

#[test]
fn a_client_that_knows_beforehand_may_begin_in_pieces() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(1).text());
    let address = master.address();
    let all = [PREFACE, SETTINGS, REQUEST].concat();
    for cut in [0, 1, 3, 14, 16, 18, 20, 23, 24, 30, 33, 40] {
        let mut conn = Conn::open(&address).unwrap();
        conn.send(&all[..cut]).unwrap();
        // So that they come one after the other.
        std::thread::sleep(Duration::from_millis(20));
        conn.send(&all[cut..]).unwrap();
        let answer = loop {
            let (kind, stream, content) =
                frame(&mut conn).unwrap_or_else(|lost| panic!("cut at {cut}: {lost}"));
            if (kind, stream) == (HEADERS, 1) {
                break content;
            }
        };
        assert_eq!(answer[0], 0x88, "status 200, of the static table; cut at {cut}");
    }
    let whole = get(&address, "/").unwrap();
    assert_eq!(whole.status, 200, "and HTTP/1.1 on the same port");
    // Where it is off, nothing of it is understood, and nothing hangs.
    place.config(&Web::new().workers(1).http("http2 = false").text());
    master.cli(&["reload"]).expect(0);
    let mut conn = Conn::open(&address).unwrap();
    conn.send(&all).unwrap();
    let said = conn.read_to_end().unwrap_or_default();
    assert!(!said.starts_with(b"\0"), "{said:?}");
    master.finish();
}
