//! `tls` of listeners: files that are of use and those that are not, and that nobody is shown what is in them.

use super::basics::FULL;
use super::*;
use crate::config::testing::Authority;
use crate::config::types::*;
use crate::config::{diff, show};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// The text and the permissions of the invented machine's files in `tls/`.
pub fn files() -> &'static BTreeMap<&'static str, (String, u32)> {
    static FILES: OnceLock<BTreeMap<&str, (String, u32)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let authority = Authority::new("tests");
        let [a, b] = [&["a.example"][..], &["b.example", "*.b.example"]].map(|hosts| authority.issue(hosts));
        let old = authority.issue_until(&["old.example"], 2001);
        BTreeMap::from([
            ("both.pem", (format!("{}{}", a.key_text.0, a.chain.text), 0o600)),
            ("a.pem", (a.chain.text, 0o644)),
            ("open.key", (a.key_text.0.clone(), 0o644)),
            ("a.key", (a.key_text.0, 0o600)),
            ("b.pem", (b.chain.text, 0o644)),
            ("b.key", (b.key_text.0, 0o600)),
            ("old.pem", (old.chain.text, 0o644)),
            ("old.key", (old.key_text.0, 0o640)),
            ("ca.pem", (authority.pem().text, 0o644)),
            ("other.pem", ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(), 0o644)),
            ("cut.pem", ("-----BEGIN CERTIFICATE-----\nsecret!\n-----END CERTIFICATE-----\n".to_owned(), 0o644)),
            ("cut.key", ("-----BEGIN PRIVATE KEY-----\nsecret!\n".to_owned(), 0o600)),
            ("no.key", ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_owned(), 0o600)),
            ("locked.key", ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n".to_owned(), 0o600)),
            ("old-locked.key", ("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n\nAAAA\n-----END RSA PRIVATE KEY-----\n".to_owned(), 0o600)),
            ("empty", (String::new(), 0o600)),
        ])
    })
}

fn service(tls: &str) -> String {
    format!(
        "[[service]]\nname = 'web'\nhttp.route = [{{ path = '/', status = 'json' }}]\n[[service.listen]]\naddress = '127.0.0.1:8443'\n{tls}\n"
    )
}

/// What is wrong with a `[service.listen.tls]`, whose first line is the seventh of the file.
fn wrong(keys: &str) -> Vec<String> {
    let all = errors(&service(&format!("[service.listen.tls]\n{keys}")), false);
    all.iter().map(|line| line.trim_start_matches("m.toml:").replace("service.listen.tls.", "")).collect()
}

fn warned(keys: &str) -> Vec<String> {
    let folder = Folder::new();
    folder.write("m.toml", service(&format!("[service.listen.tls]\n{keys}")));
    let loaded = folder.load("m.toml").unwrap_or_else(|problems| panic!("{:?}", shown(&problems)));
    let place = folder.0.to_string_lossy().into_owned();
    shown(&loaded.warnings).into_iter().map(|line| line.replace(&place, "DIR")).collect()
}

#[test]
fn the_files_are_read_by_the_check() {
    let config = load_text(FULL, true).unwrap().config;
    let tls = config.services[0].listen[6].tls.as_ref().unwrap();
    let text = |name: &str| files()[name].0.as_str();
    assert_eq!(
        (tls.certificate.chain.text.as_str(), tls.certificate.key_text.0.as_str()),
        (text("a.pem"), text("a.key"))
    );
    assert_eq!(tls.sni[0].hosts, ["b.example", "*.b.example"], "in lower case");
    assert_eq!(tls.sni[0].certificate.key_text.0, text("b.key"));
    let clients = tls.clients.as_ref().unwrap();
    assert_eq!((clients.ca.text.as_str(), clients.auth), (text("ca.pem"), ClientAuth::Optional));
}

#[test]
fn clients_must_show_a_certificate_unless_it_says_otherwise() {
    let text =
        service("tls = { certificate = 'tls/both.pem', key = 'tls/both.pem', client_ca = 'tls/ca.pem' }");
    let loaded = load_text(&text, false).unwrap();
    let tls = loaded.config.services[0].listen[0].tls.clone().unwrap();
    assert_eq!(tls.clients.unwrap().auth, ClientAuth::Required);
    assert_eq!((loaded.warnings, tls.sni), (vec![], vec![]));
}

#[test]
fn what_is_of_no_use_is_said_with_its_file_and_what_to_do() {
    let a = "certificate = 'tls/a.pem'\nkey = 'tls/a.key'\n";
    for (keys, expected) in [
        (
            "",
            vec![
                "6:1: \"certificate\" is missing in [service.listen.tls]; write, for example, certificate = \"tls/fullchain.pem\"",
                "6:1: \"key\" is missing in [service.listen.tls]; write, for example, key = \"tls/privkey.pem\"",
            ],
        ),
        (
            "certificate = 'tls/none'\nkey = 'tls/empty'",
            vec!["7:15: certificate: cannot read DIR/tls/none: No such file or directory (os error 2)"],
        ),
        (
            "certificate = 'tls/empty'\nkey = 'tls/a.key'",
            vec![
                "7:15: certificate: there is no certificate in DIR/tls/empty; name a PEM file, with a line -----BEGIN CERTIFICATE-----",
            ],
        ),
        (
            "certificate = 'tls/a.pem'\nkey = 'tls/a.pem'",
            vec![
                "8:7: key: there is no private key in DIR/tls/a.pem; name a PEM file, with a line -----BEGIN PRIVATE KEY-----",
            ],
        ),
        (
            "certificate = 'tls/cut.pem'\nkey = 'tls/a.key'",
            vec!["7:15: certificate: DIR/tls/cut.pem is not a proper PEM file"],
        ),
        (
            "certificate = 'tls/other.pem'\nkey = 'tls/a.key'",
            vec![
                "7:15: certificate: the first certificate in DIR/tls/other.pem cannot be read: invalid peer certificate: BadEncoding",
            ],
        ),
        (
            "certificate = 'tls/a.pem'\nkey = 'tls/cut.key'",
            vec!["8:7: key: DIR/tls/cut.key is not a proper PEM file"],
        ),
        (
            "certificate = 'tls/a.pem'\nkey = 'tls/locked.key'",
            vec![
                "8:7: key: the key in DIR/tls/locked.key is encrypted, and nobody is there to be asked for its passphrase; decrypt it: openssl pkey -in DIR/tls/locked.key -out NEW",
            ],
        ),
        (
            "certificate = 'tls/a.pem'\nkey = 'tls/old-locked.key'",
            vec![
                "8:7: key: the key in DIR/tls/old-locked.key is encrypted, and nobody is there to be asked for its passphrase; decrypt it: openssl pkey -in DIR/tls/old-locked.key -out NEW",
            ],
        ),
        (
            "certificate = 'tls/a.pem'\nkey = 'tls/b.key'",
            vec![
                "8:7: key: the key in DIR/tls/b.key is not that of the first certificate in DIR/tls/a.pem; the server's own certificate comes first in its file, before those that signed it",
            ],
        ),
        (
            &format!("{a}client_ca = 'tls/a.key'"),
            vec![
                "9:13: client_ca: there is no certificate in DIR/tls/a.key; name a PEM file, with a line -----BEGIN CERTIFICATE-----",
            ],
        ),
        (
            &format!("{a}client_auth = 'optional'"),
            vec![
                "9:15: client_auth: without client_ca no certificate can be judged; set client_ca, or leave client_auth out",
            ],
        ),
        (
            &format!("{a}client_ca = 'tls/ca.pem'\nclient_auth = 'no'"),
            vec!["10:15: client_auth: must be \"required\" or \"optional\", not \"no\""],
        ),
        (&format!("{a}ca = 'tls/ca.pem'"), vec!["9:1: unknown key \"ca\" in [service.listen.tls]"]),
        (
            &format!("{a}sni = 'b'"),
            vec!["9:7: sni: must be an array of tables with certificate, key and hosts, not \"b\""],
        ),
    ] {
        assert_eq!(wrong(keys), expected, "{keys}");
    }
    let text = service("tls = true");
    assert_eq!(errors(&text, false), ["m.toml:6:7: service.listen.tls: must be a table, not true"]);
}

#[test]
fn a_key_of_a_kind_that_can_not_be_used_is_named() {
    let said = wrong("certificate = 'tls/a.pem'\nkey = 'tls/no.key'");
    assert!(
        said.len() == 1 && said[0].starts_with("8:7: key: the key in DIR/tls/no.key cannot be used: "),
        "{said:?}"
    );
}

#[test]
fn hosts_have_rules() {
    let sni = |hosts: &str| {
        format!(
            "certificate = 'tls/a.pem'\nkey = 'tls/a.key'\n[[service.listen.tls.sni]]\ncertificate = 'tls/b.pem'\nkey = 'tls/b.key'\n{hosts}"
        )
    };
    for (hosts, expected) in [
        (
            "",
            "9:1: \"hosts\" is missing in [[sni]]; write, for example, hosts = [\"b.example\", \"*.b.example\"]",
        ),
        ("hosts = []", "12:9: sni.hosts: a certificate for no host is never shown"),
        (
            "hosts = 'b.example'",
            "12:9: sni.hosts: must be an array of host names, with or without \"*.\" in front, not \"b.example\"",
        ),
        (
            "hosts = [1]",
            "12:10: sni.hosts: must be an array of host names, with or without \"*.\" in front, not 1",
        ),
        (
            "hosts = ['b.example:443']",
            "12:10: sni.hosts: \"b.example:443\" is no host name; write a name without port, such as \"b.example\" or \"*.b.example\"",
        ),
        (
            "hosts = ['127.0.0.1']",
            "12:10: sni.hosts: \"127.0.0.1\" is no host name; write a name without port, such as \"b.example\" or \"*.b.example\"",
        ),
        (
            "hosts = ['a.*.example']",
            "12:10: sni.hosts: \"a.*.example\" is no host name; write a name without port, such as \"b.example\" or \"*.b.example\"",
        ),
        (
            "hosts = ['b.example.']",
            "12:10: sni.hosts: \"b.example.\" is no host name; write a name without port, such as \"b.example\" or \"*.b.example\"",
        ),
        (
            "hosts = ['b.example', 'B.example']",
            "12:23: sni.hosts: \"B.example\" has a certificate already, at DIR/m.toml:12:10",
        ),
    ] {
        assert_eq!(wrong(&sni(hosts)), [expected], "{hosts}");
    }
    assert_eq!(warned(&sni("hosts = ['*.b.example', 'b.example']")), Vec::<String>::new());
    assert_eq!(
        warned(&sni("hosts = ['x.y.b.example', 'b.example']")),
        [
            "m.toml:12:10: service.listen.tls.sni.hosts: the certificate in DIR/tls/b.pem is not for \"x.y.b.example\""
        ]
    );
}

#[test]
fn what_is_doubtful_is_a_warning() {
    assert_eq!(
        warned("certificate = 'tls/a.pem'\nkey = 'tls/open.key'"),
        [
            "m.toml:8:7: service.listen.tls.key: every user of this machine can read DIR/tls/open.key: chmod o-r DIR/tls/open.key"
        ]
    );
    assert_eq!(
        warned("certificate = 'tls/old.pem'\nkey = 'tls/old.key'"),
        [
            "m.toml:7:15: service.listen.tls.certificate: the certificate in DIR/tls/old.pem has expired, at 2001-01-01T00:00:00Z"
        ]
    );
}

#[test]
fn real_files_are_read_and_fifos_are_not_waited_for() {
    let folder = Folder::new();
    folder.write("real.pem", &files()["a.pem"].0);
    folder.write("real.key", &files()["a.key"].0);
    let text = service("tls = { certificate = 'real.pem', key = 'real.key' }");
    folder.write("m.toml", &text);
    folder.load("m.toml").unwrap_or_else(|problems| panic!("{:?}", shown(&problems)));
    nix::unistd::mkfifo(&folder.0.join("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    folder.write("m.toml", text.replace("real.key", "fifo"));
    let said = shown(&folder.load("m.toml").unwrap_err());
    assert!(said.len() == 1 && said[0].ends_with("fifo: it is no regular file"), "{said:?}");
    std::fs::File::create(folder.0.join("large")).unwrap().set_len((1 << 20) + 1).unwrap();
    folder.write("m.toml", text.replace("real.pem", "large"));
    let said = shown(&folder.load("m.toml").unwrap_err());
    assert!(said.len() == 1 && said[0].ends_with("large: it is larger than 1048576 bytes"), "{said:?}");
    folder.write("large", b"\xff\xfe");
    let said = shown(&folder.load("m.toml").unwrap_err());
    assert!(said.len() == 1 && said[0].ends_with("large is not a PEM file: it is not text"), "{said:?}");
}

#[test]
fn nobody_is_shown_what_is_in_a_file() {
    let config = load_text(FULL, true).unwrap().config;
    let key = files()["a.key"].0.lines().nth(1).unwrap();
    assert!(serde_json::to_string(&config).unwrap().contains(key), "workers get it");
    let mut other = config.clone();
    other.services[0].listen[6].tls = None;
    let mut changes = diff(&config, &other);
    changes.extend(diff(&other, &config));
    for text in [show(&config), format!("{config:?}"), format!("{changes:?}")] {
        assert!(!text.contains(key) && !text.contains("PRIVATE"), "{text}");
    }
    assert!(!show(&config).contains("BEGIN"));
}

#[test]
fn a_file_that_holds_something_else_is_a_change_that_new_workers_get() {
    let old = load_text(FULL, true).unwrap().config;
    let mut new = old.clone();
    let tls = new.services[0].listen[6].tls.as_mut().unwrap();
    tls.certificate.chain.text.push('\n');
    tls.certificate.key_text.0.push('\n');
    tls.sni[0].certificate.chain.text.push('\n');
    tls.clients.as_mut().unwrap().ca.text.push('\n');
    let folder = old.path.parent().unwrap().to_string_lossy().into_owned();
    let said: Vec<String> =
        diff(&old, &new).iter().map(|change| change.to_string().replace(&folder, "DIR")).collect();
    assert_eq!(
        said,
        [
            "listener 127.0.0.1:8443: certificate DIR/tls/a.pem is another file: new workers have it",
            "listener 127.0.0.1:8443: certificate DIR/tls/b.pem is another file: new workers have it",
            "listener 127.0.0.1:8443: client_ca DIR/tls/ca.pem is another file: new workers have it",
            "listener 127.0.0.1:8443: key DIR/tls/a.key is another file: new workers have it",
        ]
    );
    let removed = {
        new.services[0].listen[6].tls = None;
        diff(&old, &new)
    };
    assert!(removed.iter().all(|change| change.effect == crate::config::Effect::Restarted), "{removed:?}");
}

#[test]
fn a_config_recorded_before_there_was_tls_is_read() {
    let config = load_text(SERVICE, false).unwrap().config;
    let mut json = serde_json::to_value(&config).unwrap();
    let listen = json.pointer_mut("/services/0/listen/0").and_then(serde_json::Value::as_object_mut).unwrap();
    assert!(listen.remove("tls").is_some());
    assert_eq!(serde_json::from_value::<Config>(json).unwrap(), config);
}
