//! `--daemon`: back when it serves, or with the reason why not.

use super::super::harness::*;
use std::net::TcpListener;

const LOG: &str = "log = { file = \"m.log\" }";

#[test]
fn a_daemon_serves_when_its_starter_returns() {
    let place = Place::new();
    place.config(&Web::new().workers(4).master(LOG).text());
    let said = place.run(&["--daemon", "-c", "masterd.toml"]).expect(0);
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""));
    let pid: i32 = place.read("m.pid").trim().parse().expect("the pid file is written by now");
    let master = Master::adopt(&place, pid);
    let status = master.status();
    assert_eq!((status.state.as_str(), status.pid, status.services[0].workers_ready), ("running", pid, 4));
    assert_eq!(get(&master.address(), "/").unwrap().status, 200);
    let proc = procs::look(pid).unwrap();
    assert_ne!(proc.group, pid, "it leads no session, so that no terminal can become its own");
    let descriptors = procs::descriptors(pid);
    for number in 0..=2 {
        assert!(descriptors.contains(&(number, "/dev/null".to_owned())), "{descriptors:?}");
    }
    master.cli(&["reload"]).expect(0);
    master.cli(&["stop"]).expect(0);
    master.wait_exit(0, SOON);
    master.finish();
}

#[test]
fn a_daemon_that_can_not_start_says_why() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    place.config(&Web::new().listen(&address).master(LOG).text());
    let said = place.run(&["--daemon", "-c", "masterd.toml"]).expect(1);
    assert_eq!(said.stderr.matches("cannot listen on").count(), 1, "said once: {said:?}");
    assert!(said.stderr.contains(&address), "{said:?}");
    assert_eq!(place.files(), ["m.log", "masterd.toml"]);
    assert!(place.read("m.log").contains(&address));
    wait_until("no process is left", SOON, || {
        procs::all(|p| procs::title(p.pid).contains(&*place.dir().to_string_lossy())).is_empty()
    });

    place.config(&Web::new().text().replace("workers = 2", "workers = 0"));
    let said = place.run(&["--daemon", "-c", "masterd.toml"]).expect(2);
    assert!(said.stderr.contains("masterd.toml:8:11:"), "{said:?}");

    place.config(&Web::new().master("log = { file = \"nowhere/m.log\" }").text());
    let said = place.run(&["--daemon", "-c", "masterd.toml"]).expect(1);
    assert!(said.stderr.contains("nowhere/m.log"), "{said:?}");
    assert_eq!(place.files(), ["m.log", "masterd.toml"], "and nothing is left");
}

#[test]
fn a_daemon_needs_a_log_file() {
    let place = Place::new();
    place.config(&Web::new().text());
    let said = place.run(&["--daemon", "-c", "masterd.toml"]).expect(2);
    assert!(said.stderr.contains("log"), "{said:?}");
    assert_eq!(place.files(), ["masterd.toml"]);
}

#[test]
fn a_second_daemon_is_refused() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().master(LOG).text());
    let said = place.run(&["--daemon", "-c", "masterd.toml"]).expect(1);
    assert!(said.stderr.contains(&format!("another masterd (pid {})", master.pid())), "{said:?}");
    assert_eq!(get(&master.address(), "/").unwrap().status, 200);
    master.finish();
}
