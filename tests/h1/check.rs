//! Holds what happened against the outcomes of a case: it passes if one of them fits.
//!
//! Besides, every request that reaches the origin and every answer that reaches the client must be one
//! that nobody can misread: the strict reader takes it, and nothing hop by hop is left in it.

use crate::case::{Answer, Case, Extent, Outcome, Reply, Step, Want, answer};
use crate::client::{Answers, Heard, answers};
use crate::message::{End, Message, text};
use crate::origin::{Seen, echo};

/// What happened in a case.
pub struct Story {
    pub number: usize,
    /// What the origin has seen, without the probes.
    pub seen: Vec<Seen>,
    pub heard: Heard,
}

type Verdict = Result<(), String>;

/// Insists on a condition.
fn hold(condition: bool, why: impl FnOnce() -> String) -> Verdict {
    if condition { Ok(()) } else { Err(why()) }
}

/// Why a case has failed: for each outcome, what does not fit.
pub fn check(case: &Case, story: &Story) -> Verdict {
    let told = answers(&story.heard.bytes, story.heard.end, &case.methods())
        .map_err(|why| format!("the client can't read this: {why}"))?;
    hold(told.rest == 0, || {
        let from = story.heard.bytes.len() - told.rest;
        format!("bytes for nobody: {:?}", text(&story.heard.bytes[from..]))
    })?;
    let stray = told.interim.iter().find(|status| !case.interim.contains(status));
    hold(stray.is_none(), || format!("an unasked {stray:?}"))?;
    hold(story.heard.end != End::Open, || "the proxy does not close".to_owned())?;
    told.finals.iter().try_for_each(is_clean_answer)?;
    let faults: Vec<String> =
        case.outcomes.iter().filter_map(|outcome| fits(case, outcome, story, &told).err()).collect();
    hold(faults.len() < case.outcomes.len(), || faults.join("; or: "))
}

fn fits(case: &Case, outcome: &Outcome, story: &Story, told: &Answers) -> Verdict {
    seen_fits(&outcome.seen, &story.seen)?;
    let asked = case.steps.iter().any(|step| matches!(step, Step::Fin));
    hold(!outcome.closes || asked || story.heard.closed_first, || "the connection stays open".to_owned())?;
    let mut finals = told.finals.iter();
    for (at, reply) in outcome.replies.iter().enumerate() {
        let got = finals.next();
        match (reply, got) {
            (Reply::OwnOrEnd(_), None) => {}
            (_, None) => return Err(format!("no answer {}", at + 1)),
            (Reply::Own(statuses) | Reply::OwnOrEnd(statuses), Some(message)) => {
                hold(statuses.contains(&message.status()) && message.whole, || {
                    format!("{:?}, not one of {statuses:?}", message.line)
                })?;
            }
            (Reply::Echo, Some(message)) => {
                let asks = &outcome.seen[at].asks;
                let body = if asks.starts_with("HEAD ") { String::new() } else { echo(asks, story.number) };
                is_answer(message, &answer(200, body), true)?;
            }
            (Reply::Whole(answer), Some(message)) => is_answer(message, answer, true)?,
            (Reply::Cut(answer), Some(message)) => is_answer(message, answer, false)?,
        }
    }
    let more = finals.next();
    hold(more.is_none(), || format!("one more answer: {more:?}"))
}

fn is_answer(message: &Message, answer: &Answer, whole: bool) -> Verdict {
    let told = || format!("{:?}", message.line);
    hold(message.status() == answer.status, || format!("{} instead of {}", told(), answer.status))?;
    hold(message.whole == whole, || {
        format!("{} came to its end: {}, of {:?}", told(), message.whole, message.framing)
    })?;
    let body = if whole { message.body == answer.body } else { answer.body.starts_with(&message.body) };
    hold(body, || format!("{} with the body {:?}", told(), short(&message.body)))?;
    hold_fields(message, answer.absent, answer.fields)
}

fn hold_fields(message: &Message, absent: &[&str], fields: &[(&str, &str)]) -> Verdict {
    for name in absent {
        let values = message.values(name);
        hold(values.is_empty(), || format!("{name} is left: {values:?}"))?;
    }
    for (name, value) in fields {
        let values = message.values(name);
        hold(values == [*value], || format!("{name} is {values:?}, not {value:?}"))?;
    }
    Ok(())
}

/// The beginning of something that may be long.
fn short(bytes: &[u8]) -> String {
    text(&bytes[..bytes.len().min(200)])
}

/// The order in which the origin understands requests says nothing: each may come on another connection.
fn seen_fits(wants: &[Want], seen: &[Seen]) -> Verdict {
    let mut left: Vec<&Seen> = seen.iter().collect();
    for want in wants {
        let faults: Vec<String> = left.iter().filter_map(|got| is_wanted(want, got).err()).collect();
        let Some(at) = left.iter().position(|got| is_wanted(want, got).is_ok()) else {
            let needless = want.extent == Extent::Broken;
            let why = || format!("the origin has not seen {:?}: {}", want.asks, faults.join(", "));
            hold(needless, why)?;
            continue;
        };
        left.remove(at);
        left.retain(|got| !(want.again && is_wanted(want, got).is_ok()));
    }
    hold(left.is_empty(), || format!("the origin has also seen {left:?}"))
}

fn is_wanted(want: &Want, seen: &Seen) -> Verdict {
    let message = match seen {
        Seen::Wrong(why) => return Err(format!("wrong at the origin: {why}")),
        Seen::Request(message) => {
            hold(want.extent != Extent::Broken, || format!("the origin took it for whole: {message:?}"))?;
            message
        }
        Seen::Part(part) => {
            hold(want.extent != Extent::Whole, || format!("the origin has seen a part: {part:?}"))?;
            let Some(message) = part else { return Ok(()) };
            message
        }
    };
    hold(message.asks() == want.asks, || format!("{:?} instead of {:?}", message.line, want.asks))?;
    let hosts = message.values("host");
    if let Some(host) = &want.host {
        hold(hosts == [host], || format!("hosts {hosts:?} instead of {host:?}"))?;
    }
    let framed = want.framing.contains(&message.framing);
    hold(framed, || format!("framing {:?} instead of {:?}", message.framing, want.framing))?;
    let body = if message.whole { message.body == want.body } else { want.body.starts_with(&message.body) };
    hold(body, || format!("the body {:?} instead of {:?}", short(&message.body), short(&want.body)))?;
    let stray = message.trailers.iter().find(|(name, _)| !want.trailers.contains(&name.as_str()));
    hold(stray.is_none(), || format!("a trailer {stray:?}"))?;
    is_clean_request(message, want.upgrade)?;
    hold_fields(message, want.absent, want.fields)
}

/// Fields that speak of one connection only (RFC 9110, 7.6.1).
const OF_ONE_HOP: &[&str] = &["keep-alive", "proxy-connection"];

/// Nothing in a forwarded request speaks of the client's own connection.
fn is_clean_request(message: &Message, upgrade: bool) -> Verdict {
    hold_fields(message, OF_ONE_HOP, &[])?;
    let hosts = message.values("host").len();
    hold(hosts == 1 || (hosts == 0 && message.is_old()), || format!("{hosts} hosts"))?;
    hold(message.values("te").iter().all(|te| *te == "trailers"), || format!("{:?}", message.values("te")))?;
    let upgrades = message.values("upgrade");
    hold(upgrades.is_empty() || (upgrade && upgrades == ["websocket"]), || format!("upgrades {upgrades:?}"))?;
    let options = message.elements("connection");
    let known =
        |o: &String| matches!(o.as_str(), "close" | "keep-alive" | "te") || (upgrade && o == "upgrade");
    hold(options.iter().all(known), || format!("connection options {options:?}"))
}

/// What frames a message or speaks of a connection can't come behind the message (RFC 9110, 6.5.1).
const NO_TRAILERS: &[&str] = &["connection", "content-length", "keep-alive", "transfer-encoding", "upgrade"];

/// Nothing in an answer speaks of the origin's connection.
fn is_clean_answer(message: &Message) -> Verdict {
    hold_fields(message, OF_ONE_HOP, &[])?;
    let stray = message.trailers.iter().find(|(name, _)| NO_TRAILERS.contains(&name.as_str()));
    hold(stray.is_none(), || format!("a trailer {stray:?}"))?;
    let status = message.status();
    hold(status == 426 || message.values("upgrade").is_empty(), || "an upgrade".to_owned())?;
    let options = message.elements("connection");
    let known =
        |o: &String| matches!(o.as_str(), "close" | "keep-alive") || (status == 426 && o == "upgrade");
    hold(options.iter().all(known), || format!("connection options {options:?}"))
}
