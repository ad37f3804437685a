//! HTTP/1 service of a worker: routes, answers, and the future that runs hyper on one socket.
//!
//! `Http` is made once from the config; `Http::talk` turns a readable socket into a `Serve` future.
//! HTTP itself is hyper's business. Timeouts are not here: the loop's sweep reads them off the `Talk`.
//! Never: touches another connection, accepts, closes a socket.

pub mod payload;
pub mod routes;
pub mod serve;
pub mod service;
pub mod status;
pub mod stream;
pub mod talk;

use super::shared::Shared;
use crate::config;
use bytes::Bytes;
use hyper::server::conn::http1::Builder;
use routes::Routes;
use serve::Serve;
use std::rc::Rc;
use std::time::Duration;
use talk::Talk;

/// hyper parses up to this many headers on the stack; another limit costs an allocation per request.
const HYPER_HEADERS: usize = 100;
/// The least read buffer hyper accepts.
const HYPER_BUFFER: usize = 8192;

/// Everything about HTTP that the connections of a worker share.
#[derive(Debug)]
pub struct Http {
    builder: Builder,
    pub routes: Routes,
    pub max_body: u64,
    pub header_timeout: Duration,
    pub body_timeout: Duration,
    pub write_timeout: Duration,
    pub keep_alive: Duration,
}

impl Http {
    /// The service for one worker; `who` fills the tokens of response bodies.
    pub fn new(config: &config::Http, who: &routes::Tokens) -> Http {
        let mut builder = Builder::new();
        // Small answers in one piece are a little cheaper than a gathered write. Flushes are not
        // put off for pipelining: hyper would withhold an answer while half a next head is there.
        builder.writev(false).max_buf_size(config.max_header_size.max(HYPER_BUFFER));
        if config.max_headers != HYPER_HEADERS {
            builder.max_headers(config.max_headers);
        }
        Http {
            builder,
            routes: Routes::new(&config.routes, who),
            max_body: config.max_body,
            header_timeout: config.header_timeout,
            body_timeout: config.body_timeout,
            write_timeout: config.write_timeout,
            keep_alive: config.keep_alive,
        }
    }

    /// A conversation on a socket that has become readable.
    pub fn talk(self: &Rc<Self>, shared: &Rc<Shared>, talk: &Rc<Talk>) -> Serve {
        Serve::new(self.clone(), shared.clone(), talk.clone(), Bytes::new())
    }
}
