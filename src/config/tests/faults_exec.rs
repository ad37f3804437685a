//! The rules of `service.exec` and of listeners of programs: an example that breaks each, as in `faults`.

use super::exec::service;
use super::faults::{check, listener};
use super::*;
use std::os::unix::fs::symlink;

/// The shell, with these keys more in `exec`, the first in line 6.
fn keys(more: &str) -> String {
    let text = service("['sh', 'a']", "").replace("exec.command", "[service.exec]\ncommand");
    format!("{}\n{more}\n", text.trim_end())
}

/// One with another listener.
fn listening(on: &str) -> String {
    service("['sh']", "").replace("'127.0.0.1:8080', { address = 'unix:a.sock', name = 'side' }", on)
}

const COMMANDS: &[(&str, &str)] = &[
    (
        "'sh -c  true'",
        "16: service.exec.command: must be an array of text, a program and its arguments, not \"sh -c  true\"; did you mean [\"sh\", \"-c\", \"true\"]?",
    ),
    (
        "'sh -c \"a b\"'",
        "16: service.exec.command: must be an array of text, a program and its arguments, not \"sh -c \\\"a b\\\"\"",
    ),
    ("[]", "16: service.exec.command: it is empty; its first text names the program"),
    ("['']", "17: service.exec.command: its first text names the program, and is empty"),
    ("['sh', 5]", "23: service.exec.command: must be an array of text, a program and its arguments, not 5"),
    ("[\"a\\u0000\"]", "17: service.exec.command: \"a\\0\" holds a NUL"),
    (
        "['./{seat}', '{seat}']",
        "17: service.exec.command: the program is looked up when the config is read, and what {seat} stands for is not known then; write the program's own name",
    ),
    (
        "['no-such']",
        "17: service.exec.command: there is no program \"no-such\" in masterd's PATH, \"bin:/bin\"; write its full path, or set PATH in service.exec.env",
    ),
    (
        "['no-such --fd 3']",
        "17: service.exec.command: there is no program \"no-such --fd 3\" in masterd's PATH, \"bin:/bin\"; each argument is a text of its own: [\"no-such\", \"--fd\", \"3\"]",
    ),
    (
        "['bin/app']",
        "17: service.exec.command: there is no file \"DIR/bin/app\"; a relative path begins at the folder of the main config file",
    ),
    ("['/no/such']", "17: service.exec.command: there is no file \"/no/such\""),
    (
        "['/no/such -v']",
        "17: service.exec.command: there is no file \"/no/such -v\"; each argument is a text of its own: [\"/no/such\", \"-v\"]",
    ),
    ("['/']", "17: service.exec.command: \"/\" is a folder; name the program in it"),
    ("['/bin/']", "17: service.exec.command: \"/bin\" is a folder; name the program in it"),
    ("['/dev/null']", "17: service.exec.command: \"/dev/null\" is no regular file"),
    ("['./m.toml']", "17: service.exec.command: \"DIR/m.toml\" is not executable; chmod +x \"DIR/m.toml\""),
    (
        "['sh', '{fd:sid}{seat}']",
        "23: service.exec.command: {fd:sid} names no listener of this service; did you mean \"side\"?",
    ),
    (
        "['sh', '{addr:none}']",
        "23: service.exec.command: {addr:none} names no listener of this service; they are \"app\", \"side\"",
    ),
    (
        "['sh', '{ready_fd}']",
        "23: service.exec.command: without ready = \"fd\" there is no {ready_fd}; set ready to \"fd\", or leave {ready_fd} out",
    ),
];

#[test]
fn commands() {
    for (command, expected) in COMMANDS {
        check(&service(command, ""), &format!("m.toml:4:{expected}"));
    }
    check(
        "[[service]]\nname = 'app'\nlisten = ['127.0.0.1:80']\nexec = {}\n",
        "m.toml:4:8: \"command\" is missing in [service.exec]; write, for example, command = [\"bin/server\", \"--fd\", \"{fd}\"]",
    );
    let folder = Folder::new();
    folder.program("app");
    folder.write("m.toml", service("['app']", ""));
    let problems = shown(&folder.load("m.toml").unwrap_err());
    assert!(problems[0].ends_with("; did you mean \"./app\"?"), "{problems:?}");
    folder.program("a\nb");
    symlink("a\nb", folder.0.join("plain")).unwrap();
    folder.write("m.toml", service("['./plain']", ""));
    let problems = shown(&folder.load("m.toml").unwrap_err());
    assert!(problems[0].contains("a\\nb\" holds a control character"), "{problems:?}");
}

const KEYS: &[(&str, &str)] = &[
    (
        "directory = 'none'",
        "13: service.exec.directory: there is no folder \"DIR/none\"; make it, or name another; a relative path begins at the folder of the main config file",
    ),
    (
        "directory = 'm.toml'",
        "13: service.exec.directory: \"DIR/m.toml\" is no folder; name the folder that the program is to run in",
    ),
    ("env = 'A=1'", "7: service.exec.env: must be a table of names and values, not \"A=1\""),
    ("env = { A = 1 }", "9: service.exec.env: the value of \"A\" is not text; put it into quotation marks"),
    ("env = { A = \"\\u0000\" }", "9: service.exec.env: the value of \"A\" holds a NUL"),
    ("env = { '' = 'a' }", "9: service.exec.env: \"\" can't be the name of a variable"),
    ("env = { 'A=' = 'a' }", "9: service.exec.env: \"A=\" can't be the name of a variable"),
    (
        "env.LISTEN_FDS = '1'",
        "5: service.exec.env: \"LISTEN_FDS\" can't be set: masterd sets it, or leaves it out where {fd} or {addr} is used; leave it out",
    ),
    (
        "env.NOTIFY_SOCKET = '{fd}'",
        "5: service.exec.env: \"NOTIFY_SOCKET\" can't be set: masterd sets it, to hear from the program; leave it out",
    ),
    (
        "env.WATCHDOG_USEC = '1'",
        "5: service.exec.env: \"WATCHDOG_USEC\" can't be set: masterd sets it where there is a service.exec.watchdog; leave it out",
    ),
    (
        "env.MASTERD_X = '1'",
        "5: service.exec.env: \"MASTERD_X\" can't be set: names that begin with MASTERD_ are masterd's own; leave it out",
    ),
    (
        "env.A = 'x {fd:web}'",
        "9: service.exec.env: {fd:web} names no listener of this service; they are \"app\", \"side\"",
    ),
    (
        "env.A = '{ready_fd}'",
        "9: service.exec.env: without ready = \"fd\" there is no {ready_fd}; set ready to \"fd\", or leave {ready_fd} out",
    ),
    (
        "ready = 'fd'",
        "9: service.exec.ready: the program is not told where to write; use {ready_fd} in command or env",
    ),
    (
        "ready = 'notfy'",
        "9: service.exec.ready: must be \"accepting\", \"notify\", \"fd\", or \"delay:\" with a duration, such as \"delay:2s\", not \"notfy\"; did you mean \"notify\"?",
    ),
    ("ready = 'delay:2'", "9: service.exec.ready: \"2\" is not a duration; did you mean \"2s\"?"),
    (
        "ready = 'delay:0s'",
        "9: service.exec.ready: must be \"accepting\", \"notify\", \"fd\", or \"delay:\" with a duration, such as \"delay:2s\", not \"delay:0s\"",
    ),
    (
        "ready = 'delay:30s'",
        "9: service.exec.ready: 30s are not less than master.ready_timeout, 30s: no generation would ever be ready; wait less, or allow more",
    ),
    (
        "ready = true",
        "9: service.exec.ready: must be \"accepting\", \"notify\", \"fd\", or \"delay:\" with a duration, such as \"delay:2s\", not true",
    ),
    (
        "stop_signal = 'KILL'",
        "15: service.exec.stop_signal: must be \"TERM\", \"INT\", \"QUIT\", \"HUP\", \"USR1\", \"USR2\" or \"WINCH\", not \"KILL\"",
    ),
    (
        "stop_signal = 'SIGTREM'",
        "15: service.exec.stop_signal: must be \"TERM\", \"INT\", \"QUIT\", \"HUP\", \"USR1\", \"USR2\" or \"WINCH\", not \"SIGTREM\"; did you mean \"TERM\"?",
    ),
    (
        "stop_signal = 15",
        "15: service.exec.stop_signal: must be \"TERM\", \"INT\", \"QUIT\", \"HUP\", \"USR1\", \"USR2\" or \"WINCH\", not 15",
    ),
    ("output = 'stderr'", "10: service.exec.output: must be \"log\" or \"inherit\", not \"stderr\""),
    ("nonblocking = 1", "15: service.exec.nonblocking: must be true or false, not 1"),
    (
        "umask = 0o022",
        "9: service.exec.umask: must be permission bits as octal text, such as \"0660\", not 0o022",
    ),
    (
        "watchdog = '500ms'",
        "12: service.exec.watchdog: must be a duration of at least \"1s\", or \"0s\" for off, not \"500ms\"",
    ),
    ("group = 'web'", "9: service.exec.group: a group goes with a user; set service.exec.user too"),
    ("dir = 'a'", "1: unknown key \"dir\" in [service.exec]"),
];

#[test]
fn each_rule() {
    for (line, expected) in KEYS {
        check(&keys(line), &format!("m.toml:6:{expected}"));
    }
    let as_root = |line: &str| errors(&keys(line), true);
    assert_eq!(
        as_root("user = 'who'"),
        ["m.toml:6:8: service.exec.user: there is no user \"who\" on this machine"]
    );
    assert_eq!(
        as_root("user = '1000'"),
        [
            "m.toml:6:8: service.exec.user: \"1000\" is a number, which has no primary group; set service.exec.group too"
        ]
    );
}

/// What is wrong in one place is not said of another that depends on it.
#[test]
fn a_fault_has_no_echo() {
    let text = keys("ready = 'fd'\nenv = { A = 1, B = '{ready_fd}' }");
    assert_eq!(errors(&text, false).len(), 1, "{:?}", errors(&text, false));
    let text = keys("env = { PATH = 1 }").replace("'sh', 'a'", "'no-such'");
    assert_eq!(errors(&text, false).len(), 1, "{:?}", errors(&text, false));
    let text = keys("env = { A = 1 }").replace("'sh', 'a'", "'no-such'");
    assert_eq!(errors(&text, false).len(), 2, "{:?}", errors(&text, false));
    let text = keys("env.A = '{fd:side}'").replace("address = 'unix:a.sock'", "address = 'x'");
    assert_eq!(errors(&text, false).len(), 1, "{:?}", errors(&text, false));
    let text = keys("ready = 'delay:1s'") + "[master]\nready_timeout = 0";
    assert_eq!(errors(&text, false).len(), 1, "{:?}", errors(&text, false));
    let text = keys("ready = 'delay:1h'\ndir = 1") + "[service.drain]\ngraze = 1";
    assert_eq!(errors(&text, false).len(), 3, "{:?}", errors(&text, false));
    let text = listening("{ address = '1.2.3.4:5', proxy_protocol = 1, accept = 2 }");
    assert_eq!(errors(&text, false).len(), 2, "{:?}", errors(&text, false));
    let text = service("['sh', 5, '{ready_fd}']", "exec.ready = 'fd'");
    assert_eq!(errors(&text, false).len(), 1, "{:?}", errors(&text, false));
}

#[test]
fn what_a_program_can_t_have_is_said() {
    let warned = |line: &str, root: bool| shown(&load_text(&keys(line), root).unwrap().warnings);
    let ignored = |text: &str| shown(&load_text(&service("['sh']", text), false).unwrap().warnings);
    assert_eq!(
        ignored("connections = 5\ndrain.idle = 'close'\ndrain.long_lived_grace = '1h'"),
        [
            "m.toml:5:15: service.connections is ignored: masterd can't hold a program to it; give the program a limit of its own",
            "m.toml:6:14: service.drain.idle is ignored: what becomes of its idle connections is the program's business",
            "m.toml:7:26: service.drain.long_lived_grace is ignored: masterd can't tell which connections of a program are meant to last",
        ]
    );
    assert_eq!(
        warned("user = 'who'", false),
        ["m.toml:6:8: service.exec.user is ignored: only root can give workers another identity"]
    );
    assert_eq!(warned("user = 'root'", true), Vec::<String>::new());
    check(
        &service("['sh']", "access_log.file = 'a'"),
        "m.toml:5:1: service.access_log: masterd does not see what a program is asked; leave it out; the program writes a log of its own",
    );
}

const LISTENERS: &[(&str, &str)] = &[
    (
        "{ address = '1.2.3.4:5', accept = 'per-worker' }",
        "45: service.listen.accept: \"per-worker\" is for built-in workers only; those of a program share its sockets; leave it out",
    ),
    (
        "{ address = '1.2.3.4:5', proxy_protocol = true }",
        "53: service.listen.proxy_protocol: masterd does not touch what a program's connections carry; let the program read the header, or put a service with http or tcp before it",
    ),
    (
        "{ address = '1.2.3.4:5', tls = { certificate = 'none' } }",
        "42: service.listen.tls: masterd does not touch what a program's connections carry; let the program speak TLS, or put a service with http or tcp before it",
    ),
    (
        "{ address = 'udp:1.2.3.4:5', backlog = 5 }",
        "50: service.listen.backlog is for addresses with connections only, and udp:1.2.3.4:5 is none; leave it out",
    ),
    (
        "{ address = 'udp:1.2.3.4:5', defer_accept = '1s' }",
        "55: service.listen.defer_accept is for TCP addresses only, and udp:1.2.3.4:5 is none; leave it out",
    ),
    (
        "{ address = 'udp:1.2.3.4:5', ipv6_only = true }",
        "52: service.listen.ipv6_only is for IPv6 addresses only, and udp:1.2.3.4:5 is none; leave it out",
    ),
    (
        "'udp:1.2.3.4:5', 'udp:1.2.3.4:5'",
        "28: the address udp:1.2.3.4:5 is taken already, at DIR/m.toml:3:11; an address belongs to one listener of one service",
    ),
    (
        "'udp:1.2.3.4:5', 'udp:0.0.0.0:5'",
        "28: udp:0.0.0.0:5 and udp:1.2.3.4:5, at DIR/m.toml:3:11, claim the same port; udp:0.0.0.0:5 stands for every address of the machine: name one, or use another port",
    ),
    ("'udp:5'", "11: service.listen: \"udp:5\" is not an address; did you mean \"udp:127.0.0.1:5\"?"),
];

#[test]
fn listeners() {
    for (on, expected) in LISTENERS {
        check(&listening(on), &format!("m.toml:3:{expected}"));
    }
    for fine in [
        "'1.2.3.4:5', 'udp:1.2.3.4:5'",
        "'0.0.0.0:5', 'udp:1.2.3.4:5'",
        "'udp:1.2.3.4:0', 'udp:0.0.0.0:0'",
        "{ address = '1.2.3.4:5', proxy_protocol = false, defer_accept = '1s', accept = 'shared' }",
        "{ address = 'unix:a', mode = '0600', owner = 'www' }",
    ] {
        let loaded = load_text(&listening(fine), false);
        assert_eq!(loaded.map(|loaded| loaded.warnings), Ok(vec![]), "{fine}");
    }
    check(
        &listener("'udp:127.0.0.1:53'"),
        "m.toml:3:11: service.listen: \"udp:127.0.0.1:53\" is for programs only; built-in workers take no datagrams: run a program with exec",
    );
    let many = |n: usize| (0..n).map(|n| format!("'unix:{n}'")).collect::<Vec<_>>().join(", ");
    assert!(load_text(&listening(&many(16)), false).is_ok());
    let found = errors(&listening(&many(18)), false);
    assert_eq!(found, ["m.toml:3:177: service.listen: a program has at most 16, and here are 18"]);
}
