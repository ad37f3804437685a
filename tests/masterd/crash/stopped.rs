//! Processes that stand still: workers are helped out and, in the end, replaced; a master that wakes
//! up late blames nobody for the time it missed.

use super::killed::settle;
use crate::harness::{Load, Master, Mix, Place, SOON, Signal, Web, get, wait_until};
use crate::meddle::{end, freeze, send};
use std::time::{Duration, Instant};
use time::OffsetDateTime;

/// A thousand connections over two and a half seconds, each at its time whatever became of those
/// before it; how long each waited for its answer.
fn arrivals(address: &str) -> Vec<Duration> {
    const CLIENTS: u32 = 50;
    let begun = Instant::now();
    let threads: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let address = address.to_owned();
            std::thread::spawn(move || {
                let mut waited = Vec::new();
                for n in 0..1000 / CLIENTS {
                    let at = begun + Duration::from_micros(2500) * (n * CLIENTS + client);
                    std::thread::sleep(at.saturating_duration_since(Instant::now()));
                    let asked = Instant::now();
                    get(&address, "/").unwrap();
                    waited.push(asked.elapsed());
                }
                waited
            })
        })
        .collect();
    threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
}

fn slower_than(limit: Duration, waited: &[Duration]) -> usize {
    waited.iter().filter(|w| **w > limit).count()
}

/// How many had to wait while all were well and while one stood still, each time it was tried: a machine
/// that is busy with something else makes people wait too, now more and now less.
#[derive(Default)]
struct Tries(Vec<(usize, usize)>);

impl Tries {
    /// Until there were no more than usual; that must come in five tries.
    #[track_caller]
    fn goes_on(&self) -> bool {
        let well = self.0.last().is_some_and(|(usual, slow)| *slow < 10 + 2 * usual);
        assert!(well || self.0.len() < 5, "waited longer than 200 ms, usually and now: {:?}", self.0);
        !well
    }

    fn took(&mut self, usual: &[Duration], now: &[Duration]) {
        let limit = Duration::from_millis(200);
        assert_eq!((usual.len(), now.len()), (1000, 1000), "everybody is answered");
        self.0.push((slower_than(limit, usual), slower_than(limit, now)));
    }
}

#[test]
fn new_connections_of_a_stopped_worker_are_served_by_a_sibling() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(4).text());
    settle(&master);
    let (victim, address) = (master.ready_pids("web")[1], master.address());
    // Without a rescue nobody would answer some, and with a late one dozens would have waited (see below).
    let mut tries = Tries::default();
    while tries.goes_on() {
        send(victim, Signal::SIGCONT);
        master
            .wait_status("it is well", SOON, |s| s.services[0].workers.iter().all(|w| w.rescues.is_empty()));
        let usual = arrivals(&address);
        freeze(victim);
        let ended = || master.log().matches("seat web/1 takes its own connections again").count();
        let before = ended();
        tries.took(&usual, &arrivals(&address));
        assert_eq!(ended(), before, "once helped, it is helped until it shows a sign of life");
    }
    let workers = master.workers("web");
    let helper = workers.iter().find(|w| w.rescues == [1]).expect("somebody helps seat 1");
    assert_ne!(helper.seat, 1);
    let stuck = workers.iter().find(|w| w.pid == victim).unwrap();
    assert!(stuck.why.as_ref().is_some_and(|w| w.contains("stood still")), "{stuck:?}");
    // It goes on: it takes its own connections again, and is the same worker.
    send(victim, Signal::SIGCONT);
    master.wait_status("nobody helps any more", SOON, |s| {
        s.services[0].workers.iter().all(|w| w.rescues.is_empty())
    });
    wait_until("it serves again", SOON, || {
        get(&master.address(), "/").unwrap().number("pid") == i64::from(victim)
    });
    assert_eq!(master.service("web").totals.deaths, 0);
    end(master);
}

#[test]
fn without_a_rescue_many_would_have_waited() {
    // The measure of the test above: one of four sockets is nobody's for as long as it lasts.
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(4).text());
    settle(&master);
    let (victim, address) = (master.ready_pids("web")[1], master.address());
    freeze(victim);
    freeze(master.pid());
    let wake = std::thread::spawn({
        let master = master.pid();
        move || {
            std::thread::sleep(Duration::from_millis(1500));
            send(master, Signal::SIGCONT);
        }
    });
    let waited = arrivals(&address);
    wake.join().unwrap();
    assert!(slower_than(Duration::from_millis(200), &waited) > 25);
    send(victim, Signal::SIGCONT);
    end(master);
}

#[test]
fn shared_listeners_need_no_rescue() {
    let place = Place::new();
    let shared = "{ address = \"127.0.0.1:0\", name = \"web\", accept = \"shared\" }";
    let master = Master::start(&place, &Web::new().workers(4).listen_raw(&[shared]).text());
    settle(&master);
    let (victim, address) = (master.ready_pids("web")[1], master.address());
    // The one that was told of a connection just before it was stopped may sit on it.
    let mut tries = Tries::default();
    while tries.goes_on() {
        send(victim, Signal::SIGCONT);
        let usual = arrivals(&address);
        freeze(victim);
        tries.took(&usual, &arrivals(&address));
    }
    send(victim, Signal::SIGCONT);
    end(master);
}

#[test]
fn the_watchdog_replaces_a_worker_that_stands_still() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().master("watchdog = \"2s\"").text());
    master.expect_error("stood still");
    settle(&master);
    let victim = master.ready_pids("web")[0];
    let load = Load::with(&master.address(), Mix { fresh: 2, ..Mix::none() });
    freeze(victim);
    let frozen = OffsetDateTime::now_utc();
    master.wait_status("it is replaced", SOON, |s| {
        s.services[0].workers_ready == 2 && s.services[0].workers.iter().all(|w| w.pid != victim)
    });
    // Killed when it had stood still for two seconds, of which half a one may have passed before.
    let took = Duration::try_from(master.stamped("event=hung")[0].at - frozen).unwrap_or_default();
    assert!(took >= Duration::from_millis(1400) && took < Duration::from_secs(5), "{took:?}");
    assert_eq!(master.service("web").totals.deaths, 1);
    assert!(master.log().contains("(watchdog)"));
    load.wait_answers(100);
    let report = load.stop();
    assert!(report.lost.len() <= 2, "at most what the stopped one had accepted: {:?}", report.lost);
    end(master);
}

#[test]
fn a_slow_request_is_no_standstill() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().master("watchdog = \"2s\"").slow("4500ms").text());
    let pids = master.ready_pids("web");
    assert_eq!(get(&master.address(), "/slow").unwrap().status, 200);
    assert_eq!(master.ready_pids("web"), pids);
    end(master);
}

/// The whole machine stood still: whoever looks first must not blame the others.
#[test]
fn a_standstill_of_everybody_is_nobodys() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(4).master("watchdog = \"2s\"").text());
    settle(&master);
    let pids = master.ready_pids("web");
    for _ in 0..2 {
        let all: Vec<i32> = std::iter::once(master.pid()).chain(pids.clone()).collect();
        all.iter().for_each(|pid| freeze(*pid));
        let begun = Instant::now();
        wait_until("it has lasted", SOON, || begun.elapsed() > Duration::from_millis(2500));
        all.iter().for_each(|pid| send(*pid, Signal::SIGCONT));
        master.wait_running();
        get(&master.address(), "/").unwrap();
    }
    assert_eq!(master.ready_pids("web"), pids, "the same workers");
    end(master);
}

#[test]
fn a_master_that_was_away_kills_nobody_when_it_wakes() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(4).master("watchdog = \"2s\"").text());
    let load = Load::start(&master.address());
    settle(&master);
    let pids = master.ready_pids("web");
    freeze(master.pid());
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        load.wait_answers(10);
    }
    send(master.pid(), Signal::SIGCONT);
    master.wait_running();
    load.wait_answers(200);
    assert_eq!(master.ready_pids("web"), pids, "the same workers");
    assert_eq!(master.service("web").totals.deaths, 0);
    let report = load.stop();
    report.assert_nothing_lost();
    assert_eq!(report.closed_idle, 0);
    end(master);
}
