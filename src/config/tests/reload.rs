//! What a reload would do: `diff` and `keep_frozen`.

use super::basics::FULL;
use super::*;
use crate::config::key::Reload;
use crate::config::table::{row, rows};
use crate::config::{Change, Config, Effect, diff, flat, keep_frozen};

fn config(text: &str) -> Config {
    let mut config = load_text(text, true).unwrap_or_else(|problems| panic!("{:?}", shown(&problems))).config;
    // Each text is loaded from a folder of its own.
    let folder = config.path.parent().unwrap().to_string_lossy().into_owned();
    let json = serde_json::to_string(&config).unwrap().replace(&folder, "/d");
    config = serde_json::from_str(&json).unwrap();
    config
}

fn changes(old: &str, new: &str) -> Vec<Change> {
    diff(&config(old), &config(new))
}

#[test]
fn nothing_changed() {
    assert_eq!(changes(FULL, FULL), []);
    assert_eq!(changes(SERVICE, &format!("# a comment\n{SERVICE}")), []);
}

/// A stretch of FULL, what takes its place, and the first change that `diff` finds.
const EDITS: &[(&str, &str, Effect, &str)] = &[
    (
        "level = \"debug\"",
        "level = \"info\"",
        Effect::Applied,
        "master.log.level changes from \"debug\" to \"info\"",
    ),
    ("sigterm = \"fast\"", "", Effect::Applied, "master.sigterm changes from \"fast\" to \"graceful\""),
    (
        "pid_file = \"run/m.pid\"",
        "",
        Effect::Ignored,
        "master.pid_file is no longer set; it was \"/d/run/m.pid\": ignored, because a reload can't change it; stop masterd and start it again",
    ),
    (
        "user = \"www\"",
        "user = \"root\"",
        Effect::Restarted,
        "master.user changes from \"www\" to \"root\": new workers have it",
    ),
    (
        "grace = \"5m\"",
        "grace = \"6m\"",
        Effect::Restarted,
        "service \"web-1.x_\": drain.grace changes from \"5m\" to \"6m\": new workers have it",
    ),
    (
        "workers = { min = 2, max = 8 }",
        "workers = 3",
        Effect::Restarted,
        "service \"web-1.x_\": workers changes from { min = 2, max = 8 } to 3: new workers have it",
    ),
    (
        "file = \"run/w.log\"",
        "file = \"run/v.log\"",
        Effect::Restarted,
        "service \"web-1.x_\": access_log.file changes from \"/d/run/w.log\" to \"/d/run/v.log\": new workers have it",
    ),
    (
        "access_log = { enabled = false }",
        "",
        Effect::Restarted,
        "service \"two\": access_log.enabled changes from false to true: new workers have it",
    ),
    ("backlog = 5", "backlog = 6", Effect::Applied, "listener [::1]:8080: backlog changes from 5 to 6"),
    (
        "accept = \"shared\", ",
        "",
        Effect::Ignored,
        "listener [::1]:8080: accept changes from \"shared\" to \"per-worker\": ignored, because a reload can't change it; stop masterd and start it again",
    ),
    (
        ", owner = \":web\"",
        "",
        Effect::Applied,
        "listener unix:/d/run/v.sock: owner is no longer set; it was \":80\"",
    ),
    (
        "  { address = \"unix:@ab\\\"c\", proxy_protocol = true },",
        "",
        Effect::Removed,
        "listener unix:@ab\"c is removed",
    ),
    (
        "listen = [\"127.0.0.1:8081\"]",
        "listen = [\"127.0.0.1:8081\", \"unix:@n\"]",
        Effect::Added,
        "listener unix:@n is added",
    ),
    ("path = \"/abc\"", "path = \"/abcd\"", Effect::Removed, "service \"web-1.x_\": route /abc is removed"),
    (
        "delay = \"20ms\"",
        "delay = \"30ms\"",
        Effect::Restarted,
        "service \"web-1.x_\": route /: respond.delay changes from \"20ms\" to \"30ms\": new workers have it",
    ),
    (
        "{ path = \"/h\", health = \"ready\" }",
        "{ path = \"/h\", status = \"json\" }",
        Effect::Restarted,
        "service \"web-1.x_\": route /h: health is no longer set; it was \"ready\": new workers have it",
    ),
    (
        "long_lived_grace = \"1h\"",
        "long_lived_grace = \"2h\"",
        Effect::Restarted,
        "service \"web-1.x_\": drain.long_lived_grace changes from \"1h\" to \"2h\": new workers have it",
    ),
    (
        "max_streams = 7",
        "",
        Effect::Restarted,
        "service \"web-1.x_\": http.max_streams changes from 7 to 128: new workers have it",
    ),
    (
        "\"unix:@ab\\\"c\", proxy_protocol = true",
        "\"unix:@ab\\\"c\"",
        Effect::Restarted,
        "listener unix:@ab\"c: proxy_protocol changes from true to false: new workers have it",
    ),
    (
        "Server = \"\"",
        "Server = \"x\"",
        Effect::Restarted,
        "service \"web-1.x_\": route /abc: headers changes from { \"X-Z\" = \"1\", \"Server\" = \"\" } to { \"X-Z\" = \"1\", \"Server\" = \"x\" }: new workers have it",
    ),
    (
        "status = 301",
        "status = 302",
        Effect::Restarted,
        "service \"web-1.x_\": route /old: redirect.status changes from 301 to 302: new workers have it",
    ),
    (
        "upstream = [\"[::1]:9000\", ",
        "upstream = [",
        Effect::Restarted,
        "service \"web-1.x_\": route /g: proxy.upstream changes from [\"[::1]:9000\", \"a_b.example:80\"] to [\"a_b.example:80\"]: new workers have it",
    ),
    (
        "\"unix:/run/db.sock\", ",
        "",
        Effect::Restarted,
        "service \"four\": tcp.proxy.upstream changes from [\"db.example:5432\", \"[::1]:5432\", \"unix:/run/db.sock\", \"unix… to [\"db.example:5432\", \"[::1]:5432\", \"unix:@db\"]: new workers have it",
    ),
];

#[test]
fn each_effect_in_plain_words() {
    for (from, to, effect, words) in EDITS {
        let new = FULL.replacen(from, to, 1);
        assert_ne!(new, FULL, "{from}");
        let first = changes(FULL, &new).into_iter().next().unwrap_or_else(|| panic!("{from}"));
        assert_eq!((first.effect, first.to_string().as_str()), (*effect, *words));
    }
}

#[test]
fn services_come_and_go() {
    let two = format!("{SERVICE}{}", SERVICE.replace("web", "api").replace("8080", "8081"));
    let said = |old: &str, new: &str| changes(old, new).iter().map(Change::to_string).collect::<Vec<_>>();
    assert_eq!(said(SERVICE, &two), ["service \"api\" is added", "listener 127.0.0.1:8081 is added"]);
    assert_eq!(said(&two, SERVICE), ["service \"api\" is removed", "listener 127.0.0.1:8081 is removed"]);
    let renamed = SERVICE.replace("web", "api");
    assert_eq!(
        said(SERVICE, &renamed),
        [
            "service \"web\" is removed",
            "service \"api\" is added",
            "listener 127.0.0.1:8080: service changes from \"web\" to \"api\": new workers have it",
            "listener 127.0.0.1:8080: name changes from \"web\" to \"api\"",
        ]
    );
}

/// What is replaced as a whole is told as a whole.
#[test]
fn a_table_that_goes_or_comes_is_one_change() {
    let said = |from: &str, to: &str| {
        let new = FULL.replacen(from, to, 1);
        assert_ne!(new, FULL, "{from}");
        changes(FULL, &new).iter().map(Change::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        said(
            "redirect = { to = \"https://{host}:8443/new{target}\", status = 301 }",
            "proxy.upstream = [\"a:1\"]"
        ),
        [
            "service \"web-1.x_\": route /old: redirect is no longer set; it was { to = \"https://{host}:8443/new{target}\", status = 301 }: new workers have it",
            "service \"web-1.x_\": route /old: proxy is set to { upstream = [\"a:1\"], connect_timeout = \"5s\", max_failures =…: new workers have it",
        ]
    );
    assert_eq!(
        said("tcp = { echo = true, idle_timeout = \"9s\" }", "tcp.proxy.upstream = [\"a:1\"]"),
        [
            "service \"three\": tcp.echo is no longer set; it was true: new workers have it",
            "service \"three\": tcp.idle_timeout changes from \"9s\" to \"10m\": new workers have it",
            "service \"three\": tcp.proxy is set to { upstream = [\"a:1\"], connect_timeout = \"5s\", max_failures =…: new workers have it",
        ]
    );
    assert_eq!(
        said(
            "tcp = { echo = true, idle_timeout = \"9s\" }",
            "http.route = [{ path = \"/\", health = \"live\" }]"
        ),
        [
            "service \"three\": http is set to { header_timeout = \"30s\", body_timeout = \"30s\", write_timeou…: new workers have it",
            "service \"three\": tcp is no longer set; it was { echo = true, idle_timeout = \"9s\" }: new workers have it",
            "service \"three\": route / is added",
        ]
    );
}

#[test]
fn frozen_keys_keep_their_value_and_say_so() {
    let old = config(FULL);
    let text = FULL
        .replace("run/m.pid", "run/n.pid")
        .replace("control_socket = \"run/m.sock\"\n", "")
        .replace("accept = \"shared\", ipv6_only = false", "accept = \"per-worker\"")
        .replace("level = \"debug\"", "level = \"info\"");
    let mut new = config(&text);
    let said = keep_frozen(&old, &mut new);
    assert_eq!(
        said,
        [
            "master.pid_file stays \"/d/run/m.pid\" and does not become \"/d/run/n.pid\": a reload can't change it; to change it, stop masterd and start it again",
            "master.control_socket stays \"/d/run/m.sock\" and does not become unset: a reload can't change it; to change it, stop masterd and start it again",
            "listener [::1]:8080: accept stays \"shared\" and does not become \"per-worker\": a reload can't change it; to change it, use another address, or stop masterd and start it again",
            "listener [::1]:8080: ipv6_only stays false and does not become true: a reload can't change it; to change it, use another address, or stop masterd and start it again",
        ]
    );
    assert!(
        diff(&old, &new).iter().all(|change| change.effect != Effect::Ignored),
        "nothing is left to ignore"
    );
    assert_eq!(diff(&old, &new).len(), 1, "and what can change does: {:?}", diff(&old, &new));
    assert_eq!(keep_frozen(&old, &mut new), Vec::<String>::new());
}

/// `flat` knows the keys of the table, all of them and no others; `keep_frozen` the kept ones.
#[test]
fn every_key_can_be_shown_and_compared() {
    let config = config(FULL);
    let mut paths: Vec<&str> = flat::master(&config.master).into_iter().map(|(path, _)| path).collect();
    for service in &config.services {
        paths.extend(flat::service(service).into_iter().map(|(path, _)| path));
        paths.extend(service.listen.iter().flat_map(flat::listener).map(|(path, _)| path));
        paths.extend(service.kind.routes().iter().flat_map(flat::route).map(|(path, _)| path));
    }
    for path in &paths {
        assert!(row(path).is_some(), "{path}");
    }
    let part =
        |path: &str| path.starts_with("service.workers.") || path.starts_with("service.listen.tls.sni.");
    let values = rows().filter(|row| row.path != "include" && !part(row.path));
    let gathers = |path: &str| rows().any(|row| row.parent() == path && path != "service.workers");
    let missing: Vec<&str> =
        values.map(|row| row.path).filter(|path| !gathers(path) && !paths.contains(path)).collect();
    assert_eq!(missing, Vec::<&str>::new());
    let kept: Vec<&str> = rows().filter(|row| row.reload == Reload::Kept).map(|row| row.path).collect();
    assert_eq!(
        kept,
        ["master.pid_file", "master.control_socket", "service.listen.accept", "service.listen.ipv6_only"]
    );
}
