//! Programs that can't be started, do not come up, or go wrong later: what masterd says and does.

use super::super::harness::*;
use super::life::kill;
use super::*;
use std::time::Duration;

/// A master whose program serves, and a reload to one that does not: what the reload says.
#[track_caller]
fn reload_to(config: &Exec) -> (Output, String) {
    let place = place();
    let master = Master::start(&place, &Exec::new(&["say=good"]).text());
    let before = program_of(&master);
    master.expect_error("");
    place.config(&config.text());
    let load = Load::with(&address(&master), Mix { fresh: 1, ..Mix::none() });
    let output = master.cli(&["reload"]);
    assert_eq!(program_of(&master), before, "the old one goes on");
    load.wait_answers(5);
    load.stop().assert_nothing_lost();
    let status = master.status();
    assert!(status.last_reload.is_some_and(|reload| !reload.ok));
    let log = master.log();
    master.finish();
    (output, log)
}

#[test]
fn a_new_version_that_crashes_changes_nothing_and_its_last_words_are_told() {
    if no_python() {
        return;
    }
    let words = ["say=loading the app", "err=ImportError: no module named app", "exit=3"];
    let (output, log) = reload_to(&Exec::new(&words));
    let output = output.expect(1);
    let said = output.stderr.clone() + &output.stdout;
    for words in ["exited with status 3", "ImportError: no module named app", "loading the app"] {
        assert!(said.contains(words), "{words:?} is missing in {said}");
    }
    assert!(!said.contains("exited with status 1"), "how its keeper ended says nothing more: {said}");
    assert!(log.contains("stream=stderr"), "{log}");
}

#[test]
fn a_crash_by_a_signal_is_named() {
    if no_python() {
        return;
    }
    let (output, _) = reload_to(&Exec::new(&["kill=SEGV"]));
    assert!(output.expect(1).stderr.contains("killed by SIGSEGV"));
}

#[test]
fn one_that_goes_into_the_background_is_told_to_stay() {
    if no_python() {
        return;
    }
    let (output, _) = reload_to(&Exec::new(&["leave"]));
    let said = output.expect(1).stderr;
    assert!(said.contains("exited with status 0") && said.contains("in the foreground"), "{said}");
}

#[test]
fn one_that_binds_by_itself_is_told_to_take_what_it_inherits() {
    if no_python() {
        return;
    }
    let place = place();
    let port = free_port();
    let listen = format!("\"127.0.0.1:{port}\"");
    let master = Master::start(&place, &Exec::new(&[]).listen(&listen).text());
    master.expect_error("");
    place.config(&Exec::new(&[&format!("bind={port}")]).listen(&listen).text());
    let said = master.cli(&["reload"]).expect(1).stderr;
    assert!(said.contains("bind an address by itself") && said.contains("LISTEN_FDS"), "{said}");
    master.finish();
}

#[test]
fn one_that_never_accepts_is_given_up_and_it_is_told_what_was_missing() {
    if no_python() {
        return;
    }
    let config = Exec::new(&["deaf", "say=here I am"]).master("ready_timeout = \"2s\"");
    let (output, _) = reload_to(&config);
    let said = output.expect(1).stderr;
    assert!(said.contains("none of its processes waits for connections on 127.0.0.1:"), "{said}");
    assert!(said.contains("here I am"), "{said}");
}

#[test]
fn a_start_that_fails_says_what_was_printed() {
    if no_python() {
        return;
    }
    let place = place();
    place.config(&Exec::new(&["err=no such database", "exit=4"]).text());
    let output = place.run(&["-c", "masterd.toml"]).expect(1);
    assert!(
        output.stderr.contains("no such database") && output.stderr.contains("status 4"),
        "{}",
        output.stderr
    );
}

#[test]
fn one_that_dies_again_and_again_is_throttled() {
    if no_python() {
        return;
    }
    let place = place();
    let config = Exec::new(&[]).service("restart = { backoff_min = \"200ms\" }");
    let master = Master::start(&place, &config.text());
    master.expect_error("");
    let mut deaths = 0;
    wait_until("it is throttled", SOON, || {
        if let Some(worker) = master.workers("app").first().filter(|w| w.state == "ready") {
            kill(worker.pid, "SEGV");
            deaths += 1;
            let pid = worker.pid;
            wait_until("it is gone", SOON, || !procs::runs(pid));
        }
        master.service("app").why.is_some_and(|why| why.contains("throttled") && why.contains("SIGSEGV"))
    });
    assert!(deaths <= 10, "{deaths} deaths before it was throttled");
    master.finish();
}

#[test]
fn one_that_lets_go_of_its_socket_is_replaced() {
    if no_python() {
        return;
    }
    let place = place();
    let master = Master::start(&place, &Exec::new(&[]).workers(2).text());
    master.expect_error("");
    let mut conn = Conn::open(&address(&master)).unwrap();
    conn.ask("/close").unwrap();
    master.wait_log("the program has closed the socket of 127.0.0.1:");
    wait_until("both serve", SOON, || master.service("app").workers_ready == 2);
    wait_until("it is counted", SOON, || master.service("app").totals.deaths == 1);
    master.finish();
}

#[test]
fn a_socket_that_was_shut_down_for_all_listens_again() {
    if no_python() {
        return;
    }
    let place = place();
    let port = free_port();
    let listen = format!("\"127.0.0.1:{port}\"");
    let master = Master::start(&place, &Exec::new(&[]).workers(2).listen(&listen).text());
    // The answer may come or not: its program has shut itself out.
    let _ = get(&address(&master), "/shutdown");
    master.wait_log("it listens again");
    wait_until("somebody answers", SOON, || get(&address(&master), "/").is_ok());
    master.finish();
}

#[test]
fn a_queue_that_a_program_has_made_shorter_has_its_length_again() {
    if no_python() {
        return;
    }
    let place = place();
    let listen = "{ address = \"127.0.0.1:0\", backlog = 300 }";
    let master = Master::start(&place, &Exec::new(&[]).listen(listen).text());
    let limit = || master.service("app").listeners[0].queue_limit;
    let before = limit();
    assert!(before > 1);
    body(&master, "/listen?1");
    wait_until("it is as before", SOON, || limit() == before);
    master.finish();
}

#[test]
fn one_that_is_stopped_says_so_and_goes_on() {
    if no_python() {
        return;
    }
    let place = place();
    let master = Master::start(&place, &Exec::new(&[]).text());
    let pid = program_of(&master);
    kill(pid, "STOP");
    let why = || master.workers("app")[0].why.clone().unwrap_or_default();
    wait_until("it is seen", SOON, || why().contains("stopped by SIGSTOP"));
    kill(pid, "CONT");
    wait_until("it is over", SOON, || why().is_empty());
    kill(pid, "STOP");
    master.cli(&["reload", "--drained"]).expect(0);
    assert!(!procs::runs(pid), "a stopped one ends too");
    master.finish();
}

#[test]
fn another_file_in_its_place_is_noticed() {
    if no_python() {
        return;
    }
    let place = place();
    let script = |mark: &str| {
        let python = python();
        let path = place.write("next.sh", &format!("#!/bin/sh\n# {mark}\nexec {python} -S program.py\n"));
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::rename(path, place.path("app.sh")).unwrap();
    };
    script("one");
    let text = Exec::new(&[]).text();
    let command = text.lines().find(|line| line.starts_with("command")).unwrap().to_owned();
    let text = text.replace(&command, "command = [\"./app.sh\"]");
    let master = Master::start(&place, &text);
    master.expect_error("");
    assert_eq!(master.workers("app")[0].why, None);
    script("two");
    kill(program_of(&master), "KILL");
    let why = || master.workers("app").first().and_then(|w| w.why.clone()).unwrap_or_default();
    wait_until("it is shown", SOON, || why().contains("another file"));
    wait_until("it is ready", SOON, || master.service("app").workers_ready == 1);
    holds_for("it stays shown", Duration::from_millis(700), || why().contains("another file"));
    master.cli(&["reload", "--drained"]).expect(0);
    assert_eq!(master.workers("app")[0].why, None, "this generation began with it");
    master.finish();
}

#[test]
fn a_leak_of_descriptors_is_told_before_it_hurts() {
    if no_python() {
        return;
    }
    let place = place();
    let master = Master::start(&place, &Exec::new(&[]).service("limits = { nofile = 128 }").text());
    body(&master, "/leak?112");
    let why = || master.workers("app")[0].why.clone().unwrap_or_default();
    wait_until("it is seen", Duration::from_secs(15), || why().contains("of 128 descriptors open"));
    master.finish();
}
