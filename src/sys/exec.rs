//! Programs executed from a descriptor, and descriptors that cross an exec by number.
//!
//! A binary upgrade opens the new program once and executes that descriptor, so that what was tried
//! is what runs, whatever happens to the path meanwhile (execveat(2), AT_EMPTY_PATH, Linux 3.19).
//! `Program::open` refuses with a sentence what could not run: a folder, a script, another machine's
//! program. The image that comes up adopts its descriptors by number, each once, before it opens
//! anything. Never: searches PATH, keeps a descriptor open over an exec that `inherit` did not name.

use super::failure::{Tried, check, check_size, uninterrupted};
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{AccessFlags, faccessat};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CString, OsStr, c_char};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Bytes of an ELF header that tell whose program it is: magic, class, byte order, …, machine.
const HEAD: usize = 20;

/// A program that is open, to be executed from its descriptor.
#[derive(Debug)]
pub struct Program {
    pub fd: OwnedFd,
    pub path: PathBuf,
}

impl Program {
    /// Opens the program at `path`, following symbolic links, and looks whether it could run here.
    ///
    /// Errors: what open(2) says; PermissionDenied if we may not execute it; InvalidData for what is no
    /// program of this machine (a script, a truncated file, another architecture).
    pub fn open(path: &Path) -> io::Result<Program> {
        let act = || format!("open program {}", path.display());
        // Non-blocking, so that a planted FIFO can't hold us up.
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let opened = nix::fcntl::open(path, flags, Mode::empty());
        let (fd, readable) = match opened {
            // A program may be executable and not readable.
            Err(nix::errno::Errno::EACCES) => {
                (nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).tried(act)?, false)
            }
            other => (other.tried(act)?, true),
        };
        if fstat(&fd).tried(act)?.st_mode & libc::S_IFMT != libc::S_IFREG {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")).tried(act);
        }
        // By path, since by descriptor it takes a newer kernel; executing it says so once more.
        faccessat(AT_FDCWD, path, AccessFlags::X_OK, AtFlags::AT_EACCESS)
            .map_err(|errno| io::Error::new(io::Error::from(errno).kind(), "it may not be executed"))
            .tried(act)?;
        if readable {
            let head = super::shm::read_start(fd.as_fd(), HEAD).tried(act)?;
            let own = super::shm::read_start(Program::running()?.fd.as_fd(), HEAD).unwrap_or_default();
            check_head(&head, &own).tried(act)?;
        }
        Ok(Program { fd, path: path.to_owned() })
    }

    /// The program this process runs, whatever became of its path. proc(5), /proc/self/exe.
    pub fn running() -> io::Result<Program> {
        let link = Path::new("/proc/self/exe");
        let fd = nix::fcntl::open(link, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
            .tried(|| "open the running program".into())?;
        Ok(Program { fd, path: std::fs::read_link(link).unwrap_or_default() })
    }

    /// Becomes the program; comes back only with the reason why not.
    ///
    /// Pid, children, blocked and pending signals, timers and descriptors without CLOEXEC stay.
    pub fn execute(&self, args: &[CString], env: &[CString]) -> io::Error {
        let (args, env) = (pointers(args), pointers(env));
        let failed = execute_raw(self.fd.as_raw_fd(), &args, &env);
        let named: io::Result<()> = Err(failed).tried(|| format!("execute {}", self.path.display()));
        named.err().unwrap_or_else(|| io::Error::other("execute: no reason given"))
    }
}

/// Where the program of this process lies, by the name it was called by: a path is made absolute, a bare
/// name is looked for in PATH, as execvp(3) does. Symbolic links are kept. If neither leads to a file,
/// where the kernel found it.
pub fn located(name: Option<&CString>) -> PathBuf {
    let name = name.map(|n| PathBuf::from(OsStr::from_bytes(n.as_bytes()))).unwrap_or_default();
    let typed = if name.components().count() > 1 || name.is_absolute() || name.starts_with(".") {
        std::path::absolute(&name).ok()
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).map(|folder| folder.join(&name)).find(|p| runs(p));
        found.and_then(|p| std::path::absolute(p).ok())
    };
    typed.filter(|p| p.is_file()).or_else(present).unwrap_or_default()
}

fn runs(path: &Path) -> bool {
    path.is_file() && faccessat(AT_FDCWD, path, AccessFlags::X_OK, AtFlags::AT_EACCESS).is_ok()
}

/// Where the running program lies now, or the name that it had last: a folder that was moved is
/// followed, and a file put in the place of one that was removed is found. proc(5), /proc/PID/exe.
pub fn present() -> Option<PathBuf> {
    let path = std::fs::read_link("/proc/self/exe").ok()?;
    let bytes = path.as_os_str().as_bytes();
    let bare = bytes.strip_suffix(b" (deleted)").unwrap_or(bytes);
    Some(PathBuf::from(OsStr::from_bytes(bare)))
}

/// The null-terminated array that exec takes; valid as long as the strings are.
pub(super) fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
}

fn execute_raw(fd: RawFd, args: &[*const c_char], env: &[*const c_char]) -> io::Error {
    // SAFETY: both arrays end in null and point to NUL-terminated strings that their owners, borrowed
    // by the caller, keep for the call; it returns only when nothing was replaced.
    let result = unsafe {
        libc::syscall(libc::SYS_execveat, fd, c"".as_ptr(), args.as_ptr(), env.as_ptr(), libc::AT_EMPTY_PATH)
    };
    check_size(result as isize).err().unwrap_or_else(|| io::Error::other("execveat returned"))
}

/// Whether a file that begins with `head` can be a program for the machine that `own` runs on.
fn check_head(head: &[u8], own: &[u8]) -> io::Result<()> {
    let wrong = |why: String| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    if head.starts_with(b"#!") {
        return wrong("it is a script: the program itself is needed".to_owned());
    }
    if head.len() < HEAD || !head.starts_with(b"\x7fELF") {
        return wrong("it is no program (no ELF header)".to_owned());
    }
    // e_ident[EI_CLASS], e_ident[EI_DATA] and e_machine: elf(5).
    if own.len() == HEAD && (head[4..6] != own[4..6] || head[18..20] != own[18..20]) {
        let machine = |h: &[u8]| u16::from_le_bytes([h[18], h[19]]);
        return wrong(format!(
            "it is a program for another machine (ELF machine {}, this one is {})",
            machine(head),
            machine(own)
        ));
    }
    Ok(())
}

/// Whether a descriptor survives exec. fcntl(2), FD_CLOEXEC.
pub fn inherit(fd: BorrowedFd<'_>, survives: bool) -> io::Result<()> {
    let flags = if survives { 0 } else { libc::FD_CLOEXEC };
    // SAFETY: plain numbers.
    uninterrupted(|| check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, flags) }))
        .tried(|| format!("set FD_CLOEXEC of descriptor {}", fd.as_raw_fd()))
        .map(drop)
}

/// `inherit` for numbers in a forked child whose owners are its parent's: these survive the exec.
pub fn inherit_numbers(some: &[RawFd], others: &[RawFd]) -> io::Result<()> {
    some.iter().chain(others).try_for_each(|n| {
        // SAFETY: plain numbers; that one is open and to be inherited is the caller's promise, and if it
        // were not, the call would fail.
        check(unsafe { libc::fcntl(*n, libc::F_SETFD, 0) })
            .tried(|| format!("keep descriptor {n} over exec"))
            .map(drop)
    })
}

/// The numbers that `adopt` has given owners to.
static ADOPTED: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

/// Takes over what the image before this one left open under these numbers; those that are closed, or
/// were adopted before, are missing in the answer.
///
/// To be called before this image opens anything that stays: a number that the image before closed, and
/// that was opened since, would be taken for the old one. 0, 1 and 2 are nobody's.
pub fn adopt(numbers: impl IntoIterator<Item = RawFd>) -> BTreeMap<RawFd, OwnedFd> {
    let mut adopted = ADOPTED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut owned = BTreeMap::new();
    for number in numbers {
        // SAFETY: plain numbers.
        let open = unsafe { libc::fcntl(number, libc::F_GETFD) } != -1;
        if number > 2 && open && adopted.insert(number) {
            // SAFETY: the number is open, and by the caller's promise since before this image, so that
            // nothing here owns it; `adopted` makes sure that it is given away once.
            owned.insert(number, unsafe { OwnedFd::from_raw_fd(number) });
        }
    }
    owned
}

#[cfg(test)]
mod tests {
    use super::super::process::Exit;
    use super::super::testing::{Folder, in_child};
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn refusal(path: &Path) -> String {
        Program::open(path).unwrap_err().to_string()
    }

    fn file(folder: &Folder, name: &str, bytes: &[u8], mode: u32) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn what_can_not_run_is_refused_with_its_reason() {
        let folder = Folder::new();
        let own = std::fs::read("/proc/self/exe").unwrap();
        let mut foreign = own[..64].to_vec();
        foreign[18] ^= 0xff;
        assert!(refusal(&file(&folder, "script", b"#!/bin/sh\n", 0o755)).contains("script"));
        assert!(refusal(&file(&folder, "text", b"hello", 0o755)).contains("no ELF header"));
        assert!(refusal(&file(&folder, "short", &own[..10], 0o755)).contains("no ELF header"));
        assert!(refusal(&file(&folder, "foreign", &foreign, 0o755)).contains("another machine"));
        assert!(refusal(&file(&folder, "plain", &own, 0o644)).contains("may not be executed"));
        assert!(refusal(&folder.join("absent")).contains("absent"));
        assert!(refusal(folder.path()).contains("regular file"));
        let good = Program::open(&file(&folder, "good", &own, 0o755)).unwrap();
        assert_eq!(good.path, folder.join("good"));
    }

    #[test]
    fn a_program_is_executed_from_its_descriptor_with_the_descriptors_it_is_to_have() {
        let folder = Folder::new();
        let path = folder.join("sh");
        std::fs::copy("/bin/sh", &path).unwrap();
        let exit = in_child(|| {
            let (read, write) = std::io::pipe().unwrap();
            let program = Program::open(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            inherit(read.as_fd(), true).unwrap();
            let test = format!(
                "test \"$WORD\" = ours && test -e /proc/self/fd/{} && ! test -e /proc/self/fd/{} && exit 7",
                read.as_raw_fd(),
                write.as_raw_fd()
            );
            let args = ["sh", "-c", &test].map(|s| CString::new(s).unwrap());
            let failed = program.execute(&args, &[CString::new("WORD=ours").unwrap()]);
            panic!("{failed}");
        });
        assert_eq!(exit, Exit::Code(7));
    }

    #[test]
    fn a_number_is_adopted_once_and_only_if_it_is_open() {
        let exit = in_child(|| {
            let (read, write) = std::io::pipe().unwrap();
            let (open, closed) = (read.as_raw_fd(), write.as_raw_fd());
            std::mem::forget(read);
            drop(write);
            let mine = adopt([open, closed, 0, -1]);
            assert_eq!(mine.keys().copied().collect::<Vec<_>>(), [open]);
            assert!(adopt([open]).is_empty());
            super::super::fork::exit_now(9);
        });
        assert_eq!(exit, Exit::Code(9));
    }
}
