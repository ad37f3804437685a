//! Where a chunked body ends (RFC 9112, 7.1), for `intake`: the next head begins behind it.
//!
//! Decoding is hyper's; this follows the same bytes and notes line ends that only some readers take for such.
//! What is no chunk at all is left for hyper to refuse. Never: keeps a byte.

use super::gate::Fault;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In a chunk's size, of which this much is known.
    Size(u64),
    /// In what may follow the size.
    Extension,
    /// So many bytes of data.
    Data(u64),
    /// Behind the data: CR, then LF.
    DataEnd,
    /// At the first byte of a line of trailers.
    Line,
    /// In such a line.
    Trailer,
    Done,
    /// No chunks: hyper will say so.
    Lost,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunks {
    at: At,
    /// The last byte was a CR.
    cr: bool,
    /// The size that is being read, or was read last.
    size: u64,
    fault: Option<Fault>,
}

impl Default for Chunks {
    fn default() -> Chunks {
        Chunks { at: At::Size(0), cr: false, size: 0, fault: None }
    }
}

impl Chunks {
    /// Looks at the next bytes; how many of them belong to the body.
    pub fn feed(&mut self, bytes: &[u8]) -> usize {
        let mut seen = 0;
        while seen < bytes.len() && self.at != At::Done {
            match self.at {
                At::Lost => return bytes.len(),
                At::Data(left) => {
                    let n = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - seen);
                    seen += n;
                    let left = left - n as u64;
                    self.at = if left == 0 { At::DataEnd } else { At::Data(left) };
                }
                _ => {
                    self.byte(bytes[seen]);
                    seen += 1;
                }
            }
        }
        seen
    }

    pub fn is_complete(&self) -> bool {
        self.at == At::Done
    }

    /// The first line end that is none.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// One byte of framing.
    fn byte(&mut self, byte: u8) {
        let cr = std::mem::replace(&mut self.cr, byte == b'\r');
        match byte {
            b'\n' if cr => self.line_ends(),
            b'\n' => self.lose(Fault::BareLf),
            _ if cr => self.lose(Fault::BareCr),
            b'\r' => {}
            byte => self.text(byte),
        }
    }

    fn lose(&mut self, fault: Fault) {
        self.fault = Some(fault);
        self.at = At::Lost;
    }

    fn line_ends(&mut self) {
        self.at = match self.at {
            At::Size(0) | At::Extension if self.size == 0 => At::Line,
            At::Size(_) | At::Extension => At::Data(self.size),
            At::DataEnd => {
                self.size = 0;
                At::Size(0)
            }
            At::Trailer => At::Line,
            At::Line => At::Done,
            other => other,
        };
    }

    fn text(&mut self, byte: u8) {
        self.at = match (self.at, char::from(byte).to_digit(16)) {
            (At::Size(size), Some(digit)) if size >> 60 == 0 => {
                self.size = size << 4 | u64::from(digit);
                At::Size(self.size)
            }
            (At::Size(_), _) if matches!(byte, b';' | b' ' | b'\t') => At::Extension,
            (At::Extension, _) => At::Extension,
            (At::Line | At::Trailer, _) => At::Trailer,
            _ => At::Lost,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How far a body goes, and what is wrong with it, whatever the pieces.
    fn ends(bytes: &[u8]) -> (Option<usize>, Option<Fault>) {
        let mut whole = None;
        for size in 1..=bytes.len() {
            let (mut chunks, mut at) = (Chunks::default(), 0);
            for piece in bytes.chunks(size) {
                let n = chunks.feed(piece);
                at += n;
                if n < piece.len() {
                    break;
                }
            }
            let end = (chunks.is_complete().then_some(at), chunks.fault());
            assert_eq!(*whole.get_or_insert(end), end, "in pieces of {size}");
        }
        whole.unwrap()
    }

    #[test]
    fn a_body_ends_where_hyper_ends_it() {
        assert_eq!(ends(b"0\r\n\r\nGET"), (Some(5), None));
        assert_eq!(ends(b"5\r\nhello\r\n0\r\n\r\nGET"), (Some(15), None));
        assert_eq!(ends(b"A;x=\"y\"\r\n0123456789\r\n000;z\r\nX: 1\r\nY: 2\r\n\r\nGET"), (Some(42), None));
        assert_eq!(ends(b"5 \r\nhello\r\n0\r\n\r\n"), (Some(16), None));
        assert_eq!(ends(b"5\r\nhel"), (None, None));
    }

    #[test]
    fn line_ends_that_are_none() {
        let ends = |bytes: &[u8]| ends(bytes).1;
        for bare in
            [&b"5\nhello"[..], b"5\r\nhello\n", b"0\r\n\n", b"0\r\nX: 1\n\r\n", b"0\r\nX: 1\r\n\n", b"5;a\n"]
        {
            assert_eq!(ends(bare), Some(Fault::BareLf), "{bare:?}");
        }
        for bare in [&b"5\rx"[..], b"5;a\rb", b"0\r\nX\rY", b"5\r\r\n"] {
            assert_eq!(ends(bare), Some(Fault::BareCr), "{bare:?}");
        }
    }

    #[test]
    fn what_is_no_chunk_is_not_ours_to_judge() {
        for bytes in [&b"x\r\n\r\n"[..], b"-1\r\n", b"10000000000000000\r\n", b"5\r\nhelloX"] {
            assert_eq!(ends(bytes), (None, None), "{bytes:?}");
        }
    }
}
