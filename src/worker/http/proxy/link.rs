//! A connection to an upstream for one request: HTTP/1.1, driven by whoever uses it, or a share of an HTTP/2 one.
//!
//! A `Link` is not a task: the request that holds it polls it, and while it is idle nobody does (`is_fresh` looks at it
//! before it is used again, and the pool's sweep now and then). Dropping it closes the connection.
//! Never: retries, ends anything for its silence.

use super::again::{Duplicate, Spare};
use super::lane::Lane;
use super::upload::{Tray, Upload};
use crate::model::Moment;
use crate::worker::engine::timers::Watch;
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
    /// Where heads are kept.
    copy: Rc<Duplicate>,
    /// Nothing more is taken.
    deaf: bool,
}

impl Line {
    pub fn new(wire: Rc<Wire>, copy: Rc<Duplicate>) -> Line {
        Line { wire, copy, deaf: false }
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
        self.copy.take(bytes);
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

/// A connection to a server of a group. It is handed on as a `Box`: it is large, and goes from hand to hand with each request.
pub struct Link {
    pub server: Index,
    /// It has been used before: the server may have closed it meanwhile.
    pub used: bool,
    /// Since when nobody uses it.
    pub idle_since: Moment,
    /// How long the server may be silent before it answers. It stays with the connection, so that it is not set anew for
    /// each request.
    pub silence: Watch,
    way: Way,
}

/// By which protocol. The larger one is the common one, and a `Link` is in a box already.
#[allow(clippy::large_enum_variant)]
enum Way {
    One(One),
    /// With what its request can be made from once more.
    Two(Lane, Option<Box<Spare>>),
}

/// HTTP/1.1: the connection is this request's alone.
struct One {
    wire: Rc<Wire>,
    copy: Rc<Duplicate>,
    sender: SendRequest<Upload>,
    connection: Option<Connection<Line, Upload>>,
    /// hyper has ended it.
    ended: bool,
}

/// What comes of a request: an answer, or an error with the request if it was not sent.
pub type Answered = Result<Response<Incoming>, TrySendError<Request<Upload>>>;

/// What `Link::try_send` gives, by protocol.
pub enum Sent<F> {
    One(F),
    Two(Pin<Box<dyn Future<Output = Answered>>>),
}

impl Link {
    /// Puts hyper on a connected socket.
    pub async fn new(
        builder: &Builder,
        server: Index,
        wire: Wire,
        silence: Watch,
    ) -> hyper::Result<Box<Link>> {
        let idle_since = wire.last_read();
        let (wire, copy) = (Rc::new(wire), Rc::new(Duplicate::default()));
        let (sender, connection) = builder.handshake(Line::new(wire.clone(), copy.clone())).await?;
        let way = Way::One(One { wire, copy, sender, connection: Some(connection), ended: false });
        Ok(Box::new(Link { server, used: false, idle_since, silence, way }))
    }

    /// One request's part of a shared connection.
    pub fn shared(server: Index, lane: Lane, silence: Watch) -> Box<Link> {
        let (used, idle_since) = (lane.used, lane.used_at);
        Box::new(Link { server, used, idle_since, silence, way: Way::Two(lane, None) })
    }

    /// Hands a request over; `drive` sends it. What it takes to send it `again` is kept.
    pub fn try_send(&mut self, request: Request<Upload>) -> Sent<impl Future<Output = Answered> + use<>> {
        match &mut self.way {
            Way::One(one) => {
                one.copy.prepare(&request);
                Sent::One(one.sender.try_send_request(request))
            }
            Way::Two(lane, spare) => {
                *spare = Some(Box::new(Spare::of(&request)));
                Sent::Two(Box::pin(lane.sender.try_send_request(request)))
            }
        }
    }

    /// The request that was sent last, with the body that is on the tray. `None` if it is not there any more, which is so with
    /// HTTP/1.1 wherever a second delivery may do harm.
    pub fn again(&mut self, tray: &Tray) -> Option<Request<Upload>> {
        let head = match &mut self.way {
            Way::One(one) => one.copy.read_back(),
            Way::Two(_, spare) => spare.take().map(|spare| spare.into_request()),
        };
        head.map(|head| head.map(|()| Upload::new(tray)))
    }

    /// Lets the connection do what it can; ready when it has ended. A shared one runs by itself.
    pub fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Way::One(one) = &mut self.way else { return Poll::Pending };
        let Some(connection) = one.connection.as_mut().filter(|_| !one.ended) else { return Poll::Ready(()) };
        match connection.poll_without_shutdown(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(end) => {
                one.ended = true;
                // Whoever waits for the answer hears of an error; a switched connection is wanted whole.
                if end.is_err() {
                    one.connection = None;
                }
                Poll::Ready(())
            }
        }
    }

    /// As `drive`, where only the socket can have something to say: no body goes to the server. What hyper wakes meanwhile is
    /// the task that drives it.
    pub fn drive_alone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let driven = self.drive(&mut Context::from_waker(Waker::noop()));
        if let (Poll::Pending, Way::One(one)) = (driven, &self.way) {
            one.wire.arm(cx);
            // hyper has stopped so that others get their turn, and relies on being called again.
            if one.wire.may_read() {
                cx.waker().wake_by_ref();
            }
        }
        driven
    }

    /// True if others use the connection as well, and somebody else drives it.
    pub fn is_shared(&self) -> bool {
        matches!(self.way, Way::Two(..))
    }

    /// With whose waker that is polled which comes from hyper's end of the connection: what comes while a task drives it is
    /// found by that task right after, and need not wake it once more.
    pub fn listener<'a>(&self, cx: &'a Context<'_>) -> Context<'a> {
        Context::from_waker(if self.is_shared() { cx.waker() } else { Waker::noop() })
    }

    /// True if it was free for another request when it was driven last.
    pub fn is_free(&self) -> bool {
        match &self.way {
            Way::One(one) => !one.ended && one.sender.is_ready() && !one.wire.is_broken(),
            Way::Two(..) => false,
        }
    }

    /// True if it may be kept and another request be sent: it is idle, open, and the server has sent nothing unasked.
    pub fn is_fresh(&mut self) -> bool {
        // It was free when it was driven last, and its socket has had no event since.
        if self.is_free() && self.is_still() {
            return true;
        }
        // A future of nobody: what it waits for wakes nobody either.
        let mut cx = Context::from_waker(Waker::noop());
        let _ = self.drive(&mut cx);
        self.is_free()
    }

    /// Its socket has nothing to say.
    fn is_still(&self) -> bool {
        matches!(&self.way, Way::One(one) if !one.wire.may_read() && !one.wire.has_fin())
    }

    /// When the server last sent anything; `None` where others share the connection.
    pub fn last_read(&self) -> Option<Moment> {
        match &self.way {
            Way::One(one) => Some(one.wire.last_read()),
            Way::Two(..) => None,
        }
    }

    /// Since when the server takes nothing.
    pub fn stuck_since(&self) -> Option<Moment> {
        match &self.way {
            Way::One(one) => one.wire.stuck_since(),
            Way::Two(..) => None,
        }
    }

    /// After a 101: the socket, and what hyper has read beyond the head.
    pub fn switch(self) -> Option<(Wire, Bytes)> {
        let Way::One(One { wire, connection, sender, .. }) = self.way else { return None };
        drop(sender);
        let parts = connection?.into_parts();
        drop(parts.io);
        Some((Rc::into_inner(wire)?, parts.read_buf))
    }
}
