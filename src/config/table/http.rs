//! The rows of `service.http`, but for what its routes hold. Order here is order in the man page.

use super::{KIB, NONE, SOME_TIME, key};
use crate::config::key::Default::{Required, Toml};
use crate::config::key::Reload::Workers;
use crate::config::key::{Row, Type};

pub(super) static ROWS: &[Row] = &[
    key("service.http", Type::Table, NONE, Workers, "Built-in HTTP workers."),
    key(
        "service.http.header_timeout",
        SOME_TIME,
        Toml("\"30s\""),
        Workers,
        "From a request's first byte to the end of its head, and from accepting a connection to the first byte; for HTTP/2, to the end of what a client begins with (RFC 9113, 3.4).",
    ),
    key(
        "service.http.body_timeout",
        SOME_TIME,
        Toml("\"30s\""),
        Workers,
        "The longest silence within a request body. A gRPC call that is passed on may be silent for the `idle_timeout` of its route instead, until its answer begins, and as it likes until that ends.",
    ),
    key(
        "service.http.write_timeout",
        SOME_TIME,
        Toml("\"60s\""),
        Workers,
        "The longest time for which a response makes no progress because the client does not read. One stream of HTTP/2 is reset, and its connection goes on.",
    ),
    key(
        "service.http.keep_alive",
        SOME_TIME,
        Toml("\"75s\""),
        Workers,
        "The longest idle time between two requests of a connection.",
    ),
    key(
        "service.http.max_header_size",
        Type::Size { min: 8 * KIB, max: KIB * KIB },
        Toml("\"32KiB\""),
        Workers,
        "Bytes of request line and headers together.",
    ),
    key(
        "service.http.max_headers",
        Type::Integer { min: 1, max: 10_000 },
        Toml("100"),
        Workers,
        "Headers of a request.",
    ),
    key(
        "service.http.max_body",
        Type::Size { min: 0, max: i64::MAX as u64 },
        Toml("\"1MiB\""),
        Workers,
        "Bytes of a request body that masterd reads itself; a longer one is answered with 413. What is passed on to an upstream has no limit.",
    ),
    key(
        "service.http.http2",
        Type::Switch,
        Toml("true"),
        Workers,
        "Whether HTTP/2 is spoken to clients that ask for it: by ALPN where there is TLS, else by beginning with its preface. HTTP/1 always is.",
    ),
    key(
        "service.http.max_streams",
        Type::Integer { min: 1, max: 10_000 },
        Toml("128"),
        Workers,
        "Requests that a client may have under way at once in one HTTP/2 connection.",
    ),
    key(
        "service.http.route",
        Type::Tables,
        Required { example: "[]" },
        Workers,
        "What to answer where. Routes with the request's host go before those without one, and among them the longest path that the request's path begins with wins. Each route has exactly one of `respond`, `proxy`, `redirect`, `files`, `health` and `status`.",
    ),
];
