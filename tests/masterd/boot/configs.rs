//! Configs: the sample, bad ones, ones that can't be read, `-t` and `-T`.

use super::super::harness::*;
use super::refused;
use std::net::TcpListener;
use std::time::Instant;

fn sample() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/conf/masterd.toml")).expect("the sample")
}

#[test]
fn the_sample_config_is_good_and_serves_what_it_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/masterd.toml");
    let place = Place::new();
    place.run(&["-t", "-c", path]).expect(0);
    // Another port and control socket than a masterd that may really run here.
    let text = sample().replace("[\"127.0.0.1:8080\"]", "[\"127.0.0.1:0\"]");
    let master = Master::start(&place, &format!("[master]\ncontrol_socket = \"c.sock\"\n{text}"));
    let address = master.address();
    let hello = get(&address, "/").unwrap();
    assert_eq!((hello.status, hello.header("content-type")), (200, Some("text/plain")));
    let pid = hello.body.strip_prefix("hello from worker ").and_then(|b| b.split(',').next());
    let pid: i32 = pid.and_then(|p| p.parse().ok()).unwrap_or_else(|| panic!("{hello:?}"));
    assert!(master.ready_pids("web").contains(&pid), "{hello:?}");
    assert!(hello.body.ends_with(", generation 1\n"), "{hello:?}");
    assert_eq!(get(&address, "/healthz").unwrap().status, 200);
    assert_eq!(get(&address, "/readyz").unwrap().status, 200);
    let status: serde_json::Value = serde_json::from_str(&get(&address, "/status").unwrap().body).unwrap();
    assert_eq!(status["pid"], master.pid());
    let begun = Instant::now();
    assert!(get(&address, "/slow").unwrap().body.starts_with("slow hello from worker "));
    assert!(begun.elapsed().as_secs() >= 2, "the route waits 2 s");
    master.finish();
}

#[test]
fn a_bad_config_is_refused_with_line_and_column_and_nothing_is_left() {
    let place = Place::new();
    let good = Web::new().text();
    for (text, at, words) in [
        ("[master]\ncontrol_socket = \"c.sock\"\n}\n".to_owned(), "masterd.toml:3:1:", "TOML"),
        (good.replace("workers = 2", "wrokers = 2"), "masterd.toml:8:1:", "workers"),
        (good.replace("workers = 2", "workers = \"many\""), "masterd.toml:8:11:", "workers"),
        (good.replace("127.0.0.1:0", "127.0.0.1"), "masterd.toml:7:11:", "127.0.0.1"),
    ] {
        let said = refused(&place, &text, 2);
        assert!(said.contains(at) && said.contains(words), "{text}\n{said}");
        let checked = place.run(&["-t", "-c", "masterd.toml"]).expect(2);
        assert!(checked.stderr.contains(at), "-t says the same: {checked:?}");
    }
}

#[test]
fn a_config_that_is_no_file_is_refused_in_time() {
    let place = Place::new();
    let folder = place.path("folder");
    std::fs::create_dir(&folder).unwrap();
    let fifo = place.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    place.write("nul", "a\0b");
    std::os::unix::fs::symlink("loop", place.path("loop")).unwrap();
    for name in ["missing", "folder", "fifo", "nul", "loop"] {
        let before = place.files();
        let said = place.run(&["-c", name]).expect(2);
        assert!(said.stderr.contains(&*place.path(name).to_string_lossy()), "{name}: {said:?}");
        assert_eq!(place.files(), before);
    }
}

#[test]
fn a_check_binds_nothing_opens_nothing_and_prints_every_error() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let web = Web::new()
        .listen_raw(&[&format!("\"{address}\""), "\"unix:web.sock\""])
        .master("log = { file = \"m.log\" }");
    place.config(&web.text());
    for flag in ["-t", "-T"] {
        let said = place.run(&[flag, "-c", "masterd.toml"]).expect(0);
        assert!(said.stderr.contains("is good"), "{said:?}");
        assert_eq!(place.files(), ["masterd.toml"], "{flag} leaves no file");
    }
    let bad =
        web.text().replace("workers = 2", "workers = 0\nnonsense = 1") + "[[service]]\nname = \"web\"\n";
    place.config(&bad);
    let said = place.run(&["-t", "-c", "masterd.toml"]).expect(2).stderr;
    let (line, first) = (said.matches("masterd.toml:").count(), said.lines().next().unwrap_or_default());
    assert!(first.ends_with(&format!("{} errors:", line - 1)), "the count is right: {said}");
    for words in ["workers", "\"nonsense\"", "\"web\" is taken", "\"listen\" is missing", "add http"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(place.files(), ["masterd.toml"]);
}

#[test]
fn the_resolved_config_is_shown_and_is_a_config_itself() {
    let place = Place::new();
    place.config(&Web::new().workers("{ min = 1, max = 3 }").master("sigterm = \"fast\"").text());
    let show = || {
        let shown = place.run(&["-T", "-c", "masterd.toml"]).expect(0).stdout;
        let (first, rest) = shown.split_once('\n').expect("more than a line");
        assert!(first.starts_with("# resolved from ") && first.contains("checksum"), "{first}");
        rest.to_owned()
    };
    let shown = show();
    for words in ["sigterm = \"fast\"", "\"30s\"", "backlog", "m.pid"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    place.config(&shown);
    assert_eq!(show(), shown, "what it shows means the same");
}

#[test]
fn included_files_are_part_of_the_config_and_of_its_errors() {
    let place = Place::new();
    std::fs::create_dir(place.path("conf.d")).unwrap();
    let extra = Web::new().name("extra").listen("127.0.0.2:0").service_text();
    std::fs::write(place.path("conf.d/extra.toml"), &extra).unwrap();
    let main = format!("include = [\"conf.d/*.toml\"]\n{}", Web::new().text());
    let master = Master::start(&place, &main);
    assert_eq!(get(&master.address_of("extra"), "/").unwrap().status, 200);
    master.finish();
    std::fs::write(place.path("conf.d/extra.toml"), extra.replace("workers = 2", "workers = -1")).unwrap();
    let said = refused(&place, &main, 2);
    assert!(said.contains("conf.d/extra.toml:4:11:"), "{said}");
}
