//! What hyper may have of the bytes that have come in: a head at a time, so that each is looked at before it is read.
//!
//! `offer` tells how many of some bytes are hyper's now; the rest stays `ahead` and is offered again when
//! hyper asks for more. It follows heads (by the `gate`) and bodies (by their length, or `chunks`), so that it is
//! known where each head begins. Where hyper sees something else, everything passes: what it makes of that is what counts.
//! What may become HTTP/2's preface is held back until that is known: hyper knows it as a whole only.
//! Never: changes a byte, gives one twice or in another order.

use super::chunks::Chunks;
use super::gate::{Fault, Gate};
use bytes::{Buf, Bytes};
use std::cell::{Cell, RefCell};

/// What an HTTP/2 client begins with (RFC 9113, 3.4). hyper knows it only as a whole.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whose the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Head,
    /// A head is complete; hyper is to say what follows.
    Told,
    /// So many bytes of a body.
    Body(u64),
    Chunks,
    /// Nobody's business here: HTTP/2, or what hyper reads in another way.
    Unclear,
}

#[derive(Debug)]
pub struct Intake {
    at: Cell<At>,
    gate: RefCell<Gate>,
    /// The head has begun.
    begun: Cell<bool>,
    chunks: RefCell<Chunks>,
    ahead: RefCell<Bytes>,
}

impl Intake {
    /// For a connection that begins with a head, or with HTTP/2.
    pub fn new(multiplexed: bool) -> Intake {
        let at = if multiplexed { At::Unclear } else { At::Head };
        Intake {
            at: Cell::new(at),
            gate: RefCell::new(Gate::new()),
            begun: Cell::new(false),
            chunks: RefCell::default(),
            ahead: RefCell::default(),
        }
    }

    /// The next byte is the first of a head.
    pub fn restart(&self) {
        self.gate.borrow_mut().restart();
        self.begun.set(false);
        self.at.set(At::Head);
    }

    /// From here on everything passes.
    pub fn pass(&self) {
        self.at.set(At::Unclear);
    }

    /// The next byte that comes is known to be the first of a head.
    pub fn is_clear(&self) -> bool {
        self.at.get() == At::Head && !self.begun.get() && self.ahead.borrow().is_empty()
    }

    /// hyper has read a head: what was wrong with its bytes. `length` is that of its body; `None` if it comes in chunks.
    pub fn told(&self, length: Option<u64>) -> Option<Fault> {
        if self.at.get() != At::Told {
            self.at.set(At::Unclear);
            return None;
        }
        let fault = self.gate.borrow().fault();
        match length {
            Some(0) => self.restart(),
            Some(length) => self.at.set(At::Body(length)),
            None => {
                self.chunks.replace(Chunks::default());
                self.at.set(At::Chunks);
            }
        }
        fault
    }

    /// How many of these bytes hyper may have now; none only where more must come to tell.
    fn offer(&self, bytes: &[u8]) -> usize {
        match self.at.get() {
            At::Head if !self.begun.get() && PREFACE.starts_with(bytes) && bytes.len() < PREFACE.len() => 0,
            At::Head if !self.begun.get() && bytes.starts_with(PREFACE) => {
                self.at.set(At::Unclear);
                bytes.len()
            }
            At::Head => {
                self.begun.set(true);
                let mut gate = self.gate.borrow_mut();
                let n = gate.feed(bytes);
                if gate.complete() {
                    self.at.set(At::Told);
                }
                n
            }
            At::Body(left) => {
                let n = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                match left - n as u64 {
                    0 => self.restart(),
                    left => self.at.set(At::Body(left)),
                }
                n
            }
            At::Chunks => {
                let mut chunks = self.chunks.borrow_mut();
                let n = chunks.feed(bytes);
                if chunks.is_complete() {
                    drop(chunks);
                    self.restart();
                }
                n
            }
            // hyper sees no end where there is one: it knows better.
            At::Told | At::Unclear => {
                self.at.set(At::Unclear);
                bytes.len()
            }
        }
    }

    /// What was wrong with the body that is being read: it is not to be read on.
    pub fn body_fault(&self) -> Option<Fault> {
        self.chunks.borrow().fault().filter(|_| self.at.get() == At::Chunks)
    }

    /// Takes bytes in that have just come, and shows hyper's part of them, `most` bytes at most, which are no fewer;
    /// false if there is none yet.
    pub fn take_in(&self, bytes: &[u8], most: usize, show: impl FnOnce(&[u8])) -> bool {
        if self.has_ahead() {
            let together = [self.take_ahead().as_ref(), bytes].concat();
            *self.ahead.borrow_mut() = together.into();
            return self.show_ahead(most, show);
        }
        let n = self.offer(bytes);
        if n < bytes.len() {
            *self.ahead.borrow_mut() = Bytes::copy_from_slice(&bytes[n..]);
        }
        if n > 0 {
            show(&bytes[..n]);
        }
        n > 0
    }

    /// Shows what has come before, `most` bytes at most; false if there is nothing that hyper may have.
    pub fn show_ahead(&self, most: usize, show: impl FnOnce(&[u8])) -> bool {
        let mut ahead = self.ahead.borrow_mut();
        if ahead.is_empty() {
            return false;
        }
        let n = self.offer(&ahead[..ahead.len().min(most)]);
        if n > 0 {
            show(&ahead[..n]);
            ahead.advance(n);
        }
        n > 0
    }

    /// Puts bytes back that hyper has read and not used: they come first.
    pub fn put_back(&self, unused: Bytes) {
        let mut ahead = self.ahead.borrow_mut();
        *ahead = match (unused.is_empty(), ahead.is_empty()) {
            (true, _) => return,
            (false, true) => unused,
            (false, false) => [unused.as_ref(), ahead.as_ref()].concat().into(),
        };
    }

    /// Everything that hyper has not had yet.
    pub fn take_ahead(&self) -> Bytes {
        self.ahead.take()
    }

    pub fn has_ahead(&self) -> bool {
        !self.ahead.borrow().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What hyper gets of some bytes, read by read; it says after each head what follows.
    fn reads(bytes: &[u8], lengths: &[Option<u64>]) -> Vec<String> {
        let (intake, mut lengths, mut reads) = (Intake::new(false), lengths.iter(), Vec::new());
        let mut note = |shown: &[u8]| reads.push(String::from_utf8_lossy(shown).into_owned());
        intake.take_in(bytes, bytes.len(), &mut note);
        loop {
            if intake.at.get() == At::Told
                && let Some(length) = lengths.next()
            {
                intake.told(*length);
            }
            if !intake.show_ahead(usize::MAX, &mut note) {
                return reads;
            }
        }
    }

    #[test]
    fn each_head_and_each_body_of_known_length_comes_alone() {
        let bytes = b"GET / HTTP/1.1\r\n\r\nPOST / HTTP/1.1\r\n\r\nabcGET /2 HTTP/1.1\r\n\r\nGE";
        let heads =
            ["GET / HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\n\r\n", "abc", "GET /2 HTTP/1.1\r\n\r\n", "GE"];
        assert_eq!(reads(bytes, &[Some(0), Some(3), Some(0)]), heads);
        let bytes = b"POST / HTTP/1.1\r\n\r\n0\r\n\r\nGET /2 HTTP/1.1\r\n\r\nGE";
        let heads = ["POST / HTTP/1.1\r\n\r\n", "0\r\n\r\n", "GET /2 HTTP/1.1\r\n\r\n", "GE"];
        assert_eq!(reads(bytes, &[None, Some(0)]), heads);
    }

    #[test]
    fn a_fault_belongs_to_its_head() {
        let intake = Intake::new(false);
        intake.take_in(b"GET /#a HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", 99, |_| ());
        assert_eq!(intake.told(Some(0)), Some(Fault::Fragment));
        assert!(intake.show_ahead(usize::MAX, |_| ()) && !intake.has_ahead());
        assert_eq!(intake.told(Some(0)), None);
        assert!(intake.is_clear());
    }

    #[test]
    fn a_preface_comes_as_a_whole_and_its_beginning_only_when_it_is_none() {
        let gets = |parts: &[&[u8]]| {
            let (intake, mut got) = (Intake::new(false), Vec::new());
            for part in parts {
                intake
                    .take_in(part, usize::MAX, |bytes| got.push(String::from_utf8_lossy(bytes).into_owned()));
            }
            (got, intake.take_ahead())
        };
        let preface = String::from_utf8_lossy(PREFACE).into_owned();
        let whole = preface.clone() + "more";
        assert_eq!(gets(&[whole.as_bytes()]), (vec![whole.clone()], Bytes::new()));
        let bytes: Vec<&[u8]> = PREFACE.chunks(1).collect();
        assert_eq!(gets(&bytes), (vec![preface], Bytes::new()));
        assert_eq!(gets(&[b"P", b"R"]), (vec![], Bytes::from_static(b"PR")));
        let post = ["POST".to_owned(), " ".to_owned()];
        assert_eq!(gets(&[b"P", b"OST", b" "]), (post.to_vec(), Bytes::new()));
    }

    #[test]
    fn what_is_put_back_comes_first() {
        let intake = Intake::new(false);
        intake.take_in(b"GET / HTTP/1.1\r\n\r\nrest", 99, |_| ());
        intake.put_back(Bytes::from_static(b"un"));
        assert_eq!(intake.take_ahead(), "unrest");
        assert!(!intake.has_ahead());
    }

    #[test]
    fn the_preface_of_http_2_is_shown_as_a_whole_with_what_follows() {
        let bytes = [PREFACE, b"frames"].concat();
        for cut in 0..=bytes.len() {
            let (intake, mut seen) = (Intake::new(false), Vec::new());
            for piece in [&bytes[..cut], &bytes[cut..]].into_iter().filter(|piece| !piece.is_empty()) {
                intake.take_in(piece, 99, |shown| seen.push(shown.to_vec()));
            }
            assert_eq!(seen.concat(), bytes, "{cut}");
            assert!(seen[0].starts_with(PREFACE) && !intake.has_ahead(), "{cut}: {seen:?}");
        }
        // What only begins like it is a head like any other.
        let (intake, mut seen) = (Intake::new(false), Vec::new());
        for piece in ["PR", "OPFIND / HTTP/1.1\r\n\r\nG"] {
            intake.take_in(piece.as_bytes(), 99, |shown| {
                seen.push(String::from_utf8_lossy(shown).into_owned())
            });
        }
        assert_eq!(seen, ["PROPFIND / HTTP/1.1\r\n\r\n"]);
        assert_eq!(intake.take_ahead(), "G");
    }
}
