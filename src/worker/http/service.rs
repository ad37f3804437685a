//! What is answered to a request.
//!
//! hyper calls `App` with each request; the answer is put together when it is given, so that a drain
//! that began meanwhile is seen: then it says `Connection: close`, unless the client has already sent more to be answered here.
//! Request bodies are read and thrown away, up to the limit; beyond it: 413, and the connection ends.

use super::Http;
use super::payload::Payload;
use super::routes::{Action, Canned};
use super::talk::Talk;
use crate::worker::engine::timers::Delay;
use crate::worker::shared::Shared;
use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode, Version};
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

/// What to answer, before it is an HTTP message.
enum Reply {
    Canned(Rc<Canned>),
    Text(StatusCode, &'static str),
    Json(Bytes),
}

/// The answer to come.
pub struct Answer {
    talk: Rc<Talk>,
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
}

impl hyper::service::Service<Request<Incoming>> for App {
    type Response = Response<Payload>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        if !host_is_plain(&request) {
            self.talk.begin(!request.body().is_end_stream());
            // Behind a head that may be read in two ways no second one is looked for.
            self.talk.we_close.set(true);
            let reply = Reply::Text(StatusCode::BAD_REQUEST, "exactly one valid Host is required\n");
            return Answer { talk: self.talk.clone(), reply: Coming::Now(reply) };
        }
        let action = self.http.routes.find(&request);
        let delay = match action {
            Some(Action::Respond(canned)) => canned.delay,
            _ => Duration::ZERO,
        };
        let has_body = !request.body().is_end_stream();
        self.talk.begin(has_body);
        #[cfg(test)]
        assert!(request.uri().path() != "/panic-in-the-service", "asked to panic");
        let reply = if has_body || !delay.is_zero() || matches!(action, Some(Action::Status)) {
            let (action, talk) = (action.cloned(), self.talk.clone());
            let max_body = self.http.max_body;
            Coming::Later(Box::pin(async move {
                if let Err(refusal) = swallow(request.into_body(), max_body, &talk).await {
                    return refusal;
                }
                if !delay.is_zero() {
                    Delay::new(&talk.shared.engine, delay).await;
                }
                match action {
                    Some(Action::Status) => document(&talk.shared).await,
                    action => at_once(action.as_ref(), &talk.shared),
                }
            }))
        } else {
            Coming::Now(at_once(action, &self.talk.shared))
        };
        Answer { talk: self.talk.clone(), reply }
    }
}

/// True if HTTP/1.1's one Host is there and can be one (RFC 9112, 3.2; its characters: RFC 3986, 3.2.2).
///
/// An empty one is allowed: the target may have no authority.
fn host_is_plain<B>(request: &Request<B>) -> bool {
    if request.version() != Version::HTTP_11 {
        return true;
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte);
    hosts.next().is_some_and(|host| host.as_bytes().iter().all(legal)) && hosts.next().is_none()
}

/// The reply of an action that need not wait.
fn at_once(action: Option<&Action>, shared: &Shared) -> Reply {
    match action {
        Some(Action::Respond(canned)) => Reply::Canned(canned.clone()),
        Some(Action::Live) => Reply::Text(StatusCode::OK, "live\n"),
        Some(Action::Ready) if shared.unready.get() => {
            Reply::Text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
        }
        Some(Action::Ready) => Reply::Text(StatusCode::OK, "ready\n"),
        Some(Action::Status) | None => Reply::Text(StatusCode::NOT_FOUND, "no such page\n"),
    }
}

/// The scoreboard, from the master.
async fn document(shared: &Rc<Shared>) -> Reply {
    match shared.status.ask(&shared.engine).await {
        Some(document) => Reply::Json(document),
        None => Reply::Text(StatusCode::SERVICE_UNAVAILABLE, "the master does not answer\n"),
    }
}

/// Reads a request's body to its end.
async fn swallow(body: Incoming, limit: u64, talk: &Talk) -> Result<(), Reply> {
    let mut body = body;
    let mut taken = 0u64;
    if body.size_hint().lower() > limit {
        talk.we_close.set(true);
        return Err(Reply::Text(StatusCode::PAYLOAD_TOO_LARGE, "the request body is too large\n"));
    }
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(frame) = frame else {
            talk.blame();
            talk.we_close.set(true);
            return Err(Reply::Text(StatusCode::BAD_REQUEST, "the request body is broken\n"));
        };
        taken += frame.data_ref().map_or(0, |data| data.len() as u64);
        if taken > limit {
            talk.we_close.set(true);
            return Err(Reply::Text(StatusCode::PAYLOAD_TOO_LARGE, "the request body is too large\n"));
        }
    }
    talk.body_in.set(false);
    Ok(())
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
        Poll::Ready(Ok(response(reply, &self.talk)))
    }
}

fn response(reply: Reply, talk: &Rc<Talk>) -> Response<Payload> {
    let (status, mut headers, body) = match reply {
        Reply::Canned(canned) => (canned.status, canned.headers.clone(), canned.body.clone()),
        Reply::Text(status, text) => {
            (status, typed("text/plain; charset=utf-8"), Bytes::from_static(text.as_bytes()))
        }
        Reply::Json(document) => (StatusCode::OK, typed("application/json"), document),
    };
    // More input that is here already is answered first: it was sent before the client could know.
    if talk.shared.draining.get() && talk.quiet.get() {
        talk.we_close.set(true);
    }
    if talk.we_close.get() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    talk.answered(status.as_u16());
    let mut response = Response::new(Payload::new(body, talk.clone()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn typed(kind: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers
}
