//! Coarse timeouts, looked at twice a second.
//!
//! Parked and lingering connections expire in the order in which they came: only the heads of their lists
//! are looked at. Active ones are walked: a head that takes too long is answered with 408 (the deadline
//! of its first byte stands, however it trickles), a silent body too; who takes no byte of the answer is closed.

use super::conns::Conns;
use super::http::Http;
use super::http::talk::Talk;
use super::lists::List;
use super::moves::{LINGER, Retired};
use super::service::Service;
use crate::model::{Class, Moment};
use crate::scoreboard::layout::ERRORS;
use crate::sys::net;
use std::time::Duration;

/// Between two sweeps: an idle worker wakes no more often.
pub const TICK: Duration = Duration::from_millis(500);

/// How long a TCP connection may take to get through the door.
const OPENING: Duration = Duration::from_secs(30);

const TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// What an active connection has overstepped.
#[derive(Debug, PartialEq, Eq)]
enum Late {
    /// It gets 408, if nothing of an answer has been sent.
    Request,
    /// It does not read.
    Answer,
    /// HTTP/2 without a stream for too long: it is told that no more are taken.
    Streamless,
    /// It has been told so, and does not take notice.
    Deaf,
}

/// Closes what has waited too long.
pub fn sweep(conns: &mut Conns, service: &Service, now: Moment) {
    service.sweep(now);
    sweep_tunnels(conns, now);
    expire(conns, List::Lingering, LINGER, now);
    if let Service::Tcp(_) = service {
        expire(conns, List::New, OPENING, now);
    }
    if let Service::Http(http) = service {
        sweep_http(conns, http, now);
    }
}

/// Ends what has been silent for too long: a WebSocket with a word of goodbye where there is room for one.
fn sweep_tunnels(conns: &mut Conns, now: Moment) {
    for key in conns.lists.members(&conns.reactor.sources, List::Tunnel) {
        let Some(tube) = conns.tube(key) else { continue };
        let silent = now.since(tube.moved.get()) >= tube.idle_timeout;
        match tube.leaving.get() {
            // In the middle of a frame, or of what the client does not take.
            Some(told) if now.since(told) >= LINGER => {
                net::reset_on_close(tube.io.as_fd());
                conns.close(key);
            }
            None if silent && tube.class == Class::Websocket => {
                tube.leaving.set(Some(now));
                conns.nudge(key);
            }
            None if silent => conns.close(key),
            Some(_) | None => {}
        }
    }
}

fn sweep_http(conns: &mut Conns, http: &Http, now: Moment) {
    let limits = [(List::New, http.header_timeout), (List::Idle, http.keep_alive)];
    for (list, limit) in limits {
        expire(conns, list, limit, now);
    }
    conns.chill(now - TICK);
    for key in conns.lists.members(&conns.reactor.sources, List::Active) {
        let Some(late) = conns.talk(key).and_then(|talk| overdue(talk, http, now)) else { continue };
        let slot = &conns.shared.slot;
        match late {
            Late::Request => {
                slot.add(ERRORS, 1);
                if let Some(talk) = conns.talk(key) {
                    talk.refused(408);
                }
                conns.interrupt(key, TIMEOUT);
            }
            Late::Answer => {
                slot.add(ERRORS, 1);
                conns.close(key);
            }
            Late::Streamless => {
                if let Some(streams) = conns.talk(key).and_then(Talk::streams) {
                    streams.leaving.set(true);
                }
                conns.nudge(key);
            }
            Late::Deaf => conns.close(key),
        }
    }
}

fn expire(conns: &mut Conns, list: List, limit: Duration, now: Moment) {
    while let Some(key) = conns.lists.first(list) {
        if conns.get(key).is_none_or(|conn| now.since(conn.stamp) < limit) {
            return;
        }
        match list {
            List::Lingering => conns.close(key),
            List::New | List::Idle | List::Active | List::Tunnel => match conns.retire(key) {
                Retired::Yes => {}
                // One that is still at the door stays where it was in the list.
                Retired::Served if conns.lists.first(list) == Some(key) => conns.close(key),
                Retired::Served => {}
            },
        }
    }
}

fn overdue(talk: &Talk, http: &Http, now: Moment) -> Option<Late> {
    if talk.io.stuck_since().is_some_and(|since| now.since(since) >= http.write_timeout) {
        return Some(Late::Answer);
    }
    if let Some(streams) = talk.streams()
        && let Some(since) = streams.none_since()
    {
        // hyper closes when the client has answered a ping, and all streams have ended.
        if streams.farewell.get().is_some_and(|told| now.since(told.max(since)) >= LINGER) {
            return Some(Late::Deaf);
        }
        // Nothing has begun before its preface is here.
        let limit = if streams.has_begun() { http.keep_alive } else { http.header_timeout };
        if now.since(since) >= limit {
            return Some(Late::Streamless);
        }
    }
    let head = talk.waits_for_head().is_some_and(|since| now.since(since) >= http.header_timeout);
    let body = talk.waits_for_body().is_some_and(|since| now.since(since) >= http.body_timeout);
    (head || body).then_some(Late::Request)
}
