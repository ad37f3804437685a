//! Where bytes of strangers come in, one function for each kind: for the fuzz targets, and for the
//! test that replays their corpora (tests/corpus.rs).
//!
//! A function panics if something that must always hold does not; true says that the bytes were good.

#![allow(dead_code)]

use masterd::config::{self, Config};
use masterd::master::record::{Head, Record, SocketRecord};
use masterd::wire::control::{Reply, Request};
use masterd::wire::report::Report;
use masterd::worker::http::gate::Gate;
use masterd::worker::proxy_protocol::{self, Parsed};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Heads of requests: the same at once and in pieces, whose size the first byte says.
pub fn gate(data: &[u8]) -> bool {
    let size = data.first().map_or(1, |byte| usize::from(byte % 32) + 1);
    let (mut whole, mut pieces) = (Gate::new(), Gate::new());
    let taken = whole.feed(data);
    assert!(taken == data.len() || whole.complete());
    let fed: usize = data.chunks(size).map(|piece| pieces.feed(piece)).sum();
    assert_eq!((&pieces, fed), (&whole, taken));
    whole.complete() && whole.fault().is_none()
}

/// Headers of the PROXY protocol: a verdict stands, and is final within the longest header.
pub fn proxy_protocol(data: &[u8]) -> bool {
    let whole = proxy_protocol::parse(data);
    for end in 0..data.len().min(proxy_protocol::LONGEST) {
        let part = proxy_protocol::parse(&data[..end]);
        assert!(part == Parsed::Incomplete || part == whole);
    }
    assert!(whole != Parsed::Incomplete || data.len() < proxy_protocol::LONGEST);
    match whole {
        Parsed::Done { len, .. } => {
            assert!(len <= data.len() && len <= proxy_protocol::LONGEST);
            true
        }
        _ => false,
    }
}

/// The text of a config. Other files are left alone: what includes any is passed over.
pub fn config(data: &[u8]) -> bool {
    if data.windows(7).any(|word| word == b"include") {
        return false;
    }
    let path = std::env::temp_dir().join(format!("masterd-fuzz-{}.toml", std::process::id()));
    std::fs::write(&path, data).expect("write the config");
    let loaded = config::load(&path);
    std::fs::remove_file(&path).expect("remove the config");
    match loaded {
        Ok(loaded) => {
            config::plan_of(&loaded.config);
            assert!(!config::show(&loaded.config).is_empty());
            assert_eq!(again(&loaded.config), loaded.config);
            true
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "what is refused is refused for a reason");
            problems.iter().for_each(|problem| drop(problem.to_string()));
            false
        }
    }
}

/// A line from a client of the control socket, and one from the master to it.
pub fn control(data: &[u8]) -> bool {
    read::<Request>(data) | read::<Reply>(data)
}

/// A message from a worker.
pub fn report(data: &[u8]) -> bool {
    read::<Report>(data)
}

/// The state that another image of masterd left.
pub fn handover(data: &[u8]) -> bool {
    if let Ok(head) = serde_json::from_slice::<Head>(data) {
        head.refusal();
    }
    let Ok(record) = serde_json::from_slice::<Record>(data) else { return false };
    let configs =
        record.configs.values().filter(|value| serde_json::from_value::<Config>((*value).clone()).is_ok());
    let sockets = record
        .sockets
        .iter()
        .filter(|value| serde_json::from_value::<SocketRecord>((*value).clone()).is_ok());
    let good = configs.count() == record.configs.len() && sockets.count() == record.sockets.len();
    serde_json::to_vec(&record).expect("what was read can be written");
    good
}

/// Reads a message; what is read is written and read again as the same.
fn read<T: Serialize + DeserializeOwned + PartialEq + Debug>(data: &[u8]) -> bool {
    let Ok(message) = serde_json::from_slice::<T>(data) else { return false };
    assert_eq!(again(&message), message);
    true
}

fn again<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let bytes = serde_json::to_vec(value).expect("what was read can be written");
    serde_json::from_slice(&bytes).expect("what was written can be read")
}

/// A datagram of a program's notifications (sd_notify(3)); whether anything in it means something.
pub fn notify(data: &[u8]) -> bool {
    let said = masterd::worker::keeper::messages::parse(data);
    assert!(said.len() <= data.len() / 2, "no more words than bytes");
    !said.is_empty()
}
