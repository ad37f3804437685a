//! The rows of `access_log`, of `[master]` and of `[[service]]`. Order here is order in the man page.

use super::{NONE, key};
use crate::config::key::Default::{Absent, Toml};
use crate::config::key::Reload::Workers;
use crate::config::key::{Row, Type};
use crate::config::types::LogFormat;
use crate::config::words::words_of;

pub(super) static OF_MASTER: &[Row] = &[
    key(
        "master.access_log",
        Type::Table,
        NONE,
        Workers,
        "What the built-in workers have served, a line for each request; ACCESS LOG in masterd(8) tells its fields. Services with an `access_log` of their own go by that one alone.",
    ),
    key(
        "master.access_log.file",
        Type::Path,
        Absent { means: "no access log", example: "\"run/access.log\"" },
        Workers,
        "The file to append to, or a FIFO that somebody reads. It is opened by the master before privileges are dropped, and again on USR1. Services may share a file; nothing else may.",
    ),
    key(
        "master.access_log.format",
        Type::Word(words_of::<LogFormat>),
        Toml("\"text\""),
        Workers,
        "The combined form of web servers with more fields at its end, or one JSON object a line. A file has one format.",
    ),
];

pub(super) static OF_SERVICE: &[Row] = &[
    key(
        "service.access_log",
        Type::Table,
        NONE,
        Workers,
        "This service's own access log, in place of `master.access_log`. It names a `file`, or switches the log off with `enabled`.",
    ),
    key(
        "service.access_log.enabled",
        Type::Switch,
        Toml("true"),
        Workers,
        "Whether this service has an access log at all; with false it has none, whatever `[master]` says.",
    ),
    key(
        "service.access_log.file",
        Type::Path,
        Absent { means: "that of `master.access_log`", example: "\"run/web-access.log\"" },
        Workers,
        "As `master.access_log.file`.",
    ),
    key(
        "service.access_log.format",
        Type::Word(words_of::<LogFormat>),
        Toml("\"text\""),
        Workers,
        "As `master.access_log.format`.",
    ),
];
