//! The body of an answer: one piece of bytes that tells its conversation when hyper has let go of it.
//!
//! hyper drops a body when it has been copied to the write buffer (or is not to be sent at all);
//! from then on a flush means that the whole answer is on its way.

use super::talk::Talk;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

#[derive(Debug)]
pub struct Payload {
    bytes: Bytes,
    talk: Rc<Talk>,
}

impl Payload {
    /// To be made only where the answer is given: it marks the body as being out.
    pub fn new(bytes: Bytes, talk: Rc<Talk>) -> Payload {
        talk.body_out.set(true);
        Payload { bytes, talk }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.talk.body_out.set(false);
    }
}
