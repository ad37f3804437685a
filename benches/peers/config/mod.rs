//! The text of the servers' configs, one file for each server. Nothing is written or started here.

mod envoy;
mod haproxy;
mod masterd;
mod nginx;

use super::server::{Kind, Setup};
use std::net::SocketAddr;
use std::path::Path;

pub use nginx::stream_module;

/// What they all answer with, for those that take escapes.
const HELLO: &str = "hello world\\n";

/// What the config's file is called, in the server's folder.
pub fn file_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Masterd => "masterd.toml",
        Kind::Nginx => "nginx.conf",
        Kind::Haproxy => "haproxy.cfg",
        Kind::Envoy => "envoy.yaml",
    }
}

/// The config of a server that listens on `address` and keeps its files in `dir`.
pub fn text(kind: Kind, setup: &Setup, dir: &Path, address: SocketAddr, generation: u32) -> String {
    match kind {
        Kind::Masterd => masterd::text(setup, dir, address),
        Kind::Nginx => nginx::text(setup, address, generation),
        Kind::Haproxy => haproxy::text(setup, dir, address, generation),
        Kind::Envoy => envoy::text(setup, dir, address),
    }
}
