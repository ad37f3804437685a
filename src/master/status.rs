//! The status document: fleet, scoreboard and sockets put together for people and programs.
//!
//! Read-only: it asks, clamps and formats. The CLI, `--watch` and the `status` route all get this.

use super::crew::{Crew, Handle};
use super::notes::rfc3339;
use super::sockets::Sockets;
use crate::config::{Address, Config, Listen, Service};
use crate::model::fleet::{Fleet, Hold, Service as ServiceFacts, Worker as WorkerFacts};
use crate::model::{Moment, Phase, ServiceName, WorkerId};
use crate::scoreboard::totals::{Tally, Totals};
use crate::scoreboard::view::{Figures, OpenConnection};
use crate::sys::process;
use crate::wire::status as doc;
use std::collections::BTreeMap;
use std::path::Path;

/// What a document is made from.
pub struct Sources<'a> {
    pub fleet: &'a Fleet,
    pub crew: &'a mut Crew,
    pub sockets: &'a Sockets,
    pub totals: &'a Totals,
    pub config: &'a Config,
    pub pid: i32,
    pub started_wall: u64,
    pub image_version: &'a str,
    pub image_since: u64,
    pub binary: &'a Path,
    pub dropped: u64,
    pub now: Moment,
    pub now_wall: u64,
}

impl Sources<'_> {
    /// The wall-clock time of a monotonic moment.
    fn wall(&self, at: Moment) -> String {
        let ago = u64::try_from(self.now.since(at).as_nanos()).unwrap_or(u64::MAX);
        rfc3339(self.now_wall.saturating_sub(ago))
    }
}

/// The whole document, or one service of it.
pub fn document(s: &mut Sources<'_>, only: Option<&ServiceName>, connections: bool) -> doc::Status {
    let figures: BTreeMap<WorkerId, Figures> =
        s.crew.handles.iter_mut().map(|(id, h)| (*id, h.view.figures())).collect();
    let wanted = |name: &&ServiceName| only.is_none_or(|o| o == *name);
    let names: Vec<&ServiceName> = s.fleet.services.keys().filter(wanted).collect();
    let services = names.into_iter().filter_map(|name| service(s, &figures, name, connections)).collect();
    doc::Status {
        version: s.image_version.to_owned(),
        version_since: rfc3339(s.image_since),
        binary: s.binary.display().to_string(),
        pid: s.pid,
        generation: s.fleet.serving.0,
        state: s.fleet.state_word().to_owned(),
        started: rfc3339(s.started_wall),
        config: s.config.path.display().to_string(),
        last_reload: s.fleet.last_reload.as_ref().map(|r| doc::LastReload {
            at: s.wall(r.at),
            ok: r.error.is_none(),
            generation: r.generation.0,
            error: r.error.clone(),
        }),
        last_upgrade: s.fleet.last_upgrade.as_ref().map(|u| doc::LastUpgrade {
            at: s.wall(u.at),
            ok: u.error.is_none(),
            version: u.version.clone(),
            error: u.error.clone(),
        }),
        log_lines_dropped: s.dropped,
        services,
    }
}

fn service(
    s: &Sources<'_>,
    figures: &BTreeMap<WorkerId, Figures>,
    name: &ServiceName,
    connections: bool,
) -> Option<doc::Service> {
    let facts = s.fleet.services.get(name)?;
    let config = s.config.services.iter().find(|c| c.name == name.0);
    let mut tally = s.totals.of(&name.0);
    s.fleet.workers_of(name).filter_map(|(id, _)| figures.get(&id)).for_each(|f| tally.add(f));
    let workers =
        s.fleet.workers_of(name).map(|(id, w)| worker(s, id, w, figures.get(&id), connections)).collect();
    Some(doc::Service {
        name: name.0.clone(),
        kind: config.map_or("http", |c| c.kind.word()).to_owned(),
        workers_wanted: if facts.hold == Hold::No { facts.wanted } else { 0 },
        workers_ready: s.fleet.ready_count(name),
        scaled: facts.scaled,
        why: why(s, name, facts),
        listeners: config.map(|c| listeners(s, figures, c)).unwrap_or_default(),
        totals: totals(&tally),
        workers,
    })
}

fn listeners(s: &Sources<'_>, figures: &BTreeMap<WorkerId, Figures>, config: &Service) -> Vec<doc::Listener> {
    let with_active = |listen: &Listen| {
        let active = config.kind.exec().map(|_| open_at(listeners_of(s, figures, config, &listen.address)));
        doc::Listener { active, ..listener(s, listen) }
    };
    config.listen.iter().map(with_active).collect()
}

/// What the keepers of a service count at one address, each by the place that its own config gives it.
fn listeners_of<'a>(
    s: &'a Sources<'_>,
    figures: &'a BTreeMap<WorkerId, Figures>,
    config: &'a Service,
    address: &'a Address,
) -> impl Iterator<Item = (u64, bool)> + 'a {
    let keepers = s.crew.handles.iter().filter(|(_, h)| h.service.0 == config.name && h.is_keeper());
    keepers.filter_map(move |(id, handle)| {
        let place = handle.service()?.listen.iter().position(|l| l.address == *address)?;
        let figures = figures.get(id)?;
        Some((*figures.by_listener.get(place)?, figures.unseen))
    })
}

/// Open connections at an address: each worker's own, or all of them as the one says that sees most, if
/// any can't tell its own.
fn open_at(counts: impl Iterator<Item = (u64, bool)>) -> u64 {
    let (sum, most, unseen) = counts.fold((0u64, 0, false), |(sum, most, any), (count, unseen)| {
        (sum.saturating_add(count), count.max(most), any || unseen)
    });
    if unseen { most } else { sum }
}

fn listener(s: &Sources<'_>, listen: &Listen) -> doc::Listener {
    let queue = s.sockets.queue_of(&listen.address);
    let bound = s.sockets.bound(&listen.address);
    let address = bound.map(|at| match &listen.address {
        Address::Udp(_) => Address::Udp(at).to_string(),
        _ => at.to_string(),
    });
    doc::Listener {
        name: listen.name.clone(),
        address: address.unwrap_or_else(|| listen.address.to_string()),
        queue: queue.waiting,
        queue_limit: queue.limit,
        active: None,
        why: s.sockets.loss(&listen.address).filter(|_| !s.fleet.is_stopping()).map(str::to_owned),
    }
}

fn totals(t: &Tally) -> doc::Totals {
    doc::Totals {
        accepted: t.accepted,
        requests: t.requests,
        bytes_in: t.bytes_in,
        bytes_out: t.bytes_out,
        errors: t.errors,
        migrated: t.migrated,
        cut: t.cut,
        deaths: t.deaths,
        access_log_lines_dropped: t.unlogged,
    }
}

/// What a service waits for, in a sentence.
fn why(s: &Sources<'_>, name: &ServiceName, facts: &ServiceFacts) -> Option<String> {
    let last = facts.last_death.as_ref().map(|d| format!(" ({d})")).unwrap_or_default();
    if facts.removed {
        return Some("removed from the config; its last workers drain".to_owned());
    }
    match facts.hold {
        _ if s.fleet.is_stopping() => return None,
        Hold::Delayed(at) => return Some(format!("draining, accepts for {:.1?} more", at.since(s.now))),
        Hold::Held => return Some(format!("drained; masterd resume {name} brings workers back")),
        Hold::No => {}
    }
    if facts.backoff.given_up {
        let n = facts.backoff.early_deaths;
        return Some(format!("given up after {n} early deaths in a row{last}"));
    }
    if let Some(at) = facts.backoff.retry_at {
        return Some(format!("throttled until {}{last}", s.wall_ahead(at)));
    }
    let starting: Vec<String> = s
        .fleet
        .workers_of(name)
        .filter(|(_, w)| w.phase == Phase::Starting)
        .map(|(_, w)| format!("{name}/{} gen {}", w.seat, w.generation))
        .collect();
    let short = s.fleet.ready_count(name) < facts.wanted;
    let waits = (short && !starting.is_empty())
        .then(|| format!("waits for {} to be ready{last}", starting.join(", ")));
    waits.or_else(|| facts.hurry.as_ref().map(|hurry| hurry.why.clone()))
}

impl Sources<'_> {
    fn wall_ahead(&self, at: Moment) -> String {
        let ahead = u64::try_from(at.since(self.now).as_nanos()).unwrap_or(0);
        rfc3339(self.now_wall.saturating_add(ahead))
    }
}

fn worker(
    s: &Sources<'_>,
    id: WorkerId,
    facts: &WorkerFacts,
    figures: Option<&Figures>,
    connections: bool,
) -> doc::Worker {
    let f = figures.copied().unwrap_or_default();
    let handle = s.crew.handles.get(&id);
    let forked = facts.pid.unwrap_or(0);
    let keeper = handle.filter(|h| h.is_keeper());
    let memory = match (f.memory, keeper) {
        (0, None) => process::resident(forked).filter(|_| forked > 0),
        (0, Some(_)) => None,
        (said, _) => Some(said),
    };
    let lasts = f.has_long_lived() || facts.pulse.long_lived;
    doc::Worker {
        seat: facts.seat.0,
        pid: keeper.map_or(forked, |h| h.program.unwrap_or(0)),
        keeper: keeper.map(|_| forked),
        generation: facts.generation.0,
        state: facts.phase.word().to_owned(),
        started: s.wall(facts.spawned),
        active: active(&f),
        idle: f.idle,
        in_flight: f.in_flight,
        accepted: f.accepted,
        requests: f.requests,
        bytes_in: f.bytes_in,
        bytes_out: f.bytes_out,
        errors: f.errors,
        migrated_in: f.migrated_in,
        migrated_out: f.migrated_out,
        drain: facts.drain.map(|d| doc::Drain {
            remaining: active(&f).total(),
            oldest: handle.and_then(|h| h.view.oldest()).map_or(0.0, |at| s.now.since(at).as_secs_f64()),
            deadline: d.cut_at(lasts).since(s.now).as_secs_f64(),
        }),
        rescues: rescues(s, id),
        why: handle.and_then(|h| trouble(s, facts, h)),
        memory,
        connections: handle
            .filter(|_| connections)
            .map(|h| h.view.connections().iter().map(|c| connection(s, c)).collect()),
    }
}

fn active(f: &Figures) -> doc::Active {
    if f.unseen {
        // Nobody knows: they are counted at the listener.
        return doc::Active::default();
    }
    let [http, websocket, grpc, sse, tcp] = f.active;
    doc::Active { http, websocket, grpc, sse, tcp }
}

fn rescues(s: &Sources<'_>, id: WorkerId) -> Vec<u32> {
    let troubles = s.fleet.services.values().flat_map(|v| &v.trouble);
    troubles.filter(|(_, t)| t.rescuer == Some(id)).map(|(seat, _)| seat.0).collect()
}

fn trouble(s: &Sources<'_>, facts: &WorkerFacts, handle: &Handle) -> Option<String> {
    let still = facts.pulse.changed.map(|at| s.now.since(at)).unwrap_or_default();
    if facts.phase == Phase::Ready && still.as_millis() > 1200 {
        return Some(format!("its loop has stood still for {still:.1?}"));
    }
    let beat = handle.view.beat();
    if let Some(why) = facts.tired.as_ref().filter(|_| facts.phase == Phase::Ready) {
        return Some(format!("is being replaced: {why}"));
    }
    match (beat.no_descriptors, beat.full) {
        (true, _) => Some("out of file descriptors: does not accept for the moment".to_owned()),
        (_, true) => Some("at its connection limit: does not accept".to_owned()),
        _ => facts.failed.clone().or_else(|| handle.says.clone()),
    }
}

fn connection(s: &Sources<'_>, c: &OpenConnection) -> doc::Connection {
    doc::Connection {
        peer: c.peer.map_or_else(|| "unix".to_owned(), |p| p.to_string()),
        class: c.class.word().to_owned(),
        age: s.now.since(c.since).as_secs_f64(),
        state: c.doing.to_owned(),
        requests: c.requests,
    }
}

#[cfg(test)]
mod tests {
    use super::open_at;

    #[test]
    fn connections_of_a_listener_are_summed_unless_a_worker_sees_those_of_all() {
        assert_eq!(open_at([].into_iter()), 0);
        assert_eq!(open_at([(3, false), (4, false)].into_iter()), 7);
        assert_eq!(open_at([(7, true), (6, true)].into_iter()), 7);
        assert_eq!(open_at([(2, false), (9, true)].into_iter()), 9, "one that can't tell spoils the sum");
        assert_eq!(open_at([(u64::MAX, false), (1, false)].into_iter()), u64::MAX);
    }
}
