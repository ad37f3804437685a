//! The body of a file's answer: pieces read on helper threads, one when the last has been taken.
//!
//! The first piece comes with the head. Nothing is read ahead of what hyper asks for: the socket's
//! buffer bridges the gap, and the kernel reads ahead by itself. A file that turns out shorter than it was said to be
//! ends in an error, so that the client sees the cut; one that grows is sent as long as it was.

use crate::worker::engine::helpers::{Helpers, Running};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Bytes read at once, and kept of each body at most.
pub const PIECE: usize = 64 * 1024;

/// An open file and its whole name, for what is said of it.
#[derive(Debug)]
pub struct Source {
    pub file: File,
    pub path: PathBuf,
}

impl Source {
    /// Reads exactly so many bytes from there. pread(2).
    pub fn read(&self, start: u64, length: usize) -> io::Result<Bytes> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start).map_err(|error| {
            let path = self.path.display();
            let why = match error.kind() {
                ErrorKind::UnexpectedEof => "it has become shorter while it was sent".to_owned(),
                _ => error.to_string(),
            };
            io::Error::new(error.kind(), format!("read {length} bytes of {path} at {start}: {why}"))
        })?;
        Ok(Bytes::from(bytes))
    }
}

/// What has not been read yet.
#[derive(Clone, Debug)]
pub struct Rest {
    pub source: Arc<Source>,
    /// Where it begins in the file.
    pub start: u64,
    /// Its length, in bytes; at least one.
    pub length: u64,
}

/// What an answer holds, before it is a body.
#[derive(Clone, Debug)]
pub enum Content {
    Nothing,
    Whole(Bytes),
    /// The first piece, and what follows.
    Begun(Bytes, Rest),
}

/// The body. Its errors are made for the log: what was read, where, and why it failed.
pub struct FileBody {
    piece: Bytes,
    rest: Option<(Rest, Rc<Helpers>)>,
    reading: Option<Running<io::Result<Bytes>>>,
}

impl FileBody {
    pub fn new(content: Content, helpers: &Rc<Helpers>) -> FileBody {
        let (piece, rest) = match content {
            Content::Nothing => (Bytes::new(), None),
            Content::Whole(bytes) => (bytes, None),
            Content::Begun(first, rest) => (first, Some((rest, helpers.clone()))),
        };
        FileBody { piece, rest, reading: None }
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let body = &mut *self;
        if !body.piece.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut body.piece)))));
        }
        let Some((rest, helpers)) = &mut body.rest else { return Poll::Ready(None) };
        let reading = body.reading.get_or_insert_with(|| {
            let (source, start) = (rest.source.clone(), rest.start);
            let length = rest.length.min(PIECE as u64) as usize;
            // The answer has begun: this may not be refused any more.
            helpers.go_on(move || source.read(start, length))
        });
        let read = ready!(Pin::new(reading).poll(cx)).map_err(io::Error::other).and_then(|read| read);
        body.reading = None;
        match &read {
            Ok(bytes) if (bytes.len() as u64) < rest.length => {
                rest.start += bytes.len() as u64;
                rest.length -= bytes.len() as u64;
            }
            _ => body.rest = None,
        }
        Poll::Ready(Some(read.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.piece.is_empty() && self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.as_ref().map_or(0, |(rest, _)| rest.length);
        SizeHint::with_exact(self.piece.len() as u64 + rest)
    }
}
