//! The rows of `service.tcp`. Order here is order in the man page.

use super::{NONE, SOME_TIME, key};
use crate::config::key::Default::{Absent, Toml};
use crate::config::key::Reload::Workers;
use crate::config::key::{Row, Type};

/// All keys but those within `proxy`, whose row is the last.
pub(super) static ROWS: &[Row] = &[
    key(
        "service.tcp",
        Type::Table,
        NONE,
        Workers,
        "Built-in workers for any protocol over TCP or unix sockets. It has exactly one of `proxy` and `echo`.",
    ),
    key(
        "service.tcp.echo",
        Type::Switch,
        Toml("false"),
        Workers,
        "Whether every byte is sent back to who sent it, for tests.",
    ),
    key(
        "service.tcp.idle_timeout",
        SOME_TIME,
        Toml("\"10m\""),
        Workers,
        "The longest time for which nothing passes through a connection in either direction.",
    ),
    key(
        "service.tcp.proxy",
        Type::Table,
        Absent { means: "none", example: "{ upstream = [\"127.0.0.1:9000\"] }" },
        Workers,
        "Joins each connection to one of an upstream, and passes every byte on.",
    ),
];
