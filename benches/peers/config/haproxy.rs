//! HAProxy's config, for each kind of work that it can do: one process with as many threads as the others
//! have workers.

use super::super::proc;
use super::super::server::{Body, Setup, Work};
use super::HELLO;
use std::net::SocketAddr;
use std::path::Path;

/// HAProxy demands two descriptors for each in advance.
const CONNECTIONS: u32 = 4_000;

pub fn text(setup: &Setup, dir: &Path, address: SocketAddr, generation: u32) -> String {
    let Setup { workers, work, cpu, .. } = setup;
    let user = if proc::is_root() { "user nobody\n    group nogroup" } else { "" };
    let affinity = cpu.map_or(String::new(), |cpu| format!("cpu-map auto:1/1-{workers} {cpu}"));
    let mode = if matches!(work, Work::Tunnel { .. }) { "tcp" } else { "http" };
    let bind = bind(setup, dir);
    let (action, backend) = service(setup, generation);
    let dir = dir.display();
    format!(
        r#"
global
    {user}
    master-worker
    nbthread {workers}
    {affinity}
    maxconn {CONNECTIONS}
    hard-stop-after 30s
    stats socket {dir}/stats.sock mode 600 level admin expose-fd listeners
defaults
    mode {mode}
    maxconn {CONNECTIONS}
    timeout connect 10s
    timeout server 600s
    timeout client 600s
    timeout http-request 600s
    timeout http-keep-alive 600s
frontend bench
    bind {address} backlog 4096{bind}
    {action}
{backend}
"#
    )
}

fn bind(setup: &Setup, dir: &Path) -> String {
    match (setup.tls, setup.http2) {
        (true, true) => format!(" ssl crt {}/both.pem alpn h2,http/1.1", dir.display()),
        (true, false) => format!(" ssl crt {}/both.pem", dir.display()),
        (false, true) => " proto h2".to_owned(),
        (false, false) => String::new(),
    }
}

/// What the frontend does, and the backend behind it, if any.
fn service(setup: &Setup, generation: u32) -> (String, String) {
    match setup.work {
        Work::Answer => {
            let body = match setup.body {
                Body::Hello => format!("string \"{HELLO}\""),
                Body::Pid => r#"lf-string "%pid""#.to_owned(),
                Body::Generation => format!(r#"string "{generation}""#),
            };
            (format!("http-request return status 200 content-type text/plain {body}"), String::new())
        }
        Work::Proxy { origin, .. } => (
            "default_backend origin".to_owned(),
            format!(
                r"backend origin
    option forwardfor
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-reuse always
    server origin {origin}"
            ),
        ),
        Work::Tunnel { origin, splice } => {
            let splice = if splice { "option splice-auto" } else { "" };
            (
                "default_backend origin".to_owned(),
                format!("backend origin\n    {splice}\n    server origin {origin}"),
            )
        }
        Work::Files => panic!("HAProxy sends no files"),
    }
}
