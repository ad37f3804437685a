//! Exit codes 3 and 4 with the sentence that tells why; modes; links; signals by word.

use super::super::harness::*;
use super::super::tools::*;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

/// Runs a client that must fail within a second or so, with this status and these words.
#[track_caller]
fn told(place: &Place, args: &[&str], code: i32, words: &[&str]) {
    let begun = Instant::now();
    let said = place.run(args).expect(code);
    // The limit is a second; the rest is for the machine. Without one it would be for ever.
    assert!(begun.elapsed() < Duration::from_secs(10), "{args:?} took {:?}", begun.elapsed());
    assert_eq!(said.stdout, "", "{args:?}");
    assert_eq!(said.stderr.trim_end().lines().count(), 1, "one sentence: {said:?}");
    for word in words {
        assert!(said.stderr.contains(word), "{args:?}: {word:?} in {said:?}");
    }
}

const VERBS: [&[&str]; 6] = [&["status"], &["reload"], &["stop"], &["reopen"], &["events"], &["drain"]];

#[test]
fn an_absent_a_stale_and_a_stopped_master_are_told_apart() {
    let place = Place::new();
    place.config(&Web::new().text());
    let socket = place.socket();
    let socket = socket.to_str().unwrap();
    for verb in VERBS {
        told(&place, &[&["--socket", socket], verb].concat(), 3, &["no master", "does not exist"]);
        told(&place, &[verb, &["-c", "masterd.toml"]].concat(), 3, &["no master", "does not exist"]);
    }
    drop(UnixListener::bind(place.socket()).unwrap());
    for verb in VERBS {
        told(&place, &[&["--socket", socket], verb].concat(), 3, &["no master", "stale"]);
    }
    // A stale socket is no obstacle.
    let master = Launch::new(&place).start();
    let address = master.address();
    master.signal(Signal::SIGSTOP);
    wait_until("it is stopped", SOON, || procs::look(master.pid()).is_some_and(|p| p.state == 'T'));
    // Only what changes nothing: requests wait in the socket until it goes on.
    for verb in [["status"], ["events"]] {
        told(&place, &[&["--socket", socket], &verb[..]].concat(), 3, &["stopped"]);
    }
    assert_eq!(get(&address, "/").unwrap().status, 200, "workers need no master to serve");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(master.pid()), Signal::SIGCONT).unwrap();
    master.wait_running();
    // A socket without a master behind it: something else listens and says nothing.
    let mute = UnixListener::bind(place.path("mute")).unwrap();
    told(&place, &["--socket", "mute", "status"], 3, &["mute"]);
    drop(mute);
    master.finish();
}

#[test]
fn the_socket_is_for_its_owner_only() {
    let place = Place::new();
    let master = Launch::through(&place, &["sh", "-c", "umask 0; exec \"$@\"", "sh"]);
    place.config(&Web::new().text());
    let master = master.start();
    let mode = |name: &str| std::fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("c.sock"), 0o600);
    if no_stranger() {
        return master.finish();
    }
    std::fs::set_permissions(place.dir(), PermissionsExt::from_mode(0o755)).unwrap();
    let as_stranger = |args: &[&str]| {
        let mut command = place.command_of(AS_STRANGER[0]);
        command.args(&AS_STRANGER[1..]).arg(place::BINARY).args(args);
        Running::start(command).finish()
    };
    let socket = place.socket();
    let ask = ["--socket", socket.to_str().unwrap(), "status"];
    let said = as_stranger(&ask).expect(4);
    assert!(said.stderr.contains("not permitted") && said.stderr.contains("c.sock"), "{said:?}");
    // Somebody opens the file for all: the peer's uid still counts.
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o666)).unwrap();
    for verb in ["status", "stop", "reload", "events"] {
        let said = as_stranger(&["--socket", socket.to_str().unwrap(), verb]).expect(4);
        assert!(said.stderr.contains("only root and masterd's own user"), "{said:?}");
    }
    std::fs::set_permissions(place.path("m.pid"), PermissionsExt::from_mode(0o644)).unwrap();
    let said = as_stranger(&["-s", "stop", "-c", place.path("masterd.toml").to_str().unwrap()]).expect(4);
    assert!(said.stderr.contains("not permitted"), "{said:?}");
    assert_eq!(master.status().generation, 1);
    master.finish();
}

#[test]
fn the_default_folder_is_made_for_its_owner_and_taken_from_nobody() {
    if no_stranger() {
        return;
    }
    let place = place_of_stranger();
    let text = Web::new().text().replace("control_socket = \"c.sock\"\n", "");
    place.config(&text);
    let run = place.path("run");
    std::fs::create_dir(&run).unwrap();
    std::os::unix::fs::chown(&run, Some(STRANGER), Some(STRANGER)).unwrap();
    let as_stranger = |args: &[&str]| {
        let mut command = place.command_of(AS_STRANGER[0]);
        command.args(&AS_STRANGER[1..]).arg(place::BINARY).args(args).env("XDG_RUNTIME_DIR", &run);
        Running::start(command)
    };
    let folder = run.join("masterd");
    let daemon = as_stranger(&["-c", "masterd.toml"]);
    wait_until("the folder is there", SOON, || folder.join("control.sock").exists());
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o7777, 0o700);
    wait_until("it serves", SOON, || as_stranger(&["status"]).finish().code == 0);
    as_stranger(&["stop"]).finish().expect(0);
    daemon.finish().expect(0);
    // Open to others, or a link: refused, and left as it is.
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).unwrap();
    let said = as_stranger(&["-c", "masterd.toml"]).finish().expect(1);
    assert!(said.stderr.contains("0700"), "{said:?}");
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::create_dir(place.path("elsewhere")).unwrap();
    symlink(place.path("elsewhere"), &folder).unwrap();
    let said = as_stranger(&["-c", "masterd.toml"]).finish().expect(1);
    assert!(said.stderr.contains("is not a folder of this user"), "{said:?}");
    assert_eq!(std::fs::read_dir(place.path("elsewhere")).unwrap().count(), 0);
}

#[test]
fn links_planted_at_its_files_are_refused_and_not_followed() {
    let cases = [
        ("c.sock", "c.sock", Web::new()),
        ("m.pid", "m.pid", Web::new()),
        ("c.sock.lock", "c.sock.lock", Web::new()),
        ("m.log", "m.log", Web::new().master("log = { file = \"m.log\" }")),
    ];
    for (name, word, web) in cases {
        for dangling in [false, true] {
            let place = Place::new();
            place.config(&web.text());
            if !dangling {
                place.write("victim", "precious");
            }
            symlink("victim", place.path(name)).unwrap();
            let said = place.run(&["-c", "masterd.toml"]).expect(1);
            assert!(said.stderr.contains(word), "{said:?}");
            assert!(
                std::fs::symlink_metadata(place.path(name)).unwrap().is_symlink(),
                "{name} is left alone"
            );
            let victim = if dangling { "" } else { "precious" };
            assert_eq!(place.read("victim"), victim, "{name}");
            assert_eq!(place.path("victim").exists(), !dangling, "{name}: nothing is made through it");
        }
    }
}

#[test]
fn a_log_that_became_a_link_is_not_followed_by_a_reopen() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().master("log = { file = \"m.log\" }").text());
    std::fs::rename(place.path("m.log"), place.path("old.log")).unwrap();
    place.write("victim", "precious");
    symlink("victim", place.path("m.log")).unwrap();
    let said = master.cli(&["reopen"]).expect(1);
    assert!(said.stderr.contains("m.log") && said.stderr.contains("old one is kept"), "{said:?}");
    assert_eq!(place.read("victim"), "precious");
    master.cli(&["reload"]).expect(0);
    assert!(place.read("old.log").contains("generation 2 serves"), "it goes on where it was");
    master.finish();
}

#[test]
fn each_word_of_dash_s_is_a_signal() {
    let place = Place::new();
    let web = Web::new().master("log = { file = \"m.log\" }");
    let send = |word: &str| place.run(&["-s", word, "-c", "masterd.toml"]).expect(0);
    for word in ["quit", "stop"] {
        let master = Master::start(&place, &web.text());
        send("reload");
        master.wait_generation(2);
        std::fs::rename(place.path("m.log"), place.path("old.log")).unwrap();
        send("reopen");
        wait_until("the log is there again", SOON, || place.path("m.log").exists());
        send(word);
        master.wait_exit(0, SOON);
        master.finish();
        let said = place.run(&["-s", word, "-c", "masterd.toml"]).expect(3);
        assert!(said.stderr.contains("no master"), "{said:?}");
    }
    place.run(&["-s", "nonsense", "-c", "masterd.toml"]).expect(2);
    // Without a pid file the control socket tells who it is.
    let master = Master::start(&place, &web.clone().no_pid_file().text());
    send("reload");
    master.wait_generation(2);
    send("stop");
    master.wait_exit(0, SOON);
    master.finish();
}
