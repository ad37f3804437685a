//! Two masters for one thing, and files that dead ones left.

use super::super::harness::*;
use super::refused;
use std::process::{Child, Command};

/// Starts two masters at once; exactly one may serve, the other ends with status 1 and says so.
#[track_caller]
fn one_of_two(first: &Place, second: &Place, says: &str) {
    let masters = [Launch::new(first).spawn(), Launch::new(second).spawn()];
    wait_until("one of two masters gives up", SOON, || masters.iter().any(|m| !m.runs()));
    let [a, b] = masters;
    let (winner, loser) = if a.runs() { (a, b) } else { (b, a) };
    winner.wait_running();
    loser.expect_error(says);
    loser.wait_exit(1, SOON);
    assert!(loser.log().contains(says), "{}", loser.log());
    assert_eq!(winner.status().pid, winner.pid(), "the one that runs answers");
    drop(loser);
    winner.expect_error(says);
    winner.signal(Signal::SIGINT);
    winner.wait_exit(0, SOON);
    winner.finish();
}

#[test]
fn of_two_masters_started_at_once_on_one_config_one_serves() {
    for _ in 0..20 {
        let place = Place::new();
        place.config(&Web::new().text());
        one_of_two(&place, &place, "another masterd");
    }
}

#[test]
fn of_two_masters_started_at_once_on_one_control_socket_one_serves() {
    for _ in 0..20 {
        let place = Place::new();
        place.config(&Web::new().no_pid_file().text());
        one_of_two(&place, &place, "another masterd");
    }
}

#[test]
fn of_two_masters_started_at_once_on_one_unix_address_one_serves() {
    for _ in 0..20 {
        let (first, second) = (Place::new(), Place::new());
        let text = Web::new().listen(&format!("unix:{}", first.path("web.sock").display())).text();
        first.config(&text);
        second.config(&text);
        one_of_two(&first, &second, "cannot listen on");
    }
}

#[test]
fn of_two_masters_started_at_once_on_one_port_one_serves() {
    for _ in 0..20 {
        let (first, second) = (Place::new(), Place::new());
        let port = free_port();
        let text = Web::new().listen(&format!("127.0.0.1:{port}")).text();
        first.config(&text);
        second.config(&text);
        one_of_two(&first, &second, "cannot listen on");
    }
}

#[test]
fn a_second_master_is_refused_by_name_and_hurts_nobody() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().text());
    let pid = place.read("m.pid");
    assert_eq!(pid, format!("{}\n", master.pid()));
    let said = refused(&place, &Web::new().text(), 1);
    assert!(said.contains(&format!("another masterd (pid {})", master.pid())), "{said}");
    assert!(said.contains("m.pid"), "{said}");
    let said = refused(&place, &Web::new().no_pid_file().text(), 1);
    assert!(said.contains(&format!("another masterd (pid {})", master.pid())), "{said}");
    assert!(said.contains("c.sock"), "{said}");
    assert_eq!(place.read("m.pid"), pid);
    assert_eq!(get(&master.address(), "/").unwrap().status, 200);
    place.config(&Web::new().text());
    master.finish();
}

/// A process that has nothing to do with masterd.
struct Bystander(Child);

impl Bystander {
    fn new() -> Bystander {
        Bystander(Command::new("sleep").arg("1000").spawn().expect("start sleep"))
    }

    fn alive(&mut self) -> bool {
        self.0.try_wait().expect("look at sleep").is_none()
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_pid_of_a_stranger_in_a_stale_file_is_never_signalled() {
    let place = Place::new();
    let mut stranger = Bystander::new();
    place.config(&Web::new().text());
    place.write("m.pid", &format!("{}\n", stranger.0.id()));
    for word in ["stop", "quit", "reload", "reopen"] {
        let said = place.run(&["-s", word, "-c", "masterd.toml"]).expect(3);
        assert!(said.stderr.contains("stale"), "{said:?}");
    }
    assert!(stranger.alive());
    // Longer than a pid, to see it cut.
    place.write("m.pid", &format!("{}\nand more\n", stranger.0.id()));
    let master = Master::start(&place, &Web::new().text());
    assert_eq!(place.read("m.pid"), format!("{}\n", master.pid()));
    place.run(&["-s", "stop", "-c", "masterd.toml"]).expect(0);
    master.wait_exit(0, SOON);
    master.finish();
    assert!(stranger.alive());
}

#[test]
fn a_pid_file_that_can_not_be_had_is_named_and_left_alone() {
    let place = Place::new();
    let at = |pid_file: &str| Web::new().no_pid_file().master(&format!("pid_file = \"{pid_file}\"")).text();
    let said = refused(&place, &at("nowhere/m.pid"), 1);
    assert!(said.contains("nowhere/m.pid"), "{said}");
    std::fs::create_dir(place.path("folder")).unwrap();
    assert!(refused(&place, &at("folder"), 1).contains("folder"));
    place.write("victim", "precious");
    std::os::unix::fs::symlink("victim", place.path("link")).unwrap();
    assert!(refused(&place, &at("link"), 1).contains("link"));
    assert_eq!(place.read("victim"), "precious");
    nix::unistd::mkfifo(&place.path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(refused(&place, &at("fifo"), 1).contains("fifo"));
    if !is_root() {
        use std::os::unix::fs::PermissionsExt;
        let mode = |m| std::fs::set_permissions(place.path("folder"), PermissionsExt::from_mode(m)).unwrap();
        mode(0o555);
        assert!(refused(&place, &at("folder/m.pid"), 1).contains("folder/m.pid"));
        mode(0o755);
    }
}

#[test]
fn a_pid_file_that_was_taken_away_or_replaced_stays_so() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().text());
    std::fs::remove_file(place.path("m.pid")).unwrap();
    master.signal(Signal::SIGQUIT);
    master.wait_exit(0, SOON);
    master.finish();

    let master = Master::start(&place, &Web::new().text());
    place.write("m.pid", "somebody else's\n");
    master.signal(Signal::SIGQUIT);
    master.wait_exit(0, SOON);
    assert_eq!(place.read("m.pid"), "somebody else's\n", "not ours, not removed");
    std::fs::remove_file(place.path("m.pid")).unwrap();
    master.finish();
}
