//! The reverse proxy: one request to one of several upstreams, and its answer back.
//!
//! `Proxy::forward` makes the head one for the upstream (`forward`), finds a connection (`pool`, or a new one), sends
//! head and body (`upload`) and gives back the upstream's head with a body that streams (`relay`). What fails before the upstream can
//! have acted on it is tried elsewhere; what it may have acted on only if the method is idempotent (RFC 9110, 9.2.2).
//! Never: buffers a body, sends a request twice that may have had its effect.

mod again;
mod attempt;
mod course;
mod fields;
pub mod forward;
mod lane;
mod link;
pub mod pool;
pub mod relay;
mod upload;

use super::exchange::Exchange;
use super::payload::Content;
use super::reply::{Made, Reply};
use super::routes::Means;
use crate::config;
use crate::model::Class;
use crate::sys::connect::lacks_descriptors;
use crate::worker::engine::Handle;
use crate::worker::engine::timers::Watch;
use crate::worker::engine::wires::Wire;
use crate::worker::upstream::{Client, Group, Index, NoConnection};
use attempt::Failure;
use bytes::Bytes;
use course::{Course, is_idempotent};
use forward::Refusal;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::Builder;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use hyper::{Request, Response, StatusCode, Version};
use lane::Lane;
use link::{Link, Sent};
use pool::Pools;
use relay::{Come, Relay};
use std::cell::RefCell;
use std::error::Error;
use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use upload::{Tray, Upload};

/// Bytes of an upstream's head, and of each of hyper's buffers, at most.
const BUFFER: usize = 64 * 1024;

/// One `proxy` route, as this worker runs it.
pub struct Proxy {
    pub group: Group,
    // clippy: a `Link` moves to and fro with each request.
    #[allow(clippy::vec_box)]
    idle: RefCell<Vec<Vec<Box<Link>>>>,
    /// HTTP/2 connections, one to each server, where that is spoken.
    lanes: RefCell<Vec<Option<Lane>>>,
    http2: bool,
    builder: Builder,
    retries: u32,
    read_timeout: Duration,
    write_timeout: Duration,
    idle_timeout: Duration,
    keep: usize,
    keep_timeout: Duration,
    /// Those of all proxies.
    pub pools: Rc<Pools>,
    engine: Rc<Handle>,
}

/// A connection that is not HTTP any more.
#[derive(Debug)]
pub struct Switch {
    pub wire: Wire,
    /// What the upstream has sent behind its 101.
    pub before: Bytes,
    pub upstream: String,
    /// How long it may be silent.
    pub idle_timeout: Duration,
}

/// What a request's head said that the upstream's answer is read by.
#[derive(Clone, Copy, Debug)]
struct Asked {
    websocket: bool,
    version: Version,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy").field("group", &self.group).finish_non_exhaustive()
    }
}

impl Proxy {
    /// One of those whose idle connections are in `pools`.
    pub fn new(config: &config::Proxy, means: &Means, pools: &Rc<Pools>) -> Rc<Proxy> {
        let Means { engine, helpers, log, .. } = means;
        let group = Group::new(&config.upstreams, engine, helpers, log);
        let mut builder = Builder::new();
        builder.max_buf_size(BUFFER).writev(false);
        let proxy = Rc::new(Proxy {
            idle: RefCell::new((0..group.len()).map(|_| Vec::new()).collect()),
            lanes: RefCell::new((0..group.len()).map(|_| None).collect()),
            http2: config.http2,
            group,
            builder,
            retries: config.retries,
            read_timeout: config.read_timeout,
            write_timeout: config.write_timeout,
            idle_timeout: config.idle_timeout,
            keep: config.keep_alive as usize,
            keep_timeout: config.keep_alive_timeout,
            pools: pools.clone(),
            engine: engine.clone(),
        });
        pools.add(&proxy);
        proxy
    }

    /// Answers a request by an upstream's answer, unless it can't be passed on.
    pub fn forward(
        self: &Rc<Self>,
        exchange: &Exchange,
        request: Request<Incoming>,
    ) -> Result<impl Future<Output = Reply> + use<>, Refusal> {
        let (mut parts, body) = request.into_parts();
        parts.extensions.clear();
        let talk = exchange.talk();
        let version = parts.version;
        let client =
            forward::Client { peer: talk.ends.peer, encrypted: talk.io.is_encrypted(), known: &talk.known };
        let asked = match forward::request(&mut parts, client, self.http2) {
            Ok(websocket) => Asked { websocket, version },
            Err(refusal) => {
                exchange.refuse_further();
                return Err(refusal);
            }
        };
        if !self.http2 && !body.is_end_stream() && body.size_hint().exact().is_none() {
            // hyper believes of some methods that they have no body unless they say so.
            parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        exchange.may_be_silent_for(self.idle_timeout);
        let tray = Tray::new(body, exchange);
        // In a box: it is large, and passes through many hands.
        let request = Box::new(Request::from_parts(parts, Upload::new(&tray)));
        Ok(self.clone().attempts(exchange.clone(), request, asked, tray))
    }

    /// Tries one upstream after the other, as far as that can do no harm.
    async fn attempts(
        self: Rc<Self>,
        exchange: Exchange,
        request: Box<Request<Upload>>,
        asked: Asked,
        tray: Tray,
    ) -> Reply {
        // From here on it is waited for only while the upstream takes it. Not sooner: hyper looks at once for what may have
        // come with the head, and if that is the client's end, somebody has to want to hear of it.
        exchange.body_wanted(false);
        let mut course = Course::new(self.retries);
        let mut request = request;
        let began = self.engine.now();
        loop {
            let mut link = match self.link(&mut course, &exchange).await {
                Ok(link) => link,
                Err(reply) => return reply,
            };
            let attempt = match link.try_send(*request) {
                Sent::One(answer) => self.attempt(&mut link, pin!(answer), &tray).await,
                Sent::Two(mut answer) => self.attempt(&mut link, answer.as_mut(), &tray).await,
            };
            exchange.docket().upstream(self.group.name(link.server), self.engine.now().since(began));
            let failure = match attempt {
                Ok(response) => {
                    self.group.succeeded(link.server);
                    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                        let headers = response.into_parts().0.headers;
                        return Box::pin(self.switch(headers, link, asked.websocket, &exchange)).await;
                    }
                    return self.pass_on(response, link, asked, &exchange);
                }
                Err(failure) => failure,
            };
            request = match self.after(failure, &mut link, &mut course, &exchange, &tray) {
                Ok(request) => request,
                Err(reply) => return *reply,
            };
        }
    }

    /// What is sent next after an attempt that failed, or what the client is told.
    fn after(
        &self,
        failure: Failure,
        link: &mut Link,
        course: &mut Course,
        exchange: &Exchange,
        tray: &Tray,
    ) -> Result<Box<Request<Upload>>, Box<Reply>> {
        let (server, used) = (link.server, link.used);
        let mut again = || if tray.has_begun() { None } else { link.again(tray).map(Box::new) };
        let (why, again) = match failure {
            Failure::Client => return Err(broken_body(exchange, tray.is_late()).into()),
            Failure::Late(what, limit) => {
                let why = format!("{what} for {limit:?}");
                self.group.complain(server, &why);
                self.group.failed(server, &why);
                // Whoever comes next is to have another connection than this silent one.
                self.lanes.borrow_mut()[server] = None;
                return Err(trouble(StatusCode::GATEWAY_TIMEOUT, &format!("the upstream was {why}")).into());
            }
            Failure::Untouched => {
                self.lanes.borrow_mut()[server] = None;
                let turned = again().filter(|_| course.turns_away(server, used, self.group.len()));
                return turned.ok_or_else(|| self.not_taken(server).into());
            }
            // Closed while it was idle, most likely: a connection of today tells.
            Failure::Unsent(_, request) if used => {
                course.fresh = true;
                return Ok(request);
            }
            Failure::Unsent(why, request) => (why, Some(request)),
            Failure::Lost(why) => (why, again()),
        };
        let again = again.filter(|request| is_idempotent(request.method()));
        let again = match again {
            Some(request) if used => {
                course.fresh = true;
                return Ok(request);
            }
            again => again,
        };
        self.group.complain(server, &why);
        self.group.failed(server, &why);
        match again {
            Some(request) if course.goes_on(server, self.group.len()) => Ok(request),
            _ => Err(trouble(StatusCode::BAD_GATEWAY, &format!("the upstream {why}")).into()),
        }
    }

    /// A connection to the next server that has one to give.
    async fn link(&self, course: &mut Course, exchange: &Exchange) -> Result<Box<Link>, Reply> {
        loop {
            let Some(server) = self.group.pick(&course.tried) else {
                return Err(if course.tried.is_empty() { unavailable() } else { unreachable() });
            };
            if !course.fresh
                && let Some(link) = self.take_idle(server)
            {
                return Ok(link);
            }
            let talk = exchange.talk();
            let client = Client { ends: talk.ends, io: &talk.io };
            // Rare, and large: in boxes of their own they don't weigh on every request.
            let why = match Box::pin(self.group.connect(server, &client)).await {
                Ok(wire) => match Box::pin(self.begin(server, wire)).await {
                    Ok(link) => return Ok(link),
                    Err(e) => e.to_string(),
                },
                Err(why @ NoConnection::Late(_)) => {
                    self.group.complain(server, &why);
                    if course.goes_on(server, self.group.len()) {
                        continue;
                    }
                    let why = "the upstream did not take the connection in time";
                    return Err(trouble(StatusCode::GATEWAY_TIMEOUT, why));
                }
                // Somebody waits, and those do not.
                Err(NoConnection::Failed(e)) if lacks_descriptors(&e) && self.pools.shed() => continue,
                Err(why) => why.to_string(),
            };
            self.group.complain(server, &why);
            if !course.passes(server, self.group.len()) {
                return Err(unreachable());
            }
        }
    }

    /// Puts HTTP on a new connection.
    async fn begin(&self, server: Index, wire: Wire) -> hyper::Result<Box<Link>> {
        if !self.http2 {
            return Link::new(&self.builder, server, wire, self.silence()).await;
        }
        let lane = Lane::new(&self.engine, wire, BUFFER as u32).await?;
        self.lanes.borrow_mut()[server] = Some(Lane { used: true, ..lane.clone() });
        Ok(Link::shared(server, lane, self.silence()))
    }

    fn silence(&self) -> Watch {
        Watch::new(&self.engine, self.read_timeout)
    }

    /// The upstream's answer as the client's.
    fn pass_on(
        self: &Rc<Self>,
        response: Response<Incoming>,
        link: Box<Link>,
        asked: Asked,
        exchange: &Exchange,
    ) -> Reply {
        let (mut parts, incoming) = response.into_parts();
        if let Err(why) = forward::response(parts.status, parts.version, &mut parts.headers) {
            return self.not_understood(link.server, &why);
        }
        let class = class_of(&parts.headers);
        if class == Class::Sse {
            exchange.classify(class);
        }
        let mut made = Made::new(parts.status, parts.headers);
        made.reason = parts.extensions.remove();
        made.content = match Come::of(incoming, &link) {
            Come::Whole(bytes) => {
                self.keep(link);
                Content::Bytes(bytes)
            }
            Come::Part(part) => {
                let mut relay = Relay::new(part, link, self, exchange.clone(), class);
                relay.ends_by_closing(asked.version);
                Content::Relay(Box::new(relay))
            }
        };
        Reply::Made(made)
    }

    /// A connection becomes a WebSocket, if that was asked for.
    async fn switch(
        &self,
        headers: HeaderMap,
        link: Box<Link>,
        websocket: bool,
        exchange: &Exchange,
    ) -> Reply {
        let server = link.server;
        let agreed = headers
            .get(UPGRADE)
            .is_some_and(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket"));
        let Exchange::Alone(talk) = exchange else { return self.unasked(server) };
        if !websocket || !agreed {
            return self.unasked(server);
        }
        let mut link = link;
        // hyper gives the socket back when it has ended its part.
        poll_fn(|cx| link.drive(cx)).await;
        let Some((wire, before)) = link.switch() else { return self.unasked(server) };
        let upstream = self.group.name(server).to_owned();
        let idle_timeout = self.idle_timeout;
        *talk.switch.borrow_mut() = Some(Box::new(Switch { wire, before, upstream, idle_timeout }));
        let mut headers = headers;
        forward::switched(&mut headers);
        Reply::Made(Made::new(StatusCode::SWITCHING_PROTOCOLS, headers))
    }

    fn not_understood(&self, server: Index, why: &dyn Display) -> Reply {
        self.group.complain(server, why);
        self.group.failed(server, why);
        trouble(StatusCode::BAD_GATEWAY, &format!("the upstream is not understood: {why}"))
    }

    fn not_taken(&self, server: Index) -> Reply {
        self.group.complain(server, &"it takes no more requests on its connection");
        trouble(StatusCode::BAD_GATEWAY, "the upstream did not take the request")
    }

    fn unasked(&self, server: Index) -> Reply {
        let why = "it changed the protocol, and nobody had asked for that";
        self.group.complain(server, &why);
        self.group.failed(server, &why);
        trouble(StatusCode::BAD_GATEWAY, "the upstream changed the protocol unasked")
    }
}

/// The class that an answer's content belongs to.
pub fn class_of(headers: &HeaderMap) -> Class {
    let kind = headers.get(CONTENT_TYPE).map(|value| value.as_bytes()).unwrap_or_default();
    let is = |wanted: &[u8]| kind.len() >= wanted.len() && kind[..wanted.len()].eq_ignore_ascii_case(wanted);
    if is(b"text/event-stream") {
        Class::Sse
    } else if is(b"application/grpc") {
        Class::Grpc
    } else {
        Class::Http
    }
}

fn trouble(status: StatusCode, why: &str) -> Reply {
    let name = status.canonical_reason().unwrap_or_default();
    Reply::Text(status, format!("{} {name}: {why}\n", status.as_u16()).into())
}

fn unavailable() -> Reply {
    trouble(StatusCode::SERVICE_UNAVAILABLE, "no upstream answers at the moment")
}

fn unreachable() -> Reply {
    trouble(StatusCode::BAD_GATEWAY, "the upstream can't be reached")
}

fn broken_body(exchange: &Exchange, late: bool) -> Reply {
    exchange.blame();
    exchange.refuse_further();
    if late {
        return trouble(StatusCode::REQUEST_TIMEOUT, "the request body took too long");
    }
    trouble(StatusCode::BAD_REQUEST, "the request body is broken")
}

/// The innermost reason of an error.
pub fn root(error: &dyn Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
