//! A candidate touches nothing: by its system calls, while connections arrive.

use super::{goes_well, start};
use crate::harness::{Load, Place, Running, SOON, Signal, Web, procs, wait_until};
use crate::meddle::{end, send};
use crate::tools::{not_root, skip};
use std::collections::BTreeSet;
use std::process::{Command, Stdio};

/// Attached to the master and to whatever it starts from now on; writes what they do to `trace`.
#[track_caller]
fn trace(place: &Place, pid: i32) -> Option<Running> {
    let found = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        skip("strace");
        return None;
    }
    let mut command = Command::new("strace");
    command.args(["-f", "-yy", "-s", "80", "-o"]).arg(place.path("trace")).args(["-p", &pid.to_string()]);
    let mut strace = Running::start(command);
    let traced = || procs::status_line(pid, "TracerPid").is_some_and(|tracer| tracer != "0");
    wait_until("strace is attached, or may not", SOON, || traced() || strace.ended());
    if strace.ended() {
        skip("the right to trace");
        return None;
    }
    Some(strace)
}

/// The lines of the candidate and of all it started, without the number of the process.
fn lines_of_candidate(trace: &str, master: i32) -> Vec<String> {
    let split = |line: &str| -> Option<(i32, String)> {
        let (pid, rest) = line.split_once(' ')?;
        Some((pid.parse().ok()?, rest.trim_start().to_owned()))
    };
    let all: Vec<(i32, String)> = trace.lines().filter_map(split).collect();
    let executed = all.iter().find(|(pid, text)| *pid != master && text.starts_with("execveat("));
    let mut family: BTreeSet<i32> = executed.map(|(pid, _)| *pid).into_iter().collect();
    let mut found = Vec::new();
    for (pid, text) in all {
        if !family.contains(&pid) {
            continue;
        }
        let forks = ["clone(", "clone3(", "fork(", "vfork("].iter().any(|call| text.starts_with(call))
            || ["clone resumed", "clone3 resumed", "fork resumed"].iter().any(|w| text.contains(w));
        if let Some(child) = text.rsplit_once("= ").filter(|_| forks).and_then(|(_, n)| n.split('<').next()) {
            family.extend(child.trim().parse::<i32>().ok());
        }
        found.push(text);
    }
    found
}

#[test]
fn a_candidate_accepts_nothing_watches_nothing_and_writes_nothing() {
    if not_root() {
        return;
    }
    let place = Place::new();
    let master = start(&place, &Web::new().master("log = { file = \"m.log\" }"));
    let load = Load::start(&master.address());
    let Some(strace) = trace(&place, master.pid()) else {
        load.stop().assert_nothing_lost();
        return end(master);
    };
    goes_well(&place, &master, "0.2.0");
    send(strace.pid(), Signal::SIGINT);
    strace.finish();
    load.wait_answers(20);
    load.stop().assert_nothing_lost();
    let trace = place.read("trace");
    let lines = lines_of_candidate(&trace, master.pid());
    // That the trace shows what it is read for: the candidate's answer, and its worker.
    let has = |words: &str| lines.iter().any(|line| line.contains(words));
    assert!(has("masterd-answer") && has("exit_group(0)"), "{} lines of {}", lines.len(), trace.len());
    assert!(lines.iter().filter(|line| line.contains("exited with 0")).count() >= 2, "it and its worker");
    let forbidden = [
        "accept(",
        "accept4(",
        "unlink(",
        "unlinkat(",
        "rename(",
        "renameat(",
        "renameat2(",
        "bind(",
        "listen(",
        "connect(",
        "chmod(",
        "fchmodat(",
        "flock(",
    ];
    let dir = place.dir().to_str().unwrap();
    for line in &lines {
        // The C library asks for users there.
        let users = line.starts_with("connect(") && line.contains("/nscd/");
        assert!(users || !forbidden.iter().any(|call| line.starts_with(call)), "{line}");
        let watches = line.starts_with("epoll_ctl(") && line.contains("EPOLL_CTL_ADD");
        assert!(!(watches && line.contains("TCP")), "it watches a listener: {line}");
        let writes = ["write(", "writev(", "pwrite64(", "sendto(", "sendmsg(", "ftruncate("]
            .iter()
            .any(|c| line.starts_with(c));
        assert!(!(writes && line.contains(dir)), "it writes to a file: {line}");
        let opens = line.starts_with("openat(") && !line.contains("\"/dev/null\"");
        assert!(!(opens && ["O_WRONLY", "O_RDWR", "O_CREAT"].iter().any(|w| line.contains(w))), "{line}");
    }
    end(master);
}
