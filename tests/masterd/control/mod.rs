//! The control socket: exit codes and sentences, who may ask, abuse, events, signals by word.
//!
//! `codes`: what a client is told when there is no answer. `abuse`: clients that do not behave.
//! `events`: the stream of acts, and verdicts that reach their clients.

mod abuse;
mod codes;
mod events;
