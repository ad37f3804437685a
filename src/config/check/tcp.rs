//! `service.tcp`: passed on or sent back.

use super::upstream;
use crate::config::read::Section;
use crate::config::types::{Tcp, TcpAction};

pub(super) fn tcp(section: &Section<'_>) -> Tcp {
    Tcp { action: action(section), idle_timeout: section.duration("idle_timeout").unwrap_or_default() }
}

fn action(section: &Section<'_>) -> TcpAction {
    let proxy = section.has("proxy").then(|| upstream::upstreams(&section.table("proxy")));
    match (proxy, section.switch("echo")) {
        (Some(upstreams), Some(false)) => return TcpAction::Proxy(upstreams),
        (None, Some(false)) => {
            let message = "a tcp service has exactly one of proxy and echo; this one has none";
            let hint = "add proxy = { upstream = [\"127.0.0.1:9000\"] }".to_owned();
            section.notes.error(section.at, message, Some(hint));
        }
        (Some(_), Some(true)) => {
            let message = "a tcp service has exactly one of proxy and echo; this one has both";
            section.notes.error(section.at_key("echo"), message, None);
        }
        // What is no switch has been noted.
        (None, Some(true)) | (_, None) => {}
    }
    TcpAction::Echo
}
