//! One direction of a tunnel: from one socket to the other, small pieces by copy, large ones by splice(2).
//!
//! A read that fills the loop's buffer is followed by a splice, which costs no copy; the pipe comes
//! from the worker's stock when it is needed and goes back when it is empty. The end of one side is passed on
//! as the end of the other (half-close). Never: holds more than one buffer or one pipe.

use super::frames::Frames;
use crate::sys::net;
use crate::sys::splice::Pipe;
use crate::worker::engine::BUFFER;
use crate::worker::engine::io::Io;
use std::cell::RefCell;
use std::io::{Error, ErrorKind, Result};
use std::task::{Context, Poll, ready};

/// Pieces moved before other connections get their turn.
const AT_A_TIME: usize = 16;
/// Bytes asked of one splice; the pipe's size bounds it.
const SPLICE: usize = 1 << 20;
/// Empty pipes kept for the next tunnel that needs one.
const STOCK: usize = 32;

/// One end of a tunnel: a socket, perhaps with TLS on it.
pub trait End {
    /// Reads at most `most` bytes and shows them. `Ok(0)` is the peer's end.
    fn take(&self, cx: &mut Context<'_>, most: usize, show: &mut dyn FnMut(&[u8])) -> Poll<Result<usize>>;
    /// Writes what there is room for.
    fn put(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>>;
    /// Ready when what was written has left.
    fn send(&self, cx: &mut Context<'_>) -> Poll<Result<()>>;
    /// Its bytes are those of the socket: they may be spliced.
    fn is_plain(&self) -> bool;
    fn fill(&self, cx: &mut Context<'_>, pipe: &mut Pipe, most: usize) -> Poll<Result<usize>>;
    fn drain(&self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<Result<usize>>;
    /// Passes an end on.
    fn finish(&self, cx: &mut Context<'_>) -> Poll<Result<()>>;
}

impl End for Io {
    fn take(&self, cx: &mut Context<'_>, most: usize, show: &mut dyn FnMut(&[u8])) -> Poll<Result<usize>> {
        self.read(cx, most, show)
    }

    fn put(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        self.write(cx, bytes)
    }

    fn send(&self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn is_plain(&self) -> bool {
        true
    }

    fn fill(&self, cx: &mut Context<'_>, pipe: &mut Pipe, most: usize) -> Poll<Result<usize>> {
        self.fill(cx, pipe, most)
    }

    fn drain(&self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<Result<usize>> {
        self.drain(cx, pipe)
    }

    fn finish(&self, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(net::shutdown_write(self.as_fd()))
    }
}

/// Pipes that nobody needs at the moment.
#[derive(Debug, Default)]
pub struct Pipes(RefCell<Vec<Pipe>>);

impl Pipes {
    fn take(&self) -> Result<Pipe> {
        self.0.borrow_mut().pop().map_or_else(Pipe::new, Ok)
    }

    fn put(&self, pipe: Pipe) {
        let mut stock = self.0.borrow_mut();
        if pipe.held() == 0 && stock.len() < STOCK {
            stock.push(pipe);
        }
    }
}

/// One direction.
#[derive(Debug, Default)]
pub struct Half {
    /// Read, and not yet written.
    waiting: Vec<u8>,
    pipe: Option<Pipe>,
    /// The last read filled the buffer: more of the same is worth a pipe.
    large: bool,
    /// Pipes can't be had: copy.
    copies: bool,
    end_read: bool,
    /// The end has been passed on.
    pub done: bool,
    /// Where the frames of a WebSocket lie.
    frames: Option<Frames>,
}

impl Half {
    /// A direction in which these bytes come first.
    pub fn new(before: &[u8], frames: bool) -> Half {
        let mut half =
            Half { waiting: before.to_vec(), frames: frames.then(Frames::default), ..Half::default() };
        half.look(before);
        half
    }

    fn look(&mut self, bytes: &[u8]) {
        if let Some(frames) = &mut self.frames {
            frames.feed(bytes);
        }
    }

    /// Nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.pipe.as_ref().is_none_or(|pipe| pipe.held() == 0)
    }

    /// Nothing is under way, and a frame may be put in.
    pub fn takes_a_frame(&self) -> bool {
        !self.end_read && self.is_empty() && self.frames.as_ref().is_some_and(Frames::at_boundary)
    }

    /// Puts bytes of our own in. To be called where `takes_a_frame`.
    pub fn put_in(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
        self.end_read = true;
    }

    /// Moves what can be moved; ready when the end has been passed on. `moved` is told of each piece written.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &dyn End,
        to: &dyn End,
        pipes: &Pipes,
        moved: &mut dyn FnMut(usize),
    ) -> Poll<Result<()>> {
        for _ in 0..AT_A_TIME {
            match self.step(cx, from, to, pipes, moved) {
                Poll::Ready(Ok(())) if self.done => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// One piece.
    fn step(
        &mut self,
        cx: &mut Context<'_>,
        from: &dyn End,
        to: &dyn End,
        pipes: &Pipes,
        moved: &mut dyn FnMut(usize),
    ) -> Poll<Result<()>> {
        if !self.waiting.is_empty() {
            return to.put(cx, &self.waiting).map_ok(|n| {
                moved(n);
                self.waiting.drain(..n);
                if self.waiting.is_empty() {
                    // A tunnel that has fallen silent keeps no buffer.
                    self.waiting = Vec::new();
                }
            });
        }
        if let Some(pipe) = self.pipe.as_mut().filter(|pipe| pipe.held() > 0) {
            return to.drain(cx, pipe).map_ok(&mut *moved);
        }
        ready!(to.send(cx))?;
        if self.end_read {
            self.let_go(pipes);
            let finished = ready!(to.finish(cx));
            self.done = true;
            return Poll::Ready(ended(finished));
        }
        let plain = from.is_plain() && to.is_plain();
        let n = if self.large && plain && self.frames.is_none() && !self.copies {
            self.fill(cx, from, pipes)
        } else {
            self.copy(cx, from, to, moved)
        };
        match n {
            Poll::Ready(Ok(0)) => self.end_read = true,
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
            Poll::Pending => {
                self.large = false;
                self.let_go(pipes);
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn let_go(&mut self, pipes: &Pipes) {
        if let Some(pipe) = self.pipe.take() {
            pipes.put(pipe);
        }
    }

    fn fill(&mut self, cx: &mut Context<'_>, from: &dyn End, pipes: &Pipes) -> Poll<Result<usize>> {
        if self.pipe.is_none() {
            match pipes.take() {
                Ok(pipe) => self.pipe = Some(pipe),
                Err(_) => {
                    // Descriptors have run out: slower, but it goes on.
                    self.copies = true;
                    return Poll::Ready(Ok(1));
                }
            }
        }
        let Some(pipe) = self.pipe.as_mut() else { return Poll::Ready(Ok(1)) };
        let n = ready!(from.fill(cx, pipe, SPLICE))?;
        if n < BUFFER {
            self.large = false;
        }
        Poll::Ready(Ok(n))
    }

    /// Reads into the loop's buffer and writes from there; only what the other side does not take is kept.
    fn copy(
        &mut self,
        cx: &mut Context<'_>,
        from: &dyn End,
        to: &dyn End,
        moved: &mut dyn FnMut(usize),
    ) -> Poll<Result<usize>> {
        let mut end = Ok(());
        // The two ends of an echo are one, and TLS can't do both at once.
        let direct = from.is_plain() && to.is_plain();
        let waker = cx.waker().clone();
        let mut show = |bytes: &[u8]| {
            self.look(bytes);
            let mut taken = 0;
            if direct && !bytes.is_empty() {
                match to.put(&mut Context::from_waker(&waker), bytes) {
                    Poll::Ready(Ok(n)) => taken = n,
                    Poll::Ready(Err(e)) => end = Err(e),
                    Poll::Pending => {}
                }
                moved(taken);
            }
            self.waiting.extend_from_slice(&bytes[taken..]);
        };
        let read = from.take(cx, BUFFER, &mut show);
        end?;
        if let Poll::Ready(Ok(n)) = read {
            self.large = n == BUFFER;
        }
        read
    }
}

/// A peer that is gone altogether has heard the end all right.
fn ended(shut: Result<()>) -> Result<()> {
    shut.or_else(|e: Error| if e.kind() == ErrorKind::NotConnected { Ok(()) } else { Err(e) })
}
