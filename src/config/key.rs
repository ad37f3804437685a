//! What one row of the key table says: type, default, text, and what a reload does with the key.
//!
//! `table` holds the rows. `read` enforces type and default, `diff` reads `Reload`, `docs` turns the
//! whole row into the man page. Never: reads a config.

use std::fmt;
use std::time::Duration;

/// One key of the config.
pub(super) struct Row {
    /// Full path, tables joined by dots, arrays of tables without index: `service.http.route.path`.
    pub path: &'static str,
    pub kind: Type,
    pub default: Default,
    pub reload: Reload,
    /// Sentences for people; `key` names in backquotes.
    pub doc: &'static str,
}

impl Row {
    /// The last part of the path: the key as it is written.
    pub fn key(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// The path of the table that holds this key; empty at the top level.
    pub fn parent(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(parent, _)| parent)
    }
}

/// What a value must be.
pub(super) enum Type {
    Table,
    /// An array of tables.
    Tables,
    Text,
    /// Relative to the main file's folder.
    Path,
    /// Files to read, with `*` and `?`.
    Globs,
    Switch,
    Integer {
        min: i64,
        max: i64,
    },
    /// One of these integers.
    OneOf(&'static [i64]),
    Duration {
        min: Duration,
        max: Duration,
    },
    /// `Duration`, or zero for off.
    DurationOrOff {
        min: Duration,
        max: Duration,
    },
    Size {
        min: u64,
        max: u64,
    },
    /// `Size`, or the word "unlimited".
    SizeOrUnlimited,
    /// One of the words of an enum.
    Word(fn() -> Vec<&'static str>),
    /// Addresses, or tables with an address and options.
    Listeners,
    Address,
    /// Permission bits as octal text.
    Mode,
    /// `user`, `user:group` or `:group`, names or numbers.
    Owner,
    Workers {
        max: i64,
    },
    /// `"all"` or a number.
    Step {
        max: i64,
    },
    Affinity,
    Headers,
    /// Servers to connect to.
    Upstreams,
    /// Tables with a certificate, its key and the hosts it is for.
    Certificates,
    Hosts,
    /// A program and its arguments.
    Command,
    /// Variables and their values.
    Environment,
    /// One of three words, or a delay within these bounds.
    Ready {
        min: Duration,
        max: Duration,
    },
}

impl fmt::Display for Type {
    /// What a person may write, for the man page.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use super::values::{duration_text, size_text};
        match self {
            Type::Table => write!(f, "a table"),
            Type::Tables => write!(f, "an array of tables"),
            Type::Text => write!(f, "text"),
            Type::Path => write!(f, "a path"),
            Type::Globs => write!(f, "an array of paths, * and ? allowed"),
            Type::Switch => write!(f, "true or false"),
            Type::Integer { min, max } => write!(f, "an integer from {min} to {max}"),
            Type::OneOf(numbers) => f.write_str(&either(numbers.iter().map(i64::to_string).collect())),
            Type::Duration { min, .. } if min.is_zero() => write!(f, "a duration"),
            Type::Duration { min, .. } => write!(f, "a duration of at least \"{}\"", duration_text(*min)),
            Type::DurationOrOff { min, .. } => {
                write!(f, "a duration of at least \"{}\", or \"0s\" for off", duration_text(*min))
            }
            Type::Size { min: 0, .. } => write!(f, "a size"),
            Type::Size { min, max } => {
                write!(f, "a size from \"{}\" to \"{}\"", size_text(*min), size_text(*max))
            }
            Type::SizeOrUnlimited => write!(f, "a size, or \"unlimited\""),
            Type::Word(words) => {
                f.write_str(&either(words().iter().map(|word| format!("\"{word}\"")).collect()))
            }
            Type::Listeners => write!(f, "an array of addresses, or of tables with an address"),
            Type::Address => {
                write!(f, "\"IP:PORT\", \"udp:IP:PORT\", \"unix:PATH\" or \"unix:@NAME\"")
            }
            Type::Mode => write!(f, "permission bits as octal text, such as \"0660\""),
            Type::Owner => write!(f, "\"user\", \"user:group\" or \":group\", each a name or a number"),
            Type::Workers { max } => write!(f, "an integer from 1 to {max}, \"auto\" or {{ min, max }}"),
            Type::Step { max } => write!(f, "an integer from 1 to {max}, or \"all\""),
            Type::Affinity => write!(f, "\"auto\", \"off\", or an array of CPU numbers"),
            Type::Headers => write!(f, "a table of header names and values"),
            Type::Upstreams => {
                write!(f, "an array of \"IP:PORT\", \"NAME:PORT\", \"unix:PATH\" or \"unix:@NAME\"")
            }
            Type::Certificates => write!(f, "an array of tables with certificate, key and hosts"),
            Type::Hosts => write!(f, "an array of host names, with or without \"*.\" in front"),
            Type::Command => write!(f, "an array of text, a program and its arguments"),
            Type::Environment => write!(f, "a table of names and values"),
            Type::Ready { .. } => {
                write!(
                    f,
                    "\"accepting\", \"notify\", \"fd\", or \"delay:\" with a duration, such as \"delay:2s\""
                )
            }
        }
    }
}

/// `a, b or c`.
fn either(words: Vec<String>) -> String {
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// What holds when a key is not written.
pub(super) enum Default {
    /// This TOML value.
    Toml(&'static str),
    /// Nothing; `means` says what that comes to, `example` is a TOML value that could stand there.
    Absent { means: &'static str, example: &'static str },
    /// The key must be written.
    Required { example: &'static str },
}

/// What a reload does with a changed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reload {
    /// The master goes by it once the reload has succeeded.
    Master,
    /// The workers of the new generation have it.
    Workers,
    /// Set on the listening socket, which stays.
    Socket,
    /// It names a thing: with another value it is another thing, the old one goes, the new one comes.
    Identity,
    /// The running value stays until masterd is started anew.
    Kept,
}

impl fmt::Display for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reload::Master => "takes effect when the reload has succeeded",
            Reload::Workers => "the workers of the new generation have it",
            Reload::Socket => "set on the listening socket, which stays open",
            Reload::Identity => "another value is another thing: the old one is removed, the new one added",
            Reload::Kept => "keeps its running value, with a warning, until masterd is stopped and started",
        })
    }
}
