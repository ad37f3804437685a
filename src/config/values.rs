//! Durations, sizes and addresses: text to value and back.
//!
//! Pure functions on text; each error is a sentence that names what was found and what would do.
//! `read` calls them with the text of a TOML value, `show` and `diff` turn values back into text
//! that reads as the same value again. Never: bounds, which are the key table's.

use super::problem::quoted;
use super::types::Address;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a value does not do, and what might.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub message: String,
    pub hint: Option<String>,
}

impl Wrong {
    pub fn new(message: impl Into<String>) -> Wrong {
        Wrong { message: message.into(), hint: None }
    }

    pub fn with(mut self, hint: impl Into<String>) -> Wrong {
        self.hint = Some(hint.into());
        self
    }
}

/// Milliseconds of each unit, longest first.
const TIMES: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Bytes of each unit, largest first.
const SIZES: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// `"30s"`, `"100ms"`, `"1m30s"`: whole numbers, each with a unit, longer units first.
pub(super) fn duration(text: &str) -> Result<Duration, Wrong> {
    let wrong = || {
        let wrong = Wrong::new(format!("{} is not a duration", quoted(text)));
        match text.trim().parse::<u64>() {
            Ok(number) => wrong.with(format!("did you mean \"{number}s\"?")),
            Err(_) => {
                wrong.with("write numbers with the units ms, s, m, h or d, such as \"30s\" or \"1m30s\"")
            }
        }
    };
    let mut rest = text;
    let mut total: u64 = 0;
    let mut units = TIMES.iter();
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (_, each) = units.find(|(unit, _)| *unit == &rest[..letters]).ok_or_else(wrong)?;
        rest = &rest[letters..];
        total = number.checked_mul(*each).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(Duration::from_millis(total)) }
}

/// The shortest text that `duration` reads as this value; below a millisecond is dropped.
pub(super) fn duration_text(value: Duration) -> String {
    let mut rest = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, each) in TIMES {
        if rest >= each {
            text.push_str(&format!("{}{unit}", rest / each));
            rest %= each;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// `"64KiB"`, `"512B"`, or a plain number of bytes as text.
pub(super) fn size(text: &str) -> Result<u64, Wrong> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let wrong = || {
        let wrong = Wrong::new(format!("{} is not a size", quoted(text)));
        let meant = unit.trim().to_ascii_lowercase();
        let named = |(known, _): &&(&str, u64)| {
            meant.len() <= 3 && meant.chars().next() == known.to_ascii_lowercase().chars().next()
        };
        match SIZES.iter().find(named) {
            Some((known, _)) if digits > 0 => wrong.with(format!("did you mean \"{number}{known}\"?")),
            _ => wrong.with("write a number with the unit B, KiB, MiB, GiB or TiB, such as \"64KiB\""),
        }
    };
    let count: u64 = number.parse().map_err(|_| wrong())?;
    let each = match unit {
        "" => 1,
        unit => SIZES.iter().find(|(known, _)| *known == unit).ok_or_else(wrong)?.1,
    };
    count.checked_mul(each).ok_or_else(wrong)
}

/// The text with the largest unit that divides the value.
pub(super) fn size_text(value: u64) -> String {
    match SIZES.iter().find(|(_, each)| value > 0 && value.is_multiple_of(*each)) {
        Some((unit, each)) => format!("{}{unit}", value / each),
        None => "0".to_owned(),
    }
}

/// The longest path or name that fits into `sockaddr_un` (unix(7)) with its closing NUL.
pub(super) const UNIX_MAX: usize = 107;

/// `IP:PORT`, `udp:IP:PORT`, `unix:PATH` (relative to `folder`) or `unix:@NAME`.
pub(super) fn address(text: &str, folder: &Path) -> Result<Address, Wrong> {
    match text.strip_prefix("unix:") {
        Some(name) if name.starts_with('@') => return abstract_name(&name[1..]),
        Some(path) => return Ok(Address::Unix(socket_path(path, folder)?)),
        None => {}
    }
    match text.strip_prefix("udp:") {
        Some(rest) => ip_and_port(rest, "udp:").map(Address::Udp),
        None => ip_and_port(text, "").map(Address::Tcp),
    }
}

/// A path for a unix socket: absolute, without needless dots, short enough for the kernel.
pub(super) fn socket_path(text: &str, folder: &Path) -> Result<PathBuf, Wrong> {
    let path = absolute(text, folder)?;
    let bytes = path.as_os_str().len();
    if bytes > UNIX_MAX {
        return Err(Wrong::new(format!(
            "the socket path {} has {bytes} bytes; the kernel takes at most {UNIX_MAX}",
            quoted(&path.to_string_lossy())
        ))
        .with("use a shorter path, or put the config into a folder with a shorter one"));
    }
    Ok(path)
}

/// A path joined to the folder it is relative to.
pub(super) fn absolute(text: &str, folder: &Path) -> Result<PathBuf, Wrong> {
    if text.is_empty() {
        return Err(Wrong::new("the path is empty"));
    }
    if text.contains(char::is_control) {
        return Err(Wrong::new(format!("the path {} holds a control character", quoted(text))));
    }
    // Collecting the components drops "." and doubled slashes, so that equal places compare equal.
    Ok(folder.join(text).components().collect())
}

fn abstract_name(name: &str) -> Result<Address, Wrong> {
    if name.is_empty() || name.contains(char::is_control) {
        return Err(Wrong::new(
            "an abstract socket needs a name after \"unix:@\", without control characters",
        ));
    }
    if name.len() > UNIX_MAX {
        return Err(Wrong::new(format!(
            "the abstract socket name has {} bytes; the kernel takes at most {UNIX_MAX}",
            name.len()
        )));
    }
    Ok(Address::Abstract(name.to_owned()))
}

/// An address that stood behind `scheme`.
fn ip_and_port(text: &str, scheme: &str) -> Result<SocketAddr, Wrong> {
    let shown = quoted(&format!("{scheme}{text}"));
    match text.parse::<SocketAddr>() {
        Ok(SocketAddr::V6(v6)) if v6.ip().to_ipv4_mapped().is_some() => {
            let plain = v6.ip().to_ipv4_mapped().map_or_else(String::new, |v4| format!("{v4}:{}", v6.port()));
            let wrong = Wrong::new(format!("{shown} is an IPv4 address written as IPv6"));
            Err(wrong.with(format!("write \"{scheme}{plain}\"")))
        }
        Ok(address) => Ok(address),
        Err(_) => {
            let forms = match scheme {
                "" => "\"IP:PORT\", \"[IPv6]:PORT\", \"unix:PATH\" or \"unix:@NAME\"",
                _ => "\"udp:IP:PORT\" or \"udp:[IPv6]:PORT\"",
            };
            let meant = meant_address(text).filter(|meant| scheme.is_empty() || !meant.starts_with("unix:"));
            Err(Wrong::new(format!("{shown} is not an address")).with(match meant {
                Some(meant) => format!("did you mean \"{scheme}{meant}\"?"),
                None => format!("write {forms}; names are not looked up"),
            }))
        }
    }
}

/// The usual slips: a path without `unix:`, a port alone, `*`, `localhost`, IPv6 without brackets.
fn meant_address(text: &str) -> Option<String> {
    if text.starts_with('/') || text.starts_with("./") {
        return Some(format!("unix:{text}"));
    }
    if let Ok(port) = text.parse::<u16>() {
        return Some(format!("127.0.0.1:{port}"));
    }
    let (host, port) = text.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    match host {
        "" | "*" => Some(format!("0.0.0.0:{port}")),
        "localhost" => Some(format!("127.0.0.1:{port}")),
        _ => match host.parse() {
            Ok(IpAddr::V6(ip)) => Some(format!("[{ip}]:{port}")),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("30s", 30_000),
            ("5m", 300_000),
            ("100ms", 100),
            ("0s", 0),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("90s", 90_000),
            ("0ms", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in [
            "",
            "30",
            "s",
            "1.5s",
            "-1s",
            "1 s",
            "30s ",
            "1s1m",
            "1s1s",
            "5sec",
            "99999999999999999999s",
            "9999999999999999d",
            "١s",
            "1é",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(duration("30").unwrap_err().hint.as_deref(), Some("did you mean \"30s\"?"));
    }

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("0", 0), ("512B", 512), ("64KiB", 65_536), ("1MiB", 1 << 20), ("1GiB", 1 << 30), ("4096", 4096)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for (text, hint) in [
            ("64KB", "\"64KiB\""),
            ("1m", "\"1MiB\""),
            ("1 GiB", "\"1GiB\""),
            ("", "\"64KiB\""),
            ("-1", "\"64KiB\""),
            ("20000000TiB", "TiB"),
            ("5é", "\"64KiB\""),
        ] {
            let wrong = size(text).unwrap_err();
            assert!(wrong.hint.as_deref().is_some_and(|h| h.contains(hint)), "{text}: {wrong:?}");
        }
    }

    #[test]
    fn addresses() {
        let folder = Path::new("/etc/masterd");
        for (text, shown) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:0", "[::1]:0"),
            ("udp:127.0.0.1:53", "udp:127.0.0.1:53"),
            ("udp:[::1]:0", "udp:[::1]:0"),
            ("unix:run/./a.sock", "unix:/etc/masterd/run/a.sock"),
            ("unix:/run//a.sock", "unix:/run/a.sock"),
            ("unix:@a b", "unix:@a b"),
        ] {
            assert_eq!(address(text, folder).map(|a| a.to_string()), Ok(shown.to_owned()));
        }
        for (text, hint) in [
            ("8080", "127.0.0.1:8080"),
            (":80", "0.0.0.0:80"),
            ("*:80", "0.0.0.0:80"),
            ("localhost:80", "127.0.0.1:80"),
            ("::1:80", "[::1]:80"),
            ("/run/a", "unix:/run/a"),
            ("[::ffff:1.2.3.4]:80", "1.2.3.4:80"),
            ("example.com:80", "not looked up"),
            ("127.0.0.1:65536", "IP:PORT"),
            ("udp:53", "did you mean \"udp:127.0.0.1:53\"?"),
            ("udp:*:53", "did you mean \"udp:0.0.0.0:53\"?"),
            ("udp:/run/a", "write \"udp:IP:PORT\" or"),
            ("udp:unix:a", "write \"udp:IP:PORT\" or"),
            ("udp:[::ffff:1.2.3.4]:80", "write \"udp:1.2.3.4:80\""),
        ] {
            let wrong = address(text, folder).unwrap_err();
            assert!(wrong.hint.as_deref().is_some_and(|h| h.contains(hint)), "{text}: {wrong:?}");
        }
        for text in [
            "unix:",
            "unix:@",
            "unix:a\0b",
            "unix:@\0",
            &format!("unix:/{}", "x".repeat(107)),
            &format!("unix:@{}", "x".repeat(108)),
        ] {
            assert!(address(text, folder).is_err(), "{text}");
        }
        assert!(address(&format!("unix:/{}", "x".repeat(106)), folder).is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn text_of_a_value_reads_as_the_value(n in 0..=u64::MAX / 2, ms in 0..=u64::from(u32::MAX)) {
            prop_assert_eq!(size(&size_text(n)), Ok(n));
            let value = Duration::from_millis(ms);
            prop_assert_eq!(duration(&duration_text(value)), Ok(value));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = (duration(&text), size(&text), address(&text, Path::new("/")));
        }
    }
}
