//! Which certificate a client is shown, by the host it asks for (server name indication, RFC 6066, 3).
//!
//! The name itself goes before a pattern, a pattern before the default: a client that names nobody, or
//! somebody we don't know, sees the default and judges for itself.

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::Arc;

/// The certificates of a listener.
#[derive(Debug)]
pub struct Names {
    default: Arc<CertifiedKey>,
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows `*.`.
    wild: HashMap<String, Arc<CertifiedKey>>,
}

impl Names {
    pub fn new(default: CertifiedKey) -> Names {
        Names { default: Arc::new(default), exact: HashMap::new(), wild: HashMap::new() }
    }

    /// Shows `certificate` to clients that ask for one of `hosts`: lower case, `*.` in front for a pattern.
    pub fn add(&mut self, hosts: &[String], certificate: CertifiedKey) {
        let certificate = Arc::new(certificate);
        for host in hosts {
            match host.strip_prefix("*.") {
                Some(rest) => self.wild.insert(rest.to_owned(), certificate.clone()),
                None => self.exact.insert(host.clone(), certificate.clone()),
            };
        }
    }

    /// The certificate for a host.
    pub fn choose(&self, host: Option<&str>) -> &Arc<CertifiedKey> {
        let Some(host) = host.map(str::to_ascii_lowercase) else { return &self.default };
        let wild = || self.wild.get(host.split_once('.')?.1);
        self.exact.get(&host).or_else(wild).unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.choose(hello.server_name()).clone())
    }
}
