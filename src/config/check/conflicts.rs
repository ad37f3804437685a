//! What services may not have in common: names, listener names, addresses, files.
//!
//! Each conflict is noted once, at the later of the two places, and names the earlier one.

use super::Found;
use crate::config::notes::{At, Notes};
use crate::config::types::{Address, Listen};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// Notes every name and address that two services or listeners claim.
pub(super) fn note(notes: &Notes<'_>, found: &[Found]) {
    let mut services = HashMap::new();
    let mut names = HashMap::new();
    let mut claims = Claims::default();
    for found in found {
        let name = found.service.name.as_str();
        if !name.is_empty() {
            note_first(notes, &mut services, name, found.name_at, "service");
        }
        for (listen, at) in found.service.listen.iter().zip(&found.listen_at) {
            if !name.is_empty() {
                note_first(notes, &mut names, listen.name.as_str(), *at, "listener");
            }
            claims.add(notes, listen, *at);
        }
    }
}

fn note_first<'a>(notes: &Notes<'_>, seen: &mut HashMap<&'a str, At>, name: &'a str, at: At, what: &str) {
    match seen.get(name) {
        None => _ = seen.insert(name, at),
        Some(first) => {
            let message = format!("the {what} name \"{name}\" is taken already, at {}", notes.place(*first));
            notes.error(at, message, Some(format!("give this {what} a name of its own")));
        }
    }
}

/// The addresses seen so far.
#[derive(Default)]
struct Claims<'a> {
    exact: HashMap<&'a Address, At>,
    /// IP listeners by port, those of TCP apart from those of UDP; port 0 is always another one.
    ports: HashMap<(bool, u16), Ports<'a>>,
}

#[derive(Default)]
struct Ports<'a> {
    /// Those that claim a whole family.
    wild: Vec<(&'a Listen, At)>,
    /// The first one that claims some address of IPv4, and of IPv6.
    first: [Option<(&'a Listen, At)>; 2],
}

impl<'a> Claims<'a> {
    fn add(&mut self, notes: &Notes<'_>, listen: &'a Listen, at: At) {
        if let Some(first) = self.exact.get(&listen.address) {
            let message =
                format!("the address {} is taken already, at {}", listen.address, notes.place(*first));
            let hint = match listen.address {
                Address::Tcp(ip) | Address::Udp(ip) if ip.port() == 0 => {
                    "listeners with port 0 need different IP addresses"
                }
                _ => "an address belongs to one listener of one service",
            };
            notes.error(at, message, Some(hint.to_owned()));
            return;
        }
        self.exact.insert(&listen.address, at);
        let (is_tcp, ip) = match &listen.address {
            Address::Tcp(ip) => (true, ip),
            Address::Udp(ip) => (false, ip),
            Address::Unix(_) | Address::Abstract(_) => return,
        };
        if ip.port() == 0 {
            return;
        }
        let ports = self.ports.entry((is_tcp, ip.port())).or_default();
        if let Some((other, first)) = ports.rival(listen, ip) {
            let wide = if claims_family(listen, 0) || claims_family(listen, 1) { listen } else { other };
            let message = format!(
                "{} and {}, at {}, claim the same port",
                listen.address,
                other.address,
                notes.place(first)
            );
            notes.error(
                at,
                message,
                Some(format!(
                    "{} stands for every address of the machine: name one, or use another port",
                    wide.address
                )),
            );
        }
        ports.add(listen, ip, at);
    }
}

impl<'a> Ports<'a> {
    /// An earlier listener whose addresses overlap.
    fn rival(&self, listen: &Listen, ip: &SocketAddr) -> Option<(&'a Listen, At)> {
        let own = family(ip);
        let wide = self.wild.iter().find(|(other, _)| claims_family(other, own)).copied();
        let covered =
            || (0..2).filter(|family| claims_family(listen, *family)).find_map(|family| self.first[family]);
        wide.or_else(covered)
    }

    fn add(&mut self, listen: &'a Listen, ip: &SocketAddr, at: At) {
        self.first[family(ip)].get_or_insert((listen, at));
        if claims_family(listen, 0) || claims_family(listen, 1) {
            self.wild.push((listen, at));
        }
    }
}

/// 0 for IPv4, 1 for IPv6.
fn family(ip: &SocketAddr) -> usize {
    usize::from(ip.is_ipv6())
}

/// Whether a listener claims its port on all addresses of a family.
fn claims_family(listen: &Listen, family: usize) -> bool {
    match &listen.address {
        Address::Tcp(ip) | Address::Udp(ip) => match ip.ip() {
            IpAddr::V4(v4) => v4.is_unspecified() && family == 0,
            IpAddr::V6(v6) => v6.is_unspecified() && (family == 1 || !listen.ipv6_only),
        },
        Address::Unix(_) | Address::Abstract(_) => false,
    }
}

/// A file that a key wants to write.
pub(super) struct Claimed<'a> {
    pub path: &'a Path,
    pub by: &'static str,
    pub at: At,
}

/// The socket files of all services.
pub(super) fn files_of_listeners(found: &[Found]) -> Vec<Claimed<'_>> {
    let listeners = found.iter().flat_map(|found| found.service.listen.iter().zip(&found.listen_at));
    let files = listeners.filter_map(|(listen, at)| match &listen.address {
        Address::Unix(path) => Some(Claimed { path, by: "a listener", at: *at }),
        Address::Tcp(_) | Address::Udp(_) | Address::Abstract(_) => None,
    });
    files.collect()
}

/// Notes files that two keys want to write.
pub(super) fn note_paths(notes: &Notes<'_>, files: &[Claimed<'_>]) {
    let mut seen: HashMap<&Path, &Claimed<'_>> = HashMap::new();
    for file in files {
        match seen.get(file.path) {
            None => _ = seen.insert(file.path, file),
            // Two listeners on one path are noted as an address taken twice.
            Some(first) if first.by == file.by => {}
            Some(first) => {
                let message = format!(
                    "{}: {} is used by {}, at {}, too",
                    file.by,
                    file.path.display(),
                    first.by,
                    notes.place(first.at)
                );
                notes.error(file.at, message, Some("give each a file of its own".to_owned()));
            }
        }
    }
}
