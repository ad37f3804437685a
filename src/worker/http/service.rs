//! Which answer a request gets.
//!
//! hyper calls `App` with each request; the answer is put together when it is given, so that a drain
//! that began meanwhile is seen (`reply`). Bodies that masterd itself has no use for are read and thrown away, up
//! to the limit; beyond it: 413, and the connection ends. Others go where the route says.

use super::Http;
use super::exchange::Exchange;
use super::files;
use super::payload::{Content, Payload};
use super::proxy::class_of;
use super::proxy::forward::is_authority;
use super::reply::{Made, Reply};
use super::routes::{Action, Dress, host_of};
use super::talk::Talk;
use crate::config;
use crate::model::Class;
use crate::worker::engine::timers::Delay;
use crate::worker::shared::Shared;
use hyper::body::{Body, Incoming};
use hyper::header::{HOST, HeaderMap, HeaderValue, LOCATION};
use hyper::{Method, Request, Response, StatusCode, Version};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// The service of one conversation.
#[derive(Debug)]
pub struct App {
    http: Rc<Http>,
    talk: Rc<Talk>,
}

/// The answer to come.
pub struct Answer {
    exchange: Exchange,
    dress: Option<Rc<Dress>>,
    reply: Coming,
}

enum Coming {
    Now(Reply),
    Later(Pin<Box<dyn Future<Output = Reply>>>),
    Given,
}

impl App {
    pub fn new(http: Rc<Http>, talk: Rc<Talk>) -> App {
        App { http, talk }
    }

    /// What a request asks for, and who answers it.
    fn reply(&self, exchange: &Exchange, action: Option<&Action>, request: Request<Incoming>) -> Coming {
        let shared = exchange.shared();
        let delay = match action {
            Some(Action::Proxy(proxy)) => {
                return match proxy.forward(exchange, request) {
                    Ok(reply) => Coming::Later(Box::pin(reply)),
                    Err((status, why)) => Coming::Now(Reply::Text(status, why.into())),
                };
            }
            Some(Action::Respond(canned)) => canned.delay,
            _ => Duration::ZERO,
        };
        let has_body = !request.body().is_end_stream();
        let waits = matches!(action, Some(Action::Status | Action::Files(..)));
        if !has_body && delay.is_zero() && !waits {
            return Coming::Now(at_once(action, shared, &request));
        }
        let (action, exchange) = (action.cloned(), exchange.clone());
        let max_body = self.http.max_body;
        Coming::Later(Box::pin(async move {
            let (parts, body) = request.into_parts();
            if let Some(refusal) = swallow(body, max_body, &exchange).await {
                return refusal;
            }
            let shared = exchange.shared();
            if !delay.is_zero() {
                Delay::new(&shared.engine, delay).await;
            }
            match action {
                Some(Action::Status) => document(shared).await,
                Some(Action::Files(site, helpers)) => {
                    let found = files::answer(&site, &helpers, &parts.method, &parts.uri, &parts.headers);
                    let (status, headers, file) = found.await;
                    Reply::Made(Made { content: Content::File(file), ..Made::new(status, headers) })
                }
                action => at_once(action.as_ref(), shared, &Request::from_parts(parts, ())),
            }
        }))
    }
}

impl hyper::service::Service<Request<Incoming>> for App {
    type Response = Response<Payload>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let exchange = if self.talk.is_multiplexed() {
            Exchange::stream(&self.talk, &request, self.http.body_timeout)
        } else {
            Exchange::alone(&self.talk, &request)
        };
        #[cfg(test)]
        assert!(request.uri().path() != "/panic-in-the-service", "asked to panic");
        // A call of gRPC is a POST: most requests need no look at their Content-Type.
        if request.method() == Method::POST && class_of(request.headers()) == Class::Grpc {
            exchange.classify(Class::Grpc);
        }
        let refusal = match self.talk.head_fault() {
            Some(fault) => Some((StatusCode::BAD_REQUEST, format!("{fault}\n").into())),
            None => refusal(&request, &self.talk).map(|(status, why)| (status, why.into())),
        };
        if let Some((status, why)) = refusal {
            // Behind a head that may be read in two ways no second one is looked for.
            exchange.refuse_further();
            return Answer { exchange, dress: None, reply: Coming::Now(Reply::Text(status, why)) };
        }
        let route = self.http.routes.find(&request);
        let dress = route.and_then(|route| route.dress.clone());
        let reply = self.reply(&exchange, route.map(|route| &route.action), request);
        Answer { exchange, dress, reply }
    }
}

/// What no route may get to see, and how it is answered.
fn refusal<B>(request: &Request<B>, talk: &Talk) -> Option<(StatusCode, &'static str)> {
    if request.method() == Method::CONNECT {
        return Some((StatusCode::METHOD_NOT_ALLOWED, "CONNECT is not served here\n"));
    }
    if !target_is_plain(request) {
        return Some((StatusCode::BAD_REQUEST, "the target is none\n"));
    }
    if !authority_is_plain(request) {
        return Some((StatusCode::BAD_REQUEST, "the target's authority is none, or the Host disagrees\n"));
    }
    let known = |host: &HeaderValue| talk.known.borrow().as_ref().is_some_and(|known| known.is_for(host));
    (!host_is_plain(request, known))
        .then_some((StatusCode::BAD_REQUEST, "exactly one valid Host is required\n"))
}

/// True for a path, an http URL or, with OPTIONS, an asterisk (RFC 9112, 3.2), in visible ASCII.
fn target_is_plain<B>(request: &Request<B>) -> bool {
    let uri = request.uri();
    let path = uri.path();
    let formed = match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(_)) => path.is_empty() || path.starts_with('/'),
        (None, None) => path.starts_with('/') || path == "*" && request.method() == Method::OPTIONS,
        _ => false,
    };
    let text = uri.path_and_query().map_or("", |target| target.as_str());
    formed && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// True if a target has no authority, or one that can be a Host, and that each Host agrees with if it is HTTP/2
/// (RFC 9113, 8.3.1).
fn authority_is_plain<B>(request: &Request<B>) -> bool {
    let Some(authority) = request.uri().authority() else { return true };
    let authority = authority.as_str().as_bytes();
    let agrees = |host: &HeaderValue| host.as_bytes().eq_ignore_ascii_case(authority);
    is_authority(authority)
        && (request.version() != Version::HTTP_2 || request.headers().get_all(HOST).iter().all(agrees))
}

/// True if HTTP/1.1's one Host is there and can be one (RFC 9112, 3.2).
///
/// An empty one is allowed: the target may have no authority. One that is `known` needs no second look.
fn host_is_plain<B>(request: &Request<B>, known: impl Fn(&HeaderValue) -> bool) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    match hosts.next() {
        Some(host) => {
            (host.is_empty() || known(host) || is_authority(host.as_bytes())) && hosts.next().is_none()
        }
        // HTTP/2 has an authority instead, HTTP/1.0 may have nothing.
        None => request.version() != Version::HTTP_11,
    }
}

/// The reply of an action that need not wait.
fn at_once<B>(action: Option<&Action>, shared: &Shared, request: &Request<B>) -> Reply {
    match action {
        Some(Action::Respond(canned)) => Reply::Canned(canned.clone()),
        Some(Action::Live) => Reply::Text(StatusCode::OK, "live\n".into()),
        Some(Action::Ready) if shared.unready.get() => {
            Reply::Text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n".into())
        }
        Some(Action::Ready) => Reply::Text(StatusCode::OK, "ready\n".into()),
        Some(Action::Redirect(redirect)) => moved(redirect, request),
        Some(Action::Status | Action::Proxy(_) | Action::Files(..)) | None => {
            Reply::Text(StatusCode::NOT_FOUND, "no such page\n".into())
        }
    }
}

/// Sends the client elsewhere.
fn moved<B>(redirect: &config::Redirect, request: &Request<B>) -> Reply {
    let host = host_of(request).unwrap_or_default();
    if host.is_empty() && redirect.to.contains("{host}") {
        return Reply::Text(StatusCode::BAD_REQUEST, "without a Host there is nowhere to go\n".into());
    }
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let to = redirect.to.replace("{host}", host).replace("{target}", target);
    let mut headers = HeaderMap::with_capacity(2);
    match HeaderValue::try_from(to) {
        Ok(to) => _ = headers.insert(LOCATION, to),
        Err(_) => return Reply::Text(StatusCode::BAD_REQUEST, "the target can't be passed on\n".into()),
    }
    let status = StatusCode::from_u16(redirect.status).unwrap_or(StatusCode::PERMANENT_REDIRECT);
    Reply::Made(Made::new(status, headers))
}

/// The scoreboard, from the master.
async fn document(shared: &Rc<Shared>) -> Reply {
    match shared.status.ask(&shared.engine).await {
        Some(document) => Reply::Json(document),
        None => Reply::Text(StatusCode::SERVICE_UNAVAILABLE, "the master does not answer\n".into()),
    }
}

/// Reads a request's body to its end; what to answer if that can't be done.
async fn swallow(body: Incoming, limit: u64, exchange: &Exchange) -> Option<Reply> {
    let mut body = body;
    let mut taken = 0u64;
    let refused = |status, why: &'static str| {
        exchange.refuse_further();
        exchange.body_taken();
        Some(Reply::Text(status, why.into()))
    };
    if body.size_hint().lower() > limit {
        return refused(StatusCode::PAYLOAD_TOO_LARGE, "the request body is too large\n");
    }
    loop {
        let next = poll_fn(|cx| {
            let polled = Pin::new(&mut body).poll_frame(cx);
            exchange.body_wanted(polled.is_pending());
            match polled {
                Poll::Ready(frame) => Poll::Ready(Some(frame)),
                Poll::Pending => exchange.body_is_late(cx).map(|()| None),
            }
        });
        let Some(frame) = next.await else {
            exchange.blame();
            return refused(StatusCode::REQUEST_TIMEOUT, "the request body took too long\n");
        };
        let Some(frame) = frame else { break };
        let Ok(frame) = frame else {
            exchange.blame();
            return refused(StatusCode::BAD_REQUEST, "the request body is broken\n");
        };
        taken += frame.data_ref().map_or(0, |data| data.len() as u64);
        if taken > limit {
            return refused(StatusCode::PAYLOAD_TOO_LARGE, "the request body is too large\n");
        }
    }
    exchange.body_taken();
    None
}

impl Future for Answer {
    type Output = Result<Response<Payload>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let reply = match std::mem::replace(&mut self.reply, Coming::Given) {
            Coming::Now(reply) => reply,
            Coming::Later(mut future) => match future.as_mut().poll(cx) {
                Poll::Ready(reply) => reply,
                Poll::Pending => {
                    self.reply = Coming::Later(future);
                    return Poll::Pending;
                }
            },
            Coming::Given => return Poll::Pending,
        };
        Poll::Ready(Ok(reply.dress(&self.exchange, self.dress.as_deref())))
    }
}
