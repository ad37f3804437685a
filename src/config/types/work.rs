//! What the workers of a service do, as it is checked: routes and what they lead to, TCP, upstreams.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Bytes, whatever they mean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tcp {
    pub action: TcpAction,
    /// Longest time for which nothing passes in either direction.
    pub idle_timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TcpAction {
    /// What comes is sent back.
    Echo,
    /// Each connection is joined to one of an upstream.
    Proxy(Upstreams),
}

/// Where connections are made to, and when to stop trying.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstreams {
    /// At least one, in the order of the file.
    pub servers: Vec<Server>,
    pub connect_timeout: Duration,
    /// Failures in a row after which a server is passed over; 0 is never.
    pub max_failures: u32,
    /// For how long it is passed over.
    pub retry_after: Duration,
    /// The header that each connection begins with; `None`: no such header.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// Versions of the PROXY protocol: text and binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProxyProtocol {
    V1,
    V2,
}

/// Something to connect to; shown as it is written in the config, paths absolute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Server {
    /// The port is not 0.
    Ip(SocketAddr),
    /// A host name, to be looked up by whoever connects; the port is not 0.
    Name { host: String, port: u16 },
    /// Absolute path, at most 107 bytes.
    Unix(PathBuf),
    /// Abstract name without the `@`, at most 107 bytes.
    Abstract(String),
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Server::Ip(a) => write!(f, "{a}"),
            Server::Name { host, port } => write!(f, "{host}:{port}"),
            Server::Unix(p) => write!(f, "unix:{}", p.display()),
            Server::Abstract(n) => write!(f, "unix:@{n}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Http {
    /// Longest prefix first within a host; ready to be searched from the front.
    pub routes: Vec<Route>,
    /// From the first byte of a request to the end of its head (and from accept to the first byte).
    pub header_timeout: Duration,
    /// Longest silence within a request body.
    pub body_timeout: Duration,
    /// Longest time a response makes no progress because the client does not read.
    pub write_timeout: Duration,
    /// Longest idle time between requests.
    pub keep_alive: Duration,
    /// Bytes of request line and headers together; 8192 at least.
    pub max_header_size: usize,
    pub max_headers: usize,
    /// Bytes of a request body that masterd reads itself (`respond` and the like); what is passed on
    /// to an upstream has no limit.
    pub max_body: u64,
    /// HTTP/2 is spoken to clients that ask for it: by ALPN, or by beginning with its preface.
    #[serde(default = "yes")]
    pub http2: bool,
    /// Requests under way at once in one HTTP/2 connection (SETTINGS_MAX_CONCURRENT_STREAMS).
    #[serde(default = "default_streams")]
    pub max_streams: u32,
}

/// The default of `http2`, for states recorded before there was one.
fn yes() -> bool {
    true
}

/// The default of `max_streams`, for states recorded before there was one.
fn default_streams() -> u32 {
    128
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Route {
    pub path: String,
    /// Lower case, without port; `None` matches every host.
    pub host: Option<String>,
    pub action: Action,
    /// Checked names and values, each name once: set on every answer of this route. An empty value
    /// takes the header away.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Action {
    Respond(Respond),
    Health(Health),
    /// The scoreboard as JSON, the document of `masterd status --json`.
    Status,
    Proxy(Proxy),
    Redirect(Redirect),
    Files(Files),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Respond {
    pub status: u16,
    /// `{pid}`, `{generation}` and `{seat}` are replaced; other braces are literal.
    pub body: String,
    /// Checked header names and values, in order.
    pub headers: Vec<(String, String)>,
    pub delay: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Health {
    Live,
    Ready,
}

/// Requests are passed on to upstreams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxy {
    /// Its keys stand directly in the table `proxy`.
    pub upstreams: Upstreams,
    /// HTTP/2 is spoken to the upstreams, without TLS and without asking first (RFC 9113, 3.3).
    pub http2: bool,
    /// Longest silence of an upstream whose answer is awaited or read.
    pub read_timeout: Duration,
    /// Longest time for which an upstream takes nothing of a request.
    pub write_timeout: Duration,
    /// Longest silence of a WebSocket (in both directions at once), an event stream or a gRPC call.
    #[serde(default = "ten_minutes")]
    pub idle_timeout: Duration,
    /// Idle connections that each worker keeps to each upstream; 0 where `proxy_protocol` is sent.
    pub keep_alive: u32,
    /// How long an idle one is kept.
    pub keep_alive_timeout: Duration,
    /// How many more upstreams are tried for a request that may be repeated.
    pub retries: u32,
}

/// The default of `idle_timeout`, for states recorded before there was one.
fn ten_minutes() -> Duration {
    Duration::from_secs(600)
}

/// The client is sent elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    /// An http or https URL in which `{host}` (the request's host without port) and `{target}` (its
    /// path and query) are to be replaced; no other braces.
    pub to: String,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// Files of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// The real path of a folder that was there when the config was read.
    pub root: PathBuf,
    /// The file that stands for a folder, a bare name; empty: none does.
    pub index: String,
    /// `FILE.gz` beside `FILE` is sent to clients that take gzip.
    pub precompressed: bool,
}
