//! Logging: slog with a synchronous drain that never blocks and never buffers across a fork.
//!
//! One `Sink` per process, made from an open descriptor; loggers come from it and are passed on,
//! there is no global one. A line is formatted, then written at once by one write of at most 4096
//! bytes. What can't be written (full disk, stalled or dead reader) waits in a bounded ring, and what
//! does not fit there is counted and reported when writing works again.
//! A child makes its own sink from its copy of the descriptor (`descriptor`): the ring it inherited
//! is its parent's to write. A line that only half fits on a full disk is finished later, or written
//! again if another process has written meanwhile.
//! Never: waits, starts a thread, fails, leaves the end of a line without its beginning.
//! See also: `line` (what a line looks like), `outlet` (descriptor and ring).

mod line;
mod outlet;

use crate::config::{LogFormat, LogLevel};
use crate::sys::fd;
use line::Line;
use outlet::Outlet;
use parking_lot::Mutex;
use slog::{Drain, Level, Logger, OwnedKVList, Record};
use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

/// The sink behind a logger: cheap to clone, one per process.
#[derive(Clone)]
pub struct Sink {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    format: LogFormat,
    level: LogLevel,
    outlet: Outlet,
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = self.shared.lock();
        f.debug_struct("Sink")
            .field("format", &shared.format)
            .field("level", &shared.level)
            .finish_non_exhaustive()
    }
}

impl Sink {
    /// One line is one write of at most 4096 bytes to `fd` (O_APPEND file, pipe, socket or terminal).
    ///
    /// A shared pipe or terminal is opened again for ourselves where possible (`sys::fd::unshared`),
    /// so that a full one can't make us wait.
    pub fn new(fd: OwnedFd, format: LogFormat, level: LogLevel) -> Sink {
        let outlet = Outlet::new(fd::unshared(fd));
        Sink { shared: Arc::new(Mutex::new(Shared { format, level, outlet })) }
    }

    /// Root logger; `prefix` is e.g. "master" or "worker web/3 gen 7".
    pub fn logger(&self, prefix: &str) -> Logger {
        Logger::root(Writer { sink: self.clone(), who: prefix.to_owned() }, slog::o!())
    }

    /// Writes to another descriptor from now on, after trying to write out the ring to the old one.
    ///
    /// What still waits goes to the new one; a line that was half written starts again there.
    pub fn reopen(&self, fd: OwnedFd) {
        self.change(|shared, format| shared.outlet.reopen(fd::unshared(fd), &notice(format)));
    }

    /// Format and level after a reload.
    pub fn configure(&self, format: LogFormat, level: LogLevel) {
        let mut shared = self.shared.lock();
        shared.format = format;
        shared.level = level;
    }

    /// Tries to write what the ring holds; called once a loop turn (cheap when empty).
    pub fn flush(&self) {
        self.change(|shared, format| shared.outlet.flush(&notice(format)));
    }

    /// Lines given up in all.
    pub fn dropped(&self) -> u64 {
        self.shared.lock().outlet.dropped()
    }

    /// Whether lines wait in the ring, or the notice of dropped ones does.
    pub fn pending(&self) -> bool {
        self.shared.lock().outlet.pending()
    }

    /// A CLOEXEC duplicate of the descriptor, for a worker.
    pub fn descriptor(&self) -> std::io::Result<OwnedFd> {
        fd::dup_cloexec(self.shared.lock().outlet.fd())
    }

    /// Shows the descriptor: for whoever has it survive an exec.
    pub fn with_descriptor(&self, show: impl FnOnce(BorrowedFd<'_>)) {
        show(self.shared.lock().outlet.fd());
    }

    /// The lines that could not be written yet, without what is already written of the first one.
    pub fn waiting(&self) -> Vec<Vec<u8>> {
        self.shared.lock().outlet.waiting()
    }

    /// Goes on where another sink of the same log stopped: its waiting lines, its count of dropped ones.
    pub fn resume(&self, waiting: impl Iterator<Item = Vec<u8>>, dropped: u64) {
        self.shared.lock().outlet.resume(waiting, dropped);
    }

    fn change(&self, act: impl FnOnce(&mut Shared, LogFormat)) {
        let mut shared = self.shared.lock();
        let format = shared.format;
        act(&mut shared, format);
    }
}

/// Makes the line that follows dropped ones, for a writer and a count.
fn notice(format: LogFormat) -> impl Fn(&str, u64) -> Vec<u8> {
    move |who, lines| {
        let text =
            format!("{lines} log lines were dropped: the log could not be written and the ring was full");
        Line::now("warn", who, text).render(format)
    }
}

/// The drain of one logger: a sink and the name that stands in its lines.
struct Writer {
    sink: Sink,
    who: String,
}

// A panic can't leave the state behind the lock half changed in a way that matters: at worst a line
// is lost. slog asks for the promise because loggers are handed to `catch_unwind`.
impl UnwindSafe for Writer {}
impl RefUnwindSafe for Writer {}

impl Drain for Writer {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), slog::Never> {
        let format = {
            let shared = self.sink.shared.lock();
            if !passes(record.level(), shared.level) {
                return Ok(());
            }
            shared.format
        };
        // Outside the lock: a value's Display may log something itself.
        let line = Line::of(record, values, &self.who).render(format);
        self.sink.change(|shared, format| shared.outlet.write(line, &self.who, &notice(format)));
        Ok(())
    }

    fn is_enabled(&self, level: Level) -> bool {
        passes(level, self.sink.shared.lock().level)
    }
}

/// Critical counts as error; trace is never written.
fn passes(level: Level, limit: LogLevel) -> bool {
    let most = match limit {
        LogLevel::Error => Level::Error,
        LogLevel::Warn => Level::Warning,
        LogLevel::Info => Level::Info,
        LogLevel::Debug => Level::Debug,
    };
    level.is_at_least(most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::{Folder, alone, limit_file_size, no_forks};
    use slog::{crit, debug, error, info, o, trace, warn};
    use std::fs::File;
    use std::io::Read;
    use std::path::Path;

    fn to_file(path: &Path, format: LogFormat, level: LogLevel) -> Sink {
        Sink::new(fd::open_log(path).unwrap(), format, level)
    }

    /// The lines of a file from the writer's name on.
    fn lines(path: &Path) -> Vec<String> {
        let all = std::fs::read_to_string(path).unwrap();
        assert!(all.is_empty() || all.ends_with('\n'), "torn: {all:?}");
        all.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    #[test]
    fn keys_come_in_the_order_they_were_given() {
        let folder = Folder::new();
        let path = folder.join("log");
        let sink = to_file(&path, LogFormat::Text, LogLevel::Info);
        let logger = sink.logger("worker web/3 gen 7").new(o!("service" => "web", "seat" => 3));
        info!(logger, "ready"; "after" => 1.5, "first" => true, "seat" => 4, "by" => %"a b");
        sink.configure(LogFormat::Json, LogLevel::Info);
        info!(logger, "ready"; "after" => 1.5, "why" => None::<u8>);
        let got = lines(&path);
        let text = "info  worker web/3 gen 7  ready after=1.5 first=true seat=4 by=\"a b\" service=web";
        assert_eq!(got[0], text);
        let json = std::fs::read_to_string(&path).unwrap();
        let tail = r#","level":"info","who":"worker web/3 gen 7","text":"ready","after":1.5,"why":null,"service":"web","seat":3}"#;
        assert!(json.trim_end().ends_with(tail), "{json}");
    }

    #[test]
    fn what_is_below_the_level_is_not_written() {
        let folder = Folder::new();
        let path = folder.join("log");
        let sink = to_file(&path, LogFormat::Text, LogLevel::Error);
        let logger = sink.logger("m");
        for level in [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug] {
            sink.configure(LogFormat::Text, level);
            trace!(logger, "t");
            debug!(logger, "d");
            info!(logger, "i");
            warn!(logger, "w");
            error!(logger, "e");
        }
        crit!(logger, "c");
        let order: String = lines(&path).iter().map(|line| line.chars().last().unwrap()).collect();
        assert_eq!(order, "ewe".to_owned() + "iwe" + "diwe" + "c");
        assert!(lines(&path).last().unwrap().starts_with("error m"), "critical is an error");
        assert!(logger.is_enabled(Level::Debug) && !logger.is_enabled(Level::Trace));
    }

    #[test]
    fn a_stalled_reader_holds_nobody_up_and_learns_what_it_missed() {
        let _quiet = no_forks();
        let (reader, writer) = fd::pipe().unwrap();
        let sink = Sink::new(writer, LogFormat::Text, LogLevel::Info);
        let logger = sink.logger("m");
        let padding = "x".repeat(3000);
        let mut sent = 0;
        while sink.dropped() < 5 {
            info!(logger, "line"; "n" => sent, "padding" => &padding);
            sent += 1;
        }
        assert!(sink.pending());
        // A short line would find room, but after a gap nothing is written before the gap is told.
        info!(logger, "short");
        assert_eq!(sink.dropped(), 6);

        let mut all = Vec::new();
        let mut chunk = vec![0; 1 << 20];
        let mut reader = File::from(reader);
        while sink.pending() {
            let n = reader.read(&mut chunk).unwrap();
            all.extend_from_slice(&chunk[..n]);
            sink.flush();
        }
        info!(logger, "well again");
        drop((logger, sink));
        reader.read_to_end(&mut all).unwrap();

        let all = String::from_utf8(all).unwrap();
        let (kept, rest) =
            all.split_at(all.find(" warn ").map(|at| all[..at].rfind('\n').unwrap() + 1).unwrap());
        let numbers: Vec<usize> = kept
            .lines()
            .map(|line| line.split_once(" n=").unwrap().1.split_once(' ').unwrap().0.parse().unwrap())
            .collect();
        assert_eq!(numbers, (0..sent - 5).collect::<Vec<_>>(), "each once, in order");
        let rest: Vec<&str> = rest.lines().map(|line| line.split_once(' ').unwrap().1).collect();
        assert!(rest[0].starts_with("warn  m  6 log lines were dropped"), "{rest:?}");
        assert_eq!(rest[1..], ["info  m  well again"]);
    }

    #[test]
    fn a_dead_reader_is_no_reason_to_end() {
        let _quiet = no_forks();
        let folder = Folder::new();
        let (reader, writer) = fd::pipe().unwrap();
        let sink = Sink::new(writer, LogFormat::Text, LogLevel::Info);
        drop(reader);
        let logger = sink.logger("m");
        info!(logger, "one");
        info!(logger, "two");
        assert!(sink.pending() && sink.dropped() == 0);
        sink.reopen(fd::open_log(&folder.join("log")).unwrap());
        assert!(!sink.pending());
        assert_eq!(lines(&folder.join("log")), ["info  m  one", "info  m  two"]);
    }

    #[test]
    fn a_line_that_was_half_written_is_finished() {
        let folder = Folder::new();
        let path = folder.join("log");
        alone(|| {
            let sink = to_file(&path, LogFormat::Text, LogLevel::Info);
            let logger = sink.logger("m");
            limit_file_size(50);
            info!(logger, "a line that is longer than fifty bytes in all");
            info!(logger, "second");
            assert_eq!(std::fs::metadata(&path).unwrap().len(), 50);
            assert!(sink.pending());
            limit_file_size(70);
            sink.flush();
            assert_eq!(std::fs::metadata(&path).unwrap().len(), 70);
            // Reopened by name although nothing was renamed: still the same file.
            sink.reopen(fd::open_log(&path).unwrap());
            limit_file_size(u64::MAX);
            info!(logger, "third");
            assert!(!sink.pending() && sink.dropped() == 0);
        });
        let whole = "info  m  a line that is longer than fifty bytes in all";
        assert_eq!(lines(&path), [whole, "info  m  second", "info  m  third"]);
    }

    #[test]
    fn a_line_that_was_half_written_starts_again_when_others_have_written() {
        let folder = Folder::new();
        let path = folder.join("log");
        alone(|| {
            let sink = to_file(&path, LogFormat::Text, LogLevel::Info);
            let logger = sink.logger("m");
            limit_file_size(50);
            info!(logger, "a line that is longer than fifty bytes in all");
            assert_eq!(std::fs::metadata(&path).unwrap().len(), 50);
            limit_file_size(u64::MAX);
            // Space has come, and a worker was the first to find it.
            let worker = Sink::new(sink.descriptor().unwrap(), LogFormat::Text, LogLevel::Info);
            info!(worker.logger("w"), "another");
            sink.flush();
            assert!(!sink.pending() && sink.dropped() == 0);
        });
        let got = lines(&path);
        assert!(got[0].starts_with("info  m  a line") && got[0].ends_with("info  w  another"), "{got:?}");
        assert_eq!(got[1..], ["info  m  a line that is longer than fifty bytes in all"]);
    }

    #[test]
    fn a_line_that_was_half_written_starts_again_in_another_file() {
        let folder = Folder::new();
        let (old, new) = (folder.join("old"), folder.join("new"));
        alone(|| {
            let sink = to_file(&old, LogFormat::Text, LogLevel::Info);
            let logger = sink.logger("m");
            limit_file_size(50);
            info!(logger, "a line that is longer than fifty bytes in all");
            // The old file is still full when the new one comes.
            let next = fd::open_log(&new).unwrap();
            sink.reopen(next);
            limit_file_size(u64::MAX);
            sink.flush();
        });
        assert_eq!(lines(&new), ["info  m  a line that is longer than fifty bytes in all"]);
    }

    #[test]
    fn a_worker_writes_to_a_copy_of_the_descriptor() {
        let folder = Folder::new();
        let path = folder.join("log");
        let sink = to_file(&path, LogFormat::Text, LogLevel::Info);
        let worker = Sink::new(sink.descriptor().unwrap(), LogFormat::Text, LogLevel::Info);
        info!(sink.logger("master"), "one");
        info!(worker.logger("worker"), "two");
        info!(sink.clone().logger("master"), "three");
        assert_eq!(lines(&path), ["info  master  one", "info  worker  two", "info  master  three"]);
    }
}
