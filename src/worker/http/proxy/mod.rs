//! The reverse proxy: one request to one of several upstreams, and its answer back.
//!
//! `Proxy::forward` makes the head one for the upstream (`forward`), finds a connection (`pool`, or a new one), sends
//! head and body (`upload`) and gives back the upstream's head with a body that streams (`relay`). What fails before the upstream can
//! have acted on it is tried elsewhere; what it may have acted on only if the method is idempotent (RFC 9110, 9.2.2).
//! Never: buffers a body, sends a request twice that may have had its effect.

mod course;
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
use bytes::Bytes;
use course::{Course, is_idempotent};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::Builder;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode, Version};
use lane::Lane;
use link::Link;
use pool::Pools;
use relay::Relay;
use std::cell::RefCell;
use std::error::Error;
use std::fmt::Display;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use upload::{Tray, Upload};

/// Bytes of an upstream's head, and of each of hyper's buffers, at most.
const BUFFER: usize = 64 * 1024;

/// One `proxy` route, as this worker runs it.
pub struct Proxy {
    pub group: Group,
    idle: RefCell<Vec<Vec<Link>>>,
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

/// Why an attempt gave no answer.
enum Failure {
    /// Nothing of the request has left.
    Unsent(String, Box<Parts>),
    /// The upstream says that it has not looked at it, and that it will not do so on this connection.
    Untouched,
    /// The upstream may have seen the request.
    Lost(String),
    Late(&'static str, Duration),
    /// The client's own body was broken.
    Client,
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

    /// Answers a request by an upstream's answer.
    pub async fn forward(self: Rc<Self>, exchange: Exchange, request: Request<Incoming>) -> Reply {
        let (mut parts, body) = request.into_parts();
        parts.extensions.clear();
        let talk = exchange.talk();
        let asked = Asked { websocket: forward::wants_websocket(&parts), version: parts.version };
        let client =
            forward::Client { peer: talk.ends.peer, encrypted: talk.io.is_encrypted(), known: &talk.known };
        if let Err((status, why)) = forward::request(&mut parts, client, self.http2) {
            exchange.refuse_further();
            return Reply::Text(status, why.into());
        }
        if !self.http2 && !body.is_end_stream() && body.size_hint().exact().is_none() {
            // hyper believes of some methods that they have no body unless they say so.
            parts.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        exchange.may_be_silent_for(self.idle_timeout);
        let tray = Tray::new(body, exchange.clone());
        self.attempts(&exchange, parts, asked, &tray).await
    }

    /// Tries one upstream after the other, as far as that can do no harm.
    async fn attempts(
        self: &Rc<Self>,
        exchange: &Exchange,
        head: Parts,
        asked: Asked,
        tray: &Rc<Tray>,
    ) -> Reply {
        let idempotent = is_idempotent(&head.method);
        let mut course = Course::new(self.retries);
        let mut head = head;
        let began = self.engine.now();
        loop {
            let mut link = match self.link(&mut course, exchange).await {
                Ok(link) => link,
                Err(reply) => return reply,
            };
            let spare = ((idempotent || self.http2) && !tray.begun.get()).then(|| head.clone());
            let attempt = self.attempt(&mut link, head, tray).await;
            exchange.docket().upstream(self.group.name(link.server), self.engine.now().since(began));
            let failure = match attempt {
                Ok(response) => {
                    self.group.succeeded(link.server);
                    return self.pass_on(response, link, asked, exchange).await;
                }
                Err(failure) => failure,
            };
            let (server, used) = (link.server, link.used);
            let spare = if tray.begun.get() { None } else { spare };
            head = match (failure, spare) {
                (Failure::Client, _) => return broken_body(exchange, tray.late.get()),
                (Failure::Late(what, limit), _) => {
                    let why = format!("{what} for {limit:?}");
                    self.group.complain(server, &why);
                    self.group.failed(server, &why);
                    // Whoever comes next is to have another connection than this silent one.
                    self.lanes.borrow_mut()[server] = None;
                    return trouble(StatusCode::GATEWAY_TIMEOUT, &format!("the upstream was {why}"));
                }
                // Closed while it was idle, most likely: a connection of today tells.
                (Failure::Unsent(_, head), _) if used => {
                    course.fresh = true;
                    *head
                }
                (Failure::Lost(_), Some(head)) if used && idempotent => {
                    course.fresh = true;
                    head
                }
                (Failure::Untouched, Some(head)) if course.turns_away(server, used, self.group.len()) => {
                    self.lanes.borrow_mut()[server] = None;
                    head
                }
                (Failure::Untouched, _) => {
                    self.lanes.borrow_mut()[server] = None;
                    self.group.complain(server, &"it takes no more requests on its connection");
                    return trouble(StatusCode::BAD_GATEWAY, "the upstream did not take the request");
                }
                (Failure::Unsent(why, _) | Failure::Lost(why), spare) => {
                    self.group.complain(server, &why);
                    self.group.failed(server, &why);
                    match spare {
                        Some(head) if idempotent && course.goes_on(server, self.group.len()) => head,
                        _ => return trouble(StatusCode::BAD_GATEWAY, &format!("the upstream {why}")),
                    }
                }
            };
        }
    }

    /// A connection to the next server that has one to give.
    async fn link(&self, course: &mut Course, exchange: &Exchange) -> Result<Link, Reply> {
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
    async fn begin(&self, server: Index, wire: Wire) -> hyper::Result<Link> {
        if !self.http2 {
            return Link::new(&self.builder, server, wire, self.engine.now()).await;
        }
        let lane = Lane::new(&self.engine, wire, BUFFER as u32).await?;
        self.lanes.borrow_mut()[server] = Some(Lane { used: true, ..lane.clone() });
        Ok(Link::shared(server, lane))
    }

    /// Sends a request and waits for the head of its answer.
    async fn attempt(
        &self,
        link: &mut Link,
        head: Parts,
        tray: &Rc<Tray>,
    ) -> Result<Response<Incoming>, Failure> {
        let mut answer = link.try_send(Request::from_parts(head, Upload::new(tray)));
        let mut silence = Watch::new(&self.engine, self.read_timeout);
        let mut stuck = Watch::new(&self.engine, self.write_timeout);
        let mut sent = self.engine.now();
        poll_fn(|cx| {
            let uploading = !tray.ended.get();
            // Its end shows in the answer, which says more.
            let _ = link.drive(cx);
            if let Poll::Ready(end) = answer.as_mut().poll(cx) {
                return Poll::Ready(end.map_err(|mut error| {
                    let unsent = error.take_message();
                    let why = if tray.broken.get() { None } else { Some(cause(error.error())) };
                    match (unsent, why) {
                        (_, None) => Failure::Client,
                        (Some(request), Some(why)) => Failure::Unsent(why, Box::new(request.into_parts().0)),
                        (None, _) if Lane::is_untouched(error.error()) => Failure::Untouched,
                        (None, Some(why)) => Failure::Lost(why),
                    }
                }));
            }
            if let Some(since) = link.stuck_since()
                && stuck.poll(cx, since).is_ready()
            {
                return Poll::Ready(Err(Failure::Late("not reading", self.write_timeout)));
            }
            if uploading {
                // It was the client's turn, or the upstream takes what comes.
                sent = self.engine.now();
            }
            let heard = link.last_read().unwrap_or(sent);
            if silence.poll(cx, sent.max(heard)).is_ready() && tray.ended.get() {
                return Poll::Ready(Err(Failure::Late("silent", self.read_timeout)));
            }
            Poll::Pending
        })
        .await
    }

    /// The upstream's answer as the client's.
    async fn pass_on(
        self: &Rc<Self>,
        response: Response<Incoming>,
        link: Link,
        asked: Asked,
        exchange: &Exchange,
    ) -> Reply {
        let (mut parts, incoming) = response.into_parts();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            return Box::pin(self.switch(parts.headers, link, asked.websocket, exchange)).await;
        }
        if let Err(why) = forward::response(parts.status, parts.version, &mut parts.headers) {
            return self.not_understood(link.server, &why);
        }
        let class = class_of(&parts.headers);
        if class == Class::Sse {
            exchange.classify(class);
        }
        let mut made = Made::new(parts.status, parts.headers);
        made.reason = parts.extensions.remove();
        if incoming.is_end_stream() {
            self.keep(link);
        } else {
            let mut relay = Relay::new(incoming, link, self, exchange.clone(), class);
            relay.ends_by_closing(asked.version);
            made.content = Content::Relay(Box::new(relay));
        }
        Reply::Made(made)
    }

    /// A connection becomes a WebSocket, if that was asked for.
    async fn switch(&self, headers: HeaderMap, link: Link, websocket: bool, exchange: &Exchange) -> Reply {
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

/// What hyper says of a failed exchange, in words that follow "the upstream".
fn cause(error: &hyper::Error) -> String {
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        "closed the connection before its answer was complete".to_owned()
    } else if error.is_parse_too_large() {
        "answered with a head that is too large".to_owned()
    } else if error.is_parse() {
        format!("answered something that is no HTTP: {}", root(error))
    } else {
        format!("broke the connection: {}", root(error))
    }
}

/// The innermost reason of an error.
pub fn root(error: &dyn Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
