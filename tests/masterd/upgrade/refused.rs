//! Binaries that are refused before anything changes: told to whoever asked, and the old one goes on.

use super::{comes_to_nothing, goes_well, start};
use crate::harness::image::shell;
use crate::harness::place::BINARY;
use crate::harness::{Load, Place, SOON, Web, install, procs};
use crate::meddle::{children, end};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

/// What it is, the script that puts it at `$2` (from the program `$1`), and the words of the refusal.
type Case = (&'static str, &'static str, &'static [&'static str]);

/// What is no program that could run here is refused by looking at it.
const FILES: [Case; 9] = [
    ("it is gone", "rm -f \"$2\"", &["cannot open program", "No such file"]),
    (
        "it may not be executed",
        "cp \"$1\" \"$2.new\"; chmod 644 \"$2.new\"; mv \"$2.new\" \"$2\"",
        &["cannot open program", "it may not be executed"],
    ),
    ("a folder", "rm -f \"$2\"; mkdir \"$2\"", &["cannot open program"]),
    (
        "its first bytes",
        "rmdir \"$2\"; head -c 10 \"$1\" > \"$2.new\"; chmod 755 \"$2.new\"; mv \"$2.new\" \"$2\"",
        &["it is no program (no ELF header)"],
    ),
    (
        "its first thousand bytes",
        "head -c 1000 \"$1\" > \"$2.new\"; chmod 755 \"$2.new\"; mv \"$2.new\" \"$2\"",
        &["the new binary", "before it had proved itself"],
    ),
    (
        "the first part of it",
        "head -c $(($(stat -c %s \"$1\") / 6)) \"$1\" > \"$2.new\"; chmod 755 \"$2.new\"; mv \"$2.new\" \"$2\"",
        &["the new binary"],
    ),
    (
        "a script",
        "printf '#!/bin/sh\\nexit 0\\n' > \"$2.new\"; chmod 755 \"$2.new\"; mv \"$2.new\" \"$2\"",
        &["it is a script: the program itself is needed"],
    ),
    (
        "another machine's program",
        "cp \"$1\" \"$2.new\"; printf '\\050\\000' | dd of=\"$2.new\" bs=1 seek=18 conv=notrunc 2>/dev/null; \
         mv \"$2.new\" \"$2\"",
        &["it is a program for another machine (ELF machine 40"],
    ),
    (
        "a program that is no masterd",
        "cp /bin/true \"$2.new\"; mv \"$2.new\" \"$2\"",
        &["exited with status 0 without a word: it is no masterd that can take over"],
    ),
];

#[test]
fn what_is_no_program_or_no_masterd_changes_nothing() {
    let place = Place::new();
    let master = start(&place, &Web::new());
    master.expect_error("upgrade failed");
    let load = Load::start(&master.address());
    for (what, script, words) in FILES {
        shell(script, &[BINARY, place.path("masterd").to_str().unwrap()]);
        let said = comes_to_nothing(&master, &[], words);
        assert!(said.contains("masterd"), "{what}: it names the file: {said}");
        load.wait_answers(20);
    }
    let nowhere = comes_to_nothing(&master, &["--binary", "nowhere/masterd"], &["No such file"]);
    assert!(nowhere.contains("nowhere/masterd"), "{nowhere}");
    goes_well(&place, &master, "0.2.0");
    load.wait_answers(20);
    load.stop().assert_nothing_lost();
    end(master);
}

/// The words of a test image and those of the refusal.
const CANDIDATES: [(&[&str], &[&str]); 13] = [
    (&["at=candidate", "do=exit"], &["exited with status 3 before it had proved itself"]),
    (&["at=candidate", "do=leave"], &["exited with status 0 without a word"]),
    (
        &["at=candidate", "do=complain"],
        &["exited with status 1 before it had", "the first line\nthe last line of a failing program"],
    ),
    (&["at=candidate", "do=abort"], &["was killed by SIGABRT", "before it had proved itself"]),
    (&["at=candidate", "do=overflow"], &["was killed by SIG", "before it had proved itself"]),
    (&["at=candidate", "do=panic"], &["exited with status 101 before it had proved itself"]),
    (&["at=candidateworker", "do=exit"], &["a worker of service web of the new binary exited with status 3"]),
    (
        &["at=candidateworker", "do=abort"],
        &["a worker of service web of the new binary was killed by SIGABRT"],
    ),
    (
        &["at=candidateworker", "do=overflow"],
        &["a worker of service web of the new binary was killed by SIG"],
    ),
    (&["at=candidateworker", "do=panic"], &["a worker of service web of the new binary"]),
    (
        &["at=candidateworker", "do=leave"],
        &["a worker of service web of the new binary exited with status 0"],
    ),
    (
        &["version=9.0.0", "handover=9", "readable_from=9"],
        &["masterd 0.1.0 could not read the state of masterd 9.0.0"],
    ),
    (
        &["version=9.0.0", "handover=0", "readable_from=0"],
        &["masterd 9.0.0 can't read the state of masterd 0.1.0"],
    ),
];

#[test]
fn a_candidate_that_does_not_prove_itself_changes_nothing() {
    let place = Place::new();
    let master = start(&place, &Web::new());
    master.expect_error("upgrade failed");
    let load = Load::start(&master.address());
    for (words, refusal) in CANDIDATES {
        install(&place, "masterd", words);
        comes_to_nothing(&master, &[], refusal);
        load.wait_answers(10);
    }
    goes_well(&place, &master, "0.2.0");
    load.wait_answers(20);
    load.stop().assert_nothing_lost();
    end(master);
}

#[test]
fn a_state_of_a_later_version_that_is_readable_here_is_read() {
    let place = Place::new();
    place.config(&Web::new().text());
    let later = ["version=9.0.0", "handover=9", "readable_from=1", "unknown_key=moon"];
    let binary = install(&place, "masterd", &later);
    let master = crate::harness::Launch::of(&place, &binary).start();
    master.expect_error("upgrade failed");
    let load = Load::start(&master.address());
    goes_well(&place, &master, "0.1.1");
    load.stop().assert_nothing_lost();
    end(master);
}

#[test]
fn a_config_that_is_broken_meanwhile_is_told_with_its_error() {
    let place = Place::new();
    let master = start(&place, &Web::new());
    master.expect_error("upgrade failed");
    let load = Load::start(&master.address());
    install(&place, "masterd", &["version=0.2.0"]);
    place.config(&Web::new().text().replace("workers = 2", "wokers = 2"));
    let words = ["the config is not usable for the new binary", "masterd.toml:", "wokers", "did you mean"];
    comes_to_nothing(&master, &[], &words);
    place.config(&Web::new().mark("b").text());
    goes_well(&place, &master, "0.2.0");
    load.wait_answers(20);
    let report = load.stop();
    report.assert_nothing_lost();
    assert!(report.marks.contains("b"), "the upgrade reads the config anew: {report:?}");
    end(master);
}

#[test]
fn a_candidate_that_hangs_is_ended_at_the_timeout() {
    let place = Place::new();
    let master = start(&place, &Web::new().master("ready_timeout = \"1s\""));
    master.expect_error("upgrade failed");
    let load = Load::start(&master.address());
    for at in ["candidate", "candidateworker"] {
        install(&place, "masterd", &["version=0.2.0", &format!("at={at}"), "do=hang"]);
        comes_to_nothing(&master, &[], &["has not proved itself within 1s (ready_timeout)"]);
        // The worker of a candidate goes with it.
        let group = procs::living(master.pid(), master.pid());
        assert_eq!(group.len(), 3, "the master and its workers: {group:?}");
    }
    place.config(&Web::new().text());
    master.cli(&["reload", "--drained"]).expect(0);
    goes_well(&place, &master, "0.2.0");
    load.wait_answers(20);
    load.stop().assert_nothing_lost();
    end(master);
}

#[test]
fn the_running_binary_can_be_overwritten_where_it_lies_or_not_at_all() {
    let place = Place::new();
    let master = start(&place, &Web::new());
    let load = Load::start(&master.address());
    let path = place.path("masterd");
    let script = "if cp \"$1\" \"$2\" 2> \"$3\"; then exit 1; fi; grep -q 'Text file busy' \"$3\"";
    shell(script, &[BINARY, path.to_str().unwrap(), place.path("said").to_str().unwrap()]);
    // What could not be overwritten is the old binary, and a good one.
    master.cli(&["upgrade"]).expect(0);
    assert_eq!(master.wait_generation(2).version, "0.1.0");
    load.wait_answers(20);
    load.stop().assert_nothing_lost();
    end(master);
}

/// Numbers of the descriptors that an exec would leave open. proc(5), fdinfo.
fn inheritable(pid: i32) -> Vec<String> {
    const CLOEXEC: u32 = 0o2_000_000;
    let flags = |number: i32| -> Option<u32> {
        let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok()?;
        u32::from_str_radix(text.lines().find_map(|l| l.strip_prefix("flags:"))?.trim(), 8).ok()
    };
    let open = |(number, _): &(i32, String)| *number > 2 && flags(*number).is_some_and(|f| f & CLOEXEC == 0);
    procs::descriptors(pid).into_iter().filter(open).map(|(n, target)| format!("{n} {target}")).collect()
}

/// The candidate was executed, and then the same file can't be any more.
#[test]
fn a_program_that_can_not_be_executed_after_its_proof_changes_nothing() {
    let place = Place::new();
    // A worker of each is tried, one after the other: time to take the right away meanwhile.
    let service = |n: u32| Web::new().name(&format!("s{n}")).listen(&format!("127.0.0.{n}:0")).workers(1);
    let more: String = (3..15).map(|n| service(n).service_text()).collect();
    let master = start(&place, &Web::new().workers(1).more(&more));
    master.expect_error("upgrade failed");
    let load = Load::start(&master.address());
    // What the test itself was started with is among them.
    let before = inheritable(master.pid());
    let mut met = false;
    for _ in 0..20 {
        let path = install(&place, "masterd", &["version=0.2.0"]);
        let workers = children(master.pid());
        let mut asked = master.begin(&["upgrade"]);
        crate::harness::came_true(SOON, || {
            let new = children(master.pid()).into_iter().find(|pid| !workers.contains(pid));
            new.is_some_and(|pid| procs::title(pid) == "masterd: candidate") || asked.ended()
        });
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let said = asked.finish();
        if said.code == 1 && said.stderr.contains("cannot execute the new binary") {
            assert!(said.stderr.contains("ermission denied") && said.stderr.contains("serve on"), "{said:?}");
            met = true;
            break;
        }
        master.wait_status("it is over", SOON, |s| s.state == "running");
    }
    assert!(met, "the right was taken away in time in one of 20 tries");
    assert_eq!(inheritable(master.pid()), before);
    goes_well(&place, &master, "0.3.0");
    load.wait_answers(20);
    load.stop().assert_nothing_lost();
    end(master);
}
