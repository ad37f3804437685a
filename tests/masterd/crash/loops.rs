//! Workers that die again and again: few forks, a reason in `status`, no harm to others.

use super::killed::settle;
use crate::harness::{Load, Master, Place, SOON, Signal, Web, get, holds_for, procs, wait_until};
use crate::meddle::{Midwife, end, send};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Kills every child that is born as long as it is told to; how many that were.
struct Reaper {
    midwife: Midwife,
    kills: Arc<AtomicBool>,
    born: Arc<AtomicUsize>,
}

impl Reaper {
    fn over(master: &Master) -> Reaper {
        let (kills, born) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let (told, count) = (Arc::clone(&kills), Arc::clone(&born));
        let midwife = Midwife::attend(master, move |child| {
            count.fetch_add(1, Ordering::Relaxed);
            if told.load(Ordering::Relaxed) {
                send(child, Signal::SIGKILL);
            }
        });
        Reaper { midwife, kills, born }
    }

    fn born(&self) -> usize {
        self.born.load(Ordering::Relaxed)
    }

    fn rest(self) {
        self.kills.store(false, Ordering::Relaxed);
        self.midwife.leave();
    }
}

#[test]
fn a_crash_loop_forks_at_most_ten_times_in_ten_seconds() {
    let place = Place::new();
    let more = Web::new().name("more").listen("127.0.0.2:0").service_text();
    let master = Master::start(&place, &Web::new().more(&more).text());
    master.expect_error("worker died");
    settle(&master);
    let other = Load::start(&master.address_of("more"));
    let reaper = Reaper::over(&master);
    let begun = Instant::now();
    master.ready_pids("web").into_iter().for_each(|pid| send(pid, Signal::SIGKILL));
    let status = master.wait_status("it is throttled", SOON, |s| {
        s.services
            .iter()
            .any(|s| s.name == "web" && s.why.as_ref().is_some_and(|w| w.contains("throttled until")))
    });
    let why = status.services.iter().find(|s| s.name == "web").unwrap().why.clone().unwrap();
    assert!(why.contains("killed by SIGKILL"), "how the last one ended: {why}");
    // Between two tries; one that is killed late is there for a moment.
    wait_until("the table shows it too", SOON, || {
        master.cli(&["status"]).expect(0).stdout.contains("throttled")
    });
    holds_for("ten forks at most", Duration::from_secs(10).saturating_sub(begun.elapsed()), || {
        reaper.born() <= 10
    });
    assert!(reaper.born() >= 5, "it tries again and again: {}", reaper.born());
    reaper.rest();
    // Whoever has mended it need not wait.
    let said = master.cli(&["resume", "web"]).expect(0);
    assert!(said.stdout.contains("web has 2 workers"), "{said:?}");
    assert_eq!(get(&master.address(), "/").unwrap().status, 200);
    assert_eq!(master.service("web").why, None);
    let report = other.stop();
    report.assert_nothing_lost();
    assert_eq!(report.closed_idle, 0, "the other service was not touched");
    assert_eq!(master.service("more").totals.deaths, 0);
    wait_until("every child is reaped", SOON, || procs::zombies(master.pid()).is_empty());
    end(master);
}

#[test]
fn a_service_is_given_up_when_asked_to_be() {
    let place = Place::new();
    let config = Web::new().workers(1).service("restart = { backoff_min = \"10ms\", give_up = 3 }");
    let master = Master::start(&place, &config.text());
    master.expect_error("worker died");
    master.expect_error("is given up");
    settle(&master);
    let reaper = Reaper::over(&master);
    send(master.ready_pids("web")[0], Signal::SIGKILL);
    let status = master.wait_status("it is given up", SOON, |s| {
        s.services[0].why.as_ref().is_some_and(|w| w.contains("given up after 3 early deaths in a row"))
    });
    assert!(status.services[0].why.as_ref().unwrap().contains("SIGKILL"), "{status:?}");
    let born = reaper.born();
    assert_eq!(born, 3);
    holds_for("nobody is started any more", Duration::from_millis(700), || reaper.born() == born);
    reaper.rest();
    // A reload is a new start.
    master.cli(&["reload"]).expect(0);
    assert_eq!(get(&master.address(), "/").unwrap().number("gen"), 2);
    assert_eq!(master.service("web").why, None);
    end(master);
}

#[test]
fn a_service_that_comes_up_again_is_not_throttled_any_more() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().text());
    master.expect_error("worker died");
    let load = Load::start(&master.address());
    settle(&master);
    let reaper = Reaper::over(&master);
    send(master.ready_pids("web")[0], Signal::SIGKILL);
    wait_until("three have died young", SOON, || reaper.born() >= 3);
    reaper.rest();
    let status = master.wait_status("all are there again", SOON, |s| s.services[0].workers_ready == 2);
    assert!(status.services[0].totals.deaths >= 3, "{status:?}");
    master.wait_log("is not throttled any more");
    // Which is true: the next death is replaced at once.
    let victim = master.ready_pids("web")[0];
    send(victim, Signal::SIGKILL);
    master.wait_status("it is replaced", SOON, |s| {
        s.services[0].workers_ready == 2 && s.services[0].workers.iter().all(|w| w.pid != victim)
    });
    master.assert_replaced(&[victim], Duration::from_secs(1));
    let report = load.stop();
    assert!(report.lost.iter().all(|l| !l.contains("no connection")), "{:?}", report.lost);
    end(master);
}
