//! Where a server is: an address, or a name that helper threads look up.
//!
//! A name's addresses are kept for half a minute; then they are looked up again beside whoever connects,
//! who goes on with the old ones, as long as there are any. A failed lookup keeps them, too, and is logged once.
//! Never: looks a name up on the loop's thread.

use crate::config;
use crate::model::Moment;
use crate::sys::connect::{Target, is_our_own_lack};
use crate::worker::engine::Handle;
use crate::worker::engine::connect::connect;
use crate::worker::engine::helpers::Helpers;
use crate::worker::engine::wires::Wire;
use slog::{Logger, warn};
use std::cell::{Cell, RefCell};
use std::io::{Error, Result};
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::time::Duration;

/// How long addresses are used before they are looked up again.
const FRESH: Duration = Duration::from_secs(30);

/// One server's place.
pub enum Place {
    Fixed { name: String, target: Target, engine: Rc<Handle> },
    Named(Rc<Named>),
}

/// A host name and a port.
pub struct Named {
    name: String,
    host: String,
    port: u16,
    addresses: RefCell<Vec<SocketAddr>>,
    next: Cell<usize>,
    looked_up: Cell<Option<Moment>>,
    looking: Cell<bool>,
    /// The last lookup failed, and that has been said.
    complained: Cell<bool>,
    engine: Rc<Handle>,
    helpers: Rc<Helpers>,
    log: Logger,
}

impl Place {
    pub fn new(server: &config::Server, engine: &Rc<Handle>, helpers: &Rc<Helpers>, log: &Logger) -> Place {
        let name = server.to_string();
        let target = match server {
            config::Server::Ip(address) => Target::Tcp(*address),
            config::Server::Unix(path) => Target::Unix(path.clone()),
            config::Server::Abstract(name) => Target::Abstract(name.clone()),
            config::Server::Name { host, port } => {
                return Place::Named(Rc::new(Named {
                    name,
                    host: host.clone(),
                    port: *port,
                    addresses: RefCell::default(),
                    next: Cell::new(0),
                    looked_up: Cell::new(None),
                    looking: Cell::new(false),
                    complained: Cell::new(false),
                    engine: engine.clone(),
                    helpers: helpers.clone(),
                    log: log.clone(),
                }));
            }
        };
        Place::Fixed { name, target, engine: engine.clone() }
    }

    /// As it is written in the config.
    pub fn name(&self) -> &str {
        match self {
            Place::Fixed { name, .. } => name,
            Place::Named(named) => &named.name,
        }
    }

    /// A connection to it; for a name, to the first of its addresses that takes one.
    pub async fn connect(&self) -> Result<Wire> {
        match self {
            Place::Fixed { target, engine, .. } => connect(engine, target).await,
            Place::Named(named) => named.connect().await,
        }
    }
}

impl Named {
    async fn connect(self: &Rc<Self>) -> Result<Wire> {
        let known = self.addresses.borrow().len();
        if known == 0 {
            self.look_up().await?;
        } else if self.is_stale() && !self.looking.replace(true) {
            let named = self.clone();
            self.engine.spawn(Box::pin(async move {
                // It has been logged, and the old addresses stay.
                let _ = named.look_up().await;
                named.looking.set(false);
            }));
        }
        let addresses = self.addresses.borrow().clone();
        let start = self.next.replace(self.next.get().wrapping_add(1));
        let mut last = Error::other(format!("{} has no address", self.host));
        for step in 0..addresses.len() {
            let address = addresses[(start.wrapping_add(step)) % addresses.len()];
            match connect(&self.engine, &Target::Tcp(address)).await {
                Ok(wire) => return Ok(wire),
                Err(e) if is_our_own_lack(&e) => return Err(e),
                Err(e) => last = Error::new(e.kind(), format!("{address}: {e}")),
            }
        }
        Err(last)
    }

    fn is_stale(&self) -> bool {
        self.looked_up.get().is_none_or(|at| self.engine.now().since(at) >= FRESH)
    }

    async fn look_up(&self) -> Result<()> {
        let (host, port) = (self.host.clone(), self.port);
        let job = move || {
            (host.as_str(), port).to_socket_addrs().map(|addresses| addresses.collect::<Vec<SocketAddr>>())
        };
        let found = match self.helpers.run(job).await {
            Ok(found) => found,
            Err(gone) => Err(Error::other(gone.to_string())),
        };
        let trouble = match found {
            Ok(addresses) if addresses.is_empty() => Error::other("no address"),
            Ok(addresses) => {
                self.looked_up.set(Some(self.engine.now()));
                self.complained.set(false);
                *self.addresses.borrow_mut() = addresses;
                return Ok(());
            }
            Err(e) => e,
        };
        if !self.complained.replace(true) {
            let kept = self.addresses.borrow().len();
            warn!(
                self.log,
                "the name {} can't be looked up: {trouble}; {kept} addresses known before are used",
                self.host
            );
        }
        // Asked again after a while, not at every connection.
        if !self.addresses.borrow().is_empty() {
            self.looked_up.set(Some(self.engine.now()));
        }
        Err(Error::new(trouble.kind(), format!("the name {} can't be looked up: {trouble}", self.host)))
    }
}
