//! One request and its answer, whichever protocol carries it: the books that the service keeps.
//!
//! With HTTP/1 a connection has one exchange at a time, and its `Talk` keeps the books; with HTTP/2 each stream
//! keeps its own. The service says when a request begins, is answered, and when its body has gone out.
//! How long either body may stand still is told here for HTTP/2 only: of HTTP/1 the loop's sweep takes care.
//! Never: parses, sends.

use super::noted::Docket;
use super::talk::Talk;
use crate::model::{Class, Moment};
use crate::scoreboard::layout::{ERRORS, IN_FLIGHT, REQUESTS, STREAMS};
use crate::sys::clock;
use crate::worker::engine::timers::Watch;
use crate::worker::shared::Shared;
use hyper::Request;
use hyper::body::Body;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// A handle on one exchange; copies mean the same one.
#[derive(Clone, Debug)]
pub enum Exchange {
    /// The only one of its connection.
    Alone(Rc<Talk>),
    Stream(Rc<Stream>),
}

/// One stream of an HTTP/2 connection. Its books are closed when the last handle goes.
#[derive(Debug)]
pub struct Stream {
    pub talk: Rc<Talk>,
    pub number: u32,
    began: Moment,
    class: Cell<Class>,
    docket: Docket,
    answer: Cell<Answer>,
    /// How long its body may be waited for, since when it is, and for how long it may be silent if it is a call of gRPC.
    patience: RefCell<Watch>,
    wanted: Cell<Option<Moment>>,
    call: Cell<Option<Duration>>,
    /// Its error has been counted.
    blamed: Cell<bool>,
}

/// How far the answer of a stream has come.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Awaited,
    /// hyper has its body, and since then a piece that the client has no room for, or may have none.
    Out(Option<Moment>),
    Over(Moment),
}

impl Exchange {
    /// A request of an HTTP/1 connection has been read.
    pub fn alone<B: Body>(talk: &Rc<Talk>, request: &Request<B>) -> Exchange {
        let body = request.body();
        talk.begin(if body.is_end_stream() { Some(0) } else { body.size_hint().exact() });
        talk.docket.open(&talk.shared, request);
        Exchange::Alone(talk.clone())
    }

    /// A stream of an HTTP/2 connection has been opened.
    pub fn stream<B>(talk: &Rc<Talk>, request: &Request<B>, body_timeout: Duration) -> Exchange {
        let slot = &talk.shared.slot;
        slot.add(REQUESTS, 1);
        slot.add(IN_FLIGHT, 1);
        slot.add(STREAMS, 1);
        talk.requests.set(talk.requests.get().saturating_add(1));
        let stream = Rc::new(Stream {
            talk: talk.clone(),
            number: talk.requests.get(),
            began: talk.shared.engine.now(),
            class: Cell::new(Class::Http),
            docket: Docket::default(),
            answer: Cell::new(Answer::Awaited),
            patience: RefCell::new(Watch::new(&talk.shared.engine, body_timeout)),
            wanted: Cell::new(None),
            call: Cell::new(None),
            blamed: Cell::new(false),
        });
        talk.stream_opened(&stream);
        stream.docket.open(&talk.shared, request);
        Exchange::Stream(stream)
    }

    pub fn talk(&self) -> &Rc<Talk> {
        match self {
            Exchange::Alone(talk) => talk,
            Exchange::Stream(stream) => &stream.talk,
        }
    }

    pub fn shared(&self) -> &Rc<Shared> {
        &self.talk().shared
    }

    /// What the client sends behind this request is not to be read as another one.
    pub fn refuse_further(&self) {
        if let Exchange::Alone(talk) = self {
            talk.we_close.set(true);
        }
    }

    /// The answer is known.
    pub fn answered(&self, status: u16) {
        match self {
            Exchange::Alone(talk) => talk.answered(status),
            Exchange::Stream(stream) => {
                stream.docket.answered(status);
                stream.talk.shared.slot.response(status);
            }
        }
    }

    /// What the access log is to know of it.
    pub fn docket(&self) -> &Docket {
        match self {
            Exchange::Alone(talk) => &talk.docket,
            Exchange::Stream(stream) => &stream.docket,
        }
    }

    /// The request's body has been read to its end, or is not wanted any more.
    pub fn body_taken(&self) {
        if let Exchange::Alone(talk) = self {
            talk.body_in.set(false);
        }
    }

    /// Somebody waits for more of the request's body, or has enough of it for now. Only while somebody waits
    /// is it the client who is slow.
    pub fn body_wanted(&self, wanted: bool) {
        match self {
            Exchange::Alone(talk) => talk.want_body(wanted),
            Exchange::Stream(stream) if !wanted => stream.wanted.set(None),
            Exchange::Stream(stream) if stream.wanted.get().is_none() => {
                stream.wanted.set(Some(self.shared().engine.now()));
            }
            Exchange::Stream(_) => {}
        }
    }

    /// Of a call of gRPC that is passed on, the client may be silent for so long before its answer begins.
    pub fn may_be_silent_for(&self, limit: Duration) {
        if let Exchange::Stream(stream) = self
            && stream.class.get() == Class::Grpc
        {
            stream.call.set(Some(limit));
        }
    }

    /// Ready when the body of an HTTP/2 request has been waited for too long.
    pub fn body_is_late(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Exchange::Stream(stream) = self else { return Poll::Pending };
        stream.wanted.get().map_or(Poll::Pending, |since| stream.body_is_late(cx, since))
    }

    /// The answer's body is, or is not any more, in hyper's hands.
    pub fn body_out(&self, out: bool) {
        match self {
            Exchange::Alone(talk) => talk.body_out.set(out),
            Exchange::Stream(stream) if out => stream.answer.set(Answer::Out(None)),
            Exchange::Stream(stream) => stream.answer.set(Answer::Over(self.shared().engine.now())),
        }
    }

    /// hyper has asked for more of the answer's body, which it does when the client has room for what it has; it has got
    /// a piece, or not. With HTTP/1 the socket tells who is slow.
    pub fn body_asked(&self, given: bool) {
        if let Exchange::Stream(stream) = self {
            stream.answer.set(Answer::Out(given.then(|| self.shared().engine.now())));
        }
    }

    /// Counts an error, once.
    pub fn blame(&self) {
        match self {
            Exchange::Alone(talk) => talk.blame(),
            Exchange::Stream(stream) => stream.blame(),
        }
    }

    /// The class shows with the answer: an event stream, a gRPC call.
    pub fn classify(&self, class: Class) {
        self.talk().classify(class);
        if let Exchange::Stream(stream) = self {
            stream.class.set(class);
        }
    }

    /// The drain's time is up: an endless answer ends here, in good order.
    pub fn is_to_end(&self) -> bool {
        self.talk().ending.get()
    }
}

impl Stream {
    /// Since when the client has had no room for what hyper has of the answer.
    pub fn stuck_since(&self) -> Option<Moment> {
        match self.answer.get() {
            Answer::Out(since) => since,
            Answer::Awaited | Answer::Over(_) => None,
        }
    }

    /// Counts an error, once.
    pub fn blame(&self) {
        if !self.blamed.replace(true) {
            self.talk.shared.slot.add(ERRORS, 1);
        }
    }

    /// A call of gRPC may be silent for longer: of one whose answer is under way, whoever passes that on knows whether
    /// anything moves, and here it is only looked again.
    fn body_is_late(&self, cx: &mut Context<'_>, since: Moment) -> Poll<()> {
        let mut patience = self.patience.borrow_mut();
        match (self.call.get(), self.answer.get()) {
            (None, _) => patience.poll(cx, since),
            (Some(limit), Answer::Awaited) => patience.poll_for(cx, since, limit),
            (Some(_), Answer::Out(_)) => patience.poll(cx, self.talk.shared.engine.now()),
            (Some(_), Answer::Over(at)) => patience.poll(cx, since.max(at)),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let slot = &self.talk.shared.slot;
        slot.sub(IN_FLIGHT, 1);
        slot.sub(STREAMS, 1);
        let took = Moment(clock::monotonic_ns()).since(self.began);
        slot.latency(took);
        self.docket.close(&self.talk.shared, self.talk.ends.peer, self.class.get(), took);
        self.talk.stream_closed(self.number);
    }
}
