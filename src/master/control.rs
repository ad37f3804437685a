//! The control socket: who may connect, what was asked, who is told what.
//!
//! Root and the master's own uid only (SO_PEERCRED). Requests that need a decision become events;
//! status, dry runs and events are served by the shell, which reads and decides nothing.

use super::clients::{Client, ClientRecord, Said, Wants};
use crate::model::{ClientId, Moment};
use crate::sys::listen::{self, FileId};
use crate::sys::{net, process};
use crate::wire::control::{Done, EventLine, Outcome, Progress, Reply, Request};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Clients at one time; one more takes the place of the one that has kept silent longest.
const CLIENTS: usize = 256;
/// Where client tokens begin; a worker's never get there.
pub const CLIENT_TOKENS: usize = 1 << 62;
const WATCH_EVERY: Duration = Duration::from_secs(1);

pub struct Control {
    listener: OwnedFd,
    path: PathBuf,
    file: FileId,
    clients: BTreeMap<ClientId, Client>,
    last: u64,
    /// Somebody may wait whom there was no descriptor for.
    pub short: bool,
}

impl Control {
    /// Binds the socket (mode 0600 from birth).
    pub fn bind(path: &Path) -> io::Result<Control> {
        let (listener, file) = listen::unix(path, 128, 0o600, (None, None))?;
        Ok(Control { listener, path: path.to_owned(), file, clients: BTreeMap::new(), last: 0, short: false })
    }

    /// What another image left: the listening socket, and the clients in conversation.
    pub fn restore(
        listener: OwnedFd,
        path: PathBuf,
        file: FileId,
        last: u64,
        clients: Vec<(OwnedFd, ClientRecord)>,
        now: Moment,
    ) -> Control {
        let client = |(fd, r): (OwnedFd, ClientRecord)| (ClientId(r.id), Client::restore(fd, r, now));
        let clients = clients.into_iter().map(client).collect();
        Control { listener, path, file, clients, last, short: false }
    }

    /// Where the socket is, which file it is, and the number of the last client.
    pub fn place(&self) -> (&Path, FileId, u64) {
        (&self.path, self.file, self.last)
    }

    /// Every conversation as it stands.
    pub fn record(&self) -> Vec<ClientRecord> {
        self.clients.iter().map(|(id, client)| client.record(*id)).collect()
    }

    pub fn descriptors(&self) -> impl Iterator<Item = (ClientId, BorrowedFd<'_>)> {
        self.clients.iter().map(|(id, client)| (*id, client.as_fd()))
    }

    /// Watches the clients that were restored; one that can't be watched is let go.
    pub fn register_clients(&mut self, registry: &Registry) {
        self.clients.retain(|id, client| watch(registry, *id, client).is_ok());
    }

    pub fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut SourceFd(&self.listener.as_raw_fd()), token, Interest::READABLE)
    }

    /// Accepts whoever waits. An error (descriptors are short) comes back when it is new; whoever waits
    /// stays in the queue until `accept` is called again, for which there will be no readiness.
    pub fn accept(&mut self, registry: &Registry, now: Moment) -> io::Result<()> {
        loop {
            match net::accept(self.listener.as_fd()) {
                Ok((fd, _)) => self.admit(fd, registry, now),
                Err(e) => {
                    let short = e.kind() != io::ErrorKind::WouldBlock;
                    let news = short && !self.short;
                    self.short = short;
                    return if news { Err(e) } else { Ok(()) };
                }
            }
        }
    }

    fn admit(&mut self, fd: OwnedFd, registry: &Registry, now: Moment) {
        if self.clients.len() >= CLIENTS && !self.make_room() {
            return;
        }
        self.last += 1;
        let id = ClientId(self.last);
        let mut client = Client::new(fd, now);
        if watch(registry, id, &client).is_err() {
            return;
        }
        if !permitted(&client) {
            client.say(&done(Outcome::NotPermitted, "only root and masterd's own user may do this"));
            client.wants = Wants::Nothing;
        }
        self.clients.insert(id, client);
    }

    /// Drops the oldest client that has not said what it wants; false if all have.
    fn make_room(&mut self) -> bool {
        let silent = self.clients.iter().find(|(_, c)| matches!(c.wants, Wants::Unknown)).map(|(id, _)| *id);
        silent.is_some_and(|id| self.clients.remove(&id).is_some())
    }

    /// A client's socket is ready: its request, if that is complete now.
    pub fn ready(&mut self, token: Token, now: Moment) -> (ClientId, Option<Said>) {
        let id = ClientId(token.0.wrapping_sub(CLIENT_TOKENS) as u64);
        let Some(client) = self.clients.get_mut(&id) else { return (id, None) };
        let said = client.read();
        if matches!(said, Said::Gone) || !client.write(now) {
            self.clients.remove(&id);
            return (id, Some(Said::Gone));
        }
        (id, Some(said))
    }

    pub fn wants(&mut self, id: ClientId, wants: Wants) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.wants = wants;
        }
    }

    /// Sends a reply; a client that can't take it is dropped.
    pub fn say(&mut self, id: ClientId, reply: &Reply, now: Moment) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if !client.say(reply) || !client.write(now) {
            self.clients.remove(&id);
        }
    }

    /// The last word for a client.
    pub fn finish(&mut self, id: ClientId, answer: Done, now: Moment) {
        self.wants(id, Wants::Nothing);
        self.say(id, &Reply::Done(answer), now);
    }

    /// Tells everybody who follows.
    pub fn publish(&mut self, event: &EventLine, now: Moment) {
        let reply = Reply::Event { event: event.clone() };
        for id in self.those(|w| matches!(w, Wants::Events)) {
            self.say(id, &reply, now);
        }
    }

    /// The last word for those who follow or watch: the master leaves in order.
    pub fn farewell(&mut self, now: Moment) {
        for id in self.those(|w| matches!(w, Wants::Events | Wants::Watch { .. })) {
            let text = "masterd has stopped".to_owned();
            self.finish(id, Done { outcome: Outcome::Ok, text, lines: Vec::new(), generation: None }, now);
        }
    }

    fn those(&self, test: impl Fn(&Wants) -> bool) -> Vec<ClientId> {
        self.clients.iter().filter(|(_, c)| test(&c.wants)).map(|(id, _)| *id).collect()
    }

    pub fn anybody_waits(&self) -> bool {
        self.clients.values().any(|c| matches!(c.wants, Wants::Verdict))
    }

    /// Shows progress to whoever waits for a verdict.
    pub fn show(&mut self, progress: &Progress, now: Moment) {
        for id in self.those(|w| matches!(w, Wants::Verdict)) {
            let Some(client) = self.clients.get_mut(&id) else { continue };
            if !client.show(progress) || !client.write(now) {
                self.clients.remove(&id);
            }
        }
    }

    /// Watchers whose next document is due; those that have not read the last one miss it.
    pub fn due(&mut self, now: Moment) -> Vec<(ClientId, Request)> {
        let mut due = Vec::new();
        for (id, client) in &mut self.clients {
            if let Wants::Watch { next, request } = &mut client.wants
                && *next <= now
            {
                *next = now + WATCH_EVERY;
                let request = (**request).clone();
                due.extend(client.keeps_up().then_some((*id, request)));
            }
        }
        due
    }

    /// Drops clients that are past their time: these.
    pub fn sweep(&mut self, now: Moment) -> Vec<ClientId> {
        let mut gone = Vec::new();
        self.clients.retain(|id, client| {
            let stays = client.write(now);
            if !stays {
                gone.push(*id);
            }
            stays
        });
        gone
    }

    pub fn has_clients(&self) -> bool {
        !self.clients.is_empty()
    }

    /// Unlinks the socket if it is still ours.
    pub fn remove(&self) -> io::Result<bool> {
        listen::unix_unlink(&self.path, self.file)
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

fn watch(registry: &Registry, id: ClientId, client: &Client) -> io::Result<()> {
    let token = Token(CLIENT_TOKENS + usize::try_from(id.0).unwrap_or(0));
    let both = Interest::READABLE | Interest::WRITABLE;
    registry.register(&mut SourceFd(&client.as_fd().as_raw_fd()), token, both)
}

pub fn done(outcome: Outcome, text: impl Into<String>) -> Reply {
    Reply::Done(Done { outcome, text: text.into(), lines: Vec::new(), generation: None })
}

fn permitted(client: &Client) -> bool {
    client.credentials().is_ok_and(|(_, uid, _)| uid == 0 || uid == process::euid())
}
