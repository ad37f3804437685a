//! Request lines (RFC 9112, 3): method, target and version, with one blank between. The target goes on
//! byte by byte, in origin-form; what it must not contain is refused.

use crate::case::{Case, SMUGGLED, Step, case, join, request, want};

/// Lines that are no request line, or none of HTTP/1. Those of other versions may get 505.
const BAD_LINES: &[(&str, &[u8])] = &[
    ("a tab for each blank", b"GET\t/case\tHTTP/1.1"),
    ("a tab before the version", b"GET /case\tHTTP/1.1"),
    ("a vertical tab for a blank", b"GET\x0b/case HTTP/1.1"),
    ("a form feed for a blank", b"GET /case\x0cHTTP/1.1"),
    ("a no-break space for a blank", b"GET /case\xa0HTTP/1.1"),
    ("a blank within the target", b"GET /ca se HTTP/1.1"),
    ("a version within the target", b"GET /case HTTP/1.1 HTTP/1.1"),
    ("a second request within the target", b"GET /case HTTP/1.1 GET /smuggled HTTP/1.1"),
    ("no target", b"GET HTTP/1.1"),
    ("an empty target", b"GET  HTTP/1.1"),
    ("no method", b"/case HTTP/1.1"),
    ("an empty method", b" /case HTTP/1.1"),
    ("only a method", b"GET"),
    ("a colon behind the method", b"GET: /case HTTP/1.1"),
    ("a method with a bracket", b"GE(T /case HTTP/1.1"),
    ("a method with a slash", b"GET/ /case HTTP/1.1"),
    ("a method with an at", b"G@T /case HTTP/1.1"),
    ("a method with a quote", b"\"GET\" /case HTTP/1.1"),
    ("a method with a NUL", b"GET\0 /case HTTP/1.1"),
    ("a method with a control character", b"G\x01T /case HTTP/1.1"),
    ("a method with UTF-8", b"G\xc3\x89T /case HTTP/1.1"),
    ("no version", b"GET /case"),
    ("no version but a blank", b"GET /case "),
    ("HTTP/0.9", b"GET /case HTTP/0.9"),
    ("HTTP/2.0", b"GET /case HTTP/2.0"),
    ("HTTP/2", b"GET /case HTTP/2"),
    ("HTTP/3.0", b"GET /case HTTP/3.0"),
    ("HTTP/9.9", b"GET /case HTTP/9.9"),
    ("HTTP/1.10", b"GET /case HTTP/1.10"),
    ("HTTP/1.01", b"GET /case HTTP/1.01"),
    ("HTTP/01.1", b"GET /case HTTP/01.1"),
    ("HTTP/11", b"GET /case HTTP/11"),
    ("HTTP/1", b"GET /case HTTP/1"),
    ("HTTP/1.", b"GET /case HTTP/1."),
    ("HTTP/.1", b"GET /case HTTP/.1"),
    ("HTTP/1,1", b"GET /case HTTP/1,1"),
    ("HTTP/1.1.1", b"GET /case HTTP/1.1.1"),
    ("HTTP/1.1 and a letter", b"GET /case HTTP/1.1x"),
    ("HTTP/1.1 and a NUL", b"GET /case HTTP/1.1\0"),
    ("HTTP/1.1 and a tab", b"GET /case HTTP/1.1\t"),
    ("HTTP/+1.1", b"GET /case HTTP/+1.1"),
    ("HTTP/-1.1", b"GET /case HTTP/-1.1"),
    ("HTTP/1.A", b"GET /case HTTP/1.A"),
    ("HTTP 1.1", b"GET /case HTTP 1.1"),
    ("a blank in the version", b"GET /case HTTP/ 1.1"),
    ("http/1.1", b"GET /case http/1.1"),
    ("Http/1.1", b"GET /case Http/1.1"),
    ("HTTPS/1.1", b"GET /case HTTPS/1.1"),
    ("XHTTP/1.1", b"GET /case XHTTP/1.1"),
    ("ICY/1.1", b"GET /case ICY/1.1"),
    ("another protocol", b"SSH-2.0-OpenSSH_9.2"),
    ("an answer", b"HTTP/1.1 200 OK"),
];

/// Targets that no reader should be given to guess about.
const BAD_TARGETS: &[(&str, &[u8])] = &[
    ("a fragment", b"/case#part"),
    ("an empty fragment", b"/case#"),
    ("a fragment behind a query", b"/case?a=b#part"),
    ("a fragment and a path", b"/case#/../smuggled"),
    ("a fragment at once", b"#/case"),
    ("a NUL", b"/ca\0se"),
    ("a control character", b"/ca\x01se"),
    ("a unit separator", b"/ca\x1fse"),
    ("a DEL", b"/ca\x7fse"),
    ("a byte of more than 7 bits", b"/ca\xe9se"),
    ("a byte of 8 bits", b"/ca\xffse"),
    ("UTF-8", b"/ca\xc3\xa9se"),
    ("UTF-8 in a query", b"/case?\xc3\xa9"),
    ("no slash", b"case"),
    ("a relative path", b"./case"),
    ("a path above all", b"../case"),
    ("a backslash for a slash", b"\\case"),
    ("only a query", b"?a=b"),
    ("an authority", b"h1.test:80"),
    ("a host", b"h1.test"),
    ("a port", b":80"),
    ("two slashes behind a colon", b"://h1.test/case"),
    ("an empty authority", b"http:///case"),
    ("one slash behind a scheme", b"http:/case"),
    ("no slash behind a scheme", b"http:case"),
    ("only a scheme", b"http://"),
    ("a scheme that is none", b"ht!tp://h1.test/case"),
    ("a port that is none", b"http://h1.test:abc/case"),
    ("a port that is too large", b"http://h1.test:99999/case"),
    ("a control character in an authority", b"http://h1.\x01test/case"),
    ("a fragment behind an absolute one", b"http://h1.test/case#part"),
    ("a fragment in an authority", b"http://h1.test#@other.test/case"),
    ("a backslash in an authority", b"http://h1.test\\@other.test/case"),
];

/// Targets that go on as they are: a proxy has no business in them.
const GOOD_TARGETS: &[(&str, &str)] = &[
    ("a query", "/case?a=b&c=d"),
    ("an empty query", "/case?"),
    ("question marks", "/case??a=?"),
    ("an absolute one in a query", "/case?u=http://other.test/"),
    ("a slash behind", "/case/"),
    ("two slashes", "//case"),
    ("two slashes that look like an authority", "//other.test/case"),
    ("many slashes", "/a//b///c"),
    ("dots", "/a/./b/../c"),
    ("dots, escaped", "/a/%2e%2e/c"),
    ("a slash, escaped", "/a%2fb"),
    ("a blank, escaped", "/a%20b"),
    ("a line end, escaped", "/a%0d%0aX-A:%201"),
    ("UTF-8, escaped", "/%c3%a9"),
    ("escapes in two cases", "/%C3%a9%2F%2f"),
    ("a fragment, escaped", "/case%23part"),
    ("parameters", "/case;a=b;c"),
    ("marks", "/-._~!$&'()*+,;=:@"),
    ("an at", "/user@other.test"),
    ("a colon", "/case:80"),
];

/// Wrong by RFC 3986 or hardly of use, and seen all the same: as they are, or refused.
const ODD_TARGETS: &[(&str, &str)] = &[
    ("dots above all", "/../../case"),
    ("a NUL, escaped", "/a%00b"),
    ("an escape that is none", "/a%zz"),
    ("half an escape", "/a%"),
    ("quotes", "/ca\"se"),
    ("a less-than", "/ca<se"),
    ("a greater-than", "/ca>se"),
    ("a backslash", "/ca\\se"),
    ("a caret", "/ca^se"),
    ("a backtick", "/ca`se"),
    ("braces", "/ca{se}"),
    ("a bar", "/ca|se"),
    ("brackets", "/case?a[]=1"),
    ("braces in a query", "/case?{\"a\":1}"),
];

const METHODS: &[&str] = &[
    "GET",
    "POST",
    "PUT",
    "DELETE",
    "PATCH",
    "OPTIONS",
    "PROPFIND",
    "M-SEARCH",
    "QUERY",
    "FOO",
    "get",
    "Get",
    "post",
    "X_Y",
    "A.B",
    "!#$%&'*+-.^_`|~09",
];

pub fn cases() -> Vec<Case> {
    let mut cases = absolute();
    for (name, line) in BAD_LINES {
        let bytes = join(&[line, b"\r\nHost: h1.test\r\n\r\n", SMUGGLED]);
        cases.push(case(format!("a request line: {name}"), bytes).refused(&[400, 501, 505]));
    }
    for (name, target) in BAD_TARGETS {
        let bytes = join(&[b"GET ", target, b" HTTP/1.1\r\nHost: h1.test\r\n\r\n", SMUGGLED]);
        cases.push(case(format!("a target: {name}"), bytes).refused(&[400]));
    }
    for (name, target) in GOOD_TARGETS {
        let asks = format!("GET {target}");
        let bytes = request(&format!("{asks} HTTP/1.1"), "", "");
        cases.push(case(format!("a target: {name}"), bytes).forwarded([want(&asks)]));
    }
    for (name, target) in ODD_TARGETS {
        let asks = format!("GET {target}");
        let bytes = request(&format!("{asks} HTTP/1.1"), "", "");
        cases.push(case(format!("a target: {name}"), bytes).refused(&[400]).forwarded([want(&asks)]));
    }
    for method in METHODS {
        let asks = format!("{method} /case");
        let bytes = request(&format!("{asks} HTTP/1.1"), "", "");
        cases.push(case(format!("the method {method}"), bytes).forwarded([want(&asks)]));
    }
    cases.extend(others());
    cases
}

/// The whole address as a target: the authority in it is the host, whatever Host says (RFC 9112, 3.2.2).
fn absolute() -> Vec<Case> {
    let ask = |name: &str, target: &str, fields: &str| {
        case(format!("an absolute target: {name}"), format!("GET {target} HTTP/1.1\r\n{fields}\r\n"))
    };
    let host = "Host: h1.test\r\n";
    vec![
        ask("its host is Host", "http://h1.test/case", host).forwarded([want("GET /case")]),
        ask("with a query", "http://h1.test/case?a=b", host).forwarded([want("GET /case?a=b")]),
        ask("without a path", "http://h1.test", host).forwarded([want("GET /")]),
        ask("with a query and no path", "http://h1.test?a=b", host)
            .forwarded([want("GET /?a=b")])
            .refused(&[400]),
        ask("with a port", "http://h1.test:8080/case", "Host: h1.test:8080\r\n")
            .forwarded([want("GET /case").host("h1.test:8080")]),
        ask("in capitals", "HTTP://h1.test/case", host).forwarded([want("GET /case")]).refused(&[400]),
        ask("its host in capitals", "http://H1.TEST/case", host)
            .forwarded([want("GET /case")])
            .forwarded([want("GET /case").host("H1.TEST")])
            .refused(&[400]),
        ask("the usual port", "http://h1.test:80/case", host)
            .forwarded([want("GET /case")])
            .forwarded([want("GET /case").host("h1.test:80")])
            .refused(&[400]),
        // Host is not to be believed: refused, or replaced.
        ask("another Host", "http://h1.test/case", "Host: other.test\r\n")
            .refused(&[400])
            .forwarded([want("GET /case")]),
        ask("another port", "http://h1.test:81/case", host)
            .refused(&[400])
            .forwarded([want("GET /case").host("h1.test:81")]),
        ask("an empty Host", "http://h1.test/case", "Host:\r\n")
            .refused(&[400])
            .forwarded([want("GET /case")]),
        ask("no Host", "http://h1.test/case", "").refused(&[400]),
        ask("two Hosts", "http://h1.test/case", "Host: h1.test\r\nHost: other.test\r\n").refused(&[400]),
        ask("a Host that is none", "http://h1.test/case", "Host: a@b\r\n").refused(&[400]),
        ask("a user", "http://user@h1.test/case", host).refused(&[400]),
        ask("a user that looks like a host", "http://h1.test:80@other.test/case", host).refused(&[400]),
        ask("https", "https://h1.test/case", host).forwarded([want("GET /case")]).refused(&[400, 421]),
        ask("ftp", "ftp://h1.test/case", host).forwarded([want("GET /case")]).refused(&[400, 421, 501]),
        case("an absolute target: HTTP/1.0", "GET http://h1.test/case HTTP/1.0\r\n\r\n")
            .forwarded([want("GET /case")])
            .refused(&[400]),
    ]
}

fn others() -> Vec<Case> {
    let connect = |name: &str, line: &str, fields: &str| {
        case(name, request(line, fields, SMUGGLED)).refused(&[400, 403, 404, 405, 501])
    };
    let own: &[u16] = &[200, 204, 400, 403, 404, 405, 501];
    let get = |name: &str, line: &str| case(name, request(line, "", ""));
    vec![
        connect("CONNECT", "CONNECT h1.test:443 HTTP/1.1", ""),
        connect("CONNECT to another port", "CONNECT other.test:25 HTTP/1.1", ""),
        connect("CONNECT with a path", "CONNECT /case HTTP/1.1", ""),
        connect("CONNECT with a length", "CONNECT h1.test:443 HTTP/1.1", "Content-Length: 41\r\n"),
        connect("CONNECT with a coding", "CONNECT h1.test:443 HTTP/1.1", "Transfer-Encoding: chunked\r\n"),
        connect("CONNECT with an absolute target", "CONNECT http://h1.test/ HTTP/1.1", ""),
        get("OPTIONS *", "OPTIONS * HTTP/1.1").declined(own).forwarded([want("OPTIONS *")]),
        get("GET *", "GET * HTTP/1.1").declined(&[400, 404]),
        get("OPTIONS with another star", "OPTIONS *x HTTP/1.1").declined(&[400, 404]),
        get("TRACE", "TRACE /case HTTP/1.1").declined(&[403, 405, 501]).forwarded([want("TRACE /case")]),
        get("HTTP/1.2", "GET /case HTTP/1.2").refused(&[400, 505]).forwarded([want("GET /case")]),
        get("two blanks", "GET  /case HTTP/1.1").refused(&[400]).forwarded([want("GET /case")]),
        get("two blanks before the version", "GET /case  HTTP/1.1")
            .refused(&[400])
            .forwarded([want("GET /case")]),
        get("a blank behind the version", "GET /case HTTP/1.1 ")
            .refused(&[400])
            .forwarded([want("GET /case")]),
        case("HTTP/0.9", "GET /case\r\n").then(Step::Fin).refused(&[400, 505]).dropped(),
        case("HTTP/1.0", "GET /case HTTP/1.0\r\nHost: h1.test\r\n\r\n").forwarded([want("GET /case")]),
    ]
}
