//! A connection to an upstream for one request: HTTP/1.1, driven by whoever uses it, or a share of an HTTP/2 one.
//!
//! A `Link` is not a task: the request that holds it polls it, and while it is idle nobody does (`is_fresh` looks at it
//! before it is used again, and the pool's sweep now and then). Dropping it closes the connection.
//! Never: retries, knows a timeout.

use super::lane::Lane;
use super::upload::Upload;
use crate::model::Moment;
use crate::worker::engine::wires::Wire;
use crate::worker::upstream::Index;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{Request, Response};
use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// An upstream's socket as hyper sees it.
///
/// One that takes nothing more may have said why: a failed write is not told, and the end that is read behind
/// that word is an error.
#[derive(Debug)]
pub struct Line {
    wire: Rc<Wire>,
    /// Nothing more is taken.
    deaf: bool,
}

impl Line {
    pub fn new(wire: Rc<Wire>) -> Line {
        Line { wire, deaf: false }
    }
}

impl Read for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.wire.read(cx, cursor.remaining(), |bytes| cursor.put_slice(bytes)) {
            Poll::Ready(Ok(0)) if self.deaf => Poll::Ready(Err(ErrorKind::ConnectionReset.into())),
            read => read.map_ok(drop),
        }
    }
}

impl Write for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.deaf {
            match self.wire.write(cx, bytes) {
                Poll::Ready(Err(_)) => self.deaf = true,
                written => return written,
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A connection to a server of a group.
pub struct Link {
    pub server: Index,
    /// It has been used before: the server may have closed it meanwhile.
    pub used: bool,
    /// Since when nobody uses it.
    pub idle_since: Moment,
    way: Way,
}

/// By which protocol.
enum Way {
    One(Box<One>),
    Two(Lane),
}

/// HTTP/1.1: the connection is this request's alone.
struct One {
    wire: Rc<Wire>,
    sender: SendRequest<Upload>,
    connection: Option<Connection<Line, Upload>>,
}

/// What `Link::try_send` gives: an answer, or an error with the request if it was not sent.
pub type Answered = Result<Response<Incoming>, TrySendError<Request<Upload>>>;

impl Link {
    /// Puts hyper on a connected socket.
    pub async fn new(builder: &Builder, server: Index, wire: Wire, now: Moment) -> hyper::Result<Link> {
        let wire = Rc::new(wire);
        let (sender, connection) = builder.handshake(Line::new(wire.clone())).await?;
        let way = Way::One(Box::new(One { wire, sender, connection: Some(connection) }));
        Ok(Link { server, used: false, idle_since: now, way })
    }

    /// One request's part of a shared connection.
    pub fn shared(server: Index, lane: Lane) -> Link {
        Link { server, used: lane.used, idle_since: lane.used_at, way: Way::Two(lane) }
    }

    /// Hands a request over; `drive` sends it.
    pub fn try_send(&mut self, request: Request<Upload>) -> Pin<Box<dyn Future<Output = Answered>>> {
        match &mut self.way {
            Way::One(one) => Box::pin(one.sender.try_send_request(request)),
            Way::Two(lane) => Box::pin(lane.sender.try_send_request(request)),
        }
    }

    /// Lets the connection do what it can; ready when it has ended. A shared one runs by itself.
    pub fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Way::One(one) = &mut self.way else { return Poll::Pending };
        let Some(connection) = one.connection.as_mut() else { return Poll::Ready(()) };
        match connection.poll_without_shutdown(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(end) => {
                // Whoever waits for the answer hears of an error; a switched connection is wanted whole.
                if end.is_err() {
                    one.connection = None;
                }
                Poll::Ready(())
            }
        }
    }

    /// True if it may be kept and another request be sent: it is idle, open, and the server has sent nothing unasked.
    pub fn is_fresh(&mut self) -> bool {
        // A future of nobody: what it waits for wakes nobody either.
        let mut cx = Context::from_waker(Waker::noop());
        let idle = self.drive(&mut cx).is_pending();
        match &self.way {
            Way::One(one) => idle && one.sender.is_ready() && !one.wire.is_broken(),
            Way::Two(_) => false,
        }
    }

    /// When the server last sent anything; `None` where others share the connection.
    pub fn last_read(&self) -> Option<Moment> {
        match &self.way {
            Way::One(one) => Some(one.wire.last_read()),
            Way::Two(_) => None,
        }
    }

    /// Since when the server takes nothing.
    pub fn stuck_since(&self) -> Option<Moment> {
        match &self.way {
            Way::One(one) => one.wire.stuck_since(),
            Way::Two(_) => None,
        }
    }

    /// After a 101: the socket, and what hyper has read beyond the head.
    pub fn switch(self) -> Option<(Wire, Bytes)> {
        let Way::One(one) = self.way else { return None };
        let One { wire, connection, sender } = *one;
        drop(sender);
        let parts = connection?.into_parts();
        drop(parts.io);
        Some((Rc::into_inner(wire)?, parts.read_buf))
    }
}
