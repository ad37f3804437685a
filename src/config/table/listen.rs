//! The rows of `service.listen`. Order here is order in the man page.

use super::{ANY_TIME, key};
use crate::config::key::Default::{Absent, Required, Toml};
use crate::config::key::Reload::{Identity, Kept, Master, Socket, Workers};
use crate::config::key::{Row, Type};
use crate::config::types::Accept;
use crate::config::words::words_of;

pub(super) static ROWS: &[Row] = &[
    key(
        "service.listen",
        Type::Listeners,
        Required { example: "[\"127.0.0.1:8080\"]" },
        Identity,
        "Where it is reached. The master owns these sockets: the same address in the old and the new config is the same socket, never bound anew, its queue never lost. A new one is bound before anything else changes; one no longer named is closed once its queue is served.",
    ),
    key(
        "service.listen.address",
        Type::Address,
        Required { example: "\"unix:run/web.sock\"" },
        Identity,
        "An IPv6 address stands in brackets; port 0 lets the kernel choose. A socket path is at most 107 bytes; `unix:@NAME` is an abstract name without a file; `udp:` in front of IP and port is for datagrams, and for `exec` only. No two listeners may claim the same address.",
    ),
    key(
        "service.listen.name",
        Type::Text,
        Absent {
            means: "the service's name, with -2, -3 and so on from the second listener",
            example: "\"web\"",
        },
        Master,
        "The name in `status` and logs, made like a service's name; unique.",
    ),
    key(
        "service.listen.backlog",
        Type::Integer { min: 1, max: 1_000_000 },
        Toml("4096"),
        Socket,
        "Connections that may wait to be accepted; the kernel cuts it to net.core.somaxconn.",
    ),
    key(
        "service.listen.accept",
        Type::Word(words_of::<Accept>),
        Absent {
            means: "\"per-worker\" for the TCP addresses of built-in workers, else \"shared\"",
            example: "\"shared\"",
        },
        Kept,
        "One socket for each worker (SO_REUSEPORT; TCP addresses of built-in workers only), or one that all workers share.",
    ),
    key(
        "service.listen.ipv6_only",
        Type::Switch,
        Toml("true"),
        Kept,
        "IPv6 addresses only: whether the socket leaves IPv4 alone.",
    ),
    key(
        "service.listen.defer_accept",
        ANY_TIME,
        Toml("\"0s\""),
        Socket,
        "TCP addresses only, whole seconds: how long the kernel keeps a connection back that has not sent anything (TCP_DEFER_ACCEPT). \"0s\" is off.",
    ),
    key(
        "service.listen.mode",
        Type::Mode,
        Toml("\"0666\""),
        Socket,
        "Permissions of a socket file, from its birth. The default lets every local user connect, as a port does: the front server that uses the socket usually is another user. Say \"0660\" with an `owner` to narrow it, or put it in a folder that others can't enter.",
    ),
    key(
        "service.listen.owner",
        Type::Owner,
        Absent { means: "the user that masterd runs as", example: "\"www-data:www-data\"" },
        Socket,
        "Owner of a socket file. Giving a file away needs root.",
    ),
    key(
        "service.listen.proxy_protocol",
        Type::Switch,
        Toml("false"),
        Workers,
        "Whether every connection begins with a PROXY protocol header, version 1 or 2, which tells who the client is. One that does not is closed. Only for addresses that nobody but the proxy in front can reach: whoever connects can claim any address. Built-in workers only.",
    ),
];
