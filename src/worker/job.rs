//! What a task of the loop can be: one type for all, so that the table of tasks needs to know no more.
//!
//! Tasks of a connection carry its key as their tag; loose ones (lookups, connections shared by many requests) carry `LOOSE`.

use super::engine::Loose;
use super::http::serve::{self, Serve};
use super::opening::{Opened, Opening};
use super::tunnel::{self, Tunnel};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The tag of a task that belongs to no connection.
pub const LOOSE: usize = usize::MAX;

// The table of tasks puts each into a box.
#[allow(clippy::large_enum_variant)]
pub enum Job {
    Opening(Opening),
    Http(Serve),
    Tunnel(Tunnel),
    Loose(Loose),
}

/// How a job ended.
#[derive(Debug)]
pub enum Ended {
    Opening(io::Result<Opened>),
    Http(serve::Ended),
    Tunnel(tunnel::Ended),
    Loose,
}

impl Future for Job {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        match &mut *self {
            Job::Opening(opening) => Pin::new(opening).poll(cx).map(Ended::Opening),
            Job::Http(serve) => Pin::new(serve).poll(cx).map(Ended::Http),
            Job::Tunnel(tunnel) => Pin::new(tunnel).poll(cx).map(Ended::Tunnel),
            Job::Loose(future) => future.as_mut().poll(cx).map(|()| Ended::Loose),
        }
    }
}
