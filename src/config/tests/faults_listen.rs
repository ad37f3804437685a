//! The rules of listeners, routes and responses: an example that breaks each, as in `faults`.

use super::faults::*;
use super::*;

const LISTENERS: &[(&str, &str)] = &[
    ("1", "11: service.listen: must be an array of addresses, or of tables with an address, not 1"),
    ("'8080'", "11: service.listen: \"8080\" is not an address; did you mean \"127.0.0.1:8080\"?"),
    (
        "{ address = 'x' }",
        "23: service.listen.address: \"x\" is not an address; write \"IP:PORT\", \"[IPv6]:PORT\", \"unix:PATH\" or \"unix:@NAME\"; names are not looked up",
    ),
    (
        "{ address = 'unix:a', accept = 'per-worker' }",
        "42: service.listen.accept: \"per-worker\" is for IP addresses only; a unix socket is always shared; leave it out",
    ),
    (
        "{ address = '1.2.3.4:5', mode = '0600' }",
        "43: service.listen.mode is for socket files only, and 1.2.3.4:5 is none; leave it out",
    ),
    (
        "{ address = 'unix:@a', owner = 'www' }",
        "42: service.listen.owner is for socket files only, and unix:@a is none; leave it out",
    ),
    (
        "{ address = '1.2.3.4:5', ipv6_only = true }",
        "48: service.listen.ipv6_only is for IPv6 addresses only, and 1.2.3.4:5 is none; leave it out",
    ),
    (
        "{ address = 'unix:@a', defer_accept = '1s' }",
        "49: service.listen.defer_accept is for TCP addresses only, and unix:@a is none; leave it out",
    ),
    (
        "{ address = '1.2.3.4:5', defer_accept = '1500ms' }",
        "51: service.listen.defer_accept: the kernel counts it in whole seconds",
    ),
    (
        "{ address = 'unix:/a', mode = '888' }",
        "41: service.listen.mode: must be permission bits as octal text, such as \"0660\", not \"888\"",
    ),
    (
        "{ address = 'unix:/a', mode = '4755' }",
        "41: service.listen.mode: must be permission bits as octal text, such as \"0660\", not \"4755\"",
    ),
    (
        "{ address = 'unix:/a', mode = 0o660 }",
        "41: service.listen.mode: must be permission bits as octal text, such as \"0660\", not 0o660",
    ),
    (
        "{ address = 'unix:/a', owner = 'who' }",
        "42: service.listen.owner: there is no user \"who\" on this machine",
    ),
    (
        "{ address = 'unix:/a', owner = 'www:who' }",
        "42: service.listen.owner: there is no group \"who\" on this machine",
    ),
    ("{ address = 'unix:/a', owner = 'www:' }", "42: service.listen.owner: \"\" is no group name"),
    ("{ address = 'unix:/a', owner = '' }", "42: service.listen.owner: \"\" is no user name"),
    (
        "{ address = 'unix:/a', owner = 'broken' }",
        "42: service.listen.owner: the user \"broken\" cannot be looked up: the directory server is away",
    ),
    (
        "{ address = 'unix:/a', owner = '4294967295' }",
        "42: service.listen.owner: \"4294967295\" is too large for an id",
    ),
    (
        "{ address = '1.2.3.4:5', backlog = 0 }",
        "46: service.listen.backlog: must be an integer from 1 to 1000000, not 0",
    ),
    (
        "{ address = '1.2.3.4:5', name = 'a b' }",
        "43: service.listen.name: ' ' can't be part of a name; letters, digits, '-', '_' and '.' can",
    ),
    (
        "'1.2.3.4:5', '1.2.3.4:5'",
        "24: the address 1.2.3.4:5 is taken already, at DIR/m.toml:3:11; an address belongs to one listener of one service",
    ),
    (
        "'1.2.3.4:0', '1.2.3.4:0'",
        "24: the address 1.2.3.4:0 is taken already, at DIR/m.toml:3:11; listeners with port 0 need different IP addresses",
    ),
    (
        "'unix:a', 'unix:./a'",
        "21: the address unix:DIR/a is taken already, at DIR/m.toml:3:11; an address belongs to one listener of one service",
    ),
    (
        "{ address = '1.2.3.4:5', name = 'x' }, { address = '1.2.3.4:6', name = 'x' }",
        "62: the listener name \"x\" is taken already, at DIR/m.toml:3:23; give this listener a name of its own",
    ),
];

#[test]
fn listeners() {
    for (text, expected) in LISTENERS {
        check(&listener(text), &format!("m.toml:3:{expected}"));
    }
    check(
        &SERVICE.replace("['127.0.0.1:8080']", "'127.0.0.1:8080'"),
        "m.toml:3:10: service.listen: must be an array of addresses, or of tables with an address, not \"127.0.0.1:8080\"",
    );
    let file = format!("[master]\npid_file = 'p'\n{}", listener("'unix:p'"));
    check(
        &file,
        "m.toml:2:12: master.pid_file: DIR/p is used by a listener, at DIR/m.toml:5:11, too; give each a file of its own",
    );
}

#[test]
fn wildcards_claim_a_port() {
    let conflict = |a: &str, b: &str| errors_of(&listener(&format!("{a}, {b}")));
    for (a, b, wide) in [
        ("'0.0.0.0:80'", "'127.0.0.1:80'", Some("0.0.0.0:80")),
        ("'127.0.0.1:80'", "'0.0.0.0:80'", Some("0.0.0.0:80")),
        ("'[::]:80'", "'[::1]:80'", Some("[::]:80")),
        ("'[::1]:80'", "'[::]:80'", Some("[::]:80")),
        ("'127.0.0.1:80'", "{ address = '[::]:80', ipv6_only = false }", Some("[::]:80")),
        ("{ address = '[::]:80', ipv6_only = false }", "'127.0.0.1:80'", Some("[::]:80")),
        ("{ address = '[::]:80', ipv6_only = false }", "'0.0.0.0:80'", Some("0.0.0.0:80")),
        ("'[::]:80'", "'0.0.0.0:80'", None),
        ("'[::]:80'", "'127.0.0.1:80'", None),
        ("'0.0.0.0:80'", "'127.0.0.1:81'", None),
        ("'0.0.0.0:0'", "'127.0.0.1:0'", None),
        ("'127.0.0.1:80'", "'127.0.0.2:80'", None),
    ] {
        let found = conflict(a, b);
        match wide {
            None => assert_eq!(found, Vec::<String>::new(), "{a} {b}"),
            Some(wide) => {
                assert_eq!(found.len(), 1, "{a} {b}: {found:?}");
                assert!(
                    found[0].contains("claim the same port")
                        && found[0].contains(&format!("; {wide} stands for every address")),
                    "{found:?}"
                );
            }
        }
    }
}

fn errors_of(text: &str) -> Vec<String> {
    load_text(text, false).map_or_else(|problems| shown(&problems), |_| Vec::new())
}

const ROUTES: &[(&str, &str)] = &[
    (
        "{ path = 'x', status = 'json' }",
        "28: service.http.route.path: \"x\" can't match; a path starts with \"/\"",
    ),
    (
        "{ path = '/a b', status = 'json' }",
        "28: service.http.route.path: \"/a b\" can't match; a path holds no ' ', which no request's path does",
    ),
    (
        "{ path = '/a?b', status = 'json' }",
        "28: service.http.route.path: \"/a?b\" can't match; a path holds no '?', which no request's path does",
    ),
    (
        "{ path = '/', host = 'a:80', status = 'json' }",
        "40: service.http.route.host: \"a:80\" is no host name; leave the port out",
    ),
    ("{ path = '/', host = '*.a', status = 'json' }", "40: service.http.route.host: \"*.a\" is no host name"),
    (
        "{ path = '/', host = '[::x]', status = 'json' }",
        "40: service.http.route.host: \"[::x]\" is no host name",
    ),
    (
        "{ path = '/' }",
        "19: a route has exactly one of respond, proxy, redirect, files, health and status; this one has none",
    ),
    (
        "{ path = '/', health = 'live', status = 'json' }",
        "19: a route has exactly one of respond, proxy, redirect, files, health and status; this one has health and status",
    ),
    (
        "{ path = '/', health = 'alive' }",
        "42: service.http.route.health: must be \"live\" or \"ready\", not \"alive\"; did you mean \"live\"?",
    ),
    ("{ path = '/', status = 'html' }", "42: service.http.route.status: must be \"json\", not \"html\""),
    (
        "{ path = '/', host = 'A', health = 'live' }, { path = '/', host = 'a', status = 'json' }",
        "73: the route \"a/\" exists already, at DIR/m.toml:4:28; remove one of the two",
    ),
    ("7", "19: service.http.route: must be an array of tables, not 7"),
];

const RESPONSES: &[(&str, &str)] = &[
    ("status = 199", "54: service.http.route.respond.status: must be an integer from 200 to 599, not 199"),
    ("status = 600", "54: service.http.route.respond.status: must be an integer from 200 to 599, not 600"),
    ("status = 204, body = 'x'", "66: service.http.route.respond.body: a response 204 has no body"),
    ("headers = { 'a b' = '' }", "57: service.http.route.respond.headers: \"a b\" is no header name"),
    ("headers = { '' = '' }", "57: service.http.route.respond.headers: \"\" is no header name"),
    (
        "headers = { a = \"x\\r\\nb: c\" }",
        "57: service.http.route.respond.headers: the value of \"a\" holds '\\r', which a header can't carry",
    ),
    (
        "headers = { a = \"\\u0000\" }",
        "57: service.http.route.respond.headers: the value of \"a\" holds '\\0', which a header can't carry",
    ),
    (
        "headers = { a = 'é' }",
        "57: service.http.route.respond.headers: the value of \"a\" holds 'é', which a header can't carry",
    ),
    ("headers = { a = 1 }", "57: service.http.route.respond.headers: the value of \"a\" is not text"),
    (
        "headers = { content-LENGTH = '1' }",
        "57: service.http.route.respond.headers: \"content-LENGTH\" is masterd's own; leave it out",
    ),
    (
        "headers = []",
        "55: service.http.route.respond.headers: must be a table of header names and values, not an array",
    ),
    (
        "delay = '-1s'",
        "53: service.http.route.respond.delay: \"-1s\" is not a duration; write numbers with the units ms, s, m, h or d, such as \"30s\" or \"1m30s\"",
    ),
];

#[test]
fn routes_and_responses() {
    for (text, expected) in ROUTES {
        check(&routes(text), &format!("m.toml:4:{expected}"));
    }
    for (text, expected) in RESPONSES {
        check(&respond(text), &format!("m.toml:4:{expected}"));
    }
    for (line, expected) in [
        ("max_header_size = '4KiB'", "must be a size from \"8KiB\" to \"1MiB\", not \"4KiB\""),
        (
            "max_header_size = 8192",
            "must be a size from \"8KiB\" to \"1MiB\", not 8192; did you mean \"8192\"?",
        ),
    ] {
        check(
            &SERVICE.replace("{ route", &format!("{{ {line}, route")),
            &format!("m.toml:4:28: service.http.max_header_size: {expected}"),
        );
    }
}
