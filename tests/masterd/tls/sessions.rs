//! Sessions are resumed by whichever worker comes next, after reloads and upgrades too.

use super::*;

/// A request on a connection of its own: who answered, and whether by a ticket.
#[track_caller]
fn visit(caller: &Caller, address: &str) -> (i64, bool) {
    let mut conn = caller.call(address, "a.example").expect("a handshake");
    let answer = conn.get("/").expect("an answer");
    (answer.number("pid"), conn.tls().was_resumed())
}

/// Two workers, so that one resumes what the other has begun.
fn two() -> Web {
    secure(PLAIN).workers(2)
}

#[test]
fn any_worker_resumes_a_session() {
    let authority = Authority::new();
    let place = place_with(&authority);
    let master = Master::start(&place, &two().text());
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let caller = Caller::by(&authority, version);
        let (first, resumed) = visit(&caller, &master.address());
        assert!(!resumed);
        let mut last = first;
        wait_until("the other worker has answered", SOON, || {
            let (pid, resumed) = visit(&caller, &master.address());
            assert!(resumed, "by {pid}, which {last} had answered before");
            last = pid;
            pid != first
        });
    }
    end(master);
}

#[test]
fn sessions_outlive_a_reload() {
    let authority = Authority::new();
    let place = place_with(&authority);
    let master = Master::start(&place, &two().text());
    let caller = Caller::new(&authority);
    let (before, _) = visit(&caller, &master.address());
    master.cli(&["reload", "--drained"]).expect(0);
    let (after, resumed) = visit(&caller, &master.address());
    assert!(before != after && resumed, "{before}, then {after}");
    end(master);
}

#[test]
fn sessions_outlive_an_upgrade() {
    let authority = Authority::new();
    let place = place_with(&authority);
    place.config(&two().text());
    let master = Launch::of(&place, &install(&place, "masterd", &[])).start();
    let caller = Caller::new(&authority);
    let (before, _) = visit(&caller, &master.address());
    install(&place, "masterd", &["version=0.2.0"]);
    master.cli(&["upgrade", "--drained"]).expect(0);
    assert_eq!(master.status().version, "0.2.0");
    let (after, resumed) = visit(&caller, &master.address());
    assert!(before != after && resumed, "{before}, then {after}");
    end(master);
}

#[test]
fn a_session_is_worth_nothing_to_another_master() {
    let authority = Authority::new();
    let places = [place_with(&authority), place_with(&authority)];
    let masters = places.each_ref().map(|place| Master::start(place, &two().text()));
    let caller = Caller::new(&authority);
    visit(&caller, &masters[0].address());
    assert!(!visit(&caller, &masters[1].address()).1, "its secret is its own");
    masters.into_iter().for_each(end);
}
