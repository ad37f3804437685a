//! From a listener's `tls` to what all its connections share.
//!
//! The check has tried the files, so an error here is a defect, or a library that has changed its mind: the
//! worker says it and does not come up. Sessions are kept by clients only, in tickets.

use super::names::Names;
use super::tickets::Keyring;
use crate::config::pem::{authorities, certified_key, provider};
use crate::config::{ClientAuth, Clients, Tls};
use ring::digest::{Context, SHA256};
use rustls::ServerConfig;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use std::sync::Arc;

/// What connections of a listener need; `alpn` holds the protocols spoken behind TLS, the preferred one first
/// (RFC 7301), none where it is not asked for. The error is a sentence.
pub fn shared(tls: &Tls, alpn: &[&str], keyring: &Keyring) -> Result<Arc<ServerConfig>, String> {
    let mut names = Names::new(certified_key(&tls.certificate)?);
    for sni in &tls.sni {
        names.add(&sni.hosts, certified_key(&sni.certificate)?);
    }
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    let builder = match &tls.clients {
        None => builder.with_no_client_auth(),
        Some(clients) => builder.with_client_cert_verifier(verifier(clients)?),
    };
    let mut config = builder.with_cert_resolver(Arc::new(names));
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Arc::new(keyring.tickets(proved(tls)));
    // Each connection, a resumed one too, leaves one for the next: as many as there are connections to resume.
    // A second one would be sealed and sent for nobody most of the time.
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

fn verifier(clients: &Clients) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let roots = Arc::new(authorities(&clients.ca)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let builder = match clients.auth {
        ClientAuth::Required => builder,
        ClientAuth::Optional => builder.allow_unauthenticated(),
    };
    builder
        .build()
        .map_err(|error| format!("clients can't be judged by {}: {error}", clients.ca.path.display()))
}

/// A digest of what a handshake with these settings proves: to the client, by which certificates, and of the
/// client, by which authorities. With another certificate or another authority, sessions begin anew.
fn proved(tls: &Tls) -> [u8; 32] {
    let mut digest = Context::new(&SHA256);
    let mut add = |part: &str| {
        // Lengths keep two parts from being read as others.
        digest.update(&part.len().to_be_bytes());
        digest.update(part.as_bytes());
    };
    add(&tls.certificate.chain.text);
    for sni in &tls.sni {
        add(&sni.certificate.chain.text);
        sni.hosts.iter().for_each(|host| add(host));
    }
    add(match tls.clients.as_ref().map(|clients| clients.auth) {
        None => "nobody",
        Some(ClientAuth::Required) => "required",
        Some(ClientAuth::Optional) => "optional",
    });
    tls.clients.iter().for_each(|clients| add(&clients.ca.text));
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.finish().as_ref());
    bytes
}
