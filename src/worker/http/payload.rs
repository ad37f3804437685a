//! The body of an answer, and the moment in which hyper has let go of it.
//!
//! hyper drops a body when it has been copied to the write buffer (or is not to be sent at all);
//! from then on a flush means that the whole answer is on its way.

use super::exchange::Exchange;
use super::files::body::FileBody;
use super::proxy::relay::{Cut, Relay};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use slog::warn;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Where an answer's body comes from.
pub enum Content {
    Bytes(Bytes),
    Relay(Box<Relay>),
    File(FileBody),
}

/// Bytes that a stream is given at once: its client is slow if it has no room for more of them for too long.
const PIECE: usize = 16 * 1024;
/// hyper lets go of the last piece when there is room for a byte of it. Of a larger one that is a piece of its own, so that
/// it is known how long the client takes for all the others.
const LAST: usize = 1024;

pub struct Payload {
    content: Content,
    exchange: Exchange,
    /// What a stream is not given yet.
    rest: Bytes,
}

impl Payload {
    /// To be made only where the answer is given: it marks the body as being out.
    pub fn new(content: Content, exchange: Exchange) -> Payload {
        exchange.body_out(true);
        Payload { content, exchange, rest: Bytes::new() }
    }

    /// Notes what hyper gets.
    fn given(&self, polled: Polled) -> Polled {
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.exchange.docket().sent(data.len() as u64);
        }
        self.exchange.body_asked(matches!(polled, Poll::Ready(Some(Ok(_)))));
        polled
    }

    /// The next piece of what there is.
    fn piece(&mut self) -> Option<Bytes> {
        let is_last = self.content.is_end_stream();
        let n = match self.rest.len() {
            0 => return None,
            n if n > PIECE => PIECE,
            n if is_last && n > LAST => n - 1,
            n => n,
        };
        Some(self.rest.split_to(n))
    }
}

type Polled = Poll<Option<Result<Frame<Bytes>, Cut>>>;

impl Content {
    fn is_end_stream(&self) -> bool {
        match self {
            Content::Bytes(bytes) => bytes.is_empty(),
            Content::Relay(relay) => relay.is_end_stream(),
            Content::File(file) => file.is_end_stream(),
        }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        if let Some(piece) = self.piece() {
            return self.given(Poll::Ready(Some(Ok(Frame::data(piece)))));
        }
        let polled = match &mut self.content {
            Content::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Bytes(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Relay(relay) => Pin::new(&mut **relay).poll_frame(cx),
            Content::File(file) => Pin::new(file).poll_frame(cx).map_err(|error| {
                self.exchange.blame();
                warn!(self.exchange.shared().log, "an answer breaks off: {error}");
                error.into()
            }),
        };
        match polled {
            Poll::Ready(Some(Ok(frame)))
                if frame.is_data() && matches!(self.exchange, Exchange::Stream(_)) =>
            {
                self.rest = frame.into_data().unwrap_or_default();
                let piece = self.piece().unwrap_or_default();
                self.given(Poll::Ready(Some(Ok(Frame::data(piece)))))
            }
            polled => self.given(polled),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Relay(relay) => relay.size_hint(),
            Content::File(file) => file.size_hint(),
        }
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.exchange.body_out(false);
    }
}
