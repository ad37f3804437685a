//! The servers behind a proxy: which one is next, which one is passed over, and a connection to it.
//!
//! A `Group` is made from the config by whoever proxies (HTTP routes, TCP services), one per worker: health is
//! what this worker has seen itself. Callers `pick` a server, `connect`, and tell how it went with
//! `succeeded` or `failed`. Health is passive: nothing is sent to a server that no client asked for.
//! Never: speaks a protocol (but the PROXY header a server is to be sent), waits beyond the connect timeout.

mod place;

use super::engine::Handle;
use super::engine::helpers::Helpers;
use super::engine::io::Io;
use super::engine::timers::Delay;
use super::engine::wires::Wire;
use super::proxy_protocol::{self, Version};
use super::who::Ends;
use crate::config;
use crate::model::Moment;
use crate::sys::connect::is_our_own_lack;
use crate::sys::listen::local_address;
use crate::sys::net::Peer;
use place::Place;
use slog::{Logger, info, warn};
use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// While every server is passed over, each is still tried this often, so that the first to come back is seen soon.
const PROBE: Duration = Duration::from_secs(1);

/// Lines about failures written per second at most.
const COMPLAINTS: u32 = 10;

/// A server's place in its group.
pub type Index = usize;

/// Some servers that do the same.
pub struct Group {
    servers: Vec<Server>,
    next: Cell<Index>,
    connect_timeout: Duration,
    max_failures: u32,
    retry_after: Duration,
    proxy_protocol: Option<config::ProxyProtocol>,
    engine: Rc<Handle>,
    log: Logger,
    /// Since when complaints are counted, those written and those withheld.
    complaints: Cell<(Moment, u32, u32)>,
}

struct Server {
    place: Place,
    /// In a row.
    failures: Cell<u32>,
    /// Passed over until then.
    out_until: Cell<Option<Moment>>,
    tried: Cell<Moment>,
}

/// For whom a connection is made.
#[derive(Debug)]
pub struct Client<'a> {
    pub ends: Ends,
    pub io: &'a Io,
}

/// Why no connection came about.
#[derive(Debug)]
pub enum NoConnection {
    /// Nothing was decided within the connect timeout.
    Late(Duration),
    Failed(std::io::Error),
}

impl fmt::Display for NoConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoConnection::Late(limit) => write!(f, "no connection within {limit:?}"),
            NoConnection::Failed(e) => write!(f, "{e}"),
        }
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.servers.iter().map(|server| server.place.name())).finish()
    }
}

impl Group {
    pub fn new(
        config: &config::Upstreams,
        engine: &Rc<Handle>,
        helpers: &Rc<Helpers>,
        log: &Logger,
    ) -> Group {
        let long_ago = Moment(0);
        let server = |server: &config::Server| Server {
            place: Place::new(server, engine, helpers, log),
            failures: Cell::new(0),
            out_until: Cell::new(None),
            tried: Cell::new(long_ago),
        };
        Group {
            servers: config.servers.iter().map(server).collect(),
            next: Cell::new(0),
            connect_timeout: config.connect_timeout,
            max_failures: config.max_failures,
            retry_after: config.retry_after,
            proxy_protocol: config.proxy_protocol,
            engine: engine.clone(),
            log: log.clone(),
            complaints: Cell::new((long_ago, 0, 0)),
        }
    }

    pub fn len(&self) -> usize {
        self.servers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// The server's address as it is written in the config.
    pub fn name(&self, server: Index) -> &str {
        self.servers[server].place.name()
    }

    /// The next server in turn that is not in `tried`; `None` if all are, or are passed over for now.
    pub fn pick(&self, tried: &[Index]) -> Option<Index> {
        let now = self.engine.now();
        let count = self.servers.len();
        let order = || (0..count).map(|step| (self.next.get() + step) % count);
        let fresh = |index: &Index| !tried.contains(index);
        let chosen = order().filter(fresh).find(|index| self.servers[*index].is_in(now)).or_else(|| {
            let all_out = self.servers.iter().all(|server| !server.is_in(now));
            order().filter(fresh).find(|index| all_out && self.servers[*index].may_be_probed(now))
        })?;
        self.next.set((chosen + 1) % count);
        self.servers[chosen].tried.set(now);
        Some(chosen)
    }

    /// A connection to a server, for this client. A failure counts against it, unless something is lacking here.
    pub async fn connect(&self, server: Index, client: &Client<'_>) -> Result<Wire, NoConnection> {
        let mut limit = pin!(Delay::new(&self.engine, self.connect_timeout));
        let mut connecting = pin!(async {
            let wire = self.servers[server].place.connect().await?;
            self.introduce(&wire, client).await.map(|()| wire)
        });
        let end = poll_fn(|cx| {
            if let Poll::Ready(end) = connecting.as_mut().poll(cx) {
                return Poll::Ready(end.map_err(NoConnection::Failed));
            }
            limit.as_mut().poll(cx).map(|()| Err(NoConnection::Late(self.connect_timeout)))
        })
        .await;
        match &end {
            Err(NoConnection::Failed(e)) if is_our_own_lack(e) => {}
            Err(why) => self.failed(server, why),
            Ok(_) => {}
        }
        end
    }

    /// Says whose connection it is, if the servers are to hear that.
    async fn introduce(&self, wire: &Wire, client: &Client<'_>) -> std::io::Result<()> {
        let version = match self.proxy_protocol {
            None => return Ok(()),
            Some(config::ProxyProtocol::V1) => Version::V1,
            Some(config::ProxyProtocol::V2) => Version::V2,
        };
        let own = || local_address(client.io.as_fd()).ok();
        let destination = client.ends.destination.or_else(own).map_or(Peer::Unix, Peer::Tcp);
        let mut header = Vec::new();
        proxy_protocol::write(version, client.ends.peer, destination, &mut header);
        let mut sent = 0;
        while sent < header.len() {
            sent += poll_fn(|cx| wire.write(cx, &header[sent..])).await?;
        }
        Ok(())
    }

    /// The server has answered.
    pub fn succeeded(&self, server: Index) {
        let server = &self.servers[server];
        if server.failures.replace(0) > 0 && server.out_until.take().is_some() {
            info!(self.log, "upstream {} answers again", server.place.name());
        }
    }

    /// The server has not done what it is there for.
    pub fn failed(&self, server: Index, why: &dyn fmt::Display) {
        let server = &self.servers[server];
        let failures = server.failures.get().saturating_add(1);
        server.failures.set(failures);
        if self.max_failures == 0 || failures < self.max_failures {
            return;
        }
        let was_in = server.out_until.replace(Some(self.engine.now() + self.retry_after)).is_none();
        if was_in {
            warn!(
                self.log,
                "upstream {} has failed {failures} times in a row (last: {why}); it is passed over for {:?} \
                at a time until it answers again",
                server.place.name(),
                self.retry_after
            );
        }
    }
}

impl Group {
    /// Writes what a server did, some lines a second at most.
    pub fn complain(&self, server: Index, why: &dyn fmt::Display) {
        let now = self.engine.now();
        let (since, written, withheld) = self.complaints.get();
        if now.since(since) >= Duration::from_secs(1) {
            if withheld > 0 {
                warn!(self.log, "{withheld} more failures of upstreams in that second");
            }
            self.complaints.set((now, 1, 0));
        } else if written < COMPLAINTS {
            self.complaints.set((since, written + 1, withheld));
        } else {
            return self.complaints.set((since, written, withheld + 1));
        }
        warn!(self.log, "upstream {}: {why}", self.name(server));
    }
}

impl Server {
    fn is_in(&self, now: Moment) -> bool {
        self.out_until.get().is_none_or(|until| now >= until)
    }

    fn may_be_probed(&self, now: Moment) -> bool {
        now.since(self.tried.get()) >= PROBE
    }
}
