//! Where and with what the figures were made.

use super::server::Kind;
use std::fs;
use std::process::Command;

pub fn describe() {
    println!("| | |\n|---|---|");
    let rows = [
        ("date", output("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
        ("CPU", format!("{} × {}", cpus(), field("/proc/cpuinfo", "model name"))),
        ("memory", field("/proc/meminfo", "MemTotal")),
        ("kernel", output("uname", &["-sr"])),
        ("system", field_of("/etc/os-release", "PRETTY_NAME", '=').replace('"', "")),
        ("load before", fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()),
        ("masterd", output(env!("CARGO_BIN_EXE_masterd"), &["--version"])),
        ("nginx", output("nginx", &["-v"])),
        ("HAProxy", output("haproxy", &["-v"])),
        ("Envoy", envoy()),
        ("h2load", output("h2load", &["--version"])),
        ("wrk", output("wrk", &["-v"])),
        ("rustc", output("rustc", &["-V"])),
    ];
    for (name, value) in rows {
        println!("| {name} | {value} |");
    }
}

fn envoy() -> String {
    let program = Kind::Envoy.program().map(|file| output(&file.to_string_lossy(), &["--version"]));
    // Behind the path and the word comes what matters.
    let version = program.map(|said| said.rsplit("version: ").next().unwrap_or_default().to_owned());
    version.unwrap_or_else(|| "not installed".to_owned())
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(0, std::num::NonZero::get)
}

/// First line with anything in it that a program says, on whichever stream.
fn output(program: &str, args: &[&str]) -> String {
    match Command::new(program).args(args).output() {
        Ok(o) => {
            let said = String::from_utf8_lossy(&[o.stdout, o.stderr].concat()).into_owned();
            said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
        }
        Err(e) => format!("cannot run {program}: {e}"),
    }
}

fn field(path: &str, name: &str) -> String {
    field_of(path, name, ':')
}

fn field_of(path: &str, name: &str, separator: char) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let found = text.lines().filter_map(|l| l.split_once(separator)).find(|(key, _)| key.trim() == name);
    found.map_or_else(|| "?".to_owned(), |(_, value)| value.trim().to_owned())
}
