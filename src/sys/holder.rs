//! Who has an address that could not be bound: for the error message, best effort.
//!
//! Asked once per failed bind, in the master's loop: it reads /proc/net and then the descriptors of
//! other processes, as far as /proc lets us see them, and gives up when its time is over.
//! Never: an error; not knowing is `None`.

use super::clock::monotonic_ns;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// Pid and command (/proc/PID/comm) of whoever listens on a TCP address ("127.0.0.1:80",
/// "[::]:80") or a unix socket ("unix:/run/x.sock", "unix:@name"), if found in time: whoever else the
/// caller serves waits meanwhile.
pub fn holder(address: &str, patience: Duration) -> Option<(i32, String)> {
    let until = monotonic_ns().saturating_add(u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX));
    let inode = match address.strip_prefix("unix:") {
        Some(path) => lines("/proc/net/unix", until).find_map(|line| unix_inode(&line, path))?,
        None => tcp_inode(address.parse().ok()?, until)?,
    };
    let pid = process_with(&format!("socket:[{inode}]"), until)?;
    let command = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some((pid, command.trim_end().to_owned()))
}

/// The lines of a table of the kernel's below its head, read as they are asked for and while there is
/// time: the kernel makes each piece of the text (a page at most) only when it is read.
fn lines(table: &str, until: u64) -> impl Iterator<Item = String> {
    let pieces = File::open(table).into_iter().flat_map(|file| BufReader::new(file).split(b'\n'));
    let intime = pieces.map_while(Result::ok).take_while(move |_| monotonic_ns() < until);
    intime.skip(1).map(|line| String::from_utf8_lossy(&line).into_owned())
}

/// Inode of the listener that stands in the way of `wanted`. Listeners come first in these tables,
/// before what may be a million connections.
fn tcp_inode(wanted: SocketAddr, until: u64) -> Option<u64> {
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        lines(table, until).take_while(|line| listens(line)).find_map(|line| listener_in(&line, wanted))
    })
}

/// Whether a line of /proc/net/tcp{,6} is about a listener.
fn listens(line: &str) -> bool {
    const LISTEN: &str = "0A";
    line.split_ascii_whitespace().nth(3) == Some(LISTEN)
}

/// The inode in a listener's line of /proc/net/tcp{,6}, if it has that port and an address that
/// collides: the same one, or one of the two is any address.
fn listener_in(line: &str, wanted: SocketAddr) -> Option<u64> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (local, inode) = (fields.get(1)?, fields.get(9)?);
    let (ip, port) = local.split_once(':')?;
    let ip = ip_of(ip)?;
    let collides = ip == wanted.ip() || ip.is_unspecified() || wanted.ip().is_unspecified();
    let same = u16::from_str_radix(port, 16).ok()? == wanted.port();
    if collides && same { inode.parse().ok() } else { None }
}

/// An address as the kernel prints it: 32-bit words in hexadecimal, each in this machine's byte order.
fn ip_of(hex: &str) -> Option<IpAddr> {
    let word = |i: usize| Some(u32::from_str_radix(hex.get(i * 8..i * 8 + 8)?, 16).ok()?.to_ne_bytes());
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0u8; 16];
            for i in 0..4 {
                bytes[i * 4..i * 4 + 4].copy_from_slice(&word(i)?);
            }
            Some(Ipv6Addr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

/// The inode in a line of /proc/net/unix, if it is a listening socket at `path`.
fn unix_inode(line: &str, path: &str) -> Option<u64> {
    /// __SO_ACCEPTCON, in the fourth column.
    const LISTENS: u32 = 0x10000;
    let (fields, there) = split_fields::<7>(line)?;
    let flags = u32::from_str_radix(fields[3], 16).ok()?;
    if there == path && flags & LISTENS != 0 { fields[6].parse().ok() } else { None }
}

/// The first N fields of a line, and what follows them after one blank, blanks included.
fn split_fields<const N: usize>(line: &str) -> Option<([&str; N], &str)> {
    let mut fields = [""; N];
    let mut rest = line;
    for field in &mut fields {
        (*field, rest) = rest.trim_start().split_once(' ')?;
    }
    Some((fields, rest))
}

/// The first process with a descriptor that links to `target`.
fn process_with(target: &str, until: u64) -> Option<i32> {
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        // Another user's descriptors, and those of a process that just left, can't be listed.
        let Ok(links) = fs::read_dir(entry.path().join("fd")) else { continue };
        for link in links.flatten() {
            if monotonic_ns() >= until {
                return None;
            }
            if fs::read_link(link.path()).is_ok_and(|to| to == Path::new(target)) {
                return Some(pid);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Folder, no_forks};
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    /// `holder` with all the time it may need on a busy machine.
    fn found(address: &str) -> Option<(i32, String)> {
        holder(address, Duration::MAX)
    }

    fn us() -> Option<(i32, String)> {
        let comm = fs::read_to_string("/proc/self/comm").unwrap();
        Some((super::super::process::pid(), comm.trim_end().to_owned()))
    }

    #[test]
    fn a_port_is_held_by_whoever_listens_there() {
        let _quiet = no_forks();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(found(&format!("127.0.0.1:{port}")), us());
        assert_eq!(found(&format!("0.0.0.0:{port}")), us(), "any address collides");
        assert_eq!(found(&format!("127.0.0.2:{port}")), None);
        let wide = TcpListener::bind("[::]:0").unwrap();
        let port = wide.local_addr().unwrap().port();
        assert_eq!(found(&format!("[::1]:{port}")), us());
        drop(wide);
        assert_eq!(found(&format!("[::1]:{port}")), None);
        assert_eq!(found("no address"), None);
    }

    #[test]
    fn a_path_is_held_by_whoever_listens_there() {
        let _quiet = no_forks();
        let folder = Folder::new();
        let path = folder.join("with blank.sock");
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(found(&format!("unix:{}", path.display())), us());
        assert_eq!(found("unix:blank.sock"), None, "not the whole path");
        drop(listener);
        assert_eq!(found(&format!("unix:{}", path.display())), None);
    }

    #[test]
    fn the_search_ends_when_its_time_is_over() {
        let _quiet = no_forks();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        assert_eq!(holder(&address, Duration::ZERO), None);
        let inode = tcp_inode(listener.local_addr().unwrap(), u64::MAX).unwrap();
        assert_eq!(process_with(&format!("socket:[{inode}]"), monotonic_ns()), None);
    }

    #[test]
    fn lines_of_the_kernels_tables() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 31337 1 0";
        if cfg!(target_endian = "little") {
            assert_eq!(listener_in(line, "127.0.0.1:8080".parse().unwrap()), Some(31337));
            assert_eq!(listener_in(line, "127.0.0.1:8081".parse().unwrap()), None);
            assert!(listens(line) && !listens(&line.replace(" 0A ", " 01 ")));
            assert_eq!(ip_of("0000000000000000FFFF00000100007F"), Some("127.0.0.1".parse().unwrap()));
        }
        for broken in ["", "0:", "x x x x", "0: 0100:1F90 0 0A 0 0 0 0 0 1"] {
            assert_eq!(listener_in(broken, "127.0.0.1:8080".parse().unwrap()), None);
        }
    }
}
