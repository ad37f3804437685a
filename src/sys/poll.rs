//! The one epoll mode that mio has no word for: EPOLLEXCLUSIVE on a listener that workers share.
//!
//! Called with mio's own epoll descriptor, so that the events come out of mio's `poll` with the
//! token given here. Never: waits, or closes the epoll descriptor.

use super::failure::{Tried, check};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// epoll_ctl(ADD, EPOLLIN|EPOLLEXCLUSIVE), level-triggered, with mio's token as data: one waiting
/// worker is woken per connection instead of all. epoll_ctl(2), Linux 4.5.
pub fn add_exclusive(epoll: RawFd, fd: BorrowedFd<'_>, token: usize) -> io::Result<()> {
    let events = (libc::EPOLLIN | libc::EPOLLEXCLUSIVE) as u32;
    let mut event = libc::epoll_event { events, u64: token as u64 };
    // SAFETY: `event` lives through the call, which copies it.
    check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &raw mut event) })
        .tried(|| format!("watch descriptor {} in epoll {epoll}", fd.as_raw_fd()))
        .map(drop)
}

/// epoll_ctl(DEL). An EPOLLEXCLUSIVE watch can't be modified, only removed and added again.
pub fn remove(epoll: RawFd, fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: DEL reads no event (a null pointer is allowed since Linux 2.6.9).
    check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, fd.as_raw_fd(), std::ptr::null_mut()) })
        .tried(|| format!("stop watching descriptor {} in epoll {epoll}", fd.as_raw_fd()))
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::testing::wait_until;
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn mio_sees_the_token_until_the_watch_is_removed() {
        let mut poll = mio::Poll::new().unwrap();
        let mut events = mio::Events::with_capacity(4);
        let (r, w) = super::super::fd::pipe().unwrap();
        add_exclusive(poll.as_raw_fd(), r.as_fd(), 77).unwrap();
        assert!(add_exclusive(poll.as_raw_fd(), r.as_fd(), 78).is_err(), "once per descriptor");

        nix::unistd::write(&w, b"x").unwrap();
        // Level-triggered: told again although nothing new has come.
        for _ in 0..2 {
            poll.poll(&mut events, Some(std::time::Duration::from_secs(10))).unwrap();
            let tokens: Vec<usize> = events.iter().map(|event| event.token().0).collect();
            assert_eq!(tokens, [77]);
        }
        remove(poll.as_raw_fd(), r.as_fd()).unwrap();
        poll.poll(&mut events, Some(std::time::Duration::ZERO)).unwrap();
        assert!(events.is_empty());
        assert!(remove(poll.as_raw_fd(), r.as_fd()).is_err());
    }

    /// Waits until one of its descriptors has something; the tokens.
    fn wait(mut poll: mio::Poll) -> Vec<usize> {
        let mut events = mio::Events::with_capacity(4);
        poll.poll(&mut events, Some(std::time::Duration::from_secs(20))).unwrap();
        events.iter().map(|event| event.token().0).collect()
    }

    #[test]
    fn of_two_that_wait_one_is_woken() {
        const WANTED: usize = 1;
        const OVER: mio::Token = mio::Token(2);
        let ((r, w), (over, end)) = (super::super::fd::pipe().unwrap(), super::super::fd::pipe().unwrap());
        let (told, who) = std::sync::mpsc::channel();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let poll = mio::Poll::new().unwrap();
                add_exclusive(poll.as_raw_fd(), r.as_fd(), WANTED).unwrap();
                let over = over.as_raw_fd();
                let mut source = mio::unix::SourceFd(&over);
                poll.registry().register(&mut source, OVER, mio::Interest::READABLE).unwrap();
                let told = told.clone();
                std::thread::spawn(move || {
                    told.send(nix::unistd::gettid()).unwrap();
                    wait(poll)
                })
            })
            .collect();
        for thread in who.iter().take(2) {
            // proc(5): its state follows the name.
            let stat = || std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
            wait_until("both wait", || stat().contains(") S "));
        }
        nix::unistd::write(&w, b"x").unwrap();
        wait_until("one is woken", || threads.iter().any(|thread| thread.is_finished()));
        nix::unistd::write(&end, b"x").unwrap();
        let woken: Vec<usize> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(woken.iter().filter(|token| **token == WANTED).count(), 1, "{woken:?}");
    }
}
