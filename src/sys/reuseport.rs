//! Steering within a SO_REUSEPORT group, for when it shrinks.
//!
//! The master calls it before it closes the highest member (new connections go elsewhere first) and
//! after a group has grown. Never: closes or drains anything.

use super::failure::Tried;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Steers new connections to the first `n` members of the group that `fd` belongs to, at random.
///
/// socket(7) SO_ATTACH_REUSEPORT_CBPF, Linux 4.5: `ld random; mod #n; ret a`, replaceable at any time
/// on any member. An index is the order of listen(2), until a member closes: then the last one
/// moves into its place. So a group shrinks from its highest index.
pub fn steer(fd: BorrowedFd<'_>, n: u32) -> io::Result<()> {
    let act = || format!("steer the group of listener {} to its first {n}", fd.as_raw_fd());
    if n == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a group has at least one member"))
            .tried(act);
    }
    super::filter::spread(fd, n).tried(act)
}
