//! What a thread of another process waits for, by the system call that it is blocked in.
//!
//! proc(5), /proc/PID/task/TID/syscall: the number of the call and its arguments in hexadecimal, or
//! "running". Of poll(2) and select(2) the arrays are read from /proc/PID/mem. Both take the right to
//! ptrace the process (ptrace(2), PTRACE_MODE_ATTACH). Called by `onlooker`.
//! What is read belongs to a stranger, who may change it at any moment: addresses and counts are bounded
//! before use, and a piece of memory that can't be read is one that nothing is waited for in.
//! Never: stops or changes the process.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The most entries of a poll(2) that are looked at: more than any program polls that is served by it.
const MOST_POLLED: u64 = 64 * 1024;

/// What a thread is blocked in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Blocked {
    /// accept(2), recv(2), read(2) and their kin, on this descriptor.
    On(i32),
    /// poll(2), ppoll(2): so many `struct pollfd` at this address.
    Poll { at: u64, count: u64 },
    /// select(2), pselect(2): descriptors below `below`, those to be read as bits at this address.
    Select { at: u64, below: u64 },
    /// io_uring_enter(2).
    Ring,
    /// Anything else, or nothing: it runs, or has ended.
    Else,
}

/// What a thread is blocked in at this moment. Errors: NotFound and ESRCH where it is gone,
/// PermissionDenied where it may not be looked at.
pub(super) fn blocked(pid: i32, thread: i32) -> io::Result<Blocked> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/syscall"))?;
    Ok(parse(&text).unwrap_or(Blocked::Else))
}

fn parse(text: &str) -> Option<Blocked> {
    let mut words = text.split_ascii_whitespace();
    let number: libc::c_long = words.next()?.parse().ok()?;
    let mut arguments = [0; 3];
    for argument in &mut arguments {
        *argument = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    }
    let [first, second, _] = arguments;
    Some(match number {
        libc::SYS_accept
        | libc::SYS_accept4
        | libc::SYS_recvfrom
        | libc::SYS_recvmsg
        | libc::SYS_recvmmsg
        | libc::SYS_read => Blocked::On(int(first)),
        libc::SYS_ppoll => Blocked::Poll { at: first, count: unsigned(second) },
        libc::SYS_pselect6 => Blocked::Select { at: second, below: unsigned(first) },
        libc::SYS_io_uring_enter => Blocked::Ring,
        number => older(number, first, second),
    })
}

/// The calls that younger architectures do not have.
#[cfg(target_arch = "x86_64")]
fn older(number: libc::c_long, first: u64, second: u64) -> Blocked {
    match number {
        libc::SYS_poll => Blocked::Poll { at: first, count: unsigned(second) },
        libc::SYS_select => Blocked::Select { at: second, below: unsigned(first) },
        _ => Blocked::Else,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn older(_number: libc::c_long, _first: u64, _second: u64) -> Blocked {
    Blocked::Else
}

/// An argument of type int: the kernel prints the whole register and uses its lower half.
fn int(argument: u64) -> i32 {
    (argument as u32).cast_signed()
}

/// An argument of type unsigned int.
fn unsigned(argument: u64) -> u64 {
    u64::from(argument as u32)
}

impl Blocked {
    /// Whether it waits for a descriptor of process `pid` to become readable.
    ///
    /// Errors: only those of opening /proc/PID/mem.
    pub(super) fn includes(&self, pid: i32, fd: i32) -> io::Result<bool> {
        match *self {
            Blocked::On(number) => Ok(number == fd),
            Blocked::Poll { at, count } => Ok(polled(&memory(pid)?, at, count.min(MOST_POLLED), fd)),
            Blocked::Select { at, below } => match u64::try_from(fd) {
                Ok(number) if number < below && at != 0 => Ok(selected(&memory(pid)?, at, number)),
                _ => Ok(false),
            },
            Blocked::Ring | Blocked::Else => Ok(false),
        }
    }
}

fn memory(pid: i32) -> io::Result<File> {
    File::open(format!("/proc/{pid}/mem"))
}

/// Whether a descriptor is among `count` pollfds: an int, and two shorts of which the first says what is
/// asked. poll(2).
fn polled(memory: &File, at: u64, count: u64, fd: i32) -> bool {
    const ENTRY: u64 = 8;
    const PIECE: u64 = 512;
    let mut buffer = [0; (ENTRY * PIECE) as usize];
    let mut done = 0;
    while done < count {
        let piece = (count - done).min(PIECE);
        let Some(place) = at.checked_add(done * ENTRY) else { return false };
        let bytes = &mut buffer[..(piece * ENTRY) as usize];
        if memory.read_exact_at(bytes, place).is_err() {
            return false;
        }
        if bytes.as_chunks::<{ ENTRY as usize }>().0.iter().any(|entry| asks_for(*entry, fd)) {
            return true;
        }
        done += piece;
    }
    false
}

fn asks_for([a, b, c, d, e, f, ..]: [u8; 8], fd: i32) -> bool {
    let events = i16::from_ne_bytes([e, f]);
    i32::from_ne_bytes([a, b, c, d]) == fd && events & (libc::POLLIN | libc::POLLRDNORM) != 0
}

/// Whether the bit of a descriptor is set in an fd_set, which is an array of longs. select(2).
fn selected(memory: &File, at: u64, number: u64) -> bool {
    const BITS: u64 = libc::c_ulong::BITS as u64;
    let mut word = [0; size_of::<libc::c_ulong>()];
    let Some(place) = at.checked_add(number / BITS * (BITS / 8)) else { return false };
    let read = memory.read_exact_at(&mut word, place);
    read.is_ok() && libc::c_ulong::from_ne_bytes(word) >> (number % BITS) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::super::testing::Folder;
    use super::*;

    #[test]
    fn lines_of_the_kernel() {
        let line = |number: libc::c_long| format!("{number} 0x3 0x7ffe10 0x0 0x0 0x0 0x0 0x7ffe00 0x7f00\n");
        assert_eq!(parse(&line(libc::SYS_accept4)), Some(Blocked::On(3)));
        assert_eq!(parse(&line(libc::SYS_recvmmsg)), Some(Blocked::On(3)));
        assert_eq!(parse(&line(libc::SYS_pselect6)), Some(Blocked::Select { at: 0x7ffe10, below: 3 }));
        assert_eq!(parse(&line(libc::SYS_ppoll)), Some(Blocked::Poll { at: 3, count: 0x7ffe10 }));
        assert_eq!(parse(&line(libc::SYS_io_uring_enter)), Some(Blocked::Ring));
        assert_eq!(parse(&line(libc::SYS_futex)), Some(Blocked::Else));
        // The upper half of a register is not part of an int.
        let dirty = format!("{} 0xffffffff00000007 0x0 0x0 0x0 0x0 0x0 0x0 0x0", libc::SYS_accept);
        assert_eq!(parse(&dirty), Some(Blocked::On(7)));
        for other in ["running\n", "-1 0x0 0x0\n", "", "0", "43 3 4 5", "43 0xzz 0x0 0x0"] {
            assert!(matches!(parse(other), None | Some(Blocked::Else)), "{other}");
        }
    }

    #[test]
    fn arrays_are_read_to_their_end_and_no_further() {
        let folder = Folder::new();
        let entries = |n: usize, fd: i32, events: i16| {
            let one = [&fd.to_ne_bytes()[..], &events.to_ne_bytes(), &[0, 0]].concat();
            one.repeat(n)
        };
        let path = folder.join("memory");
        let all = [entries(1000, 4, libc::POLLIN), entries(1, 5, libc::POLLIN), entries(1, 6, libc::POLLOUT)];
        std::fs::write(&path, all.concat()).unwrap();
        let memory = File::open(&path).unwrap();
        assert!(polled(&memory, 0, 1002, 4) && polled(&memory, 8, 1001, 5));
        assert!(!polled(&memory, 0, 1000, 5), "it is beyond the array");
        assert!(!polled(&memory, 0, 1002, 6), "nobody asks whether it is readable");
        assert!(!polled(&memory, 0, MOST_POLLED, 9), "the array ends where the memory does");
        assert!(!polled(&memory, u64::MAX, 5, 4) && !polled(&memory, u64::MAX - 4, MOST_POLLED, 4));

        let words: Vec<u8> = [1u64 << 5, 1 << 63, 1].iter().flat_map(|w| w.to_ne_bytes()).collect();
        std::fs::write(&path, words).unwrap();
        let memory = File::open(&path).unwrap();
        let set: Vec<u64> = (0..300).filter(|&n| selected(&memory, 0, n)).collect();
        assert_eq!(set, [5, 127, 128]);
        assert!(!selected(&memory, u64::MAX, 64));
        let select = Blocked::Select { at: 0, below: 1024 };
        assert!(!select.includes(super::super::process::pid(), 5).unwrap(), "no set to be read");
    }
}
