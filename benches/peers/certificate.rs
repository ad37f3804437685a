//! The certificate that servers of a run show, and that its clients believe. ECDSA with P-256; it is made anew
//! for each run, and its key is worth nothing.

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use std::sync::OnceLock;

/// The host that it is for.
pub const HOST: &str = "bench.example";

pub struct Own {
    pub chain: String,
    pub key: String,
    pub der: CertificateDer<'static>,
}

pub fn own() -> &'static Own {
    static OWN: OnceLock<Own> = OnceLock::new();
    OWN.get_or_init(|| {
        let key = KeyPair::generate().expect("make a key");
        let about = CertificateParams::new(vec![HOST.to_owned()]).expect("a host name");
        let signed = about.self_signed(&key).expect("sign the certificate");
        Own { chain: signed.pem(), key: key.serialize_pem(), der: signed.der().clone() }
    })
}
