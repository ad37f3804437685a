//! The rows of what is connected to: the same keys in each table that names upstreams.
//!
//! A path is one text made when this is compiled, so the rows are made by a macro, once for each
//! table. The row of the table itself stands where its kind of worker is told of.

use super::{SOME_TIME, key};
use crate::config::key::Default::{Absent, Required, Toml};
use crate::config::key::Reload::Workers;
use crate::config::key::{Row, Type};
use crate::config::types::ProxyProtocol;
use crate::config::words::words_of;

macro_rules! rows_of {
    ($table:literal) => {
        &[
            key(
                concat!($table, ".upstream"),
                Type::Upstreams,
                Required { example: "[\"127.0.0.1:9000\"]" },
                Workers,
                "The servers to connect to, at least one. A name is looked up by the workers; a socket path is at most 107 bytes.",
            ),
            key(
                concat!($table, ".connect_timeout"),
                SOME_TIME,
                Toml("\"5s\""),
                Workers,
                "How long a connection to a server may take to be made.",
            ),
            key(
                concat!($table, ".max_failures"),
                Type::Integer { min: 0, max: 1_000_000 },
                Toml("3"),
                Workers,
                "Failures in a row after which a worker passes a server over; 0 is never.",
            ),
            key(
                concat!($table, ".retry_after"),
                SOME_TIME,
                Toml("\"10s\""),
                Workers,
                "How long a server is passed over.",
            ),
            key(
                concat!($table, ".proxy_protocol"),
                Type::Word(words_of::<ProxyProtocol>),
                Absent { means: "none is sent", example: "\"v2\"" },
                Workers,
                "The version of the PROXY protocol header that each connection begins with, which tells the server who the client is.",
            ),
        ]
    };
}

/// The upstreams of routes that pass requests on.
pub(super) static OF_ROUTES: &[Row] = rows_of!("service.http.route.proxy");

/// The upstreams of services that pass connections on.
pub(super) static OF_TCP: &[Row] = rows_of!("service.tcp.proxy");
