//! How a failed system call becomes an `io::Error` that says what was tried.
//!
//! `check` turns a C return value into a `Result`, `tried` puts the act and its object in front.
//! The kind stays that of the kernel's error, so callers go on matching on `ErrorKind`; where they
//! need the number (EMFILE has no kind of its own) they ask `errno`.
//! Never: logs, retries, or decides whether an error matters.

use std::fmt;
use std::io;

/// An act that failed, around the error of the kernel.
#[derive(Debug)]
struct Failed {
    act: String,
    cause: io::Error,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.act, self.cause)
    }
}

impl std::error::Error for Failed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// The kernel's error number behind an error of this room, however often it was wrapped.
///
/// `None` for errors that no system call gave (a refused argument, a short file).
pub fn errno(error: &io::Error) -> Option<i32> {
    if let Some(number) = error.raw_os_error() {
        return Some(number);
    }
    let failed = error.get_ref()?.downcast_ref::<Failed>()?;
    errno(&failed.cause)
}

/// Names the act in an error; the closure runs only when there is one.
pub(super) trait Tried<T> {
    fn tried(self, act: impl FnOnce() -> String) -> io::Result<T>;
}

impl<T, E: Into<io::Error>> Tried<T> for Result<T, E> {
    fn tried(self, act: impl FnOnce() -> String) -> io::Result<T> {
        self.map_err(|error| {
            let cause = error.into();
            io::Error::new(cause.kind(), Failed { act: act(), cause })
        })
    }
}

/// A call's `int` result: −1 is the thread's errno.
pub(super) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A call's `ssize_t` result: −1 is the thread's errno, anything else a count.
pub(super) fn check_size(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Runs a call again as long as a signal interrupts it.
pub(super) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapping_keeps_kind_and_number_and_names_the_act() {
        let bare = || Err::<(), _>(io::Error::from_raw_os_error(libc::EMFILE));
        let wrapped = bare().tried(|| "accept on 3".into()).tried(|| "serve web".into()).unwrap_err();
        assert_eq!(errno(&wrapped), Some(libc::EMFILE));
        assert_eq!(wrapped.kind(), bare().unwrap_err().kind());
        assert!(wrapped.to_string().starts_with("serve web: accept on 3: "), "{wrapped}");
    }

    #[test]
    fn an_error_of_our_own_has_no_number() {
        assert_eq!(errno(&io::Error::other("short file")), None);
    }

    #[test]
    fn only_interruptions_are_tried_again() {
        let mut left = 3;
        let done = uninterrupted(|| {
            left -= 1;
            if left > 0 { Err(io::ErrorKind::Interrupted.into()) } else { Ok(left) }
        });
        assert_eq!(done.unwrap(), 0);
        let refused = uninterrupted(|| Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
