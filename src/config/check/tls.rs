//! A listener's `tls`: its files are read here and proved to be of use, since workers can't read them.
//!
//! What a file holds goes into the config and into no message.

use crate::config::notes::At;
use crate::config::pem::{self, Part};
use crate::config::problem::quoted;
use crate::config::read::{Section, must_be};
use crate::config::resolve::Resolver;
use crate::config::types::{Certificate, ClientAuth, Clients, Pem, Secret, Sni, Tls};
use crate::config::values::Wrong;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;

/// The `tls` of a listener, if it has one that can be used.
pub(super) fn tls(listener: &Section<'_>, machine: &dyn Resolver) -> Option<Tls> {
    let (at, value) = listener.find("tls")?;
    let section = listener.as_table("tls", at, value)?;
    let certificate = certificate(&section, machine);
    let sni = sni(&section, machine);
    let clients = clients(&section, machine);
    Some(Tls { certificate: certificate?.0, sni, clients })
}

/// A certificate with its key, as text and as a pair that has been tried.
fn certificate(section: &Section<'_>, machine: &dyn Resolver) -> Option<(Certificate, CertifiedKey)> {
    let chain = file(section, "certificate", machine);
    let key = file(section, "key", machine);
    let ((chain, _), (key, mode)) = (chain?, key?);
    let certificate = Certificate { chain, key: key.path, key_text: Secret(key.text) };
    match pem::pair(&certificate) {
        Ok(pair) => {
            warn(section, &certificate, mode, &pair);
            Some((certificate, pair))
        }
        Err((part, wrong)) => {
            let key = match part {
                Part::Chain => "certificate",
                Part::Key => "key",
            };
            section.notes.wrong(section.at_key(key), section.row(key), wrong);
            None
        }
    }
}

/// A file's text, and its permissions.
fn file(section: &Section<'_>, key: &str, machine: &dyn Resolver) -> Option<(Pem, u32)> {
    let path = section.path(key)?;
    let wrong = |message: String| {
        section.notes.wrong(section.at_key(key), section.row(key), Wrong::new(message));
    };
    let contents = machine.file(&path).map_err(|error| wrong(format!("cannot {error}"))).ok()?;
    match String::from_utf8(contents.bytes) {
        Ok(text) => Some((Pem { path, text }, contents.mode)),
        Err(_) => {
            wrong(format!("{} is not a PEM file: it is not text", path.display()));
            None
        }
    }
}

fn warn(section: &Section<'_>, certificate: &Certificate, mode: u32, pair: &CertifiedKey) {
    let say = |key: &str, sentence: String| {
        section.notes.warning(section.at_key(key), format!("{}: {sentence}", section.row(key).path));
    };
    if mode & 0o004 != 0 {
        let shown = certificate.key.display();
        say("key", format!("every user of this machine can read {shown}: chmod o-r {shown}"));
    }
    if let Some(why) = pem::out_of_time(pair, UnixTime::now()) {
        say("certificate", format!("the certificate in {} {why}", certificate.chain.path.display()));
    }
}

fn sni(section: &Section<'_>, machine: &dyn Resolver) -> Vec<Sni> {
    let mut found = Vec::new();
    let mut seen = HashMap::new();
    for (at, element) in section.elements("sni") {
        let Some(section) = section.as_table("sni", at, element) else { continue };
        let certificate = certificate(&section, machine);
        let hosts = hosts(&section, &mut seen);
        let Some((certificate, pair)) = certificate else { continue };
        for (host, at) in hosts.iter().filter(|(host, _)| !pem::is_for(&pair, host)) {
            let path = certificate.chain.path.display();
            let what = section.row("hosts").path;
            section
                .notes
                .warning(*at, format!("{what}: the certificate in {path} is not for {}", quoted(host)));
        }
        found.push(Sni { hosts: hosts.into_iter().map(|(host, _)| host).collect(), certificate });
    }
    found
}

/// The hosts of an `sni`, in lower case, each with its place.
fn hosts(section: &Section<'_>, seen: &mut HashMap<String, At>) -> Vec<(String, At)> {
    if !section.has("hosts") {
        // Notes that the key is missing.
        let _ = section.read::<()>("hosts", |_, _| Ok(()));
        return Vec::new();
    }
    let elements = section.elements("hosts");
    let row = section.row("hosts");
    let note = |at: At, wrong: Wrong| section.notes.wrong(at, row, wrong);
    if elements.is_empty() && section.find("hosts").is_some_and(|(_, value)| value.is_array()) {
        note(section.at_key("hosts"), Wrong::new("a certificate for no host is never shown"));
    }
    let mut hosts = Vec::new();
    for (at, element) in elements {
        let Some(text) = element.as_str() else {
            note(at, must_be(&row.kind, element));
            continue;
        };
        let host = text.to_ascii_lowercase();
        if !is_host(&host) {
            let wrong = Wrong::new(format!("{} is no host name", quoted(text)));
            note(at, wrong.with("write a name without port, such as \"b.example\" or \"*.b.example\""));
        } else if let Some(first) = seen.get(&host) {
            let place = section.notes.place(*first);
            note(at, Wrong::new(format!("{} has a certificate already, at {place}", quoted(text))));
        } else {
            seen.insert(host.clone(), at);
            hosts.push((host, at));
        }
    }
    hosts
}

fn is_host(host: &str) -> bool {
    let name = host.strip_prefix("*.").unwrap_or(host);
    matches!(ServerName::try_from(name), Ok(ServerName::DnsName(_))) && !name.ends_with('.')
}

fn clients(section: &Section<'_>, machine: &dyn Resolver) -> Option<Clients> {
    let auth = section.word("client_auth");
    if !section.has("client_ca") {
        if section.has("client_auth") {
            let wrong = Wrong::new("without client_ca no certificate can be judged");
            let hint = "set client_ca, or leave client_auth out";
            section.notes.wrong(section.at_key("client_auth"), section.row("client_auth"), wrong.with(hint));
        }
        return None;
    }
    let (ca, _) = file(section, "client_ca", machine)?;
    match pem::roots(&ca) {
        Ok(_) => Some(Clients { ca, auth: auth.unwrap_or(ClientAuth::Required) }),
        Err(wrong) => {
            section.notes.wrong(section.at_key("client_ca"), section.row("client_ca"), wrong);
            None
        }
    }
}
