//! Shared memory: sealed memfds and maps of them, as words that are only ever read and written atomically.
//!
//! `create` makes one, its header written through the descriptor before anybody maps it; the seals
//! make sure that no process, whatever it has mapped, can shrink it (a reader would die of SIGBUS)
//! or grow it. One memfd per writer: within one memfd a page can't be kept from a process that maps
//! another page of it. `reopen_readonly` gives a descriptor whose maps can't be made writable.
//! `sealed_bytes`, `scratch` and `read_all` carry documents between processes.
//! Never: a pointer, a lock or a length inside the memory.

use super::failure::{Tried, check, uninterrupted};
use nix::fcntl::{FcntlArg, OFlag, SealFlag};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise};
use nix::sys::stat::{Mode, fchmod, fstat};
use std::ffi::{CString, c_void};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// Size of a word in bytes.
const WORD: usize = size_of::<u64>();

/// A memfd of `words` u64, zero but for `header` at its start; returned read-write.
///
/// memfd_create(2), Linux 3.17: CLOEXEC, not executable where the kernel has MFD_NOEXEC_SEAL (6.3),
/// mode 0600 (it is 0777 at birth, and anybody who reaches the descriptor through /proc could open
/// it again for writing), sealed against shrinking, growing and further seals.
pub fn create(name: &str, words: usize, header: &[u64]) -> io::Result<OwnedFd> {
    let act = || format!("make shared memory `{name}` of {words} words");
    if header.len() > words {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "its header is longer")).tried(act);
    }
    let fd = memfd(name).tried(act)?;
    let size = libc::off_t::try_from(words * WORD).map_err(io::Error::other).tried(act)?;
    nix::unistd::ftruncate(&fd, size).tried(act)?;
    let bytes: Vec<u8> = header.iter().flat_map(|word| word.to_ne_bytes()).collect();
    write_at(fd.as_fd(), &bytes, 0).tried(act)?;
    seal(fd.as_fd(), SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL).tried(act)?;
    Ok(fd)
}

fn memfd(name: &str) -> io::Result<OwnedFd> {
    let name = CString::new(name)?;
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: `name` ends in NUL and lives through the call.
    let make = |flags| check(unsafe { libc::memfd_create(name.as_ptr(), flags) });
    let number = match make(flags | libc::MFD_NOEXEC_SEAL) {
        // Before Linux 6.3 the flag is unknown.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => make(flags)?,
        other => other?,
    };
    // SAFETY: the kernel has just made this number for us.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR)?;
    Ok(fd)
}

/// All of `bytes` at this offset. pwrite(2).
pub(super) fn write_at(fd: BorrowedFd<'_>, bytes: &[u8], at: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        let place = libc::off_t::try_from(at + done as u64).map_err(io::Error::other)?;
        match uninterrupted(|| Ok(nix::sys::uio::pwrite(fd, &bytes[done..], place)?))? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            n => done += n,
        }
    }
    Ok(())
}

fn seal(fd: BorrowedFd<'_>, seals: SealFlag) -> io::Result<()> {
    nix::fcntl::fcntl(fd, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(())
}

/// The same memory opened again read-only, so that a map of it can never be made writable.
///
/// Through /proc/self/fd: a map from a read-write descriptor could be mprotect'ed (mprotect(2)).
pub fn reopen_readonly(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    nix::fcntl::open(path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .tried(|| format!("open {path} again, read-only"))
}

/// A mapping of a sealed memfd as words. Unmapped on drop.
#[derive(Debug)]
pub struct Pages {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, lives until drop, and is handed out
// only as `&[AtomicU64]`, which is Send and Sync by itself.
unsafe impl Send for Pages {}
// SAFETY: as above; there is no way to change `Pages` through a shared reference.
unsafe impl Sync for Pages {}

impl Pages {
    /// MAP_SHARED PROT_READ, with PROT_WRITE if `writable`. mmap(2).
    ///
    /// The mapping is not inherited by fork (madvise(2), MADV_DONTFORK): a child has no way to other
    /// processes' pages through what its parent had mapped.
    ///
    /// InvalidData if the memfd is smaller than `words` or not sealed against shrinking: a process
    /// that could truncate it would kill us by SIGBUS.
    pub fn map(fd: BorrowedFd<'_>, words: usize, writable: bool) -> io::Result<Pages> {
        let act = || format!("map {words} words of descriptor {}", fd.as_raw_fd());
        let length = words.checked_mul(WORD).and_then(NonZeroUsize::new);
        let length =
            length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no such size")).tried(act)?;
        check_sealed(fd, length.get()).tried(act)?;
        let protection =
            if writable { ProtFlags::PROT_READ | ProtFlags::PROT_WRITE } else { ProtFlags::PROT_READ };
        // SAFETY: the kernel chooses the place, so no memory of ours is replaced. The file is at least
        // `length` long and sealed to stay so (checked above), so every word stays readable.
        let start = unsafe { nix::sys::mman::mmap(None, length, protection, MapFlags::MAP_SHARED, fd, 0) };
        let pages = Pages { start: start.tried(act)?.cast(), words };
        // SAFETY: the range is the mapping just made. MADV_DONTFORK keeps its content and only leaves
        // it out of the memory of children, which never use a `Pages` made before the fork.
        unsafe { madvise(pages.start.cast(), length.get(), MmapAdvise::MADV_DONTFORK) }.tried(act)?;
        Ok(pages)
    }

    /// The shared words; other processes may change them at any time.
    ///
    /// Storing through a read-only map is a fault (SIGSEGV): the caller knows which it has.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: `start` is page-aligned and `words` words are mapped until drop, which the borrow of
        // `self` outlives not. Other processes write to it, which AtomicU64 allows; zeroed memory and
        // any other bits are a valid u64.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: exactly what `map` mapped, once; no reference into it outlives `self`. The call can
        // fail only for a range that is no mapping.
        let _ = unsafe { nix::sys::mman::munmap(self.start.cast::<c_void>(), self.words * WORD) };
    }
}

fn check_sealed(fd: BorrowedFd<'_>, length: usize) -> io::Result<()> {
    let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
    let size = fstat(fd)?.st_size;
    if usize::try_from(size).unwrap_or(0) < length {
        return Err(invalid(format!("it holds {size} bytes, {length} are needed")));
    }
    let seals = SealFlag::from_bits_retain(nix::fcntl::fcntl(fd, FcntlArg::F_GET_SEALS)?);
    if !seals.contains(SealFlag::F_SEAL_SHRINK) {
        return Err(invalid("it is not sealed against shrinking".into()));
    }
    Ok(())
}

/// A memfd with these bytes that nobody can change any more (for replies by descriptor). Its file
/// offset is 0.
pub fn sealed_bytes(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let act = || format!("put {} bytes into memory file `{name}`", bytes.len());
    let fd = memfd(name).tried(act)?;
    write_at(fd.as_fd(), bytes, 0).tried(act)?;
    let everything =
        SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SEAL;
    seal(fd.as_fd(), everything).tried(act)?;
    Ok(fd)
}

/// An empty growable memfd, CLOEXEC, mode 0600, for a child's answer.
pub fn scratch(name: &str) -> io::Result<OwnedFd> {
    memfd(name).tried(|| format!("make memory file `{name}`"))
}

/// Adds bytes to a file of `scratch`, at its file offset. write(2).
pub fn append(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match uninterrupted(|| Ok(nix::unistd::write(fd, &bytes[done..])?))
            .tried(|| format!("write to descriptor {}", fd.as_raw_fd()))?
        {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            n => done += n,
        }
    }
    Ok(())
}

/// Everything in a memfd or file, from offset 0, at most `limit` bytes (more is InvalidData).
///
/// pread(2): the file offset, shared with whoever wrote it, neither matters nor moves.
pub fn read_all(fd: BorrowedFd<'_>, limit: usize) -> io::Result<Vec<u8>> {
    let act = || format!("read descriptor {}", fd.as_raw_fd());
    let mut all = Vec::new();
    let mut chunk = [0u8; 16 * 1024];
    loop {
        let at = libc::off_t::try_from(all.len()).map_err(io::Error::other).tried(act)?;
        match uninterrupted(|| Ok(nix::sys::uio::pread(fd, &mut chunk, at)?)).tried(act)? {
            0 => return Ok(all),
            n => all.extend_from_slice(&chunk[..n]),
        }
        if all.len() > limit {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("more than {limit} bytes")))
                .tried(act);
        }
    }
}

/// The first `most` bytes of a file, or as many as it has. pread(2).
pub(super) fn read_start(fd: BorrowedFd<'_>, most: usize) -> io::Result<Vec<u8>> {
    let mut head = vec![0; most];
    let got = uninterrupted(|| Ok(nix::sys::uio::pread(fd, &mut head, 0)?))?;
    head.truncate(got);
    Ok(head)
}

/// What a worker that was taken over might try with its map; none of it may reach a neighbour.
#[cfg(test)]
pub(crate) mod attack {
    use super::*;

    const PAGE: usize = 4096;

    /// Asks for write access to a map that was made without.
    pub(crate) fn make_writable(pages: &Pages) -> io::Result<()> {
        // SAFETY: the first page of a mapping of ours; more rights take nothing from its readers.
        Ok(unsafe {
            nix::sys::mman::mprotect(pages.start.cast(), PAGE, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)
        }?)
    }

    /// Grows the map by a page and writes there. Only in a child that uses the map no more.
    pub(crate) fn write_past_the_end(pages: &Pages) {
        let size = pages.words * WORD;
        // SAFETY: moves a mapping that this process uses no more.
        let grown =
            unsafe { libc::mremap(pages.start.as_ptr().cast(), size, size + PAGE, libc::MREMAP_MAYMOVE) };
        assert_ne!(grown, libc::MAP_FAILED);
        // SAFETY: inside the range just mapped; whether it faults is the question.
        unsafe { grown.cast::<u8>().add(size).write_volatile(1) };
    }

    /// Puts the page behind the memfd's last one in place of the first, and writes there.
    pub(crate) fn write_by_another_window(pages: &Pages) {
        let (start, next) = (pages.start.as_ptr(), (pages.words * WORD).div_ceil(PAGE));
        // SAFETY: rearranges a mapping that this process uses no more.
        check(unsafe { libc::remap_file_pages(start.cast(), PAGE, 0, next, 0) }).expect("remap_file_pages");
        // SAFETY: inside the mapping; whether it faults is the question.
        unsafe { start.cast::<u8>().write_volatile(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::super::process::Exit;
    use super::super::testing::{alone, in_child};
    use super::*;
    use nix::errno::Errno;
    use std::sync::atomic::Ordering::Relaxed;

    const PAGE: usize = 4096;

    #[test]
    fn a_header_and_zeroes_that_processes_share() {
        let fd = create("slot", 1024, &[7, 8, 9]).unwrap();
        let pages = Pages::map(fd.as_fd(), 1024, true).unwrap();
        let first: Vec<u64> = pages.words()[..5].iter().map(|word| word.load(Relaxed)).collect();
        assert_eq!(first, [7, 8, 9, 0, 0]);
        assert_eq!(pages.words().len(), 1024);

        let other = reopen_readonly(fd.as_fd()).unwrap();
        let reader = Pages::map(other.as_fd(), 1024, false).unwrap();
        alone(|| Pages::map(fd.as_fd(), 1024, true).unwrap().words()[1023].store(42, Relaxed));
        assert_eq!(reader.words()[1023].load(Relaxed), 42);
    }

    #[test]
    fn a_child_has_no_part_in_what_its_parent_mapped() {
        let fd = create("slot", 1024, &[7]).unwrap();
        let pages = Pages::map(fd.as_fd(), 1024, true).unwrap();
        let exit = in_child(|| {
            super::super::signal::reset_dispositions().unwrap();
            pages.words()[0].store(8, Relaxed);
        });
        assert!(matches!(exit, Exit::Signal { number: libc::SIGSEGV, .. }), "{exit:?}");
        assert_eq!(pages.words()[0].load(Relaxed), 7);
    }

    #[test]
    fn size_and_rights_can_not_be_changed() {
        let fd = create("slot", 1024, &[]).unwrap();
        for size in [0, 8 * 1023, 8 * 1025] {
            assert_eq!(nix::unistd::ftruncate(&fd, size), Err(Errno::EPERM));
        }
        assert_eq!(
            seal(fd.as_fd(), SealFlag::F_SEAL_WRITE).unwrap_err().kind(),
            io::ErrorKind::PermissionDenied
        );
        assert_eq!(fstat(&fd).unwrap().st_mode & 0o7777, 0o600);
        let flags = nix::fcntl::fcntl(&fd, FcntlArg::F_GETFD).unwrap();
        assert_ne!(flags & libc::FD_CLOEXEC, 0);
        assert!(create("slot", 1, &[1, 2]).is_err());
    }

    #[test]
    fn a_read_only_map_stays_so() {
        let fd = create("slot", PAGE / WORD, &[]).unwrap();
        let reopened = reopen_readonly(fd.as_fd()).unwrap();
        let refused = Pages::map(reopened.as_fd(), 1, true).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
        let reader = Pages::map(reopened.as_fd(), PAGE / WORD, false).unwrap();
        assert_eq!(attack::make_writable(&reader).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        // The other way shows that the attempt is a real one.
        let careless = Pages::map(fd.as_fd(), PAGE / WORD, false).unwrap();
        attack::make_writable(&careless).unwrap();
    }

    #[test]
    fn storing_through_a_read_only_map_ends_the_process() {
        let fd = create("slot", PAGE / WORD, &[]).unwrap();
        let reader = Pages::map(fd.as_fd(), 1, false).unwrap();
        let exit = in_child(|| {
            super::super::signal::reset_dispositions().unwrap();
            reader.words()[0].store(1, Relaxed);
        });
        assert!(matches!(exit, Exit::Signal { number: libc::SIGSEGV, .. }), "{exit:?}");
    }

    #[test]
    fn no_way_of_moving_a_map_finds_a_neighbour() {
        let fd = create("slot", PAGE / WORD, &[]).unwrap();
        for attempt in [attack::write_past_the_end, attack::write_by_another_window] {
            let exit = in_child(|| {
                super::super::signal::reset_dispositions().unwrap();
                attempt(&Pages::map(fd.as_fd(), PAGE / WORD, true).unwrap());
            });
            assert!(matches!(exit, Exit::Signal { number: libc::SIGBUS, .. }), "{exit:?}");
        }
    }

    #[test]
    fn an_undumpable_master_of_an_ordinary_user_still_reopens_its_own() {
        alone(|| {
            if super::super::process::euid() == 0 {
                super::super::privs::become_user(65534, 65534).unwrap();
            }
            super::super::process::make_undumpable().unwrap();
            let fd = create("slot", 1, &[7]).unwrap();
            let reader = Pages::map(reopen_readonly(fd.as_fd()).unwrap().as_fd(), 1, false).unwrap();
            assert_eq!(reader.words()[0].load(Relaxed), 7);
        });
    }

    #[test]
    fn only_sealed_memory_of_the_right_size_is_mapped() {
        let open = scratch("open").unwrap();
        nix::unistd::ftruncate(&open, 4096).unwrap();
        let error = Pages::map(open.as_fd(), 512, false).unwrap_err();
        assert!(
            error.kind() == io::ErrorKind::InvalidData && error.to_string().contains("sealed"),
            "{error}"
        );
        let small = create("small", 511, &[]).unwrap();
        let error = Pages::map(small.as_fd(), 512, false).unwrap_err();
        assert!(error.to_string().contains("holds 4088 bytes, 4096 are needed"), "{error}");
        assert!(
            Pages::map(small.as_fd(), 0, false).is_err()
                && Pages::map(small.as_fd(), usize::MAX, false).is_err()
        );
        let (pipe, _w) = super::super::fd::pipe().unwrap();
        assert!(Pages::map(pipe.as_fd(), 1, false).is_err());
    }

    #[test]
    fn documents_are_read_whole_or_refused() {
        let text = vec![b'x'; 100_000];
        let fd = sealed_bytes("reply", &text).unwrap();
        assert_eq!(nix::unistd::write(&fd, b"y"), Err(Errno::EPERM));
        for _ in 0..2 {
            assert_eq!(read_all(fd.as_fd(), text.len()).unwrap(), text);
        }
        let error = read_all(fd.as_fd(), text.len() - 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);

        let answer = scratch("answer").unwrap();
        assert_eq!(read_all(answer.as_fd(), 10).unwrap(), b"");
        nix::unistd::write(&answer, b"grown").unwrap();
        assert_eq!(read_all(answer.as_fd(), 10).unwrap(), b"grown");
    }
}
