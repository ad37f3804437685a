//! Many clients of one worker: slow ones cost it neither memory nor time.

use super::super::tools::*;
use super::*;
use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Fastened to the smallest window, so that what is sent waits at the sender.
fn narrow(address: &str) -> TcpStream {
    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrIn, connect, setsockopt, socket, sockopt,
    };
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).unwrap();
    setsockopt(&fd, sockopt::RcvBuf, &4096).unwrap();
    let to: std::net::SocketAddrV4 = address.parse().unwrap();
    connect(std::os::fd::AsRawFd::as_raw_fd(&fd), &SockaddrIn::from(to)).unwrap();
    let stream = TcpStream::from(fd);
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

#[test]
fn five_hundred_slow_readers_cost_a_piece_each_and_hold_nobody_up() {
    const MANY: usize = 500;
    const SIZE: usize = 1 << 20;
    let place = Place::new();
    let path = put(&place, "large", "");
    let pattern = Pattern::new();
    pattern.write(fs::File::create(&path).unwrap(), SIZE).unwrap();
    put(&place, "small", "small");
    let master = serving(&place);
    let address = master.address();
    assert_eq!(get(&address, "/small").unwrap().body, "small");
    let pid = master.ready_pids("web")[0];
    let before = resident(pid);
    let mut slow: Vec<TcpStream> = (0..MANY).map(|_| narrow(&address)).collect();
    for stream in &mut slow {
        std::io::Write::write_all(stream, b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .unwrap();
    }
    master.wait_status("all are being served", SOON, |s| s.services[0].workers[0].in_flight as usize == MANY);
    // While each is in the middle of its file, others have theirs at once.
    let mut took: Vec<Duration> = (0..100)
        .map(|_| {
            let begun = Instant::now();
            assert_eq!(get(&address, "/small").unwrap().body, "small");
            begun.elapsed()
        })
        .collect();
    took.sort();
    assert!(took[50] < Duration::from_millis(100), "{took:?}");
    // A piece of 64 KiB in hyper's hands, one that is read meanwhile, and the connection itself.
    let more = peak(pid).saturating_sub(before);
    assert!(more < MANY as u64 * 200, "{more} KiB for {MANY} readers");
    let mut rest = slow;
    for (n, stream) in rest.iter_mut().enumerate() {
        if n % 25 != 0 {
            continue;
        }
        let mut conn = Vec::new();
        stream.read_to_end(&mut conn).unwrap();
        let head = conn.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(conn.len() - head, SIZE);
        pattern.check(0, &conn[head..]);
    }
    drop(rest);
    assert_eq!(master.service("web").totals.deaths, 0);
    end(master);
}

#[test]
fn more_reads_than_threads_leave_the_loop_free() {
    const CLIENTS: usize = 16;
    let place = Place::new();
    let path = put(&place, "large", "");
    Pattern::new().write(fs::File::create(&path).unwrap(), 32 << 20).unwrap();
    let master = serving_with(&place, |web| web.route("/fixed", "respond = { body = \"fixed\" }"));
    let address = master.address();
    let done = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (address, done) = (address.clone(), done.clone());
            std::thread::spawn(move || {
                let mut conn = Conn::open(&address).unwrap();
                conn.patience = SOON * 3;
                conn.ask("/large").unwrap();
                conn.receive_head().unwrap();
                // Every piece is a read on a helper thread; all clients want theirs as fast as can be.
                let mut at = 0;
                while at < 32 << 20 {
                    at += conn.read_any().unwrap().len();
                }
                done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            })
        })
        .collect();
    let mut took = Vec::new();
    let mut conn = Conn::open(&address).unwrap();
    while done.load(std::sync::atomic::Ordering::Relaxed) == 0 && took.len() < 2000 {
        let begun = Instant::now();
        assert_eq!(conn.get("/fixed").unwrap().body, "fixed");
        took.push(begun.elapsed());
    }
    clients.into_iter().for_each(|client| client.join().unwrap());
    took.sort();
    assert!(took[took.len() / 2] < Duration::from_millis(100), "{:?} in the middle", took[took.len() / 2]);
    let threads = procs::status_line(master.ready_pids("web")[0], "Threads").unwrap();
    assert!(threads.parse::<u32>().unwrap() <= 5, "{threads} threads");
    drop(conn);
    end(master);
}

#[test]
fn who_stops_reading_a_file_is_let_go_and_its_file_with_it() {
    let place = Place::new();
    let path = put(&place, "large", "");
    Pattern::new().write(fs::File::create(&path).unwrap(), 8 << 20).unwrap();
    let master = serving_with(&place, |web| web.http("write_timeout = \"1s\""));
    let mut stream = narrow(&master.address());
    std::io::Write::write_all(&mut stream, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let pid = master.ready_pids("web")[0];
    let open = || procs::descriptors(pid).iter().any(|(_, to)| to.ends_with("/www/large"));
    wait_until("the file is open", SOON, open);
    wait_until("it is closed", SOON, || !open());
    assert_eq!(master.service("web").totals.errors, 1);
    drop(stream);
    end(master);
}
