//! What has been tried for one request, and what may be tried next.
//!
//! `Proxy` makes one for each request and asks it whenever an attempt has failed. Never: sends anything.

use crate::worker::upstream::Index;
use hyper::Method;

/// What has been tried for one request, and what may still be.
pub struct Course {
    /// Servers that are not asked again.
    pub tried: Vec<Index>,
    retries: u32,
    /// Only connections made for this request.
    pub fresh: bool,
    /// A server that would not look at the request on one connection has been given another.
    renewed: bool,
}

impl Course {
    pub fn new(retries: u32) -> Course {
        Course { tried: Vec::new(), retries, fresh: false, renewed: false }
    }

    /// Crosses out a server that has seen nothing of the request; true if there is another one.
    pub fn passes(&mut self, server: Index, servers: usize) -> bool {
        self.tried.push(server);
        self.fresh = false;
        self.tried.len() < servers
    }

    /// A server would not look at the request: true if another connection, or another server, may do so.
    pub fn turns_away(&mut self, server: Index, used: bool, servers: usize) -> bool {
        if used || !std::mem::replace(&mut self.renewed, true) {
            self.fresh = true;
            return true;
        }
        self.passes(server, servers)
    }

    /// Crosses a server out; true if another one may be tried.
    pub fn goes_on(&mut self, server: Index, servers: usize) -> bool {
        self.tried.push(server);
        self.fresh = false;
        let more = self.retries > 0 && self.tried.len() < servers;
        self.retries = self.retries.saturating_sub(1);
        more
    }
}

/// Methods whose second delivery does no harm (RFC 9110, 9.2.2).
pub fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE].contains(method)
}
