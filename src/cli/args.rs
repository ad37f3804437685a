//! The command line: what may be typed, and what it means.
//!
//! `parse` is called once by `main` and gives an `Invocation`; wrong usage and `--help` never come
//! back (exit status 2 and 0). clap's types stay in here, except the
//! `command()` that completions and the manual's test walk.
//! Never: reads a config, asks a master, looks at the environment.

use super::find::Whereabouts;
use crate::model::ServiceName;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// What was asked for, checked: `main` matches on it and does nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invocation {
    /// Be the master.
    Run { config: PathBuf, daemon: bool },
    /// Check a config (`-t`), and with `show` print it resolved (`-T`).
    Check { config: PathBuf, show: bool },
    /// Signal the running master (`-s`) and do not wait.
    Signal { word: SignalWord, at: Whereabouts },
    /// Ask the running master over its control socket.
    Client { verb: Verb, at: Whereabouts },
    /// Print a completion script.
    Completions { shell: Shell },
    /// Tell which version this is, and which one serves.
    Version { at: Whereabouts },
}

/// The words of `-s`; each is a row of `sys::signal::TABLE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SignalWord {
    /// New generation from the config as it is now (HUP)
    Reload,
    /// Replace the program by the binary that is there now (USR2)
    Upgrade,
    /// Graceful stop (QUIT)
    Quit,
    /// Stop as the config's `sigterm` says (TERM)
    Stop,
    /// Open the log files again (USR1)
    Reopen,
}

impl SignalWord {
    /// The word as typed, which is also the key into the signal table.
    pub fn word(self) -> &'static str {
        match self {
            SignalWord::Reload => "reload",
            SignalWord::Upgrade => "upgrade",
            SignalWord::Quit => "quit",
            SignalWord::Stop => "stop",
            SignalWord::Reopen => "reopen",
        }
    }
}

/// The shells a completion script can be had for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// What a client can ask for.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Verb {
    /// Show the master, its services, listeners and workers
    Status {
        /// Only this service
        #[arg(value_parser = service_name)]
        service: Option<ServiceName>,
        /// Print the document as JSON
        #[arg(long)]
        json: bool,
        /// Show it again every second
        #[arg(long)]
        watch: bool,
        /// List the open connections of each worker
        #[arg(long)]
        connections: bool,
    },
    /// Start a new generation from the config as it is now, and wait for the verdict
    Reload {
        /// Only this service; refused if other services differ in the file
        #[arg(value_parser = service_name)]
        service: Option<ServiceName>,
        /// Tell what would change, restart or be ignored, and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Wait until the old generation is gone, too
        #[arg(long, conflicts_with = "dry_run")]
        drained: bool,
    },
    /// Replace the running program by another binary, and wait for the verdict
    Upgrade {
        /// The new program; else where the running one was started from
        #[arg(long, value_name = "PATH")]
        binary: Option<PathBuf>,
        /// Wait until the old generation is gone, too
        #[arg(long)]
        drained: bool,
    },
    /// Stop the master: let requests and connections end first, and wait for it
    Stop {
        /// Close connections at once
        #[arg(long)]
        fast: bool,
    },
    /// Run N workers of a service until the next reload
    Scale {
        #[arg(value_parser = service_name)]
        service: ServiceName,
        /// How many workers
        #[arg(value_name = "N")]
        workers: u32,
    },
    /// Drain the workers of one service or all; the listeners stay
    Drain {
        /// Only this service
        #[arg(value_parser = service_name)]
        service: Option<ServiceName>,
    },
    /// Bring the workers back after a drain
    Resume {
        /// Only this service
        #[arg(value_parser = service_name)]
        service: Option<ServiceName>,
    },
    /// Open the log files again, after they were rotated
    Reopen,
    /// Follow what the master does, one JSON object a line
    Events,
}

/// All words that may stand where a verb does.
#[derive(Debug, Subcommand)]
enum Word {
    #[command(flatten)]
    Client(Verb),
    /// Print a completion script for a shell
    Completions {
        #[arg(value_enum)]
        shell: Shell,
    },
}

/// Serves with a pool of workers, and reloads, scales and stops them without dropping a connection.
#[derive(Debug, Parser)]
#[command(name = "masterd", disable_help_subcommand = true)]
struct Typed {
    /// The config file: to run, to check, or to find the running master by
    #[arg(short = 'c', value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The control socket of the running master
    #[arg(long, value_name = "PATH", global = true)]
    socket: Option<PathBuf>,
    /// Detach, and return when the first generation is ready (needs `log.file`)
    #[arg(long, conflicts_with_all = ["check", "show", "signal"])]
    daemon: bool,
    /// Check the config and exit: every error is printed, nothing is bound or opened
    #[arg(short = 't')]
    check: bool,
    /// Check the config and print it resolved
    #[arg(short = 'T')]
    show: bool,
    /// Signal the running master and do not wait
    #[arg(short = 's', value_name = "WORD", value_enum, conflicts_with_all = ["check", "show"])]
    signal: Option<SignalWord>,
    /// Print name and version, and those of the running master if there is one
    #[arg(short = 'V', long)]
    version: bool,
    #[command(subcommand)]
    word: Option<Word>,
}

/// Parses the arguments of this process. Wrong usage prints why and exits with status 2.
pub fn parse() -> Invocation {
    parse_from(std::env::args_os()).unwrap_or_else(|error| error.exit())
}

/// Parses `args`, the program's name first.
///
/// # Errors
/// clap's own, which knows how to print itself and its exit status; `--help` too.
pub fn parse_from<I>(args: I) -> Result<Invocation, clap::Error>
where
    I: IntoIterator,
    I::Item: Into<OsString> + Clone,
{
    let typed = Typed::try_parse_from(args)?;
    if typed.version {
        let Typed { socket, config, .. } = typed;
        return Ok(Invocation::Version { at: Whereabouts { socket, config } });
    }
    match typed.word {
        Some(_) if typed.check || typed.show || typed.daemon || typed.signal.is_some() => {
            Err(wrong("-t, -T, -s and --daemon do not go with a command"))
        }
        Some(Word::Completions { shell }) => Ok(Invocation::Completions { shell }),
        Some(Word::Client(verb)) => {
            let at = Whereabouts { socket: typed.socket, config: typed.config };
            Ok(Invocation::Client { verb, at })
        }
        None => without_verb(typed),
    }
}

fn without_verb(typed: Typed) -> Result<Invocation, clap::Error> {
    let Typed { config, socket, daemon, check, show, signal, .. } = typed;
    if let Some(word) = signal {
        return Ok(Invocation::Signal { word, at: Whereabouts { socket, config } });
    }
    if socket.is_some() {
        return Err(wrong("--socket finds a running master and so needs a command or -s"));
    }
    match config {
        Some(config) if check || show => Ok(Invocation::Check { config, show }),
        Some(config) => Ok(Invocation::Run { config, daemon }),
        None if check || show => Err(wrong("-t and -T check a config: name it with -c FILE")),
        None => Err(wrong("name a config to run with -c FILE, or a command for the running master")),
    }
}

fn wrong(sentence: &str) -> clap::Error {
    Typed::command().error(ErrorKind::ArgumentConflict, sentence)
}

/// The names a config may give a service; anything else can be refused without asking the master.
fn service_name(text: &str) -> Result<ServiceName, String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if (1..=63).contains(&text.len()) && text.chars().all(legal) {
        Ok(ServiceName::from(text))
    } else {
        Err("a service's name has 1 to 63 letters, digits, '-', '_' and '.'".to_owned())
    }
}

/// The whole command line as clap knows it.
pub fn command() -> clap::Command {
    Typed::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Invocation, clap::Error> {
        parse_from(line.split_whitespace().map(str::to_owned))
    }

    fn good(line: &str) -> Invocation {
        parsed(line).unwrap_or_else(|e| panic!("{line}: {e}"))
    }

    fn at(socket: Option<&str>, config: Option<&str>) -> Whereabouts {
        Whereabouts { socket: socket.map(PathBuf::from), config: config.map(PathBuf::from) }
    }

    #[test]
    fn clap_finds_no_fault_in_the_definitions() {
        command().debug_assert();
    }

    #[test]
    fn without_a_verb_it_runs_checks_or_signals() {
        let config = PathBuf::from("a.toml");
        assert_eq!(good("masterd -c a.toml"), Invocation::Run { config: config.clone(), daemon: false });
        assert_eq!(
            good("masterd --daemon -c a.toml"),
            Invocation::Run { config: config.clone(), daemon: true }
        );
        assert_eq!(good("masterd -t -c a.toml"), Invocation::Check { config: config.clone(), show: false });
        assert_eq!(good("masterd -T -c a.toml"), Invocation::Check { config: config.clone(), show: true });
        assert_eq!(good("masterd -tc a.toml"), Invocation::Check { config, show: false });
        let word = SignalWord::Quit;
        assert_eq!(
            good("masterd -s quit -c a.toml"),
            Invocation::Signal { word, at: at(None, Some("a.toml")) }
        );
    }

    #[test]
    fn config_and_socket_stand_before_or_after_the_verb() {
        let verb = Verb::Reload { service: None, dry_run: false, drained: true };
        let expected = Invocation::Client { verb, at: at(Some("/s"), Some("a.toml")) };
        assert_eq!(good("masterd -c a.toml --socket /s reload --drained"), expected);
        assert_eq!(good("masterd reload --drained -c a.toml --socket /s"), expected);
        assert_eq!(good("masterd --socket /s reload -c a.toml --drained"), expected);
    }

    #[test]
    fn every_verb_is_read() {
        let web = || Some(ServiceName::from("web"));
        let cases = [
            ("status", Verb::Status { service: None, json: false, watch: false, connections: false }),
            (
                "status web --json --watch --connections",
                Verb::Status { service: web(), json: true, watch: true, connections: true },
            ),
            ("reload web --dry-run", Verb::Reload { service: web(), dry_run: true, drained: false }),
            ("upgrade", Verb::Upgrade { binary: None, drained: false }),
            (
                "upgrade --binary new/masterd --drained",
                Verb::Upgrade { binary: Some("new/masterd".into()), drained: true },
            ),
            ("stop", Verb::Stop { fast: false }),
            ("stop --fast", Verb::Stop { fast: true }),
            ("scale web 4", Verb::Scale { service: ServiceName::from("web"), workers: 4 }),
            ("drain", Verb::Drain { service: None }),
            ("drain web", Verb::Drain { service: web() }),
            ("resume web", Verb::Resume { service: web() }),
            ("reopen", Verb::Reopen),
            ("events", Verb::Events),
        ];
        for (line, verb) in cases {
            assert_eq!(
                good(&format!("masterd {line}")),
                Invocation::Client { verb, at: at(None, None) },
                "{line}"
            );
        }
        assert_eq!(good("masterd completions fish"), Invocation::Completions { shell: Shell::Fish });
    }

    #[test]
    fn wrong_usage_is_status_two() {
        for line in [
            "masterd",
            "masterd -t",
            "masterd -T",
            "masterd --daemon",
            "masterd --socket /s",
            "masterd --socket /s -c a.toml",
            "masterd -t -c a.toml status",
            "masterd -s reload status",
            "masterd --daemon -c a.toml stop",
            "masterd --daemon -t -c a.toml",
            "masterd -s",
            "masterd upgrade /new/masterd",
            "masterd scale web",
            "masterd scale web -1",
            "masterd scale web many",
            "masterd status we/b",
            "masterd reload --dry-run --drained",
            "masterd completions tcsh",
            "masterd help",
        ] {
            let error = parsed(line).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}: {error}");
        }
    }

    #[test]
    fn help_is_status_zero_and_version_goes_before_all() {
        assert_eq!(good("masterd --version"), Invocation::Version { at: at(None, None) });
        assert_eq!(good("masterd -V -c a.toml"), Invocation::Version { at: at(None, Some("a.toml")) });
        for verb in command().get_subcommands() {
            let error = parsed(&format!("masterd {} --help", verb.get_name())).unwrap_err();
            assert_eq!(error.exit_code(), 0, "{}", verb.get_name());
        }
    }
}
