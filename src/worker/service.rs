//! What the workers of a service do with a connection: serve HTTP on it, or pass its bytes on.
//!
//! Made once from the config, by `turn`. Never: holds a connection.

use super::http::Http;
use super::http::routes::Means;
use super::shared::Shared;
use super::tunnel::{Tube, Tunnel};
use super::upstream::Group;
use crate::config::{self, Kind, TcpAction};
use crate::model::{Class, Moment};
use std::rc::Rc;
use std::time::Duration;

/// A service, as one worker runs it.
#[derive(Clone, Debug)]
pub enum Service {
    Http(Rc<Http>),
    Tcp(Rc<Tcp>),
}

/// A TCP service.
#[derive(Debug)]
pub struct Tcp {
    pub idle_timeout: Duration,
    /// Where to; `None` sends everything back.
    group: Option<Rc<Group>>,
}

impl Service {
    /// Errors: what a route needs can't be had, in a sentence.
    pub fn new(kind: &Kind, means: &Means) -> Result<Service, String> {
        Ok(match kind {
            Kind::Http(http) => Service::Http(Rc::new(Http::new(http, means)?)),
            Kind::Tcp(tcp) => Service::Tcp(Rc::new(Tcp::new(tcp, means))),
            Kind::Exec(_) => return Err("its program has a keeper, and no built-in worker".to_owned()),
        })
    }

    /// The class of a connection of which nothing is known yet.
    pub fn class(&self) -> Class {
        match self {
            Service::Http(_) => Class::Http,
            Service::Tcp(_) => Class::Tcp,
        }
    }

    /// Descriptors that one connection may need: its own, and that of its upstream.
    pub fn descriptors(&self) -> usize {
        let passes_on = match self {
            Service::Http(http) => http.routes.proxies().next().is_some(),
            Service::Tcp(tcp) => tcp.group.is_some(),
        };
        if passes_on { 2 } else { 1 }
    }

    /// Gives up a descriptor that nobody needs at the moment; false if there is none.
    pub fn shed(&self) -> bool {
        match self {
            Service::Http(http) => http.routes.proxies().next().is_some_and(|proxy| proxy.pools.shed()),
            Service::Tcp(_) => false,
        }
    }

    /// What is due now and then.
    pub fn sweep(&self, now: Moment) {
        if let Service::Http(http) = self {
            http.sweep(now);
        }
    }
}

impl Tcp {
    fn new(config: &config::Tcp, means: &Means) -> Tcp {
        let group = match &config.action {
            TcpAction::Echo => None,
            TcpAction::Proxy(upstreams) => {
                Some(Rc::new(Group::new(upstreams, &means.engine, &means.helpers, &means.log)))
            }
        };
        Tcp { idle_timeout: config.idle_timeout, group }
    }

    /// The future of a connection.
    pub fn tunnel(&self, tube: &Rc<Tube>, shared: &Rc<Shared>) -> Tunnel {
        match &self.group {
            Some(group) => Tunnel::to(tube, shared, group),
            None => Tunnel::echo(tube, shared),
        }
    }
}
