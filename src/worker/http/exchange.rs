//! One request and its answer, whichever protocol carries it: the books that the service keeps.
//!
//! With HTTP/1 a connection has one exchange at a time, and its `Talk` keeps the books; with HTTP/2 each stream
//! keeps its own. The service says when a request begins, is answered, and when its body has gone out.
//! How long a body may be waited for is told here for HTTP/2 only: of HTTP/1 the loop's sweep takes care.
//! Never: parses, sends.

use super::noted::Docket;
use super::talk::Talk;
use crate::model::{Class, Moment};
use crate::scoreboard::layout::{IN_FLIGHT, REQUESTS, STREAMS};
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
    talk: Rc<Talk>,
    number: u32,
    began: Moment,
    class: Cell<Class>,
    docket: Docket,
    /// How long its body may be waited for, and since when it is.
    patience: RefCell<Watch>,
    wanted: Cell<Option<Moment>>,
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
        let number = talk.stream_opened();
        let (began, class) = (talk.shared.engine.now(), Cell::new(Class::Http));
        let docket = Docket::default();
        docket.open(&talk.shared, request);
        let patience = RefCell::new(Watch::new(&talk.shared.engine, body_timeout));
        let wanted = Cell::new(None);
        let talk = talk.clone();
        Exchange::Stream(Rc::new(Stream { talk, number, began, class, docket, patience, wanted }))
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

    /// Ready when the body of an HTTP/2 request has been waited for too long. Calls of gRPC may be silent.
    pub fn body_is_late(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Exchange::Stream(stream) = self else { return Poll::Pending };
        match stream.wanted.get() {
            Some(since) if stream.class.get() != Class::Grpc => stream.patience.borrow_mut().poll(cx, since),
            _ => Poll::Pending,
        }
    }

    /// The answer's body is, or is not any more, in hyper's hands.
    pub fn body_out(&self, out: bool) {
        if let Exchange::Alone(talk) = self {
            talk.body_out.set(out);
        }
    }

    /// Counts an error.
    pub fn blame(&self) {
        self.talk().blame();
    }

    /// The class shows with the answer: an event stream, a gRPC call.
    pub fn classify(&self, class: Class) {
        self.talk().classify(class);
        if let Exchange::Stream(stream) = self {
            stream.class.set(class);
        }
    }

    /// Has whoever sends the answer woken when it is to end. With HTTP/1 that is the connection's own task.
    pub fn listen(&self, cx: &Context<'_>) {
        if let Exchange::Stream(stream) = self {
            stream.talk.listen(stream.number, cx.waker());
        }
    }

    /// The drain's time is up: an endless answer ends here, in good order.
    pub fn is_to_end(&self) -> bool {
        self.talk().ending.get()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let slot = &self.talk.shared.slot;
        slot.sub(IN_FLIGHT, 1);
        slot.sub(STREAMS, 1);
        let took = Moment(clock::monotonic_ns()).since(self.began);
        slot.latency(took);
        self.docket.close(&self.talk.shared, self.talk.peer, self.class.get(), took);
        self.talk.stream_closed(self.number);
    }
}
