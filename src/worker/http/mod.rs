//! HTTP service of a worker, versions 1 and 2: routes, answers, and the future that runs hyper on one socket.
//!
//! `Http` is made once from the config; `Http::talk` turns a readable socket into a `Serve` future.
//! HTTP itself is hyper's business. Timeouts are not here: the loop's sweep reads them off the `Talk`.
//! Never: touches another connection, accepts, closes a socket.

pub mod chunks;
pub mod exchange;
pub mod files;
pub mod gate;
pub mod intake;
pub mod noted;
pub mod payload;
pub mod proxy;
pub mod reply;
pub mod routes;
pub mod serve;
pub mod service;
pub mod status;
pub mod stream;
pub mod streams;
pub mod talk;

use super::shared::Shared;
use crate::config;
use crate::model::Moment;
use hyper::server::conn::http1::Builder;
use hyper::server::conn::http2;
use routes::Routes;
use serve::Serve;
use std::rc::Rc;
use std::time::Duration;
use streams::Aboard;
use talk::Talk;

/// hyper parses up to this many headers on the stack; another limit costs an allocation per request.
const HYPER_HEADERS: usize = 100;
/// Bytes of a request's body that an HTTP/2 client may send before it is asked for more, and of an answer that are held for it.
const WINDOW: u32 = 256 * 1024;
/// The least read buffer hyper accepts.
const HYPER_BUFFER: usize = 8192;

/// Everything about HTTP that the connections of a worker share.
#[derive(Debug)]
pub struct Http {
    builder: Builder,
    pub routes: Routes,
    pub http2: bool,
    max_streams: u32,
    max_header_size: usize,
    pub max_body: u64,
    pub header_timeout: Duration,
    pub body_timeout: Duration,
    pub write_timeout: Duration,
    pub keep_alive: Duration,
}

impl Http {
    /// The service for one worker.
    pub fn new(config: &config::Http, means: &routes::Means) -> Result<Http, String> {
        let mut builder = Builder::new();
        // Small answers in one piece are a little cheaper than a gathered write. Flushes are not
        // put off for pipelining: hyper would withhold an answer while half a next head is there.
        // Nothing is read while a request is open but its body: what else would be found there waits, and the buffer
        // that the head stands in is free again when hyper reads on.
        builder.writev(false).half_close(true).max_buf_size(config.max_header_size.max(HYPER_BUFFER));
        if config.max_headers != HYPER_HEADERS {
            builder.max_headers(config.max_headers);
        }
        Ok(Http {
            builder,
            routes: Routes::new(&config.routes, means)?,
            http2: config.http2,
            max_streams: config.max_streams,
            max_header_size: config.max_header_size,
            max_body: config.max_body,
            header_timeout: config.header_timeout,
            body_timeout: config.body_timeout,
            write_timeout: config.write_timeout,
            keep_alive: config.keep_alive,
        })
    }

    /// A conversation on a socket that has become readable.
    pub fn talk(self: &Rc<Self>, shared: &Rc<Shared>, talk: &Rc<Talk>) -> Serve {
        Serve::new(self.clone(), shared.clone(), talk.clone())
    }

    /// How HTTP/2 is spoken. Resets that come too fast end a connection: hyper counts them (CVE-2023-44487, CVE-2025-8671).
    fn settings2(&self, talk: &Rc<Talk>) -> http2::Builder<Aboard> {
        let mut builder = http2::Builder::new(Aboard::new(talk, self.write_timeout));
        builder
            .max_concurrent_streams(self.max_streams)
            .max_header_list_size(u32::try_from(self.max_header_size).unwrap_or(u32::MAX))
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW * 4)
            .max_send_buf_size(WINDOW as usize);
        builder
    }

    /// What is due now and then.
    pub fn sweep(&self, now: Moment) {
        self.routes.proxies().for_each(|proxy| proxy.sweep(now));
    }
}
