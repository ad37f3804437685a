//! Bytes both ways: much of them, slowly, and their end.

use super::*;
use nix::sys::socket::{setsockopt, sockopt};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;

/// A connection past its handshake, and the client's thread.
fn connected<T: Send + 'static>(
    act: impl FnOnce(&mut Client) -> T + Send + 'static,
) -> (Side, JoinHandle<T>) {
    let (ours, theirs) = pair();
    let visitor = visit(client(), "a.example", theirs, |client| {
        while client.conn.is_handshaking() {
            client.conn.complete_io(&mut client.sock).unwrap();
        }
        act(client)
    });
    let mut side = Side::new(ours, &server(&PLAIN, &secret()));
    side.handshake().unwrap();
    (side, visitor)
}

fn much(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n.wrapping_mul(2_654_435_761) >> 7) as u8).collect()
}

#[test]
fn a_mebibyte_each_way_through_small_sockets() {
    const MUCH: usize = 1 << 20;
    let (ours, theirs) = pair();
    for (send, receive) in [(4096, 4096), (8192, 8192)] {
        setsockopt(&ours, sockopt::SndBuf, &send).unwrap();
        setsockopt(&theirs, sockopt::SndBuf, &receive).unwrap();
    }
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let (ours, theirs) = (ours.try_clone().unwrap(), theirs.try_clone().unwrap());
        let visitor = visit(client_of(version, None), "a.example", theirs, |client| {
            client.write_all(&much(MUCH)).unwrap();
            client.flush().unwrap();
            let mut back = vec![0; MUCH];
            client.read_exact(&mut back).unwrap();
            back
        });
        let mut side = Side::new(ours, &server(&PLAIN, &secret()));
        side.handshake().unwrap();
        assert!(side.read(MUCH).unwrap() == much(MUCH), "as it was sent");
        let back: Vec<u8> = much(MUCH).into_iter().rev().collect();
        side.write(&back).unwrap();
        assert!(visitor.join().unwrap() == back, "as it was sent back");
    }
}

#[test]
fn a_client_that_does_not_read_holds_the_writer_up() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (mut side, visitor) = connected(move |client| {
        wait.recv().unwrap();
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        all.len()
    });
    setsockopt(&side.io.as_fd(), sockopt::SndBuf, &4096).unwrap();
    let piece = much(10_000);
    let mut taken = 0;
    while let Some(n) = side.once(|tls, io, cx| tls.poll_write(io, cx, &piece)) {
        taken += n.unwrap();
        assert!(taken < 1 << 20, "it has no end");
    }
    assert!((64 * 1024..=96 * 1024).contains(&taken), "{taken} bytes of plain text wait");
    assert!(!side.tls.is_flushed() && side.io.stuck_since().is_some());
    go.send(()).unwrap();
    side.run(Tls::poll_flush).unwrap();
    assert!(side.tls.is_flushed());
    side.run(Tls::send_close_notify).unwrap();
    assert_eq!(visitor.join().unwrap(), taken);
}

#[test]
fn who_only_reads_sends_what_is_left_too() {
    let (length, wait) = std::sync::mpsc::channel::<usize>();
    let (mut side, visitor) = connected(move |client| {
        let mut all = vec![0; wait.recv().unwrap()];
        client.read_exact(&mut all).unwrap();
        client.write_all(b"all of it").unwrap();
        client.flush().unwrap();
    });
    setsockopt(&side.io.as_fd(), sockopt::SndBuf, &4096).unwrap();
    let piece = much(10_000);
    let mut taken = 0;
    while let Some(n) = side.once(|tls, io, cx| tls.poll_write(io, cx, &piece)) {
        taken += n.unwrap();
    }
    length.send(taken).unwrap();
    assert_eq!(side.read(9).unwrap(), b"all of it");
    visitor.join().unwrap();
}

#[test]
fn what_is_held_back_is_told_and_not_lost() {
    const LENGTH: usize = 50_000;
    let (sent, wait) = std::sync::mpsc::channel::<()>();
    let (mut side, visitor) = connected(move |client| {
        // Small records: one read brings more of them than are taken in at once.
        for piece in much(LENGTH).chunks(1000) {
            client.write_all(piece).unwrap();
            client.flush().unwrap();
        }
        sent.send(()).unwrap();
        let mut end = [0];
        client.read(&mut end).unwrap()
    });
    wait.recv().unwrap();
    let mut all = side.read(10).unwrap();
    assert!(side.tls.holds());
    while all.len() < LENGTH {
        assert!(side.tls.holds() || side.io.may_read(), "no event will come");
        let (most, before) = (LENGTH - all.len(), all.len());
        let n = side
            .run(|tls, io, cx| tls.poll_read(io, cx, most, |bytes| all.extend_from_slice(bytes)))
            .unwrap();
        assert_eq!(before + n, all.len());
    }
    assert!(all == much(LENGTH));
    assert!(!side.tls.holds());
    side.run(Tls::send_close_notify).unwrap();
    assert_eq!(visitor.join().unwrap(), 0);
}

#[test]
fn the_clients_close_notify_is_a_clean_end() {
    let (mut side, visitor) = connected(|client| {
        client.write_all(b"last").unwrap();
        client.conn.send_close_notify();
        client.flush().unwrap();
        client.sock.write_all(b"and nonsense").unwrap();
        client.sock.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).map(|_| answer)
    });
    assert_eq!(side.read(4).unwrap(), b"last");
    for _ in 0..2 {
        assert_eq!(
            side.run(|tls, io, cx| tls.poll_read(io, cx, 9, |bytes| assert!(bytes.is_empty()))).unwrap(),
            0
        );
    }
    // It has closed its direction, not ours.
    side.write(b"answer").unwrap();
    for _ in 0..2 {
        side.run(Tls::send_close_notify).unwrap();
    }
    assert_eq!(visitor.join().unwrap().unwrap(), "answer");
}

#[test]
fn a_fin_without_it_is_an_error_after_all_that_came() {
    let (mut side, visitor) = connected(|client| {
        client.write_all(b"last").unwrap();
        client.flush().unwrap();
        client.sock.shutdown(Shutdown::Write).unwrap();
        // Closed with a ticket unread, it would be a reset.
        client.sock.try_clone()
    });
    let _open = visitor.join().unwrap().unwrap();
    assert_eq!(side.read(4).unwrap(), b"last");
    let error = side.read(1).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::UnexpectedEof, "the client left without a TLS close_notify")
    );
}

#[test]
fn last_words_are_read() {
    let (mut side, visitor) = connected(|client| {
        let mut all = String::new();
        client.read_to_string(&mut all).map(|_| all)
    });
    side.run(|tls, io, cx| tls.poll_write(io, cx, b"unsent, ")).unwrap();
    let sealed = side.tls.last_words(b"goodbye");
    crate::sys::net::send(side.io.as_fd(), &sealed).unwrap();
    assert_eq!(visitor.join().unwrap().unwrap(), "unsent, goodbye", "and a clean end");
    assert_eq!(side.tls.last_words(b""), b"", "said once");
    let (ours, _theirs) = pair();
    let mut early = Side::new(ours, &server(&PLAIN, &secret()));
    assert_eq!(early.tls.last_words(b"secret"), [0x15, 3, 3, 0, 2, 1, 0], "a warning, in the clear");
}

#[test]
fn what_is_forged_ends_it() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (mut side, visitor) = connected(move |client| {
        wait.recv().unwrap();
        client.sock.write_all(b"\x17\x03\x03\x00\x20 no one has sealed these bytes. ").unwrap();
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap_err().to_string()
    });
    go.send(()).unwrap();
    let error = side.read(1).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::InvalidData, "cannot decrypt peer's message")
    );
    assert!(side.read(1).is_err() && side.write(b"x").is_err(), "for good");
    assert_eq!(visitor.join().unwrap(), "received fatal alert: BadRecordMac");
}
