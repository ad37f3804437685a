//! Blocking and non-blocking mode belong to the socket, and so to all who share it: what a program or a reload
//! does to it holds up nobody.

use super::super::harness::*;
use super::*;

/// Sets O_NONBLOCK once, and accepts until nobody waits; ends with that status if one is given.
const EAGER: &str = r#"
import os, select, signal, socket, sys
if len(sys.argv) > 1:
    sys.exit(int(sys.argv[1]))
listener = socket.socket(fileno=3)
listener.setblocking(False)
ending = []
signal.signal(signal.SIGTERM, lambda *_: ending.append(1))
while not ending:
    select.select([listener], [], [], 0.1)
    while True:
        try:
            client, _ = listener.accept()
        except BlockingIOError:
            break
        client.settimeout(5)
        try:
            while b"\r\n\r\n" not in client.recv(65536):
                pass
            body = f"pid={os.getpid()} gen={os.environ['GENERATION']} seat={os.environ['SEAT']} mark=a"
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            client.sendall((head + body).encode())
        except OSError:
            pass
        client.close()
"#;

/// A service of that name on that port with a built-in server.
fn built_in(port: u16) -> String {
    Web::new().workers(2).listen(&format!("127.0.0.1:{port}")).text().replace("\"web\"", "\"app\"")
}

fn program(port: u16, words: &[&str]) -> Exec {
    Exec::new(words).workers(2).listen(&format!("\"127.0.0.1:{port}\""))
}

fn eager(words: &str) -> String {
    let text = Exec::new(&[]).workers(2).exec("nonblocking = true").text();
    let command = text.lines().find(|line| line.starts_with("command")).unwrap().to_owned();
    text.replace(&command, &format!("command = [{:?}, \"-S\", \"eager.py\"{words}]", python()))
}

#[test]
fn a_reload_that_fails_does_not_touch_the_mode_under_those_who_serve() {
    if no_python() {
        return;
    }
    let place = place();
    place.write("eager.py", EAGER);
    let master = Master::start(&place, &eager(""));
    master.expect_error("");
    let load = Load::with(&address(&master), Mix { fresh: 2, ..Mix::none() });
    load.wait_answers(20);
    place.config(&eager(", \"1\""));
    for _ in 0..3 {
        master.cli(&["reload"]).expect(1);
        load.wait_answers(20);
    }
    load.stop().assert_nothing_lost();
    for worker in master.workers("app") {
        assert!(procs::runs(worker.pid), "{worker:?}");
    }
    place.config(&eager(""));
    master.cli(&["reload", "--drained"]).expect(0);
    assert!(get(&address(&master), "/").is_ok());
    master.finish();
}

#[test]
fn a_program_that_does_not_come_up_in_place_of_a_built_in_server_changes_nothing() {
    if no_python() {
        return;
    }
    let place = place();
    let port = free_port();
    let master = Master::start(&place, &built_in(port));
    master.expect_error("");
    let load = Load::with(&address(&master), Mix { fresh: 2, ..Mix::none() });
    load.wait_answers(20);
    place.config(&program(port, &["exit=1"]).text());
    master.cli(&["reload"]).expect(1);
    master.wait_log("stays in non-blocking mode until masterd is stopped and started");
    load.wait_answers(20);
    load.stop().assert_nothing_lost();
    let beats = master.workers("app");
    assert!(beats.iter().all(|worker| worker.why.is_none()), "{beats:?}");
    master.finish();
}

#[test]
fn a_program_takes_the_place_of_a_built_in_server_and_gives_it_back() {
    if no_python() {
        return;
    }
    let place = place();
    let port = free_port();
    // Made in blocking mode, which the built-in one can't live with.
    let master = Master::start(&place, &program(port, &[]).text());
    let load = Load::with(&address(&master), Mix { fresh: 2, ..Mix::none() });
    load.wait_answers(20);
    for text in [built_in(port), program(port, &[]).text(), built_in(port)] {
        place.config(&text);
        master.cli(&["reload", "--drained"]).expect(0);
        load.wait_answers(20);
        assert!(master.workers("app").iter().all(|worker| worker.why.is_none()));
    }
    load.stop().assert_nothing_lost();
    master.finish();
}
