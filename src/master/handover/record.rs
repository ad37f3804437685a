//! What one image leaves to the next, as a document. The shape is a contract between versions.
//!
//! A later version may add keys (with a default in its own reader), never change what one means; it
//! raises `readable_from` when an older reader would go wrong by leaving its new keys out. Unknown
//! keys are tolerated. Descriptors are not in here: they are named in `fds`, each by what it is, and a
//! name is known only to `inventory`. A recorded document of every released version is read by a test.

use crate::config::Address;
use crate::image;
use crate::master::clients::ClientRecord;
use crate::master::sockets::Key;
use crate::model::fleet::Fleet;
use crate::model::{PlanId, ServiceName, TicketSecret, WorkerId};
use crate::scoreboard::totals::Tally;
use crate::scoreboard::view::Figures;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The part that every version can read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Head {
    /// Version of the handover this was written in.
    pub version: u32,
    /// Readers from this version on understand it.
    pub readable_from: u32,
    /// Version of the masterd that wrote it.
    pub masterd: String,
}

impl Head {
    pub fn ours() -> Head {
        let (version, readable_from) = image::handover();
        Head { version, readable_from, masterd: image::version() }
    }

    /// Why what this image writes and what that one wrote can't both be read by the other.
    pub fn refusal(&self) -> Option<String> {
        let ours = Head::ours();
        let (theirs, here) = (&self.masterd, &ours.masterd);
        if self.version < image::READS_FROM || self.readable_from > ours.version {
            return Some(format!(
                "masterd {here} can't read the state of masterd {theirs}: that is of handover version {} \
                 (readable from {} on), and here {} to {} are read",
                self.version,
                self.readable_from,
                image::READS_FROM,
                ours.version
            ));
        }
        (ours.readable_from > self.version).then(|| {
            format!(
                "masterd {theirs} could not read the state of masterd {here} if it had to take over again: it \
                 reads handover version {}, and {here} writes what is readable from {} on",
                self.version, ours.readable_from
            )
        })
    }
}

/// The whole state of a master.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    #[serde(flatten)]
    pub head: Head,
    /// Descriptors by name; closed ones may be among them.
    pub fds: BTreeMap<String, i32>,
    pub fleet: Fleet,
    /// Each as its own image wrote it: what a newer one has read may mean nothing to an older one, which
    /// needs no more than the config in force.
    pub configs: BTreeMap<PlanId, Value>,
    pub config_path: PathBuf,
    pub last_plan: PlanId,
    /// Where the next binary is looked for.
    pub binary: PathBuf,
    /// The soft limit of descriptors that masterd was started with.
    #[serde(default)]
    pub nofile: Option<u64>,
    /// Whether no strangers can be among its children; an image that does not say so does not know.
    #[serde(default)]
    pub alone: bool,
    /// CLOCK_REALTIME nanoseconds at which masterd was started.
    pub started_wall: u64,
    /// The version of the image in force, and since when it serves.
    pub image_version: String,
    pub image_since: u64,
    pub pid_file: Option<PathBuf>,
    pub socket_lock: PathBuf,
    pub control: ControlRecord,
    /// `SocketRecord`s; one of a kind that is not known is left out, for the same reason.
    pub sockets: Vec<Value>,
    /// Addresses whose group has a steering program.
    pub steered: BTreeSet<Address>,
    pub rites: u64,
    pub last_rites: BTreeMap<u64, (WorkerId, Vec<Key>)>,
    pub crew: Vec<HandleRecord>,
    /// What the dead have left, for an image that can't read the pages of this one.
    pub totals: BTreeMap<String, Tally>,
    pub log: LogRecord,
    /// Without it clients begin their TLS sessions anew, and nothing worse.
    #[serde(default)]
    pub tickets: Option<TicketSecret>,
}

/// Lines that could not be written yet, and how many were given up.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LogRecord {
    pub waiting: Vec<String>,
    pub dropped: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ControlRecord {
    pub path: PathBuf,
    /// Device and inode of the socket's file.
    pub file: (u64, u64),
    /// The number of the last client.
    pub last: u64,
    pub clients: Vec<ClientRecord>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SocketRecord {
    pub key: Key,
    pub service: ServiceName,
    /// A `config::Listen`; one that can't be read is left out, and the socket is claimed all the same.
    #[serde(default)]
    pub listen: Option<Value>,
    pub per_worker: bool,
    pub file: Option<(u64, u64)>,
    pub named: bool,
    pub candidate: Option<PlanId>,
    pub served: bool,
    pub users: BTreeSet<WorkerId>,
    pub anew: Option<(PlanId, (u64, u64))>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HandleRecord {
    pub worker: WorkerId,
    pub pid: i32,
    pub service: ServiceName,
    pub plan: PlanId,
    pub deaf: bool,
    pub nonsense: u64,
    /// The figures seen last: counters never run backwards.
    pub figures: Figures,
    /// Orders it has not read yet, each with the number of descriptors that go with it.
    pub unsent: Vec<(String, usize)>,
    /// What a keeper has said of its program.
    #[serde(default)]
    pub program: Option<i32>,
    #[serde(default)]
    pub says: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(version: u32, readable_from: u32) -> Head {
        Head { version, readable_from, masterd: "9.9.9".to_owned() }
    }

    /// Written by 0.1.0 on trial, in the middle of a rollout in steps, with two clients waiting.
    const RECORDED: &str = include_str!("../../../tests/fixtures/handover-1.json");

    fn read(document: &Value) -> Record {
        Record::deserialize(document).expect("it is read")
    }

    #[test]
    fn a_state_recorded_by_an_earlier_version_is_read() {
        let document: Value = serde_json::from_str(RECORDED).unwrap();
        let head = Head::deserialize(&document).unwrap();
        assert_eq!((head.version, head.refusal()), (1, None));
        let record = read(&document);
        assert_eq!(record.fleet.workers.len(), 5);
        assert_eq!(record.crew.iter().map(|h| h.worker.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert!(record.fleet.services.values().any(|s| s.scaled && s.wanted == 3));
        let kinds: Vec<Key> =
            record.sockets.iter().map(|s| SocketRecord::deserialize(s).expect("a socket").key).collect();
        assert_eq!(kinds.len(), 6, "{kinds:?}");
        for key in kinds {
            let name = crate::master::handover::inventory::listener(&key);
            assert!(record.fds.contains_key(&name), "{name} has no descriptor");
        }
        for config in record.configs.values() {
            crate::config::Config::deserialize(config).expect("a config");
        }
        assert_eq!(record.control.clients.len(), 2);
        assert_eq!(record.tickets, None, "it knew no tickets");
        assert!(record.crew.iter().any(|h| h.figures.accepted == 1), "somebody had been served");
    }

    #[test]
    fn the_secret_of_tickets_crosses_and_is_not_shown() {
        let secret = TicketSecret::new([0xa7; 32], crate::model::Moment(1));
        let mut record = read(&serde_json::from_str(RECORDED).unwrap());
        record.tickets = Some(secret.clone());
        let crossed = read(&serde_json::to_value(&record).unwrap());
        assert_eq!(crossed.tickets, Some(secret));
        assert!(!format!("{:?}", crossed.tickets).contains("167"));
    }

    #[test]
    fn a_drain_recorded_before_some_things_lasted_longer_has_one_deadline() {
        let mut document: Value = serde_json::from_str(RECORDED).unwrap();
        let worker = document.pointer_mut("/fleet/workers/1").and_then(Value::as_object_mut).unwrap();
        worker.insert("drain".to_owned(), serde_json::json!({ "since": 1, "until": 9, "why": "Replaced" }));
        let fleet = read(&document).fleet;
        let plans = fleet.plans.values().flat_map(|plan| &plan.services);
        assert!(plans.into_iter().all(|plan| plan.long_lived_grace() == plan.grace));
        let drain = fleet.workers[&WorkerId(1)].drain.unwrap();
        assert_eq!((drain.until.0, drain.end().0), (9, 9));
        assert!(fleet.workers.values().all(|w| !w.pulse.long_lived));
    }

    #[test]
    fn what_a_later_version_adds_is_left_out_without_harm() {
        let mut document: Value = serde_json::from_str(RECORDED).unwrap();
        let places = [
            "",
            "/fleet",
            "/fleet/services/web",
            "/fleet/workers/1",
            "/fleet/rollover",
            "/fleet/upgrade",
            "/control",
            "/control/clients/0",
            "/sockets/0",
            "/crew/0",
            "/crew/0/figures",
            "/log",
            "/configs/1",
            "/configs/1/master",
            "/configs/1/services/0",
        ];
        for place in places {
            let object = document.pointer_mut(place).and_then(Value::as_object_mut);
            let object = object.unwrap_or_else(|| panic!("there is no object at {place:?}"));
            object.insert("moon".to_owned(), serde_json::json!({ "phase": [1, 2] }));
        }
        let record = read(&document);
        assert_eq!(record.fleet.workers.len(), 5);
        for value in &record.sockets {
            SocketRecord::deserialize(value).expect("a socket");
        }
        for value in record.configs.values() {
            crate::config::Config::deserialize(value).expect("a config");
        }
    }

    #[test]
    fn versions_that_can_not_read_each_other_refuse_and_say_why() {
        let now = image::HANDOVER;
        assert_eq!(head(now, now).refusal(), None);
        assert_eq!(head(now + 3, now).refusal(), None, "a later one that only added keys");
        let newer = head(now + 3, now + 1).refusal().unwrap();
        assert!(newer.contains("can't read the state of masterd 9.9.9"), "{newer}");
        let older = head(0, 0).refusal().unwrap();
        assert!(older.contains("handover version 0"), "{older}");
    }
}
