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

pub struct Payload {
    content: Content,
    exchange: Exchange,
}

impl Payload {
    /// To be made only where the answer is given: it marks the body as being out.
    pub fn new(content: Content, exchange: Exchange) -> Payload {
        exchange.body_out(true);
        Payload { content, exchange }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
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
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.exchange.docket().sent(data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Bytes(bytes) => bytes.is_empty(),
            Content::Relay(relay) => relay.is_end_stream(),
            Content::File(file) => file.is_end_stream(),
        }
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
