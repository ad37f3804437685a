//! Pools with bounds: one more when busy or when the queue does not empty.

use crate::harness::{Conn, Master, Place, SOON, Web, holds_for};
use crate::meddle::end;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Clients that leave a worker no rest: many requests at a time on connections that stay.
struct Rush {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<u64>>,
}

impl Rush {
    fn on(address: &str, clients: usize) -> Rush {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..clients)
            .map(|_| {
                let (address, stop) = (address.to_owned(), Arc::clone(&stop));
                std::thread::spawn(move || {
                    let batch = "GET / HTTP/1.1\r\nHost: test\r\n\r\n".repeat(200);
                    let mut answered = 0;
                    let mut conn = Conn::open(&address).unwrap();
                    while !stop.load(Ordering::Relaxed) {
                        conn.send(batch.as_bytes()).unwrap();
                        for _ in 0..200 {
                            assert_eq!(conn.receive().unwrap().status, 200);
                            answered += 1;
                        }
                    }
                    answered
                })
            })
            .collect();
        Rush { stop, threads }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            assert!(thread.join().expect("a client that lost nothing") > 0);
        }
    }
}

#[test]
fn a_busy_pool_grows_to_its_bound_and_no_further() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers("{ min = 1, max = 2 }").text());
    assert_eq!(master.service("web").workers_ready, 1, "a generation starts with the fewest");
    let rush = Rush::on(&master.address(), 4);
    master.wait_status("one more is there", SOON, |s| s.services[0].workers_ready == 2);
    assert!(!master.service("web").scaled, "nobody asked for it");
    master.wait_log("service web is busy: 2 workers wanted");
    holds_for("two are the most", Duration::from_millis(2500), || master.workers("web").len() == 2);
    rush.end();
    end(master);
}

#[test]
fn an_idle_pool_stays_small() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers("{ min = 1, max = 4 }").text());
    holds_for("nothing makes it grow", Duration::from_millis(2500), || master.workers("web").len() == 1);
    end(master);
}

#[test]
fn a_queue_that_does_not_empty_makes_the_pool_grow() {
    let place = Place::new();
    let config = Web::new().workers("{ min = 1, max = 3 }").service("connections = 1");
    let master = Master::start(&place, &config.text());
    let address = master.address();
    // Each worker has one that does not end, and accepts no other; the rest wait in the queues.
    let mut conns: Vec<Conn> = (0..6).map(|_| Conn::open(&address).unwrap()).collect();
    for conn in &mut conns {
        let head = "POST / HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: 10\r\n\r\n";
        conn.send(head.as_bytes()).unwrap();
    }
    master.wait_status("it has grown to its bound", SOON, |s| s.services[0].workers_ready == 3);
    holds_for("three are the most", Duration::from_millis(1500), || master.workers("web").len() == 3);
    for conn in &mut conns {
        conn.send(b"0123456789").unwrap();
    }
    for conn in &mut conns {
        assert_eq!(conn.receive().unwrap().status, 200, "and everybody is served");
    }
    end(master);
}
