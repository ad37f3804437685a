//! What clients and workers ask: verdicts go to `policy` as events, everything that only needs
//! looking (status, events, dry runs) is answered here.

use super::clients::{Said, Wants};
use super::config_child::Findings;
use super::control::done;
use super::turn::{Purpose, Reading, Shell, now};
use super::{notes, outbox, samples, spawn, status};
use crate::config::{self, Config};
use crate::model::{ClientId, ServiceName, WorkerId};
use crate::policy::{Event, Level, NewConfig, Note, Request as Ask};
use crate::sys::{clock, shm};
use crate::wire::control::{Done, Outcome, Reply, Request};
use crate::wire::order::Order;
use crate::wire::status::Status;
use mio::Token;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// Configs read for dry runs at one time.
const DRY_RUNS: usize = 4;
/// The `status` routes of all workers together get a new document this often.
const SHOWN_FOR: Duration = Duration::from_millis(100);

/// A client's socket is ready.
pub fn client_ready(shell: &mut Shell, token: Token, out: &mut Vec<Event>) {
    match shell.control.ready(token, now()) {
        (client, Some(Said::Request(request))) => asked(shell, client, *request, out),
        (client, Some(Said::Gone)) => out.push(Event::ClientGone { client }),
        (_, Some(Said::Nothing) | None) => {}
    }
}

fn asked(shell: &mut Shell, client: ClientId, request: Request, out: &mut Vec<Event>) {
    let decide = match request {
        Request::Status { watch, .. } => {
            let next = now() + Duration::from_secs(1);
            let wants = if watch {
                Wants::Watch { next, request: Box::new(request.clone()) }
            } else {
                Wants::Figures
            };
            shell.control.wants(client, wants);
            return tell_status(shell, client, &request);
        }
        Request::Events => {
            shell.control.wants(client, Wants::Events);
            return greet(shell, client);
        }
        Request::Reload { service, dry_run: true, .. } => {
            shell.control.wants(client, Wants::Verdict);
            return dry_run(shell, client, service);
        }
        Request::Reload { service, drained, .. } => Ask::Reload { service, drained },
        Request::Upgrade { binary, drained } => Ask::Upgrade { binary, drained },
        Request::Stop { fast } => Ask::Stop { fast },
        Request::Scale { service, workers } => Ask::Scale { service, workers },
        Request::Drain { service } => Ask::Drain { service },
        Request::Resume { service } => Ask::Resume { service },
        Request::Reopen => Ask::Reopen,
    };
    shell.control.wants(client, Wants::Verdict);
    let progress = super::progress::asked(&decide);
    shell.control.say(client, &Reply::Progress(progress), now());
    out.push(Event::Asked { client, request: decide });
}

/// Whoever follows events learns at once that somebody is there.
fn greet(shell: &mut Shell, client: ClientId) {
    let text = format!("masterd is {}", shell.fleet.state_word());
    let generation = Some(shell.fleet.serving);
    let note = Note { generation, ..Note::new(Level::Info, "following", text) };
    let event = notes::event_line(&note, Some(shell.pid));
    shell.control.say(client, &Reply::Event { event }, now());
}

/// The status document of this moment.
pub fn document(shell: &mut Shell, only: Option<&ServiceName>, connections: bool) -> Status {
    let mut sources = status::Sources {
        fleet: &shell.fleet,
        crew: &mut shell.crew,
        sockets: &shell.sockets,
        totals: &shell.totals,
        config: &shell.config,
        pid: shell.pid,
        started_wall: shell.started_wall,
        image_version: &shell.image_version,
        image_since: shell.image_since,
        binary: &shell.origin.binary,
        dropped: shell.sink.dropped(),
        now: now(),
        now_wall: clock::wall_ns(),
    };
    status::document(&mut sources, only, connections)
}

/// A client wants the document: now, or when the keepers of what it shows have looked at their programs.
fn tell_status(shell: &mut Shell, client: ClientId, request: &Request) {
    let Request::Status { service, .. } = request else { return };
    if !samples::hold(shell, client, request, service.as_ref()) {
        show_status(shell, client, request);
    }
}

/// The document as it is now, to a client.
pub fn show_status(shell: &mut Shell, client: ClientId, request: &Request) {
    let Request::Status { service, connections, watch } = request else { return };
    if !watch {
        shell.control.wants(client, Wants::Nothing);
    }
    if let Some(name) = service.as_ref().filter(|name| !shell.fleet.services.contains_key(*name)) {
        shell.control.wants(client, Wants::Nothing);
        let reply = done(Outcome::Failed, format!("there is no service named {name}"));
        return shell.control.say(client, &reply, now());
    }
    let document = document(shell, service.as_ref(), *connections);
    shell.control.say(client, &Reply::Status { status: Box::new(document) }, now());
}

/// Sends watchers what is due to them.
pub fn watch(shell: &mut Shell) {
    for (client, request) in shell.control.due(now()) {
        tell_status(shell, client, &request);
    }
}

/// A worker's `status` route wants the document: one at a time, however often it asks.
pub fn status_for_worker(shell: &mut Shell, worker: WorkerId) {
    let Some(handle) = shell.crew.handles.get(&worker) else { return };
    let memory = match handle.owes(&Order::Status) {
        true => Err(io::Error::other("it asks again and has not read the last one")),
        false => shown(shell),
    };
    let Some(handle) = shell.crew.handles.get_mut(&worker) else { return };
    let sent = memory.and_then(|memory| handle.tell(&Order::Status, &[memory.as_fd()]));
    if let Err(e) = sent
        && !std::mem::replace(&mut handle.status_failed, true)
    {
        slog::warn!(shell.log, "cannot send the status to a worker: {}", e; "pid" => handle.pid);
    }
}

/// The document for workers, which nobody can change: made at most every 100 ms, however many ask.
fn shown(shell: &mut Shell) -> io::Result<Arc<OwnedFd>> {
    let now = now();
    if let Some((at, memory)) = &shell.shown
        && now.since(*at) < SHOWN_FOR
    {
        return Ok(Arc::clone(memory));
    }
    let bytes = serde_json::to_vec(&document(shell, None, false))?;
    let memory = Arc::new(shm::sealed_bytes("masterd-status", &bytes)?);
    shell.shown = Some((now, Arc::clone(&memory)));
    Ok(memory)
}

fn dry_run(shell: &mut Shell, client: ClientId, service: Option<ServiceName>) {
    let dry = |r: &&Reading| matches!(r.purpose, Purpose::DryRun { .. });
    let started = if shell.readings.values().filter(dry).count() >= DRY_RUNS {
        Err("too many dry runs at once".to_owned())
    } else {
        spawn::start_reading(shell, Purpose::DryRun { client, service }).map_err(|e| e.to_string())
    };
    if let Err(why) = started {
        shell.control.finish(client, failed(format!("cannot read the config: {why}"), Vec::new()), now());
    }
}

/// A dry run that an upgrade has cut short.
pub fn interrupted(shell: &mut Shell, client: ClientId) {
    let text = "the binary is being replaced: ask again".to_owned();
    shell.control.finish(client, failed(text, Vec::new()), now());
}

fn failed(text: String, lines: Vec<String>) -> Done {
    Done { outcome: Outcome::Failed, text, lines, generation: None }
}

/// A config child has answered.
pub fn config_found(shell: &mut Shell, findings: Findings, purpose: Purpose) -> Option<Event> {
    let Findings { config, warnings, problems } = findings;
    let config = config.ok_or(problems);
    match purpose {
        Purpose::Reload => Some(Event::ConfigRead(config.map(|c| accept(shell, c, &warnings)))),
        Purpose::DryRun { client, service } => {
            let answer = match config {
                Ok(config) => compare(shell, config, warnings, service.as_ref()),
                Err(mut problems) => {
                    let first = problems.remove(0);
                    failed(format!("the config is not usable: {first}"), problems)
                }
            };
            shell.control.finish(client, answer, now());
            None
        }
    }
}

/// A good config becomes a plan; what a reload can't change is said and kept.
fn accept(shell: &mut Shell, mut config: Config, warnings: &[String]) -> NewConfig {
    let frozen = config::keep_frozen(&shell.config, &mut config);
    for warning in warnings.iter().chain(&frozen) {
        slog::warn!(shell.log, "{}", warning);
    }
    let changed = changed_services(&shell.config, &config);
    let plan = config::plan_of(&config);
    let id = outbox::keep_plan(shell, config);
    NewConfig { id, plan, changed }
}

/// Services that one config has and the other has not, or has differently.
fn changed_services(old: &Config, new: &Config) -> Vec<ServiceName> {
    let differs = |name: &str| {
        let find = |c: &Config| c.services.iter().find(|s| s.name == name).cloned();
        find(old) != find(new)
    };
    let mut names: Vec<&String> = old.services.iter().chain(&new.services).map(|s| &s.name).collect();
    names.sort();
    names.dedup();
    names.into_iter().filter(|n| differs(n)).map(|n| ServiceName(n.clone())).collect()
}

fn compare(shell: &Shell, mut config: Config, warnings: Vec<String>, only: Option<&ServiceName>) -> Done {
    let changes = config::diff(&shell.config, &config);
    let mut lines = warnings;
    lines.extend(config::keep_frozen(&shell.config, &mut config));
    lines.extend(changes.iter().map(ToString::to_string));
    if let Some(name) = only {
        let others = changed_services(&shell.config, &config);
        if others.iter().any(|other| other != name) {
            let text = format!("reload of {name} alone would be refused: other services differ too");
            return failed(text, lines);
        }
    }
    let text = if changes.is_empty() {
        "the config is good and changes nothing; a reload would start new workers all the same"
    } else {
        "the config is good; a reload would do this"
    };
    Done { outcome: Outcome::Ok, text: text.to_owned(), lines, generation: None }
}
