//! masterd's config, for each kind of work.

use super::super::proc;
use super::super::server::{Body, Setup, Work};
use super::HELLO;
use std::net::SocketAddr;
use std::path::Path;

pub fn text(setup: &Setup, dir: &Path, address: SocketAddr) -> String {
    let Setup { workers, work, cpu, tls, room, upgradable, .. } = setup;
    let affinity = cpu.map_or("\"off\"".to_owned(), |cpu| format!("[{cpu}]"));
    let level = if *upgradable { "info" } else { "warn" };
    let tls = if *tls { r#", tls = { certificate = "cert.pem", key = "key.pem" }"# } else { "" };
    // Clients are counted, not what is opened on their behalf.
    let connections = if matches!(work, Work::Answer | Work::Files) { *room } else { room / 2 };
    let dir = dir.display();
    format!(
        r#"
[master]
control_socket = "{dir}/control.sock"
log = {{ level = "{level}" }}
[[service]]
name = "bench"
listen = [{{ address = "{address}"{tls} }}]
workers = {workers}
connections = {connections}
limits = {{ cpu_affinity = {affinity}, nofile = {nofile} }}
{service}
"#,
        nofile = proc::descriptor_limit(),
        service = service(setup),
    )
}

fn service(setup: &Setup) -> String {
    let action = match setup.work {
        Work::Answer => {
            let body = match setup.body {
                Body::Hello => HELLO,
                Body::Pid => "{pid}",
                Body::Generation => "{generation}",
            };
            format!(r#"respond = {{ body = "{body}", headers = {{ Content-Type = "text/plain" }} }}"#)
        }
        Work::Proxy { origin, .. } => format!(r#"proxy = {{ upstream = ["{origin}"], keep_alive = 512 }}"#),
        Work::Files => r#"files = { root = "www" }"#.to_owned(),
        Work::Tunnel { origin, .. } => {
            return format!("[service.tcp]\nproxy = {{ upstream = [\"{origin}\"] }}");
        }
    };
    format!(
        r#"[service.http]
keep_alive = "10m"
[[service.http.route]]
path = "/"
{action}"#
    )
}
