//! At a limit nothing is refused: connections wait, reloads are refused whole, and all of it ends.

use super::super::harness::*;
use super::super::meddle::{freeze, send};
use super::super::tools::*;
use std::process::Command;
use std::time::Duration;

/// Connections that have asked and wait for their answers.
fn crowd(address: &str, count: usize) -> Vec<Conn> {
    let one = || {
        let mut conn = Conn::open(address).expect("a place in the queue");
        conn.ask("/").expect("room in a socket");
        conn
    };
    (0..count).map(|_| one()).collect()
}

/// Takes the answers that are there; those that have none yet come back.
fn serve_some(crowd: Vec<Conn>) -> (Vec<Conn>, Vec<Conn>) {
    let answered = |conn: &mut Conn| conn.unasked().is_some();
    let mut crowd = crowd;
    let (mut served, waiting): (Vec<Conn>, Vec<Conn>) = crowd.drain(..).partition_mut(answered);
    for conn in &mut served {
        assert_eq!(conn.receive().expect("an answer").status, 200);
    }
    (served, waiting)
}

/// `partition` with a look that may change what it looks at.
trait PartitionMut<T> {
    fn partition_mut(self, test: impl FnMut(&mut T) -> bool) -> (Vec<T>, Vec<T>);
}

impl<T, I: Iterator<Item = T>> PartitionMut<T> for I {
    fn partition_mut(self, mut test: impl FnMut(&mut T) -> bool) -> (Vec<T>, Vec<T>) {
        let (mut yes, mut no) = (Vec::new(), Vec::new());
        for mut item in self {
            if test(&mut item) { yes.push(item) } else { no.push(item) }
        }
        (yes, no)
    }
}

/// A crowd larger than a worker can take, served to the last as others leave.
#[track_caller]
fn held_and_served(master: &Master, crowd_size: usize, fits: std::ops::Range<u64>, why: &str) {
    let address = master.address();
    let crowd = crowd(&address, crowd_size);
    let full = master.wait_status("it is full and says so", SOON, |s| {
        let worker = &s.services[0].workers[0];
        worker.why.as_deref().is_some_and(|w| w.contains(why)) && fits.contains(&worker.active.total())
    });
    let active = full.services[0].workers[0].active.total();
    assert_eq!(full.services[0].totals.accepted, active, "accepted and open are the same");
    let queued = u64::from(full.services[0].listeners[0].queue);
    assert_eq!(queued, crowd_size as u64 - active, "the others wait in the queue");
    let pid = full.services[0].workers[0].pid;
    let share = cpu_share(pid, Duration::from_secs(1));
    assert!(share < 0.2, "{:.0} % of a CPU while full", share * 100.0);
    let (mut served, mut waiting) = serve_some(crowd);
    assert_eq!(served.len() as u64, active, "who is in is served");
    // Those that are in go; the others move up, all of them.
    while !waiting.is_empty() {
        let before = waiting.len();
        served.clear();
        let mut pending = Some(waiting);
        wait_until("somebody moves up", SOON, || {
            let (new, rest) = serve_some(pending.take().expect("put back each time"));
            served.extend(new);
            pending = Some(rest);
            !served.is_empty()
        });
        waiting = pending.expect("put back each time");
        assert!(waiting.len() < before);
    }
    drop(served);
    let calm = master.wait_status("it has recovered", SOON, |s| {
        let worker = &s.services[0].workers[0];
        worker.why.is_none() && worker.active.total() == 0
    });
    let totals = &calm.services[0].totals;
    assert_eq!((totals.accepted, totals.requests, totals.errors), (crowd_size as u64, crowd_size as u64, 0));
    assert_eq!(get(&address, "/").unwrap().status, 200);
    assert_eq!(totals.deaths, 0);
}

#[test]
fn a_worker_out_of_descriptors_lets_clients_wait_and_recovers() {
    let place = Place::new();
    // As root, so that the test may set its limit.
    let user = if is_root() { "user = \"root\"" } else { "" };
    let web = Web::new().workers(1).master(user).service("limits = { nofile = 128 }");
    let master = Master::start(&place, &web.text());
    // Taken away behind its back: what it had at its start it would have left a reserve of.
    let pid = format!("--pid={}", master.ready_pids("web")[0]);
    assert!(Command::new("prlimit").args([&pid, "--nofile=64:"]).status().expect("run prlimit").success());
    held_and_served(&master, 200, 40..64, "out of file descriptors");
    assert_eq!(master.log().matches("can't accept").count(), 1, "said once, not for each try");
    master.finish();
}

#[test]
fn connections_leave_descriptors_for_orders() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(1).service("limits = { nofile = 64 }").text());
    held_and_served(&master, 100, 30..33, "at its connection limit");
    let mut crowd: Vec<Conn> = (0..60).map(|_| Conn::open(&master.address()).expect("connect")).collect();
    master.wait_status("it is full", SOON, |s| s.services[0].workers[0].why.is_some());
    // The document comes as a descriptor.
    assert_eq!(crowd[0].get("/status").expect("an answer").status, 200);
    drop(crowd);
    master.finish();
}

#[test]
fn a_worker_at_its_connection_limit_lets_clients_wait_and_recovers() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().workers(1).service("connections = 10").text());
    held_and_served(&master, 45, 10..11, "at its connection limit");
    master.finish();
}

/// A user whose processes are this test's only.
fn own_user() -> u32 {
    100_000 + std::process::id() % 50_000
}

/// Sets the soft limit, as that user itself: root may lack the right to.
fn limit_processes(pid: i32, uid: u32, limit: &str) {
    let set = Command::new("setpriv")
        .args([&format!("--reuid={uid}"), &format!("--regid={uid}"), "--clear-groups", "--", "prlimit"])
        .args([&format!("--pid={pid}"), &format!("--nproc={limit}:")])
        .status();
    assert!(set.expect("run prlimit").success());
}

#[test]
fn a_reload_that_can_not_fork_is_refused_whole() {
    if no_stranger() {
        return;
    }
    let place = Place::new();
    let uid = own_user();
    std::os::unix::fs::chown(place.dir(), Some(uid), Some(uid)).unwrap();
    place.config(&Web::new().workers(2).text());
    let (reuid, regid) = (format!("--reuid={uid}"), format!("--regid={uid}"));
    let master = Launch::through(&place, &["setpriv", &reuid, &regid, "--clear-groups", "--"]).start();
    for words in ["reload failed", "cannot", "fork", "throttled", "worker died"] {
        master.expect_error(words);
    }
    let pids = master.ready_pids("web");
    let load = Load::with(&master.address(), Mix { fresh: 1, kept: 1, ..Mix::none() });
    // Not even the config can be read; then one of two workers comes up, and is taken back.
    for (limit, left) in [("3", "nothing"), ("4", "one")] {
        limit_processes(master.pid(), uid, limit);
        let said = master.cli(&["reload"]).expect(1);
        assert!(
            said.stderr.contains("fork") && said.stderr.contains("temporarily unavailable"),
            "{left}: {said:?}"
        );
        let status = master.wait_status("all is as it was", SOON, |s| s.services[0].workers.len() == 2);
        assert_eq!((status.generation, master.ready_pids("web")), (1, pids.clone()), "{left} was started");
        assert!(status.last_reload.as_ref().is_some_and(|r| !r.ok && r.error.is_some()));
    }
    load.stop().assert_nothing_lost();
    // A worker that dies now can't be replaced; the status says why, and it is when that is over.
    limit_processes(master.pid(), uid, "1");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pids[0]), Signal::SIGKILL).unwrap();
    master.wait_status("the reason is shown", SOON, |s| {
        s.services[0].why.as_deref().is_some_and(|w| w.contains("throttled") || w.contains("fork"))
    });
    assert_eq!(get(&master.address(), "/").unwrap().status, 200);
    limit_processes(master.pid(), uid, "100");
    master.wait_status("it is replaced", SOON, |s| s.services[0].workers_ready == 2);
    master.cli(&["reload", "--drained"]).expect(0);
    master.finish();
}

#[test]
fn a_generation_beyond_the_descriptors_is_refused_before_it_starts() {
    let place = Place::new();
    let web = Web::new().workers(2).service("limits = { nofile = 64 }");
    place.config(&web.text());
    let master = Launch::through(&place, &["sh", "-c", "ulimit -n 100; exec \"$@\"", "sh"]).start();
    master.expect_error("reload failed");
    master.expect_error("scale");
    let pids = master.ready_pids("web");
    let held = at_rest(master.pid());
    let load = Load::with(&master.address(), Mix { fresh: 1, kept: 1, ..Mix::none() });
    place.config(&web.clone().workers(40).text());
    for _ in 0..3 {
        let said = master.cli(&["reload"]).expect(1);
        assert!(said.stderr.contains("the limit is 100") && said.stderr.contains("ulimit -n"), "{said:?}");
    }
    for _ in 0..3 {
        let said = master.cli(&["scale", "web", "40"]).expect(1);
        assert!(
            said.stderr.contains("38 new workers") && said.stderr.contains("the limit is 100"),
            "{said:?}"
        );
    }
    assert_eq!(master.service("web").workers_wanted, 2);
    load.stop().assert_nothing_lost();
    assert_eq!((master.status().generation, master.ready_pids("web")), (1, pids));
    assert_eq!(at_rest(master.pid()), held);
    place.config(&web.text());
    master.cli(&["reload", "--drained"]).expect(0);
    master.finish();
}

#[test]
fn many_sockets_without_a_worker_are_each_served_once() {
    let place = Place::new();
    let web = Web::new().workers(12).service("restart = { backoff_min = \"20s\", backoff_max = \"20s\" }");
    let master = Master::start(&place, &web.text());
    master.expect_error("worker died");
    let keep: Vec<i32> = master.workers("web").iter().filter(|w| w.seat < 2).map(|w| w.pid).collect();
    wait_until("the others are dead and throttled", SOON, || {
        let workers = master.workers("web");
        let others = || workers.iter().filter(|w| w.seat >= 2);
        // Those that were no longer young have been replaced.
        others().filter(|w| w.pid > 0).for_each(|w| send(w.pid, Signal::SIGKILL));
        others().next().is_none() && master.service("web").why.is_some_and(|w| w.contains("throttled"))
    });
    // What waits in the queues of the dead is served when their seats go. Those that have stood in for them
    // so far find it there together with the news.
    keep.iter().for_each(|pid| freeze(*pid));
    let mut waiting = crowd(&master.address(), 60);
    master.cli(&["scale", "web", "2"]).expect(0);
    keep.iter().for_each(|pid| send(*pid, Signal::SIGCONT));
    waiting.iter_mut().for_each(|conn| assert_eq!(conn.receive().unwrap().status, 200));
    drop(waiting);
    master.wait_status("only two are left", SOON, |s| s.services[0].workers.len() == 2);
    let log = master.log();
    assert!(!log.contains("no descriptor came") && !log.contains("cannot hand over"), "{log}");
    master.finish();
}

#[test]
fn as_many_workers_as_cpus_have_one_each() {
    use nix::sched::{CpuSet, sched_getaffinity};
    let place = Place::new();
    let own = sched_getaffinity(nix::unistd::Pid::from_raw(0)).expect("the CPUs of this process");
    let cpus: Vec<String> = (0..CpuSet::count())
        .filter(|cpu| own.is_set(*cpu).unwrap_or(false))
        .map(|cpu| cpu.to_string())
        .collect();
    let bound = |master: &Master| -> Vec<String> {
        let of = |pid| procs::status_line(pid, "Cpus_allowed_list").expect("a worker");
        let mut found: Vec<String> = master.ready_pids("web").into_iter().map(of).collect();
        found.sort_by_key(|cpu| cpu.parse::<usize>().ok());
        found
    };
    let auto = Web::new().service("limits = { cpu_affinity = \"auto\" }");
    let master = Master::start(&place, &auto.clone().workers(cpus.len()).text());
    assert_eq!(bound(&master), cpus);
    // One more than there are: nobody is bound.
    place.config(&auto.workers(cpus.len() + 1).text());
    master.cli(&["reload", "--drained"]).expect(0);
    let all = procs::status_line(std::process::id().cast_signed(), "Cpus_allowed_list");
    assert!(bound(&master).iter().all(|list| Some(list) == all.as_ref()), "{:?}", bound(&master));
    master.finish();
}
