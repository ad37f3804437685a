//! The rows of `[[service]]`, but for its listeners and what its workers do. Order here is order in the man page.

use super::{ANY_TIME, NONE, SOME_TIME, YEAR, key};
use crate::config::key::Default::{Absent, Required, Toml};
use crate::config::key::Reload::{Identity, Workers};
use crate::config::key::{Row, Type};
use crate::config::types::Idle;
use crate::config::words::words_of;
use std::time::Duration;

pub(super) static ROWS: &[Row] = &[
    key(
        "service",
        Type::Tables,
        Required { example: "[]" },
        Identity,
        "A named set of listeners, one kind of worker (exactly one of `http`, `tcp` and `exec`) and the size of its pool. At least one is needed.",
    ),
    key(
        "service.name",
        Type::Text,
        Required { example: "\"web\"" },
        Identity,
        "Letters, digits, `-`, `_` and `.`, beginning with a letter or digit, at most 63; unique.",
    ),
    key(
        "service.workers",
        Type::Workers { max: 512 },
        Toml("\"auto\""),
        Workers,
        "How many workers serve it. \"auto\" is one for each CPU that masterd may use. With bounds, { min = 2, max = 8 }, one more is started when workers are busy or the queue does not empty, and one is drained when they are idle.",
    ),
    key(
        "service.workers.min",
        Type::Integer { min: 1, max: 512 },
        Required { example: "2" },
        Workers,
        "The fewest workers; a generation starts with this many.",
    ),
    key(
        "service.workers.max",
        Type::Integer { min: 1, max: 512 },
        Required { example: "8" },
        Workers,
        "The most workers; not below `min`.",
    ),
    key(
        "service.connections",
        Type::Integer { min: 1, max: 1_000_000 },
        Toml("20000"),
        Workers,
        "Connections that each worker holds at most. At the limit it stops accepting; it does not fail. Built-in workers only: masterd can't hold a program to it.",
    ),
    key("service.drain", Type::Table, NONE, Workers, "How its workers leave."),
    key(
        "service.drain.grace",
        ANY_TIME,
        Toml("\"30s\""),
        Workers,
        "How long open connections may take to end. What is left then is closed, counted and named in the log.",
    ),
    key(
        "service.drain.long_lived_grace",
        ANY_TIME,
        Absent { means: "\"5m\", or `grace` where that is longer", example: "\"5m\"" },
        Workers,
        "The same for connections that are meant to last: WebSocket, server-sent events, gRPC, TCP, and TLS; not below `grace`.",
    ),
    key(
        "service.drain.delay",
        ANY_TIME,
        Toml("\"0s\""),
        Workers,
        "On stop, drain and WINCH: how long `health = \"ready\"` already answers 503 while new connections are still welcome, so that a load balancer can look away first.",
    ),
    key(
        "service.drain.idle",
        Type::Word(words_of::<Idle>),
        Toml("\"announce\""),
        Workers,
        "What becomes of idle keep-alive connections: \"announce\" lets them stay until their next request, which is answered with `Connection: close`, or until the grace ends; \"close\" closes them, spread over one second. Built-in workers only.",
    ),
    key(
        "service.restart",
        Type::Table,
        NONE,
        Workers,
        "How dead workers are replaced, and when living ones are. Of `max_requests`, `max_memory` and `max_age` each worker has a limit of its own, up to a tenth apart, so that a pool is not replaced all at once; the new worker is ready before the old one drains.",
    ),
    key(
        "service.restart.backoff_min",
        SOME_TIME,
        Toml("\"100ms\""),
        Workers,
        "The first wait before a worker that died within a second of being ready is replaced. Each further early death doubles it.",
    ),
    key(
        "service.restart.backoff_max",
        SOME_TIME,
        Toml("\"30s\""),
        Workers,
        "The longest such wait; not below `backoff_min`.",
    ),
    key(
        "service.restart.give_up",
        Type::Integer { min: 0, max: 1_000_000 },
        Toml("0"),
        Workers,
        "Early deaths in a row after which the service is given up until the next reload; 0 is never.",
    ),
    key(
        "service.restart.max_requests",
        Type::Integer { min: 0, max: 1_000_000_000_000 },
        Toml("0"),
        Workers,
        "Requests after which a worker is replaced; 0 is never. Those of a program count where it counts them in its slot of the scoreboard.",
    ),
    key(
        "service.restart.max_memory",
        Type::Size { min: 0, max: i64::MAX as u64 },
        Toml("\"0\""),
        Workers,
        "Memory above which a worker is replaced, with a program that of all its processes; \"0\" is never. Where workers reach this or max_requests within a minute of being ready, that is said, and no more than one a minute is replaced.",
    ),
    key(
        "service.restart.max_age",
        Type::DurationOrOff { min: Duration::from_secs(1), max: YEAR },
        Toml("\"0s\""),
        Workers,
        "The age at which a worker is replaced; \"0s\" is never.",
    ),
    key("service.limits", Type::Table, NONE, Workers, "What its workers may use."),
    key(
        "service.limits.nofile",
        Type::Integer { min: 64, max: 1 << 30 },
        Absent { means: "65536, or for `exec` what masterd was started with", example: "65536" },
        Workers,
        "Open files of a worker, raised as far as the hard limit allows. Programs that use select(2) break above 1024.",
    ),
    key(
        "service.limits.core",
        Type::SizeOrUnlimited,
        Toml("\"0\""),
        Workers,
        "The largest core dump of a worker. With anything but 0, processes of the workers' user may trace the workers (ptrace) and read their memory.",
    ),
    key(
        "service.limits.cpu_affinity",
        Type::Affinity,
        Toml("\"auto\""),
        Workers,
        "\"auto\" gives each worker one CPU when the service has as many workers as masterd may use CPUs, and is \"off\" otherwise; an array binds every worker to those CPUs.",
    ),
    key(
        "service.limits.nice",
        Type::Integer { min: -20, max: 19 },
        Toml("0"),
        Workers,
        "Scheduling priority; a negative one needs root.",
    ),
];
