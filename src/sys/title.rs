//! What `ps` and `top` show of this process.
//!
//! `init` once, first thing in `main`, before any thread: it moves the environment to the heap, so
//! that the space behind argv may be written to. `set` in each process after that, as often as
//! wanted. `std::env::args` shows the title afterwards: read the arguments before.
//! Errors: none; where the area can't be found only the short name changes.

use std::ffi::{CStr, CString, c_char};
use std::sync::OnceLock;

/// Where argv and environ lie, as one piece. Addresses, not pointers: they cross forks unchanged.
#[derive(Clone, Copy, Debug)]
struct Area {
    start: usize,
    /// Bytes of argv alone.
    arguments: usize,
    /// Bytes of argv and environ together.
    len: usize,
}

static AREA: OnceLock<Option<Area>> = OnceLock::new();

/// Remembers where argv and environ lie and copies the environment away, so that its space can be used.
///
/// proc(5), /proc/self/stat fields 48 to 51 (Linux 3.5). The copies are never freed.
pub fn init() {
    AREA.get_or_init(|| {
        let area = find()?;
        move_environment();
        Some(area)
    });
}

/// The area, if the kernel tells it and argv and environ lie in one piece.
fn find() -> Option<Area> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The command (field 2) may hold blanks and brackets; field 3 follows its last bracket.
    let rest = &stat[stat.rfind(')')? + 1..];
    let fields: Vec<usize> =
        rest.split_ascii_whitespace().skip(48 - 3).take(4).map_while(|f| f.parse().ok()).collect();
    let &[arg_start, arg_end, env_start, env_end] = fields.as_slice() else { return None };
    if arg_start == 0 || arg_end <= arg_start {
        return None;
    }
    let arguments = arg_end - arg_start;
    let end = if env_start == arg_end && env_end >= env_start { env_end } else { arg_end };
    Some(Area { start: arg_start, arguments, len: end - arg_start })
}

/// Replaces `environ` by a copy on the heap.
fn move_environment() {
    // SAFETY: `environ` is the C library's null-terminated array of NUL-terminated strings
    // (environ(7)). Nobody else reads or writes it now: `init`'s caller has no other thread. The new
    // array and its strings are leaked, so they live as long as anybody can ask for them.
    unsafe {
        let mut copies: Vec<*mut c_char> = Vec::new();
        let mut entry = libc::environ;
        while !entry.is_null() && !(*entry).is_null() {
            copies.push(CStr::from_ptr(*entry).to_owned().into_raw());
            entry = entry.add(1);
        }
        copies.push(std::ptr::null_mut());
        libc::environ = Box::leak(copies.into_boxed_slice()).as_mut_ptr();
    }
}

/// Sets what `ps` shows (argv area) and the comm (prctl PR_SET_NAME, 15 bytes): "masterd: worker web/3 gen 7".
///
/// A text longer than the area is cut; NUL bytes in it are left out.
pub fn set(text: &str) {
    let clean: Vec<u8> = text.bytes().filter(|&byte| byte != 0).collect();
    if let Ok(name) = CString::new(&clean[..clean.len().min(15)]) {
        // Fails only for a bad pointer (prctl(2)).
        let _ = nix::sys::prctl::set_name(&name);
    }
    if let Some(area) = AREA.get().copied().flatten() {
        overwrite(area, &clean);
    }
}

/// Writes `text` and fills the rest of the area with NUL.
///
/// The kernel shows argv alone while argv's last byte is NUL, else everything up to the first NUL.
fn overwrite(area: Area, text: &[u8]) {
    let take = text.len().min(area.len - 1);
    debug_assert!(area.arguments <= area.len);
    // SAFETY: the kernel gave [start, start + len) as this process's argv and environ strings, on its
    // stack, writable, mapped for life. `init` moved the environment away; argv is read only by
    // `std::env::args`, through pointers whose strings stay NUL-terminated (the last byte stays NUL).
    unsafe {
        let start = area.start as *mut u8;
        std::ptr::copy_nonoverlapping(text.as_ptr(), start, take);
        std::ptr::write_bytes(start.add(take), 0, area.len - take);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::alone;
    use super::*;

    fn shown(file: &str) -> Vec<u8> {
        std::fs::read(format!("/proc/self/{file}")).unwrap()
    }

    #[test]
    fn the_title_is_shown_and_the_environment_still_works() {
        alone(|| {
            let path = std::env::var_os("PATH").unwrap();
            let before = std::env::vars_os().count();
            init();
            init();
            set("masterd: worker web/3 gen 7");
            let line = shown("cmdline");
            assert_eq!(
                line.strip_prefix(b"masterd: worker web/3 gen 7").map(|rest| rest.iter().all(|&b| b == 0)),
                Some(true)
            );
            assert_eq!(shown("comm"), b"masterd: worker\n");
            assert_eq!(std::env::var_os("PATH").unwrap(), path);
            assert_eq!(std::env::vars_os().count(), before);
            // SAFETY: this child of a test has one thread.
            unsafe { std::env::set_var("MASTERD_TITLE_TEST", "set later") };
            assert_eq!(std::env::var("MASTERD_TITLE_TEST").unwrap(), "set later");
        });
    }

    #[test]
    fn titles_longer_than_argv_and_shorter_again() {
        alone(|| {
            init();
            let area = AREA.get().copied().flatten().expect("an area to write to");
            assert!(area.len > area.arguments + 20, "the environment's space counts");
            let long = "x".repeat(area.arguments + 10);
            set(&long);
            assert_eq!(shown("cmdline").split(|&b| b == 0).next().unwrap(), long.as_bytes());
            set("a\0b");
            assert_eq!(shown("cmdline").split(|&b| b == 0).next().unwrap(), b"ab");
            // Longer than everything: cut, and still ended by NUL.
            set(&"y".repeat(area.len * 2));
            assert!(shown("cmdline").starts_with(b"yyyy"));
            assert_eq!(shown("environ").last(), Some(&0));
        });
    }
}
