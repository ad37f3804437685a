//! `[master]`: who the workers run as, files, timeouts, rollout and log.
//!
//! User and group are looked up only when the master is root, since they mean nothing otherwise.

use crate::config::key::Type;
use crate::config::problem::quoted;
use crate::config::read::{Section, integer, must_be};
use crate::config::resolve::Resolver;
use crate::config::types::{Identity, Log, LogFormat, LogLevel, Master, Rollout, Sigterm};
use crate::config::values::{self, Wrong};
use std::io;
use std::time::Duration;

pub(super) fn master(section: &Section<'_>, log_section: &Section<'_>, machine: &dyn Resolver) -> Master {
    Master {
        pid_file: section.path("pid_file"),
        control_socket: section.read("control_socket", |kind, value| match value.as_str() {
            Some(text) => values::socket_path(text, section.notes.folder),
            None => Err(must_be(kind, value)),
        }),
        user: identity(section, machine),
        sigterm: section.word("sigterm").unwrap_or(Sigterm::Graceful),
        ready_timeout: section.duration("ready_timeout").unwrap_or_default(),
        max_draining_generations: section.integer("max_draining_generations").unwrap_or(1),
        rollout: rollout(&section.table("rollout")),
        watchdog: section.duration("watchdog").unwrap_or_default(),
        log: log(log_section),
        // `access_log` fills it in, together with those of the services.
        access_log: None,
    }
}

fn rollout(section: &Section<'_>) -> Rollout {
    let step = section.read("step", |kind, value| match (kind, value.as_str(), integer(value)) {
        (_, Some("all"), _) => Ok(None),
        (Type::Step { max }, _, Some(number)) if (1..=*max).contains(&number) => {
            Ok(u32::try_from(number).ok())
        }
        _ => Err(must_be(kind, value)),
    });
    Rollout { step: step.flatten(), soak: section.duration("soak").unwrap_or(Duration::ZERO) }
}

fn log(section: &Section<'_>) -> Log {
    Log {
        level: section.word("level").unwrap_or(LogLevel::Info),
        format: section.word("format").unwrap_or(LogFormat::Text),
        file: section.path("file"),
    }
}

/// `user` and `group` as ids, of the master's table or of another. Without root the workers keep the
/// master's identity.
pub(super) fn identity(section: &Section<'_>, machine: &dyn Resolver) -> Identity {
    let user = section.text("user").unwrap_or_default();
    let group = section.text("group");
    let unchanged = Identity { user: String::new(), uid: u32::MAX, group: String::new(), gid: u32::MAX };
    if !machine.is_root() {
        for key in ["user", "group"] {
            if section.has(key) {
                let sentence = format!(
                    "{} is ignored: only root can give workers another identity",
                    section.row(key).path
                );
                section.notes.warning(section.at_key(key), sentence);
            }
        }
        return unchanged;
    }
    let found_user = noted(section, "user", user_id(machine, &user));
    let found_group = group.as_ref().and_then(|group| noted(section, "group", group_id(machine, group)));
    let Some((uid, primary)) = found_user else { return unchanged };
    if primary.is_none() && group.is_none() {
        let wrong = Wrong::new(format!("{} is a number, which has no primary group", quoted(&user)));
        let hint = format!("set {} too", section.row("group").path);
        section.notes.wrong(section.at_key("user"), section.row("user"), wrong.with(hint));
    }
    Identity { user, uid, group: group.unwrap_or_default(), gid: found_group.or(primary).unwrap_or(u32::MAX) }
}

fn noted<T>(section: &Section<'_>, key: &str, result: Result<T, Wrong>) -> Option<T> {
    let row = section.row(key);
    let note = |wrong: Wrong| {
        let wrong = if section.has(key) {
            wrong
        } else {
            wrong.with(format!("set {} to one that there is", row.path))
        };
        section.notes.wrong(section.at_key(key), row, wrong);
    };
    result.map_err(note).ok()
}

/// The id, and the primary group where the user has an entry, of a user's name or number.
pub(super) fn user_id(machine: &dyn Resolver, user: &str) -> Result<(u32, Option<u32>), Wrong> {
    match numeric(user) {
        Some(uid) => Ok((uid?, None)),
        None => looked_up("user", user, machine.user(user)).map(|(uid, gid)| (uid, Some(gid))),
    }
}

/// The id of a group's name or number.
pub(super) fn group_id(machine: &dyn Resolver, group: &str) -> Result<u32, Wrong> {
    numeric(group).unwrap_or_else(|| looked_up("group", group, machine.group(group)))
}

/// Text of digits only is an id; the largest one means "unchanged" to the kernel and is none.
fn numeric(text: &str) -> Option<Result<u32, Wrong>> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let parsed = || text.parse().ok().filter(|id| *id != u32::MAX);
    digits.then(|| parsed().ok_or_else(|| Wrong::new(format!("{} is too large for an id", quoted(text)))))
}

fn looked_up<T>(what: &str, name: &str, answer: io::Result<Option<T>>) -> Result<T, Wrong> {
    if name.is_empty() || name.contains('\0') {
        return Err(Wrong::new(format!("{} is no {what} name", quoted(name))));
    }
    match answer {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(Wrong::new(format!("there is no {what} {} on this machine", quoted(name)))),
        Err(error) => Err(Wrong::new(format!("the {what} {} cannot be looked up: {error}", quoted(name)))),
    }
}
