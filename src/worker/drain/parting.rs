//! What is still open when its time is up: counted, named, and ended as well as it can be.
//!
//! What is meant to last is told to end, and does so in its next turn: an event stream with its last chunk, a
//! WebSocket with a close frame (1001), a TCP connection plainly if it is silent, else by a reset. An answer
//! under way knows no such word: it is cut. Whoever was told counts as cut, too: it would have gone on.
//! Never: decides when that is (`drain` does, and the order to stop), waits.

use crate::model::Class;
use crate::scoreboard::layout::CUT;
use crate::sys::net;
use crate::worker::conns::Conns;
use crate::worker::lists::List;
use crate::worker::tunnel::Tube;
use slog::warn;

/// Which of the connections that are busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Those that are given `grace`.
    Short,
    All,
}

/// Whether a connection is given `long_lived_grace`: its class says so, or it came over TLS.
pub fn is_long_lived(conns: &Conns, key: usize) -> bool {
    conns.class(key).is_long_lived() || conns.talk(key).is_some_and(|talk| talk.io.is_encrypted())
}

/// Whether there is any such connection. Idle ones have no claim, whatever they came over.
pub fn any_long_lived(conns: &Conns) -> bool {
    let mut active = conns.lists.walk(&conns.reactor.sources, List::Active);
    conns.lists.len(List::Tunnel) > 0 || active.any(|key| conns.is_busy(key) && is_long_lived(conns, key))
}

/// Ends what is busy: at once, or in its next turn if it has something to say. What has not done so when
/// it is closed for good is cut off without.
pub fn part(conns: &mut Conns, whom: Whom) {
    let mut busy = conns.busy();
    busy.retain(|key| !was_told(conns, *key) && (whom == Whom::All || !is_long_lived(conns, *key)));
    name(conns, &busy);
    for key in busy {
        if can_say_goodbye(conns, key) {
            conns.nudge(key);
        } else {
            conns.close(key);
        }
    }
}

/// Tells a connection that is meant to last that it is to end.
fn can_say_goodbye(conns: &Conns, key: usize) -> bool {
    if let Some(tube) = conns.tube(key) {
        tube.leaving.set(Some(conns.shared.engine.now()));
        return true;
    }
    let lasts = is_long_lived(conns, key);
    conns.talk(key).filter(|_| lasts).map(|talk| talk.end()).is_some()
}

/// Whether that has been done, and counted, before.
fn was_told(conns: &Conns, key: usize) -> bool {
    conns.tube(key).is_some_and(Tube::is_leaving) || conns.talk(key).is_some_and(|talk| talk.ending.get())
}

fn name(conns: &Conns, busy: &[usize]) {
    if busy.is_empty() {
        return;
    }
    let now = conns.shared.engine.now();
    let oldest = busy.iter().filter_map(|key| conns.get(*key)).min_by_key(|conn| conn.since);
    let oldest = oldest.map_or_else(String::new, |conn| {
        format!("; the oldest was {} after {:.1}s", conn.who, now.since(conn.since).as_secs_f64())
    });
    let classes = Class::census(|class| busy.iter().filter(|key| conns.class(**key) == class).count() as u64);
    warn!(conns.shared.log, "cut off {} connections ({classes}){oldest}", busy.len());
    conns.shared.slot.add(CUT, busy.len() as u64);
}

/// Closes everything at once, without another word.
pub fn close_all(conns: &mut Conns) {
    for list in [List::Active, List::Tunnel, List::Idle, List::New, List::Lingering] {
        for key in conns.lists.members(&conns.reactor.sources, list) {
            if let Some(tube) = conns.tube(key) {
                // It could not say goodbye: it is in the middle of something.
                net::reset_on_close(tube.io.as_fd());
            }
            conns.close(key);
        }
    }
}
