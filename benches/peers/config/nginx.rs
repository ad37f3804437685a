//! nginx's config, for each kind of work.

use super::super::proc;
use super::super::server::{Body, Kind, Setup, Work};
use super::HELLO;
use std::net::SocketAddr;
use std::process::Command;

/// Where Debian puts it.
const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

pub fn text(setup: &Setup, address: SocketAddr, generation: u32) -> String {
    let Setup { workers, work, cpu, room, upgradable, .. } = setup;
    let affinity = cpu.map_or(String::new(), |cpu| format!("worker_cpu_affinity {:b};", 1_u64 << cpu));
    let daemon = if *upgradable { "on" } else { "off" };
    let user = if proc::is_root() { "user nobody nogroup;" } else { "" };
    let (module, service) = match work {
        Work::Tunnel { origin, .. } => (
            stream_module().unwrap_or_default(),
            format!("stream {{\n    server {{ listen {address} backlog=4096; proxy_pass {origin}; }}\n}}"),
        ),
        _ => (String::new(), http(setup, address, generation)),
    };
    format!(
        r#"
{module}
{user}
daemon {daemon};
worker_processes {workers};
{affinity}
worker_rlimit_nofile {nofile};
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections {room}; }}
{service}
"#,
        nofile = proc::descriptor_limit(),
    )
}

/// What loads nginx's part for TCP, nothing if it is built in; none if it is not installed.
pub fn stream_module() -> Option<String> {
    let program = Kind::Nginx.program()?;
    let said = Command::new(program).arg("-V").output().ok()?.stderr;
    let built_in = String::from_utf8_lossy(&said).split(' ').any(|word| word.trim() == "--with-stream");
    if built_in {
        return Some(String::new());
    }
    std::fs::exists(STREAM_MODULE).is_ok_and(|is| is).then(|| format!("load_module {STREAM_MODULE};"))
}

fn http(setup: &Setup, address: SocketAddr, generation: u32) -> String {
    let Setup { work, tls, http2, reuseport, .. } = setup;
    let body = match setup.body {
        Body::Hello => HELLO.to_owned(),
        Body::Pid => "$pid".to_owned(),
        Body::Generation => generation.to_string(),
    };
    let answer = format!("return 200 \"{body}\";");
    let (beside, locations) = match work {
        Work::Answer | Work::Tunnel { .. } => (String::new(), format!("location / {{ {answer} }}")),
        Work::Files => (
            "sendfile on; tcp_nopush on;".to_owned(),
            format!("location = / {{ {answer} }} location / {{ root www; }}"),
        ),
        Work::Proxy { origin, websocket } => proxy(*origin, *websocket),
    };
    let options = [(*reuseport, " reuseport"), (*tls, " ssl"), (*http2, " http2")];
    let options: String = options.into_iter().filter(|(on, _)| *on).map(|(_, word)| word).collect();
    let tls = if *tls {
        "ssl_certificate cert.pem; ssl_certificate_key key.pem; ssl_protocols TLSv1.2 TLSv1.3;"
    } else {
        ""
    };
    format!(
        r#"http {{
    access_log off;
    server_tokens off;
    default_type text/plain;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
    {beside}
    server {{
        listen {address} backlog=4096{options};
        {tls}
        {locations}
    }}
}}"#
    )
}

/// The origin as an upstream, and where requests are passed on to it.
fn proxy(origin: SocketAddr, websocket: bool) -> (String, String) {
    let connection = if websocket {
        "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
    } else {
        "proxy_set_header Connection \"\";"
    };
    (
        format!(
            "upstream origin {{ server {origin}; keepalive 512; keepalive_requests 1000000000; keepalive_timeout 600s; }}"
        ),
        format!(
            r#"location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_read_timeout 600s;
            proxy_send_timeout 600s;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
            {connection}
        }}"#
        ),
    )
}
