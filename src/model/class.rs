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

    /// Whether it is meant to last: a drain gives it `long_lived_grace`.
    pub fn is_long_lived(self) -> bool {
        match self {
            Class::Http => false,
            Class::Websocket | Class::Grpc | Class::Sse | Class::Tcp => true,
        }
    }

    /// How many there are of each, for people: `40 http, 5 websocket, 0 sse, 0 grpc, 0 tcp`.
    pub fn census(of: impl Fn(Class) -> u64) -> String {
        let order = [Class::Http, Class::Websocket, Class::Sse, Class::Grpc, Class::Tcp];
        order.map(|class| format!("{} {}", of(class), class.word())).join(", ")
    }

    /// The class's place in `Class::ALL`.
    pub fn index(self) -> usize {
        self as usize
    }
}
