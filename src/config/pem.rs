//! From the text of PEM files to keys and certificates that TLS can use.
//!
//! The check calls this to find what is wrong while there is somebody to tell; workers call it again with the
//! text that the check has left them, and then it can't fail. What is wrong comes back as a sentence that
//! names the file, and never holds a piece of it. Never: reads a file.

use super::types::{Certificate, Pem};
use super::values::Wrong;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error, InconsistentKeys, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Which of the two files of a certificate is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Chain,
    Key,
}

/// The cryptography used for all TLS, chosen here and nowhere else.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A certificate chain with its key, proved to belong together. The error is a sentence.
pub fn certified_key(certificate: &Certificate) -> Result<CertifiedKey, String> {
    pair(certificate).map_err(|(_, wrong)| wrong.message)
}

/// The authorities of a file. The error is a sentence.
pub fn authorities(pem: &Pem) -> Result<RootCertStore, String> {
    roots(pem).map_err(|wrong| wrong.message)
}

/// `certified_key`, with what to do about an error and which file it is in.
pub(super) fn pair(certificate: &Certificate) -> Result<CertifiedKey, (Part, Wrong)> {
    let Certificate { chain, key, key_text } = certificate;
    let certificates = certificates(chain).map_err(|wrong| (Part::Chain, wrong))?;
    let private = private_key(key, &key_text.0).map_err(|wrong| (Part::Key, wrong))?;
    let signing = provider().key_provider.load_private_key(private).map_err(|error| {
        let wrong = Wrong::new(format!("the key in {} cannot be used: {error}", key.display()));
        (Part::Key, wrong.with("RSA of 2048 to 4096 bits, ECDSA with P-256 or P-384, and Ed25519 can"))
    })?;
    let pair = CertifiedKey::new(certificates, signing);
    match pair.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(pair),
        Err(Error::InconsistentKeys(_)) => {
            let (key, chain) = (key.display(), chain.path.display());
            let wrong =
                Wrong::new(format!("the key in {key} is not that of the first certificate in {chain}"));
            Err((
                Part::Key,
                wrong.with(
                    "the server's own certificate comes first in its file, before those that signed it",
                ),
            ))
        }
        Err(error) => {
            let message =
                format!("the first certificate in {} cannot be read: {error}", chain.path.display());
            Err((Part::Chain, Wrong::new(message)))
        }
    }
}

fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, Wrong> {
    let shown = pem.path.display();
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.text.as_bytes()).collect();
    // What the parser says may quote the file.
    let found = found.map_err(|_| Wrong::new(format!("{shown} is not a proper PEM file")))?;
    if found.is_empty() {
        return Err(Wrong::new(format!("there is no certificate in {shown}"))
            .with("name a PEM file, with a line -----BEGIN CERTIFICATE-----"));
    }
    Ok(found)
}

fn private_key(path: &Path, text: &str) -> Result<PrivateKeyDer<'static>, Wrong> {
    let shown = path.display();
    // PKCS#8 says it in the label, the older formats in a header (RFC 1421, 4.6.1.1).
    if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(Wrong::new(format!(
            "the key in {shown} is encrypted, and nobody is there to be asked for its passphrase"
        ))
        .with(format!("decrypt it: openssl pkey -in {shown} -out NEW")));
    }
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => {
            Wrong::new(format!("there is no private key in {shown}"))
                .with("name a PEM file, with a line -----BEGIN PRIVATE KEY-----")
        }
        _ => Wrong::new(format!("{shown} is not a proper PEM file")),
    })
}

pub(super) fn roots(pem: &Pem) -> Result<RootCertStore, Wrong> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem)? {
        store.add(certificate).map_err(|error| {
            Wrong::new(format!("a certificate in {} cannot be an authority: {error}", pem.path.display()))
        })?;
    }
    Ok(store)
}

/// Why clients will not take a certificate today: it has expired, or is not valid yet.
pub(super) fn out_of_time(pair: &CertifiedKey, now: UnixTime) -> Option<String> {
    let certificate = ParsedCertificate::try_from(pair.end_entity_cert().ok()?).ok()?;
    let algorithms = provider().signature_verification_algorithms.all;
    // Nobody signed it, as far as an empty store knows; but its time is looked at first.
    let nobody = RootCertStore::empty();
    let error =
        verify_server_cert_signed_by_trust_anchor(&certificate, &nobody, &[], now, algorithms).err()?;
    match error {
        Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => {
            Some(format!("has expired, at {}", date(not_after)))
        }
        Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. }) => {
            Some(format!("is not valid before {}", date(not_before)))
        }
        _ => None,
    }
}

fn date(at: UnixTime) -> String {
    let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
    let date = OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|at| at.format(&Rfc3339).ok());
    date.unwrap_or_else(|| format!("{seconds} seconds after 1970"))
}

/// Whether a certificate is one for this host, which may begin with `*.`.
pub(super) fn is_for(pair: &CertifiedKey, host: &str) -> bool {
    let example = host.replace('*', "any");
    let certificate = pair.end_entity_cert().ok().and_then(|der| ParsedCertificate::try_from(der).ok());
    let name = ServerName::try_from(example.as_str());
    matches!((certificate, name), (Some(certificate), Ok(name))
        if rustls::client::verify_server_name(&certificate, &name).is_ok())
}
