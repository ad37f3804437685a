//! Addresses: taken ones, stale ones, all kinds of them.

use super::super::harness::*;
use super::refused;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

/// Insists that a start which is refused for an address that this process has says so. The search has a
/// fraction of a second, which a busy machine may give to others: more than one try.
#[track_caller]
fn holder_is_named(place: &Place, config: &str) {
    let words = format!("(pid {})", std::process::id());
    wait_until("the holder is named", SOON, || refused(place, config, 1).contains(&words));
}

#[test]
fn a_port_in_use_is_named_with_its_holder() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for accept in ["shared", "per-worker"] {
        // The free one comes first, so that there is something to take back.
        let listen = format!("{{ address = \"{address}\", accept = \"{accept}\" }}");
        let web = Web::new().listen_raw(&["\"127.0.0.1:0\"", "\"unix:web.sock\"", &listen]);
        let said = refused(&place, &web.text(), 1);
        assert!(said.contains(&address) && said.contains("Address"), "{said}");
        holder_is_named(&place, &web.text());
    }
    drop(taken);
}

#[test]
fn a_stale_socket_file_is_replaced() {
    let place = Place::new();
    drop(UnixListener::bind(place.path("web.sock")).unwrap());
    drop(UnixListener::bind(place.socket()).unwrap());
    let master = Master::start(&place, &Web::new().listen("unix:web.sock").text());
    let answer = get(&format!("unix:{}", place.path("web.sock").display()), "/").unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(get(&master.address(), "/").unwrap().status, 200, "the address in the status works");
    master.finish();
    assert!(!place.path("web.sock").exists());
}

#[test]
fn a_socket_that_somebody_serves_is_left_alone() {
    let place = Place::new();
    let live = UnixListener::bind(place.path("web.sock")).unwrap();
    let inode = std::fs::metadata(place.path("web.sock")).unwrap().ino();
    let said = refused(&place, &Web::new().listen("unix:web.sock").text(), 1);
    assert!(said.contains("web.sock") && said.contains("in use") | said.contains("serves"), "{said}");
    assert_eq!(std::fs::metadata(place.path("web.sock")).unwrap().ino(), inode);
    UnixStream::connect(place.path("web.sock")).expect("still served");
    drop(live);
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let place = Place::new();
    for name in ["web.sock", "c.sock"] {
        let path = place.write(name, "precious");
        let said = refused(&place, &Web::new().listen("unix:web.sock").text(), 1);
        assert!(said.contains(name), "{said}");
        assert_eq!(place.read(name), "precious");
        std::fs::remove_file(path).unwrap();
    }
    place.write("elsewhere", "precious");
    std::os::unix::fs::symlink("elsewhere", place.path("web.sock")).unwrap();
    let said = refused(&place, &Web::new().listen("unix:web.sock").text(), 1);
    assert!(said.contains("web.sock"), "{said}");
    assert_eq!(place.read("elsewhere"), "precious");
}

#[test]
fn a_socket_file_has_its_mode_and_owner() {
    let place = Place::new();
    let owner = if is_root() { ", owner = \"12345:54321\"" } else { "" };
    let listen = format!("{{ address = \"unix:web.sock\", mode = \"0620\"{owner} }}");
    let master = Master::start(&place, &Web::new().listen_raw(&[&listen]).text());
    let found = std::fs::metadata(place.path("web.sock")).unwrap();
    assert_eq!(found.permissions().mode() & 0o7777, 0o620);
    if is_root() {
        assert_eq!((found.uid(), found.gid()), (12345, 54321));
    }
    master.finish();
}

#[test]
fn an_abstract_socket_serves_and_is_refused_when_taken() {
    let place = Place::new();
    let name = format!("masterd-test-{}", std::process::id());
    let web = Web::new().listen(&format!("unix:@{name}"));
    let master = Master::start(&place, &web.text());
    assert_eq!(master.address(), format!("unix:@{name}"));
    assert_eq!(get(&master.address(), "/").unwrap().status, 200);
    master.finish();
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let taken = UnixListener::bind_addr(&address).expect("the name is free again");
    let said = refused(&place, &web.text(), 1);
    assert!(said.contains(&format!("unix:@{name}")), "{said}");
    holder_is_named(&place, &web.text());
    drop(taken);
}

#[test]
fn ipv6_serves_and_keeps_to_itself_unless_told() {
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("no IPv6 here");
        return;
    }
    let place = Place::new();
    let listen = ["\"[::1]:0\"", "{ address = \"[::]:0\", ipv6_only = false, name = \"both\" }"];
    let master = Master::start(&place, &Web::new().listen_raw(&listen).text());
    assert!(master.address().starts_with("[::1]:"), "{}", master.address());
    let ask = |listener: &str, host: &str| {
        let address = master.address_of(listener);
        let port = address.rsplit_once(':').expect("a port").1;
        get(&format!("{host}:{port}"), "/").expect(host).status
    };
    assert_eq!(ask("web", "[::1]"), 200);
    assert_eq!(ask("both", "[::1]"), 200);
    assert_eq!(ask("both", "127.0.0.1"), 200);
    master.finish();

    let master = Master::start(&place, &Web::new().listen("[::]:0").text());
    let port = master.address().rsplit_once(':').expect("a port").1.to_owned();
    assert_eq!(get(&format!("[::1]:{port}"), "/").unwrap().status, 200);
    let refused = get(&format!("127.0.0.1:{port}"), "/");
    assert!(matches!(refused, Err(Lost::Connect(_))), "{refused:?}");
    master.finish();
}

#[test]
fn a_path_too_long_for_a_socket_is_refused_by_its_line() {
    let place = Place::new();
    let long = "x".repeat(108 - place.dir().to_string_lossy().len() - 1);
    let said = refused(&place, &Web::new().listen(&format!("unix:{long}")).text(), 2);
    assert!(said.contains("masterd.toml:7:11:") && said.contains("107"), "{said}");
    let master = Master::start(&place, &Web::new().listen(&format!("unix:{}", &long[1..])).text());
    assert_eq!(get(&master.address(), "/").unwrap().status, 200, "107 bytes are fine");
    master.finish();
    let text = Web::new().text().replace("c.sock", &long);
    let said = refused(&place, &text, 2);
    assert!(said.contains("masterd.toml:2:18:") && said.contains("107"), "{said}");
}
