//! The body of an upstream's answer on its way to the client.
//!
//! hyper's server polls it when the client can take more, and only then is the upstream read: a slow client slows
//! its upstream, and nothing piles up here. When the answer has ended, the connection goes back to the pool.
//! Never: ends an answer that the upstream has cut short as if it were whole.

use super::link::Link;
use super::{Proxy, forward};
use crate::model::{Class, Moment};
use crate::sys::net;
use crate::worker::engine::timers::Watch;
use crate::worker::http::exchange::Exchange;
use bytes::Bytes;
use hyper::Version;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{HeaderMap, HeaderValue};
use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// What gRPC calls it when another server is to be asked.
const UNAVAILABLE: &str = "14";
/// Pieces passed on before other connections get their turn.
const AT_A_TIME: u32 = 16;

/// What has come of an answer's body when its head is passed on.
pub enum Come {
    /// All of it, as of most small answers: it needs no `Relay`.
    Whole(Bytes),
    Part(Part),
}

/// A body, and what has been taken of it already.
pub struct Part {
    incoming: Incoming,
    ahead: Option<hyper::Result<Frame<Bytes>>>,
}

impl Come {
    /// Looks at what is here without waiting. `link` is the connection that the body comes by.
    pub fn of(incoming: Incoming, link: &Link) -> Come {
        let mut part = Part { incoming, ahead: None };
        if part.incoming.is_end_stream() {
            return Come::Whole(Bytes::new());
        }
        if link.is_shared() || part.incoming.size_hint().exact().is_none() {
            return Come::Part(part);
        }
        // Whoever waits for more of it polls it again.
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(&mut part.incoming).poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) if frame.is_data() && part.incoming.is_end_stream() => {
                Come::Whole(frame.into_data().unwrap_or_default())
            }
            Poll::Ready(ahead) => {
                part.ahead = ahead;
                Come::Part(part)
            }
            Poll::Pending => Come::Part(part),
        }
    }
}

pub struct Relay {
    part: Part,
    link: Option<Box<Link>>,
    proxy: Rc<Proxy>,
    exchange: Exchange,
    silence: Watch,
    /// When the last piece came.
    heard: Moment,
    class: Class,
    /// Its length is not announced.
    endless: bool,
    /// Our end of the client's connection will be its end.
    by_closing: bool,
    pieces: u32,
    /// It has broken off; told when what came before it has been sent.
    broken: Option<Cut>,
}

/// An error as hyper wants it; it ends the client's connection.
pub type Cut = Box<dyn std::error::Error + Send + Sync>;

impl Relay {
    pub fn new(part: Part, link: Box<Link>, proxy: &Rc<Proxy>, exchange: Exchange, class: Class) -> Relay {
        let limit = if class.is_long_lived() { proxy.idle_timeout } else { proxy.read_timeout };
        let silence = Watch::new(&proxy.engine, limit);
        let endless = part.incoming.size_hint().exact().is_none();
        let (link, heard, proxy) = (Some(link), proxy.engine.now(), proxy.clone());
        let (by_closing, pieces, broken) = (false, 0, None);
        Relay { part, heard, link, proxy, exchange, silence, class, endless, by_closing, pieces, broken }
    }

    /// To a client of this version, an answer of no announced length ends where the connection is closed.
    pub fn ends_by_closing(&mut self, version: Version) {
        self.by_closing = self.endless && version < Version::HTTP_11;
    }

    /// How an answer ends whose time is up, if it can end in good order; `Some(None)` is a plain end.
    fn last(&mut self) -> Option<Option<Result<Frame<Bytes>, Cut>>> {
        match self.class {
            // It is whole wherever it ends.
            Class::Sse if self.endless => Some(None),
            Class::Grpc if self.link.is_some() => {
                let mut trailers = HeaderMap::with_capacity(2);
                trailers.insert("grpc-status", HeaderValue::from_static(UNAVAILABLE));
                trailers.insert("grpc-message", HeaderValue::from_static("the server is leaving"));
                Some(Some(Ok(Frame::trailers(trailers))))
            }
            Class::Grpc => Some(None),
            _ => None,
        }
    }

    /// What has come of the body. What hyper has read with the head is here without another look at the socket.
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        if let Some(ahead) = self.part.ahead.take() {
            return Poll::Ready(Some(ahead));
        }
        let incoming = &mut self.part.incoming;
        let Some(link) = self.link.as_mut() else { return Pin::new(incoming).poll_frame(cx) };
        let here = Pin::new(&mut *incoming).poll_frame(&mut link.listener(cx));
        if here.is_ready() || link.is_shared() {
            return here;
        }
        // Its end shows in the body, which says more.
        let _ = link.drive(cx);
        Pin::new(incoming).poll_frame(&mut link.listener(cx))
    }

    fn ended(&mut self) {
        if let Some(link) = self.link.take() {
            self.proxy.keep(link);
        }
    }

    /// The answer breaks off here. hyper throws away what it has not sent when it hears of that, so it hears of
    /// it a turn later.
    fn cut(
        &mut self,
        cx: &Context<'_>,
        why: impl std::fmt::Display,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Some(link) = self.link.take() {
            self.proxy.group.complain(link.server, &why);
            self.proxy.group.failed(link.server, &why);
        }
        self.exchange.blame();
        self.broken = Some(Error::new(ErrorKind::UnexpectedEof, why.to_string()).into());
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Nothing has come from the upstream: is that to be borne?
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let talk = self.exchange.talk();
        // The client's end is the end: nobody half-closes an event stream.
        if self.class == Class::Sse && talk.io.has_fin() {
            self.link = None;
            // Its end is nobody's fault.
            let ahead_of_time = || Err(Error::from(ErrorKind::ConnectionAborted).into());
            return Poll::Ready((!self.endless).then(ahead_of_time));
        }
        let Some(link) = &self.link else { return Poll::Pending };
        let heard = link.last_read().unwrap_or(self.heard);
        if self.silence.poll(cx, heard).is_ready() {
            let why = format!("silent for {:?} within its answer", self.silence.limit());
            return self.cut(cx, why);
        }
        Poll::Pending
    }
}

impl Body for Relay {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let relay = &mut *self;
        if let Some(cut) = relay.broken.take() {
            if relay.by_closing {
                // A FIN would say that this was all.
                net::reset_on_close(relay.exchange.talk().io.as_fd());
            }
            return Poll::Ready(Some(Err(cut)));
        }
        if relay.exchange.is_to_end()
            && let Some(last) = relay.last()
        {
            relay.link = None;
            return Poll::Ready(last);
        }
        if relay.pieces >= AT_A_TIME {
            relay.pieces = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match relay.next(cx) {
            Poll::Pending => {
                relay.pieces = 0;
                relay.wait(cx)
            }
            Poll::Ready(None) => {
                relay.ended();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(mut frame))) => {
                relay.pieces += 1;
                relay.heard = relay.proxy.engine.now();
                if let Some(trailers) = frame.trailers_mut() {
                    forward::trailers(trailers);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(e))) => {
                let why = format!("its answer was cut short: {}", super::root(&e));
                relay.cut(cx, why)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.part.ahead.is_none() && self.part.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let left = self.part.incoming.size_hint();
        match (&self.part.ahead, left.exact()) {
            (Some(Ok(frame)), Some(left)) => {
                SizeHint::with_exact(left + frame.data_ref().map_or(0, Bytes::len) as u64)
            }
            _ => left,
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // hyper lets go of a body whose announced length is complete without asking for its end.
        if self.is_end_stream() {
            self.ended();
        }
    }
}
