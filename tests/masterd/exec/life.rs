//! A program comes up, serves, is replaced, is reloaded and upgraded, and ends.

use super::super::harness::*;
use super::*;
use std::time::Duration;

#[test]
fn a_program_serves_and_its_keeper_and_process_are_told_apart() {
    if no_python() {
        return;
    }
    let place = place();
    let master = Master::start(&place, &Exec::new(&["say=hello"]).workers(2).text());
    let service = master.service("app");
    assert_eq!((service.kind.as_str(), service.workers_ready), ("exec", 2));
    for worker in &service.workers {
        let keeper = worker.keeper.expect("a keeper");
        assert_eq!(procs::look(keeper).unwrap().parent, master.pid());
        assert_eq!(procs::look(worker.pid).unwrap().parent, keeper);
        assert_eq!(procs::look(worker.pid).unwrap().group, worker.pid, "a process group of its own");
        let title = procs::title(keeper);
        assert_eq!(title, format!("masterd: keeper app/{} gen 1", worker.seat));
        assert!(worker.memory.is_some_and(|bytes| bytes > 1 << 20), "{worker:?}");
    }
    let answers: Vec<Response> = (0..20).map(|_| get(&address(&master), "/").unwrap()).collect();
    let pids = master.ready_pids("app");
    assert!(answers.iter().all(|a| pids.contains(&i32::try_from(a.number("pid")).unwrap())));
    assert!(place.read("stderr").contains("hello"), "its output is in the log");
    master.finish();
}

#[test]
fn reloads_under_load_lose_nothing() {
    if no_python() {
        return;
    }
    let place = place();
    let master = Master::start(&place, &Exec::new(&[]).workers(2).text());
    let load = Load::with(&address(&master), Mix { fresh: 3, ..Mix::none() });
    for generation in 2..=4 {
        master.cli(&["reload", "--drained"]).expect(0);
        let status = master.status();
        assert_eq!(status.generation, generation);
        assert!(status.services[0].workers.iter().all(|w| w.generation == generation));
        load.wait_answers(20);
    }
    load.stop().assert_nothing_lost();
    master.finish();
}

#[test]
fn a_program_that_dies_is_replaced_and_so_is_one_whose_keeper_dies() {
    if no_python() {
        return;
    }
    let place = place();
    let master = Master::start(&place, &Exec::new(&["fork=2"]).text());
    let first = program_of(&master);
    kill(first, "KILL");
    let second = wait_replaced(&master, first);
    let children = procs::all(|p| p.group == first && p.state != 'Z');
    assert_eq!(children, [], "what it had forked went with it");
    let keeper = keeper_of(&master);
    kill(keeper, "KILL");
    wait_replaced(&master, second);
    wait_until("its program is gone too", SOON, || {
        procs::all(|p| p.group == second && p.state != 'Z').is_empty()
    });
    let service = master.service("app");
    assert_eq!(service.totals.deaths, 2);
    assert!(get(&address(&master), "/").is_ok());
    master.expect_error("");
    master.finish();
}

#[test]
fn when_the_master_is_gone_programs_end_in_good_order() {
    if no_python() {
        return;
    }
    let place = place();
    let master = Master::start(&place, &Exec::new(&["say=hello"]).workers(2).text());
    let programs = master.ready_pids("app");
    let mut conn = Conn::open(&address(&master)).unwrap();
    conn.ask("/sleep?0.5").unwrap();
    wait_until("it is under way", SOON, || master.service("app").workers.iter().any(|w| w.active.tcp > 0));
    master.kill();
    assert_eq!(conn.receive().unwrap().status, 200, "what was under way is finished");
    wait_until("the programs are gone", SOON, || programs.iter().all(|pid| !procs::runs(*pid)));
}

#[test]
fn an_upgrade_of_the_binary_keeps_programs_serving() {
    if no_python() {
        return;
    }
    let place = place();
    let master = Master::start(&place, &Exec::new(&[]).workers(2).text());
    let load = Load::with(&address(&master), Mix { fresh: 2, ..Mix::none() });
    let pid = master.pid();
    master.cli(&["upgrade", "--drained"]).expect(0);
    assert_eq!(master.status().pid, pid);
    load.wait_answers(20);
    load.stop().assert_nothing_lost();
    assert!(master.workers("app").iter().all(|w| w.keeper.is_some() && w.generation == 2));
    master.finish();
}

#[test]
fn a_rollout_one_by_one_never_runs_more_than_one_more() {
    if no_python() {
        return;
    }
    let place = place();
    let config = Exec::new(&[]).workers(3).master("rollout = { step = 1 }");
    let master = Master::start(&place, &config.text());
    let reload = master.begin(&["reload", "--drained"]);
    let mut most = 0;
    wait_until("the new generation serves", SOON, || {
        let workers = master.workers("app");
        most = most.max(workers.iter().filter(|w| w.state == "ready" || w.state == "starting").count());
        master.status().generation == 2
    });
    assert!(most <= 4, "{most} at once");
    reload.finish().expect(0);
    master.finish();
}

#[test]
fn a_reload_of_one_service_touches_that_one_only() {
    if no_python() {
        return;
    }
    let place = place();
    let text = Exec::new(&[]).text() + &Web::new().workers(1).listen("127.0.0.2:0").service_text();
    let master = Master::start(&place, &text);
    let (app, web) = (program_of(&master), master.ready_pids("web")[0]);
    master.cli(&["reload", "app", "--drained"]).expect(0);
    assert_ne!(program_of(&master), app);
    assert_eq!(master.ready_pids("web")[0], web);
    master.finish();
}

/// Waits for another program than `before`; its pid.
fn wait_replaced(master: &Master, before: i32) -> i32 {
    let ready = || master.ready_pids("app").first().copied();
    wait_until("a successor is ready", Duration::from_secs(10), || ready().is_some_and(|pid| pid != before));
    program_of(master)
}

/// Signals a process that a test knows to be its own.
pub fn kill(pid: i32, name: &str) {
    let signal = format!("SIG{name}").parse::<Signal>().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}
