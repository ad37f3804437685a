//! The end of a program: asked, waited for, killed whole.

use super::super::harness::*;
use super::life::kill;
use super::*;
use std::time::Duration;

#[test]
fn one_that_ignores_its_signal_is_killed_at_the_grace_and_what_it_held_is_counted() {
    if no_python() {
        return;
    }
    let place = place();
    let config = Exec::new(&["ignore"]).service("drain = { grace = \"1s\" }");
    let master = Master::start(&place, &config.text());
    let mut held = Conn::open(&address(&master)).unwrap();
    held.get("/").unwrap();
    let old = program_of(&master);
    master.cli(&["reload", "--drained"]).expect(0);
    assert!(!procs::runs(old));
    master.wait_log("the program has not ended in its time and is killed: 1 connections are cut off");
    assert_eq!(master.service("app").totals.cut, 1);
    assert_eq!(master.service("app").totals.deaths, 0);
    assert!(held.closed_within(SOON));
    master.finish();
}

#[test]
fn work_in_the_background_is_waited_for_when_connections_are_gone() {
    if no_python() {
        return;
    }
    let place = place();
    let master = Master::start(&place, &Exec::new(&["slow=1.2"]).text());
    let old = program_of(&master);
    let reload = master.begin(&["reload", "--drained"]);
    master.wait_log("the program is asked to end");
    holds_for("it works on", Duration::from_millis(700), || procs::runs(old));
    reload.finish().expect(0);
    assert!(!procs::runs(old));
    assert!(!master.log().contains("is killed"), "it ended by itself");
    master.finish();
}

#[test]
fn what_it_has_forked_ends_with_it_even_out_of_its_group() {
    if no_python() {
        return;
    }
    let place = place();
    let config = Exec::new(&[]).service("drain = { grace = \"1s\" }");
    let master = Master::start(&place, &config.text());
    body(&master, "/fork");
    let old = program_of(&master);
    let stray = || procs::all(|p| p.parent == old);
    wait_until("it has left the group", SOON, || stray().iter().any(|p| p.group != old));
    let stray = stray();
    master.cli(&["reload", "--drained"]).expect(0);
    assert!(!procs::runs(stray[0].pid), "and is killed all the same");
    master.finish();
}

#[test]
fn a_chain_of_forks_does_not_slip_away() {
    if no_python() {
        return;
    }
    let place = place();
    let config = Exec::new(&[]).service("drain = { grace = \"1s\" }");
    let master = Master::start(&place, &config.text());
    body(&master, "/chain");
    master.cli(&["reload", "--drained"]).expect(0);
    // What is left is looked for when all is over.
    master.finish();
}

#[test]
fn one_that_serves_before_it_counts_as_ready_is_taken_back_in_good_order() {
    if no_python() {
        return;
    }
    let place = place();
    // None of them waits in accept(2) for what another has taken.
    let eager = |words: &[&str]| Exec::new(words).workers(2).exec("nonblocking = true");
    let master = Master::start(&place, &eager(&[]).text());
    master.expect_error("");
    let config = eager(&["die=1:3"]).exec("ready = \"delay:20s\"");
    place.config(&config.text());
    let reload = master.begin(&["reload"]);
    let mut taken = Vec::new();
    wait_until("the one that will not die has taken some", SOON, || {
        let mut conn = Conn::open(&address(&master)).unwrap();
        if conn.get("/").is_ok_and(|answer| answer.body.contains("gen=2 seat=0")) {
            conn.ask("/sleep?4").unwrap();
            taken.push(conn);
        }
        taken.len() == 3
    });
    reload.finish().expect(1);
    for mut conn in taken {
        assert_eq!(conn.receive().expect("an answer").status, 200);
    }
    wait_until("they are gone", SOON, || master.workers("app").iter().all(|w| w.generation == 1));
    assert!(!master.log().contains("connections are cut off"), "{}", master.log());
    master.finish();
}

#[test]
fn a_listener_that_is_removed_refuses_clients_though_its_program_works_on() {
    if no_python() {
        return;
    }
    let place = place();
    let both = "{ address = \"127.0.0.1:0\", name = \"one\" }, { address = \"127.0.0.2:0\", name = \"two\" }";
    let slow = Exec::new(&["slow=4"]);
    let master = Master::start(&place, &slow.clone().listen(both).text());
    let gone = master.address_of("two");
    let old = program_of(&master);
    place.config(&slow.listen("{ address = \"127.0.0.1:0\", name = \"one\" }").text());
    master.cli(&["reload"]).expect(0);
    master.wait_log("the program is asked to end");
    wait_until("it is refused", Duration::from_secs(2), || {
        std::net::TcpStream::connect(&gone).is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused)
    });
    assert!(procs::runs(old), "while the old one works on");
    master.finish();
}

#[test]
fn a_queue_that_nobody_else_will_serve_is_served_before_it_is_asked_to_end() {
    if no_python() {
        return;
    }
    let place = place();
    let master = Master::start(&place, &Exec::new(&[]).text());
    let address = address(&master);
    // They are in its queue, or were just taken from it, when the stop comes.
    let clients: Vec<Conn> = (0..50)
        .map(|_| {
            let mut conn = Conn::open(&address).unwrap();
            conn.ask("/sleep?0.2").unwrap();
            conn
        })
        .collect();
    master.signal(Signal::SIGQUIT);
    for mut conn in clients {
        assert_eq!(conn.receive().expect("an answer").status, 200);
    }
    master.wait_exit(0, SOON);
    master.finish();
}

#[test]
fn a_fast_stop_takes_no_longer_than_a_second() {
    if no_python() {
        return;
    }
    let place = place();
    let master = Master::start(&place, &Exec::new(&["ignore"]).workers(2).text());
    let begun = std::time::Instant::now();
    master.signal(Signal::SIGINT);
    master.wait_exit(0, SOON);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    master.finish();
}

#[test]
fn its_own_stop_signal_is_used() {
    if no_python() {
        return;
    }
    let place = place();
    // QUIT ends a Python at once, if nothing is done about it.
    let config = Exec::new(&["ignore"]).exec("stop_signal = \"QUIT\"");
    let master = Master::start(&place, &config.text());
    master.cli(&["reload", "--drained"]).expect(0);
    master.wait_log("asked to end (SIGQUIT)");
    assert!(!master.log().contains("is killed"));
    master.finish();
}

#[test]
fn what_has_left_the_session_ends_when_the_keeper_is_killed() {
    if no_python() {
        return;
    }
    let place = place();
    let master = Master::start(&place, &Exec::new(&[]).text());
    master.expect_error("");
    let program = program_of(&master);
    // Each ignores TERM, and has a session of its own.
    let daemons = || procs::all(|p| p.parent == program && p.group == p.pid && p.state != 'Z');
    body(&master, "/fork");
    body(&master, "/fork");
    wait_until("they have left", SOON, || daemons().len() == 2);
    let daemons = daemons();
    kill(keeper_of(&master), "KILL");
    wait_until("they are gone", SOON, || daemons.iter().all(|daemon| !procs::runs(daemon.pid)));
    master.wait_log("left behind by the keeper of a program");
    wait_until("a successor serves", SOON, || get(&address(&master), "/").is_ok());
    // Nobody stays with the master but its keeper.
    let master_pid = master.pid();
    wait_until("all are reaped", SOON, || procs::all(|p| p.parent == master_pid).len() == 1);
    master.finish();
}
