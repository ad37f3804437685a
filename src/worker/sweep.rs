//! Coarse timeouts, looked at twice a second.
//!
//! Parked and lingering connections expire in the order in which they came: only the heads of their lists
//! are looked at. Active ones are walked: a head that takes too long is answered with 408 (the deadline
//! of its first byte stands, however it trickles), a silent body too; who takes no byte of the answer is closed.

use super::conns::{Conns, LINGER, Retired};
use super::http::Http;
use super::http::talk::Talk;
use super::lists::List;
use crate::model::Moment;
use crate::scoreboard::layout::ERRORS;
use std::time::Duration;

/// Between two sweeps: an idle worker wakes no more often.
pub const TICK: Duration = Duration::from_millis(500);

const TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// What an active connection has overstepped.
#[derive(Debug, PartialEq, Eq)]
enum Late {
    /// It gets 408, if nothing of an answer has been sent.
    Request,
    /// It does not read.
    Answer,
}

/// Closes what has waited too long.
pub fn sweep(conns: &mut Conns, http: &Http, now: Moment) {
    let limits = [(List::New, http.header_timeout), (List::Idle, http.keep_alive), (List::Lingering, LINGER)];
    for (list, limit) in limits {
        expire(conns, list, limit, now);
    }
    conns.chill(now - TICK);
    for key in conns.lists.members(&conns.reactor.sources, List::Active) {
        let Some(late) = conns.talk(key).and_then(|talk| overdue(talk, http, now)) else { continue };
        let slot = &conns.shared.slot;
        slot.add(ERRORS, 1);
        match late {
            Late::Request => {
                slot.response(408);
                conns.interrupt(key, TIMEOUT);
            }
            Late::Answer => conns.close(key),
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
            List::New | List::Idle | List::Active => {
                let (Retired::Yes | Retired::Served) = conns.retire(key);
            }
        }
    }
}

fn overdue(talk: &Talk, http: &Http, now: Moment) -> Option<Late> {
    if talk.io.stuck_since().is_some_and(|since| now.since(since) >= http.write_timeout) {
        return Some(Late::Answer);
    }
    let head = talk.waits_for_head().is_some_and(|since| now.since(since) >= http.header_timeout);
    let body = talk.waits_for_body().is_some_and(|since| now.since(since) >= http.body_timeout);
    (head || body).then_some(Late::Request)
}
