//! WebSockets that say nothing, passed on by the proxy: what they cost in memory.
//!
//! Both ends are in this program: a client that opens one after the other, and an origin that takes them one
//! after the other. Each has had one small frame in each direction before it falls silent.

use super::board::{Peer, in_turns};
use super::figures::heading;
use super::proc;
use super::server::{BOTH, Setup, Work};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const ROUNDS: usize = 3;
/// Two descriptors for each in the worker, and two in this program: 10,000 would need more than the usual
/// hard limit of 20,000 has room for.
const CONNECTIONS: usize = 9_000;
/// nginx counts both sides.
const ROOM: u32 = 19_500;
const PATIENCE: Duration = Duration::from_secs(5);

/// Key and its answer are the example of RFC 6455, section 1.3.
const ASK: &[u8] =
    b"GET /chat HTTP/1.1\r\nHost: bench.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const AGREE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// A text frame with "hi", masked with zeros, and one without mask.
const CLIENTS_HI: &[u8] = &[0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
const ORIGINS_HI: &[u8] = &[0x81, 0x02, b'h', b'i'];

pub fn run() {
    heading(
        "Idle WebSockets through the proxy",
        "9,000 of them (not 10,000: each needs two descriptors, and 20,000 is the hard limit of many machines), \
         each of which has had one small frame in each direction. Resident memory of the worker, with what it \
         holds for both sides; nginx takes the memory for its connections at its start, so compare the whole, \
         too. Of the kernel's memory what its slab caches have grown by on the whole machine: four sockets for \
         each connection, two of them the worker's. Three rounds, a fresh server each.",
    );
    if proc::descriptor_limit() < 2 * CONNECTIONS as u64 + 500 {
        println!("skipped: needs a hard limit of 18,500 descriptors (ulimit -Hn)");
        return;
    }
    let (origin, far_ends) = origin();
    let work = Work::Proxy { origin, websocket: true };
    let setup = Setup { work, room: ROOM, ..Setup::default() };
    let board = in_turns(ROUNDS, &BOTH.map(|kind| Peer::new(kind, setup)), |server, column| {
        let worker = server.workers()[0];
        drop(open(server.address, 100));
        far_ends.lock().expect("the origin goes on").clear();
        std::thread::sleep(Duration::from_millis(500));
        let (before, slab) = (proc::resident(worker), proc::slab());
        let sockets = open(server.address, CONNECTIONS);
        let (after, slab) = (proc::resident(worker), proc::slab().saturating_sub(slab));
        column.note("bytes per connection", 0, after.saturating_sub(before) as f64 / CONNECTIONS as f64);
        column.note("KiB before", 0, before as f64 / 1024.0);
        column.note("KiB with 9,000 connections", 0, after as f64 / 1024.0);
        column.note("the kernel's bytes per connection", 0, slab as f64 / CONNECTIONS as f64);
        drop(sockets);
        far_ends.lock().expect("the origin goes on").clear();
    });
    board.show();
}

fn open(address: SocketAddr, n: usize) -> Vec<TcpStream> {
    (0..n).map(|_| open_one(address).expect("a WebSocket")).collect()
}

fn open_one(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(ASK)?;
    let head = read_head(&mut stream)?;
    if !head.starts_with(b"HTTP/1.1 101") {
        return Err(io::Error::other(String::from_utf8_lossy(&head).into_owned()));
    }
    stream.write_all(CLIENTS_HI)?;
    expect(&mut stream, ORIGINS_HI)?;
    Ok(stream)
}

/// Takes connections as long as this program runs, and holds them where others can let them go.
fn origin() -> (SocketAddr, Arc<Mutex<Vec<TcpStream>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("name the port");
    let open = Arc::new(Mutex::new(Vec::new()));
    let held = Arc::clone(&open);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // What fails here fails at the client, who tells.
            if agree(&mut stream).is_ok() {
                held.lock().expect("no one else panics").push(stream);
            }
        }
    });
    (address, open)
}

fn agree(stream: &mut TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    read_head(stream)?;
    stream.write_all(AGREE)?;
    expect(stream, CLIENTS_HI)?;
    stream.write_all(ORIGINS_HI)
}

/// To the empty line; behind it there is nothing yet.
fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let (mut head, mut piece) = (Vec::new(), [0; 1024]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut piece)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            got => head.extend_from_slice(&piece[..got]),
        }
    }
    Ok(head)
}

fn expect(stream: &mut TcpStream, wanted: &[u8]) -> io::Result<()> {
    let mut got = vec![0; wanted.len()];
    stream.read_exact(&mut got)?;
    if got == wanted { Ok(()) } else { Err(io::Error::other(format!("{got:?} instead of {wanted:?}"))) }
}
