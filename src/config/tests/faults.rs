//! Every rule has an example that breaks it, with the whole line that people get to see.

use super::*;

/// `service` with a key more in its table; the key stands in line 5.
pub fn with_key(line: &str) -> String {
    format!("{}{line}\n", SERVICE.replace("http =", "http  ="))
}

/// A `[master]` with one key, in line 2, before a good service.
pub fn master(line: &str) -> String {
    format!("[master]\n{line}\n{SERVICE}")
}

/// A service with this listener, in line 3.
pub fn listener(text: &str) -> String {
    SERVICE.replace("'127.0.0.1:8080'", text)
}

/// A service with these routes; they begin at column 18 of line 4.
pub fn routes(text: &str) -> String {
    SERVICE.replace("{ path = '/', status = 'json' }", text)
}

/// A service with one response, `respond = {` at column 40 of line 4.
pub fn respond(text: &str) -> String {
    routes(&format!("{{ path = '/', respond = {{ {text} }} }}"))
}

#[track_caller]
pub fn check(text: &str, expected: &str) {
    assert_eq!(errors(text, false), [expected], "{text}");
}

#[track_caller]
fn check_as_root(text: &str, expected: &str) {
    assert_eq!(errors(text, true), [expected], "{text}");
}

#[test]
fn keys() {
    check(
        &with_key("lisen = 1"),
        "m.toml:5:1: unknown key \"lisen\" in [[service]]; did you mean \"listen\"?",
    );
    check(&with_key("prxy = {}"), "m.toml:5:1: unknown key \"prxy\" in [[service]]");
    check(
        &with_key("proxy = {}"),
        "m.toml:5:1: unknown key \"proxy\" in [[service]]; it belongs into [[service.http.route]]",
    );
    check(
        &with_key("nofile = 5"),
        "m.toml:5:1: unknown key \"nofile\" in [[service]]; it belongs into [service.limits]",
    );
    check(
        &format!("masster = 1\n{SERVICE}"),
        "m.toml:1:1: unknown key \"masster\" at the top level; did you mean \"master\"?",
    );
    check(
        &with_key("drain.gracee = '1s'"),
        "m.toml:5:7: unknown key \"gracee\" in [service.drain]; did you mean \"grace\"?",
    );
    check(&with_key("\"a\\u001b[31m\" = 1"), "m.toml:5:1: unknown key \"a\\u{1b}[31m\" in [[service]]");
    check(
        &respond("boddy = ''"),
        "m.toml:4:45: unknown key \"boddy\" in [service.http.route.respond]; did you mean \"body\"?",
    );
    check(&with_key("name = 'x'"), "m.toml:5:1: this is not TOML: duplicate key");
    check(&with_key("x = }"), "m.toml:5:5: this is not TOML: missing inline table opening, expected `{`");
    check("", "m.toml: there is no [[service]], so nothing would be served");
    check("service = []", "m.toml: there is no [[service]], so nothing would be served");
    check(
        "[service]\nname = 'x'",
        "m.toml:1:1: service: must be an array of tables, not a table; write [[service]], in double brackets",
    );
}

#[test]
fn missing_keys() {
    let without = |key: &str| {
        SERVICE
            .lines()
            .filter(|line| !line.starts_with(key))
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    check(
        &without("name"),
        "m.toml:1:1: \"name\" is missing in [[service]]; write, for example, name = \"web\"",
    );
    check(
        &without("listen"),
        "m.toml:1:1: \"listen\" is missing in [[service]]; write, for example, listen = [\"127.0.0.1:8080\"]",
    );
    check(
        &without("http"),
        "m.toml:1:1: [[service]] does not say what its workers do; add http = { route = [...] }, tcp = { proxy = { upstream = [...] } } or exec = { command = [...] }",
    );
    check(&listener(""), "m.toml:3:10: service.listen: a service needs at least one address");
    check(
        &listener("{ mode = '0600' }"),
        "m.toml:3:11: \"address\" is missing in [[service.listen]]; write, for example, address = \"unix:run/web.sock\"",
    );
    check(
        &routes(""),
        "m.toml:4:18: service.http: there is no route, so every request would be answered with 404; add route = [{ path = \"/\", … }]",
    );
    check(
        &with_key("workers = { min = 2 }"),
        "m.toml:5:11: \"max\" is missing in [service.workers]; write, for example, max = 8",
    );
    check(
        &routes("{ status = 'json' }"),
        "m.toml:4:19: \"path\" is missing in [[service.http.route]]; write, for example, path = \"/\"",
    );
}

const MASTER: &[(&str, &str)] = &[
    (
        "ready_timeout = 30",
        "2:17: master.ready_timeout: must be a duration of at least \"1ms\", not 30; did you mean \"30s\"?",
    ),
    (
        "ready_timeout = '0s'",
        "2:17: master.ready_timeout: must be a duration of at least \"1ms\", not \"0s\"",
    ),
    (
        "ready_timeout = '366d'",
        "2:17: master.ready_timeout: must be a duration of at least \"1ms\", not \"366d\"",
    ),
    (
        "ready_timeout = 'soon'",
        "2:17: master.ready_timeout: \"soon\" is not a duration; write numbers with the units ms, s, m, h or d, such as \"30s\" or \"1m30s\"",
    ),
    (
        "watchdog = '10ms'",
        "2:12: master.watchdog: must be a duration of at least \"1s\", or \"0s\" for off, not \"10ms\"",
    ),
    (
        "max_draining_generations = 0",
        "2:28: master.max_draining_generations: must be an integer from 1 to 100, not 0",
    ),
    (
        "max_draining_generations = 99999999999999999999",
        "2:28: master.max_draining_generations: must be an integer from 1 to 100, not 99999999999999999999",
    ),
    (
        "sigterm = 'gracefull'",
        "2:11: master.sigterm: must be \"graceful\" or \"fast\", not \"gracefull\"; did you mean \"graceful\"?",
    ),
    ("sigterm = true", "2:11: master.sigterm: must be \"graceful\" or \"fast\", not true"),
    ("log = 'x'", "2:7: master.log: must be a table, not \"x\""),
    (
        "log.level = 'wran'",
        "2:13: master.log.level: must be \"error\", \"warn\", \"info\" or \"debug\", not \"wran\"; did you mean \"warn\"?",
    ),
    ("log.format = 'xml'", "2:14: master.log.format: must be \"text\" or \"json\", not \"xml\""),
    ("rollout.step = 0", "2:16: master.rollout.step: must be an integer from 1 to 100000, or \"all\", not 0"),
    (
        "rollout.step = 'some'",
        "2:16: master.rollout.step: must be an integer from 1 to 100000, or \"all\", not \"some\"",
    ),
    ("pid_file = ''", "2:12: master.pid_file: the path is empty"),
    ("pid_file = 1.5", "2:12: master.pid_file: must be a path, not 1.5"),
    ("pid_file = 1979-05-27", "2:12: master.pid_file: must be a path, not a date"),
    ("pid_file = \"a\\u0000\"", "2:12: master.pid_file: the path \"a\\0\" holds a control character"),
    ("control_socket = ''", "2:18: master.control_socket: the path is empty"),
    ("control_socket = []", "2:18: master.control_socket: must be a path, not an array"),
    (
        "pid_file = 'a'\nlog.file = './a'",
        "3:12: master.log.file: DIR/a is used by master.pid_file, at DIR/m.toml:2:12, too; give each a file of its own",
    ),
];

#[test]
fn types_and_bounds() {
    for (line, expected) in MASTER {
        check(&master(line), &format!("m.toml:{expected}"));
    }
    let long = "x".repeat(107);
    let [message] = &errors(&master(&format!("control_socket = '/{long}'")), false)[..] else { panic!() };
    assert!(
        message.contains(":2:18: master.control_socket: the socket path")
            && message.contains("has 108 bytes; the kernel takes at most 107"),
        "{message}"
    );
}

const SERVICES: &[(&str, &str)] = &[
    (
        "workers = 0",
        "5:11: service.workers: must be an integer from 1 to 512, \"auto\" or { min, max }, not 0",
    ),
    (
        "workers = 513",
        "5:11: service.workers: must be an integer from 1 to 512, \"auto\" or { min, max }, not 513",
    ),
    (
        "workers = 'many'",
        "5:11: service.workers: must be an integer from 1 to 512, \"auto\" or { min, max }, not \"many\"",
    ),
    ("workers = { min = 3, max = 2 }", "5:28: service.workers.max: 2 is below min, 3"),
    ("workers = { min = 0, max = 2 }", "5:19: service.workers.min: must be an integer from 1 to 512, not 0"),
    ("connections = 0", "5:15: service.connections: must be an integer from 1 to 1000000, not 0"),
    ("drain.idle = 'keep'", "5:14: service.drain.idle: must be \"announce\" or \"close\", not \"keep\""),
    (
        "restart = { backoff_min = '2s', backoff_max = '1s' }",
        "5:47: service.restart: backoff_max, \"1s\", is below backoff_min, \"2s\"",
    ),
    (
        "restart = { backoff_min = '31s' }",
        "5:27: service.restart: backoff_max, \"30s\", is below backoff_min, \"31s\"",
    ),
    ("restart.give_up = -1", "5:19: service.restart.give_up: must be an integer from 0 to 1000000, not -1"),
    ("limits.nice = 20", "5:15: service.limits.nice: must be an integer from -20 to 19, not 20"),
    ("limits.nofile = 1", "5:17: service.limits.nofile: must be an integer from 64 to 1073741824, not 1"),
    ("limits.core = '1MB'", "5:15: service.limits.core: \"1MB\" is not a size; did you mean \"1MiB\"?"),
    ("limits.core = 5", "5:15: service.limits.core: must be a size, or \"unlimited\", not 5"),
    (
        "limits.cpu_affinity = [0, 1]",
        "5:23: service.limits.cpu_affinity: CPU 1 is not one that masterd may use; these are: 0, 2",
    ),
    (
        "limits.cpu_affinity = []",
        "5:23: service.limits.cpu_affinity: must be \"auto\", \"off\", or an array of CPU numbers, not an array",
    ),
    (
        "limits.cpu_affinity = 'on'",
        "5:23: service.limits.cpu_affinity: must be \"auto\", \"off\", or an array of CPU numbers, not \"on\"",
    ),
];

#[test]
fn services() {
    for (line, expected) in SERVICES {
        check(&with_key(line), &format!("m.toml:{expected}"));
    }
    for (name, fault) in [
        ("", "the name is empty"),
        ("a b", "' ' can't be part of a name; letters, digits, '-', '_' and '.' can"),
        ("é", "'é' can't be part of a name; letters, digits, '-', '_' and '.' can"),
        ("-a", "a name begins with a letter or a digit"),
        (&"a".repeat(64), "the name has 64 bytes; at most 63 are allowed"),
    ] {
        check(&SERVICE.replace("'web'", &format!("'{name}'")), &format!("m.toml:2:8: service.name: {fault}"));
    }
    check(&SERVICE.replace("'web'", "7"), "m.toml:2:8: service.name: must be text, not 7");
    let twice = format!("{SERVICE}{}", listener("'127.0.0.1:8081'"));
    assert_eq!(
        errors(&twice, false),
        [
            "m.toml:6:8: the service name \"web\" is taken already, at DIR/m.toml:2:8; give this service a name of its own",
            "m.toml:7:11: the listener name \"web\" is taken already, at DIR/m.toml:3:11; give this listener a name of its own",
        ]
    );
}

#[test]
fn users() {
    check_as_root(
        &master("user = 'who'"),
        "m.toml:2:8: master.user: there is no user \"who\" on this machine",
    );
    check_as_root(
        &master("group = 'who'"),
        "m.toml:2:9: master.group: there is no group \"who\" on this machine",
    );
    check_as_root(
        &master("user = 'broken'"),
        "m.toml:2:8: master.user: the user \"broken\" cannot be looked up: the directory server is away",
    );
    check_as_root(
        &master("user = '1000'"),
        "m.toml:2:8: master.user: \"1000\" is a number, which has no primary group; set master.group too",
    );
    let identity = |line: &str| load_text(&master(line), true).unwrap().config.master.user;
    assert_eq!((identity("").uid, identity("").gid), (65534, 65533), "nobody and its group");
    assert_eq!((identity("user = 'root'").uid, identity("user = 'www'").gid), (0, 34));
    let numbers = identity("user = '1000'\ngroup = '1001'");
    assert_eq!((numbers.uid, numbers.gid, numbers.group.as_str()), (1000, 1001, "1001"));
}

#[test]
fn warnings() {
    let warned = |text: &str| shown(&load_text(text, false).unwrap().warnings);
    assert_eq!(
        warned(&master("user = 'who'\ngroup = 'who'")),
        [
            "m.toml:2:8: master.user is ignored: only root can give workers another identity",
            "m.toml:3:9: master.group is ignored: only root can give workers another identity",
        ]
    );
    assert_eq!(
        warned(&with_key("limits.nofile = 100")),
        [
            "m.toml:5:17: service.limits.nofile: with 100 open files a worker never reaches its 20000 connections"
        ]
    );
    assert_eq!(
        warned(&with_key("limits.nice = -1")),
        ["m.toml:5:15: service.limits.nice: -1 usually needs root; without the right to it no worker starts"]
    );
    assert_eq!(load_text(&with_key("limits.nice = -1"), true).unwrap().warnings, []);
}

#[test]
fn all_at_once_and_in_order() {
    let text = "[[service]]\nname = 'a b'\nlisten = ['x', '127.0.0.1:80']\nworkers = 0\nhttp = { keep_alive = 5, route = [{ path = 'x' }] }\n[[service]]\nlisen = 1\n[master]\nsigterm = 'fst'\n";
    let lines: Vec<String> = errors(text, false)
        .into_iter()
        .map(|line| line.splitn(4, ':').take(3).collect::<Vec<_>>().join(":"))
        .collect();
    assert_eq!(
        lines,
        [
            "m.toml:2:8",
            "m.toml:3:11",
            "m.toml:4:11",
            "m.toml:5:23",
            "m.toml:5:35",
            "m.toml:5:44",
            "m.toml:6:1",
            "m.toml:6:1",
            "m.toml:6:1",
            "m.toml:7:1",
            "m.toml:9:11"
        ]
    );
}
