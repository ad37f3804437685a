//! Nothing grows with generations, and doing nothing costs nothing.

use super::super::harness::*;
use super::super::tools::*;
use std::time::{Duration, Instant};

#[test]
fn a_thousand_reloads_leave_nothing_behind() {
    const MOST: u64 = 1000;
    const FEWEST: u64 = 150;
    let place = Place::new();
    let web = Web::new().workers(1).master("log = { level = \"warn\", file = \"m.log\" }");
    let master = Master::start(&place, &web.text());
    let pid = master.pid();
    (0..30).for_each(|_| reload(&place));
    master.wait_generation(31);
    let worker = |m: &Master| procs::descriptors(m.ready_pids("web")[0]).len();
    let before = (at_rest(pid), resident(pid), memory_maps(pid).len(), worker(&master));
    assert_eq!(before.2, 2, "the totals and one slot");
    let begun = Instant::now();
    let mut done = 0;
    // A busy machine may not get to a thousand in time; a leak shows long before.
    while done < MOST && (done < FEWEST || begun.elapsed() < Duration::from_secs(15)) {
        reload(&place);
        done += 1;
        assert!(begun.elapsed() < SOON * 4, "only {done} reloads");
    }
    let status = master.wait_generation(31 + done);
    assert_eq!(status.services[0].totals.deaths, 0);
    let now = (at_rest(pid), resident(pid), memory_maps(pid).len(), worker(&master));
    assert_eq!((&now.0, now.2, now.3), (&before.0, before.2, before.3), "after {done} reloads");
    assert!(now.1 <= before.1 + 1024, "{} KiB after {done} reloads, {} before", now.1, before.1);
    let children = procs::all(|p| p.parent == pid);
    assert_eq!(children.len(), 1, "{children:?}");
    master.finish();
}

#[test]
fn an_idle_master_and_its_workers_sleep() {
    let place = Place::new();
    let web = Web::new().workers(2);
    let master = Master::start(&place, &web.text());
    let idle: Vec<Conn> = (0..50)
        .map(|_| {
            let mut conn = Conn::open(&master.address()).unwrap();
            conn.get("/").unwrap();
            conn
        })
        .collect();
    let pids = [vec![master.pid()], master.ready_pids("web")].concat();
    at_rest(master.pid());
    let before: Vec<(Duration, u64)> = pids.iter().map(|p| (cpu(*p), waits(*p))).collect();
    let begun = Instant::now();
    std::thread::sleep(Duration::from_secs(2));
    let span = begun.elapsed().as_secs_f64();
    for (pid, (cpu_then, waits_then)) in pids.iter().zip(before) {
        let share = (cpu(*pid) - cpu_then).as_secs_f64() / span;
        // A build without optimisation takes four times as long for each look at the pool.
        let most = if cfg!(debug_assertions) { 0.05 } else { 0.01 };
        assert!(share < most, "{} uses {:.2} % of a CPU", procs::title(*pid), share * 100.0);
        let woken = (waits(*pid) - waits_then) as f64 / span;
        // A worker ticks twice a second; the master of a pool looks twenty times.
        let most = if *pid == master.pid() { 25.0 } else { 3.5 };
        assert!(woken <= most, "{} woke {woken:.1} times a second", procs::title(*pid));
    }
    // A build without optimisation is larger; what is promised is measured in benches.
    assert!(resident(master.pid()) <= 20 * 1024, "{} KiB", resident(master.pid()));
    drop(idle);
    master.finish();
}

#[test]
fn a_pool_of_one_lets_its_master_sleep_too() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(1).text());
    at_rest(master.pid());
    let (begun, before) = (Instant::now(), waits(master.pid()));
    std::thread::sleep(Duration::from_secs(2));
    let woken = (waits(master.pid()) - before) as f64 / begun.elapsed().as_secs_f64();
    assert!(woken <= 3.0, "woke {woken:.1} times a second");
    master.finish();
}

#[test]
fn workers_inherit_nothing_that_was_meant_for_the_master() {
    let place = Place::new();
    place.config(&Web::new().workers(1).text());
    let master = Launch::new(&place).start();
    for generation in 1..=3 {
        let pid = master.ready_pids("web")[0];
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
        let environment = String::from_utf8_lossy(&environment).into_owned();
        for name in ["LISTEN_", "NOTIFY_SOCKET", "MASTERD_SOCKET", "WATCHDOG_"] {
            assert!(!environment.contains(name), "generation {generation}: {environment}");
        }
        let held = kinds(pid);
        let number = |kind: &str| held.iter().find(|(k, _)| k == kind).map_or(0, |(_, n)| *n);
        assert_eq!(number("socket:"), 2, "a listener and the channel: {held:?}");
        assert_eq!(
            held.iter().filter(|(k, _)| k.contains("memfd") || k.contains(".pid")).count(),
            0,
            "{held:?}"
        );
        assert_eq!(memory_maps(pid).len(), 1, "its own slot");
        master.cli(&["reload", "--drained"]).expect(0);
    }
    master.finish();
}
