//! Envoy's config, for answers of its own and for HTTP passed on.

use super::super::server::{Setup, Work};
use super::HELLO;
use std::net::SocketAddr;
use std::path::Path;

pub fn text(setup: &Setup, dir: &Path, address: SocketAddr) -> String {
    let (action, cluster) = match setup.work {
        Work::Answer => (
            format!("direct_response: {{ status: 200, body: {{ inline_string: \"{HELLO}\" }} }}"),
            String::new(),
        ),
        Work::Proxy { origin, .. } => {
            ("route: { cluster: origin, timeout: 600s }".to_owned(), cluster(origin))
        }
        Work::Tunnel { .. } | Work::Files => panic!("Envoy is compared in HTTP only"),
    };
    format!(
        r#"static_resources:
  listeners:
  - name: bench
    address: {{ socket_address: {{ address: {ip}, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          codec_type: AUTO
          use_remote_address: true
          route_config:
            virtual_hosts:
            - name: bench
              domains: ["*"]
              routes:
              - match: {{ prefix: "/" }}
                {action}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
{tls}{cluster}"#,
        ip = address.ip(),
        port = address.port(),
        tls = tls(setup, dir),
    )
}

/// Below the filter chain, which is open at the end of the text so far.
fn tls(setup: &Setup, dir: &Path) -> String {
    if !setup.tls {
        return String::new();
    }
    let alpn = if setup.http2 { "h2" } else { "http/1.1" };
    let dir = dir.display();
    format!(
        r#"      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: ["{alpn}"]
            tls_certificates:
            - certificate_chain: {{ filename: "{dir}/cert.pem" }}
              private_key: {{ filename: "{dir}/key.pem" }}
"#
    )
}

fn cluster(origin: SocketAddr) -> String {
    format!(
        r"  clusters:
  - name: origin
    type: STATIC
    load_assignment:
      cluster_name: origin
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: {}, port_value: {} }} }} }}
",
        origin.ip(),
        origin.port()
    )
}
