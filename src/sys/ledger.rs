//! One document in a memory file that is replaced again and again, and whole at any moment.
//!
//! For state that must outlive this image whenever it ends, a crash in the middle of `replace`
//! included: the new document is written beside the old one, then one write of the header moves over.
//! The descriptor crosses an exec; whoever has it reads with `read`. One writer.
//! Never: grows beyond a few documents, trusts a header that points outside the file.

use super::failure::{Tried, uninterrupted};
use super::shm::{self, write_at};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Magic, offset and length of the document, each a u64.
const HEADER: usize = 24;
const MAGIC: u64 = u64::from_le_bytes(*b"mdledger");
/// Largest document, bytes.
const LIMIT: u64 = 256 << 20;

/// The file, and where its document lies.
#[derive(Debug)]
pub struct Ledger {
    fd: OwnedFd,
    at: u64,
    length: u64,
}

impl Ledger {
    /// An empty one: a memfd, CLOEXEC, mode 0600.
    pub fn create(name: &str) -> io::Result<Ledger> {
        let mut ledger = Ledger { fd: shm::scratch(name)?, at: HEADER as u64, length: 0 };
        ledger.replace(b"")?;
        Ok(ledger)
    }

    /// One that another image left: its document can be read, and replaced.
    ///
    /// InvalidData if it is none.
    pub fn open(fd: OwnedFd) -> io::Result<Ledger> {
        let (at, length) = header(fd.as_fd()).tried(|| "open the state of the image before".into())?;
        Ok(Ledger { fd, at, length })
    }

    /// Puts another document in the place of the one there is.
    pub fn replace(&mut self, document: &[u8]) -> io::Result<()> {
        let act = || format!("write a state of {} bytes", document.len());
        let length = document.len() as u64;
        // Before the old one if there is room, else behind it.
        let before = HEADER as u64 + length <= self.at;
        let at = if before { HEADER as u64 } else { self.at + self.length };
        write_at(self.fd.as_fd(), document, at).tried(act)?;
        let words = [MAGIC, at, length];
        let head: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        write_at(self.fd.as_fd(), &head, 0).tried(act)?;
        (self.at, self.length) = (at, length);
        Ok(())
    }

    /// The document.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let act = || "read the state of the image before".to_owned();
        let length = usize::try_from(self.length).map_err(io::Error::other).tried(act)?;
        let mut document = vec![0; length];
        let mut done = 0;
        while done < length {
            let at = libc::off_t::try_from(self.at + done as u64).map_err(io::Error::other).tried(act)?;
            let got = uninterrupted(|| Ok(nix::sys::uio::pread(&self.fd, &mut document[done..], at)?))
                .tried(act)?;
            if got == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof)).tried(act);
            }
            done += got;
        }
        Ok(document)
    }
}

impl AsFd for Ledger {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn header(fd: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    let head = shm::read_start(fd, HEADER)?;
    let word = |i: usize| head.get(i * 8..i * 8 + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
    match (word(0), word(1), word(2)) {
        (Some(MAGIC), Some(at), Some(length)) if at >= HEADER as u64 && at <= LIMIT && length <= LIMIT => {
            Ok((at, length))
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it is no state of masterd")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_document_is_read_and_the_file_stays_small() {
        let mut ledger = Ledger::create("masterd-test-state").unwrap();
        for n in 0..1000usize {
            let document = vec![n as u8; 100 + n % 7 * 50];
            ledger.replace(&document).unwrap();
            assert_eq!(ledger.read().unwrap(), document);
        }
        let size = nix::sys::stat::fstat(&ledger.fd).unwrap().st_size;
        assert!(size < 4000, "{size}");
        let other = Ledger::open(super::super::fd::dup_cloexec(ledger.as_fd()).unwrap()).unwrap();
        assert_eq!(other.read().unwrap(), ledger.read().unwrap());
    }

    #[test]
    fn a_document_half_written_is_not_seen() {
        let mut ledger = Ledger::create("masterd-test-state").unwrap();
        ledger.replace(b"the old one").unwrap();
        // What `replace` does first, and no more.
        write_at(ledger.as_fd(), b"the new", ledger.at + ledger.length).unwrap();
        let other = Ledger::open(super::super::fd::dup_cloexec(ledger.as_fd()).unwrap()).unwrap();
        assert_eq!(other.read().unwrap(), b"the old one");
    }

    #[test]
    fn what_is_no_ledger_is_refused() {
        for bytes in [&b"short"[..], &[0; 64], &[0xff; 64]] {
            let fd = shm::sealed_bytes("masterd-test", bytes).unwrap();
            assert!(Ledger::open(fd).unwrap_err().to_string().contains("no state of masterd"));
        }
    }
}
