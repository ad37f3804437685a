//! A second look at the raw bytes of a request's head, for what hyper tolerates or hides.
//!
//! hyper takes a bare LF as a line end, drops a Content-Length that stands beside a Transfer-Encoding,
//! and its `Uri` drops a fragment. A next hop may read such a head in another way, so a proxy must
//! refuse it (RFC 9112, 2.2 and 6.1). Feed each piece that comes in before hyper gets it; when the
//! head is `complete`, ask for the `fault`; `restart` before the next head.
//! Answers of upstreams have no need of it: what hyper gives of them holds all that can be read in two ways (tests/h1).
//! Never: copies or keeps bytes, judges what hyper refuses by itself (names, methods, numbers).

use memchr::{memchr, memchr3};
use std::fmt;

/// Why a head is to be refused, with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A line ends in LF without CR (RFC 9112, 2.2).
    BareLf,
    /// A CR that no LF follows (RFC 9112, 2.2).
    BareCr,
    /// A NUL byte, which programs in C take for the end (RFC 9110, 5.5).
    NulByte,
    /// Content-Length beside Transfer-Encoding, in any order (RFC 9112, 6.1).
    LengthAndCoding,
    /// A `#` in a request's target (RFC 9112, 3.2: a target has no fragment).
    Fragment,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::BareLf => "a line ends in LF without CR",
            Fault::BareCr => "a line holds a CR without LF",
            Fault::NulByte => "the head holds a NUL byte",
            Fault::LengthAndCoding => "the head has both Content-Length and Transfer-Encoding",
            Fault::Fragment => "the target holds a fragment",
        })
    }
}

/// Where in a head the next byte belongs. Counts are of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before the first line, where empty lines are skipped (RFC 9112, 2.2).
    Before,
    /// In the method or the version, up to the first space.
    Word,
    /// In the target and what follows it.
    Target,
    /// At the first byte of a line.
    Line,
    /// In a name that may still become this one; this much of it has been met.
    Name(Framing, u8),
    /// In the rest of a line.
    Rest,
    /// The empty line has been met.
    Done,
}

/// The two fields that say how long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length,
    Coding,
}

impl Framing {
    fn name(self) -> &'static [u8] {
        match self {
            Framing::Length => b"content-length",
            Framing::Coding => b"transfer-encoding",
        }
    }
}

/// The state of one head: a few bytes, cheap to make anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    at: At,
    /// The last byte was a CR.
    cr: bool,
    length: bool,
    coding: bool,
    fault: Option<Fault>,
}

impl Gate {
    pub fn new() -> Gate {
        Gate { at: At::Before, cr: false, length: false, coding: false, fault: None }
    }

    /// Forgets everything: the next byte is the first of another head.
    pub fn restart(&mut self) {
        *self = Gate::new();
    }

    /// Looks at the next bytes of the connection. Gives back how many of them belong to the head: all of them, unless
    /// it ended among them. After the end nothing is looked at any more.
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        let mut seen = 0;
        while seen < bytes.len() && self.at != At::Done {
            let rest = &bytes[seen..];
            if self.cr {
                self.cr = false;
                if rest[0] == b'\n' {
                    seen += 1;
                    self.end_line();
                } else {
                    self.note(Fault::BareCr);
                    self.text(b"\r");
                }
                continue;
            }
            let end = memchr3(b'\r', b'\n', 0, rest);
            let text = &rest[..end.unwrap_or(rest.len())];
            self.text(text);
            seen += text.len();
            if let Some(&byte) = rest.get(text.len()) {
                seen += 1;
                self.control(byte);
            }
        }
        seen
    }

    /// The first thing found that is to be refused; it may be known before the head is complete.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// The empty line that ends the head has been seen.
    pub fn complete(&self) -> bool {
        self.at == At::Done
    }

    fn note(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    /// One of the bytes that text is searched for.
    fn control(&mut self, byte: u8) {
        match byte {
            b'\r' => self.cr = true,
            b'\n' => {
                self.note(Fault::BareLf);
                self.end_line();
            }
            _ => {
                self.note(Fault::NulByte);
                self.text(&[byte]);
            }
        }
    }

    /// A part of a line, without its end.
    fn text(&mut self, text: &[u8]) {
        let mut text = text;
        if self.at == At::Before && !text.is_empty() {
            self.at = At::Word;
        }
        if self.at == At::Word {
            let Some(space) = memchr(b' ', text) else { return };
            text = &text[space + 1..];
            self.at = At::Target;
        }
        match self.at {
            At::Target if memchr(b'#', text).is_some() => self.note(Fault::Fragment),
            At::Line | At::Name(..) => self.name(text),
            _ => {}
        }
    }

    /// A part of a header line, up to or beyond the colon.
    fn name(&mut self, text: &[u8]) {
        for &byte in text {
            self.at = match self.at {
                At::Line if byte.eq_ignore_ascii_case(&b'c') => At::Name(Framing::Length, 1),
                At::Line if byte.eq_ignore_ascii_case(&b't') => At::Name(Framing::Coding, 1),
                At::Name(framing, met) => match (framing.name().get(usize::from(met)), byte) {
                    (Some(want), byte) if byte.eq_ignore_ascii_case(want) => At::Name(framing, met + 1),
                    // hyper refuses space before a colon; were it to be tolerant one day, this is not.
                    (None, b' ' | b'\t') => At::Name(framing, met),
                    (None, b':') => self.framed(framing),
                    _ => At::Rest,
                },
                _ => At::Rest,
            };
            if self.at == At::Rest {
                return;
            }
        }
    }

    fn framed(&mut self, framing: Framing) -> At {
        match framing {
            Framing::Length => self.length = true,
            Framing::Coding => self.coding = true,
        }
        if self.length && self.coding {
            self.note(Fault::LengthAndCoding);
        }
        At::Rest
    }

    fn end_line(&mut self) {
        self.at = match self.at {
            At::Before => At::Before,
            At::Line => At::Done,
            _ => At::Line,
        };
    }
}

impl Default for Gate {
    fn default() -> Gate {
        Gate::new()
    }
}

#[cfg(test)]
mod tests;
