//! A program that counts its requests itself (masterd-scoreboard(7)), by the example: what it has counted outlives it.

use super::*;
use masterd::wire::status::Service;
use std::time::Duration;

const CONFIG: &str = include_str!("../../../conf/examples/programs/scoreboard.toml");
const PROGRAM: &str = include_str!("../../../conf/examples/scoreboard.py");

/// So many requests, each on a connection of its own.
#[track_caller]
fn ask(master: &Master, times: u64) {
    for _ in 0..times {
        assert_eq!(get(&master.address(), "/").expect("an answer").status, 200);
    }
}

/// Waits until this holds of the service.
#[track_caller]
fn wait(master: &Master, what: &str, condition: impl Fn(&Service) -> bool) {
    master.wait_status(what, SOON, |status| condition(&status.services[0]));
}

/// A master that runs the example.
fn start(place: &Place) -> Master {
    place.write("scoreboard.py", PROGRAM);
    let config = CONFIG.replace("127.0.0.1:8080", "127.0.0.1:0").replace("../", "");
    let config = config.replace("\"python3\"", &format!("{:?}", python()));
    Master::start(place, &format!("[master]\ncontrol_socket = \"c.sock\"\n{config}"))
}

#[test]
fn a_status_has_what_was_counted_up_to_the_question() {
    if no_python() {
        return;
    }
    let place = Place::new();
    let master = start(&place);
    let mut exact = 0;
    for round in 1..=12 {
        ask(&master, 2);
        // Figures that were taken just before are good enough for a status: these are to be new ones.
        std::thread::sleep(Duration::from_millis(250));
        exact += usize::from(master.service("web").totals.requests == round * 2);
    }
    // A keeper that is kept waiting by the machine is not waited for.
    assert!(exact >= 10, "{exact} of 12");
    master.finish();
}

#[test]
fn what_a_program_counts_itself_outlives_it() {
    if no_python() {
        return;
    }
    let place = Place::new();
    let master = start(&place);
    ask(&master, 20);
    wait(&master, "its requests are counted", |web| {
        let by_worker: u64 = web.workers.iter().map(|worker| worker.requests).sum();
        (web.totals.accepted, web.totals.requests, by_worker) == (20, 20, 20) && web.totals.bytes_out > 0
    });
    let mut conn = Conn::open(&master.address()).expect("a connection");
    conn.get("/").expect("an answer");
    wait(&master, "its connections are told by class", |web| {
        web.totals.requests == 21
            && web.workers.iter().map(|w| w.active.http).sum::<u64>() == 1
            && web.workers.iter().map(|w| w.idle).sum::<u64>() == 1
    });
    drop(conn);
    master.cli(&["reload", "--drained"]).expect(0);
    ask(&master, 9);
    wait(&master, "a reload loses no count", |web| web.totals.requests == 30);
    // Requests that no copy of its page has seen yet, and the end of whoever has counted them.
    ask(&master, 10);
    master.expect_error("killed by SIGKILL");
    for pid in master.ready_pids("web") {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).expect("kill a program");
    }
    wait(&master, "others take their place", |web| web.totals.deaths == 2 && web.workers_ready == 2);
    ask(&master, 10);
    wait(&master, "kill -9 loses no count", |web| web.totals.requests == 50);
    assert_eq!(master.service("web").totals.requests, 50);
    master.finish();
}
