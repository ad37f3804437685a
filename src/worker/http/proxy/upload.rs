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

/// The client's body, and how far it has come.
pub struct Tray {
    body: RefCell<Incoming>,
    exchange: Exchange,
    /// A piece has been taken: it can't be sent again.
    pub begun: Cell<bool>,
    /// It has been taken to its end.
    pub ended: Cell<bool>,
    /// The client broke it off, or framed it badly.
    pub broken: Cell<bool>,
    /// The client stands still.
    pub late: Cell<bool>,
}

impl Tray {
    pub fn new(body: Incoming, exchange: Exchange) -> Rc<Tray> {
        let ended = Cell::new(body.is_end_stream());
        let (begun, broken, late) = (Cell::new(false), Cell::new(false), Cell::new(false));
        Rc::new(Tray { body: RefCell::new(body), exchange, begun, ended, broken, late })
    }
}

impl Drop for Tray {
    fn drop(&mut self) {
        if !self.ended.get() {
            // What is left of it is read by nobody.
            self.exchange.body_taken();
            self.exchange.refuse_further();
        }
    }
}

/// One attempt to send what is on a tray.
pub struct Upload {
    tray: Rc<Tray>,
}

impl Upload {
    pub fn new(tray: &Rc<Tray>) -> Upload {
        Upload { tray: tray.clone() }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let tray = &self.tray;
        let polled = Pin::new(&mut *tray.body.borrow_mut()).poll_frame(cx);
        match polled {
            Poll::Pending => {
                tray.exchange.body_wanted(true);
                ready!(tray.exchange.body_is_late(cx));
                tray.late.set(true);
                tray.broken.set(true);
                Poll::Ready(Some(Err(Error::from(ErrorKind::TimedOut).into())))
            }
            Poll::Ready(Some(Ok(mut frame))) => {
                tray.begun.set(true);
                // It is the upstream's turn now.
                tray.exchange.body_wanted(false);
                let mut last = tray.body.borrow().is_end_stream();
                if let Some(trailers) = frame.trailers_mut() {
                    forward::trailers(trailers);
                    last = true;
                }
                if last {
                    tray.ended.set(true);
                    tray.exchange.body_taken();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                tray.ended.set(true);
                tray.exchange.body_taken();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(e))) => {
                tray.broken.set(true);
                Poll::Ready(Some(Err(e.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.tray.body.borrow().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.tray.body.borrow().size_hint()
    }
}
