//! One attempt to have a request answered by one server, and why it gave no answer.
//!
//! `Proxy::attempts` makes as many of them as can do no harm; `course` says what may be tried next.
//! Never: tries again, tells the client anything.

use super::lane::Lane;
use super::link::{Answered, Link};
use super::upload::{Tray, Upload};
use super::{Proxy, root};
use crate::worker::engine::timers::Watch;
use hyper::body::Incoming;
use hyper::{Request, Response};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// Why an attempt gave no answer.
pub enum Failure {
    /// Nothing of the request has left.
    Unsent(String, Box<Request<Upload>>),
    /// The upstream says that it has not looked at it, and that it will not do so on this connection.
    Untouched,
    /// The upstream may have seen the request.
    Lost(String),
    Late(&'static str, Duration),
    /// The client's own body was broken.
    Client,
}

impl Proxy {
    /// Sends the request that was handed to a link, and waits for the head of its answer.
    pub(super) async fn attempt(
        &self,
        link: &mut Link,
        mut answer: Pin<&mut dyn Future<Output = Answered>>,
        tray: &Tray,
    ) -> Result<Response<Incoming>, Failure> {
        let mut stuck = Watch::new(&self.engine, self.write_timeout);
        let mut sent = self.engine.now();
        poll_fn(|cx| {
            let uploading = !tray.has_ended();
            // Its end shows in the answer, which says more.
            let _ = if uploading { link.drive(cx) } else { link.drive_alone(cx) };
            if let Poll::Ready(end) = answer.as_mut().poll(&mut link.listener(cx)) {
                return Poll::Ready(end.map_err(|mut error| {
                    let unsent = error.take_message();
                    let why = if tray.is_broken() { None } else { Some(cause(error.error())) };
                    match (unsent, why) {
                        (_, None) => Failure::Client,
                        (Some(request), Some(why)) => Failure::Unsent(why, Box::new(request)),
                        (None, _) if Lane::is_untouched(error.error()) => Failure::Untouched,
                        (None, Some(why)) => Failure::Lost(why),
                    }
                }));
            }
            if let Some(since) = link.stuck_since()
                && stuck.poll(cx, since).is_ready()
            {
                return Poll::Ready(Err(Failure::Late("not reading", self.write_timeout)));
            }
            if uploading {
                // It was the client's turn, or the upstream takes what comes.
                sent = self.engine.now();
            }
            let heard = link.last_read().unwrap_or(sent);
            if link.silence.poll(cx, sent.max(heard)).is_ready() && tray.has_ended() {
                return Poll::Ready(Err(Failure::Late("silent", self.read_timeout)));
            }
            Poll::Pending
        })
        .await
    }
}

/// What hyper says of a failed exchange, in words that follow "the upstream".
fn cause(error: &hyper::Error) -> String {
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        "closed the connection before its answer was complete".to_owned()
    } else if error.is_parse_too_large() {
        "answered with a head that is too large".to_owned()
    } else if error.is_parse() {
        format!("answered something that is no HTTP: {}", root(error))
    } else {
        format!("broke the connection: {}", root(error))
    }
}
