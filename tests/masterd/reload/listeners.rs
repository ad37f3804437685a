//! Listeners and services that come, go, move and change with a reload.

use crate::harness::tls::connect;
use crate::harness::{
    Authority, Caller, Conn, Load, Lost, Master, Mix, Place, SOON, Signal, Web, came_true, get, wait_until,
};
use crate::meddle::{end, freeze, send};
use crate::tls::{PLAIN, place_with};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

const FIRST: &str = "{ address = \"127.0.0.1:0\", name = \"first\" }";

/// Port 0 on other addresses of the loopback net, so that two listeners can be had.
fn also(host: &str) -> String {
    format!("{{ address = \"{host}:0\", name = \"second\" }}")
}

fn refuses(address: &str) -> bool {
    matches!(Conn::open(address), Err(Lost::Connect(e))
        if matches!(e.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound))
}

#[test]
fn a_listener_comes_and_goes_under_load() {
    let place = Place::new();
    let one = Web::new().listen_raw(&[FIRST]).text();
    let two = Web::new().listen_raw(&[FIRST, &also("127.0.0.2")]).text();
    let master = Master::start(&place, &one);
    let first = master.address_of("first");
    let load = Load::start(&first);
    place.config(&two);
    master.cli(&["reload"]).expect(0);
    assert_eq!(master.address_of("first"), first, "the same socket");
    let second = master.address_of("second");
    let other = Load::start(&second);
    other.wait_answers(50);
    other.stop().assert_nothing_lost();

    // Everything that was connected before the reload is served: idle, half said, silent, queued.
    let mut idle = Conn::open(&second).unwrap();
    idle.get("/").unwrap();
    let mut half = Conn::open(&second).unwrap();
    half.send(b"GET / HT").unwrap();
    let mut silent: Vec<Conn> = (0..100).map(|_| Conn::open(&second).unwrap()).collect();
    place.config(&one);
    master.cli(&["reload"]).expect(0);
    // While everything that was connected to it is still open.
    wait_until("the removed listener refuses", SOON, || refuses(&second));
    half.send(b"TP/1.1\r\nHost: test\r\n\r\n").unwrap();
    for conn in silent.iter_mut() {
        conn.ask("/").unwrap();
    }
    for conn in silent.iter_mut().chain([&mut half]) {
        let answer = conn.receive().unwrap();
        assert_eq!((answer.status, answer.number("gen")), (200, 2));
    }
    assert_eq!(idle.get("/").unwrap().number("gen"), 2);
    assert!(master.status().services[0].listeners.iter().all(|l| l.name == "first"));
    load.wait_answers(50);
    let report = load.stop();
    report.assert_nothing_lost();
    assert_eq!(report.closed_idle, 0, "{report:?}");
    master.wait_generation(3);
    end(master);
}

/// A crowd of clients, each with a new connection: who completed a connection gets an answer.
#[test]
fn connections_that_complete_while_their_listener_goes_are_served() {
    let place = Place::new();
    let one = Web::new().listen_raw(&[FIRST]).text();
    for host in ["127.0.0.2", "127.0.0.3"] {
        let accept = if host == "127.0.0.2" { "per-worker" } else { "shared" };
        let entry = format!("{{ address = \"{host}:0\", name = \"second\", accept = \"{accept}\" }}");
        place.config(&Web::new().listen_raw(&[FIRST, &entry]).text());
        let master = crate::harness::Launch::new(&place).start();
        let second = master.address_of("second");
        let crowd: Vec<_> = (0..4)
            .map(|_| {
                let address = second.clone();
                std::thread::spawn(move || {
                    let mut served = 0u32;
                    loop {
                        match get(&address, "/") {
                            Ok(_) => served += 1,
                            Err(Lost::Connect(_)) => return (served, None),
                            Err(lost) => return (served, Some(lost.to_string())),
                        }
                    }
                })
            })
            .collect();
        let busy = || master.service("web").totals.requests > 100;
        wait_until("the crowd is served", SOON, busy);
        place.config(&one);
        master.cli(&["reload"]).expect(0);
        for client in crowd {
            let (served, lost) = client.join().unwrap();
            assert!(served > 0);
            assert_eq!(lost, None, "{accept}: refused is right, lost is not");
        }
        end(master);
    }
}

#[test]
fn unix_and_abstract_listeners_go_too() {
    let place = Place::new();
    let file = format!("unix:{}", place.path("w.sock").display());
    let name = format!("unix:@md-goes-{}", place.dir().file_name().unwrap().to_str().unwrap());
    let all = Web::new().listen_raw(&[FIRST, &format!("{file:?}"), &format!("{name:?}")]).text();
    let master = Master::start(&place, &all);
    let mut old: Vec<Conn> =
        [&file, &name].into_iter().flat_map(|a| [a, a, a]).map(|a| Conn::open(a).unwrap()).collect();
    place.config(&Web::new().listen_raw(&[FIRST]).text());
    master.cli(&["reload"]).expect(0);
    assert!(!place.path("w.sock").exists(), "the file goes at once");
    for address in [&file, &name] {
        wait_until("it refuses", SOON, || refuses(address));
    }
    for conn in &mut old {
        assert_eq!(conn.get("/").unwrap().number("gen"), 1);
    }
    // And back again.
    place.config(&all);
    master.cli(&["reload"]).expect(0);
    for address in [&file, &name] {
        assert_eq!(get(address, "/").unwrap().number("gen"), 3);
    }
    end(master);
}

#[test]
fn a_listener_that_comes_back_while_it_goes_is_the_same_socket() {
    let place = Place::new();
    let entry = also("127.0.0.2");
    let two = Web::new().listen_raw(&[FIRST, &entry]).text();
    let master = Master::start(&place, &two);
    let second = master.address_of("second");
    // A connection that stays keeps generation 1 at its last call no longer than its queue is quiet.
    place.config(&Web::new().listen_raw(&[FIRST]).text());
    master.cli(&["reload"]).expect(0);
    place.config(&two);
    master.cli(&["reload"]).expect(0);
    assert_eq!(master.address_of("second"), second);
    let load = Load::with(&second, Mix { fresh: 3, ..Mix::none() });
    load.wait_answers(300);
    load.stop().assert_nothing_lost();
    master.wait_generation(3);
    let load = Load::with(&second, Mix { fresh: 3, ..Mix::none() });
    load.wait_answers(300);
    load.stop().assert_nothing_lost();
    end(master);
}

#[test]
fn options_of_a_listener_that_stays_are_changed_in_place() {
    let place = Place::new();
    let config = |backlog: u32, mode: &str, accept: &str| {
        let tcp = format!(
            "{{ address = \"127.0.0.1:0\", name = \"tcp\", backlog = {backlog}, accept = \"{accept}\" }}"
        );
        let unix = format!("{{ address = \"unix:w.sock\", name = \"unix\", mode = \"{mode}\" }}");
        Web::new().workers(1).listen_raw(&[&tcp, &unix]).text()
    };
    let master = Master::start(&place, &config(100, "0600", "per-worker"));
    let limit = || master.service("web").listeners[0].queue_limit;
    let mode = || fs::metadata(place.path("w.sock")).unwrap().permissions().mode() & 0o777;
    assert_eq!((limit(), mode()), (100, 0o600));
    let address = master.address_of("tcp");
    let load = Load::start(&address);
    place.config(&config(50, "0660", "shared"));
    master.cli(&["reload"]).expect(0);
    assert_eq!((limit(), mode()), (50, 0o660));
    assert_eq!(master.address_of("tcp"), address);
    master.wait_log("accept stays \"per-worker\" and does not become \"shared\"");
    load.wait_answers(50);
    load.stop().assert_nothing_lost();
    end(master);
}

#[test]
fn services_come_and_go() {
    let place = Place::new();
    let web = Web::new().workers(1);
    let more = Web::new().name("more").workers(2).mark("m").listen("127.0.0.2:0").slow("3s");
    let both = web.clone().more(&more.service_text());
    let master = Master::start(&place, &web.text());
    let load = Load::start(&master.address());
    place.config(&both.text());
    master.cli(&["reload"]).expect(0);
    assert_eq!(master.status().services.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["more", "web"]);
    let other = master.address_of("more");
    assert_eq!(get(&other, "/").unwrap().field("mark"), Some("m"));
    let mut slow = Conn::open(&other).unwrap();
    slow.ask("/slow").unwrap();
    let mut idle = Conn::open(&other).unwrap();
    idle.get("/").unwrap();
    wait_until("the slow request is there", SOON, || master.workers("more").iter().any(|w| w.in_flight == 1));
    place.config(&web.text());
    master.cli(&["reload"]).expect(0);
    assert_eq!(slow.receive().unwrap().number("gen"), 2, "its last request is answered");
    let status = master.status();
    let going = status.services.iter().find(|s| s.name == "more").expect("it has workers still");
    assert!(going.why.as_ref().is_some_and(|w| w.contains("removed")), "{going:?}");
    wait_until("its port refuses", SOON, || refuses(&other));
    assert!(idle.get("/").unwrap().closes());
    master.wait_status("it is gone", SOON, |s| s.services.iter().all(|s| s.name == "web"));
    load.wait_answers(50);
    let report = load.stop();
    report.assert_nothing_lost();
    assert_eq!(report.closed_idle, 0);
    end(master);
}

#[test]
fn an_address_moves_from_one_service_to_another() {
    let place = Place::new();
    let home = "{ address = \"127.0.0.1:0\", name = \"home\" }";
    let away = "{ address = \"127.0.0.2:0\", name = \"away\" }";
    let config = |a: &str, b: &str| {
        let more = Web::new().name("b").mark("b").listen_raw(&[b]).service_text();
        Web::new().name("a").mark("a").listen_raw(&[a]).more(&more).text()
    };
    let master = Master::start(&place, &config(home, away));
    let (home_at, away_at) = (master.address_of("home"), master.address_of("away"));
    let loads = [Load::start(&home_at), Load::start(&away_at)];
    for turn in 0..4 {
        place.config(&if turn % 2 == 0 { config(away, home) } else { config(home, away) });
        master.cli(&["reload", "--drained"]).expect(0);
        let (a, b) = if turn % 2 == 0 { (&away_at, &home_at) } else { (&home_at, &away_at) };
        assert_eq!(get(a, "/").unwrap().field("mark"), Some("a"));
        assert_eq!(get(b, "/").unwrap().field("mark"), Some("b"));
    }
    for load in loads {
        let report = load.stop();
        report.assert_nothing_lost();
        assert_eq!(report.marks.len(), 2, "both services answered");
    }
    // A socket that has moved goes with the service that has it now.
    let more = Web::new().name("b").mark("b").service("drain = { delay = \"20s\" }").listen_raw(&[home]);
    place.config(&Web::new().name("a").mark("a").listen_raw(&[away]).more(&more.service_text()).text());
    master.cli(&["reload", "--drained"]).expect(0);
    master.signal(Signal::SIGQUIT);
    master.wait_status("a has stopped", SOON, |s| {
        s.services.iter().all(|service| service.name == "b" || service.workers.is_empty())
    });
    assert_eq!(get(&home_at, "/").expect("b is still to be found").field("mark"), Some("b"));
    end(master);
}

#[test]
fn a_socket_file_removed_by_hand_is_told_and_made_anew() {
    let place = Place::new();
    let master = Master::start(&place, &Web::new().listen("unix:w.sock").text());
    let path = place.path("w.sock");
    let address = format!("unix:{}", path.display());
    let load = Load::with(&address, Mix { kept: 2, idle: 2, slow_answer: 1, ..Mix::none() });
    fs::remove_file(&path).unwrap();
    let told = master.service("web").listeners[0].why.clone();
    assert!(told.as_ref().is_some_and(|w| w.contains("removed")), "{told:?}");
    assert!(refuses(&address));
    load.wait_answers(20);
    // Connections that live go on, up to the reload's `Connection: close`; then the new file is there.
    master.cli(&["reload"]).expect(0);
    assert_eq!(master.service("web").listeners[0].why, None);
    assert_eq!(get(&address, "/").unwrap().number("gen"), 2);
    load.wait_answers(20);
    let report = load.stop();
    report.assert_nothing_lost();
    assert_eq!(report.closed_idle, 0);
    master.wait_generation(2);
    // Somebody else's file in its place is left alone by the end of masterd.
    fs::remove_file(&path).unwrap();
    fs::write(&path, "mine").unwrap();
    place.config(&Web::new().text());
    master.cli(&["reload", "--drained"]).expect(0);
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    end(master);
}

#[test]
fn a_reload_that_fails_leaves_a_removed_socket_file_as_it_was() {
    let place = Place::new();
    let unix = "\"unix:w.sock\"";
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let master = Master::start(&place, &Web::new().listen_raw(&[unix]).text());
    let path = place.path("w.sock");
    fs::remove_file(&path).unwrap();
    let taken = format!("\"{}\"", busy.local_addr().unwrap());
    place.config(&Web::new().listen_raw(&[unix, &taken]).text());
    master.expect_error("reload failed");
    let said = master.cli(&["reload"]).expect(1);
    assert!(said.stderr.contains("cannot listen on"), "{said:?}");
    assert!(!came_true(Duration::from_millis(100), || path.exists()), "made for nothing, and left behind");
    place.config(&Web::new().listen_raw(&[unix]).text());
    master.cli(&["reload"]).expect(0);
    assert_eq!(get(&format!("unix:{}", path.display()), "/").unwrap().number("gen"), 3);
    end(master);
}

#[test]
fn what_waits_for_a_dead_worker_is_served_as_its_listener_said_though_that_has_gone() {
    let authority = Authority::new();
    let place = place_with(&authority);
    let secret = format!("{{ address = \"127.0.0.2:0\", name = \"secret\", tls = {{ {PLAIN} }} }}");
    let proxied = "{ address = \"127.0.0.3:0\", name = \"proxied\", proxy_protocol = true }";
    let master = Master::start(&place, &Web::new().workers(1).listen_raw(&[FIRST, &secret, proxied]).text());
    let worker = master.ready_pids("web")[0];
    freeze(worker);
    let waiting = connect(&master.address_of("secret")).unwrap();
    let address = master.address_of("proxied");
    let (mut introduced, mut stranger) = (Conn::open(&address).unwrap(), Conn::open(&address).unwrap());
    introduced.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    stranger.ask("/").unwrap();
    place.config(&Web::new().workers(1).listen_raw(&[FIRST]).text());
    master.cli(&["reload"]).expect(0);
    master.expect_error("was killed by SIGKILL");
    send(worker, Signal::SIGKILL);
    let mut conn = Caller::new(&authority).on(waiting, "a.example").expect("a handshake");
    assert_eq!(conn.get("/").unwrap().number("gen"), 2);
    assert_eq!(introduced.receive().unwrap().number("gen"), 2);
    let said = stranger.read_to_end().unwrap_or_default();
    assert!(said.is_empty(), "no header, no word: {said:?}");
    wait_until("the listeners are closed", SOON, || refuses(&address));
    drop((conn, introduced, stranger));
    end(master);
}
