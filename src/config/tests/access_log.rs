//! Which service has which access log, and what may share a file.

use super::faults::{check, master, with_key};
use super::*;
use crate::config::Config;
use crate::config::types::{AccessLog, LogFormat};

/// A second service, with this line.
fn second(line: &str) -> String {
    SERVICE.replace("web", "api").replace("8080", "8081") + line + "\n"
}

fn logs(text: &str) -> Vec<Option<(String, LogFormat)>> {
    let loaded = load_text(text, false).unwrap_or_else(|problems| panic!("{:?}", shown(&problems)));
    assert_eq!(loaded.warnings, []);
    let name = |log: &AccessLog| (log.file.file_name().unwrap().to_string_lossy().into_owned(), log.format);
    let Config { master, services, .. } = loaded.config;
    let all = std::iter::once(&master.access_log).chain(services.iter().map(|s| &s.access_log));
    all.map(|log| log.as_ref().map(name)).collect()
}

fn of(file: &str, format: LogFormat) -> Option<(String, LogFormat)> {
    Some((file.to_owned(), format))
}

#[test]
fn a_service_has_its_own_or_the_masters_or_none() {
    assert_eq!(logs(SERVICE), [None, None]);
    let text = of("a", LogFormat::Text);
    assert_eq!(logs(&master("access_log.file = 'a'")), [text.clone(), text.clone()]);
    assert_eq!(logs(&with_key("access_log.file = 'a'")), [None, text.clone()]);
    assert_eq!(logs(&with_key("access_log.enabled = false")), [None, None]);
    let off = "access_log = { enabled = false, file = 'b' }";
    let json = "access_log = { file = 'c', format = 'json' }";
    let all = master("access_log.file = 'a'")
        + &second(off)
        + &second(json).replace("api", "x").replace("8081", "8082");
    assert_eq!(logs(&all), [text.clone(), text, None, of("c", LogFormat::Json)]);
}

#[test]
fn services_may_share_a_file_in_one_format() {
    let json = "access_log = { file = './a', format = 'json' }";
    let shared = of("a", LogFormat::Json);
    assert_eq!(logs(&(with_key(json) + &second(json))), [None, shared.clone(), shared]);
    check(
        &(with_key(json) + &second("access_log.file = 'a'")),
        "m.toml:10:19: service.access_log.file: DIR/a would be written in two formats: it is \"json\" at DIR/m.toml:5:23; use one format, or a file for each",
    );
    check(
        &format!("{}access_log = {{ format = 'json', file = 'a' }}\n", master("access_log.file = 'a'")),
        "m.toml:7:25: service.access_log.file: DIR/a would be written in two formats: it is \"text\" at DIR/m.toml:2:19; use one format, or a file for each",
    );
}

#[test]
fn nothing_else_may_write_to_it() {
    check(
        &master("log.file = 'a'\naccess_log.file = 'a'"),
        "m.toml:3:19: master.access_log.file: DIR/a is used by master.log.file, at DIR/m.toml:2:12, too; give each a file of its own",
    );
    check(
        &format!("{}access_log.file = 'a'\n", master("pid_file = 'a'")),
        "m.toml:7:19: service.access_log.file: DIR/a is used by master.pid_file, at DIR/m.toml:2:12, too; give each a file of its own",
    );
}

#[test]
fn mistakes() {
    check(
        &master("access_log = {}"),
        "m.toml:2:14: master.access_log names no file, so there would be nowhere to write to; add file = \"…\"",
    );
    check(
        &with_key("access_log.format = 'json'"),
        "m.toml:5:1: service.access_log names no file, so there would be nowhere to write to; add file = \"…\"",
    );
    check(&master("access_log = 'a'"), "m.toml:2:14: master.access_log: must be a table, not \"a\"");
    check(
        &master("access_log = { file = 'a', format = 'jsn' }"),
        "m.toml:2:37: master.access_log.format: must be \"text\" or \"json\", not \"jsn\"; did you mean \"json\"?",
    );
    check(
        &master("access_log = { file = 'a', enabled = false }"),
        "m.toml:2:28: unknown key \"enabled\" in [master.access_log]; it belongs into [service.access_log]",
    );
    check(
        &with_key("access_log.enabled = 'no'\naccess_log.file = 'a'"),
        "m.toml:5:22: service.access_log.enabled: must be true or false, not \"no\"",
    );
}

#[test]
fn a_config_recorded_before_there_were_any_is_read() {
    let config = load_text(SERVICE, false).unwrap().config;
    let mut value = serde_json::to_value(&config).unwrap();
    for place in ["/master", "/services/0"] {
        let table = value.pointer_mut(place).and_then(|v| v.as_object_mut()).unwrap();
        assert!(table.remove("access_log").is_some());
    }
    assert_eq!(serde_json::from_value::<Config>(value).unwrap(), config);
}
