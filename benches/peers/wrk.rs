//! wrk, on CPU 1.

use std::process::Command;

pub struct Done {
    pub requests: f64,
    /// Requests per second.
    pub rate: f64,
    /// Microseconds.
    pub p50: f64,
    pub p99: f64,
}

/// Runs it with one thread; any error or answer that isn't 2xx or 3xx ends the benchmark.
pub fn run(url: &str, connections: usize, seconds: u32) -> Done {
    let (connections, duration) = (format!("-c{connections}"), format!("{seconds}s"));
    let args = ["-c", "1", "wrk", "-t1", "--latency", &connections, "-d", &duration, url];
    let output = Command::new("taskset").args(args).output().expect("run taskset and wrk");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("Socket errors") && !text.contains("Non-2xx"), "wrk met errors: {text}");
    let number = |found: Option<&str>| found.and_then(|word| word.trim().parse::<f64>().ok());
    let requests = text.lines().find_map(|l| number(l.split_once(" requests in ").map(|(n, _)| n)));
    let rate = text.lines().find_map(|l| number(l.strip_prefix("Requests/sec:")));
    let percentile = |what: &str| text.lines().find_map(|l| micros(l.trim().strip_prefix(what)?.trim()));
    let found = |figure: Option<f64>| figure.unwrap_or_else(|| panic!("wrk says: {text}"));
    Done {
        requests: found(requests),
        rate: found(rate),
        p50: found(percentile("50%")),
        p99: found(percentile("99%")),
    }
}

/// Of a time as wrk writes it.
fn micros(time: &str) -> Option<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
    let (number, unit) = units.into_iter().find_map(|(name, unit)| Some((time.strip_suffix(name)?, unit)))?;
    number.parse::<f64>().ok().map(|n| n * unit)
}
