//! What workers are made into: another user, a title; and what all of them write to the log.

use super::super::harness::*;
use nix::sys::signal::kill;
use nix::unistd::Pid;

#[test]
fn workers_of_root_are_nobody() {
    if !is_root() {
        eprintln!("only root can give workers another identity");
        return;
    }
    let place = Place::new();
    let master = Master::start(&place, &Web::new().text());
    let line = |pid, name| procs::status_line(pid, name).unwrap_or_else(|| panic!("{name} of {pid}"));
    let nobody = nix::unistd::User::from_name("nobody").unwrap().expect("there is a nobody");
    let (uid, gid) = (nobody.uid.to_string(), nobody.gid.to_string());
    for generation in 1..=2 {
        for pid in master.ready_pids("web") {
            assert_eq!(line(pid, "Uid"), [&*uid; 4].join("\t"), "generation {generation}");
            assert_eq!(line(pid, "Gid"), [&*gid; 4].join("\t"));
            assert_eq!(line(pid, "Groups"), gid);
            assert_eq!(line(pid, "NoNewPrivs"), "1");
            for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
                assert_eq!(line(pid, set), "0000000000000000", "{set}");
            }
        }
        if generation == 1 {
            master.cli(&["reload", "--drained"]).expect(0);
        }
    }
    assert!(line(master.pid(), "Uid").starts_with("0\t"));
    master.finish();
}

#[test]
fn workers_of_root_are_whom_the_config_names() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let line = |pid, name| procs::status_line(pid, name).unwrap_or_else(|| panic!("{name} of {pid}"));
    let master = Master::start(&place, &Web::new().master("user = \"12345\"\ngroup = \"54321\"").text());
    for pid in master.ready_pids("web") {
        assert_eq!(line(pid, "Uid"), ["12345"; 4].join("\t"));
        assert_eq!((line(pid, "Gid"), line(pid, "Groups")), (["54321"; 4].join("\t"), "54321".to_owned()));
    }
    master.finish();
    let master = Master::start(&place, &Web::new().master("user = \"root\"").text());
    for pid in master.ready_pids("web") {
        assert_eq!(line(pid, "Uid"), ["0"; 4].join("\t"));
        assert_eq!(line(pid, "NoNewPrivs"), "1");
    }
    master.finish();
}

#[test]
fn titles_tell_who_is_who() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().name("a-service.with_a_long_name").workers(3).text());
    let config = place.path("masterd.toml");
    assert_eq!(procs::title(master.pid()), format!("masterd: master ({})", config.display()));
    let titles = |generation: u64| {
        for worker in master.workers("a-service.with_a_long_name") {
            let title =
                format!("masterd: worker a-service.with_a_long_name/{} gen {generation}", worker.seat);
            assert_eq!(procs::title(worker.pid), title);
        }
    };
    titles(1);
    master.cli(&["reload", "--drained"]).expect(0);
    titles(2);
    master.finish();
}

#[test]
fn every_line_of_a_json_log_is_json() {
    let place = Place::new();
    let web = Web::new().master("log = { file = \"m.log\", format = \"json\", level = \"debug\" }");
    let master = Master::start(&place, &web.text());
    let load = Load::with(&master.address(), Mix { fresh: 1, idle: 1, ..Mix::none() });
    kill(Pid::from_raw(master.ready_pids("web")[0]), Signal::SIGKILL).unwrap();
    master.expect_error("worker died");
    master.wait_status("the dead worker is replaced", SOON, |s| {
        s.services[0].totals.deaths == 1 && s.services[0].workers_ready == 2
    });
    master.cli(&["reload"]).expect(0);
    // A key that is told as it is written: quotes, and a control character.
    place.config(&(web.text() + "[\"quo\\\"te and bell\\u0007\"]\n"));
    master.cli(&["reload"]).expect(1);
    master.expect_error("reload failed");
    load.stop();
    place.config(&web.text());
    master.signal(Signal::SIGQUIT);
    master.wait_exit(0, SOON);
    let log = place.read("m.log");
    assert!(log.lines().count() > 10 && log.ends_with('\n'), "{log}");
    for line in log.lines() {
        let value: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line:?}"));
        let word = |key: &str| value[key].as_str().unwrap_or_else(|| panic!("no {key} in {line}")).to_owned();
        assert!(["error", "warn", "info", "debug"].contains(&&*word("level")), "{line}");
        assert!(word("at").ends_with('Z') && word("at").len() == "2026-01-01T00:00:00.000Z".len(), "{line}");
        assert!(word("who") == "master" || word("who").starts_with("worker web/"), "{line}");
        assert!(!word("text").is_empty(), "{line}");
    }
    for event in ["started", "ready", "died", "reload_failed", "draining", "ended", "stopping"] {
        let part = format!("\"event\":\"{event}\"");
        assert!(log.contains(&part), "{part}: {log}");
    }
    assert_eq!(place.read("stderr"), "", "nothing goes beside the log file");
    master.finish();
}
