//! The rows of `service.http.route`. Order here is order in the man page.

use super::{ANY_TIME, SOME_TIME, key};
use crate::config::key::Default::{Absent, Required, Toml};
use crate::config::key::Reload::{Identity, Workers};
use crate::config::key::{Row, Type};
use crate::config::types::Health;
use crate::config::words::{StatusForm, words_of};

/// All keys of a route but those within `proxy`, whose row is the last.
pub(super) static ROWS: &[Row] = &[
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
        "service.http.route.headers",
        Type::Headers,
        Toml("{}"),
        Workers,
        "Headers to set on every answer of this route, whatever it comes from, { Name = \"value\" }; an empty value takes the header away. Those that frame the message (Content-Length, Transfer-Encoding, Connection) are masterd's own.",
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
    key(
        "service.http.route.redirect",
        Type::Table,
        Absent { means: "none", example: "{ to = \"https://{host}{target}\" }" },
        Workers,
        "Sends the client elsewhere.",
    ),
    key(
        "service.http.route.redirect.to",
        Type::Text,
        Required { example: "\"https://{host}{target}\"" },
        Workers,
        "An http or https URL. {host} is replaced by the request's host without its port, {target} by its path and query.",
    ),
    key(
        "service.http.route.redirect.status",
        Type::OneOf(&[301, 302, 303, 307, 308]),
        Toml("308"),
        Workers,
        "The status code. With 307 and 308 the client repeats the request as it was, with 303 as a GET.",
    ),
    key(
        "service.http.route.files",
        Type::Table,
        Absent { means: "none", example: "{ root = \"www\" }" },
        Workers,
        "Sends files of a folder.",
    ),
    key(
        "service.http.route.files.root",
        Type::Path,
        Required { example: "\"www\"" },
        Workers,
        "The folder below which the request's path is looked up. It must be there when the config is read, and be open to the workers' user. Where it is a symlink, what that points to then is served until the next reload.",
    ),
    key(
        "service.http.route.files.index",
        Type::Text,
        Toml("\"index.html\""),
        Workers,
        "The file that is sent for a folder, a name without slashes; \"\" is none.",
    ),
    key(
        "service.http.route.files.precompressed",
        Type::Switch,
        Toml("true"),
        Workers,
        "Whether FILE.gz, where it lies beside FILE, is sent to clients that take gzip.",
    ),
    key(
        "service.http.route.proxy",
        Type::Table,
        Absent { means: "none", example: "{ upstream = [\"127.0.0.1:9000\"] }" },
        Workers,
        "Passes requests on to upstreams, and their answers back; the `Host` stays what the client sent.",
    ),
];

/// What `proxy` has beside its upstreams.
pub(super) static PROXY: &[Row] = &[
    key(
        "service.http.route.proxy.http2",
        Type::Switch,
        Toml("false"),
        Workers,
        "Whether HTTP/2 is spoken to the upstreams (without TLS, with prior knowledge); gRPC needs it. Not together with `proxy_protocol`.",
    ),
    key(
        "service.http.route.proxy.read_timeout",
        SOME_TIME,
        Toml("\"60s\""),
        Workers,
        "The longest silence of an upstream whose answer is awaited or read.",
    ),
    key(
        "service.http.route.proxy.write_timeout",
        SOME_TIME,
        Toml("\"60s\""),
        Workers,
        "The longest time for which an upstream takes nothing of a request.",
    ),
    key(
        "service.http.route.proxy.idle_timeout",
        SOME_TIME,
        Toml("\"10m\""),
        Workers,
        "The longest silence of what is meant to last: of a WebSocket in both directions at once, of an event stream or a gRPC call that has begun to answer, and before that of the client in a gRPC call.",
    ),
    key(
        "service.http.route.proxy.keep_alive",
        Type::Integer { min: 0, max: 10_000 },
        Absent { means: "64, or 0 with `proxy_protocol`", example: "64" },
        Workers,
        "Idle connections that each worker keeps to each upstream; 0 is none. With `proxy_protocol` it can only be 0, because the header names one client for the whole connection.",
    ),
    key(
        "service.http.route.proxy.keep_alive_timeout",
        SOME_TIME,
        Toml("\"50s\""),
        Workers,
        "How long an idle one is kept; less than the upstream keeps it, so that no request meets a closed connection.",
    ),
    key(
        "service.http.route.proxy.retries",
        Type::Integer { min: 0, max: 100 },
        Toml("1"),
        Workers,
        "How many more upstreams are tried for a request that may be repeated. One that refuses the connection has seen nothing of it and does not count.",
    ),
];
