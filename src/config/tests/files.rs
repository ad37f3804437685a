//! Files that are no configs, `include`, and text that nobody would write.

use super::*;
use proptest::prelude::*;
use std::time::Duration;

fn lines(result: Result<Loaded, Vec<Problem>>) -> Vec<String> {
    result.map_or_else(|problems| shown(&problems), |_| Vec::new())
}

#[test]
fn what_is_no_config_says_so() {
    let folder = Folder::new();
    folder.write("nul", "a = 1\nb = \0\n");
    folder.write("latin1", b"# fine\nname = 'caf\xe9'\n");
    folder.write("empty", "");
    folder.write("bom", format!("\u{feff}{SERVICE}"));
    folder.write("bom-bad", format!("\u{feff}x = 1\n{SERVICE}"));
    folder.write("deep", format!("a = {}", "[".repeat(100_000)));
    folder.write("crlf", SERVICE.replace('\n', "\r\n"));
    std::fs::create_dir(folder.0.join("dir")).unwrap();
    std::fs::File::create(folder.0.join("sparse")).unwrap().set_len(100 << 20).unwrap();
    folder.write("just-right", format!("{SERVICE}#{}", " ".repeat((1 << 20) - SERVICE.len() - 1)));
    for (name, expected) in [
        ("nul", "nul:2:5: the file holds a NUL byte; a config is plain text"),
        ("latin1", "latin1:2:12: the file is not valid UTF-8 from here on"),
        ("empty", "empty: there is no [[service]], so nothing would be served"),
        ("bom-bad", "bom-bad:1:1: unknown key \"x\" at the top level"),
        ("dir", "dir: this is a directory, not a config file"),
        ("sparse", "sparse: the file is larger than 1 MiB; that is no config"),
        ("missing", "missing: the config file cannot be read: No such file or directory (os error 2)"),
    ] {
        assert_eq!(lines(folder.load(name)).first().map(String::as_str), Some(expected));
    }
    let deep = lines(folder.load("deep"));
    assert!(deep.len() == 1 && deep[0].starts_with("deep:1:"), "{deep:?}");
    for good in ["bom", "crlf", "just-right"] {
        assert_eq!(lines(folder.load(good)), Vec::<String>::new(), "{good}");
    }
}

#[test]
fn includes_are_read_in_order() {
    let folder = Folder::new();
    let service = |name: &str, port: u16| SERVICE.replace("web", name).replace("8080", &port.to_string());
    folder.write("m.toml", format!("include = ['conf.d/*.toml', 'none/*.toml', 'one.conf', 'conf.d/b.toml']\n[master]\nsigterm = 'fast'\n{}", service("main", 1)));
    folder.write("conf.d/b.toml", service("b", 2));
    folder.write(
        "conf.d/a.toml",
        format!("[master]\nready_timeout = '9s'\nlog.level = 'warn'\n{}", service("a", 3)),
    );
    folder.write("conf.d/.hidden.toml", "nonsense");
    folder.write("conf.d/c.toml~", "nonsense");
    folder.write("one.conf", format!("[master.log]\nformat = 'json'\n{}", service("one", 4)));
    let loaded = folder.load("m.toml").unwrap_or_else(|problems| panic!("{:?}", shown(&problems)));
    let names: Vec<&str> = loaded.config.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["main", "a", "b", "one"]);
    assert_eq!(loaded.config.master.ready_timeout, Duration::from_secs(9));
    assert_eq!(
        (loaded.config.master.log.level, loaded.config.master.log.format),
        (crate::config::LogLevel::Warn, crate::config::LogFormat::Json)
    );
    let before = loaded.config.checksum;
    folder.write("one.conf", format!("# \n[master.log]\nformat = 'json'\n{}", service("one", 4)));
    assert_ne!(
        folder.load("m.toml").unwrap().config.checksum,
        before,
        "an included file is part of the checksum"
    );
}

#[test]
fn include_has_rules() {
    let folder = Folder::new();
    folder.write("a.toml", "include = ['x']\n[master]\nuser = 'x'\n[master.log]\nlevel = 'info'\n");
    folder.write("bad.toml", "x = = 1");
    folder.write("m.toml", format!("include = ['a.toml', 'bad.toml', 'gone.toml', 'm.toml', 7]\n[master]\nuser = 'y'\nlog = {{ level = 'warn' }}\n{SERVICE}"));
    let said: Vec<String> = lines(folder.load("m.toml"))
        .iter()
        .map(|line| line.replace(&*folder.0.to_string_lossy(), "DIR"))
        .collect();
    assert_eq!(
        said,
        [
            "m.toml:1:47: include: \"m.toml\" is this file itself",
            "m.toml:1:57: include: must be an array of paths as text, such as [\"conf.d/*.toml\"]",
            "gone.toml: the config file cannot be read: No such file or directory (os error 2)",
            "bad.toml:1:5: this is not TOML: extra `=`, expected nothing",
            "a.toml:1:1: an included file can't include others; name them all in the main file",
            "a.toml:3:8: \"user\" in [master] is already set at DIR/m.toml:3:8; keep one of the two",
            "a.toml:5:9: \"level\" in [master.log] is already set at DIR/m.toml:4:17; keep one of the two",
        ]
    );
    folder.write("m.toml", "include = 'bad.toml'");
    assert_eq!(
        lines(folder.load("m.toml")),
        ["m.toml:1:11: include: must be an array of paths as text, such as [\"conf.d/*.toml\"]"]
    );
    folder.write("m.toml", "include = ['bad.toml']");
    assert_eq!(
        lines(folder.load("m.toml")),
        ["bad.toml:1:5: this is not TOML: extra `=`, expected nothing"],
        "what a broken file may hold is not missed"
    );
    let many: String = (0..1001).map(|n| format!("'f{n}',")).collect();
    folder.write("m.toml", format!("include = [{many}]"));
    assert_eq!(lines(folder.load("m.toml")).len(), 1);
    assert!(lines(folder.load("m.toml"))[0].ends_with("include: these are more than 1000 files"));
}

#[test]
fn a_glob_leaves_the_main_file_out() {
    let folder = Folder::new();
    folder.write("m.toml", format!("include = ['*.toml']\n{SERVICE}"));
    assert_eq!(lines(folder.load("m.toml")), Vec::<String>::new());
}

/// How long this thread has been on a CPU (/proc/thread-self/schedstat): what others do costs nobody time.
fn busy() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("this thread");
    Duration::from_nanos(text.split(' ').next().and_then(|n| n.parse().ok()).expect("nanoseconds"))
}

/// The most wrong text that fits into a file costs no more than a moment and gives a readable answer.
#[test]
fn a_hostile_file_is_cheap() {
    let keys: String = (0..80_000).map(|n| format!("lisn{n}=1\n")).collect();
    for text in [
        keys,
        format!("[[service]]\nlisten = [{}]", "1,".repeat(400_000)),
        format!("[[service]]\nlisten = [{}]", "'1.1.1.1:1',".repeat(80_000)),
        format!("include = [{}]", "1,".repeat(400_000)),
        "[[service]]\n".repeat(80_000),
        format!("[[service]]\nhttp.route = [{}]", "{},".repeat(300_000)),
        format!("{} = 1", "a.".repeat(500_000)),
        "[".repeat(1 << 20),
    ] {
        let start = busy();
        let problems = load_text(&text, false).unwrap_err();
        assert!(problems.len() <= 101, "{}", problems.len());
        assert!(problems.iter().all(|problem| problem.to_string().len() < 400));
        let took = busy() - start;
        assert!(took < Duration::from_secs(20), "{took:?} for {}", &text[..40]);
    }
    let many: String = (0..500).map(|n| format!("x{n} = 1\n")).collect();
    let problems = load_text(&many, false).unwrap_err();
    assert!(problems[100].message.ends_with("and 401 more errors"), "{}", problems[100]);
}

/// Text from the words of a config, so that some of it is TOML and reaches the checks.
fn configish() -> impl Strategy<Value = String> {
    let words: Vec<String> = crate::config::table::rows()
        .flat_map(|row| [row.key().to_owned(), format!("[{}]\n", row.path), format!("[[{}]]\n", row.path)])
        .chain(
            [
                "=",
                "=",
                "=",
                "\n",
                "\n",
                "{",
                "}",
                "[",
                "]",
                ",",
                "'",
                "\"",
                ".",
                "1",
                "-5",
                "'0s'",
                "'é'",
                "true",
                "{ path = '/' }",
                "'unix:@'",
                "'[::]:80'",
            ]
            .map(str::to_owned),
        )
        .collect();
    proptest::collection::vec(proptest::sample::select(words), 0..60).prop_map(|words| words.join(" "))
}

/// Mutations of a good config: a stretch of it replaced.
fn mutated() -> impl Strategy<Value = String> {
    let text = super::basics::FULL;
    (0..text.len(), 0..40usize, "[ -~\n]{0,6}").prop_map(move |(at, length, new)| {
        let end = (at + length).min(text.len());
        let (head, tail) = (text.get(..at).unwrap_or(text), text.get(end..).unwrap_or(""));
        format!("{head}{new}{tail}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_load_panic(text in prop_oneof![any::<String>(), configish(), mutated()]) {
        if let Err(problems) = load_text(&text, true) {
            prop_assert!(!problems.is_empty());
        }
    }

    #[test]
    fn what_loads_can_be_shown_and_loaded(text in mutated()) {
        if let Ok(first) = load_text(&text, true) {
            let second = load_text(&crate::config::show(&first.config), true);
            prop_assert_eq!(second.map(|second| second.config.services), Ok(first.config.services));
        }
    }
}
