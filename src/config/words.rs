//! The words that a config uses for enum values, each defined once.
//!
//! The key table lists them, the reader turns them into values, `show` turns values back into
//! them. Never: says where they may stand; that is the table's business.

use super::types::{Accept, ClientAuth, Health, Idle, LogFormat, LogLevel, Output, ProxyProtocol, Sigterm};
use crate::sys;

/// An enum whose values are words in the config.
pub(super) trait Word: Copy + PartialEq + 'static {
    /// Every word with its value.
    const ALL: &'static [(&'static str, Self)];

    /// The word for this value; the empty text if `ALL` forgot it (a test holds that it does not).
    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
    }
}

/// The words of an enum, in the order in which people are told of them.
pub(super) fn words_of<T: Word>() -> Vec<&'static str> {
    T::ALL.iter().map(|(word, _)| *word).collect()
}

impl Word for Sigterm {
    const ALL: &'static [(&'static str, Self)] = &[("graceful", Sigterm::Graceful), ("fast", Sigterm::Fast)];
}

impl Word for LogLevel {
    const ALL: &'static [(&'static str, Self)] = &[
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
    ];
}

impl Word for LogFormat {
    const ALL: &'static [(&'static str, Self)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
}

impl Word for Accept {
    const ALL: &'static [(&'static str, Self)] =
        &[("per-worker", Accept::PerWorker), ("shared", Accept::Shared)];
}

impl Word for ClientAuth {
    const ALL: &'static [(&'static str, Self)] =
        &[("required", ClientAuth::Required), ("optional", ClientAuth::Optional)];
}

impl Word for Idle {
    const ALL: &'static [(&'static str, Self)] = &[("announce", Idle::Announce), ("close", Idle::Close)];
}

impl Word for Health {
    const ALL: &'static [(&'static str, Self)] = &[("live", Health::Live), ("ready", Health::Ready)];
}

impl Word for ProxyProtocol {
    const ALL: &'static [(&'static str, Self)] = &[("v1", ProxyProtocol::V1), ("v2", ProxyProtocol::V2)];
}

impl Word for Output {
    const ALL: &'static [(&'static str, Self)] = &[("log", Output::Log), ("inherit", Output::Inherit)];
}

/// What `status = …` of a route shows. One form so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatusForm {
    Json,
}

impl Word for StatusForm {
    const ALL: &'static [(&'static str, Self)] = &[("json", StatusForm::Json)];
}

/// Signals that programs take as "end in good order", without the SIG in front. Not those that end it whatever it
/// does (KILL), that it can't have heard of (STOP), or that mean something else to it (CHLD).
const STOP_SIGNALS: [&str; 7] = ["TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "WINCH"];

/// The words of `stop_signal`.
pub(super) fn stop_signals() -> Vec<&'static str> {
    STOP_SIGNALS.to_vec()
}

/// The number of one of them; numbers differ between architectures (signal(7)).
pub(super) fn stop_signal(word: &str) -> Option<i32> {
    (1..32).find(|number| stop_signal_word(*number) == Some(word))
}

/// Its word.
pub(super) fn stop_signal_word(number: i32) -> Option<&'static str> {
    let name = sys::process::signal_name(number);
    STOP_SIGNALS.into_iter().find(|word| name.strip_prefix("SIG") == Some(word))
}
