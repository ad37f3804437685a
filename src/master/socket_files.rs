//! The files of unix listeners: whether they are still there, and how they come back when a program has
//! taken one away.
//!
//! Programs unlink the path of a socket they were given when they end, while others serve it. So the files of
//! `exec` services have a spare name (`sys::socket_spare`) from which they are made again, looked after at
//! every pulse and every death. The files of built-in services are nobody's to remove but the operator's.

use super::sockets::{Key, Socket, Sockets};
use crate::config::{Address, Config, Listen, Service};
use crate::model::{PlanId, ServiceName};
use crate::sys::listen::{self, FileId};
use crate::sys::socket_spare;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

/// What came of looking after a file that was not in its place.
pub struct Found {
    pub service: ServiceName,
    /// Its name and address, as people know it.
    pub listener: String,
    /// Said once for each loss: why it can't come back.
    pub outcome: Result<(), io::Error>,
}

/// Unlinks a socket's file, and its spare.
pub fn unlink(address: &Address, file: FileId) {
    if let Address::Unix(path) = address {
        // Not ours any more is no error: somebody put another file there, and it stays.
        let _ = (socket_spare::drop_spare(path, file), listen::unix_unlink(path, file));
    }
}

/// The socket is named: a program's file gets its spare, another's has none. What failed, in a sentence.
pub fn guard(socket: &Socket, address: &Address, by_program: bool) -> Option<String> {
    let (Address::Unix(path), Some(file)) = (address, socket.file) else { return None };
    if !by_program {
        // There is none, unless the service ran a program before.
        let _ = socket_spare::drop_spare(path, file);
        return None;
    }
    let kept = socket_spare::keep_spare(path, file);
    kept.err().map(|e| format!("the file of listener {address} can't come back if a program removes it: {e}"))
}

impl Sockets {
    /// Whether a unix socket's file is gone or not ours any more.
    pub fn file_lost(&self, address: &Address) -> bool {
        let Address::Unix(path) = address else { return false };
        let socket = self.group(address).next().map(|(_, s)| s);
        socket.is_some_and(|s| s.file.is_none_or(|file| !listen::unix_is_ours(path, file)))
    }

    /// Whether somebody who shares a unix socket has shut it down, for all and for ever (shutdown(2)).
    fn was_shut(&self, address: &Address) -> bool {
        if !matches!(address, Address::Unix(_) | Address::Abstract(_)) {
            return false;
        }
        // One that can't be asked is taken for sound.
        self.group(address).any(|(_, s)| !listen::is_listening(s.fd.as_fd()).unwrap_or(true))
    }

    /// Why nobody new can connect to a unix socket, if so.
    pub fn loss(&self, address: &Address) -> Option<&'static str> {
        match address {
            Address::Abstract(_) if self.was_shut(address) => Some(
                "a program has shut it down: nobody new can connect until masterd is stopped and started",
            ),
            Address::Unix(_) if self.was_shut(address) => {
                Some("a program has shut it down: nobody new can connect until a reload makes it anew")
            }
            _ if self.file_lost(address) => Some(
                "its socket file was removed or replaced: nobody new can connect until a reload makes it anew",
            ),
            _ => None,
        }
    }

    /// A socket file that somebody removed is made anew for the next plan, and so is one whose socket was shut
    /// down; until that is in force the old socket goes on.
    pub(super) fn replace_lost(
        &mut self,
        plan: Option<PlanId>,
        service: &Service,
        listen: &Listen,
        key: &Key,
    ) -> Result<(), String> {
        let lost = |address| matches!(address, &Address::Unix(_)) && self.loss(address).is_some();
        let Some(plan) = plan.filter(|_| lost(&key.address)) else { return Ok(()) };
        let (fd, file) = self.make(service, listen, key)?;
        if let (Some(socket), Some(file)) = (self.all.get_mut(key), file) {
            socket.anew = Some((plan, fd, file));
        }
        Ok(())
    }

    /// Puts back the files that programs have removed: what there is to tell of it.
    pub fn restore_files(&mut self, config: &Config) -> Vec<Found> {
        let mut found = Vec::new();
        for service in config.services.iter().filter(|s| s.kind.exec().is_some()) {
            for listen in &service.listen {
                let Some(outcome) = self.restore_file(&listen.address) else { continue };
                let Listen { name, address, .. } = listen;
                let (service, listener) = (ServiceName(service.name.clone()), format!("{name} ({address})"));
                found.push(Found { service, listener, outcome });
            }
        }
        found
    }

    fn restore_file(&mut self, address: &Address) -> Option<io::Result<()>> {
        let Address::Unix(path) = address else { return None };
        // With another on its way the path is that one's.
        let file = self.group(address).find_map(|(_, s)| s.file.filter(|_| s.named && s.anew.is_none()))?;
        match put_back(path, file) {
            Ok(back) => {
                self.lost.remove(address);
                back.then_some(Ok(()))
            }
            Err(e) => self.lost.insert(address.clone()).then_some(Err(e)),
        }
    }
}

fn put_back(path: &Path, file: FileId) -> io::Result<bool> {
    if listen::unix_is_ours(path, file) {
        return Ok(false);
    }
    socket_spare::restore(path, file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::Folder;
    use serde_json::{Value, json};
    use std::os::unix::net::UnixStream;
    use std::path::PathBuf;

    const NOTHING: [bool; 0] = [];

    /// A config with one service at this address, with or without a program behind it.
    fn config(address: &Address, program: bool) -> Config {
        let recorded = include_str!("../../tests/fixtures/handover-1.json");
        let document: Value = serde_json::from_str(recorded).unwrap();
        let mut config = document["configs"]["1"].clone();
        let mut service = config["services"][0].clone();
        let mut listen = service["listen"][0].clone();
        (listen["address"], listen["accept"]) = (json!(address), json!("Shared"));
        (service["name"], service["listen"]) = (json!("api"), json!([listen]));
        if program {
            let file =
                json!({ "path": "/bin/x", "called": "/bin/x", "device": 1, "inode": 1, "modified": 1 });
            service["kind"] = json!({ "Exec": {
                "command": ["x"], "program": file, "directory": "/", "env": {}, "ready": "Accepting",
                "stop_signal": 15, "output": "Log", "nonblocking": false, "umask": null,
                "watchdog": { "secs": 0, "nanos": 0 }, "user": null,
            }});
        }
        config["services"] = json!([service]);
        serde_json::from_value(config).unwrap()
    }

    fn serve(sockets: &mut Sockets, plan: u64, config: &Config) {
        let seats = [("api".into(), 1)];
        sockets.open(PlanId(plan), config, &seats).unwrap();
        assert_eq!(sockets.adopt(PlanId(plan), config, &seats), Vec::<String>::new());
    }

    fn place(folder: &Folder) -> (PathBuf, PathBuf, Address) {
        let path = folder.path().join("s");
        (path.clone(), folder.path().join(".s.masterd"), Address::Unix(path))
    }

    fn outcomes(sockets: &mut Sockets, config: &Config) -> Vec<bool> {
        sockets.restore_files(config).iter().map(|found| found.outcome.is_ok()).collect()
    }

    #[test]
    fn a_file_that_a_program_removes_is_back_as_soon_as_somebody_looks() {
        let folder = Folder::new();
        let (path, spare, address) = place(&folder);
        let config = config(&address, true);
        let mut sockets = Sockets::default();
        serve(&mut sockets, 1, &config);
        assert_eq!(outcomes(&mut sockets, &config), NOTHING, "nothing has happened");

        std::fs::remove_file(&path).unwrap();
        let found = sockets.restore_files(&config);
        let told: Vec<_> = found.iter().map(|f| (f.service.0.as_str(), f.outcome.is_ok())).collect();
        assert_eq!(told, [("api", true)]);
        assert!(found[0].listener.ends_with(&format!("(unix:{})", path.display())), "{}", found[0].listener);
        UnixStream::connect(&path).expect("the same listener is there again");
        assert_eq!(outcomes(&mut sockets, &config), NOTHING, "told once");

        sockets.close_all();
        assert!(!path.exists() && !spare.exists());
    }

    #[test]
    fn a_file_that_cannot_come_back_is_told_once_until_it_can() {
        let folder = Folder::new();
        let (path, spare, address) = place(&folder);
        let config = config(&address, true);
        let mut sockets = Sockets::default();
        serve(&mut sockets, 1, &config);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "mine").unwrap();
        assert_eq!(outcomes(&mut sockets, &config), [false]);
        assert_eq!(outcomes(&mut sockets, &config), NOTHING);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(outcomes(&mut sockets, &config), [true]);
        std::fs::remove_file(&path).unwrap();
        std::fs::remove_file(&spare).unwrap();
        assert_eq!(outcomes(&mut sockets, &config), [false], "a new loss is told anew");

        // A reload makes it anew, spare and all.
        serve(&mut sockets, 2, &config);
        assert!(spare.exists());
        UnixStream::connect(&path).expect("a listener is there");
    }

    #[test]
    fn the_file_of_a_built_in_service_has_no_spare_and_stays_away() {
        let folder = Folder::new();
        let (path, spare, address) = place(&folder);
        let (program, built_in) = (config(&address, true), config(&address, false));
        let mut sockets = Sockets::default();
        serve(&mut sockets, 1, &program);
        assert!(spare.exists());
        serve(&mut sockets, 2, &built_in);
        assert!(path.exists() && !spare.exists(), "it has no program any more");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(outcomes(&mut sockets, &built_in), NOTHING);
        assert!(sockets.file_lost(&address));
    }

    #[test]
    fn a_unix_listener_that_a_program_shuts_down_is_told_and_made_anew_by_a_reload() {
        let folder = Folder::new();
        let (path, spare, address) = place(&folder);
        let config = config(&address, true);
        let mut sockets = Sockets::default();
        serve(&mut sockets, 1, &config);
        assert_eq!(sockets.loss(&address), None);
        let shut = sockets.all.values().next().unwrap().fd.try_clone().unwrap();
        UnixStream::from(shut).shutdown(std::net::Shutdown::Both).unwrap();
        assert!(sockets.loss(&address).is_some_and(|why| why.contains("shut it down")));
        assert!(!sockets.file_lost(&address));
        UnixStream::connect(&path).expect_err("nobody listens");

        sockets.open(PlanId(2), &config, &[("api".into(), 1)]).unwrap();
        assert_eq!(outcomes(&mut sockets, &config), NOTHING, "the old file stays away");
        sockets.adopt(PlanId(2), &config, &[("api".into(), 1)]);
        UnixStream::connect(&path).expect("a listener is there");
        assert_eq!((sockets.loss(&address), spare.exists()), (None, true));
    }

    #[test]
    fn a_udp_address_is_bound_once_and_has_no_queue() {
        let address = Address::Udp("127.0.0.1:0".parse().unwrap());
        let first = config(&address, true);
        let mut sockets = Sockets::default();
        serve(&mut sockets, 1, &first);
        let bound = sockets.bound(&address).unwrap();
        assert_ne!(bound.port(), 0);
        let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.send_to(b"x", bound).unwrap();
        let queue = sockets.queue_of(&address);
        assert_eq!((queue.waiting, queue.limit), (0, 0));
        serve(&mut sockets, 2, &first);
        assert_eq!(sockets.bound(&address), Some(bound), "a reload keeps it");

        let mut rival = Sockets::default();
        let same = config(&Address::Udp(bound), true);
        let why = rival.open(PlanId(1), &same, &[("api".into(), 1)]).unwrap_err();
        assert!(why.starts_with(&format!("cannot listen on udp:{bound} for service api: ")), "{why}");
    }
}
