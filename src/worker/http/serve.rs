//! The future that runs hyper on one socket until the connection is idle or over.
//!
//! An idle connection is taken back from hyper (its buffers are a hundred times the socket's cost): at
//! once, or, as long as few are, when it has been idle for a moment (`Talk::keep_warm`).
//! If hyper had already read part of a next request, a new one is built over those bytes.
//! Never: closes or parks the socket; it tells the loop what to do with it.

use super::Http;
use super::service::App;
use super::stream::Stream;
use super::talk::Talk;
use crate::worker::shared::Shared;
use bytes::Bytes;
use hyper::server::conn::http1::Connection;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

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
}

pub struct Serve {
    connection: Option<Connection<Stream, App>>,
    http: Rc<Http>,
    shared: Rc<Shared>,
    talk: Rc<Talk>,
}

impl Serve {
    pub fn new(http: Rc<Http>, shared: Rc<Shared>, talk: Rc<Talk>, before: Bytes) -> Serve {
        let connection = Some(build(&http, &talk, before));
        Serve { connection, http, shared, talk }
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
        let Some(connection) = self.connection.take() else { return Poll::Ready(Ended::Over) };
        let rest = connection.into_parts().read_buf;
        if rest.is_empty() {
            return Poll::Ready(Ended::Idle);
        }
        talk.restart();
        self.connection = Some(build(&self.http, talk, rest));
        // In its turn: one client's pipeline must not hold up everybody else.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// hyper has ended the connection without an error.
    fn over(&mut self) -> Ended {
        let unread =
            self.connection.take().is_some_and(|connection| !connection.into_parts().read_buf.is_empty());
        let ended_by_client = self.talk.io.at_eof() || self.talk.quiet.get();
        if self.talk.we_close.get() || unread || !ended_by_client { Ended::Linger } else { Ended::Over }
    }

    /// hyper gave up. After a head it could not read it has already sent 400, 414 or 431.
    fn failed(&self, error: &hyper::Error) -> Ended {
        self.talk.blame();
        slog::debug!(self.shared.log, "connection ended by an error: {error}");
        if error.is_parse() && !error.is_parse_version_h2() && !self.talk.is_open() {
            self.shared.slot.response(400);
            return Ended::Linger;
        }
        Ended::Broken
    }
}

fn build(http: &Rc<Http>, talk: &Rc<Talk>, before: Bytes) -> Connection<Stream, App> {
    let stream = Stream::new(talk.clone(), before);
    http.builder.serve_connection(stream, App::new(http.clone(), talk.clone()))
}

impl Future for Serve {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let Some(connection) = self.connection.as_mut() else { return Poll::Ready(Ended::Over) };
        match connection.poll_without_shutdown(cx) {
            Poll::Pending => self.pause(cx),
            Poll::Ready(Ok(())) => Poll::Ready(self.over()),
            Poll::Ready(Err(error)) => Poll::Ready(self.failed(&error)),
        }
    }
}
