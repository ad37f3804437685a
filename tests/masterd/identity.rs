//! What a worker may do that its user may not: nothing.

use super::harness::*;

/// A line of a process's status, by its name.
fn line(pid: i32, name: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a living process");
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":"));
    found.expect("a line of that name").trim().to_owned()
}

fn assert_no_capabilities(pid: i32) {
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(line(pid, set), "0000000000000000", "{set}");
    }
}

#[test]
fn the_capabilities_of_a_master_that_is_not_root_stay_with_it() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let uid = 100_000 + std::process::id() % 50_000;
    std::os::unix::fs::chown(place.dir(), Some(uid), Some(uid)).unwrap();
    place.config(&Web::new().workers(1).text());
    let (reuid, regid) = (format!("--reuid={uid}"), format!("--regid={uid}"));
    let give = ["--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service"];
    let wrapper = ["setpriv", &reuid, &regid, "--clear-groups", give[0], give[1], "--"];
    let master = Launch::through(&place, &wrapper).start();
    assert_eq!(line(master.pid(), "CapEff"), "0000000000000400");
    assert_no_capabilities(master.ready_pids("web")[0]);
    master.finish();
}

#[test]
fn a_worker_has_its_group_and_no_other_and_root_alone_keeps_capabilities() {
    if !is_root() {
        return;
    }
    for (user, is_root) in [("nobody", false), ("root", true)] {
        let place = Place::new();
        place.config(&Web::new().workers(1).master(&format!("user = {user:?}")).text());
        let wrapper = ["setpriv", "--groups=0,1,2", "--inh-caps=+net_bind_service", "--"];
        let master = Launch::through(&place, &wrapper).start();
        let pid = master.ready_pids("web")[0];
        assert_eq!(line(pid, "Groups"), line(pid, "Gid").split('\t').next().unwrap_or_default());
        if is_root {
            assert_eq!(line(pid, "CapEff"), line(master.pid(), "CapEff"));
        } else {
            assert_no_capabilities(pid);
        }
        master.finish();
    }
}

#[test]
fn a_worker_that_may_leave_a_core_dump_can() {
    if !is_root() {
        return;
    }
    for (core, owner) in [("\"unlimited\"", "nobody"), ("\"0\"", "root")] {
        let place = Place::new();
        let web = Web::new().workers(1).master("user = \"nobody\"");
        let master = Master::start(&place, &web.service(&format!("limits = {{ core = {core} }}")).text());
        let pid = master.ready_pids("web")[0];
        // proc(5): the files of a process that may not be dumped belong to root.
        let stat = std::fs::metadata(format!("/proc/{pid}/environ")).unwrap();
        let dumpable = std::os::unix::fs::MetadataExt::uid(&stat) != 0;
        assert_eq!(dumpable, owner != "root", "core = {core}");
        master.finish();
    }
}
