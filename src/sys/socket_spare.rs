//! A second name for a unix listener's file, for the day when somebody unlinks the first.
//!
//! Programs unlink the path of a socket they were given when they leave, while others still serve it
//! (and whoever is left without a name can't be given one: link(2) refuses what has no links).
//! So the master keeps a hard link beside it, `.NAME.masterd`, from which the path is made again.
//! Mode and owner are the file's, and so the same for both names.
//! Never: follows a symbolic link at either name, or touches a file that has not that device and inode.

use super::failure::Tried;
use super::socket_file::{FileId, is_stale, unix_is_ours, unix_unlink};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::sys::socket::UnixAddr;
use nix::sys::stat::{Mode, fstat};
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Makes `.NAME.masterd` beside the socket file `file` at `path`: a hard link to it. There already is no
/// error.
///
/// A stale spare, a socket that nobody serves any more, is replaced. Errors: NotFound if the path is not
/// (or no longer) that file, AlreadyExists for a spare that is no socket and AddrInUse for one that is
/// served, which are left alone, and the kernel's own: PermissionDenied for a file of somebody else where
/// fs.protected_hardlinks is set (proc(5)), EPERM on a file system without hard links. linkat(2).
pub fn keep_spare(path: &Path, file: FileId) -> io::Result<()> {
    let spare = spare_of(path)?;
    let act = || format!("keep a spare of {} at {}", path.display(), spare.display());
    let ours = open_ours(path, file).tried(act)?;
    match link(&ours, &spare) {
        Err(Errno::EEXIST) if unix_is_ours(&spare, file) => Ok(()),
        Err(Errno::EEXIST) => {
            remove_stale(&spare).tried(act)?;
            link(&ours, &spare).tried(act)
        }
        linked => linked.tried(act),
    }
}

/// Makes the path again from its spare if nothing is there: Ok(true). Ok(false): the file was in its place.
///
/// Errors: AlreadyExists if something else is at the path now, which is left alone; NotFound if the spare
/// is gone too, or is another file: then the listener can't be reached by a path any more.
pub fn restore(path: &Path, file: FileId) -> io::Result<bool> {
    let spare = spare_of(path)?;
    let act = || format!("restore {} from {}", path.display(), spare.display());
    if unix_is_ours(path, file) {
        return Ok(false);
    }
    let taken = || io::Error::new(ErrorKind::AlreadyExists, "another file is at the path now; move it away");
    if path.symlink_metadata().is_ok() {
        return Err(taken()).tried(act);
    }
    let ours = open_ours(&spare, file).tried(|| format!("{}: look at the spare", act()))?;
    match link(&ours, path) {
        Ok(()) => Ok(true),
        // Somebody was faster.
        Err(Errno::EEXIST) if unix_is_ours(path, file) => Ok(false),
        Err(Errno::EEXIST) => Err(taken()).tried(act),
        Err(errno) => Err(errno).tried(act),
    }
}

/// Unlinks the spare if it is `file`. Ok(false) if there was none, or another file.
pub fn drop_spare(path: &Path, file: FileId) -> io::Result<bool> {
    unix_unlink(&spare_of(path)?, file)
}

/// `.NAME.masterd` in the folder of the path.
fn spare_of(path: &Path) -> io::Result<PathBuf> {
    let Some(name) = path.file_name() else {
        let reason = format!("{} names no file, so that it can't have a spare", path.display());
        return Err(io::Error::new(ErrorKind::InvalidInput, reason));
    };
    let mut spare = OsString::from(".");
    spare.push(name);
    spare.push(".masterd");
    Ok(path.with_file_name(spare))
}

/// The file itself, whatever happens to its name from here on; NotFound if it is not `file`.
fn open_ours(path: &Path, file: FileId) -> io::Result<OwnedFd> {
    let fd = open(path)?;
    if FileId::of(&fstat(&fd)?) != file {
        return Err(io::Error::new(ErrorKind::NotFound, "another file is there, not the socket bound here"));
    }
    Ok(fd)
}

fn open(path: &Path) -> nix::Result<OwnedFd> {
    nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
}

/// A name in /proc that leads to the very file of a descriptor. proc(5).
fn name_of(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Gives the file of a descriptor one more name. By way of /proc, since AT_EMPTY_PATH takes a
/// capability (CAP_DAC_READ_SEARCH, linkat(2)).
fn link(fd: &OwnedFd, to: &Path) -> nix::Result<()> {
    nix::unistd::linkat(AT_FDCWD, name_of(fd).as_str(), AT_FDCWD, to, AtFlags::AT_SYMLINK_FOLLOW)
}

/// Removes a socket that nobody serves; an error if something else is there.
fn remove_stale(spare: &Path) -> io::Result<()> {
    let fd = match open(spare) {
        Ok(fd) => fd,
        Err(Errno::ENOENT) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    let stat = fstat(&fd)?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFSOCK {
        let reason = "a file that is no socket has the spare's name; it was left alone: move it away";
        return Err(io::Error::new(ErrorKind::AlreadyExists, reason));
    }
    // Its own path may be too long for an address, where the listener's just fits.
    let stale = is_stale(&UnixAddr::new(name_of(&fd).as_str())?)?;
    if stale { unix_unlink(spare, FileId::of(&stat)).map(drop) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::super::net::accept;
    use super::super::socket_file::unix;
    use super::super::testing::{Folder, alone};
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::{UnixListener, UnixStream};

    fn listener(path: &Path) -> (OwnedFd, FileId) {
        unix(path, 4, 0o600, (None, None)).unwrap()
    }

    // `unix` sets the umask, which all threads of the tests share: each body runs on its own.

    #[test]
    fn an_unlinked_path_is_made_again_and_leads_to_the_same_listener() {
        let folder = Folder::new();
        let (path, spare) = (folder.join("web.sock"), folder.join(".web.sock.masterd"));
        alone(|| {
            let (fd, id) = listener(&path);
            keep_spare(&path, id).unwrap();
            keep_spare(&path, id).unwrap();
            assert!(unix_is_ours(&spare, id));
            assert!(!restore(&path, id).unwrap(), "it was in order");

            std::fs::remove_file(&path).unwrap();
            assert!(UnixStream::connect(&path).is_err());
            assert!(restore(&path, id).unwrap());
            let _client = UnixStream::connect(&path).unwrap();
            accept(fd.as_fd()).unwrap();
            assert!(unix_is_ours(&path, id) && unix_is_ours(&spare, id));

            assert!(drop_spare(&path, id).unwrap() && !drop_spare(&path, id).unwrap());
            assert!(!spare.exists() && path.exists());
            std::fs::remove_file(&path).unwrap();
            let error = restore(&path, id).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            assert!(error.to_string().contains("look at the spare"), "{error}");
        });
    }

    #[test]
    fn a_stale_spare_is_replaced_and_a_served_one_is_not() {
        // The longest name that an address can hold: that of the spare is longer.
        let folder = Folder::new();
        let room = 106 - folder.path().as_os_str().len();
        let path = folder.join(&"x".repeat(room));
        let spare = spare_of(&path).unwrap();
        alone(|| {
            let (first, old) = listener(&path);
            keep_spare(&path, old).unwrap();
            std::fs::remove_file(&path).unwrap();
            let (_second, new) = listener(&path);
            let error = keep_spare(&path, new).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse, "{error}");
            assert!(unix_is_ours(&spare, old) && !drop_spare(&path, new).unwrap());
            assert_eq!(restore(&path, old).unwrap_err().kind(), ErrorKind::AlreadyExists);

            drop(first);
            keep_spare(&path, new).unwrap();
            assert!(unix_is_ours(&spare, new));
        });
    }

    #[test]
    fn other_files_are_left_alone_at_both_names() {
        let folder = Folder::new();
        let (path, spare) = (folder.join("web.sock"), folder.join(".web.sock.masterd"));
        alone(|| {
            let (_fd, id) = listener(&path);
            std::fs::write(&spare, "precious").unwrap();
            assert_eq!(keep_spare(&path, id).unwrap_err().kind(), ErrorKind::AlreadyExists);
            assert!(!drop_spare(&path, id).unwrap());
            assert_eq!(std::fs::read_to_string(&spare).unwrap(), "precious");
            std::fs::remove_file(&spare).unwrap();

            // A link to the right file is not that file.
            symlink(&path, &spare).unwrap();
            assert_eq!(keep_spare(&path, id).unwrap_err().kind(), ErrorKind::AlreadyExists);
            std::fs::remove_file(&spare).unwrap();
            let moved = folder.join("moved");
            std::fs::rename(&path, &moved).unwrap();
            symlink(&moved, &spare).unwrap();
            assert_eq!(restore(&path, id).unwrap_err().kind(), ErrorKind::NotFound);
            symlink(&moved, &path).unwrap();
            assert_eq!(keep_spare(&path, id).unwrap_err().kind(), ErrorKind::NotFound);
            assert_eq!(restore(&path, id).unwrap_err().kind(), ErrorKind::AlreadyExists);
            assert!(path.is_symlink() && spare.is_symlink());

            std::fs::remove_file(&path).unwrap();
            let _other = UnixListener::bind(&path).unwrap();
            assert_eq!(keep_spare(&path, id).unwrap_err().kind(), ErrorKind::NotFound);
        });
        assert_eq!(
            keep_spare(Path::new("/"), FileId { device: 0, inode: 0 }).unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
    }
}
