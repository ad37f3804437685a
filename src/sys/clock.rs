//! The two clocks, as plain numbers.
//!
//! Deadlines, backoff and ages use `monotonic_ns`, which no administrator can move; only what people
//! read (log lines, `started`) uses `wall_ns`. Never: sleeps, arms a timer, fails.

/// CLOCK_MONOTONIC now, nanoseconds; wrap in `model::Moment`. clock_gettime(2).
///
/// The same clock in every process of the machine, so values may cross a fork or shared memory.
pub fn monotonic_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// CLOCK_REALTIME now, nanoseconds since 1970; 0 while the machine's clock stands before that.
pub fn wall_ns() -> u64 {
    read(libc::CLOCK_REALTIME)
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a live timespec of ours that the kernel fills. The call fails only for a bad
    // pointer or an unknown clock (clock_gettime(2)); neither can be here, and then `now` stays 0.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_never_steps_back() {
        let mut last = monotonic_ns();
        assert!(last > 0);
        for _ in 0..1000 {
            let now = monotonic_ns();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn wall_agrees_with_the_standard_library() {
        let theirs = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let apart = (wall_ns() as i128 - theirs.as_nanos() as i128).abs();
        assert!(apart < 10_000_000_000, "{apart} ns apart");
    }
}
