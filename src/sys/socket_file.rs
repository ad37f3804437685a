//! Unix socket files: bound with the right mode from birth, replaced only when stale, unlinked only
//! when ours.
//!
//! `unix` is called by the master while it has one thread: it sets the umask around bind(2), and
//! that is the whole process's. A file is known by device and inode (`FileId`), never by its name.
//! Never: follows a symbolic link at the path, touches a live socket or a file of another kind.

use super::failure::Tried;
use super::listen::listen;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, Flock, FlockArg, OFlag};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr};
use nix::sys::stat::{self, FileStat, Mode, fstat, lstat};
use nix::unistd::{Gid, Uid, fchownat};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Bytes a path or abstract name may have: sun_path is 108, with its NUL. unix(7).
pub(super) const LONGEST: usize = 107;

/// Who a unix socket file is: device and inode, so that only our own is ever unlinked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    pub device: u64,
    pub inode: u64,
}

impl FileId {
    pub(super) fn of(stat: &FileStat) -> FileId {
        FileId { device: stat.st_dev, inode: stat.st_ino }
    }
}

/// Owner and group to be given; None leaves that one alone.
type Owner = (Option<u32>, Option<u32>);

/// Binds a unix stream listener at a path, with these permission bits from birth and this owner.
///
/// unix(7). A stale socket file (nobody listens: ECONNREFUSED) is replaced. Errors: InvalidInput for
/// a path that is too long, AddrInUse for a socket somebody serves, AlreadyExists for a file that is
/// no socket; those files are left alone. Needs a process with one thread (umask).
pub fn unix(path: &Path, backlog: u32, mode: u32, owner: Owner) -> io::Result<(OwnedFd, FileId)> {
    let act = || format!("listen on unix:{}", path.display());
    let address = address_of(path).tried(act)?;
    // Until the socket listens, a rival that looks at its file would take it for stale.
    let _alone = alone_in_folder(path);
    make_room(path, &address).tried(act)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None).tried(act)?;
    let before = stat::umask(Mode::from_bits_truncate(!mode & 0o777));
    let bound = socket::bind(fd.as_raw_fd(), &address);
    stat::umask(before);
    bound.tried(|| format!("{}: bind", act()))?;
    let id = FileId::of(&lstat(path).tried(act)?);
    let finished = chown(path, owner).and_then(|()| listen(fd.as_fd(), backlog));
    if let Err(error) = finished {
        // What was made here must not stay behind an error; the first error is the one to tell.
        let _ = unix_unlink(path, id);
        return Err(error).tried(act);
    }
    Ok((fd, id))
}

/// A lock on the path's folder (flock(2)), against rivals of our own kind that bind at this moment.
///
/// It is held for microseconds; who can't have it in 50 ms meets a stranger's lock, and
/// goes on without, as does who may not read the folder: the lock only narrows a race.
fn alone_in_folder(path: &Path) -> Option<Flock<OwnedFd>> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut folder = nix::fcntl::open(folder, flags, Mode::empty()).ok()?;
    for _ in 0..50 {
        match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Some(lock),
            Err((back, Errno::EWOULDBLOCK)) => folder = back,
            Err(_) => return None,
        }
        // Not a yield: the holder may be waiting for the very CPU that this would spin on.
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    None
}

fn address_of(path: &Path) -> io::Result<UnixAddr> {
    let bytes = path.as_os_str().as_bytes().len();
    if bytes == 0 || bytes > LONGEST {
        let reason = format!(
            "the path has {bytes} bytes, a unix socket's may have 1 to {LONGEST}; use a shorter folder"
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    Ok(UnixAddr::new(path)?)
}

/// Removes a stale socket file at the path; an error if something else is there.
fn make_room(path: &Path, address: &UnixAddr) -> io::Result<()> {
    let there = match lstat(path) {
        Ok(stat) => stat,
        Err(Errno::ENOENT) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    if there.st_mode & libc::S_IFMT != libc::S_IFSOCK {
        let reason =
            "a file that is no socket is there; it was left alone: move it away or choose another path";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, reason));
    }
    if is_stale(address)? { unix_unlink(path, FileId::of(&there)).map(drop) } else { Ok(()) }
}

/// Whether nobody serves the socket file at an address: true when it is there and its listener is not,
/// false when the file is gone, AddrInUse when it is served. A served one gets a connection by this.
pub(super) fn is_stale(address: &UnixAddr) -> io::Result<bool> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let probe = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    match socket::connect(probe.as_raw_fd(), address) {
        Err(Errno::ECONNREFUSED) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        // A full queue is somebody's, and so is a socket of another type.
        Ok(()) | Err(Errno::EAGAIN | Errno::EPROTOTYPE) => {
            let reason = "a living process serves this socket; stop it or choose another path";
            Err(io::Error::new(io::ErrorKind::AddrInUse, reason))
        }
        Err(errno) => Err(errno).tried(|| "find out whether the socket that is there is still served".into()),
    }
}

fn chown(path: &Path, (uid, gid): Owner) -> io::Result<()> {
    if uid.is_none() && gid.is_none() {
        return Ok(());
    }
    fchownat(AT_FDCWD, path, uid.map(Uid::from_raw), gid.map(Gid::from_raw), AtFlags::AT_SYMLINK_NOFOLLOW)
        .tried(|| format!("give it to owner {uid:?}, group {gid:?}"))
}

/// Sets mode and owner of a socket file that stays, if it is still ours (else NotFound).
///
/// Goes through an O_PATH descriptor (open(2)), so that what is changed is what was looked at.
pub fn unix_retune(path: &Path, id: FileId, mode: u32, owner: Owner) -> io::Result<()> {
    let act = || format!("set mode {mode:04o} and owner of {}", path.display());
    let fd = nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
        .tried(act)?;
    if FileId::of(&fstat(&fd).tried(act)?) != id {
        return Err(io::Error::new(io::ErrorKind::NotFound, "it is no longer the socket bound here"))
            .tried(act);
    }
    // fchmod refuses O_PATH descriptors; their name in /proc does not.
    let name = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let (uid, gid) = owner;
    if uid.is_some() || gid.is_some() {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        fchownat(&fd, "", uid, gid, AtFlags::AT_EMPTY_PATH).tried(act)?;
    }
    stat::fchmodat(
        AT_FDCWD,
        name.as_str(),
        Mode::from_bits_truncate(mode & 0o777),
        stat::FchmodatFlags::FollowSymlink,
    )
    .tried(act)
}

/// True if the path still is the socket file `id`.
pub fn unix_is_ours(path: &Path, id: FileId) -> bool {
    lstat(path).is_ok_and(|stat| FileId::of(&stat) == id)
}

/// Unlinks the path only if it still is `id`. Ok(false) if it was not ours.
pub fn unix_unlink(path: &Path, id: FileId) -> io::Result<bool> {
    if !unix_is_ours(path, id) {
        return Ok(false);
    }
    match nix::unistd::unlink(path) {
        Ok(()) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno).tried(|| format!("unlink {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Folder, alone};
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::os::unix::net::{UnixDatagram, UnixStream};

    const NOBODY: Owner = (None, None);

    fn mode_of(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    // `unix` sets the umask, which all threads of the tests share: each body runs on its own.

    #[test]
    fn the_mode_is_right_whatever_the_umask() {
        let folder = Folder::new();
        let path = folder.join("web.sock");
        alone(|| {
            for (umask, mode) in [(0o077, 0o666), (0, 0o600), (0o022, 0o660)] {
                stat::umask(Mode::from_bits_truncate(umask));
                let (_fd, id) = unix(&path, 4, mode, NOBODY).unwrap();
                assert_eq!(mode_of(&path), mode);
                assert_eq!(stat::umask(Mode::empty()).bits(), umask, "the umask is as it was");
                UnixStream::connect(&path).unwrap();
                assert!(unix_is_ours(&path, id) && unix_unlink(&path, id).unwrap());
                assert!(!path.exists() && !unix_unlink(&path, id).unwrap());
            }
        });
    }

    #[test]
    fn a_stale_file_is_replaced_and_a_live_one_is_not() {
        let folder = Folder::new();
        let path = folder.join("web.sock");
        alone(|| {
            let (first, old) = unix(&path, 0, 0o600, NOBODY).unwrap();
            let refused = || unix(&path, 4, 0o600, NOBODY).unwrap_err();
            let error = refused();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
            assert!(error.to_string().contains("a living process serves this socket"), "{error}");
            // The probe above waits in the queue, which is full now.
            assert_eq!(refused().kind(), io::ErrorKind::AddrInUse);
            assert!(unix_is_ours(&path, old));

            drop(first);
            let (_second, new) = unix(&path, 4, 0o600, NOBODY).unwrap();
            assert!(unix_is_ours(&path, new));
            UnixStream::connect(&path).unwrap();
        });
    }

    /// A rival of our own kind that has bound and does not listen yet holds the folder: it is waited for.
    #[test]
    fn whoever_binds_in_a_folder_is_alone_there_or_has_waited() {
        let folder = Folder::new();
        let path = folder.join("web.sock");
        alone(|| {
            let rival = alone_in_folder(&path).expect("nobody else is there");
            let begun = std::time::Instant::now();
            // Whoever holds it for longer is no rival of our kind: then it goes on without.
            let (_fd, _) = unix(&path, 4, 0o600, NOBODY).unwrap();
            assert!(begun.elapsed() >= std::time::Duration::from_millis(50), "{:?}", begun.elapsed());
            drop(rival);
            assert!(alone_in_folder(&path).is_some(), "given back after the bind");
        });
    }

    #[test]
    fn other_files_are_left_alone() {
        let folder = Folder::new();
        let (file, link, datagram) = (folder.join("file"), folder.join("link"), folder.join("datagram"));
        std::fs::write(&file, "precious").unwrap();
        symlink(folder.join("absent"), &link).unwrap();
        let _served = UnixDatagram::bind(&datagram).unwrap();
        alone(|| {
            for path in [&file, &link] {
                let error = unix(path, 4, 0o600, NOBODY).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
                assert!(error.to_string().contains("no socket"), "{error}");
            }
            assert_eq!(unix(&datagram, 4, 0o600, NOBODY).unwrap_err().kind(), io::ErrorKind::AddrInUse);
            assert_eq!(
                unix(&folder.join("no/such"), 4, 0o600, NOBODY).unwrap_err().kind(),
                io::ErrorKind::NotFound
            );
        });
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
        assert!(link.is_symlink() && !folder.join("absent").exists() && datagram.exists());
    }

    #[test]
    fn a_path_that_is_too_long_is_measured() {
        let error = unix(Path::new(&format!("/{}", "x".repeat(107))), 4, 0o600, NOBODY).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("108 bytes") && error.to_string().contains("1 to 107"), "{error}");
    }

    #[test]
    fn mode_and_owner_of_a_file_that_stays() {
        let folder = Folder::new();
        let path = folder.join("web.sock");
        alone(|| {
            let root = super::super::process::euid() == 0;
            let owner = if root { (Some(12345), Some(23456)) } else { NOBODY };
            let (_fd, id) = unix(&path, 4, 0o600, owner).unwrap();
            let meta = || std::fs::symlink_metadata(&path).unwrap();
            if root {
                assert_eq!((meta().uid(), meta().gid()), (12345, 23456));
                unix_retune(&path, id, 0o660, (None, Some(7))).unwrap();
                assert_eq!((meta().uid(), meta().gid()), (12345, 7));
            }
            unix_retune(&path, id, 0o606, NOBODY).unwrap();
            assert_eq!(mode_of(&path), 0o606);

            // Replaced by somebody: neither changed nor unlinked any more.
            std::fs::rename(&path, folder.join("moved")).unwrap();
            std::fs::write(&path, "").unwrap();
            let before = mode_of(&path);
            assert_eq!(unix_retune(&path, id, 0o777, NOBODY).unwrap_err().kind(), io::ErrorKind::NotFound);
            assert!(!unix_unlink(&path, id).unwrap());
            assert_eq!(mode_of(&path), before);
        });
    }

    #[test]
    fn a_failed_start_leaves_no_file_behind() {
        let folder = Folder::new();
        let path = folder.join("web.sock");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        alone(|| {
            if super::super::process::euid() == 0 {
                super::super::privs::become_user(65534, 65534).unwrap();
            }
            let error = unix(&path, 4, 0o600, (Some(0), None)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            assert!(!path.exists(), "{error}");
        });
    }
}
