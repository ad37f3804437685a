//! What a careless parent leaves: closed or many descriptors, ignored and blocked signals, a strange
//! working folder, a tight umask.

use super::super::harness::*;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use std::collections::BTreeSet;

/// An exec at the end of a piece of Python.
const PYTHON: &str = "os.execv(sys.argv[1], sys.argv[1:])";

#[track_caller]
fn through_python(place: &Place, code: &str) -> Master {
    let code = format!("import os, signal, sys\n{code}\n{PYTHON}");
    Launch::through(place, &["python3", "-c", &code]).start()
}

#[test]
fn closed_standard_descriptors_are_filled_and_never_hold_a_socket() {
    let place = Place::new();
    place.config(&Web::new().master("log = { file = \"m.log\" }").text());
    let closer = ["sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh"];
    let master = Launch::through(&place, &closer).start();
    let mut pids = master.ready_pids("web");
    pids.push(master.pid());
    for pid in pids {
        let all = procs::descriptors(pid);
        assert!(all.len() > 3, "{pid}: {all:?}");
        for number in 0..=2 {
            let target = all.iter().find(|(n, _)| *n == number).map(|(_, t)| t.as_str());
            assert_eq!(target, Some("/dev/null"), "descriptor {number} of {pid}: {all:?}");
        }
    }
    assert_eq!(get(&master.address(), "/").unwrap().status, 200);
    master.finish();
}

#[test]
fn ignored_and_blocked_signals_of_the_parent_do_not_matter() {
    let place = Place::new();
    place.config(&Web::new().text());
    let master = through_python(
        &place,
        "for s in (signal.SIGCHLD, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM): signal.signal(s, signal.SIG_IGN)\n\
         signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))",
    );
    // Workers are reaped, so their deaths are seen and nothing is left as a zombie.
    let pids = master.ready_pids("web");
    master.expect_error("worker died");
    kill(Pid::from_raw(pids[0]), Signal::SIGKILL).unwrap();
    master.wait_status("the dead worker is replaced", SOON, |s| {
        s.services[0].workers_ready == 2 && s.services[0].workers.iter().all(|w| w.pid != pids[0])
    });
    assert_eq!(master.service("web").totals.deaths, 1);
    assert_eq!(procs::zombies(master.pid()), []);
    master.signal(Signal::SIGHUP);
    master.wait_generation(2);
    master.finish();
}

#[test]
fn descriptors_of_the_parent_do_not_reach_the_workers() {
    let place = Place::new();
    place.config(&Web::new().listen_raw(&["\"127.0.0.1:0\"", "\"unix:web.sock\""]).text());
    let master = through_python(
        &place,
        "for n in range(50):\n    os.set_inheritable(os.open('leak', os.O_RDWR | os.O_CREAT), True)\n\
         os.environ['LISTEN_FDS'] = '50'\nos.environ['LISTEN_PID'] = str(os.getpid())",
    );
    let plain = Place::new();
    let other =
        Master::start(&plain, &Web::new().listen_raw(&["\"127.0.0.1:0\"", "\"unix:web.sock\""]).text());
    for generation in 1..=2 {
        for pid in master.ready_pids("web") {
            let all = procs::descriptors(pid);
            let leaked: Vec<_> = all.iter().filter(|(_, t)| t.contains("leak")).collect();
            assert!(leaked.is_empty(), "worker {pid} of generation {generation}: {leaked:?}");
            // Two listeners and the channel to the master, of all the sockets there are.
            let sockets: BTreeSet<_> =
                all.iter().map(|(_, t)| t).filter(|t| t.starts_with("socket:")).collect();
            assert_eq!(sockets.len(), 3, "worker {pid}: {all:?}");
            let pidfds = all.iter().filter(|(_, t)| t.contains("pidfd")).count();
            assert_eq!(pidfds, 0, "worker {pid} holds nobody: {all:?}");
            let memory = all.iter().filter(|(_, t)| t.contains("memfd")).count();
            assert_eq!(memory, 0, "the scoreboard's descriptor is closed once mapped: {all:?}");
        }
        let counts = |m: &Master| -> Vec<usize> {
            m.ready_pids("web").into_iter().map(|pid| procs::descriptors(pid).len()).collect()
        };
        assert_eq!(counts(&master), counts(&other), "as many as under a tidy parent");
        for m in [&master, &other].into_iter().filter(|_| generation == 1) {
            m.cli(&["reload", "--drained"]).expect(0);
        }
    }
    other.finish();
    master.finish();
}

#[test]
fn a_deleted_working_folder_and_a_strange_umask_do_not_matter() {
    for umask in ["0", "0o777"] {
        let place = Place::new();
        place.config(&Web::new().listen("unix:web.sock").master("log = { file = \"m.log\" }").text());
        let code = format!("os.umask({umask})\nos.mkdir('gone')\nos.chdir('gone')\nos.rmdir('../gone')");
        let master = through_python(&place, &code);
        assert_eq!(get(&master.address(), "/").unwrap().status, 200);
        use std::os::unix::fs::PermissionsExt;
        let mode = |name: &str| std::fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("web.sock"), 0o666);
        assert_eq!(mode("c.sock"), 0o600);
        master.cli(&["reload"]).expect(0);
        master.finish();
    }
}

#[test]
fn a_low_soft_limit_of_open_files_is_raised() {
    let place = Place::new();
    place.config(&Web::new().service("limits = { nofile = 500 }").text());
    let code = "import resource\n_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n\
                resource.setrlimit(resource.RLIMIT_NOFILE, (16, hard))";
    let master = through_python(&place, code);
    for pid in master.ready_pids("web") {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let line = limits.lines().find(|l| l.starts_with("Max open files")).unwrap();
        assert!(line.split_ascii_whitespace().nth(3) == Some("500"), "{line}");
    }
    for _ in 0..3 {
        master.cli(&["reload"]).expect(0);
    }
    assert_eq!(get(&master.address(), "/").unwrap().status, 200);
    master.finish();
}
