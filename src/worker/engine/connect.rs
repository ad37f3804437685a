//! Connecting without waiting: a future that ends with a connected wire.
//!
//! Whoever polls it bounds its time with a `Delay` of his own. Errors: the kernel's word for why it failed
//! (connect(2)). A unix socket whose queue is full is asked again, since the kernel tells of no room (EAGAIN).

use super::Handle;
use super::timers::Delay;
use super::wires::Wire;
use crate::sys::connect::{self, Target};
use std::future::poll_fn;
use std::io::{ErrorKind, Result};
use std::rc::Rc;
use std::time::Duration;

/// Between two looks at a unix socket's full queue.
const AGAIN: Duration = Duration::from_millis(20);

/// Connects to `target`.
pub async fn connect(engine: &Rc<Handle>, target: &Target) -> Result<Wire> {
    loop {
        match connect::connect(target) {
            Ok((fd, connecting)) => {
                let wire = Wire::new(engine, fd, connecting)?;
                poll_fn(|cx| wire.poll_writable(cx)).await;
                return connect::take_error(wire.as_fd()).map(|()| wire);
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock && !matches!(target, Target::Tcp(_)) => {
                Delay::new(engine, AGAIN).await;
            }
            Err(e) => return Err(e),
        }
    }
}
