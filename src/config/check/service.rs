//! One `[[service]]`: its pool, limits, drain and restart rules. Listeners and what its workers do
//! have files of their own.

use super::{Found, exec, http, listen, name, tcp};
use crate::config::key::Type;
use crate::config::notes::At;
use crate::config::read::{Section, integer, must_be};
use crate::config::resolve::Resolver;
use crate::config::types::{Affinity, Drain, Idle, Kind, Limits, Listen, Pool, Restart, Service};
use crate::config::values::{self, Wrong};
use std::time::Duration;
use toml::de::DeValue;

/// `ready_timeout` is the master's.
pub(super) fn service(section: &Section<'_>, ready_timeout: Duration, machine: &dyn Resolver) -> Found {
    let name = name(section).unwrap_or_default();
    let (listen, listen_at): (Vec<Listen>, Vec<At>) =
        listen::listeners(section, &name, machine).into_iter().unzip();
    let workers = workers(section, machine);
    let connections = section.integer("connections").unwrap_or(1);
    let drain_section = section.table("drain");
    let has_program = section.has("exec");
    let built_in = if has_program { None } else { Some((NOFILE, connections)) };
    if has_program {
        exec::note_ignored(section, &drain_section);
    }
    let service = Service {
        workers,
        connections,
        drain: drain(&drain_section),
        restart: restart(&section.table("restart")),
        limits: limits(&section.table("limits"), built_in, machine),
        kind: kind(section, &listen, ready_timeout, machine),
        // `access_log` fills it in, together with the master's.
        access_log: None,
        listen,
        name,
    };
    Found { service, name_at: section.at_key("name"), listen_at }
}

/// What its workers do; of what is written, all is checked.
fn kind(section: &Section<'_>, listen: &[Listen], ready_timeout: Duration, machine: &dyn Resolver) -> Kind {
    let http = section.has("http").then(|| Kind::Http(http::http(&section.table("http"), machine)));
    let tcp = section.has("tcp").then(|| Kind::Tcp(tcp::tcp(&section.table("tcp"))));
    let exec = section.has("exec").then(|| program(section, listen, ready_timeout, machine));
    let written = [("http", http), ("tcp", tcp), ("exec", exec)].into_iter();
    let (keys, mut kinds): (Vec<&str>, Vec<Kind>) = written.filter_map(|(k, kind)| Some((k, kind?))).unzip();
    match keys[..] {
        [_] => {}
        [.., last] => {
            let message = format!(
                "a service has exactly one of http, tcp and exec; this one has {}",
                keys.join(" and ")
            );
            let hint = "make them services of their own, each with its addresses".to_owned();
            section.notes.error(section.at_key(last), message, Some(hint));
        }
        [] => {
            let message = "[[service]] does not say what its workers do";
            let hint = "add http = { route = [...] }, tcp = { proxy = { upstream = [...] } } or exec = { command = [...] }";
            section.notes.error(section.at, message, Some(hint.to_owned()));
        }
    }
    kinds.pop().unwrap_or_else(nothing)
}

/// What stands for a kind that is missing or of no use, which has been noted.
fn nothing() -> Kind {
    Kind::Http(http::nothing())
}

fn program(
    section: &Section<'_>,
    listen: &[Listen],
    ready_timeout: Duration,
    machine: &dyn Resolver,
) -> Kind {
    let names: Vec<&str> = listen.iter().map(|listen| listen.name.as_str()).collect();
    // A listener that is wrong has been noted; that it is missing is not to be said as well.
    let written = section.find("listen").and_then(|(_, value)| Some(value.as_array()?.len()));
    let listeners = (written == Some(names.len())).then_some(names.as_slice());
    let around = exec::Around { listeners, ready_timeout };
    let exec = exec::exec(&section.table("exec"), &around, machine);
    exec.map_or_else(nothing, |exec| Kind::Exec(Box::new(exec)))
}

fn workers(section: &Section<'_>, machine: &dyn Resolver) -> Pool {
    if let Some((at, value @ DeValue::Table(_))) = section.find("workers") {
        return section.as_table("workers", at, value).map_or(Pool::Fixed(1), |bounds| range(&bounds));
    }
    let number = section.read("workers", |kind, value| match (kind, value.as_str(), integer(value)) {
        (Type::Workers { max }, Some("auto"), _) => Ok((cpus(machine)?.len() as i64).clamp(1, *max)),
        (Type::Workers { max }, _, Some(number)) if (1..=*max).contains(&number) => Ok(number),
        _ => Err(must_be(kind, value)),
    });
    Pool::Fixed(number.and_then(|n| u32::try_from(n).ok()).unwrap_or(1))
}

fn range(bounds: &Section<'_>) -> Pool {
    let (min, max) = (bounds.integer("min"), bounds.integer("max"));
    if let (Some(min), Some(max)) = (min, max)
        && max < min
    {
        let message = format!("service.workers.max: {max} is below min, {min}");
        bounds.notes.error(bounds.at_key("max"), message, None);
    }
    Pool::Range { min: min.unwrap_or(1), max: max.unwrap_or(1) }
}

fn cpus(machine: &dyn Resolver) -> Result<Vec<usize>, Wrong> {
    machine.cpus().map_err(|error| Wrong::new(format!("the CPUs of this machine cannot be counted: {error}")))
}

/// `long_lived_grace` where it is not written and `grace` is not longer.
const LONG_LIVED: Duration = Duration::from_secs(300);

fn drain(section: &Section<'_>) -> Drain {
    let grace = section.duration("grace").unwrap_or_default();
    let long_lived = section.duration("long_lived_grace");
    if let Some(long) = long_lived.filter(|long| *long < grace) {
        let [long, grace] = [long, grace].map(values::duration_text);
        let message = format!("service.drain.long_lived_grace: \"{long}\" is below grace, \"{grace}\"");
        section.notes.error(section.at_key("long_lived_grace"), message, None);
    }
    Drain {
        grace,
        long_lived_grace: long_lived.unwrap_or(LONG_LIVED).max(grace),
        delay: section.duration("delay").unwrap_or_default(),
        idle: section.word("idle").unwrap_or(Idle::Announce),
    }
}

fn restart(section: &Section<'_>) -> Restart {
    let (min, max) = (section.duration("backoff_min"), section.duration("backoff_max"));
    if let (Some(min), Some(max)) = (min, max)
        && max < min
    {
        let [min, max] = [min, max].map(values::duration_text);
        // Only one of the two may be written: point at that one.
        let key = if section.has("backoff_max") { "backoff_max" } else { "backoff_min" };
        let message = format!("service.restart: backoff_max, \"{max}\", is below backoff_min, \"{min}\"");
        section.notes.error(section.at_key(key), message, None);
    }
    Restart {
        backoff_min: min.unwrap_or_default(),
        backoff_max: max.unwrap_or_default(),
        give_up: section.integer("give_up").unwrap_or_default(),
        max_requests: section.integer("max_requests").unwrap_or_default(),
        max_memory: section.size("max_memory").unwrap_or_default(),
        max_age: section.duration("max_age").unwrap_or_default(),
    }
}

/// Open files of a built-in worker where nothing else is said.
const NOFILE: u64 = 65_536;

/// `built_in` is the default of `nofile` and the worker's connections; a program has what masterd was started with.
fn limits(section: &Section<'_>, built_in: Option<(u64, u32)>, machine: &dyn Resolver) -> Limits {
    let nofile = section.integer("nofile").or(built_in.map(|(nofile, _)| nofile));
    if let (Some(nofile), Some((_, connections))) = (nofile, built_in)
        && u64::from(connections) > nofile
    {
        let message = format!(
            "service.limits.nofile: with {nofile} open files a worker never reaches its {connections} connections"
        );
        section.notes.warning(section.at_key("nofile"), message);
    }
    let nice = section.integer("nice").unwrap_or_default();
    if nice < 0 && !machine.is_root() {
        section.notes.warning(
            section.at_key("nice"),
            format!(
                "service.limits.nice: {nice} usually needs root; without the right to it no worker starts"
            ),
        );
    }
    let core = section.read("core", |kind, value| match value.as_str() {
        Some("unlimited") => Ok(None),
        Some(text) => values::size(text).map(Some),
        None => Err(must_be(kind, value)),
    });
    Limits { nofile, core: core.flatten(), cpu_affinity: affinity(section, machine), nice }
}

fn affinity(section: &Section<'_>, machine: &dyn Resolver) -> Affinity {
    let affinity = section.read("cpu_affinity", |kind, value| match value {
        DeValue::String(word) if word == "auto" => Ok(Affinity::Auto),
        DeValue::String(word) if word == "off" => Ok(Affinity::Off),
        DeValue::Array(array) => {
            let numbers =
                array.iter().map(|element| integer(element.get_ref()).and_then(|n| usize::try_from(n).ok()));
            match numbers.collect::<Option<Vec<usize>>>() {
                Some(wanted) if !wanted.is_empty() => these_cpus(wanted, &cpus(machine)?),
                _ => Err(must_be(kind, value)),
            }
        }
        _ => Err(must_be(kind, value)),
    });
    affinity.unwrap_or(Affinity::Off)
}

fn these_cpus(mut wanted: Vec<usize>, allowed: &[usize]) -> Result<Affinity, Wrong> {
    if let Some(cpu) = wanted.iter().find(|cpu| !allowed.contains(cpu)) {
        let list: Vec<String> = allowed.iter().map(usize::to_string).collect();
        return Err(Wrong::new(format!("CPU {cpu} is not one that masterd may use"))
            .with(format!("these are: {}", list.join(", "))));
    }
    wanted.sort_unstable();
    wanted.dedup();
    Ok(Affinity::Cpus(wanted))
}
