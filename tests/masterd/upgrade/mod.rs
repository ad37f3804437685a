//! Binary upgrades: under load, nothing lost, the pid unchanged; whatever goes wrong, the old one goes on.

mod candidate;
mod clients;
mod counts;
mod done;
mod kills;
mod lost;
mod often;
mod pid1;
mod places;
mod refused;
mod words;

use crate::harness::{Launch, Load, Master, Mix, Place, SOON, Web, install, wait_until};
use crate::meddle::children;
use masterd::wire::status::Status;

/// A master that runs a copy of the binary under test, at `masterd` in its place, and may be replaced there.
#[track_caller]
fn start(place: &Place, web: &Web) -> Master {
    place.config(&web.text());
    Launch::of(place, &install(place, "masterd", &[])).start()
}

/// Listeners of every kind: one for each worker, a shared one, a unix socket.
fn every_listener(place: &Place) -> [String; 3] {
    let shared = "{ address = \"127.0.0.2:0\", accept = \"shared\" }".to_owned();
    ["\"127.0.0.1:0\"".to_owned(), shared, format!("\"unix:{}\"", place.path("w.sock").display())]
}

/// A small load on each listener of `web`.
#[track_caller]
fn load_all(master: &Master) -> Vec<Load> {
    let mix = Mix { fresh: 1, kept: 0, slow_post: 0, slow_answer: 1, idle: 2 };
    master.service("web").listeners.iter().map(|l| Load::with(&l.address, mix)).collect()
}

#[track_caller]
fn assert_all_served(loads: Vec<Load>) {
    loads.iter().for_each(|load| load.wait_answers(20));
    loads.into_iter().for_each(|load| load.stop().assert_nothing_lost());
}

/// The pids of all workers, and that nothing else is the master's child.
#[track_caller]
fn crew(master: &Master) -> Vec<i32> {
    let pids = |s: &Status| -> Vec<i32> {
        let mut pids: Vec<i32> = s.services.iter().flat_map(|s| &s.workers).map(|w| w.pid).collect();
        pids.sort_unstable();
        pids
    };
    let mut found = Vec::new();
    wait_until("the master's children are its workers", SOON, || {
        let mut living = children(master.pid());
        living.sort_unstable();
        found = pids(&master.status());
        found == living
    });
    found
}

/// Asks for an upgrade that must come to nothing: told in these words to whoever asked, and kept; the
/// same workers of the same generation serve on, and nothing else is left. What the client said.
#[track_caller]
fn comes_to_nothing(master: &Master, args: &[&str], words: &[&str]) -> String {
    let (before, old) = (master.status(), crew(master));
    let said = master.cli(&[&["upgrade"], args].concat()).expect(1);
    goes_on(master, &before, &old);
    for word in words {
        assert!(said.stderr.contains(word), "no {word:?} in {said:#?}");
    }
    let serves = format!("the old binary and generation {} serve on", before.generation);
    assert!(said.stderr.contains(&serves), "it says what goes on: {said:#?}");
    assert_eq!(said.stdout, "");
    let last = master.status().last_upgrade.expect("it was tried");
    let error = last.error.expect("a reason");
    assert!(!last.ok && error.contains(words[0]), "{words:?} in {error}");
    assert!(said.stderr.contains(&error), "the same reason: {error} / {said:#?}");
    said.stderr
}

/// All is as it was in `before`, when the workers were `old`.
#[track_caller]
fn goes_on(master: &Master, before: &Status, old: &[i32]) {
    let after = master.wait_status("the old workers alone are left", SOON, |s| {
        let workers: Vec<_> = s.services.iter().flat_map(|s| &s.workers).collect();
        s.state == "running" && workers.len() == old.len() && workers.iter().all(|w| w.state == "ready")
    });
    assert_eq!(crew(master), old, "nobody was replaced");
    let of = |s: &Status| (s.pid, s.generation, s.version.clone(), s.version_since.clone(), s.binary.clone());
    assert_eq!(of(&after), of(before));
    assert_eq!(after.pid, master.pid());
}

/// An upgrade that goes well all the same, to a binary of this version put where the old one lay.
#[track_caller]
fn goes_well(place: &Place, master: &Master, version: &str) -> Status {
    goes_well_to(place, master, ("masterd", version), &[])
}

/// The same, to a binary put anywhere in the place, and with more arguments.
#[track_caller]
fn goes_well_to(place: &Place, master: &Master, (name, version): (&str, &str), args: &[&str]) -> Status {
    install(place, name, &[&format!("version={version}")]);
    let (before, old) = (master.status(), crew(master));
    master.cli(&[&["upgrade", "--drained"], args].concat()).expect(0);
    let after = master.wait_generation(master.status().generation);
    assert_eq!((after.version.as_str(), after.pid), (version, master.pid()));
    assert!(after.generation > before.generation, "{} after {}", after.generation, before.generation);
    let last = after.last_upgrade.clone().expect("it is remembered");
    assert!(last.ok && last.version.as_deref() == Some(version) && last.error.is_none(), "{last:?}");
    let new = crew(master);
    assert!(new.iter().all(|pid| !old.contains(pid)), "{old:?}, then {new:?}");
    after
}
