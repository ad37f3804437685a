//! Bytes passed on over TCP: how many a second of CPU is good for.
//!
//! Both ends are threads of this program, on CPU 1. A connection begins with one byte that tells the far end
//! what to do: take what comes, or send as much as it can.

use super::board::{Column, Peer, in_turns};
use super::figures::heading;
use super::server::{Kind, Server, Setup, Work};
use masterd::sys::limits;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const ROUNDS: usize = 3;
const WARM: Duration = Duration::from_millis(300);
const MEASURED: Duration = Duration::from_millis(1500);
const PIECE: usize = 128 << 10;
const LOAD_CPU: usize = 1;

const TAKE: u8 = b't';
const SEND: u8 = b's';

/// Bytes that have arrived at whichever end.
static ARRIVED: AtomicU64 = AtomicU64::new(0);

pub fn run() {
    heading(
        "TCP proxy",
        "One worker (HAProxy: one thread) on CPU 0, both ends of the connections on CPU 1, which is what limits \
         GB per second; GB (10⁹ bytes) that arrived per CPU second of the worker is the figure to compare, and \
         more is better. Pieces of 128 KiB, as fast as they go; of 32 connections half send each way. HAProxy \
         with and without `option splice-auto`; nginx is its stream module as it comes. Three rounds of 1.5 s.",
    );
    let origin = far_end();
    let setup = |splice| Setup { cpu: Some(0), work: Work::Tunnel { origin, splice }, ..Setup::default() };
    let peers = [
        Peer::new(Kind::Masterd, setup(false)),
        Peer { name: "HAProxy, splice", ..Peer::new(Kind::Haproxy, setup(true)) },
        Peer { name: "HAProxy, copy", ..Peer::new(Kind::Haproxy, setup(false)) },
        Peer { name: "nginx stream", ..Peer::new(Kind::Nginx, setup(false)) },
    ];
    let board = in_turns(ROUNDS, &peers, |server, column| {
        measure(server, column, "1 connection, to the upstream", 1, 0);
        measure(server, column, "1 connection, to the client", 0, 1);
        measure(server, column, "32 connections, both ways", 16, 16);
    });
    board.show();
}

fn measure(server: &Server, column: &mut Column<'_>, what: &str, up: usize, down: usize) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        (0..up).for_each(|_| drop(scope.spawn(|| near_end(server.address, TAKE, &over))));
        (0..down).for_each(|_| drop(scope.spawn(|| near_end(server.address, SEND, &over))));
        std::thread::sleep(WARM);
        let (cpu, bytes) = (server.cpu_ns(), ARRIVED.load(Ordering::Relaxed));
        std::thread::sleep(MEASURED);
        let cpu = (server.cpu_ns() - cpu) as f64;
        let bytes = (ARRIVED.load(Ordering::Relaxed) - bytes) as f64;
        over.store(true, Ordering::Relaxed);
        assert!(bytes > 0.0, "{what}: nothing arrives");
        column.note(&format!("{what}: GB per CPU second"), 2, bytes / cpu);
        column.note(&format!("{what}: GB per second"), 2, bytes / MEASURED.as_nanos() as f64);
    });
}

/// One client, until it is over.
fn near_end(address: SocketAddr, word: u8, over: &AtomicBool) {
    limits::set_affinity(&[LOAD_CPU]).expect("a second CPU");
    let mut stream = TcpStream::connect(address).expect("connect");
    stream.write_all(&[word]).expect("send the first byte");
    let mut piece = vec![0; PIECE];
    while !over.load(Ordering::Relaxed) {
        if word == TAKE {
            stream.write_all(&piece).expect("send");
        } else {
            let got = stream.read(&mut piece).expect("receive");
            assert!(got > 0, "the server has ended a connection");
            ARRIVED.fetch_add(got as u64, Ordering::Relaxed);
        }
    }
    // The other end may have been faster.
    let _ = stream.shutdown(Shutdown::Both);
}

/// What the servers connect to, as long as this program runs.
fn far_end() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("name the port");
    std::thread::spawn(move || {
        limits::set_affinity(&[LOAD_CPU]).expect("a second CPU");
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// A connection that ends early is the client's to complain of.
fn serve(mut stream: TcpStream) {
    let mut piece = vec![0; PIECE];
    let mut word = [0];
    if stream.read_exact(&mut word).is_err() {
        return;
    }
    if word[0] == SEND {
        while stream.write_all(&piece).is_ok() {}
        return;
    }
    while let Ok(got @ 1..) = stream.read(&mut piece) {
        ARRIVED.fetch_add(got as u64, Ordering::Relaxed);
    }
}
