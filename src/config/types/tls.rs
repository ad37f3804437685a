//! TLS of a listener, as it is checked.
//!
//! What its files hold is in here, since workers have no right to read them; a key shows itself to nobody.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// TLS of a listener. What its files hold was read by the check: workers have no right to read them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// Shown to clients that name no host, or one that `sni` does not know.
    pub certificate: Certificate,
    /// No host is in two of them.
    pub sni: Vec<Sni>,
    /// Clients show certificates too.
    pub clients: Option<Clients>,
}

/// A certificate and its key; that they belong together is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The server's own certificate first, then those that lead to an authority.
    pub chain: Pem,
    pub key: PathBuf,
    /// What is in `key`.
    pub key_text: Secret,
}

/// A PEM file (RFC 7468) and what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pem {
    pub path: PathBuf,
    pub text: String,
}

/// The certificate for some hosts (server name indication, RFC 6066, 3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sni {
    /// Lower case, at least one; with `*.` in front for every name that has one label more.
    pub hosts: Vec<String>,
    pub certificate: Certificate,
}

/// Which clients are believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clients {
    /// Authorities whose certificates are taken.
    pub ca: Pem,
    pub auth: ClientAuth,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientAuth {
    /// Without a certificate there is no connection.
    Required,
    /// One that is shown must be good; none need be shown.
    Optional,
}

/// Text that nobody may see: whoever shows a config shows an ellipsis instead.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}
