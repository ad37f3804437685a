//! The rules of what routes and tcp services do: an example that breaks each, as in `faults`.

use super::faults::*;
use super::*;
use crate::config::resolve::System;

/// A route with one action more; it begins at column 33 of line 4.
fn action(text: &str) -> String {
    routes(&format!("{{ path = '/', {text} }}"))
}

/// A route that proxies to these upstreams; they begin at column 55 of line 4.
fn upstreams(text: &str) -> String {
    action(&format!("proxy = {{ upstream = [{text}] }}"))
}

/// A service of another kind; `tcp` begins in line 4.
fn tcp(text: &str) -> String {
    SERVICE.replace("http = { route = [{ path = '/', status = 'json' }] }", text)
}

const UPSTREAMS: &[(&str, &str)] = &[
    ("example.com", "\"example.com\" has no port; write \"example.com:PORT\""),
    ("1.2.3.4", "\"1.2.3.4\" has no port; write \"1.2.3.4:PORT\""),
    ("::1", "\"::1\" has no port; write \"[::1]:PORT\""),
    ("[::1]", "\"[::1]\" has no port; write \"[::1]:PORT\""),
    ("::1:80", "\"::1:80\" is no upstream; did you mean \"[::1]:80\"?"),
    ("9000", "\"9000\" is no upstream; did you mean \"127.0.0.1:9000\"?"),
    (":80", "\"\" is no host name; did you mean \"127.0.0.1:80\"?"),
    ("*:80", "\"*\" is no host name; it holds '*'; did you mean \"127.0.0.1:80\"?"),
    ("", "\"\" is no host name"),
    ("a:0", "nothing can be reached at port 0, as in \"a:0\""),
    ("1.2.3.4:0", "nothing can be reached at port 0, as in \"1.2.3.4:0\""),
    ("a:65536", "\"65536\" is no port, as in \"a:65536\"; a port is a number from 1 to 65535"),
    ("a:http", "\"http\" is no port, as in \"a:http\"; a port is a number from 1 to 65535"),
    ("a:+80", "\"+80\" is no port, as in \"a:+80\"; a port is a number from 1 to 65535"),
    ("a:", "\"\" is no port, as in \"a:\"; a port is a number from 1 to 65535"),
    ("a b:80", "\"a b\" is no host name; it holds ' '"),
    ("a:80/x", "\"80/x\" is no port, as in \"a:80/x\"; a port is a number from 1 to 65535"),
    ("-a.b:80", "\"-a.b\" is no host name"),
    ("a..b:80", "\"a..b\" is no host name"),
    ("1.2.3.400:80", "\"1.2.3.400\" is no host name and no IP address"),
    (
        "[::ffff:1.2.3.4]:80",
        "\"[::ffff:1.2.3.4]:80\" is an IPv4 address written as IPv6; write \"1.2.3.4:80\"",
    ),
    ("http://a:8080/x", "\"http://a:8080/x\" is a URL; an upstream is an address; did you mean \"a:8080\"?"),
    ("http://a", "\"http://a\" is a URL; an upstream is an address; did you mean \"a:80\"?"),
    (
        "HTTP://[::1]/?x",
        "\"HTTP://[::1]/?x\" is a URL; an upstream is an address; did you mean \"[::1]:80\"?",
    ),
    ("http://", "\"http://\" is a URL; an upstream is an address; write \"NAME:PORT\""),
    (
        "http://unix:/run/a:/",
        "\"http://unix:/run/a:/\" is a URL; an upstream is an address; did you mean \"unix:/run/a\"?",
    ),
    (
        "https://a",
        "\"https://a\" is a URL; an upstream is an address; write \"NAME:PORT\"; TLS is not spoken to upstreams",
    ),
    ("unix:///run/a", "\"unix:///run/a\" is a URL; an upstream is an address; did you mean \"unix:/run/a\"?"),
    ("/run/a", "\"/run/a\" is no upstream; did you mean \"unix:/run/a\"?"),
    ("unix:", "the path is empty"),
    ("unix:@", "an abstract socket needs a name after \"unix:@\", without control characters"),
];

#[test]
fn an_upstream_is_an_address() {
    for (text, expected) in UPSTREAMS {
        check(
            &upstreams(&format!("'{text}'")),
            &format!("m.toml:4:55: service.http.route.proxy.upstream: {expected}"),
        );
    }
    let long = upstreams(&format!("'a:1', 'unix:/{}'", "x".repeat(107)));
    let [message] = &errors(&long, false)[..] else { panic!() };
    assert!(
        message.starts_with("m.toml:4:62: service.http.route.proxy.upstream: the socket path")
            && message.contains("has 108 bytes; the kernel takes at most 107"),
        "{message}"
    );
    let name = |length| format!("'{}:1'", vec!["a".repeat(length); 4].join("."));
    assert_eq!(errors(&upstreams(&name(64)), false).len(), 1, "a label has 63 bytes at most");
    assert!(load_text(&upstreams(&name(62)), false).is_ok());
    for good in ["'localhost:80'", "'a.example.:65535'", "'A_b-1.x:1', '0:1.example:1'"] {
        assert_eq!(load_text(&upstreams(good), false).is_ok(), !good.contains("0:1"), "{good}");
    }
}

const PROXIES: &[(&str, &str)] = &[
    (
        "{ retries = 0 }",
        "41: \"upstream\" is missing in [service.http.route.proxy]; write, for example, upstream = [\"127.0.0.1:9000\"]",
    ),
    ("{ upstream = [] }", "54: service.http.route.proxy.upstream: a proxy needs at least one upstream"),
    (
        "{ upstream = 'a:80' }",
        "54: service.http.route.proxy.upstream: must be an array of \"IP:PORT\", \"NAME:PORT\", \"unix:PATH\" or \"unix:@NAME\", not \"a:80\"; did you mean [\"a:80\"]?",
    ),
    (
        "{ upstream = [80] }",
        "55: service.http.route.proxy.upstream: must be an array of \"IP:PORT\", \"NAME:PORT\", \"unix:PATH\" or \"unix:@NAME\", not 80",
    ),
    ("'a:80'", "41: service.http.route.proxy: must be a table, not \"a:80\""),
    (
        "{ upstream = ['a:1'], max_failures = -1 }",
        "78: service.http.route.proxy.max_failures: must be an integer from 0 to 1000000, not -1",
    ),
    (
        "{ upstream = ['a:1'], connect_timeout = '0s' }",
        "81: service.http.route.proxy.connect_timeout: must be a duration of at least \"1ms\", not \"0s\"",
    ),
    (
        "{ upstream = ['a:1'], proxy_protocol = 2 }",
        "80: service.http.route.proxy.proxy_protocol: must be \"v1\" or \"v2\", not 2",
    ),
    (
        "{ upstream = ['a:1'], proxy_protocol = 'v2', http2 = true }",
        "94: service.http.route.proxy.http2: its connections are shared, but a PROXY protocol header names one client for the whole of one; leave out http2 or proxy_protocol",
    ),
    (
        "{ upstream = ['a:1'], proxy_protocol = 'v2', keep_alive = 1 }",
        "99: service.http.route.proxy.keep_alive: a kept connection is used for other clients, but a PROXY protocol header names one for the whole of it; leave out keep_alive or proxy_protocol",
    ),
    (
        "{ upstream = ['a:1'], keep_alive = '50s' }",
        "76: service.http.route.proxy.keep_alive: must be an integer from 0 to 10000, not \"50s\"",
    ),
];

const REDIRECTS: &[(&str, &str)] = &[
    (
        "{ status = 308 }",
        "44: \"to\" is missing in [service.http.route.redirect]; write, for example, to = \"https://{host}{target}\"",
    ),
    (
        "{ to = '/new' }",
        "51: service.http.route.redirect.to: \"/new\" does not begin with \"http://\" or \"https://\"; did you mean \"https://{host}/new\"?",
    ),
    (
        "{ to = 'a.example{target}' }",
        "51: service.http.route.redirect.to: \"a.example{target}\" does not begin with \"http://\" or \"https://\"; did you mean \"https://a.example{target}\"?",
    ),
    (
        "{ to = 'ftp://a' }",
        "51: service.http.route.redirect.to: \"ftp://a\" does not begin with \"http://\" or \"https://\"",
    ),
    (
        "{ to = 'https://{target}' }",
        "51: service.http.route.redirect.to: \"https://{target}\" names no host; write, for example, \"https://{host}{target}\"",
    ),
    (
        "{ to = 'https:///x' }",
        "51: service.http.route.redirect.to: \"https:///x\" names no host; write, for example, \"https://{host}{target}\"",
    ),
    (
        "{ to = 'https://{hots}/' }",
        "51: service.http.route.redirect.to: there is no token \"{hots}\"; did you mean \"{host}\"?",
    ),
    (
        "{ to = 'https://{host}{target}{scheme}' }",
        "51: service.http.route.redirect.to: there is no token \"{scheme}\"; {host} and {target} are replaced",
    ),
    ("{ to = 'https://{host}/{' }", "51: service.http.route.redirect.to: it holds '{', which a URL can't"),
    ("{ to = 'https://a/ b' }", "51: service.http.route.redirect.to: it holds ' ', which a URL can't"),
    (
        "{ to = \"https://a/\\r\\nX: y\" }",
        "51: service.http.route.redirect.to: it holds '\\r', which a URL can't",
    ),
    ("{ to = 'https://é/' }", "51: service.http.route.redirect.to: it holds 'é', which a URL can't"),
    (
        "{ to = 'https://a', status = 300 }",
        "73: service.http.route.redirect.status: must be 301, 302, 303, 307 or 308, not 300",
    ),
    (
        "{ to = 'https://a', status = '308' }",
        "73: service.http.route.redirect.status: must be 301, 302, 303, 307 or 308, not \"308\"",
    ),
];

const FILES: &[(&str, &str)] = &[
    (
        "{ index = 'a' }",
        "41: \"root\" is missing in [service.http.route.files]; write, for example, root = \"www\"",
    ),
    (
        "{ root = 'www' }",
        "50: service.http.route.files.root: there is no folder \"DIR/www\"; make it, or name another; a relative path begins at the folder of the main config file",
    ),
    (
        "{ root = '/srv/file' }",
        "50: service.http.route.files.root: \"/srv/file\" is no folder; name the folder that holds the files",
    ),
    (
        "{ root = '/srv/closed' }",
        "50: service.http.route.files.root: the folder \"/srv/closed\" can't be looked at: Permission denied (os error 13)",
    ),
    (
        "{ root = '/srv/latin1' }",
        "50: service.http.route.files.root: the real path of \"/srv/latin1\" is not valid UTF-8; rename it",
    ),
    (
        "{ root = '/srv/lines' }",
        "50: service.http.route.files.root: the path \"/srv/a\\nb\" holds a control character",
    ),
    (
        "{ root = '/srv/www', index = 'a/b' }",
        "70: service.http.route.files.index: \"a/b\" is no bare file name; an index is looked for in each folder: leave the folder out",
    ),
    (
        "{ root = '/srv/www', index = '..' }",
        "70: service.http.route.files.index: \"..\" is no bare file name; an index is looked for in each folder: leave the folder out",
    ),
    (
        "{ root = '/srv/www', index = \"\\u0000\" }",
        "70: service.http.route.files.index: the file name \"\\0\" holds a control character",
    ),
    (
        "{ root = '/srv/www', precompressed = 'gzip' }",
        "78: service.http.route.files.precompressed: must be true or false, not \"gzip\"",
    ),
];

#[test]
fn actions() {
    for (key, faults) in [("proxy", PROXIES), ("redirect", REDIRECTS), ("files", FILES)] {
        for (text, expected) in faults {
            check(&action(&format!("{key} = {text}")), &format!("m.toml:4:{expected}"));
        }
    }
    check(
        &action("respond = {}, proxy = {}"),
        "m.toml:4:19: a route has exactly one of respond, proxy, redirect, files, health and status; this one has respond and proxy",
    );
    check(
        &SERVICE.replace("{ route", "{ max_streams = 0, route"),
        "m.toml:4:24: service.http.max_streams: must be an integer from 1 to 10000, not 0",
    );
}

#[test]
fn headers_of_a_route() {
    for (headers, expected) in [
        (
            "{ Content-Length = '1' }",
            "62: service.http.route.headers: \"Content-Length\" is masterd's own; leave it out",
        ),
        (
            "{ connection = '' }",
            "62: service.http.route.headers: \"connection\" is masterd's own; leave it out",
        ),
        ("{ 'a b' = '1' }", "62: service.http.route.headers: \"a b\" is no header name"),
        (
            "{ x-a = '1', X-A = '' }",
            "60: service.http.route.headers: \"X-A\" is there twice; keep one of the two",
        ),
        ("'x'", "60: service.http.route.headers: must be a table of header names and values, not \"x\""),
    ] {
        check(&action(&format!("health = 'live', headers = {headers}")), &format!("m.toml:4:{expected}"));
    }
    assert!(load_text(&respond("headers = { x-a = '1', X-A = '2' }"), false).is_ok(), "a response may");
}

#[test]
fn tcp_services() {
    for (text, expected) in [
        (
            "tcp = {}",
            "7: a tcp service has exactly one of proxy and echo; this one has none; add proxy = { upstream = [\"127.0.0.1:9000\"] }",
        ),
        (
            "tcp.echo = false",
            "1: a tcp service has exactly one of proxy and echo; this one has none; add proxy = { upstream = [\"127.0.0.1:9000\"] }",
        ),
        (
            "tcp = { echo = true, proxy.upstream = ['a:1'] }",
            "16: a tcp service has exactly one of proxy and echo; this one has both",
        ),
        ("tcp.echo = 1", "12: service.tcp.echo: must be true or false, not 1"),
        (
            "tcp = { echo = true, idle_timeout = '0s' }",
            "37: service.tcp.idle_timeout: must be a duration of at least \"1ms\", not \"0s\"",
        ),
        (
            "tcp.proxy = { upstream = ['a'] }",
            "27: service.tcp.proxy.upstream: \"a\" has no port; write \"a:PORT\"",
        ),
        (
            "tcp.proxy = { upstream = ['a:1'], retries = 1 }",
            "35: unknown key \"retries\" in [service.tcp.proxy]; it belongs into [service.http.route.proxy]",
        ),
        (
            "tcp.echo = true\nhttp.route = [{ path = '/', health = 'live' }]",
            "1: a service has exactly one of http, tcp and exec; this one has http and tcp; make them services of their own, each with its addresses",
        ),
    ] {
        check(&tcp(text), &format!("m.toml:4:{expected}"));
    }
}

#[test]
fn around_them() {
    check(
        &with_key("drain.long_lived_grace = '29s'"),
        "m.toml:5:26: service.drain.long_lived_grace: \"29s\" is below grace, \"30s\"",
    );
    check(
        &listener("{ address = '1.2.3.4:5', proxy_protocol = 'v1' }"),
        "m.toml:3:53: service.listen.proxy_protocol: must be true or false, not \"v1\"",
    );
}

/// The machine itself: links are followed, and what is no folder is told from what is not there.
#[test]
fn a_folder_is_looked_up() {
    let folder = Folder::new();
    let real = std::fs::canonicalize(&folder.0).unwrap();
    folder.write("www/a", "");
    std::os::unix::fs::symlink("www", folder.0.join("now")).unwrap();
    std::os::unix::fs::symlink("gone", folder.0.join("loose")).unwrap();
    let look = |name: &str| System.folder(&folder.0.join(name)).map_err(|error| error.kind());
    assert_eq!(look("www"), Ok(real.join("www")));
    assert_eq!(look("now"), Ok(real.join("www")));
    assert_eq!(look("www/a"), Err(io::ErrorKind::NotADirectory));
    assert_eq!(look("www/a/b"), Err(io::ErrorKind::NotADirectory));
    assert_eq!(look("loose"), Err(io::ErrorKind::NotFound));
}
