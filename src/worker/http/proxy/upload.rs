//! A request's body on its way to an upstream.
//!
//! The client's body stands in a `Tray`, so that a request of which nothing was taken can be sent again on another
//! connection. An `Upload` is what hyper's client polls; it takes from the tray as the upstream takes from it.
//! Never: holds more than one piece.

use super::forward;
use super::relay::Cut;
use crate::worker::http::exchange::Exchange;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::cell::{Cell, RefCell};
use std::io::{Error, ErrorKind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// The client's body, and how far it has come; copies mean the same one. Most requests have none, and no work with it.
#[derive(Clone)]
pub struct Tray(Option<Rc<Load>>);

struct Load {
    body: RefCell<Incoming>,
    exchange: Exchange,
    /// A piece has been taken.
    begun: Cell<bool>,
    ended: Cell<bool>,
    broken: Cell<bool>,
    /// The client stands still.
    late: Cell<bool>,
}

impl Tray {
    pub fn new(body: Incoming, exchange: &Exchange) -> Tray {
        if body.is_end_stream() {
            return Tray(None);
        }
        let (begun, ended) = (Cell::new(false), Cell::new(false));
        let (broken, late) = (Cell::new(false), Cell::new(false));
        let (body, exchange) = (RefCell::new(body), exchange.clone());
        Tray(Some(Rc::new(Load { body, exchange, begun, ended, broken, late })))
    }

    /// A piece of it has been taken: it can't be sent again.
    pub fn has_begun(&self) -> bool {
        self.0.as_ref().is_some_and(|load| load.begun.get())
    }

    /// It has been taken to its end.
    pub fn has_ended(&self) -> bool {
        self.0.as_ref().is_none_or(|load| load.ended.get())
    }

    /// The client broke it off, or framed it badly, or is too late with it.
    pub fn is_broken(&self) -> bool {
        self.0.as_ref().is_some_and(|load| load.broken.get())
    }

    /// The client stood still.
    pub fn is_late(&self) -> bool {
        self.0.as_ref().is_some_and(|load| load.late.get())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if !self.ended.get() {
            // What is left of it is read by nobody.
            self.exchange.body_taken();
            self.exchange.refuse_further();
        }
    }
}

/// One attempt to send what is on a tray.
pub struct Upload(Tray);

impl Upload {
    pub fn new(tray: &Tray) -> Upload {
        Upload(tray.clone())
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let Some(load) = &self.0.0 else { return Poll::Ready(None) };
        let polled = Pin::new(&mut *load.body.borrow_mut()).poll_frame(cx);
        match polled {
            Poll::Pending => {
                load.exchange.body_wanted(true);
                ready!(load.exchange.body_is_late(cx));
                load.late.set(true);
                load.broken.set(true);
                Poll::Ready(Some(Err(Error::from(ErrorKind::TimedOut).into())))
            }
            Poll::Ready(Some(Ok(mut frame))) => {
                load.begun.set(true);
                // It is the upstream's turn now.
                load.exchange.body_wanted(false);
                let mut last = load.body.borrow().is_end_stream();
                if let Some(trailers) = frame.trailers_mut() {
                    forward::trailers(trailers);
                    last = true;
                }
                if last {
                    load.ended.set(true);
                    load.exchange.body_taken();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                load.ended.set(true);
                load.exchange.body_taken();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(e))) => {
                load.broken.set(true);
                Poll::Ready(Some(Err(e.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.0.as_ref().is_none_or(|load| load.body.borrow().is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.0.as_ref().map_or_else(|| SizeHint::with_exact(0), |load| load.body.borrow().size_hint())
    }
}
