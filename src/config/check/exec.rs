//! `service.exec`: which program, with what arguments and variables, and when it counts as ready.
//!
//! Where the program is, is `program`'s; what a token is, `tokens`'s. What a program can't have of the other
//! keys of its service is noted by those who read them, and `note_ignored` for keys that come to nothing.

use super::{folder, listen, master};
use crate::config::key::Type;
use crate::config::notes::At;
use crate::config::problem::quoted;
use crate::config::program;
use crate::config::read::{Section, must_be};
use crate::config::resolve::Resolver;
use crate::config::suggest;
use crate::config::tokens::{Token, tokens_in};
use crate::config::types::{Exec, Identity, Output, Program, Readiness};
use crate::config::values::{self, Wrong};
use crate::config::words::{self, stop_signals};
use std::path::PathBuf;
use std::time::Duration;
use toml::de::DeValue;

/// A text of the config and its place.
type Written = (At, String);

/// What a program's keys are compared with.
pub(super) struct Around<'a> {
    /// The names of its service's listeners; `None` if not all are known.
    pub listeners: Option<&'a [&'a str]>,
    /// The master's.
    pub ready_timeout: Duration,
}

/// The program of a service, if it can be started.
pub(super) fn exec(section: &Section<'_>, around: &Around<'_>, machine: &dyn Resolver) -> Option<Exec> {
    let ready = section.read("ready", readiness);
    let (command, env) = (command(section), env(section));
    let texts = texts(command.as_deref(), &env.variables);
    note_tokens(section, &texts, ready, around.listeners);
    note_late(section, ready, around.ready_timeout);
    if command.is_some() && env.whole {
        note_untold(section, &texts, ready);
    }
    let found = program(section, command.as_deref(), &env, machine);
    let directory = directory(section, machine);
    let stop_signal = section.read("stop_signal", stop_signal);
    let output = section.word("output").unwrap_or(Output::Log);
    let nonblocking = section.switch("nonblocking").unwrap_or_default();
    let umask = listen::bits(section, "umask");
    let watchdog = section.duration("watchdog").unwrap_or_default();
    let user = user(section, machine);
    // Only now, so that everything that is wrong has been noted.
    let ((command, program), directory, ready, stop_signal) = (found?, directory?, ready?, stop_signal?);
    let variables = env.whole.then_some(env.variables)?.into_iter();
    let env = variables.map(|(name, (_, value))| (name, value)).collect();
    Some(Exec {
        command,
        program,
        directory,
        env,
        ready,
        stop_signal,
        output,
        nonblocking,
        umask,
        watchdog,
        user,
    })
}

/// Notes keys of a `[[service]]` with a program that are written for nothing.
pub(super) fn note_ignored(service: &Section<'_>, drain: &Section<'_>) {
    for (section, key, why) in [
        (service, "connections", "masterd can't hold a program to it; give the program a limit of its own"),
        (drain, "idle", "what becomes of its idle connections is the program's business"),
        (drain, "long_lived_grace", "masterd can't tell which connections of a program are meant to last"),
    ] {
        if section.has(key) {
            let message = format!("{} is ignored: {why}", section.row(key).path);
            section.notes.warning(section.at_key(key), message);
        }
    }
}

/// Notes a delay within which no generation can become ready.
fn note_late(section: &Section<'_>, ready: Option<Readiness>, timeout: Duration) {
    // A timeout of zero stands for one that is wrong, which has been noted.
    if let Some(Readiness::Delay(delay)) = ready
        && delay >= timeout
        && !timeout.is_zero()
    {
        let [delay, timeout] = [delay, timeout].map(values::duration_text);
        let wrong = Wrong::new(format!(
            "{delay} are not less than master.ready_timeout, {timeout}: no generation would ever be ready"
        ));
        let hint = "wait less, or allow more";
        section.notes.wrong(section.at_key("ready"), section.row("ready"), wrong.with(hint));
    }
}

/// The program and its arguments as they are written; `None` if something is wrong with them.
fn command(section: &Section<'_>) -> Option<Vec<Written>> {
    let row = section.row("command");
    let Some((at, value)) = section.find("command") else {
        // Notes that the key is missing.
        return section.read("command", |_, _| Ok(Vec::new()));
    };
    let elements = section.elements("command");
    if elements.is_empty() {
        if value.is_array() {
            section.notes.wrong(at, row, Wrong::new("it is empty; its first text names the program"));
        }
        return None;
    }
    let text = |(index, (at, element)): (usize, (At, &DeValue<'_>))| {
        let wrong = match element.as_str() {
            Some(text) if text.contains('\0') => Wrong::new(format!("{} holds a NUL", quoted(text))),
            Some("") if index == 0 => Wrong::new("its first text names the program, and is empty"),
            Some(text) => return Some((at, text.to_owned())),
            None => must_be(&row.kind, element),
        };
        section.notes.wrong(at, row, wrong);
        None
    };
    let texts: Vec<Option<Written>> = elements.into_iter().enumerate().map(text).collect();
    texts.into_iter().collect()
}

/// The command, its program as an absolute path if it is one, and the file that it is.
fn program(
    section: &Section<'_>,
    command: Option<&[Written]>,
    env: &Env,
    machine: &dyn Resolver,
) -> Option<(Vec<String>, Program)> {
    let ((at, name), arguments) = command?.split_first()?;
    if !env.path_known && !name.contains('/') {
        return None;
    }
    let path = env.variables.iter().find(|(name, _)| name == "PATH").map(|(_, (_, value))| value.as_str());
    let folder = section.notes.folder;
    let found = match tokens_in(name).next() {
        Some(token) => Err(Wrong::new(format!(
            "the program is looked up when the config is read, and what {token} stands for is not known then"
        ))
        .with("write the program's own name")),
        None => program::find(name, path, folder, machine),
    };
    let program = found.map_err(|wrong| section.notes.wrong(*at, section.row("command"), wrong)).ok()?;
    let first = match name.contains('/') {
        true => values::absolute(name, folder).ok()?.to_string_lossy().into_owned(),
        false => name.clone(),
    };
    let command = std::iter::once(first).chain(arguments.iter().map(|(_, text)| text.clone())).collect();
    Some((command, program))
}

fn directory(section: &Section<'_>, machine: &dyn Resolver) -> Option<PathBuf> {
    let wanted = match section.has("directory") {
        true => section.path("directory")?,
        false => section.notes.folder.to_owned(),
    };
    let found = folder(&wanted, "name the folder that the program is to run in", machine);
    let note = |wrong| section.notes.wrong(section.at_key("directory"), section.row("directory"), wrong);
    found.map_err(note).ok()
}

/// Its variables, as far as nothing is wrong with them.
#[derive(Default)]
struct Env {
    /// In the order written.
    variables: Vec<(String, Written)>,
    /// Nothing is wrong with any.
    whole: bool,
    /// Nor with PATH, or there is none.
    path_known: bool,
}

fn env(section: &Section<'_>) -> Env {
    let row = section.row("env");
    let Some((table_at, value)) = section.find("env") else {
        return Env { whole: true, path_known: true, ..Env::default() };
    };
    let Some(table) = value.as_table() else {
        section.notes.wrong(table_at, row, must_be(&row.kind, value));
        return Env::default();
    };
    let (mut found, mut path_known) = (Vec::new(), true);
    for (name, value) in table.iter() {
        let at = |offset: usize| At { offset, ..table_at };
        let (name_at, value_at) = (at(name.span().start), at(value.span().start));
        match variable(name.get_ref(), value.get_ref()) {
            Ok(text) => found.push((name.get_ref().to_string(), (value_at, text.to_owned()))),
            Err(wrong) => {
                path_known &= name.get_ref() != "PATH";
                section.notes.wrong(name_at, row, wrong);
            }
        }
    }
    found.sort_by_key(|(_, (at, _))| *at);
    Env { whole: found.len() == table.len(), variables: found, path_known }
}

/// What masterd says to a program in variables, and why nobody else may.
fn reserved(name: &str) -> Option<&'static str> {
    match name {
        "LISTEN_FDS" | "LISTEN_PID" | "LISTEN_FDNAMES" | "LISTEN_PIDFDID" => {
            Some("masterd sets it, or leaves it out where {fd} or {addr} is used")
        }
        "NOTIFY_SOCKET" => Some("masterd sets it, to hear from the program"),
        "WATCHDOG_USEC" | "WATCHDOG_PID" => Some("masterd sets it where there is a service.exec.watchdog"),
        _ if name.starts_with("MASTERD_") => Some("names that begin with MASTERD_ are masterd's own"),
        _ => None,
    }
}

/// The value of a variable.
fn variable<'v>(name: &str, value: &'v DeValue<'_>) -> Result<&'v str, Wrong> {
    let shown = quoted(name);
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(Wrong::new(format!("{shown} can't be the name of a variable")));
    }
    if let Some(why) = reserved(name) {
        return Err(Wrong::new(format!("{shown} can't be set: {why}")).with("leave it out"));
    }
    match value.as_str() {
        None => {
            Err(Wrong::new(format!("the value of {shown} is not text")).with("put it into quotation marks"))
        }
        Some(text) if text.contains('\0') => Err(Wrong::new(format!("the value of {shown} holds a NUL"))),
        Some(text) => Ok(text),
    }
}

/// The texts in which tokens are replaced, each with its key.
fn texts<'t>(
    command: Option<&'t [Written]>,
    variables: &'t [(String, Written)],
) -> Vec<(&'static str, &'t Written)> {
    let arguments = command.into_iter().flatten().skip(1).map(|written| ("command", written));
    arguments.chain(variables.iter().map(|(_, written)| ("env", written))).collect()
}

/// Notes tokens that name no listener, and those of a readiness that was not asked for.
fn note_tokens(
    section: &Section<'_>,
    texts: &[(&'static str, &Written)],
    ready: Option<Readiness>,
    listeners: Option<&[&str]>,
) {
    for (key, (at, text)) in texts {
        for wrong in tokens_in(text).filter_map(|token| token_fault(token, ready, listeners)) {
            section.notes.wrong(*at, section.row(key), wrong);
        }
    }
}

/// Notes that a program is to write to a descriptor of which nobody tells it.
fn note_untold(section: &Section<'_>, texts: &[(&'static str, &Written)], ready: Option<Readiness>) {
    let told = texts.iter().any(|(_, (_, text))| tokens_in(text).any(|token| token == Token::ReadyFd));
    if ready == Some(Readiness::Fd) && !told {
        let wrong =
            Wrong::new("the program is not told where to write").with("use {ready_fd} in command or env");
        section.notes.wrong(section.at_key("ready"), section.row("ready"), wrong);
    }
}

fn token_fault(token: Token<'_>, ready: Option<Readiness>, listeners: Option<&[&str]>) -> Option<Wrong> {
    match token {
        Token::Fd(Some(name)) | Token::Addr(Some(name)) => {
            let known = listeners.filter(|known| !known.contains(&name))?;
            let wrong = Wrong::new(format!("{token} names no listener of this service"));
            let all =
                || format!("they are {}", known.iter().map(|n| quoted(n)).collect::<Vec<_>>().join(", "));
            Some(wrong.with(suggest::did_you_mean(name, known.iter().copied()).unwrap_or_else(all)))
        }
        Token::ReadyFd if ready.is_some_and(|ready| ready != Readiness::Fd) => {
            let wrong = Wrong::new("without ready = \"fd\" there is no {ready_fd}");
            Some(wrong.with("set ready to \"fd\", or leave {ready_fd} out"))
        }
        Token::Fd(None) | Token::Addr(None) | Token::Seat | Token::Generation | Token::ReadyFd => None,
    }
}

fn readiness(kind: &Type, value: &DeValue<'_>) -> Result<Readiness, Wrong> {
    let text = value.as_str().ok_or_else(|| must_be(kind, value))?;
    match (text, text.strip_prefix("delay:")) {
        ("accepting", _) => Ok(Readiness::Accepting),
        ("notify", _) => Ok(Readiness::Notify),
        ("fd", _) => Ok(Readiness::Fd),
        (_, Some(delay)) => match (values::duration(delay)?, kind) {
            (delay, Type::Ready { min, max }) if (min..=max).contains(&&delay) => Ok(Readiness::Delay(delay)),
            _ => Err(must_be(kind, value)),
        },
        _ => {
            let mut wrong = must_be(kind, value);
            wrong.hint = suggest::did_you_mean(text, ["accepting", "notify", "fd"]);
            Err(wrong)
        }
    }
}

fn stop_signal(kind: &Type, value: &DeValue<'_>) -> Result<i32, Wrong> {
    let text = value.as_str().ok_or_else(|| must_be(kind, value))?;
    let bare = text.strip_prefix("SIG").unwrap_or(text);
    let mut wrong = must_be(kind, value);
    wrong.hint = suggest::did_you_mean(bare, stop_signals());
    words::stop_signal(bare).ok_or(wrong)
}

/// `user` and `group`, where the master can give them.
fn user(section: &Section<'_>, machine: &dyn Resolver) -> Option<Identity> {
    if !section.has("user") {
        if section.has("group") {
            let wrong = Wrong::new("a group goes with a user").with("set service.exec.user too");
            section.notes.wrong(section.at_key("group"), section.row("group"), wrong);
        }
        return None;
    }
    let identity = master::identity(section, machine);
    machine.is_root().then_some(identity)
}
