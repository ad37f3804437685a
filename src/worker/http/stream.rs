//! The socket as hyper sees it: bytes in, bytes out, and the moments `Talk` needs to know.
//!
//! A client that has sent its request and then its FIN still gets its answer: the end of input is held back
//! while a request is open (unless its body is cut short). What hyper may have of what came is said by `intake`.

use super::talk::Talk;
use crate::scoreboard::layout::{BYTES_IN, BYTES_OUT};
use hyper::rt::{Read, ReadBufCursor, Write};
use std::io::Result;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

#[derive(Debug)]
pub struct Stream {
    talk: Rc<Talk>,
}

impl Stream {
    pub fn new(talk: Rc<Talk>) -> Stream {
        Stream { talk }
    }
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<Result<()>> {
        let talk = &self.talk;
        let most = cursor.remaining();
        let mut show = |bytes: &[u8]| {
            cursor.put_slice(bytes);
            talk.shown(bytes.len());
        };
        if talk.intake.show_ahead(most, &mut show) {
            return Poll::Ready(talk.is_sound());
        }
        if talk.io.at_eof() && talk.holds_back_the_end(cx) {
            return Poll::Pending;
        }
        loop {
            let mut shown = false;
            let read = talk.io.read(cx, most, |bytes| {
                if !bytes.is_empty() {
                    talk.heard();
                    shown = talk.intake.take_in(bytes, most, &mut show);
                }
            });
            return match read {
                Poll::Ready(Ok(0)) if talk.holds_back_the_end(cx) => Poll::Pending,
                Poll::Ready(Ok(0)) => {
                    // What was held back can't become anything else any more.
                    talk.intake.pass();
                    talk.intake.show_ahead(most, &mut show);
                    Poll::Ready(talk.is_sound())
                }
                Poll::Ready(Ok(n)) => {
                    talk.shared.slot.add(BYTES_IN, n as u64);
                    if !shown {
                        continue;
                    }
                    Poll::Ready(talk.is_sound())
                }
                Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
                Poll::Pending => {
                    talk.hears_nothing();
                    Poll::Pending
                }
            };
        }
    }
}

impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let talk = &self.talk;
        talk.idle.set(false);
        let sent = talk.io.write(cx, bytes);
        if let Poll::Ready(Ok(n)) = sent {
            talk.shared.slot.add(BYTES_OUT, n as u64);
        }
        sent
    }

    /// hyper calls this only when its own buffer is empty.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.talk.io.flush(cx))?;
        self.talk.flushed();
        Poll::Ready(Ok(()))
    }

    /// Closing is the loop's business: it may have to linger.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }
}
