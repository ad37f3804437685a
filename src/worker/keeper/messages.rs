//! What a program says through its notify socket (sd_notify(3)): text to words.
//!
//! A datagram is lines of `KEY=VALUE`; keys that mean nothing here are passed over, as the protocol
//! wants it. Hostile input: numbers are bounded, text is cut and cleaned. Never: acts, checks a sender.

use std::time::Duration;

/// The most of `STATUS=` that is kept, characters.
const STATUS_MOST: usize = 256;
/// No program is believed to need longer than this.
const TIME_MOST: Duration = Duration::from_secs(24 * 3600);

/// One thing that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// READY=1
    Ready,
    /// STOPPING=1
    Stopping,
    /// STATUS=...: what it does, for people.
    Status(String),
    /// WATCHDOG=1
    Alive,
    /// WATCHDOG=trigger: it has noticed itself that it can't go on.
    Hung,
    /// WATCHDOG_USEC=...: how often it will say that it is alive from now on.
    WatchdogEvery(Duration),
    /// EXTEND_TIMEOUT_USEC=...: so long from now, at most.
    Extend(Duration),
    /// MAINPID=...
    MainPid(i32),
    /// ERRNO= and BUSERROR=, EXIT_STATUS=: why it is about to end.
    Trouble(String),
}

/// What a datagram says, in its order.
pub fn parse(datagram: &[u8]) -> Vec<Said> {
    let text = String::from_utf8_lossy(datagram);
    text.lines().filter_map(|line| line.split_once('=')).filter_map(|(key, value)| word(key, value)).collect()
}

fn word(key: &str, value: &str) -> Option<Said> {
    Some(match (key, value) {
        ("READY", "1") => Said::Ready,
        ("STOPPING", "1") => Said::Stopping,
        ("WATCHDOG", "1") => Said::Alive,
        ("WATCHDOG", "trigger") => Said::Hung,
        ("STATUS", _) => Said::Status(clean(value)),
        ("WATCHDOG_USEC", _) => Said::WatchdogEvery(micros(value)?),
        ("EXTEND_TIMEOUT_USEC", _) => Said::Extend(micros(value)?),
        ("MAINPID", _) => Said::MainPid(value.parse().ok().filter(|pid| *pid > 1)?),
        ("ERRNO" | "BUSERROR" | "EXIT_STATUS", _) => Said::Trouble(format!("{key}={}", clean(value))),
        _ => return None,
    })
}

/// A duration that is not zero.
fn micros(value: &str) -> Option<Duration> {
    let micros: u64 = value.parse().ok().filter(|n| *n > 0)?;
    Some(Duration::from_micros(micros).min(TIME_MOST))
}

fn clean(value: &str) -> String {
    value.chars().filter(|c| !c.is_control()).take(STATUS_MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_protocol_are_understood_in_their_order() {
        let said = parse(b"RELOADING=1\nREADY=1\nSTATUS=at work\nMAINPID=42\nX_UNKNOWN=7\nnonsense\n");
        assert_eq!(said, [Said::Ready, Said::Status("at work".to_owned()), Said::MainPid(42)]);
        assert_eq!(parse(b"WATCHDOG=1\nWATCHDOG=trigger"), [Said::Alive, Said::Hung]);
        assert_eq!(
            parse(b"EXTEND_TIMEOUT_USEC=5000000\nWATCHDOG_USEC=1000"),
            [Said::Extend(Duration::from_secs(5)), Said::WatchdogEvery(Duration::from_millis(1))]
        );
        assert_eq!(parse(b"STOPPING=1\nERRNO=5"), [Said::Stopping, Said::Trouble("ERRNO=5".to_owned())]);
    }

    #[test]
    fn nonsense_is_passed_over_and_bounded() {
        for nothing in [
            &b""[..],
            b"READY=2",
            b"MAINPID=1",
            b"MAINPID=-4",
            b"MAINPID=99999999999",
            b"WATCHDOG_USEC=0",
            b"=",
        ] {
            assert_eq!(parse(nothing), [], "{nothing:?}");
        }
        let Some(Said::Status(text)) = parse(format!("STATUS=\u{1b}[2J{}", "é".repeat(900)).as_bytes()).pop()
        else {
            panic!("a status");
        };
        assert!(text.chars().count() == STATUS_MOST && !text.contains('\u{1b}'), "{text}");
        assert_eq!(parse(format!("EXTEND_TIMEOUT_USEC={}", u64::MAX).as_bytes()), [Said::Extend(TIME_MOST)]);
        parse(&[0xff, b'=', 0xfe, b'\n', b'S']);
    }
}
