//! Families of real processes: shells, sleepers, and forks of the test.

use super::super::fork::{self, Side, fork};
use super::super::testing::{alone, wait_until};
use super::*;
use std::cell::Cell;
use std::ffi::CString;
use std::time::Duration;

/// Forks a shell with this script, tied to nobody. It needs no handle: `changed` sees its end.
fn shell(script: &str) -> i32 {
    let Side::Parent { pid, .. } = fork().unwrap() else {
        super::super::signal::unblock_all().unwrap();
        let argv = ["sh", "-c", script].map(|word| CString::new(word).unwrap());
        let Err(errno) = nix::unistd::execve(c"/bin/sh", &argv, &[c"PATH=/usr/bin:/bin"]);
        panic!("{errno}")
    };
    pid
}

fn parked() -> ! {
    std::thread::sleep(Duration::from_secs(30));
    fork::exit_now(1)
}

/// A fork of this process that lives until it is killed, or its parent ends.
fn sleeper() -> i32 {
    let us = process::pid();
    match fork().unwrap() {
        Side::Child => {
            if process::die_with(us).is_ok_and(|there| there) {
                parked()
            }
            fork::exit_now(1)
        }
        Side::Parent { pid, .. } => pid,
    }
}

/// Waits until somebody has changed.
fn next_change() -> (i32, Change) {
    let mut change = None;
    wait_until("a change", || {
        change = changed().unwrap();
        change.is_some()
    });
    change.unwrap()
}

const KILLED: Change = Change::Ended(Exit::Signal { number: libc::SIGKILL, core: false });

/// Waits for the ends of all children; their pids.
fn ends() -> BTreeSet<i32> {
    let mut ended = BTreeSet::new();
    while !procfs::children(process::pid()).unwrap().is_empty() {
        let (pid, change) = next_change();
        assert_eq!(change, KILLED);
        ended.insert(pid);
    }
    ended
}

#[test]
fn the_family_is_found_by_lists_and_by_parents() {
    alone(|| {
        become_subreaper().unwrap();
        assert!(descendants().unwrap().is_empty());
        let a = sleeper();
        // A child with a child, and one that ends at once and stays unreaped.
        let b = shell("sleep 30 & wait");
        let zombie = shell("exit 0");
        let alive = |pid| procfs::stat(pid).unwrap().unwrap().is_alive();
        wait_until("all are there", || descendants().unwrap().len() == 3 && !alive(zombie));
        let found = descendants().unwrap();
        assert!(found[..2].contains(&a) && found[..2].contains(&b), "parents first: {found:?}");
        assert_eq!(procfs::stat(found[2]).unwrap().unwrap().parent, b);
        assert!(procfs::lists_children());
        for other in [by_lists().unwrap(), by_parents().unwrap()] {
            assert_eq!(other.iter().collect::<BTreeSet<_>>(), found.iter().collect());
            assert_eq!(other[2], found[2], "parents first");
        }
        assert_eq!(procfs::children(process::pid()).unwrap().len(), 3, "the ended one is still a child");
        assert_eq!(signal_all(libc::SIGKILL).unwrap(), 3);
    });
}

#[test]
fn whoever_forks_away_is_found_and_killed() {
    alone(|| {
        become_subreaper().unwrap();
        // A grandchild whose parent ends, in a session of its own.
        let shell = shell("(setsid sleep 30 &) ; exec sleep 30");
        let ours = || procfs::children(process::pid()).unwrap();
        wait_until("it is ours", || {
            let sleeps =
                |pid| std::fs::read(format!("/proc/{pid}/comm")).is_ok_and(|name| name == b"sleep\n");
            let found = ours();
            found.len() == 2 && found.into_iter().all(sleeps)
        });
        let family = descendants().unwrap();
        assert!(family.contains(&shell) && family.len() == 2);
        assert_eq!(signal_all(0).unwrap(), 2, "as a question only");
        assert_eq!(signal_all(libc::SIGKILL).unwrap(), 2);
        assert_eq!(ends(), family.into_iter().collect());
        assert_eq!((descendants().unwrap(), signal_all(libc::SIGKILL).unwrap()), (vec![], 0));
    });
}

#[test]
fn a_killing_sweep_looks_again_and_any_other_once() {
    alone(|| {
        let all = [sleeper(), sleeper(), sleeper()];
        // At each look one more is there.
        let looks = Cell::new(0);
        let list = || {
            looks.set(looks.get() + 1);
            Ok(all[..looks.get().min(all.len())].to_vec())
        };
        assert_eq!((sweep(libc::SIGCONT, &list, &descends).unwrap(), looks.get()), (1, 1));
        looks.set(0);
        assert_eq!((sweep(libc::SIGKILL, &list, &descends).unwrap(), looks.get()), (3, 4));
        assert_eq!(ends(), all.into_iter().collect());
    });
}

#[test]
fn nobody_else_is_signalled() {
    alone(|| {
        let (a, b) = (sleeper(), sleeper());
        assert!(descends(a).unwrap() && descends(b).unwrap());
        // SIGTERM would end it.
        super::super::signal::unblock_all().unwrap();
        for stranger in [process::pid(), process::parent_pid(), 1, i32::MAX] {
            assert!(!descends(stranger).unwrap());
            assert!(!reach(stranger, libc::SIGTERM, &descends).unwrap());
        }
        assert!(reach(a, libc::SIGKILL, &descends).unwrap());
        assert_eq!(next_change(), (a, KILLED));
        assert!(!reach(a, libc::SIGKILL, &descends).unwrap(), "it is gone");
        assert!(reach(b, 1000, &descends).is_err(), "no such signal");
        assert!(signal_all(1000).unwrap_err().to_string().contains(&format!("process {b}")));
    });
}

#[test]
fn every_change_is_told_once() {
    alone(|| {
        assert_eq!(changed().unwrap(), None);
        let pid = sleeper();
        let to = Pidfd::open(pid).unwrap();
        assert_eq!(changed().unwrap(), None);
        to.send_signal(libc::SIGSTOP).unwrap();
        assert_eq!(next_change(), (pid, Change::Stopped(libc::SIGSTOP)));
        assert_eq!(changed().unwrap(), None);
        to.send_signal(libc::SIGCONT).unwrap();
        assert_eq!(next_change(), (pid, Change::Continued));
        to.send_signal(libc::SIGKILL).unwrap();
        assert_eq!(next_change(), (pid, KILLED));
        assert_eq!(changed().unwrap(), None);
        let pid = shell("exit 3");
        assert_eq!(next_change(), (pid, Change::Ended(Exit::Code(3))));
    });
}

#[test]
fn a_process_whose_first_thread_has_ended_lives() {
    alone(|| {
        let Side::Parent { pid, .. } = fork().unwrap() else {
            std::thread::spawn(|| std::thread::sleep(Duration::from_secs(30)));
            // SAFETY: ends this thread only, without unwinding; what it borrows is not dropped.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
            fork::exit_now(1)
        };
        wait_until("its first thread has ended", || procfs::stat(pid).unwrap().unwrap().state == b'Z');
        assert_eq!(descendants().unwrap(), [pid]);
        assert_eq!(changed().unwrap(), None);
        assert_eq!(signal_all(libc::SIGKILL).unwrap(), 1);
        assert_eq!(next_change(), (pid, KILLED));
    });
}

#[test]
fn what_a_dead_supervisor_has_left_is_killed_whatever_session_it_is_in() {
    alone(|| {
        assert!(!has_children().unwrap());
        become_subreaper().unwrap();
        let Side::Parent { pid: supervisor, .. } = fork().unwrap() else {
            become_subreaper().unwrap();
            fork::new_session().unwrap();
            // One in its session, with a child of its own, and one that has left it.
            let _ = shell("sleep 30 & exec sleep 30");
            if let Side::Child = fork().unwrap() {
                fork::new_session().unwrap();
                parked()
            }
            parked()
        };
        let worker = sleeper();
        wait_until("all are there, in their sessions", || {
            let all = descendants().unwrap();
            let with_it = all
                .iter()
                .filter(|pid| procfs::stat(**pid).unwrap().is_some_and(|stat| stat.session == supervisor));
            all.len() == 5 && with_it.count() == 3
        });
        assert!(has_children().unwrap());
        Pidfd::open(supervisor).unwrap().send_signal(libc::SIGKILL).unwrap();
        wait_until("it is dead", || !procfs::stat(supervisor).unwrap().unwrap().is_alive());
        let in_session = |pid, session| pid != worker && session == supervisor;
        assert_eq!(kill_children(&in_session).unwrap().reached.len(), 1, "the other's parent lives yet");
        let mut killed = 0;
        wait_until("nobody else is left", || {
            while changed().unwrap().is_some() {}
            killed += kill_children(&|pid, _| pid != worker).unwrap().reached.len();
            descendants().unwrap() == [worker]
        });
        assert!(killed >= 2, "{killed}");
        Pidfd::open(worker).unwrap().send_signal(libc::SIGKILL).unwrap();
    });
}

#[test]
fn a_child_that_has_ended_is_told_until_it_is_reaped() {
    alone(|| {
        let pid = sleeper();
        assert_eq!(kill_children(&|_, _| true).unwrap().reached, [pid]);
        wait_until("it has ended", || !procfs::stat(pid).unwrap().unwrap().is_alive());
        let found = kill_children(&|_, _| true).unwrap();
        assert!(found.ended && found.reached.is_empty(), "{found:?}");
        assert!(!kill_children(&|_, _| false).unwrap().ended);
        while changed().unwrap().is_some() {}
        assert!(!kill_children(&|_, _| true).unwrap().ended);
    });
}

#[test]
fn groups_are_told() {
    alone(|| {
        let pid = sleeper();
        assert_eq!(process_group(pid), process_group(process::pid()));
        nix::unistd::setpgid(Pid::from_raw(pid), Pid::from_raw(pid)).unwrap();
        assert_eq!(process_group(pid), Some(pid));
        assert_eq!(process_group(i32::MAX), None);
    });
}

#[test]
fn usage_is_what_they_use() {
    alone(|| {
        let start = super::super::clock::monotonic_ns();
        let busy = shell("while :; do :; done");
        wait_until("it has worked", || cpu(&[busy]) >= 50_000_000);
        let (used, resident) = (cpu(&[busy]), estimate(&[busy]));
        let elapsed = super::super::clock::monotonic_ns() - start;
        assert!(used <= elapsed + 20_000_000, "one thread on one CPU: {used} in {elapsed} ns");
        assert!((100 << 10..100 << 20).contains(&resident), "{resident}");
        assert!(!is_alone().unwrap());
        signal_all(libc::SIGKILL).unwrap();
        assert!(!is_alone().unwrap(), "it has ended, and is not reaped");
        wait_until("all are reaped", || {
            while changed().ok().flatten().is_some() {}
            is_alone().unwrap()
        });
        assert_eq!((cpu(&[]), cpu(&[i32::MAX]), estimate(&[]), estimate(&[i32::MAX])), (0, 0, 0, 0));

        // What two share is counted once.
        let us = process::pid();
        let a = procfs::memory(us).unwrap();
        let (one, two) = (estimate(&[us]), estimate(&[us, us]));
        assert!(one.abs_diff(a.resident) < 1 << 20, "{one} {a:?}");
        assert!(two.abs_diff(2 * a.resident - a.shared) < 1 << 20, "{two} {a:?}");
        assert!((1 << 20..a.resident).contains(&a.shared), "{a:?}");
    });
}

#[test]
fn what_forks_have_in_common_is_counted_once() {
    alone(|| {
        // Written to before the fork: each of the two has all of it, and neither a copy.
        let common = std::hint::black_box(vec![1u8; 32 << 20]);
        let pids = [sleeper(), sleeper()];
        let at = |mebibytes: u64| mebibytes << 20;
        let apart = estimate(&pids);
        assert!(apart > at(64), "{apart}");
        // A third of it is this process's.
        let together = memory(&pids);
        assert!(together > at(16) && together + at(32) < apart, "{together} of {apart}");
        assert_eq!(cpu(&[i32::MAX]) + memory(&[i32::MAX]), 0);
        drop(common);
        signal_all(libc::SIGKILL).unwrap();
    });
}
