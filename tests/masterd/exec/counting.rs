//! Connections of programs that know nothing of masterd, counted by what the kernel knows; recycling.

use super::super::harness::*;
use super::*;
use std::time::Duration;

#[test]
fn connections_are_counted_by_worker_and_by_listener() {
    if no_python() {
        return;
    }
    let place = place();
    let listen =
        "{ address = \"127.0.0.1:0\", name = \"one\" }, { address = \"127.0.0.2:0\", name = \"two\" }";
    let master = Master::start(&place, &Exec::new(&["fork=2"]).workers(2).listen(listen).text());
    let open = |listener: &str, n: usize| -> Vec<Conn> {
        let open = |_| {
            let mut conn = Conn::open(&master.address_of(listener)).unwrap();
            conn.get("/").unwrap();
            conn
        };
        (0..n).map(open).collect()
    };
    let (one, two) = (open("one", 7), open("two", 4));
    let active = || master.service("app").listeners.iter().map(|l| l.active).collect::<Vec<_>>();
    wait_until("they are counted", SOON, || active() == [Some(7), Some(4)]);
    let service = master.service("app");
    assert_eq!(service.workers.iter().map(|w| w.active.tcp).sum::<u64>(), 11);
    assert!(service.totals.bytes_out > 11 * 50 && service.totals.bytes_in > 11 * 20, "{:?}", service.totals);
    let peers: Vec<String> = one.iter().chain(&two).map(|c| c.local().unwrap().to_string()).collect();
    let listed = master.cli(&["status", "--json", "--connections"]).expect(0).stdout;
    assert!(peers.iter().all(|peer| listed.contains(peer)), "{listed}");
    drop((one, two));
    wait_until("they are gone", SOON, || {
        let service = master.service("app");
        service.listeners.iter().all(|l| l.active == Some(0))
            && service.workers.iter().all(|w| w.active.tcp == 0)
    });
    let before = service.totals.bytes_out;
    master.cli(&["reload", "--drained"]).expect(0);
    assert!(master.service("app").totals.bytes_out >= before, "counters never run backwards");
    master.finish();
}

#[test]
fn connections_of_a_unix_socket_are_counted_too() {
    if no_python() {
        return;
    }
    let place = place();
    let master = Master::start(&place, &Exec::new(&[]).listen("\"unix:app.sock\"").text());
    let address = format!("unix:{}", place.path("app.sock").display());
    let mut held: Vec<Conn> = (0..3).map(|_| Conn::open(&address).unwrap()).collect();
    held.iter_mut().for_each(|conn| assert_eq!(conn.get("/").unwrap().status, 200));
    wait_until("they are counted", SOON, || {
        let service = master.service("app");
        (service.listeners[0].active, service.workers[0].active.tcp) == (Some(3), 3)
    });
    master.finish();
}

#[test]
fn a_program_that_counts_itself_is_believed_within_bounds() {
    if no_python() {
        return;
    }
    let place = place();
    let master = Master::start(&place, &Exec::new(&["slot"]).workers(1).text());
    for _ in 0..5 {
        body(&master, "/");
    }
    wait_until("they are counted", SOON, || master.service("app").totals.requests == 5);
    master.cli(&["reload", "--drained"]).expect(0);
    body(&master, "/");
    wait_until("and the sum goes on", SOON, || master.service("app").totals.requests == 6);
    master.finish();
}

#[test]
fn an_old_worker_is_replaced_and_nothing_is_lost() {
    if no_python() {
        return;
    }
    let place = place();
    let config = Exec::new(&[]).workers(2).service("restart = { max_age = \"2s\" }");
    let master = Master::start(&place, &config.text());
    let first = master.ready_pids("app");
    let load = Load::with(&address(&master), Mix { fresh: 2, ..Mix::none() });
    wait_until("both are replaced", Duration::from_secs(15), || {
        let now = master.ready_pids("app");
        now.len() == 2 && now.iter().all(|pid| !first.contains(pid))
    });
    load.wait_answers(20);
    load.stop().assert_nothing_lost();
    let service = master.service("app");
    assert_eq!(service.totals.deaths, 0);
    assert!(service.workers.iter().all(|w| w.generation == 1));
    master.finish();
}
