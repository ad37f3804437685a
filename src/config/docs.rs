//! The key table as text for people: the man page and the reference in the sample config.
//!
//! Both are checked in, and tests hold that they are what this file makes of the table
//! (`MASTERD_BLESS=1` rewrites them). Never: says a default, a bound or an effect of its own.

use super::key::{Default, Reload, Row, Type};
use super::table::{row, rows};

/// The tables that have a heading of their own; keys of all others are written with dots.
const HEADED: [&str; 8] = [
    "",
    "master",
    "service",
    "service.listen",
    "service.http",
    "service.http.route",
    "service.tcp",
    "service.exec",
];

/// The heading under which a key stands.
fn heading(path: &str) -> &'static str {
    let below = |headed: &&str| {
        headed.is_empty() || path.strip_prefix(headed).is_some_and(|rest| rest.starts_with('.'))
    };
    HEADED.into_iter().rev().find(below).unwrap_or("")
}

/// The key as it is written under its heading: `drain.grace`.
fn written(row: &Row) -> &'static str {
    row.path.strip_prefix(heading(row.path)).unwrap_or(row.path).trim_start_matches('.')
}

/// `[master]`, `[[service]]`.
fn bracketed(row: &Row) -> String {
    if matches!(row.kind, Type::Table) { format!("[{}]", row.path) } else { format!("[[{}]]", row.path) }
}

/// What stands below a heading; a listener's own row tells of all of them.
fn introduction(row: &Row) -> String {
    match row.kind {
        Type::Listeners => format!("An entry of `{}` with options, as a table of its own.", row.key()),
        _ => row.doc.to_owned(),
    }
}

/// The rows under a heading, in the order of the table, without those that are headings only.
fn rows_under(headed: &'static str) -> impl Iterator<Item = &'static Row> {
    let heading_only =
        |row: &Row| HEADED.contains(&row.path) && matches!(row.kind, Type::Table | Type::Tables);
    rows().filter(move |row| heading(row.path) == headed && !heading_only(row))
}

/// Whether a row only gathers keys; it has no value to show.
fn is_group(row: &Row) -> bool {
    matches!(row.kind, Type::Table)
}

/// Keys of a table that is one form of a value (`workers = { min, max }`), or an element of one.
fn is_part(path: &str) -> bool {
    path.rsplit_once('.')
        .and_then(|(parent, _)| row(parent))
        .is_some_and(|parent| matches!(parent.kind, Type::Workers { .. } | Type::Certificates))
}

/// The reference part of `conf/masterd.toml`: every key at its default, commented out.
///
/// Text stands behind `# `; what is TOML stands behind `#` alone.
pub fn reference() -> String {
    let mut out = String::from(REFERENCE_HEAD);
    for headed in HEADED {
        if let Some(row) = row(headed) {
            out.push_str(&format!("\n{}#{}\n", comment(&introduction(row)), bracketed(row)));
        }
        for row in rows_under(headed) {
            out.push_str(&format!("\n{}", comment(&about(row))));
            let (Default::Toml(value)
            | Default::Absent { example: value, .. }
            | Default::Required { example: value }) = row.default;
            if !is_group(row) && !is_part(row.path) {
                out.push_str(&format!("#{} = {value}\n", written(row)));
            }
        }
    }
    out
}

const REFERENCE_HEAD: &str = "\
# ------------------------------------------------------------------------------------------------
# Reference: every key at its default, or as an example where it has none. masterd.toml(5) says
# the same and what a reload does with each. To use a key, take the # in front of it away and put
# it under its heading.
";

/// A key's text and terms in one paragraph.
fn about(row: &Row) -> String {
    if is_group(row) {
        return format!("{}: {}", written(row), row.doc);
    }
    let default = match row.default {
        Default::Toml(_) => String::new(),
        Default::Absent { means, .. } => format!(" Default: {means}."),
        Default::Required { .. } => " Must be set.".to_owned(),
    };
    let kept = if row.reload == Reload::Kept { " A reload does not change it." } else { "" };
    format!("{}: {} Value: {}.{default}{kept}", written(row), row.doc, row.kind)
}

/// Text behind `# `, in lines of at most 98 bytes where words allow it.
fn comment(text: &str) -> String {
    let mut out = String::new();
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > 98 {
            out.push_str(&line);
            out.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    out + &line + "\n"
}

/// `masterd.toml(5)` in troff, for man(7).
pub fn man_page() -> String {
    let mut out = MAN_HEAD.replace("VERSION", env!("CARGO_PKG_VERSION"));
    for headed in HEADED {
        match row(headed) {
            None => out.push_str(".SH TOP LEVEL\n"),
            Some(row) => out.push_str(&format!(".SH {}\n{}\n", troff(&bracketed(row)), prose(row.doc))),
        }
        for row in rows_under(headed) {
            out.push_str(&man_entry(row));
        }
    }
    out + MAN_TAIL
}

fn man_entry(row: &Row) -> String {
    let head = format!(".TP\n.B {}\n{}\n", troff(written(row)), prose(row.doc));
    if is_group(row) {
        return head;
    }
    let default = match row.default {
        Default::Toml(value) => format!("Default: {}.", troff(value)),
        Default::Absent { means, .. } => format!("Default: {}.", prose(means)),
        Default::Required { .. } => "Must be set.".to_owned(),
    };
    let kind = prose(&row.kind.to_string());
    format!("{head}.br\nValue: {kind}.\n.br\n{default}\n.br\nReload: {}.\n", prose(&row.reload.to_string()))
}

/// Text with what troff would read as its own made harmless.
fn troff(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    if escaped.starts_with('.') { format!("\\&{escaped}") } else { escaped }
}

/// `troff`, and what stands in backquotes bold.
fn prose(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let shown = parts
        .map(|(index, part)| if index % 2 == 1 { format!("\\fB{}\\fR", troff(part)) } else { troff(part) });
    shown.collect()
}

const MAN_HEAD: &str = r#".\" Made from the key table of masterd (src/config/table/): edit that, then run the tests with MASTERD_BLESS=1.
.TH MASTERD.TOML 5 "" "masterd VERSION" "File formats"
.SH NAME
masterd.toml \- configuration of the masterd process manager
.SH DESCRIPTION
.BR masterd (8)
reads one file, named with
.BR \-c ,
and the files that it includes.
The format is TOML.
A file is UTF\-8 and at most 1 MiB.
.PP
.B masterd \-t \-c FILE
checks a config and prints every error with its line and column;
.B \-T
also prints the config as masterd understands it, every key included.
A key that is not described here is an error.
Where a config is bad, masterd does not start, and a reload changes nothing.
.PP
Keys of a table may be written as
.BR "drain = { grace = \(dq5m\(dq }" ,
as
.B drain.grace = \(dq5m\(dq
or below a heading
.BR [service.drain] .
.SS Values
.TP
.B duration
Text: whole numbers with the units ms, s, m, h or d, longer units first, such as \(dq30s\(dq or \(dq1m30s\(dq.
.TP
.B size
Text: a whole number with the unit B, KiB, MiB, GiB or TiB, such as \(dq64KiB\(dq; without a unit it counts bytes.
.TP
.B path
Text, absolute or relative to the folder of the main file.
.SS Reload
A reload reads the config again, starts a new generation of workers with it, and drains the old one when the new one is ready.
What it does with a changed key is said at each key.
.B masterd reload \-\-dry\-run
tells what a reload would do.
"#;

const MAN_TAIL: &str = r#".SH EXAMPLES
A service on two addresses, with a health check for a load balancer and five minutes for connections to end:
.PP
.EX
[master]
log.file = "run/masterd.log"

[[service]]
name = "web"
listen = ["127.0.0.1:8080", { address = "unix:run/web.sock", mode = "0660" }]
workers = 2
drain = { grace = "5m", delay = "5s" }

[[service.http.route]]
path = "/"
respond = { body = "hello from worker {pid}\en" }

[[service.http.route]]
path = "/readyz"
health = "ready"
.EE
.PP
Requests passed on to two servers of an application, with its files beside it, and a database behind a port of its own:
.PP
.EX
[[service]]
name = "app"
listen = ["127.0.0.1:8080"]
drain = { grace = "1m", long_lived_grace = "1h" }

[[service.http.route]]
path = "/"
proxy = { upstream = ["127.0.0.1:9000", "unix:/run/app.sock"] }

[[service.http.route]]
path = "/static/"
files.root = "/srv/www"
headers = { Cache\-Control = "max\-age=3600" }

[[service.http.route]]
path = "/old/"
redirect = { to = "https://{host}{target}" }

[[service]]
name = "db"
listen = ["127.0.0.1:5432"]
tcp.proxy.upstream = ["db.example:5432"]
.EE
.PP
A program that is told the number of its socket, with another version each time the link
.I current
is switched and the config is read again:
.PP
.EX
[[service]]
name = "api"
listen = ["127.0.0.1:8080"]
workers = 4
restart.max_age = "1d"

[service.exec]
command = ["/srv/api/current/bin/server", "\-\-fd", "{fd}"]
env = { WORKER = "{seat}" }
ready = "accepting"
.EE
.PP
Two workers at a time, each step alive for ten seconds before the next:
.PP
.EX
[master]
rollout = { step = 2, soak = "10s" }
.EE
.SH SEE ALSO
.BR masterd (8)
"#;
