//! Actions become system calls; what comes of them is queued as events.
//!
//! After boot every act of the master starts here. A failed act that has no event of its own is
//! logged: the deadlines in `policy` see to what did not happen.

use super::access_logs;
use super::aftermath;
use super::holders::{Orphan, Rites};
use super::modes;
use super::notes;
use super::spawn::{self, Birth};
use super::turn::{Purpose, Shell, now};
use super::upgrade::candidate;
use super::upgrade::crossing::{self, Crossing};
use crate::config::Config;
use crate::model::fleet::{DrainWhy, Draining, Stage, Worker};
use crate::model::{ClientId, Phase, PlanId, Seat, ServiceName, WorkerId};
use crate::policy::{Action, Answer, DrainOrder, Event, KillSignal, Level, Note};
use crate::sys::{clock, fd, limits, shm};
use crate::wire::control::{Done, Outcome};
use crate::wire::order::{Drain, Order};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// Descriptors kept free for clients, logs and children when a generation is let in.
const SPARE_DESCRIPTORS: usize = 32;
/// Descriptors the master holds for each worker, those of the moment of its birth included.
const PER_WORKER: usize = 6;

/// Performs the actions of one decision, in order.
pub fn perform(shell: &mut Shell, actions: Vec<Action>) {
    let naming = |a: &Action| matches!(a, Action::Adopt { .. } | Action::OpenSeats { .. });
    let named = actions.iter().any(naming);
    for action in actions {
        act(shell, action);
    }
    if named {
        release_named(shell);
    }
    for Orphan { service, seat } in shell.sockets.orphans() {
        let told =
            |e: &Event| matches!(e, Event::Orphaned { service: s, seat: n } if (s, n) == (&service, &seat));
        if !shell.queue.iter().any(told) {
            shell.queue.push_back(Event::Orphaned { service, seat });
        }
    }
    shell.sockets.close_served();
}

fn act(shell: &mut Shell, action: Action) {
    match action {
        Action::ReadConfig => read_config(shell),
        Action::StartCandidate { binary } => {
            if let Err(refused) = candidate::start(shell, binary.as_deref()) {
                shell.queue.push_back(Event::Candidate(Err(refused)));
            }
        }
        Action::CancelUpgrade => crossing::cancel(shell),
        Action::ExecImage => shell.crossing = Some(Crossing::Forward),
        Action::GoBack => shell.crossing = Some(Crossing::Back),
        Action::CommitImage { binary } => crossing::commit(shell, binary),
        Action::OpenListeners { plan, seats } => open_listeners(shell, plan, &seats),
        Action::Adopt { plan, seats } => adopt(shell, plan, &seats),
        Action::Abandon { plan } => abandon(shell, plan),
        Action::DropPlan { plan } => {
            shell.plans.remove(&plan);
            shell.access_logs.prune(&shell.plans);
        }
        Action::OpenSeats { service, seats } => open_seats(shell, service, seats),
        Action::RetireSeats { service, keep } => {
            let config = Arc::clone(&shell.config);
            if let Some(service) = config.services.iter().find(|s| s.name == service.0) {
                shell.sockets.retire(service, keep);
            }
        }
        Action::Fence { service } => shell.sockets.fence(&service),
        Action::Spawn { worker, service, seat, generation, plan } => {
            let birth = Birth { worker, service, seat, generation, plan };
            let event = spawn::spawn(shell, &birth);
            shell.queue.push_back(event);
        }
        Action::Readiness { worker, ready } => tell(shell, worker, &Order::Readiness { ready }),
        Action::Drain { worker, order } => drain(shell, worker, order),
        Action::Finish { worker } => tell(shell, worker, &Order::Stop),
        Action::Kill { worker, signal } => kill(shell, worker, signal),
        Action::Rescue { service, seat, to } => rescue(shell, &service, seat, to),
        Action::EndRescue { seat, from, .. } => tell(shell, from, &Order::EndRescue { seat }),
        Action::LastRites { service, seat, to } => last_rites(shell, Orphan { service, seat }, to),
        Action::Served { worker, rites } => shell.sockets.closed_by(worker, rites),
        Action::Forget { worker, death } => forget(shell, worker, death),
        Action::ReopenLogs { client } => reopen_logs(shell, client),
        Action::Answer { client, answer } => respond(shell, client, answer),
        Action::Note(note) => say(shell, &note),
        Action::Leave { code } => shell.leaving = Some(code),
    }
}

fn tell(shell: &mut Shell, worker: WorkerId, order: &Order) {
    tell_with(shell, worker, order, &[]);
}

fn tell_with(shell: &mut Shell, worker: WorkerId, order: &Order, fds: &[BorrowedFd<'_>]) {
    let Some(handle) = shell.crew.handles.get_mut(&worker) else { return };
    if let Err(e) = handle.tell(order, fds) {
        slog::warn!(shell.log, "cannot send an order to a worker: {}", e; "pid" => handle.pid);
    }
}

fn read_config(shell: &mut Shell) {
    // What is still read for an earlier reload, given up meanwhile, must not answer for this one.
    shell.readings.retain(|_, reading| {
        let stale = reading.purpose == Purpose::Reload;
        if stale {
            reading.child.end();
        }
        !stale
    });
    if let Err(e) = spawn::start_reading(shell, Purpose::Reload) {
        let why = format!("cannot start a process to read {}: {e}", shell.config_path.display());
        shell.queue.push_back(Event::ConfigRead(Err(vec![why])));
    }
}

fn open_listeners(shell: &mut Shell, plan: PlanId, seats: &[(ServiceName, u32)]) {
    let event = match try_open(shell, plan, seats) {
        Ok(()) => Event::Opened,
        Err(why) => Event::OpenFailed { why },
    };
    shell.queue.push_back(event);
}

fn try_open(shell: &mut Shell, plan: PlanId, seats: &[(ServiceName, u32)]) -> Result<(), String> {
    let Some(config) = shell.plans.get(&plan).cloned() else { return Err(format!("plan {plan} is gone")) };
    let workers = seats.iter().map(|(_, n)| *n as usize).sum();
    let files = shell.access_logs.missing(&config).len();
    afford(shell.sockets.missing(&config, seats) + files, workers)?;
    // A log that can't be opened must fail the reload while nothing has changed.
    let changed = config.master.log.file != shell.config.master.log.file;
    let log = changed.then(|| open_log(&config)).transpose().map_err(|e| format!("cannot {e}"))?;
    let access_logs = shell.access_logs.open(&config).map_err(|e| format!("cannot {e}"))?;
    shell.sockets.open(plan, &config, seats)?;
    // Before its programs come up, which may fail for it.
    for kept in shell.sockets.modes_kept(&shell.config, &config) {
        slog::warn!(shell.log, "{}", kept);
    }
    shell.access_logs.keep(access_logs);
    shell.next_log = log.map(|log| (plan, log));
    Ok(())
}

/// Whether there are descriptors for so many more sockets and files, and for workers.
fn afford(others: usize, workers: usize) -> Result<(), String> {
    let wanted = others + workers * PER_WORKER + SPARE_DESCRIPTORS;
    let (open, limit) = fd::budget().map_err(|e| format!("cannot count descriptors: {e}"))?;
    if open as u64 + wanted as u64 > limit {
        return Err(format!(
            "{workers} new workers may need {wanted} descriptors beside the {open} in use, but the limit \
             is {limit}: raise it (ulimit -n, LimitNOFILE=)"
        ));
    }
    Ok(())
}

/// Opens what a config names as its log.
pub fn open_log(config: &Config) -> io::Result<OwnedFd> {
    match &config.master.log.file {
        Some(path) => fd::open_log(path),
        None => fd::dup_cloexec(io::stderr().as_fd()),
    }
}

fn abandon(shell: &mut Shell, plan: PlanId) {
    shell.sockets.abandon(plan);
    shell.next_log.take_if(|(p, _)| *p == plan);
}

fn adopt(shell: &mut Shell, plan: PlanId, seats: &[(ServiceName, u32)]) {
    let Some(config) = shell.plans.get(&plan).cloned() else { return };
    let failed = shell.sockets.adopt(plan, &config, seats);
    shell.config = Arc::clone(&config);
    shell.sink.configure(config.master.log.format, config.master.log.level);
    if let Some((_, log)) = shell.next_log.take_if(|(p, _)| *p == plan) {
        shell.sink.reopen(log);
        share_log(shell);
    }
    failed.iter().for_each(|why| slog::warn!(shell.log, "{}", why));
    slog::info!(shell.log, "config in force"; "file" => %config.path.display(),
        "checksum" => format!("{:016x}", config.checksum));
    if shell.fleet.stage == Stage::Running {
        super::boot::announce_start(shell);
    }
    warn_of_descriptors(shell, &config);
}

/// Says once a generation which services can't have the descriptors their config counts on.
fn warn_of_descriptors(shell: &Shell, config: &Config) {
    let Ok((_, hard)) = limits::nofile() else { return };
    // The connections of programs are not held to a number.
    for service in config.services.iter().filter(|s| s.kind.exec().is_none()) {
        let Some(nofile) = service.limits.nofile else { continue };
        let may = nofile.min(hard);
        if u64::from(service.connections) >= may {
            slog::warn!(
                shell.log,
                "service {} allows {} connections a worker, but a worker has only {may} descriptors: raise \
                 limits.nofile and the hard limit (ulimit -Hn, LimitNOFILE=), or lower connections",
                service.name,
                service.connections
            );
        }
    }
}

fn open_seats(shell: &mut Shell, service: ServiceName, seats: u32) {
    let config = Arc::clone(&shell.config);
    let result = match config.services.iter().find(|s| s.name == service.0) {
        Some(found) => {
            let has = shell.fleet.services.get(&service).map_or(0, |s| s.wanted);
            let missing = shell.sockets.missing(&config, &[(service.clone(), seats)]);
            afford(missing, seats.saturating_sub(has) as usize)
                .and_then(|()| shell.sockets.open_seats(found, seats))
        }
        None => Err("it is not in the config in force".to_owned()),
    };
    shell.queue.push_back(Event::SeatsOpened { service, result });
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

fn drain(shell: &mut Shell, worker: WorkerId, order: DrainOrder) {
    let Some(handle) = shell.crew.handles.get(&worker) else { return };
    let seat = shell.fleet.workers.get(&worker).map(|w| w.seat).unwrap_or_default();
    let last_call =
        handle.service().map(|service| shell.sockets.drain(service, seat, worker)).unwrap_or_default();
    let order = Order::Drain(Drain {
        grace_ms: millis(order.grace),
        long_lived_ms: millis(order.long_lived),
        idle: order.idle,
        unready: order.why.unready(),
        last_call,
        final_stop: order.why == DrainWhy::Stop,
        why: order.why.word().to_owned(),
    });
    tell(shell, worker, &order);
}

/// Whoever serves a socket to its end, which never comes if the socket is named again meanwhile, is
/// told to leave it to its new owner: what it accepted at its own deadline would be cut.
fn release_named(shell: &mut Shell) {
    let now = now();
    let drains = |(id, w): (&WorkerId, &Worker)| Some((*id, w.drain.filter(|_| w.phase == Phase::Draining)?));
    let draining: Vec<(WorkerId, Draining)> = shell.fleet.workers.iter().filter_map(drains).collect();
    for (worker, draining) in draining {
        if !shell.sockets.holds_named(worker) {
            continue;
        }
        let plan = shell.fleet.workers.get(&worker).and_then(|w| shell.fleet.plan_of(w));
        let Some(idle) = plan.map(|p| p.idle) else { continue };
        let (grace, long_lived) = (draining.until.since(now), draining.end().since(now));
        drain(shell, worker, DrainOrder { grace, long_lived, idle, why: draining.why });
    }
    for (worker, id) in shell.sockets.end_rites() {
        tell(shell, worker, &Order::EndRites { id });
    }
}

fn kill(shell: &mut Shell, worker: WorkerId, signal: KillSignal) {
    let Some(handle) = shell.crew.handles.get(&worker) else { return };
    let number = match signal {
        KillSignal::Term => 15,
        KillSignal::Kill => 9,
    };
    if let Err(e) = handle.pidfd.send_signal(number) {
        slog::error!(shell.log, "cannot signal a worker: {}", e; "pid" => handle.pid);
    }
}

fn rescue(shell: &mut Shell, service: &ServiceName, seat: Seat, to: WorkerId) {
    let Shell { sockets, crew, log, .. } = shell;
    let Some(handle) = crew.handles.get_mut(&to) else { return };
    if let Err(e) = handle.tell(&Order::Rescue { seat }, &sockets.for_rescue(service, seat)) {
        slog::warn!(log, "cannot send a rescuer: {}", e; "pid" => handle.pid);
    }
}

fn last_rites(shell: &mut Shell, orphan: Orphan, to: Option<WorkerId>) {
    let Shell { sockets, crew, log, .. } = shell;
    let to = to.filter(|id| crew.handles.contains_key(id));
    let Rites { id, mut fds, listeners } = sockets.give_rites(&orphan, to);
    let Some(handle) = to.and_then(|id| crew.handles.get_mut(&id)) else { return };
    if !handle.is_keeper()
        && let Err(e) = modes::for_rites(&fds)
    {
        slog::warn!(log, "an orphaned listener may stay in blocking mode: {}", e; "pid" => handle.pid);
    }
    let described = listeners.map(|all| shm::sealed_bytes("masterd-rites", &serde_json::to_vec(&all)?));
    let described: Option<OwnedFd> = match described.transpose() {
        Ok(described) => described,
        Err(e) => {
            slog::warn!(log, "cannot describe an orphaned listener: {}", e; "pid" => handle.pid);
            None
        }
    };
    fds.extend(described.as_ref().map(AsFd::as_fd));
    if let Err(e) = handle.tell(&Order::LastRites { id, described: described.is_some() }, &fds) {
        slog::warn!(log, "cannot hand over an orphaned listener: {}", e; "pid" => handle.pid);
    }
}

/// The dead leave their counters; everything else of them goes.
fn forget(shell: &mut Shell, worker: WorkerId, death: bool) {
    shell.sockets.forget(worker);
    shell.talkative.remove(&worker);
    let Some(mut handle) = shell.crew.handles.remove(&worker) else { return };
    let last = handle.view.figures();
    // Just before its counters are in the totals: whoever finds the state must not add them once more,
    // nor miss them.
    crossing::keep_state(shell);
    let fleet = &shell.fleet;
    let in_use = |name: &str| fleet.services.contains_key(&ServiceName::from(name));
    if !shell.totals.fold(&handle.service.0, &last, death, &in_use) {
        slog::warn!(shell.log, "no room to keep the totals of one more service";
            "service" => %handle.service);
    }
    aftermath::sweep(shell, &handle);
    if let Err(e) = handle.pidfd.try_reap() {
        slog::warn!(shell.log, "cannot reap a worker: {}", e; "pid" => handle.pid);
    }
    if handle.is_keeper() {
        aftermath::restore_files(shell, Some((&handle.service, handle.program.unwrap_or(handle.pid))));
        aftermath::mind_modes(shell);
    }
}

/// Opens all logs anew and sends them round.
fn reopen_logs(shell: &mut Shell, client: Option<ClientId>) {
    let mut results: Vec<Result<String, String>> = reopen_log(shell).into_iter().collect();
    results.extend(access_logs::reopen(shell));
    if results.is_empty() {
        results.push(Ok("the log goes to stderr: there is nothing to reopen".to_owned()));
    }
    for result in &results {
        match result {
            Ok(text) => slog::info!(shell.log, "{}", text),
            Err(text) => slog::error!(shell.log, "{}", text),
        }
    }
    if let Some(client) = client {
        let good = results.iter().all(Result::is_ok);
        let told = results.into_iter().filter(|r| good || r.is_err()).map(|r| r.unwrap_or_else(|text| text));
        let text = told.collect::<Vec<_>>().join("; ");
        let answer = if good { Answer::good(text, shell.fleet.serving) } else { Answer::bad(text) };
        respond(shell, client, answer);
    }
}

/// What to say of it; nothing if the log is no file.
fn reopen_log(shell: &mut Shell) -> Option<Result<String, String>> {
    let path = shell.config.master.log.file.clone()?;
    let shown = path.display();
    Some(match fd::open_log(&path) {
        Ok(opened) => {
            shell.sink.reopen(opened);
            share_log(shell);
            Ok(format!("log {shown} reopened"))
        }
        Err(e) => Err(format!("cannot reopen log {shown}: {e}; the old one is kept")),
    })
}

fn share_log(shell: &mut Shell) {
    let workers: Vec<WorkerId> = shell.crew.handles.keys().copied().collect();
    match shell.sink.descriptor() {
        Ok(log) => {
            workers.into_iter().for_each(|w| tell_with(shell, w, &Order::ReopenLog, &[log.as_fd()]));
        }
        Err(e) => slog::error!(shell.log, "cannot share the log with the workers: {}", e),
    }
}

/// The last word for a waiting client.
pub fn respond(shell: &mut Shell, client: ClientId, answer: Answer) {
    let outcome = if answer.ok { Outcome::Ok } else { Outcome::Failed };
    let Answer { text, lines, generation, .. } = answer;
    shell.control.finish(client, Done { outcome, text, lines, generation }, now());
}

pub fn say(shell: &mut Shell, note: &Note) {
    let pid = note.worker.and_then(|id| shell.crew.handles.get(&id)).map(|h| h.program.unwrap_or(h.pid));
    notes::log(&shell.log, note, pid);
    shell.control.publish(&notes::event_line(note, pid), now());
    if note.level == Level::Error {
        let lines = note.lines.iter().map(|line| format!("\n{line}")).collect::<String>();
        shell.last_error = Some(note.text.clone() + &lines);
    }
    if matches!(note.event, "reload_done" | "reload_failed" | "started" | "upgrade_done") {
        let ok = note.event != "reload_failed";
        let generation = shell.fleet.last_generation.0;
        shell.totals.note_reload(shell.fleet.serving.0, clock::wall_ns(), ok, generation);
    }
}

/// The config of a plan, for those who need more than its decisions.
pub fn keep_plan(shell: &mut Shell, config: Config) -> PlanId {
    shell.last_plan = PlanId(shell.last_plan.0 + 1);
    shell.plans.insert(shell.last_plan, Arc::new(config));
    shell.last_plan
}
