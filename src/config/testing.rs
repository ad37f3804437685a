//! Certificates made for tests of this room and of those above it.

use super::types::{Certificate, Pem, Secret};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use std::path::PathBuf;

/// An authority of its own, which clients and servers believe that have its `pem`.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let mut about = CertificateParams::default();
        about.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        about.distinguished_name.push(DnType::CommonName, name);
        Authority { issuer: CertifiedIssuer::self_signed(about, KeyPair::generate().unwrap()).unwrap() }
    }

    pub(crate) fn pem(&self) -> Pem {
        Pem { path: PathBuf::from("/ca.pem"), text: self.issuer.pem() }
    }

    /// A certificate for these hosts, in files named after the first of them.
    pub(crate) fn issue(&self, hosts: &[&str]) -> Certificate {
        self.issue_until(hosts, 3000)
    }

    /// One that expires with the beginning of a year.
    pub(crate) fn issue_until(&self, hosts: &[&str], year: i32) -> Certificate {
        let mut about =
            CertificateParams::new(hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>()).unwrap();
        about.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let signed = about.signed_by(&key, &self.issuer).unwrap();
        Certificate {
            chain: Pem { path: format!("/{}.pem", hosts[0]).into(), text: signed.pem() },
            key: format!("/{}.key", hosts[0]).into(),
            key_text: Secret(key.serialize_pem()),
        }
    }
}
