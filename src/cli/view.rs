//! The status document as an operator reads it: the master first, then service by service.
//!
//! `render` is pure: document and time in, lines out. The first line says at a glance what there is
//! to know; whatever is wrong stands in a line of its own that begins with `!`.
//! See also: `workers` (the rows of a pool), `table` (how lines are made to fit).

use super::table::{Column, Line, Row, Tone, table};
use super::text::{clean, count, fit, since, size};
use super::workers;
use crate::wire::status::{Listener, Service, Status};

/// The mark of what is wrong.
pub const WRONG: &str = "  ! ";

/// All lines of the view; `now_ns` is nanoseconds since 1970.
pub fn render(status: &Status, now_ns: u64) -> Vec<Line> {
    let mut body = about(status, now_ns);
    for service in &status.services {
        body.push(Line::new(Tone::Plain, ""));
        body.extend(of_service(service, status.state == "running", now_ns));
    }
    let wrong = body.iter().filter(|l| l.text.trim_start().starts_with("! ")).count();
    body.insert(0, headline(status, now_ns, wrong));
    body
}

fn headline(status: &Status, now_ns: u64, wrong: usize) -> Line {
    let state = fit(&clean(&status.state), 16);
    let version = fit(&clean(&status.version), 20);
    let generation = match status.generation {
        0 => "no generation serves yet".to_owned(),
        n => format!("generation {n}"),
    };
    let up = since(&status.started, now_ns);
    let problems = match wrong {
        0 => String::new(),
        1 => ", 1 problem".to_owned(),
        n => format!(", {n} problems"),
    };
    let tone = match status.state.as_str() {
        _ if wrong > 0 => Tone::Bad,
        "running" => Tone::Good,
        _ => Tone::Changing,
    };
    Line::new(
        tone,
        &format!("{state}: {generation}, pid {}, up {up}, masterd {version}{problems}", status.pid),
    )
}

/// What concerns the master as a whole.
fn about(status: &Status, now_ns: u64) -> Vec<Line> {
    let mut lines = vec![Line::new(Tone::Faint, &format!("  config: {}", status.config))];
    if !status.binary.is_empty() {
        let (binary, version) = (clean(&status.binary), fit(&clean(&status.version), 20));
        let text =
            format!("  binary: {binary}, masterd {version} for {}", since(&status.version_since, now_ns));
        lines.push(Line::new(Tone::Faint, &text));
    }
    match &status.last_reload {
        None => lines.push(Line::new(Tone::Faint, "  last reload: none")),
        Some(reload) if reload.ok => {
            let text = format!(
                "  last reload: {} ago, generation {} came up",
                since(&reload.at, now_ns),
                reload.generation
            );
            lines.push(Line::new(Tone::Faint, &text));
        }
        Some(reload) => {
            let why = reload.error.as_deref().unwrap_or("no reason was given");
            let text = format!(
                "the last reload failed {} ago, generation {} was given up: {why}",
                since(&reload.at, now_ns),
                reload.generation
            );
            lines.extend(Line::sentence(Tone::Bad, WRONG, &text, 6));
        }
    }
    lines.extend(last_upgrade(status, now_ns));
    if status.log_lines_dropped > 0 {
        let text =
            format!("{} log lines were lost: the log could not be written", count(status.log_lines_dropped));
        lines.extend(Line::sentence(Tone::Bad, WRONG, &text, 1));
    }
    lines
}

fn last_upgrade(status: &Status, now_ns: u64) -> Vec<Line> {
    let Some(upgrade) = &status.last_upgrade else { return Vec::new() };
    let ago = since(&upgrade.at, now_ns);
    let version = upgrade.version.as_deref().map(|v| format!("masterd {}", fit(&clean(v), 20)));
    if upgrade.ok {
        let text = format!("  last upgrade: {ago} ago, {} took over", version.unwrap_or_default());
        return vec![Line::new(Tone::Faint, &text)];
    }
    let to = version.map_or(String::new(), |v| format!(" to {v}"));
    let why = upgrade.error.as_deref().unwrap_or("no reason was given");
    Line::sentence(Tone::Bad, WRONG, &format!("the last upgrade{to} failed {ago} ago: {why}"), 6)
}

/// A pool that is not full is no surprise while the master is at work on it.
fn of_service(service: &Service, settled: bool, now_ns: u64) -> Vec<Line> {
    let mut lines = vec![title(service)];
    if let Some(why) = &service.why {
        lines.extend(Line::sentence(Tone::Bad, WRONG, why, 6));
    } else if settled && service.workers_ready < service.workers_wanted {
        let missing = service.workers_wanted - service.workers_ready;
        let verb = if missing == 1 { "worker is" } else { "workers are" };
        lines.extend(Line::sentence(Tone::Bad, WRONG, &format!("{missing} {verb} missing"), 1));
    }
    lines.extend(listeners(&service.listeners));
    lines.extend(workers::rows(&service.workers, now_ns));
    lines.extend(totals(service));
    lines.extend(workers::connections(&service.workers));
    lines
}

fn title(service: &Service) -> Line {
    let name = fit(&clean(&service.name), 40);
    let kind = fit(&clean(&service.kind), 12);
    let scaled = if service.scaled { ", scaled by hand until the next reload" } else { "" };
    let (ready, wanted) = (service.workers_ready, service.workers_wanted);
    let tone = if ready < wanted { Tone::Changing } else { Tone::Plain };
    Line::new(tone, &format!("{name} ({kind}): {ready} of {wanted} workers ready{scaled}"))
}

fn listeners(listeners: &[Listener]) -> Vec<Line> {
    if listeners.is_empty() {
        return Vec::new();
    }
    let counted = listeners.iter().any(|l| l.active.is_some());
    let mut columns = vec![
        Column { head: "LISTENER", right: false, most: 24 },
        Column { head: "ADDRESS", right: false, most: 47 },
        Column { head: "QUEUE", right: true, most: 6 },
        Column { head: "LIMIT", right: true, most: 6 },
    ];
    if counted {
        columns.push(Column { head: "ACTIVE", right: true, most: 6 });
    }
    let rows = listeners.iter().map(|l| {
        // A unix socket does not tell how long its queue may be.
        let limit = if l.queue_limit == 0 { "-".to_owned() } else { count(l.queue_limit.into()) };
        let below = l.why.iter().flat_map(|why| Line::sentence(Tone::Bad, WRONG, why, 3)).collect();
        let full = l.queue_limit > 0 && l.queue >= l.queue_limit;
        let tone = if full { Tone::Bad } else { Tone::Plain };
        let mut cells = vec![l.name.clone(), l.address.clone(), count(l.queue.into()), limit];
        cells.extend(l.active.map(count));
        cells.resize(columns.len(), "-".to_owned());
        Row { cells, tone, below }
    });
    let rows = rows.collect();
    table(&columns, rows)
}

fn totals(service: &Service) -> Vec<Line> {
    let t = &service.totals;
    let deaths = if t.deaths == 1 { "1 death".to_owned() } else { format!("{} deaths", count(t.deaths)) };
    let mut text = format!(
        "{} accepted, {} requests, {} in, {} out, {} errors, {} cut, {deaths}",
        count(t.accepted),
        count(t.requests),
        size(t.bytes_in),
        size(t.bytes_out),
        count(t.errors),
        count(t.cut),
    );
    if t.access_log_lines_dropped > 0 {
        text += &format!(", {} access log lines lost", count(t.access_log_lines_dropped));
    }
    Line::sentence(Tone::Plain, "  total: ", &text, 2)
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::super::text::width;
    use super::*;
    use crate::wire::status::{Connection, Drain, LastReload, Worker};

    /// 2026-11-21T10:00:00Z.
    const NOW: u64 = 1_795_255_200_000_000_000;

    fn text(status: &Status) -> String {
        let lines: Vec<String> = render(status, NOW).iter().map(|l| l.painted(false)).collect();
        lines.join("\n")
    }

    #[test]
    fn a_healthy_master() {
        let expected = "\
running: generation 7, pid 4242, up 3h12m, masterd 0.1.0
  config: conf/masterd.toml
  last reload: 3m12s ago, generation 7 came up

web (http): 2 of 2 workers ready
  LISTENER  ADDRESS            QUEUE  LIMIT
  web       127.0.0.1:8080         0   4096
  web-2     unix:run/web.sock      0      -
  SEAT   PID  GEN  STATE  ACTIVE  IDLE  IN-FLIGHT  ACCEPTED  REQUESTS  ERRORS    MEMORY     UP
     0  4243    7  ready      12    10          2     12345      123k       0  12.3 MiB  3m12s
     1  4244    7  ready       0     0          0         0         0       0         -  3m12s
  total: 24690 accepted, 1.23M requests, 9.4 MiB in, 1.2 GiB out, 3 errors, 0 cut, 1 death";
        assert_eq!(text(&sample()), expected);
    }

    #[test]
    fn a_night_full_of_trouble() {
        let mut status = sample();
        status.state = "reloading".into();
        status.log_lines_dropped = 12;
        status.last_reload = Some(LastReload {
            at: "2026-11-21T09:59:00Z".into(),
            ok: false,
            generation: 8,
            error: Some("conf/masterd.toml:3:1: unknown key `worker`, did you mean `workers`?".into()),
        });
        let web = &mut status.services[0];
        web.totals.access_log_lines_dropped = 34;
        web.scaled = true;
        web.workers_wanted = 3;
        web.why = Some("throttled until 10:00:05: the last worker ended by SIGSEGV".into());
        web.listeners[1].why = Some("its socket file was removed; a reload makes it anew".into());
        web.workers[0].why = Some("its loop stands still since 4s".into());
        web.workers[0].rescues = vec![1, 2];
        let old = &mut web.workers[1];
        (old.state, old.generation) = ("draining".into(), 6);
        (old.active.http, old.active.websocket) = (40, 5);
        old.drain = Some(Drain { remaining: 45, oldest: 192.4, deadline: 25.0 });
        let expected = "\
reloading: generation 7, pid 4242, up 3h12m, masterd 0.1.0, 5 problems
  config: conf/masterd.toml
  ! the last reload failed 1m0s ago, generation 8 was given up: conf/masterd.toml:3:1: unknown key
    `worker`, did you mean `workers`?
  ! 12 log lines were lost: the log could not be written

web (http): 2 of 3 workers ready, scaled by hand until the next reload
  ! throttled until 10:00:05: the last worker ended by SIGSEGV
  LISTENER  ADDRESS            QUEUE  LIMIT
  web       127.0.0.1:8080         0   4096
  web-2     unix:run/web.sock      0      -
  ! its socket file was removed; a reload makes it anew
  SEAT   PID  GEN  STATE     ACTIVE  IDLE  IN-FLIGHT  ACCEPTED  REQUESTS  ERRORS    MEMORY     UP
     0  4243    7  ready         12    10          2     12345      123k       0  12.3 MiB  3m12s
        ! its loop stands still since 4s
        serves the queue of seats 1, 2 as well
     1  4244    6  draining      45     0          0         0         0       0         -  3m12s
        45 left (40 http, 5 websocket), the oldest 3m12s, cut in 25s
  total: 24690 accepted, 1.23M requests, 9.4 MiB in, 1.2 GiB out, 3 errors, 0 cut, 1 death, 34
         access log lines lost";
        assert_eq!(text(&status), expected);
    }

    #[test]
    fn a_program_is_shown_by_its_own_pid_and_by_what_can_be_known_of_it() {
        let mut status = sample();
        let api = &mut status.services[0];
        (api.name, api.kind) = ("api".into(), "exec".into());
        api.listeners[0].active = Some(5);
        api.listeners[1].active = Some(0);
        let [first, second] = &mut api.workers[..] else { panic!("two") };
        (first.keeper, second.keeper) = (Some(4240), Some(4241));
        (first.accepted, first.requests, first.pid) = (0, 0, 0);
        second.requests = 3;
        second.why = Some("its program has not said WATCHDOG=1 for 3s".into());
        let expected = "
api (exec): 2 of 2 workers ready
  LISTENER  ADDRESS            QUEUE  LIMIT  ACTIVE
  web       127.0.0.1:8080         0   4096       5
  web-2     unix:run/web.sock      0      -       0
  SEAT   PID  GEN  STATE  ACTIVE  IDLE  IN-FLIGHT  ACCEPTED  REQUESTS  ERRORS    MEMORY     UP
     0     -    7  ready      12     -          -         -         -       -  12.3 MiB  3m12s
     1  4244    7  ready       0     0          0         0         3       0         -  3m12s
        ! its program has not said WATCHDOG=1 for 3s
";
        let shown = text(&status);
        assert!(shown.contains(expected), "{shown}");
    }

    #[test]
    fn missing_workers_are_a_problem_unless_the_master_is_at_it() {
        let mut status = sample();
        status.services[0].workers_ready = 1;
        let shown = text(&status);
        assert!(shown.contains(", 1 problem\n") && shown.contains("\n  ! 1 worker is missing\n"), "{shown}");
        status.state = "reloading".into();
        assert!(!text(&status).contains('!'), "{}", text(&status));
    }

    #[test]
    fn connections_are_listed_by_worker() {
        let mut status = sample();
        let web = &mut status.services[0];
        web.workers[0].connections = Some(vec![
            Connection {
                peer: "127.0.0.1:5000".into(),
                class: "http".into(),
                age: 3.2,
                state: "idle".into(),
                requests: 9,
            },
            Connection {
                peer: "[::1]:50001".into(),
                class: "http".into(),
                age: 192.0,
                state: "request".into(),
                requests: 0,
            },
        ]);
        web.workers[1].connections = Some(vec![]);
        let shown = text(&status);
        let expected = "
  seat 0, pid 4243: 2 of 12 connections
  PEER            CLASS  STATE      AGE  REQUESTS
  127.0.0.1:5000  http   idle        3s         9
  [::1]:50001     http   request  3m12s         0
  seat 1, pid 4244: no connections";
        assert!(shown.ends_with(expected), "{shown}");
    }

    #[test]
    fn services_follow_one_another_and_an_empty_master_says_so() {
        let mut status = sample();
        let mut api = status.services[0].clone();
        api.name = "api".into();
        status.services.push(api);
        let shown = text(&status);
        assert!(
            shown.contains("\n\nweb (http): 2 of 2") && shown.contains("\n\napi (http): 2 of 2"),
            "{shown}"
        );

        let starting =
            Status { state: "starting".into(), pid: 7, version: "0.1.0".into(), ..Status::default() };
        let expected =
            "starting: no generation serves yet, pid 7, up ?, masterd 0.1.0\n  config:\n  last reload: none";
        assert_eq!(text(&starting), expected);
    }

    #[test]
    fn no_line_is_wider_than_the_screen_whatever_comes() {
        let long = "\x1b]0;東京\u{202e}\n".repeat(60);
        let worst = Worker {
            seat: u32::MAX,
            pid: i32::MIN,
            generation: u64::MAX,
            state: long.clone(),
            started: "0000-01-01T00:00:00Z".into(),
            idle: u64::MAX,
            in_flight: u64::MAX,
            accepted: u64::MAX,
            requests: u64::MAX,
            errors: u64::MAX,
            memory: Some(u64::MAX),
            why: Some(long.clone()),
            rescues: (0..100).collect(),
            drain: Some(Drain { remaining: u64::MAX, oldest: f64::INFINITY, deadline: f64::NAN }),
            connections: Some(vec![Connection {
                peer: long.clone(),
                class: long.clone(),
                age: f64::INFINITY,
                state: long.clone(),
                requests: u64::MAX,
            }]),
            ..Worker::default()
        };
        let mut status = sample();
        status.version = long.clone();
        status.state = long.clone();
        status.config = long.clone();
        (status.pid, status.generation) = (i32::MIN, u64::MAX);
        status.last_reload =
            Some(LastReload { at: long.clone(), ok: false, generation: u64::MAX, error: Some(long.clone()) });
        let web = &mut status.services[0];
        (web.name, web.kind, web.why) = (long.clone(), long.clone(), Some(long.clone()));
        web.workers_wanted = u32::MAX;
        web.scaled = true;
        for listener in &mut web.listeners {
            (listener.name, listener.address, listener.why) =
                (long.clone(), long.clone(), Some(long.clone()));
            (listener.queue, listener.queue_limit) = (u32::MAX, u32::MAX);
            listener.active = Some(u64::MAX);
        }
        web.totals.bytes_in = u64::MAX;
        web.totals.requests = u64::MAX;
        web.workers = vec![worst.clone(), worst];
        for line in render(&status, NOW) {
            assert!(width(&line.text) <= 100, "{} columns: {}", width(&line.text), line.text);
            assert!(!line.text.contains(|c: char| c.is_control() || c == '\u{202e}'), "{:?}", line.text);
        }
    }
}
