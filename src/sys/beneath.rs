//! Files opened beneath a directory, with no way out of it: not by `..`, not by a symbolic link.
//!
//! `directory` opens the root once, `open` a file beneath it by a relative path. Links that stay inside are
//! followed; one that leads out, or is absolute, is an error (EXDEV). openat2(2) does it in the kernel
//! (Linux 5.6); where that is missing or filtered away, the path is walked here, one name at a time.
//! Never: waits for a FIFO's writer, makes a terminal ours, creates or changes anything.

use super::failure::{Tried, errno};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// Symbolic links followed on one path, as many as the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;
/// How often a resolution is tried that renames keep disturbing (openat2(2), EAGAIN).
const MOST_TRIES: usize = 8;

/// Opens a directory to open files beneath. open(2) with O_PATH: searching it is all that it allows.
pub fn directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, Mode::empty()).tried(|| format!("open the folder {}", path.display()))
}

/// Opens what is at a relative path beneath `root`, of whatever type, for reading.
///
/// The error is the kernel's own, for it is answered to a client, not told: ENOENT, ENOTDIR, EACCES,
/// ELOOP (too many links), EXDEV (the path leads out of the root), ENXIO (a socket), ENAMETOOLONG…
pub fn open(root: BorrowedFd<'_>, path: &Path) -> io::Result<File> {
    match by_kernel(root, path) {
        // A filter of system calls that does not know it says EPERM.
        Err(Errno::ENOSYS | Errno::EPERM) => step_by_step(root, path),
        opened => opened,
    }
    .map(File::from)
    .map_err(io::Error::from)
}

/// What an error of `open` means to whoever asked for the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// By this path nothing can be reached that may be read as a file.
    Absent,
    /// It is there, but not for us (EACCES).
    Forbidden,
    /// No descriptor or no memory is left, or renames did not come to rest: it may work later.
    Exhausted,
    /// The disk or the network behind it fails.
    Broken,
}

/// Sorts an error of `open`.
pub fn cause(error: &io::Error) -> Cause {
    match errno(error).map(Errno::from_raw) {
        Some(
            Errno::ENOENT
            | Errno::ENOTDIR
            | Errno::ELOOP
            | Errno::EXDEV
            | Errno::ENXIO
            | Errno::ENODEV
            | Errno::ENAMETOOLONG
            | Errno::EINVAL,
        ) => Cause::Absent,
        Some(Errno::EACCES | Errno::EPERM) => Cause::Forbidden,
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EAGAIN) => Cause::Exhausted,
        _ => Cause::Broken,
    }
}

/// Nothing that is opened may make us wait (a FIFO) or become our terminal.
fn reading() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY
}

fn by_kernel(root: BorrowedFd<'_>, path: &Path) -> nix::Result<OwnedFd> {
    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let how = OpenHow::new().flags(reading()).resolve(resolve);
    let mut tries = 0;
    loop {
        match openat2(root, path, how) {
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) if tries < MOST_TRIES => tries += 1,
            opened => return opened,
        }
    }
}

/// Walks the path as the kernel would, by directories that are held open: a rename can't lead astray.
fn step_by_step(root: BorrowedFd<'_>, path: &Path) -> nix::Result<OwnedFd> {
    let mut folders: Vec<OwnedFd> = Vec::new();
    let mut names = Vec::new();
    add_names(path, &mut names)?;
    let mut links = 0;
    while let Some(name) = names.pop() {
        let here = folders.last().map_or(root, AsFd::as_fd);
        if name == ".." {
            folders.pop().ok_or(Errno::EXDEV)?;
            continue;
        }
        let found = open_here(here, &name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)?;
        match SFlag::from_bits_truncate(fstat(&found)?.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFLNK => {
                links += 1;
                if links > MOST_LINKS {
                    return Err(Errno::ELOOP);
                }
                add_names(Path::new(&readlinkat(&found, "")?), &mut names)?;
            }
            SFlag::S_IFDIR => folders.push(found),
            // Only now for reading. Had it become a link meanwhile, that would be an error.
            _ if names.is_empty() => return open_here(here, &name, reading() | OFlag::O_NOFOLLOW),
            _ => return Err(Errno::ENOTDIR),
        }
    }
    open_here(folders.last().map_or(root, AsFd::as_fd), OsStr::new("."), reading())
}

/// Puts the names of a path on the stack of those to be walked, its first on top.
fn add_names(path: &Path, names: &mut Vec<OsString>) -> nix::Result<()> {
    // The kernel says so of an empty path; and a slash at the end asks for a folder.
    if path.as_os_str().is_empty() {
        return Err(Errno::ENOENT);
    }
    if path.as_os_str().as_bytes().ends_with(b"/") {
        names.push(".".into());
    }
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => names.push(name.to_owned()),
            Component::ParentDir => names.push("..".into()),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return Err(Errno::EXDEV),
        }
    }
    Ok(())
}

fn open_here(folder: BorrowedFd<'_>, name: &OsStr, flags: OFlag) -> nix::Result<OwnedFd> {
    loop {
        match openat(folder, name, flags, Mode::empty()) {
            Err(Errno::EINTR) => {}
            opened => return opened,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Folder;
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::{FileTypeExt, symlink};

    type Opened = nix::Result<OwnedFd>;

    /// Both ways, for the same path; they must agree.
    fn both(folder: &Folder, path: &str) -> Result<String, Errno> {
        let root = directory(&folder.join("root")).unwrap();
        let read = |opened: Opened| {
            let mut file = File::from(opened?);
            let mut text = String::new();
            match file.metadata().unwrap().file_type() {
                kind if kind.is_file() => drop(file.read_to_string(&mut text).unwrap()),
                kind if kind.is_dir() => text.push_str("a folder"),
                kind if kind.is_fifo() => text.push_str("a fifo"),
                kind => panic!("{kind:?}"),
            }
            Ok(text)
        };
        let kernel = read(by_kernel(root.as_fd(), Path::new(path)));
        assert_eq!(read(step_by_step(root.as_fd(), Path::new(path))), kernel, "{path}, step by step");
        kernel
    }

    fn tree() -> Folder {
        let folder = Folder::new();
        let root = folder.join("root");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/file"), "inside").unwrap();
        std::fs::write(folder.join("secret"), "outside").unwrap();
        folder
    }

    #[test]
    fn what_is_inside_is_opened() {
        let folder = tree();
        assert_eq!(both(&folder, "a/b/file").unwrap(), "inside");
        assert_eq!(both(&folder, "a/../a/./b//file").unwrap(), "inside");
        assert_eq!(both(&folder, "a").unwrap(), "a folder");
        assert_eq!(both(&folder, "a/b/").unwrap(), "a folder");
        assert_eq!(both(&folder, ".").unwrap(), "a folder");
        assert_eq!(both(&folder, "a/none").unwrap_err(), Errno::ENOENT);
        assert_eq!(both(&folder, "a/none/file").unwrap_err(), Errno::ENOENT);
        assert_eq!(both(&folder, "").unwrap_err(), Errno::ENOENT);
        assert_eq!(both(&folder, "a/b/file/x").unwrap_err(), Errno::ENOTDIR);
        assert_eq!(both(&folder, "a/b/file/").unwrap_err(), Errno::ENOTDIR);
        assert_eq!(both(&folder, &"x".repeat(256)).unwrap_err(), Errno::ENAMETOOLONG);
        let root = directory(&folder.join("root")).unwrap();
        assert!(open(root.as_fd(), Path::new("a/b/file")).unwrap().metadata().unwrap().is_file());
    }

    #[test]
    fn nothing_leads_out() {
        let folder = tree();
        for path in ["..", "../secret", "a/../../secret", "a/b/../../../secret", "/etc/passwd", "/"] {
            assert_eq!(both(&folder, path).unwrap_err(), Errno::EXDEV, "{path}");
        }
    }

    #[test]
    fn links_are_followed_as_long_as_they_stay_inside() {
        let folder = tree();
        let link = |to: &str, name: &str| symlink(to, folder.join("root").join(name)).unwrap();
        link("a/b/file", "direct");
        link("b", "a/folder");
        link("../direct", "a/twice");
        link("../a/./b/../b/file", "a/winding");
        link("a/", "slash");
        link("direct/", "file_slash");
        for path in ["direct", "a/folder/file", "a/twice", "a/winding", "slash/b/file"] {
            assert_eq!(both(&folder, path).as_deref(), Ok("inside"), "{path}");
        }
        assert_eq!(both(&folder, "slash").unwrap(), "a folder");
        assert_eq!(both(&folder, "file_slash").unwrap_err(), Errno::ENOTDIR);
        assert_eq!(both(&folder, "direct/x").unwrap_err(), Errno::ENOTDIR);
        link("../secret", "out");
        link("../../secret", "a/out");
        link("..", "up");
        link("/etc/passwd", "absolute");
        link("out", "by_way");
        // Even back in: outside is outside.
        link("../root/a/b/file", "round");
        let itself = folder.join("root/a/b/file");
        symlink(itself, folder.join("root/absolute_inside")).unwrap();
        for path in ["out", "a/out", "up", "up/secret", "absolute", "by_way", "round", "absolute_inside"] {
            assert_eq!(both(&folder, path).unwrap_err(), Errno::EXDEV, "{path}");
        }
        link("none", "dangling");
        assert_eq!(both(&folder, "dangling").unwrap_err(), Errno::ENOENT);
        link("circle", "circle");
        assert_eq!(both(&folder, "circle").unwrap_err(), Errno::ELOOP);
        link("/proc/self/root", "magic");
        assert_eq!(both(&folder, "magic/etc/passwd").unwrap_err(), Errno::EXDEV);
        let exact = |n: usize| if n == 0 { "direct".to_owned() } else { format!("chain{n}") };
        (0..MOST_LINKS).for_each(|n| link(&exact(n), &exact(n + 1)));
        assert_eq!(both(&folder, &exact(MOST_LINKS - 1)).as_deref(), Ok("inside"));
        assert_eq!(both(&folder, &exact(MOST_LINKS)).unwrap_err(), Errno::ELOOP);
    }

    #[test]
    fn a_magic_link_of_the_kernel_is_no_way_out() {
        let root = directory(Path::new("/proc/self")).unwrap();
        for path in ["cwd", "root", "fd/0", "exe"] {
            for way in [by_kernel, step_by_step] {
                assert!(way(root.as_fd(), Path::new(path)).is_err(), "{path}");
            }
        }
    }

    #[test]
    fn a_fifo_is_not_waited_for_and_a_socket_is_refused() {
        let folder = tree();
        nix::unistd::mkfifo(&folder.join("root/fifo"), Mode::from_bits_retain(0o600)).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(folder.join("root/socket")).unwrap();
        assert_eq!(both(&folder, "fifo").unwrap(), "a fifo");
        assert_eq!(both(&folder, "socket").unwrap_err(), Errno::ENXIO);
    }

    #[test]
    fn errors_are_sorted() {
        let of = |number: Errno| cause(&io::Error::from(number));
        assert_eq!(of(Errno::EXDEV), Cause::Absent);
        assert_eq!(of(Errno::EACCES), Cause::Forbidden);
        assert_eq!(of(Errno::EMFILE), Cause::Exhausted);
        assert_eq!(of(Errno::EIO), Cause::Broken);
        assert_eq!(cause(&io::Error::other("short file")), Cause::Broken);
    }

    #[test]
    fn the_root_must_be_a_folder() {
        let folder = tree();
        let text = directory(&folder.join("secret")).unwrap_err().to_string();
        assert!(text.starts_with("open the folder /") && text.contains("secret: "), "{text}");
    }
}
