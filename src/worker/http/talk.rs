//! The state of one conversation, shared by its socket adapter, its service and the loop.
//!
//! It lives from the moment a parked socket turns readable to the moment it is parked again or closed.
//! The adapter and the service write it, `Serve` reads whether the connection is idle, the
//! sweep reads how long it has stood still. Whoever ends it calls `into_socket`, which closes the books.

use crate::model::Moment;
use crate::scoreboard::layout::{Doing, ERRORS, IDLE, IN_FLIGHT, REQUESTS};
use crate::scoreboard::slot::Row;
use crate::sys::clock;
use crate::worker::engine::io::{Io, Socket};
use crate::worker::shared::Shared;
use std::cell::Cell;
use std::rc::Rc;
use std::task::Context;

#[derive(Debug)]
pub struct Talk {
    pub io: Io,
    pub shared: Rc<Shared>,
    row: Row,
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
    /// The service reads the request's body.
    pub body_in: Cell<bool>,
    /// hyper holds the answer's body.
    pub body_out: Cell<bool>,
    /// Since the request was handed over, hyper has looked for more input and found none.
    pub quiet: Cell<bool>,
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
    pub fn new(io: Io, shared: Rc<Shared>, row: Row) -> Talk {
        let now = shared.engine.now();
        Talk {
            io,
            shared,
            row,
            head_since: Cell::new(now),
            began: Cell::new(now),
            requests: Cell::new(0),
            touched: Cell::new(false),
            called: Cell::new(false),
            open: Cell::new(false),
            pending: Cell::new(false),
            body_in: Cell::new(false),
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
        if self.chill.get() || self.io.at_eof() || self.io.may_read() {
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

    /// Bytes have come in.
    pub fn heard(&self) {
        if self.cool() {
            self.restart();
        }
        self.touched.set(true);
        self.quiet.set(false);
    }

    /// hyper is built anew over leftover bytes of a next head.
    pub fn restart(&self) {
        self.called.set(false);
        self.idle.set(false);
        self.touched.set(true);
        self.head_since.set(self.shared.engine.now());
    }

    /// A request has been read.
    pub fn begin(&self, has_body: bool) {
        self.finish();
        self.called.set(true);
        self.open.set(true);
        self.pending.set(true);
        self.body_in.set(has_body);
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

    /// True if the client's FIN is not to be shown to hyper, which would end the connection: a request is open.
    ///
    /// hyper may have the whole body and the service not yet: it gets one more turn to take it. If it
    /// wants more after that, the body is cut short.
    pub fn holds_back_the_end(&self, cx: &Context<'_>) -> bool {
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
        self.body_in.set(false);
        self.shared.slot.response(status);
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
            slot.latency(Moment(clock::monotonic_ns()).since(self.began.get()));
            self.head_since.set(self.shared.engine.now());
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
        (!self.open.get() && self.warm.get().is_none()).then(|| self.head_since.get())
    }

    /// Since when it waits for more of a request's body; `None` when it does not.
    pub fn waits_for_body(&self) -> Option<Moment> {
        self.body_in.get().then(|| self.io.last_read().max(self.began.get()))
    }

    /// The end of the conversation: whatever was open is closed in the books, the socket comes back.
    pub fn into_socket(self) -> Socket {
        self.finish();
        self.cool();
        self.io.into_socket()
    }
}
