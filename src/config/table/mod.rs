//! The key table: every key of the config, once.
//!
//! To add a key, add a row in the file of its table and read it in `check`; its default, its bounds,
//! the "did you mean", the man page and the reference in `conf/masterd.toml` follow. A table's row
//! comes before those of its keys.
//! Never: resolves anything; cross-checks between keys are `check`'s.

mod access_log;
mod exec;
mod http;
mod listen;
mod master;
mod route;
mod service;
mod tcp;
mod tls;
mod upstream;

use super::key::{Default, Reload, Row, Type};
use std::time::Duration;

/// Every row, in the order in which people are told of them.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    let of_master = [master::ROWS, access_log::OF_MASTER];
    let of_service = [service::ROWS, access_log::OF_SERVICE, listen::ROWS, tls::ROWS];
    let http = [http::ROWS, route::ROWS, upstream::OF_ROUTES, route::PROXY];
    let tcp = [tcp::ROWS, upstream::OF_TCP];
    of_master.into_iter().chain(of_service).chain(http).chain(tcp).chain([exec::ROWS]).flatten()
}

/// The row of a key by its full path.
pub(super) fn row(path: &str) -> Option<&'static Row> {
    rows().find(|row| row.path == path)
}

/// The rows directly within a table; `""` is the top level.
pub(super) fn children(path: &str) -> impl Iterator<Item = &'static Row> {
    rows().filter(move |row| row.parent() == path)
}

const fn key(path: &'static str, kind: Type, default: Default, reload: Reload, doc: &'static str) -> Row {
    Row { path, kind, default, reload, doc }
}

const NONE: Default = Default::Absent { means: "none", example: "{}" };
const MOMENT: Duration = Duration::from_millis(1);
const YEAR: Duration = Duration::from_secs(365 * 86_400);
const ANY_TIME: Type = Type::Duration { min: Duration::ZERO, max: YEAR };
const SOME_TIME: Type = Type::Duration { min: MOMENT, max: YEAR };
const KIB: u64 = 1024;
