//! One HTTP/2 connection to an upstream, shared by all requests to it (RFC 9113, by prior knowledge).
//!
//! The connection runs beside the requests and ends when nobody holds a sender of it any more. A `Lane` is
//! one request's hold. Never: retries, knows a timeout.

use super::link::Line;
use super::upload::Upload;
use crate::model::Moment;
use crate::worker::engine::Handle;
use crate::worker::engine::wires::Wire;
use hyper::client::conn::http2::{Builder, SendRequest};
use std::error::Error;
use std::future::Future;
use std::rc::Rc;

/// Bytes of an answer that an upstream may send before it is asked for more.
const WINDOW: u32 = 256 * 1024;

/// Has bodies of requests run beside the connection.
#[derive(Clone, Debug)]
struct Beside(Rc<Handle>);

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Beside {
    fn execute(&self, future: F) {
        self.0.spawn(Box::pin(future));
    }
}

/// A way to send requests to one server.
#[derive(Clone)]
pub struct Lane {
    pub sender: SendRequest<Upload>,
    pub used: bool,
    /// When the last request went this way.
    pub used_at: Moment,
}

impl Lane {
    /// Puts hyper on a connected socket, and has it run beside us.
    pub async fn new(engine: &Rc<Handle>, wire: Wire, max_head: u32) -> hyper::Result<Lane> {
        let mut builder = Builder::new(Beside(engine.clone()));
        builder
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW * 4)
            .max_send_buf_size(WINDOW as usize)
            .max_header_list_size(max_head);
        let (sender, connection) = builder.handshake(Line::new(Rc::new(wire), Rc::default())).await?;
        engine.spawn(Box::pin(async move {
            // How it ended is told to each request that was under way.
            let _ = connection.await;
        }));
        Ok(Lane { sender, used: false, used_at: engine.now() })
    }

    /// The server has not looked at the request that ended so (RFC 9113, 8.7): it goes, and has said up to where it has
    /// come, or has refused the stream.
    pub fn is_untouched(error: &hyper::Error) -> bool {
        let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
        cause.filter(|cause| cause.is_remote()).is_some_and(|cause| {
            cause.is_go_away() || cause.is_reset() && cause.reason() == Some(h2::Reason::REFUSED_STREAM)
        })
    }

    /// Another request may go this way.
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }
}
