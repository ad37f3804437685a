//! A server on the socket that it inherits; it loses no request when it is asked to end (SIGTERM).
//!
//! HTTP by hand: one request a connection, and the same answer to all.

use listenfd::ListenFd;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

/// How long a client may be silent.
const PATIENCE: Duration = Duration::from_secs(5);
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 16\r\n\
Connection: close\r\n\r\nhello from rust\n";

fn main() -> io::Result<()> {
    // Before there is any thread, so that it is blocked in all of them and stays in its descriptor.
    let mut term = SigSet::empty();
    term.add(Signal::SIGTERM);
    term.thread_block()?;
    let signals = SignalFd::new(&term)?;
    let listener = ListenFd::from_env().take_tcp_listener(0)?;
    let listener =
        listener.ok_or_else(|| io::Error::other("start me with a listening socket (LISTEN_FDS)"))?;
    // The socket is shared: what this process is told of, another may have taken.
    listener.set_nonblocking(true)?;
    std::thread::scope(|scope| {
        while waits(&listener, &signals)? {
            match listener.accept() {
                Ok((client, _)) => {
                    scope.spawn(move || {
                        if let Err(e) = answer(&client) {
                            eprintln!("a client was not answered: {e}");
                        }
                    });
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                // Of one connection, or until descriptors are free again.
                Err(e) => eprintln!("can't accept: {e}"),
            }
        }
        // What still waits there is for the others. The scope waits for its threads.
        drop(listener);
        Ok(())
    })
}

/// Waits for a connection; false when it is time to leave.
fn waits(listener: &TcpListener, signals: &SignalFd) -> io::Result<bool> {
    let watched = |fd| PollFd::new(fd, PollFlags::POLLIN);
    let mut fds = [watched(signals.as_fd()), watched(listener.as_fd())];
    poll(&mut fds, PollTimeout::NONE)?;
    Ok(!fds[0].any().unwrap_or(true))
}

fn answer(client: &TcpStream) -> io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut head = BufReader::new(client).lines();
    while head.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    (&mut &*client).write_all(ANSWER)
}
