//! The rows of `service.exec`. Order here is order in the man page.

use super::{MOMENT, NONE, YEAR, key};
use crate::config::key::Default::{Absent, Required, Toml};
use crate::config::key::Reload::Workers;
use crate::config::key::{Row, Type};
use crate::config::types::Output;
use crate::config::words::{stop_signals, words_of};
use std::time::Duration;

pub(super) static ROWS: &[Row] = &[
    key(
        "service.exec",
        Type::Table,
        NONE,
        Workers,
        "Any program as a worker. It gets the service's listeners as open sockets, from descriptor 3 on in their order, and is told of them by LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES as systemd does (sd_listen_fds(3)), unless `command` or `env` tell it with {fd} or {addr}. All its workers share them.",
    ),
    key(
        "service.exec.command",
        Type::Command,
        Required { example: "[\"bin/server\", \"--fd\", \"{fd}\"]" },
        Workers,
        "The program and its arguments; no shell is asked. A program with a slash is a path; one without is looked for in the PATH of `env`, or else of masterd, in those of its folders that are absolute. It is looked up when the config is read: all workers of a generation execute that file, and are told its folder without symlinks, so a `current` link is switched by a reload and not before. In arguments, {fd} is replaced by the number of the first listener's descriptor and {fd:NAME} by that of a listener by name, {addr} and {addr:NAME} by the address it is bound to (a path or @NAME for a unix socket), {seat} and {generation} by the worker's; {ready_fd} is for `ready`. Other braces are left alone.",
    ),
    key(
        "service.exec.directory",
        Type::Path,
        Absent { means: "the main file's folder", example: "\"app\"" },
        Workers,
        "The folder it runs in. Where it is a symlink, what that points to when the config is read.",
    ),
    key(
        "service.exec.env",
        Type::Environment,
        Toml("{}"),
        Workers,
        "Variables for its environment, { NAME = \"value\" }, beside those that masterd was started with. The same {tokens} as in `command` are replaced in the values.",
    ),
    key(
        "service.exec.ready",
        Type::Ready { min: MOMENT, max: YEAR },
        Toml("\"accepting\""),
        Workers,
        "When it counts as ready: \"accepting\", when it or a child of it waits on one of its sockets; \"notify\", when it has also said READY=1 (sd_notify(3)); \"fd\", when it has written a newline to the descriptor {ready_fd}, which `command` or `env` must name; \"delay:2s\", when it has lived for so long.",
    ),
    key(
        "service.exec.stop_signal",
        Type::Word(stop_signals),
        Toml("\"TERM\""),
        Workers,
        "The signal that asks its main process to end in good order when the worker drains; with or without SIG in front. What is left at the end of `drain.grace` is killed.",
    ),
    key(
        "service.exec.output",
        Type::Word(words_of::<Output>),
        Toml("\"log\""),
        Workers,
        "Where its standard output and error go: line by line into the log, or where those of masterd go.",
    ),
    key(
        "service.exec.nonblocking",
        Type::Switch,
        Toml("false"),
        Workers,
        "Whether its sockets are in non-blocking mode (O_NONBLOCK). Workers share them, so with false one may wait for a connection that another has taken; that suits programs which do nothing else meanwhile. It is set when a socket is made. A reload to true, or to a built-in service, sets it when the new generation takes over; one to false changes sockets that are new, and leaves those that are there in non-blocking mode, with a warning, until masterd is stopped and started.",
    ),
    key(
        "service.exec.umask",
        Type::Mode,
        Absent { means: "as masterd was started with", example: "\"0022\"" },
        Workers,
        "Permissions that files it makes do not get (umask(2)).",
    ),
    key(
        "service.exec.watchdog",
        Type::DurationOrOff { min: Duration::from_secs(1), max: YEAR },
        Toml("\"0s\""),
        Workers,
        "It must say WATCHDOG=1 (sd_watchdog_enabled(3)) that often, or is killed and replaced. \"0s\" is off.",
    ),
    key(
        "service.exec.user",
        Type::Text,
        Absent { means: "that of `master`", example: "\"www-data\"" },
        Workers,
        "It runs as this user, a name or a number, when the master is root; otherwise it is ignored with a warning. To run it as root, say \"root\".",
    ),
    key(
        "service.exec.group",
        Type::Text,
        Absent { means: "the primary group of `user`", example: "\"www-data\"" },
        Workers,
        "It runs with this group, a name or a number, and no other, when the master is root. It goes with `user`.",
    ),
];
