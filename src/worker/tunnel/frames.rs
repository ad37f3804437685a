//! Where the frames of a WebSocket begin and end (RFC 6455, 5.2), without a look into them.
//!
//! A tunnel feeds each direction's bytes; when `at_boundary`, a frame of our own may be put in between: the close
//! frame of a drain. Never: checks what the two ends agreed on, keeps a byte.

/// Follows one direction.
#[derive(Debug, Default)]
pub struct Frames {
    /// Bytes of the current header that have come: 14 at most.
    header: [u8; 14],
    have: usize,
    /// Bytes of payload (and what is left of the header) to come.
    left: u64,
    /// A close frame has begun: nothing follows it.
    closed: bool,
}

/// The close codes of a server that goes away (RFC 6455, 7.4.1).
const GOING_AWAY: u16 = 1001;

impl Frames {
    /// Looks at the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.left > 0 {
                let skipped = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
                self.left -= skipped as u64;
                rest = &rest[skipped..];
                continue;
            }
            self.header[self.have] = rest[0];
            self.have += 1;
            rest = &rest[1..];
            if let Some(length) = self.length() {
                self.closed |= self.header[0] & 0x0f == 8;
                self.left = length;
                self.have = 0;
            }
        }
    }

    /// The payload's length, once the header is complete.
    fn length(&self) -> Option<u64> {
        if self.have < 2 {
            return None;
        }
        let mask = if self.header[1] & 0x80 != 0 { 4 } else { 0 };
        let short = self.header[1] & 0x7f;
        let extended = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if self.have < 2 + extended + mask {
            return None;
        }
        let number = self.header[2..2 + extended].iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        Some(if extended == 0 { u64::from(short) } else { number })
    }

    /// The last frame is complete, and another may follow.
    pub fn at_boundary(&self) -> bool {
        self.left == 0 && self.have == 0 && !self.closed
    }
}

/// A close frame that says "going away"; what a client sends is masked (with zeroes: nothing is hidden).
pub fn going_away(masked: bool) -> Vec<u8> {
    let [high, low] = GOING_AWAY.to_be_bytes();
    if masked { vec![0x88, 0x82, 0, 0, 0, 0, high, low] } else { vec![0x88, 0x02, high, low] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_are_found_whatever_the_pieces() {
        let mut stream = vec![0x81, 0x05];
        stream.extend_from_slice(b"hello");
        stream.extend_from_slice(&[0x82, 0xfe, 0x01, 0x00, 1, 2, 3, 4]);
        stream.extend_from_slice(&[7; 256]);
        stream.extend_from_slice(&[0x02, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
        stream.extend_from_slice(&[9; 65536]);
        stream.extend_from_slice(&[0x89, 0x00]);
        let ends = [7, 7 + 8 + 256, 7 + 264 + 10 + 65536, stream.len()];
        for size in [1, 2, 3, 7, 64, 1000, stream.len()] {
            let mut frames = Frames::default();
            let mut at = 0;
            for piece in stream.chunks(size) {
                frames.feed(piece);
                at += piece.len();
                assert_eq!(frames.at_boundary(), ends.contains(&at), "at {at} in pieces of {size}");
            }
        }
    }

    #[test]
    fn behind_a_close_frame_nothing_may_follow() {
        for masked in [false, true] {
            let mut frames = Frames::default();
            frames.feed(&going_away(masked));
            assert!(!frames.at_boundary());
            assert_eq!((frames.left, frames.have), (0, 0));
        }
    }
}
