//! Listeners that workers share: whoever was woken for a connection serves it.

use super::harness::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[test]
fn a_reload_strands_no_connection_of_a_shared_listener() {
    let place = Place::new();
    let web = Web::new().workers(1).listen_raw(&["{ address = \"127.0.0.1:0\", accept = \"shared\" }"]);
    let master = Master::start(&place, &web.text());
    let (address, answered, done) =
        (master.address(), Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    // One client, one connection at a time: a second one would wake somebody for the first.
    let client = std::thread::spawn({
        let (answered, done) = (answered.clone(), done.clone());
        move || {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(get(&address, "/").expect("an answer").status, 200);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    for generation in 2..=30 {
        let before = answered.load(Ordering::Relaxed);
        wait_until("the client is at it", SOON, || answered.load(Ordering::Relaxed) > before);
        master.signal(Signal::SIGHUP);
        master.wait_status("the new workers serve alone", SOON, |s| {
            s.generation == generation && s.services[0].workers.len() == 1
        });
        let before = answered.load(Ordering::Relaxed);
        wait_until("the client is still served", SOON, || answered.load(Ordering::Relaxed) > before + 1);
    }
    done.store(true, Ordering::Relaxed);
    client.join().expect("the client was served");
    master.finish();
}
