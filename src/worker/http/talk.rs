//! The state of one conversation, shared by its socket adapter, its service and the loop.
//!
//! It lives from the moment a parked socket turns readable to the moment it is parked again or closed.
//! The adapter and the service write it, `Serve` reads whether the connection is idle, the
//! sweep reads how long it has stood still. Whoever ends it calls `into_kept`, which closes the books.

use super::exchange::Stream;
use super::gate::Fault;
use super::intake::Intake;
use super::noted::{self, Docket};
use super::proxy::Switch;
use super::proxy::forward::Known;
use super::streams::Streams;
use crate::model::{Class, Moment};
use crate::scoreboard::layout::{ACTIVE, Doing, ERRORS, IDLE, IN_FLIGHT, REQUESTS};
use crate::scoreboard::slot::Row;
use crate::sys::clock;
use crate::worker::near::{Kept, Near};
use crate::worker::shared::Shared;
use crate::worker::who::Ends;
use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::Context;

#[derive(Debug)]
pub struct Talk {
    pub io: Near,
    pub shared: Rc<Shared>,
    row: Row,
    pub ends: Ends,
    /// What upstreams are told of the client.
    pub known: RefCell<Option<Known>>,
    /// The open request of HTTP/1, for the access log.
    pub docket: Docket,
    /// HTTP/2: many requests at once.
    streams: OnceCell<Box<Streams>>,
    class: Cell<Class>,
    /// What has come in, and what hyper may have of it.
    pub intake: Intake,
    fault: Cell<Option<Fault>>,
    /// What the connection is to become when hyper has written its 101.
    pub switch: RefCell<Option<Box<Switch>>>,
    /// Endless answers are to end now.
    pub ending: Cell<bool>,
    /// When the head that is being read (or was read last) began.
    head_since: Cell<Moment>,
    began: Cell<Moment>,
    /// Requests since it was last parked.
    pub requests: Cell<u32>,
    /// Bytes of a request have come in.
    pub touched: Cell<bool>,
    /// hyper has handed over a request since it was built.
    called: Cell<bool>,
    /// A request's head is read and its answer not yet flushed.
    open: Cell<bool>,
    /// The service has not answered yet.
    pending: Cell<bool>,
    /// The service waits for more of the request's body.
    pub body_in: Cell<bool>,
    /// Since when it does.
    wanted: Cell<Moment>,
    /// hyper holds the answer's body.
    pub body_out: Cell<bool>,
    /// hyper has looked for more input since the request was handed over, and found none.
    quiet: Cell<bool>,
    /// Everything is answered and flushed.
    pub idle: Cell<bool>,
    /// Our answer said `Connection: close`, or part of a request stays unread.
    pub we_close: Cell<bool>,
    /// Its error has been counted.
    blamed: Cell<bool>,
    /// The end of input has been held back once while the request's body was being read.
    end_held: Cell<bool>,
    /// Idle, but hyper is kept for the next request: since when.
    warm: Cell<Option<Moment>>,
    /// It is not to be kept warm any longer.
    chill: Cell<bool>,
}

impl Talk {
    pub fn new(io: Near, shared: Rc<Shared>, row: Row, ends: Ends, multiplexed: bool) -> Talk {
        let now = shared.engine.now();
        Talk {
            io,
            shared,
            row,
            ends,
            known: RefCell::new(None),
            docket: Docket::default(),
            streams: if multiplexed { Box::new(Streams::new(now)).into() } else { OnceCell::new() },
            class: Cell::new(Class::Http),
            intake: Intake::new(multiplexed),
            fault: Cell::new(None),
            switch: RefCell::new(None),
            ending: Cell::new(false),
            head_since: Cell::new(now),
            began: Cell::new(now),
            requests: Cell::new(0),
            touched: Cell::new(false),
            called: Cell::new(false),
            open: Cell::new(false),
            pending: Cell::new(false),
            body_in: Cell::new(false),
            wanted: Cell::new(now),
            body_out: Cell::new(false),
            quiet: Cell::new(false),
            idle: Cell::new(false),
            we_close: Cell::new(false),
            blamed: Cell::new(false),
            end_held: Cell::new(false),
            warm: Cell::new(None),
            chill: Cell::new(false),
        }
    }

    /// Keeps hyper for the next request: building it anew is a tenth of the work of a small answer.
    /// False if the connection is to be parked.
    pub fn keep_warm(&self) -> bool {
        // What is to be read has had its event: nothing would wake hyper for it, a FIN least of all.
        // Unless it is clear where the next head begins, hyper is to hand out what it has read of it.
        let unclear = !self.intake.is_clear();
        if unclear || self.chill.get() || self.io.at_eof() || self.io.may_read() {
            return false;
        }
        if self.warm.get().is_none() {
            if !self.shared.admit_warm() {
                return false;
            }
            let now = self.shared.engine.now();
            self.warm.set(Some(now));
            self.shared.slot.add(IDLE, 1);
            self.shared.slot.doing(self.row, Doing::Idle, now);
        }
        true
    }

    /// Since when hyper is kept although the connection is idle.
    pub fn warm_since(&self) -> Option<Moment> {
        self.warm.get()
    }

    /// The connection is to be parked when its task is polled next.
    pub fn chill(&self) {
        self.chill.set(true);
    }

    /// Not idle any more, or not with hyper.
    pub fn cool(&self) -> bool {
        let was_warm = self.warm.take().is_some();
        if was_warm {
            self.shared.dismiss_warm();
            self.shared.slot.sub(IDLE, 1);
        }
        was_warm
    }

    /// Since the request was handed over nothing more has come in, but perhaps the client's end.
    pub fn is_quiet(&self) -> bool {
        if self.quiet.get() || self.intake.has_ahead() {
            return self.quiet.get();
        }
        !self.io.may_read() || !self.io.has_input()
    }

    /// hyper looks for input and finds none.
    pub fn hears_nothing(&self) {
        self.quiet.set(true);
    }

    /// Bytes have come in; to be told before hyper has them.
    pub fn heard(&self) {
        if self.cool() {
            self.restart();
        }
        self.touched.set(true);
        self.quiet.set(false);
    }

    /// hyper has been given so many bytes.
    pub fn shown(&self, n: usize) {
        if let Some(streams) = self.streams() {
            streams.heard(n);
        }
    }

    /// What was wrong with the bytes of the head that hyper has just handed over.
    pub fn head_fault(&self) -> Option<Fault> {
        self.fault.take()
    }

    /// An error if the body that comes in may be read in more than one way.
    pub fn is_sound(&self) -> io::Result<()> {
        let fault = self.intake.body_fault();
        fault.map_or(Ok(()), |fault| Err(io::Error::new(io::ErrorKind::InvalidData, fault.to_string())))
    }

    /// The next byte is the first of a head: the connection was idle, or hyper is built anew.
    pub fn restart(&self) {
        self.called.set(false);
        self.idle.set(false);
        self.touched.set(true);
        self.intake.restart();
        self.head_since.set(self.shared.engine.now());
    }

    /// The class of the conversation shows, or ends with the answer that it came from.
    pub fn classify(&self, class: Class) {
        let before = self.class.replace(class);
        if before != class {
            let slot = &self.shared.slot;
            slot.sub(ACTIVE + before.index(), 1);
            slot.add(ACTIVE + class.index(), 1);
            slot.reclass(self.row, class);
        }
    }

    pub fn class(&self) -> Class {
        self.class.get()
    }

    /// The streams of an HTTP/2 connection.
    pub fn streams(&self) -> Option<&Streams> {
        self.streams.get().map(|streams| &**streams)
    }

    pub fn is_multiplexed(&self) -> bool {
        self.streams.get().is_some()
    }

    /// It turns out to be HTTP/2.
    pub fn multiplex(&self) {
        self.streams.get_or_init(|| Box::new(Streams::new(self.head_since.get())));
        self.intake.pass();
    }

    /// Endless answers are to end; those that have their own tasks are woken.
    pub fn end(&self) {
        self.ending.set(true);
        if let Some(streams) = self.streams() {
            streams.wake();
        }
    }

    /// One more stream of an HTTP/2 connection. Its number is what `requests` says then.
    pub fn stream_opened(&self, stream: &Rc<Stream>) {
        let slot = &self.shared.slot;
        slot.request(self.row);
        if self.streams().is_some_and(|streams| streams.opened(stream)) {
            slot.doing(self.row, Doing::Request, self.shared.engine.now());
        }
    }

    pub fn stream_closed(&self, number: u32) {
        let now = self.shared.engine.now();
        if self.streams().is_some_and(|streams| streams.closed(number, now)) {
            self.shared.slot.doing(self.row, Doing::Idle, now);
        }
    }

    /// No request is under way, nor part of one.
    pub fn is_at_rest(&self) -> bool {
        self.warm.get().is_some() || self.streams().is_some_and(|streams| streams.open() == 0)
    }

    /// A request has been read.
    ///
    /// `length` is that of its body; `None` if that is not known.
    pub fn begin(&self, length: Option<u64>) {
        self.finish();
        self.fault.set(self.intake.told(length));
        self.classify(Class::Http);
        self.called.set(true);
        self.open.set(true);
        self.pending.set(true);
        self.body_in.set(length != Some(0));
        self.quiet.set(false);
        self.end_held.set(false);
        self.idle.set(false);
        let now = self.shared.engine.now();
        self.began.set(now);
        self.requests.set(self.requests.get().saturating_add(1));
        let slot = &self.shared.slot;
        slot.add(REQUESTS, 1);
        slot.add(IN_FLIGHT, 1);
        slot.request(self.row);
        slot.doing(self.row, Doing::Request, now);
    }

    /// More of the request's body is waited for, or not for now.
    pub fn want_body(&self, wanted: bool) {
        if !self.body_in.replace(wanted) && wanted {
            self.wanted.set(self.shared.engine.now());
        }
    }

    /// True if the client's FIN is not to be shown to hyper, which would end the connection: a request is open.
    ///
    /// hyper may have the whole body and the service not yet: it gets one more turn to take it. If it
    /// wants more after that, the body is cut short.
    pub fn holds_back_the_end(&self, cx: &Context<'_>) -> bool {
        // A client that half-closes an HTTP/2 connection is leaving it.
        if self.is_multiplexed() {
            return false;
        }
        if !self.open.get() || self.body_in.get() && self.end_held.replace(true) {
            return false;
        }
        if self.body_in.get() {
            cx.waker().wake_by_ref();
        }
        self.quiet.set(true);
        true
    }

    /// The service has made its answer.
    pub fn answered(&self, status: u16) {
        self.pending.set(false);
        self.docket.answered(status);
        self.shared.slot.response(status);
    }

    /// Something else than the service answers: a head that can't be read, or that takes too long.
    pub fn refused(&self, status: u16) {
        self.shared.slot.response(status);
        if self.open.get() {
            self.docket.answered(status);
        } else if let Some(log) = &self.shared.access_log {
            let took = self.shared.engine.now().since(self.head_since.get());
            noted::no_request(log, self.ends.peer, status, took);
        }
    }

    /// hyper's write buffer is empty and the socket has taken it all.
    pub fn flushed(&self) {
        if self.called.get() && !self.pending.get() && !self.body_out.get() {
            self.finish();
            // What is closed after this answer never idles: unread bytes may belong to its request.
            self.idle.set(!self.we_close.get());
        }
    }

    /// Counts an error, once per conversation.
    pub fn blame(&self) {
        if !self.blamed.replace(true) {
            self.shared.slot.add(ERRORS, 1);
        }
    }

    /// Closes the account of the open request, if there is one.
    fn finish(&self) {
        if self.open.replace(false) {
            let slot = &self.shared.slot;
            slot.sub(IN_FLIGHT, 1);
            let took = Moment(clock::monotonic_ns()).since(self.began.get());
            slot.latency(took);
            self.head_since.set(self.shared.engine.now());
            let switches = self.switch.borrow().is_some();
            let class = if switches { Class::Websocket } else { self.class.get() };
            self.docket.close(&self.shared, self.ends.peer, class, took);
        }
    }

    /// Shows that a head is incomplete.
    pub fn reading_head(&self) {
        self.shared.slot.doing(self.row, Doing::Head, self.shared.engine.now());
    }

    /// A request has been read and its answer is not yet flushed.
    pub fn is_open(&self) -> bool {
        self.open.get()
    }

    /// Since when it waits for the rest of a head; `None` while a request is open.
    pub fn waits_for_head(&self) -> Option<Moment> {
        (!self.is_multiplexed() && !self.open.get() && self.warm.get().is_none())
            .then(|| self.head_since.get())
    }

    /// Since when it waits for more of a request's body; `None` when it does not: nobody wants it, or
    /// what has come is not yet taken.
    pub fn waits_for_body(&self) -> Option<Moment> {
        let since = || self.io.last_read().max(self.began.get()).max(self.wanted.get());
        (self.body_in.get() && !self.io.may_read()).then(since)
    }

    /// The end of the conversation: whatever was open is closed in the books, the socket comes back.
    pub fn into_kept(self) -> Kept {
        self.finish();
        self.cool();
        self.io.into_kept()
    }
}
