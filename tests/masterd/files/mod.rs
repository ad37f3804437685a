//! Static files, redirects and the choice of a route, as clients meet them through the whole program.
//!
//! `answers`: what comes back for a file that is there. `names`: what is no file, and every way out of the root. `changes`:
//! files and folders that change while they are served. `readers`: many clients, slow ones. `routes`: redirects, and paths
//! spelt so as to get past a route.

mod answers;
mod changes;
mod names;
mod readers;
mod routes;

use super::harness::*;
use std::fs;
use std::path::PathBuf;

const FILES: &str = "files = { root = \"www\" }";

/// A place whose folder `www` is served by one worker.
#[track_caller]
fn serving(place: &Place) -> Master {
    serving_with(place, |web| web)
}

/// The same, with something else about its config.
#[track_caller]
fn serving_with(place: &Place, touch: impl Fn(Web) -> Web) -> Master {
    if !place.path("www").exists() {
        fs::create_dir(place.path("www")).expect("make a folder");
    }
    Master::start(place, &touch(Web::new().workers(1).root(FILES)).text())
}

/// Writes a file beneath `www`, with its folders.
fn put(place: &Place, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = place.path("www").join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("make folders");
    fs::write(&path, content).expect("write a file");
    path
}

/// The answer to a head as given, on a connection of its own. Its lines end in `\n` here.
#[track_caller]
fn ask(address: &str, head: &str) -> Response {
    let mut conn = Conn::open(address).expect("a connection");
    ask_on(&mut conn, head)
}

#[track_caller]
fn ask_on(conn: &mut Conn, head: &str) -> Response {
    conn.send(format!("{head}\n\n").replace('\n', "\r\n").as_bytes()).expect("a request leaves");
    let method = head.split(' ').next().unwrap_or_default();
    conn.receive_for(method).unwrap_or_else(|lost| panic!("{lost}, asked {head:?}"))
}

/// The clients have gone: nothing is open, and no descriptor of a file is left.
#[track_caller]
fn end(master: Master) {
    let status = master.wait_status("nothing is open any more", SOON, |s| {
        s.services.iter().flat_map(|s| &s.workers).all(|w| w.active.total() == 0 && w.in_flight == 0)
    });
    let open = |pid: i32| procs::descriptors(pid).into_iter().filter(|(_, to)| to.contains("/www/")).count();
    for worker in &status.services[0].workers {
        wait_until("every file is closed", SOON, || open(worker.pid) == 0);
    }
    master.finish();
}
