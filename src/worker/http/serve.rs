//! The future that runs hyper on one socket until the connection is idle or over.
//!
//! An idle connection is taken back from hyper (its buffers are a hundred times the socket's cost): at
//! once, or, as long as few are, when it has been idle for a moment (`Talk::keep_warm`).
//! If hyper had already read part of a next request, a new one is built over those bytes.
//! Never: closes or parks the socket; it tells the loop what to do with it.

use super::Http;
use super::proxy::Switch;
use super::service::App;
use super::stream::Stream;
use super::streams::Aboard;
use super::talk::Talk;
use crate::worker::engine::timers::Delay;
use crate::worker::shared::Shared;
use bytes::Bytes;
use hyper::server::conn::{http1, http2};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// How long streams are waited for that are to let go of a connection: they do so in their next turn.
const LET_GO: Duration = Duration::from_secs(1);

/// How a conversation ended.
#[derive(Debug)]
pub enum Ended {
    /// Everything is answered, nothing of a next request is here: park it.
    Idle,
    /// The client closes too (it said so, or has sent its FIN): a plain close loses nothing.
    Over,
    /// We close, and the client may still be sending: linger, so that no reset overtakes the answer.
    Linger,
    /// Reset, cut short or unreadable.
    Broken,
    /// A 101 has been sent; these bytes of the client's have been read behind its request.
    Switch(Box<Switch>, Bytes),
}

/// hyper at work. It is part of a task, which is in a box already.
#[allow(clippy::large_enum_variant)]
enum Hyper {
    One(http1::Connection<Stream, App>),
    Two(Box<http2::Connection<Stream, App, Aboard>>),
}

struct Parting {
    end: Ended,
    limit: Delay,
}

pub struct Serve {
    connection: Option<Hyper>,
    /// HTTP/2 has ended in this way, and is waiting for its streams to let go of the socket.
    parting: Option<Parting>,
    http: Rc<Http>,
    shared: Rc<Shared>,
    talk: Rc<Talk>,
}

impl Serve {
    pub fn new(http: Rc<Http>, shared: Rc<Shared>, talk: Rc<Talk>) -> Serve {
        let connection = Some(build(&http, &talk));
        Serve { connection, parting: None, http, shared, talk }
    }

    /// hyper has nothing to do: idle, or waiting for something.
    fn pause(&mut self, cx: &Context<'_>) -> Poll<Ended> {
        let talk = &self.talk;
        if talk.io.is_broken() {
            if talk.is_open() {
                talk.blame();
            }
            return Poll::Ready(Ended::Broken);
        }
        // Whatever it waits for, a reset is to be heard of: hyper may not be reading.
        talk.io.arm(cx);
        if !talk.idle.get() && talk.touched.get() {
            if !talk.is_open() {
                talk.reading_head();
            }
            return Poll::Pending;
        }
        if talk.idle.get() && talk.keep_warm() {
            return Poll::Pending;
        }
        talk.cool();
        let Some(Hyper::One(connection)) = self.connection.take() else { return Poll::Ready(Ended::Over) };
        talk.intake.put_back(connection.into_parts().read_buf);
        if !talk.intake.has_ahead() {
            return Poll::Ready(Ended::Idle);
        }
        talk.restart();
        self.connection = Some(build(&self.http, talk));
        // In its turn: one client's pipeline must not hold up everybody else.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// HTTP/2 has ended, and its streams with it: the socket is theirs, too, until they have.
    fn part(&mut self, end: Ended, cx: &mut Context<'_>) -> Poll<Ended> {
        let Some(streams) = self.talk.streams() else { return Poll::Ready(end) };
        self.connection = None;
        streams.end();
        let limit = Delay::new(&self.shared.engine, LET_GO);
        self.parting = Some(Parting { end, limit });
        self.poll_parting(cx)
    }

    fn poll_parting(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let (Some(streams), Some(parting)) = (self.talk.streams(), &mut self.parting) else {
            return Poll::Ready(Ended::Over);
        };
        let gone = streams.poll_none(cx).is_ready() || Pin::new(&mut parting.limit).poll(cx).is_ready();
        match self.parting.take() {
            Some(Parting { end, .. }) if gone => Poll::Ready(end),
            parting => {
                self.parting = parting;
                Poll::Pending
            }
        }
    }

    /// hyper has ended the connection without an error.
    fn over(&mut self) -> Ended {
        if let Some(Hyper::One(connection)) = self.connection.take() {
            self.talk.intake.put_back(connection.into_parts().read_buf);
        }
        let rest = self.talk.intake.take_ahead();
        if let Some(switch) = self.talk.switch.take() {
            // hyper tells nothing of what it could not write of the 101.
            if self.talk.io.stuck_since().is_some() {
                return Ended::Broken;
            }
            return Ended::Switch(switch, rest);
        }
        let unread = !rest.is_empty();
        // Quiet tells nothing of an HTTP/2 client: it may have a word to say about anything.
        let quiet = !self.talk.is_multiplexed() && self.talk.is_quiet();
        let ended_by_client = self.talk.io.at_eof() || quiet;
        if self.talk.we_close.get() || unread || !ended_by_client { Ended::Linger } else { Ended::Over }
    }

    /// hyper gave up. After a head it could not read it has already sent 400, 414 or 431.
    fn failed(&mut self, error: &hyper::Error, cx: &mut Context<'_>) -> Poll<Ended> {
        if error.is_parse_version_h2() && self.http.http2 && !self.talk.is_open() {
            return self.take_up_http2(cx);
        }
        self.talk.blame();
        slog::debug!(self.shared.log, "connection ended by an error: {error}");
        let answered = error.is_parse() && !error.is_parse_version_h2() && !self.talk.is_open();
        if answered {
            self.talk.refused(400);
        }
        // HTTP/2 says why in a GOAWAY, which is not to be overtaken by a reset.
        let end = if answered || self.talk.is_multiplexed() { Ended::Linger } else { Ended::Broken };
        self.part(end, cx)
    }

    /// The client began with HTTP/2's preface (RFC 9113, 3.3): what hyper has read of it is read again.
    fn take_up_http2(&mut self, cx: &Context<'_>) -> Poll<Ended> {
        let Some(Hyper::One(connection)) = self.connection.take() else { return Poll::Ready(Ended::Broken) };
        self.talk.intake.put_back(connection.into_parts().read_buf);
        self.talk.multiplex();
        self.connection = Some(build(&self.http, &self.talk));
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// HTTP/2 waits for something, or for nothing.
    fn pause_http2(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        if self.talk.io.is_broken() {
            self.talk.blame();
            return Poll::Ready(Ended::Broken);
        }
        let talk = &self.talk;
        if let Some(streams) = talk.streams()
            && streams.farewell.get().is_none()
            && (self.shared.draining.get() || streams.leaving.get() || talk.ending.get())
            && let Some(Hyper::Two(connection)) = self.connection.as_mut()
        {
            streams.farewell.set(Some(self.shared.engine.now()));
            Pin::new(&mut **connection).graceful_shutdown();
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

fn build(http: &Rc<Http>, talk: &Rc<Talk>) -> Hyper {
    let stream = Stream::new(talk.clone());
    let app = App::new(http.clone(), talk.clone());
    if talk.is_multiplexed() {
        Hyper::Two(Box::new(http.settings2(talk).serve_connection(stream, app)))
    } else {
        Hyper::One(http.builder.serve_connection(stream, app))
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // Ended from outside, perhaps: no stream may go on by itself.
        if let Some(streams) = self.talk.streams() {
            streams.end();
        }
    }
}

impl Future for Serve {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        if self.parting.is_some() {
            return self.poll_parting(cx);
        }
        let polled = match self.connection.as_mut() {
            Some(Hyper::One(connection)) => connection.poll_without_shutdown(cx),
            Some(Hyper::Two(connection)) => Pin::new(&mut **connection).poll(cx),
            None => return Poll::Ready(Ended::Over),
        };
        match polled {
            Poll::Pending if self.talk.is_multiplexed() => self.pause_http2(cx),
            Poll::Pending => self.pause(cx),
            Poll::Ready(Ok(())) => {
                let end = self.over();
                self.part(end, cx)
            }
            Poll::Ready(Err(error)) => self.failed(&error, cx),
        }
    }
}
