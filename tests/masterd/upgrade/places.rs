//! Where the new binary is looked for, and what stays in its place: files, title, users.

use super::{comes_to_nothing, goes_well, goes_well_to, start};
use crate::harness::image::shell;
use crate::harness::{Launch, Load, Master, Place, SOON, Web, get, install, procs};
use crate::meddle::end;
use crate::tools::{AS_STRANGER, STRANGER, no_stranger, not_root, place_of_stranger};
use std::fs;
use std::os::unix::fs::MetadataExt;

const LOG: &str = "log = { file = \"m.log\" }";

/// Inodes of the files that a master keeps, and what the pid file says.
fn files(place: &Place) -> (Vec<u64>, String) {
    let inode = |name| fs::metadata(place.path(name)).expect("it is there").ino();
    (["m.pid", "m.log", "c.sock", "c.sock.lock"].map(inode).to_vec(), place.read("m.pid"))
}

/// A plain upgrade to what is put at `name`; the path that the next one will look at.
#[track_caller]
fn next(place: &Place, master: &Master, name: &str, version: &str) -> String {
    goes_well_to(place, master, (name, version), &[]).binary
}

fn folder(place: &Place, name: &str) {
    fs::create_dir_all(place.path(name)).expect("a folder");
}

#[test]
fn files_and_the_title_stay_what_they_are() {
    let place = Place::new();
    let master = start(&place, &Web::new().master(LOG));
    for words in ["upgrade failed", "panic"] {
        master.expect_error(words);
    }
    let (before, title) = (files(&place), procs::title(master.pid()));
    assert_eq!(before.1.trim(), master.pid().to_string());
    goes_well(&place, &master, "0.2.0");
    assert_eq!((files(&place), procs::title(master.pid())), (before.clone(), title.clone()));
    install(&place, "masterd", &["at=restored", "do=panic"]);
    comes_to_nothing(&master, &[], &["panicked"]);
    assert_eq!((files(&place), procs::title(master.pid())), (before, title));
    let log = place.read("m.log");
    for words in ["masterd 0.2.0 has taken over", "masterd 0.2.0 serves as generation 2", "upgrade failed"] {
        assert_eq!(log.matches(words).count(), 1, "{words}: {log}");
    }
    end(master);
}

#[test]
fn a_daemon_started_by_a_relative_path_finds_the_next_binary() {
    let place = Place::new();
    place.config(&Web::new().master(LOG).text());
    install(&place, "masterd", &[]);
    let dir = place.dir().to_str().unwrap();
    shell("cd \"$1\"; ./masterd --daemon -c masterd.toml", &[dir]);
    let master = Master::adopt(&place, place.read("m.pid").trim().parse().expect("a pid"));
    let before = files(&place);
    assert_eq!(fs::read_link(format!("/proc/{}/cwd", master.pid())).unwrap().to_str(), Some("/"));
    let load = Load::start(&master.address());
    install(&place, "masterd", &["version=0.2.0"]);
    place.run(&["-c", "masterd.toml", "-s", "upgrade"]).expect(0);
    assert_eq!(master.wait_generation(2).version, "0.2.0");
    assert_eq!(next(&place, &master, "masterd", "0.3.0"), format!("{dir}/masterd"));
    assert_eq!(files(&place), before);
    load.stop().assert_nothing_lost();
    end(master);
}

#[test]
fn a_name_found_in_path_is_found_again() {
    let place = Place::new();
    place.config(&Web::new().text());
    folder(&place, "bin");
    install(&place, "bin/masterd", &[]);
    let script = format!("shift; PATH={}/bin:$PATH; exec masterd \"$@\"", place.dir().display());
    let master = Launch::through(&place, &["sh", "-c", &script, "sh"]).start();
    let at = place.path("bin/masterd").display().to_string();
    assert_eq!(master.status().binary, at);
    assert_eq!(next(&place, &master, "bin/masterd", "0.2.0"), at);
    assert_eq!(next(&place, &master, "bin/masterd", "0.3.0"), at);
    end(master);
}

#[test]
fn a_folder_that_was_renamed_is_followed() {
    let place = Place::new();
    place.config(&Web::new().text());
    folder(&place, "a");
    let master = Launch::of(&place, &install(&place, "a/masterd", &[])).start();
    fs::rename(place.path("a"), place.path("b")).unwrap();
    next(&place, &master, "b/masterd", "0.2.0");
    fs::rename(place.path("b"), place.path("c")).unwrap();
    next(&place, &master, "c/masterd", "0.3.0");
    // What lies where it was started from comes first again.
    folder(&place, "a");
    assert_eq!(next(&place, &master, "a/masterd", "0.4.0"), place.path("a/masterd").display().to_string());
    end(master);
}

#[test]
fn a_link_that_is_switched_leads_to_the_next_release() {
    let place = Place::new();
    place.config(&Web::new().text());
    let switch = |to: &str| {
        shell(
            "ln -s \"$2\" \"$1/next\"; mv -T \"$1/next\" \"$1/current\"",
            &[place.dir().to_str().unwrap(), to],
        );
    };
    folder(&place, "1");
    folder(&place, "2");
    install(&place, "1/masterd", &[]);
    switch("1");
    let master = Launch::of(&place, &place.path("current/masterd")).start();
    for (release, version) in [("2", "0.2.0"), ("1", "0.1.1")] {
        switch(release);
        let binary = next(&place, &master, &format!("{release}/masterd"), version);
        assert_eq!(binary, place.path("current/masterd").display().to_string());
    }
    end(master);
}

#[test]
fn a_binary_named_from_the_clients_folder_is_where_the_next_is_looked_for() {
    let place = Place::new();
    let master = start(&place, &Web::new());
    master.expect_error("upgrade failed");
    folder(&place, "new");
    let there = place.path("new/masterd").display().to_string();
    let named = ["--binary", "new/masterd"];
    install(&place, "new/masterd", &["at=candidate", "do=exit"]);
    comes_to_nothing(&master, &named, &["exited with status 3"]);
    assert_eq!(next(&place, &master, "masterd", "0.1.1"), place.path("masterd").display().to_string());
    assert_eq!(goes_well_to(&place, &master, ("new/masterd", "0.2.0"), &named).binary, there);
    assert_eq!(next(&place, &master, "new/masterd", "0.3.0"), there);
    end(master);
}

#[test]
fn an_ordinary_user_upgrades_too() {
    if no_stranger() {
        return;
    }
    let place = place_of_stranger();
    place.config(&Web::new().text());
    let binary = install(&place, "masterd", &[]);
    let script = format!("shift; exec {} \"$@\"", binary.display());
    let wrapper = [&AS_STRANGER[..], &["sh", "-c", &script, "sh"]].concat();
    let master = Launch::through(&place, &wrapper).start();
    for words in ["upgrade failed", "panic"] {
        master.expect_error(words);
    }
    goes_well(&place, &master, "0.2.0");
    install(&place, "masterd", &["at=restored", "do=panic"]);
    comes_to_nothing(&master, &[], &["panicked"]);
    let uid = procs::status_line(master.pid(), "Uid").unwrap();
    assert_eq!(uid.split_whitespace().next(), Some(STRANGER.to_string().as_str()));
    end(master);
}

#[test]
fn workers_of_another_user_are_those_of_the_new_binary_too() {
    if not_root() {
        return;
    }
    let place = Place::new();
    let master = start(&place, &Web::new().master("user = \"nobody\""));
    for words in ["upgrade failed", "panic"] {
        master.expect_error(words);
    }
    let load = Load::start(&master.address());
    let dropped = || {
        for pid in master.ready_pids("web") {
            assert!(procs::status_line(pid, "Uid").unwrap().starts_with("65534\t65534\t65534"), "{pid}");
        }
    };
    goes_well(&place, &master, "0.2.0");
    dropped();
    install(&place, "masterd", &["at=restored", "do=panic"]);
    comes_to_nothing(&master, &[], &["panicked"]);
    goes_well(&place, &master, "0.3.0");
    dropped();
    load.stop().assert_nothing_lost();
    assert_eq!(get(&master.address(), "/").unwrap().number("gen"), master.status().generation.cast_signed());
    master.wait_status("it rests", SOON, |s| s.state == "running");
    end(master);
}
