//! Runs the cases of a family through one masterd with one worker, and tells all that failed at once.
//!
//! Each case is run twice, its bytes sent whole and with pauses, and followed by two requests of other
//! clients at the same time: an answer that lies in the wrong place shows there.

use crate::case::Case;
use crate::check::{Story, check};
use crate::client::{Client, answers};
use crate::harness::{Master, Place, SOON};
use crate::message::text;
use crate::origin::{Origin, Seen, echo, until};
use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Small enough for requests that are too large to be quick.
fn config(origin: &Origin) -> String {
    format!(
        r#"
[master]
control_socket = "c.sock"
pid_file = "m.pid"

[[service]]
name = "web"
listen = ["127.0.0.1:0"]
workers = 1
limits = {{ cpu_affinity = "off" }}

[service.http]
max_header_size = "16KiB"
max_headers = 50
route = [{{ path = "/", proxy = {{ upstream = ["{}"], max_failures = 0 }} }}]
"#,
        origin.address
    )
}

/// Runs a family of cases.
pub fn family(cases: &[Case]) {
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "names are unique");
    let (origin, place) = (Origin::start(), Place::new());
    let master = Master::start(&place, &config(&origin));
    // What a bad origin is answered with may be an error in the log.
    master.expect_error("upstream");
    let proxy = master.address().parse().expect("an address");
    let workers = master.ready_pids("web");
    let mut failed = Vec::new();
    for (at, case) in cases.iter().enumerate() {
        for pauses in [false, true] {
            let number = 2 * at + usize::from(pauses);
            if let Err(why) = run(case, number, pauses, &origin, proxy) {
                let how = if pauses { "with pauses" } else { "whole" };
                failed.push(format!("- {}, {how}: {why}", case.name));
            }
        }
    }
    assert!(failed.is_empty(), "{} of {} failed:\n{}", failed.len(), 2 * cases.len(), failed.join("\n"));
    master.wait_status("nothing is open", SOON, |s| s.services[0].workers[0].active.total() == 0);
    assert_eq!((master.ready_pids("web"), master.service("web").totals.deaths), (workers, 0));
    master.finish();
    assert!(until(|| origin.shared.is_settled()), "the origin waits for the rest of a request");
}

fn run(case: &Case, number: usize, pauses: bool, origin: &Origin, proxy: SocketAddr) -> Result<(), String> {
    let shared = &origin.shared;
    shared.begin(number, &case.scripts);
    let heard = Client::connect(proxy, shared, case.methods()).converse(case, pauses);
    let mut faults = Vec::new();
    if !until(|| shared.is_over()) {
        faults.push("the proxy keeps a connection that the origin has ended".to_owned());
    }
    if !until(|| shared.is_settled()) {
        faults.push("a request was begun at the origin, and neither ended nor given up".to_owned());
    }
    faults.extend(probe(number, origin, proxy).err());
    // Whatever the proxy has still sent meanwhile belongs to this case.
    if faults.is_empty() && !until(|| shared.is_settled()) {
        faults.push("a request was begun at the origin behind the case".to_owned());
    }
    let is_probe = |s: &Seen| matches!(s, Seen::Request(m) if m.asks().starts_with("GET /probe/"));
    let seen: Vec<Seen> = shared.log().into_iter().filter(|s| !is_probe(s)).collect();
    let mut read = String::new();
    match heard {
        Err(why) => faults.push(why),
        Ok(heard) => {
            read = text(&heard.bytes[..heard.bytes.len().min(300)]);
            faults.extend(check(case, &Story { number, seen: seen.clone(), heard }).err());
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(format!("{}; the client has read {read:?}, the origin {seen:?}", faults.join("; and ")))
}

/// Two other clients ask at the same time; each must get its own answer.
fn probe(number: usize, origin: &Origin, proxy: SocketAddr) -> Result<(), String> {
    let paths = [0, 1].map(|client| format!("/probe/{number}/{client}"));
    let mut clients = [0, 1].map(|_| Client::connect(proxy, &origin.shared, vec!["GET".to_owned()]));
    for (client, path) in clients.iter_mut().zip(&paths) {
        client
            .send(format!("GET {path} HTTP/1.1\r\nHost: probe.test\r\nConnection: close\r\n\r\n").as_bytes());
    }
    for (client, path) in clients.into_iter().zip(&paths) {
        let heard = client.hear_all().map_err(|why| format!("{path}: {why}"))?;
        let told = answers(&heard.bytes, heard.end, &["GET".to_owned()])?;
        let own = echo(&format!("GET {path}"), number);
        let good = told.finals.len() == 1
            && told.rest == 0
            && told.interim.is_empty()
            && told.finals[0].status() == 200
            && told.finals[0].body == own.as_bytes();
        if !good {
            return Err(format!("another client asked for {path} and got {:?}", text(&heard.bytes)));
        }
    }
    Ok(())
}
