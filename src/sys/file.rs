//! Files that somebody names and we only read: whole, bounded, and never waited for.
//!
//! `read_regular` is for files of a config beside the config itself (certificates, keys). It may still block on a
//! dead mount: the caller is a child with a deadline. Never: writes, creates, or follows what is no file.

use super::failure::Tried;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// A file as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    pub bytes: Vec<u8>,
    /// Permission bits (inode(7)).
    pub mode: u32,
}

/// The contents of a regular file of at most `most` bytes. Symlinks are followed.
///
/// Opened with O_NONBLOCK, so that a FIFO without a writer is refused instead of waited for (open(2)).
/// Errors: InvalidInput for what is no regular file, FileTooLarge, and the kernel's own.
pub fn read_regular(path: &Path, most: u64) -> io::Result<Contents> {
    let act = || format!("read {}", path.display());
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).tried(act)?;
    let about = file.metadata().tried(act)?;
    if !about.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file")).tried(act);
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).tried(act)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("it is larger than {most} bytes")))
            .tried(act);
    }
    Ok(Contents { bytes, mode: about.mode() & 0o7777 })
}

#[cfg(test)]
mod tests {
    use super::super::testing::Folder;
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn contents_and_permissions() {
        let folder = Folder::new();
        let path = folder.join("a");
        std::fs::write(&path, "four").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(read_regular(&path, 4).unwrap(), Contents { bytes: b"four".to_vec(), mode: 0o640 });
        let error = read_regular(&path, 3).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
        assert!(error.to_string().ends_with("a: it is larger than 3 bytes"), "{error}");
    }

    #[test]
    fn what_is_no_file_is_refused_and_not_waited_for() {
        let folder = Folder::new();
        let fifo = folder.join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
        for path in [fifo.as_path(), folder.path(), Path::new("/dev/null")] {
            let error = read_regular(path, 10).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
        assert_eq!(read_regular(&folder.join("none"), 10).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
