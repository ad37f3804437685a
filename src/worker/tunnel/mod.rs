//! Connections whose bytes are none of our business: TCP services, and WebSockets behind their 101.
//!
//! A `Tunnel` is the future of one connection; its `Tube` is what the loop sees of it (events, sweep, drain). It ends when both
//! directions have ended, when one side breaks (then the other is reset, once it has heard what there was to hear), or
//! when it has been told to say goodbye and has done so. Never: closes the client's socket.

pub mod frames;
pub mod half;

use super::access_log::{Entry, Upstream, What};
use super::engine::wires::Wire;
use super::http::proxy::Switch;
use super::near::{Kept, Near};
use super::shared::Shared;
use super::upstream::{Client, Group, Index};
use super::who::{Ends, Who};
use crate::model::{Class, Moment};
use crate::scoreboard::layout::{BYTES_IN, BYTES_OUT, ERRORS};
use crate::sys::net;
use bytes::Bytes;
use half::Half;
use slog::debug;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// A connection on which nothing has moved for so long is between two things.
const STILL: Duration = Duration::from_secs(1);

/// What the loop sees of a tunnel.
#[derive(Debug)]
pub struct Tube {
    pub io: Near,
    pub class: Class,
    pub ends: Ends,
    /// When bytes last moved, in either direction.
    pub moved: Cell<Moment>,
    pub idle_timeout: Duration,
    /// Since when it is to end as soon as it can do so in good order.
    pub leaving: Cell<Option<Moment>>,
    /// The upstream's address, once there is one, and how long it took to get there.
    upstream: RefCell<String>,
    connected: Cell<Duration>,
    since: Moment,
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
}

/// How a tunnel ended.
#[derive(Debug)]
pub enum Ended {
    /// Both sides have ended: a plain close loses nothing.
    Over,
    /// The last word is ours: wait for the client's FIN.
    Linger,
    /// One side broke.
    Broken,
}

type Connecting = Pin<Box<dyn Future<Output = Option<(Wire, Index)>>>>;

enum Far {
    /// Everything comes back.
    Echo,
    Connecting(Connecting, Rc<Group>),
    Open(Wire),
}

pub struct Tunnel {
    tube: Rc<Tube>,
    far: Far,
    up: Half,
    down: Half,
    /// The upstream takes nothing more, and has not been given all.
    spoilt: bool,
    shared: Rc<Shared>,
}

impl Tube {
    pub fn new(io: Near, class: Class, ends: Ends, idle_timeout: Duration, now: Moment) -> Rc<Tube> {
        Rc::new(Tube {
            io,
            class,
            ends,
            moved: Cell::new(now),
            idle_timeout,
            leaving: Cell::new(None),
            upstream: RefCell::default(),
            connected: Cell::default(),
            since: now,
            bytes_in: Cell::default(),
            bytes_out: Cell::default(),
        })
    }

    /// It has been told to end.
    pub fn is_leaving(&self) -> bool {
        self.leaving.get().is_some()
    }

    fn moved(&self, shared: &Shared, counter: usize, n: usize) {
        self.moved.set(shared.engine.now());
        shared.slot.add(counter, n as u64);
        let bytes = if counter == BYTES_IN { &self.bytes_in } else { &self.bytes_out };
        bytes.set(bytes.get() + n as u64);
    }

    /// It is over: writes its line. A WebSocket has had its own, with its 101.
    pub fn close(&self, shared: &Shared) {
        let (Class::Tcp, Some(log)) = (self.class, &shared.access_log) else { return };
        let address = self.upstream.borrow();
        let upstream =
            (!address.is_empty()).then(|| Upstream { address: &address, took: self.connected.get() });
        log.write(&Entry {
            peer: Who::new(self.ends.peer),
            class: self.class,
            bytes: self.bytes_out.get(),
            took: shared.engine.now().since(self.since),
            upstream,
            what: What::Connection { bytes_in: self.bytes_in.get() },
        });
    }

    pub fn into_kept(self) -> Kept {
        self.io.into_kept()
    }
}

impl Tunnel {
    /// Sends everything back.
    pub fn echo(tube: &Rc<Tube>, shared: &Rc<Shared>) -> Tunnel {
        Tunnel::new(tube, shared, Far::Echo, Half::default(), Half::default())
    }

    /// To one server of a group.
    pub fn to(tube: &Rc<Tube>, shared: &Rc<Shared>, group: &Rc<Group>) -> Tunnel {
        let connecting = Box::pin(connect(group.clone(), tube.clone()));
        let far = Far::Connecting(connecting, group.clone());
        Tunnel::new(tube, shared, far, Half::default(), Half::default())
    }

    /// A connection that was HTTP; `ahead` has been read from the client.
    pub fn switched(tube: &Rc<Tube>, shared: &Rc<Shared>, switch: Switch, ahead: &Bytes) -> Tunnel {
        let Switch { wire, before, upstream, .. } = switch;
        *tube.upstream.borrow_mut() = upstream;
        Tunnel::new(tube, shared, Far::Open(wire), Half::new(ahead, true), Half::new(&before, true))
    }

    fn new(tube: &Rc<Tube>, shared: &Rc<Shared>, far: Far, up: Half, down: Half) -> Tunnel {
        Tunnel { tube: tube.clone(), far, up, down, spoilt: false, shared: shared.clone() }
    }

    /// One side broke, or there is no other side.
    fn broken(&self, why: impl std::fmt::Display) -> Poll<Ended> {
        debug!(self.shared.log, "a connection ended: {why}");
        self.shared.slot.add(ERRORS, 1);
        Poll::Ready(self.reset())
    }

    /// Neither side is to take what has come for the whole.
    fn reset(&self) -> Ended {
        net::reset_on_close(self.tube.io.as_fd());
        if let Far::Open(wire) = &self.far {
            net::reset_on_close(wire.as_fd());
        }
        Ended::Broken
    }

    /// Puts a goodbye where a frame may stand; true if there is something to be sent now.
    fn leave(&mut self) -> bool {
        let may = self.tube.is_leaving() && self.down.takes_a_frame();
        if may {
            self.down.put_in(&frames::going_away(false));
            if self.up.takes_a_frame() {
                self.up.put_in(&frames::going_away(true));
            }
        }
        may
    }

    /// The end of bytes that have no word for it: plain where nothing is under way, as far as can be told.
    fn leave_unsaid(&self) -> Ended {
        let still = self.shared.engine.now().since(self.tube.moved.get()) >= STILL;
        if still && self.up.is_empty() && self.down.is_empty() { Ended::Over } else { self.reset() }
    }

    fn poll_echo(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let Tunnel { tube, up, shared, .. } = self;
        let mut moved = |n: usize| {
            tube.moved(shared, BYTES_IN, n);
            tube.moved(shared, BYTES_OUT, n);
        };
        match up.poll(cx, &tube.io, &tube.io, &shared.pipes, &mut moved) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => Poll::Ready(Ended::Over),
            Poll::Ready(Err(e)) => self.broken(e),
        }
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let mut polled = self.pass_on(cx);
        // Nobody would wake us for a goodbye that could be said behind the frame that has just ended.
        while polled.is_pending() && self.leave() {
            polled = self.pass_on(cx);
        }
        polled
    }

    fn pass_on(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let Tunnel { tube, up, down, shared, spoilt, far: Far::Open(wire) } = self else {
            return Poll::Pending;
        };
        let mut upward = |n: usize| tube.moved(shared, BYTES_IN, n);
        if !up.done
            && let Poll::Ready(Err(e)) = up.poll(cx, &tube.io, &**wire, &shared.pipes, &mut upward)
        {
            if down.done || tube.io.has_failed() {
                return self.broken(e);
            }
            // What the upstream has said before it went may say why.
            (up.done, *spoilt) = (true, true);
        }
        let mut downward = |n: usize| tube.moved(shared, BYTES_OUT, n);
        if !down.done
            && let Poll::Ready(Err(e)) = down.poll(cx, &**wire, &tube.io, &shared.pipes, &mut downward)
        {
            return self.broken(e);
        }
        match (up.done, down.done) {
            (true, true) if *spoilt => self.broken("the upstream did not take all of it"),
            (true, true) if !tube.io.at_eof() => Poll::Ready(Ended::Linger),
            (true, true) => Poll::Ready(Ended::Over),
            // A WebSocket has no half: who has heard our goodbye has nobody to talk to.
            (false, true) if tube.is_leaving() => Poll::Ready(Ended::Linger),
            // Where nothing is read any more, only this tells.
            (true, false) if tube.io.has_failed() => self.broken("the client is gone"),
            (false, true) if wire.has_failed() => self.broken("the upstream is gone"),
            _ => {
                tube.io.arm(cx);
                wire.arm(cx);
                Poll::Pending
            }
        }
    }
}

impl Future for Tunnel {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let tunnel = &mut *self;
        if let Far::Connecting(connecting, group) = &mut tunnel.far {
            tunnel.tube.io.arm(cx);
            if tunnel.tube.io.has_failed() {
                return tunnel.broken("the client has gone");
            }
            match connecting.as_mut().poll(cx) {
                Poll::Pending if tunnel.tube.is_leaving() => return Poll::Ready(tunnel.reset()),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return tunnel.broken("no upstream takes it"),
                Poll::Ready(Some((wire, server))) => {
                    *tunnel.tube.upstream.borrow_mut() = group.name(server).to_owned();
                    let now = tunnel.shared.engine.now();
                    tunnel.tube.connected.set(now.since(tunnel.tube.since));
                    tunnel.tube.moved.set(now);
                    tunnel.far = Far::Open(wire);
                }
            }
        }
        let polled = match tunnel.far {
            Far::Echo => tunnel.poll_echo(cx),
            Far::Open(_) | Far::Connecting(..) => tunnel.poll_open(cx),
        };
        let unsaid = tunnel.tube.is_leaving() && tunnel.tube.class != Class::Websocket;
        if unsaid && polled.is_pending() { Poll::Ready(tunnel.leave_unsaid()) } else { polled }
    }
}

/// A connection to the first server that takes one; nothing has been sent, so every one may be tried.
async fn connect(group: Rc<Group>, tube: Rc<Tube>) -> Option<(Wire, Index)> {
    let client = Client { ends: tube.ends, io: &tube.io };
    let mut tried = Vec::new();
    while let Some(server) = group.pick(&tried) {
        match group.connect(server, &client).await {
            Ok(wire) => {
                group.succeeded(server);
                return Some((wire, server));
            }
            Err(why) => {
                group.complain(server, &why);
                tried.push(server);
            }
        }
    }
    None
}
