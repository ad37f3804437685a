//! Connections to upstreams that wait for their next request.
//!
//! The last one put back is the first one taken: it is the likeliest to be open still. What a server has closed
//! meanwhile is found when it is taken, or by `sweep`, whichever comes first. When descriptors run out, `Pools` gives
//! up the one that has waited longest.

use super::Proxy;
use super::lane::Lane;
use super::link::Link;
use crate::model::Moment;
use crate::worker::upstream::Index;
use std::cell::RefCell;
use std::rc::{Rc, Weak};

/// The idle connections of all proxies of a worker: what it can do without when descriptors run out.
#[derive(Debug, Default)]
pub struct Pools(RefCell<Vec<Weak<Proxy>>>);

impl Pools {
    /// One more proxy that keeps some.
    pub fn add(&self, proxy: &Rc<Proxy>) {
        self.0.borrow_mut().push(Rc::downgrade(proxy));
    }

    /// Closes the one that has been idle for longest; false if there is none.
    pub fn shed(&self) -> bool {
        let proxies: Vec<Rc<Proxy>> = self.0.borrow().iter().filter_map(Weak::upgrade).collect();
        let oldest = proxies.iter().filter_map(|proxy| Some((proxy.oldest()?, proxy)));
        let Some(((_, server), proxy)) = oldest.min_by_key(|((since, _), _)| *since) else { return false };
        // Taken out first: what its end wakes may look at the pool.
        let link = proxy.idle.borrow_mut()[server].remove(0);
        drop(link);
        true
    }
}

impl Proxy {
    /// Since when its oldest idle connection has been so, and to which server that is.
    fn oldest(&self) -> Option<(Moment, Index)> {
        let idle = self.idle.borrow();
        let first = |(server, kept): (Index, &Vec<Box<Link>>)| Some((kept.first()?.idle_since, server));
        idle.iter().enumerate().filter_map(first).min()
    }

    /// Keeps a connection whose answer has ended, if its request has, too, and there is room.
    pub(super) fn keep(&self, mut link: Box<Link>) {
        let kept = &mut self.idle.borrow_mut()[link.server];
        // That it is free shows when the answer's end is read, nearly always; it is looked at when it is taken, too.
        if kept.len() < self.keep && (link.is_free() || link.is_fresh()) {
            (link.used, link.idle_since) = (true, self.engine.now());
            kept.push(link);
        }
    }

    /// A connection that is fit for another request.
    pub(super) fn take_idle(&self, server: Index) -> Option<Box<Link>> {
        if let Some(lane) = &mut self.lanes.borrow_mut()[server]
            && lane.is_open()
        {
            lane.used_at = self.engine.now();
            return Some(Link::shared(server, lane.clone(), self.silence()));
        }
        let kept = &mut self.idle.borrow_mut()[server];
        while let Some(mut link) = kept.pop() {
            if link.is_fresh() {
                return Some(link);
            }
        }
        None
    }

    /// Closes what has been idle for too long, and what the servers have closed.
    pub fn sweep(&self, now: Moment) {
        for kept in self.idle.borrow_mut().iter_mut() {
            kept.retain_mut(|link| now.since(link.idle_since) < self.keep_timeout && link.is_fresh());
        }
        for lane in self.lanes.borrow_mut().iter_mut() {
            // Requests under way hold it open.
            let kept = |lane: &Lane| lane.is_open() && now.since(lane.used_at) < self.keep_timeout;
            if !lane.as_ref().is_none_or(kept) {
                *lane = None;
            }
        }
    }
}
