//! The pid file: who the master is, held by a lock rather than by what the file says.
//!
//! Locked and emptied at start, written when the master stands, removed at its end. The lock is on the open file
//! description (fcntl(2), F_OFD_SETLK, Linux 3.15): it survives exec, dies with the last copy of the
//! descriptor, so children must close theirs. The file is written in place, never renamed: a rename
//! would leave the lock on a dead inode.
//! Never: trusts a pid whose file is not locked, removes a file that is not its own.

use super::failure::{Tried, uninterrupted};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{FileStat, Mode, fstat, lstat};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A pid file that this process has locked.
#[derive(Debug)]
pub struct PidFile {
    pub path: PathBuf,
    pub fd: OwnedFd,
}

/// Why the pid file could not be had.
#[derive(Debug)]
pub enum PidFileError {
    /// A living process holds the lock; the pid is what the file says.
    Held {
        pid: Option<i32>,
    },
    Io(io::Error),
}

impl std::fmt::Display for PidFileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PidFileError::Held { pid: Some(pid) } => write!(f, "the pid file is held by process {pid}"),
            PidFileError::Held { pid: None } => {
                write!(f, "the pid file is held by a process that has not written its pid yet")
            }
            PidFileError::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PidFileError {}

/// How often a file may change hands under us before we give up.
const TRIES: usize = 100;

impl PidFile {
    /// Opens (O_NOFOLLOW|O_CLOEXEC|O_CREAT, 0644), locks and empties, does not write yet.
    ///
    /// A file whose lock is free is stale whatever pid it names; once it is locked, that pid would pass for the holder's. If the file was replaced or removed
    /// between open and lock, the lock is worth nothing and it starts again with the new file.
    pub fn lock(path: &Path) -> Result<PidFile, PidFileError> {
        for _ in 0..TRIES {
            let fd = open_regular(path).map_err(PidFileError::Io)?;
            if let Some(file) = PidFile::claim(path, fd)? {
                return Ok(file);
            }
        }
        let reason =
            format!("pid file {} was replaced {TRIES} times while it was being locked", path.display());
        Err(PidFileError::Io(io::Error::other(reason)))
    }

    /// Locks an open pid file; None if the path has become another file meanwhile.
    fn claim(path: &Path, fd: OwnedFd) -> Result<Option<PidFile>, PidFileError> {
        match fcntl(&fd, FcntlArg::F_OFD_SETLK(&whole_file())) {
            Ok(_) => {}
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => {
                return Err(PidFileError::Held { pid: pid_in(&fd) });
            }
            Err(errno) => {
                let failed = Err(errno).tried(|| format!("lock pid file {}", path.display()));
                return failed.map_err(PidFileError::Io);
            }
        }
        let file = PidFile { path: path.to_owned(), fd };
        if !file.is_in_place().map_err(PidFileError::Io)? {
            return Ok(None);
        }
        let emptied = nix::unistd::ftruncate(&file.fd, 0);
        emptied.tried(|| format!("empty pid file {}", path.display())).map_err(PidFileError::Io)?;
        Ok(Some(file))
    }

    /// Writes "PID\n" in place of whatever the file held.
    pub fn write(&self, pid: i32) -> io::Result<()> {
        let act = || format!("write pid file {}", self.path.display());
        let text = format!("{pid}\n");
        let written =
            uninterrupted(|| Ok(nix::sys::uio::pwrite(&self.fd, text.as_bytes(), 0)?)).tried(act)?;
        if written < text.len() {
            return Err(io::Error::from(io::ErrorKind::StorageFull)).tried(act);
        }
        // Cut after writing: a reader that found a shorter pid or none would take it for the truth.
        let length = libc::off_t::try_from(text.len()).map_err(io::Error::other)?;
        nix::unistd::ftruncate(&self.fd, length).tried(act)
    }

    /// Unlinks the path if it still is the locked inode; otherwise leaves it.
    pub fn remove(&self) -> io::Result<()> {
        if !self.is_in_place()? {
            return Ok(());
        }
        nix::unistd::unlink(&self.path).tried(|| format!("remove pid file {}", self.path.display()))
    }

    fn is_in_place(&self) -> io::Result<bool> {
        let act = || format!("look at pid file {}", self.path.display());
        let ours = fstat(&self.fd).tried(act)?;
        match lstat(&self.path) {
            Ok(there) => Ok(there.st_dev == ours.st_dev && there.st_ino == ours.st_ino),
            Err(nix::errno::Errno::ENOENT) => Ok(false),
            Err(errno) => Err(errno).tried(act),
        }
    }

    /// For the command line: the pid in a file whose lock is held by a living process; None if the
    /// lock is free (stale). NotFound if there is no file, InvalidData if it is held but names no pid.
    pub fn holder(path: &Path) -> io::Result<Option<i32>> {
        let act = || format!("read pid file {}", path.display());
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let fd = nix::fcntl::open(path, flags, Mode::empty()).tried(act)?;
        let mut lock = whole_file();
        fcntl(&fd, FcntlArg::F_OFD_GETLK(&mut lock)).tried(act)?;
        if i32::from(lock.l_type) == libc::F_UNLCK {
            return Ok(None);
        }
        match pid_in(&fd) {
            Some(pid) => Ok(Some(pid)),
            None => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "it is held, but names no pid")).tried(act)
            }
        }
    }
}

fn open_regular(path: &Path) -> io::Result<OwnedFd> {
    let act = || format!("open pid file {}", path.display());
    // Non-blocking, so that a planted FIFO or device can't hold us up.
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let fd = nix::fcntl::open(path, flags, Mode::from_bits_truncate(0o644)).tried(act)?;
    let stat: FileStat = fstat(&fd).tried(act)?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")).tried(act);
    }
    Ok(fd)
}

/// A write lock from the first byte to the last there will ever be.
fn whole_file() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        // Must be 0 for locks of open file descriptions.
        l_pid: 0,
    }
}

fn pid_in(fd: &OwnedFd) -> Option<i32> {
    let bytes = super::shm::read_all(fd.as_fd(), 64).ok()?;
    let pid = std::str::from_utf8(&bytes).ok()?.trim().parse().ok()?;
    (pid > 0).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Folder, no_forks};
    use super::*;

    fn held_by(result: Result<PidFile, PidFileError>) -> Option<i32> {
        match result {
            Err(PidFileError::Held { pid }) => pid,
            other => panic!("not held: {other:?}"),
        }
    }

    #[test]
    fn one_holds_it_and_the_others_are_told_who() {
        let _quiet = no_forks();
        let folder = Folder::new();
        let path = folder.join("masterd.pid");
        let first = PidFile::lock(&path).unwrap();
        assert_eq!(held_by(PidFile::lock(&path)), None);
        assert_eq!(PidFile::holder(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
        first.write(123_456).unwrap();
        first.write(4242).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "4242\n");
        assert_eq!(held_by(PidFile::lock(&path)), Some(4242));
        assert_eq!(PidFile::holder(&path).unwrap(), Some(4242));
    }

    #[test]
    fn the_lock_lives_as_long_as_a_copy_of_the_descriptor() {
        let _quiet = no_forks();
        let folder = Folder::new();
        let path = folder.join("masterd.pid");
        let first = PidFile::lock(&path).unwrap();
        first.write(4242).unwrap();
        let copy = super::super::fd::dup_cloexec(first.fd.as_fd()).unwrap();
        drop(first);
        assert_eq!(held_by(PidFile::lock(&path)), Some(4242));
        drop(copy);
        // Stale now, whatever it says.
        assert_eq!(PidFile::holder(&path).unwrap(), None);
        let _next = PidFile::lock(&path).unwrap();
        assert_eq!(held_by(PidFile::lock(&path)), None, "the dead one's pid is nobody's");
        assert_eq!(PidFile::holder(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn only_our_own_file_is_removed() {
        let _quiet = no_forks();
        let folder = Folder::new();
        let path = folder.join("masterd.pid");
        let first = PidFile::lock(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        first.remove().unwrap();
        std::fs::write(&path, "a stranger's").unwrap();
        first.remove().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a stranger's");

        let second = PidFile::lock(&path).unwrap();
        second.remove().unwrap();
        assert!(!path.exists());
        assert_eq!(PidFile::holder(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn planted_files_are_refused() {
        let folder = Folder::new();
        let target = folder.join("precious");
        std::fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, folder.join("link")).unwrap();
        nix::unistd::mkfifo(&folder.join("fifo"), Mode::from_bits_truncate(0o600)).unwrap();
        for name in ["link", "fifo", "absent/masterd.pid"] {
            match PidFile::lock(&folder.join(name)) {
                Err(PidFileError::Io(error)) => assert!(error.to_string().contains(name), "{error}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious");
    }

    #[test]
    fn a_lock_on_a_file_that_was_removed_meanwhile_counts_for_nothing() {
        let _quiet = no_forks();
        let folder = Folder::new();
        let path = folder.join("masterd.pid");
        let first = PidFile::lock(&path).unwrap();
        let opened_early = [open_regular(&path).unwrap(), open_regular(&path).unwrap()];
        first.remove().unwrap();
        drop(first);
        let [removed, replaced] = opened_early;
        assert!(PidFile::claim(&path, removed).unwrap().is_none());
        let second = PidFile::lock(&path).unwrap();
        assert!(PidFile::claim(&path, replaced).unwrap().is_none());
        drop(second);
        let in_time = open_regular(&path).unwrap();
        assert!(PidFile::claim(&path, in_time).unwrap().is_some());
    }
}
