//! What a program lets be heard: its output, its notifications, its newline. Read, and handed on.
//!
//! Everything is read as soon as it comes, a bounded part of it in one turn. Never: decides anything.

use super::Source;
use super::lines::{Lines, Spout};
use crate::model::Moment;
use crate::sys::notify::NotifySocket;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Bytes of a stream, and messages, that one turn takes.
const BYTES: usize = 256 * 1024;
const MESSAGES: usize = 64;

/// One stream of output.
#[derive(Debug)]
struct Stream {
    name: &'static str,
    source: Source,
    /// `None` when it has ended.
    file: Option<File>,
    lines: Lines,
    more: bool,
}

#[derive(Debug)]
pub struct Voice {
    streams: Vec<Stream>,
    notify: Option<(NotifySocket, bool)>,
    newline: Option<(File, bool)>,
    pub spout: Spout,
    buffer: Vec<u8>,
}

/// Something that was heard.
#[derive(Debug)]
pub enum Heard {
    /// A line of its output, to be logged.
    Line(&'static str, String),
    /// A datagram, and who sent it.
    Message(i32, Vec<u8>),
    /// The newline that says ready.
    Newline,
    /// The descriptor for it was closed without one.
    NoNewline,
    /// A notification that is none; why. Anybody may send some.
    Nonsense(String),
    /// Something could not be read; why.
    Failed(String),
}

impl Voice {
    pub fn new(
        output: Option<[OwnedFd; 2]>,
        notify: Option<NotifySocket>,
        newline: Option<OwnedFd>,
        now: Moment,
    ) -> Voice {
        let named = [("stdout", Source::Stdout), ("stderr", Source::Stderr)];
        let stream = |((name, source), fd): ((&'static str, Source), OwnedFd)| Stream {
            name,
            source,
            file: Some(fd.into()),
            lines: Lines::default(),
            more: true,
        };
        Voice {
            streams: output.map_or_else(Vec::new, |fds| named.into_iter().zip(fds).map(stream).collect()),
            notify: notify.map(|socket| (socket, true)),
            newline: newline.map(|fd| (fd.into(), true)),
            spout: Spout::new(now),
            buffer: vec![0; 64 * 1024],
        }
    }

    /// What is to be watched.
    pub fn sources(&self) -> Vec<(Source, RawFd)> {
        let streams = self.streams.iter().filter_map(|s| Some((s.source, s.file.as_ref()?.as_raw_fd())));
        let notify = self.notify.iter().map(|(socket, _)| (Source::Notify, socket.as_raw_fd()));
        let newline = self.newline.iter().map(|(file, _)| (Source::Newline, file.as_raw_fd()));
        streams.chain(notify).chain(newline).collect()
    }

    /// Something can be read there.
    pub fn woken(&mut self, source: Source) {
        self.streams.iter_mut().filter(|s| s.source == source).for_each(|s| s.more = true);
        match (source, &mut self.notify, &mut self.newline) {
            (Source::Notify, Some((_, more)), _) | (Source::Newline, _, Some((_, more))) => *more = true,
            _ => {}
        }
    }

    /// Something may be there to be read everywhere, whatever events have said so far.
    pub fn look_again(&mut self) {
        self.streams.iter_mut().for_each(|stream| stream.more = stream.file.is_some());
        self.notify.iter_mut().for_each(|(_, more)| *more = true);
        self.newline.iter_mut().for_each(|(_, more)| *more = true);
    }

    /// Whether more waits than the last turn took.
    pub fn has_more(&self) -> bool {
        let notify = self.notify.as_ref().is_some_and(|(_, more)| *more);
        self.streams.iter().any(|s| s.more) || notify
    }

    /// Reads what there is, up to what a turn may take.
    pub fn hear(&mut self, now: Moment) -> Vec<Heard> {
        let mut heard = Vec::new();
        for stream in &mut self.streams {
            stream.read(&mut self.buffer, &mut self.spout, now, &mut heard);
        }
        self.hear_messages(&mut heard);
        self.hear_newline(&mut heard);
        heard
    }

    fn hear_messages(&mut self, heard: &mut Vec<Heard>) {
        let Some((socket, more)) = &mut self.notify else { return };
        for _ in 0..MESSAGES {
            match socket.next() {
                Ok(Some((pid, text))) => heard.push(Heard::Message(pid, text)),
                Ok(None) => {
                    *more = false;
                    return;
                }
                Err(e) => heard.push(Heard::Nonsense(format!("a notification can't be read: {e}"))),
            }
        }
    }

    fn hear_newline(&mut self, heard: &mut Vec<Heard>) {
        let Some((file, _)) = self.newline.as_mut().filter(|(_, more)| *more) else { return };
        match file.read(&mut self.buffer) {
            Ok(0) => {
                heard.push(Heard::NoNewline);
                self.newline = None;
            }
            Ok(n) if self.buffer[..n].contains(&b'\n') => {
                heard.push(Heard::Newline);
                self.newline = None;
            }
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                if let Some((_, more)) = &mut self.newline {
                    *more = false;
                }
            }
            Err(e) => {
                heard.push(Heard::Failed(format!("the descriptor for its newline can't be read: {e}")));
                self.newline = None;
            }
        }
    }
}

impl Stream {
    fn read(&mut self, buffer: &mut [u8], spout: &mut Spout, now: Moment, heard: &mut Vec<Heard>) {
        let (name, mut taken) = (self.name, 0);
        let mut line = |text: &str, heard: &mut Vec<Heard>| {
            if spout.pass(text, now) {
                heard.push(Heard::Line(name, text.to_owned()));
            }
        };
        while self.more && taken < BYTES {
            let Some(file) = &mut self.file else { break };
            match file.read(buffer) {
                Ok(0) => {
                    self.lines.finish(&mut |text| line(text, heard));
                    self.file = None;
                    self.more = false;
                }
                Ok(n) => {
                    taken += n;
                    self.lines.feed(&buffer[..n], &mut |text| line(text, heard));
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.more = false,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => {
                    heard.push(Heard::Failed(format!("its {name} can't be read: {e}")));
                    self.file = None;
                    self.more = false;
                }
            }
        }
        self.more &= self.file.is_some();
    }
}
