//! The rows of `service.http` and its routes. Order here is order in the man page.

use super::{ANY_TIME, KIB, SOME_TIME, key};
use crate::config::key::Default::{Absent, Required, Toml};
use crate::config::key::Reload::{Identity, Workers};
use crate::config::key::{Row, Type};
use crate::config::types::Health;
use crate::config::words::{StatusForm, words_of};

pub(super) static ROWS: &[Row] = &[
    key("service.http", Type::Table, Required { example: "{}" }, Workers, "Built-in HTTP workers."),
    key(
        "service.http.header_timeout",
        SOME_TIME,
        Toml("\"30s\""),
        Workers,
        "From a request's first byte to the end of its head, and from accepting a connection to the first byte.",
    ),
    key(
        "service.http.body_timeout",
        SOME_TIME,
        Toml("\"30s\""),
        Workers,
        "The longest silence within a request body.",
    ),
    key(
        "service.http.write_timeout",
        SOME_TIME,
        Toml("\"60s\""),
        Workers,
        "The longest time for which a response makes no progress because the client does not read.",
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
        "Bytes of a request body that masterd reads itself; a longer one is answered with 413.",
    ),
    key(
        "service.http.route",
        Type::Tables,
        Required { example: "[]" },
        Workers,
        "What to answer where. Routes with the request's host go before those without one, and among them the longest path that the request's path begins with wins. Each route has exactly one of `respond`, `health` and `status`.",
    ),
    key(
        "service.http.route.path",
        Type::Text,
        Required { example: "\"/\"" },
        Identity,
        "The beginning of the request's path; starts with `/`.",
    ),
    key(
        "service.http.route.host",
        Type::Text,
        Absent { means: "every host", example: "\"example.com\"" },
        Identity,
        "The request's host, without port; case does not matter.",
    ),
    key(
        "service.http.route.respond",
        Type::Table,
        Absent { means: "none", example: "{ body = \"hello\\n\" }" },
        Workers,
        "A fixed answer, made by the worker itself.",
    ),
    key(
        "service.http.route.respond.status",
        Type::Integer { min: 200, max: 599 },
        Toml("200"),
        Workers,
        "The status code.",
    ),
    key(
        "service.http.route.respond.body",
        Type::Text,
        Toml("\"\""),
        Workers,
        "The body. {pid}, {generation} and {seat} are replaced; other braces are left alone.",
    ),
    key(
        "service.http.route.respond.headers",
        Type::Headers,
        Toml("{}"),
        Workers,
        "Headers to send, { Name = \"value\" }. Those that frame the message (Content-Length, Transfer-Encoding, Connection) are masterd's own.",
    ),
    key(
        "service.http.route.respond.delay",
        ANY_TIME,
        Toml("\"0s\""),
        Workers,
        "How long to wait before answering.",
    ),
    key(
        "service.http.route.health",
        Type::Word(words_of::<Health>),
        Absent { means: "none", example: "\"ready\"" },
        Workers,
        "\"live\" answers 200 as long as a worker runs. \"ready\" answers 503 when the service is stopping, drained, or has no worker that is ready.",
    ),
    key(
        "service.http.route.status",
        Type::Word(words_of::<StatusForm>),
        Absent { means: "none", example: "\"json\"" },
        Workers,
        "Shows what `masterd status --json` prints.",
    ),
];
