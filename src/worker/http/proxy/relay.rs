//! The body of an upstream's answer on its way to the client.
//!
//! hyper's server polls it when the client can take more, and only then is the upstream read: a slow client slows
//! its upstream, and nothing piles up here. When the answer has ended, the connection goes back to the pool.
//! Never: ends an answer that the upstream has cut short as if it were whole.

use super::link::Link;
use super::{Proxy, forward};
use crate::model::{Class, Moment};
use crate::worker::engine::timers::Watch;
use crate::worker::http::exchange::Exchange;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{HeaderMap, HeaderValue};
use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// What gRPC calls it when another server is to be asked.
const UNAVAILABLE: &str = "14";
/// Pieces passed on before other connections get their turn.
const AT_A_TIME: u32 = 16;

pub struct Relay {
    incoming: Incoming,
    link: Option<Link>,
    proxy: Rc<Proxy>,
    exchange: Exchange,
    silence: Watch,
    /// When the last piece came.
    heard: Moment,
    class: Class,
    /// Its length is not announced.
    endless: bool,
    pieces: u32,
}

/// An error as hyper wants it; it ends the client's connection.
pub type Cut = Box<dyn std::error::Error + Send + Sync>;

impl Relay {
    pub fn new(incoming: Incoming, link: Link, proxy: &Rc<Proxy>, exchange: Exchange, class: Class) -> Relay {
        let limit = if class.is_long_lived() { proxy.idle_timeout } else { proxy.read_timeout };
        let silence = Watch::new(&proxy.engine, limit);
        let endless = incoming.size_hint().exact().is_none();
        let (link, heard, proxy) = (Some(link), proxy.engine.now(), proxy.clone());
        Relay { incoming, heard, link, proxy, exchange, silence, class, endless, pieces: 0 }
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

    fn ended(&mut self) {
        if let Some(link) = self.link.take() {
            self.proxy.keep(link);
        }
    }

    fn cut(&mut self, why: impl std::fmt::Display) -> Cut {
        if let Some(link) = self.link.take() {
            self.proxy.group.complain(link.server, &why);
            self.proxy.group.failed(link.server, &why);
        }
        self.exchange.blame();
        Error::new(ErrorKind::UnexpectedEof, why.to_string()).into()
    }

    /// Nothing has come from the upstream: is that to be borne?
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let talk = self.exchange.talk();
        // The client's end is the end: nobody half-closes an event stream.
        if self.class == Class::Sse && (talk.io.has_fin() || talk.io.is_broken()) {
            self.link = None;
            return Poll::Ready(Some(Err(Error::from(ErrorKind::ConnectionAborted).into())));
        }
        let Some(link) = &self.link else { return Poll::Pending };
        let heard = link.last_read().unwrap_or(self.heard);
        if self.silence.poll(cx, heard).is_ready() {
            let why = format!("silent for {:?} within its answer", self.silence.limit());
            return Poll::Ready(Some(Err(self.cut(why))));
        }
        Poll::Pending
    }
}

impl Body for Relay {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let relay = &mut *self;
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
        if let Some(link) = relay.link.as_mut() {
            // Its end shows in the body, which says more.
            let _ = link.drive(cx);
        }
        match Pin::new(&mut relay.incoming).poll_frame(cx) {
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
                Poll::Ready(Some(Err(relay.cut(why))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // hyper lets go of a body whose announced length is complete without asking for its end.
        if self.incoming.is_end_stream() {
            self.ended();
        }
    }
}
