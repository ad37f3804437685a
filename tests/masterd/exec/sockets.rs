//! How programs get their sockets, and everything else they are born with.

use super::super::harness::*;
use super::life::kill;
use super::*;
use std::collections::BTreeMap;

fn environment(master: &Master) -> BTreeMap<String, String> {
    let text = body(master, "/env");
    text.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

#[test]
fn sockets_are_told_by_systemds_protocol() {
    if no_python() {
        return;
    }
    let place = place();
    let listen =
        "{ address = \"127.0.0.1:0\", name = \"front\" }, { address = \"unix:app.sock\", name = \"back\" }";
    place.config(&Exec::new(&[]).listen(listen).text());
    let master = Launch::new(&place)
        .with(|c| {
            c.env("NOTIFY_SOCKET", "/nowhere").env("WATCHDOG_USEC", "1").env("LISTEN_FDNAMES", "x");
            c.env("MASTERD_SECRET", "1").env("PLAIN", "kept");
        })
        .start();
    let pid = program_of(&master).to_string();
    let env = environment(&master);
    let get = |name: &str| env.get(name).map(String::as_str);
    assert_eq!((get("LISTEN_FDS"), get("LISTEN_PID")), (Some("2"), Some(pid.as_str())));
    assert_eq!(get("LISTEN_FDNAMES"), Some("front:back"));
    assert_eq!((get("MASTERD_SLOT_FD"), get("PLAIN")), (Some("5"), Some("kept")));
    for private in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "MASTERD_SECRET", "MASTERD_SOCKET"] {
        assert_eq!(get(private), None, "{private}");
    }
    let fds = body(&master, "/fds");
    let kinds: Vec<&str> = fds.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(kinds[0], "/dev/null");
    assert!(kinds[1].starts_with("pipe:") && kinds[2].starts_with("pipe:"), "{fds}");
    assert!(kinds[3].starts_with("socket:") && kinds[4].starts_with("socket:"), "{fds}");
    assert!(kinds[5].contains("memfd:masterd-program"), "{fds}");
    // The connection it answers on; and its epoll or listing, if it has one.
    assert!(kinds.len() <= 8, "{fds}");
    let unix = place.path("app.sock").display().to_string();
    assert!(super::super::harness::get(&format!("unix:{unix}"), "/").is_ok());
    master.finish();
}

#[test]
fn with_a_token_the_protocol_is_withheld() {
    if no_python() {
        return;
    }
    let place = place();
    let master = Master::start(&place, &Exec::new(&["fd={fd}"]).exec("umask = \"0027\"").text());
    let env = environment(&master);
    assert!(env.keys().all(|name| !name.starts_with("LISTEN_")), "{env:?}");
    assert_eq!((env["GENERATION"].as_str(), env["SEAT"].as_str()), ("1", "0"));
    let umask = procs::status_line(program_of(&master), "Umask").unwrap();
    assert_eq!(umask, "0027");
    master.finish();
}

#[test]
fn it_runs_as_another_user_with_limits_of_its_own() {
    if no_python() || not_root() {
        return;
    }
    let place = place();
    let config = Exec::new(&[])
        .service("limits = { nofile = 77, nice = 5 }")
        .exec("user = \"nobody\"\ngroup = \"nogroup\"");
    let master = Master::start(&place, &config.text());
    let pid = program_of(&master);
    let ids = procs::status_line(pid, "Uid").unwrap();
    assert_eq!(ids, "65534\t65534\t65534\t65534");
    assert_eq!(procs::status_line(pid, "Groups").unwrap().trim(), "65534");
    assert_eq!(procs::status_line(pid, "NoNewPrivs").unwrap(), "1");
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let open = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(open.split_ascii_whitespace().nth(3), Some("77"));
    assert_eq!(environment(&master)["USER"], "nobody");
    master.finish();
}

#[test]
fn a_soft_limit_that_masterd_was_started_with_is_its_programs() {
    if no_python() {
        return;
    }
    let place = place();
    place.config(&Exec::new(&[]).text());
    let soft = |master: &Master| {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", program_of(master))).unwrap();
        let open = limits.lines().find(|line| line.starts_with("Max open files")).unwrap().to_owned();
        open.split_ascii_whitespace().nth(3).unwrap().to_owned()
    };
    let shell = ["sh", "-c", "ulimit -S -n 999; exec \"$0\" \"$@\""];
    let master = Launch::through(&place, &shell).start();
    assert_eq!(soft(&master), "999");
    master.cli(&["upgrade", "--drained"]).expect(0);
    assert_eq!(soft(&master), "999", "another image knows it too");
    master.finish();
}

#[test]
fn a_socket_file_that_a_program_removes_is_put_back() {
    if no_python() {
        return;
    }
    let place = place();
    let mut config = Exec::new(&[]).listen("\"unix:app.sock\"").workers(2);
    if is_root() {
        // The folder is ours.
        config = config.exec("user = \"root\"");
    }
    let master = Master::start(&place, &config.text());
    master.expect_error("");
    let path = place.path("app.sock");
    let address = format!("unix:{}", path.display());
    get(&address, &format!("/unlink?{}", path.display())).unwrap();
    assert!(!path.exists());
    kill(program_of(&master), "KILL");
    wait_until("it is back", SOON, || path.exists());
    assert!(get(&address, "/").is_ok(), "and leads to the same socket");
    master.wait_log("is back");
    master.finish();
}

#[test]
fn datagrams_are_served_through_a_reload() {
    if no_python() {
        return;
    }
    let place = place();
    let master = Master::start(&place, &Exec::new(&["udp"]).listen("\"udp:127.0.0.1:0\"").text());
    let address = master.service("app").listeners[0].address.trim_start_matches("udp:").to_owned();
    let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    client.connect(&address).unwrap();
    let ask = || {
        client.send(b"ping").unwrap();
        let mut answer = [0; 16];
        let n = client.recv(&mut answer).unwrap();
        assert_eq!(&answer[..n], b"ping");
    };
    ask();
    master.cli(&["reload", "--drained"]).expect(0);
    ask();
    assert_eq!(master.service("app").listeners[0].address, format!("udp:{address}"));
    master.finish();
}
