//! The classes of connection that are counted and drained apart (`http`, `websocket`,
//! `grpc`, `sse`, `tcp`).
//!
//! The order is part of the scoreboard's layout: append, never reorder.

use serde::{Deserialize, Serialize};

/// What kind of conversation a connection holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    Http,
    Websocket,
    Grpc,
    Sse,
    Tcp,
}

impl Class {
    /// Every class, in the order of the scoreboard's gauges.
    pub const ALL: [Class; 5] = [Class::Http, Class::Websocket, Class::Grpc, Class::Sse, Class::Tcp];

    /// The word used in `status`, logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Class::Http => "http",
            Class::Websocket => "websocket",
            Class::Grpc => "grpc",
            Class::Sse => "sse",
            Class::Tcp => "tcp",
        }
    }

    /// The class's place in `Class::ALL`.
    pub fn index(self) -> usize {
        self as usize
    }
}
