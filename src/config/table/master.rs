//! The rows of `include` and `[master]`. Order here is order in the man page.

use super::{ANY_TIME, NONE, SOME_TIME, YEAR, key};
use crate::config::key::Default::{Absent, Toml};
use crate::config::key::Reload::{Kept, Master, Workers};
use crate::config::key::{Row, Type};
use crate::config::types::{LogFormat, LogLevel, Sigterm};
use crate::config::words::words_of;
use std::time::Duration;

pub(super) static ROWS: &[Row] = &[
    key(
        "include",
        Type::Globs,
        Toml("[]"),
        Master,
        "More files to read, relative to this one's folder and in sorted order. A pattern may match nothing; a plain path must exist. They may hold services, and of `[master]` what no other file sets, but no `include`.",
    ),
    key("master", Type::Table, NONE, Master, "The master process."),
    key(
        "master.pid_file",
        Type::Path,
        Absent { means: "no pid file", example: "\"run/masterd.pid\"" },
        Kept,
        "The master writes its process id here and holds a lock on the file, so that a second master refuses to start.",
    ),
    key(
        "master.control_socket",
        Type::Path,
        Absent {
            means: "/run/masterd/control.sock for root, else $XDG_RUNTIME_DIR/masterd/control.sock, else /tmp/masterd-UID/control.sock",
            example: "\"run/control.sock\"",
        },
        Kept,
        "Where `masterd status`, `reload` and the like reach the master. At most 107 bytes.",
    ),
    key(
        "master.user",
        Type::Text,
        Toml("\"nobody\""),
        Workers,
        "Workers run as this user, a name or a number, when the master is root; otherwise it is ignored with a warning. To run workers as root, say \"root\".",
    ),
    key(
        "master.group",
        Type::Text,
        Absent { means: "the primary group of `user`", example: "\"nogroup\"" },
        Workers,
        "Workers run with this group, a name or a number, and no other, when the master is root.",
    ),
    key(
        "master.sigterm",
        Type::Word(words_of::<Sigterm>),
        Toml("\"graceful\""),
        Master,
        "What the first TERM does: let connections end within their `grace`, or close them. A second TERM is always fast.",
    ),
    key(
        "master.ready_timeout",
        SOME_TIME,
        Toml("\"30s\""),
        Master,
        "A generation whose workers are not all ready by then is given up; the old one goes on serving.",
    ),
    key(
        "master.max_draining_generations",
        Type::Integer { min: 1, max: 100 },
        Toml("3"),
        Master,
        "A reload that would leave more draining generations than this waits until the oldest has had its `grace`; then that drain is ended, counted and named in the log.",
    ),
    key(
        "master.watchdog",
        Type::DurationOrOff { min: Duration::from_secs(1), max: YEAR },
        Toml("\"30s\""),
        Master,
        "A worker whose loop stands still that long is killed and replaced.",
    ),
    key("master.rollout", Type::Table, NONE, Master, "How a new generation comes up."),
    key(
        "master.rollout.step",
        Type::Step { max: 100_000 },
        Toml("\"all\""),
        Master,
        "How many workers are replaced at a time. If a step fails, all of the new generation is taken back.",
    ),
    key(
        "master.rollout.soak",
        ANY_TIME,
        Toml("\"0s\""),
        Master,
        "How long the workers of each step must stay alive once they are ready, before the old ones are drained.",
    ),
    key("master.log", Type::Table, NONE, Master, "The log of the master and its workers."),
    key(
        "master.log.level",
        Type::Word(words_of::<LogLevel>),
        Toml("\"info\""),
        Master,
        "The least severe lines that are written.",
    ),
    key(
        "master.log.format",
        Type::Word(words_of::<LogFormat>),
        Toml("\"text\""),
        Master,
        "Lines for people, or one JSON object a line.",
    ),
    key(
        "master.log.file",
        Type::Path,
        Absent { means: "standard error", example: "\"run/masterd.log\"" },
        Master,
        "The file to append to. It is opened by the master before privileges are dropped, and again on USR1.",
    ),
];
