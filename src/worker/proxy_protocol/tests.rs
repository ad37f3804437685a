//! Headers of both versions, good and hostile, whole and in pieces.

use super::*;
use proptest::prelude::*;

/// Parses; each beginning must give `Incomplete` or the same.
fn parsed(bytes: &[u8]) -> Parsed {
    let whole = parse(bytes);
    for end in 0..bytes.len() {
        let part = parse(&bytes[..end]);
        assert!(part == Parsed::Incomplete || part == whole, "{part:?} of {end}, then {whole:?}");
        if let Parsed::Done { len, .. } = part {
            assert!(len <= end, "no more than is there");
        }
    }
    whole
}

/// The header of bytes that are one, with something behind it that is none of its.
fn header(bytes: &[u8]) -> Header {
    for end in 0..bytes.len() {
        assert_eq!(parse(&bytes[..end]), Parsed::Incomplete, "{}", bytes[..end].escape_ascii());
    }
    let followed = [bytes, b"GET / HTTP/1.1\r\n\r\n"].concat();
    match parsed(&followed) {
        Parsed::Done { len, header } if len == bytes.len() => header,
        other => panic!("{other:?} of {}", bytes.escape_ascii()),
    }
}

fn bad(bytes: &[u8]) -> &'static str {
    match parsed(bytes) {
        Parsed::Bad(why) => why,
        other => panic!("{other:?} of {}", bytes.escape_ascii()),
    }
}

fn tcp(source: &str, destination: &str) -> Header {
    Header::Tcp { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

/// A header of version 2 with these four fields.
fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = (block.len() as u16).to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, block].concat()
}

/// Addresses and ports of TCP over IPv4.
const FOUR: [u8; 12] = [10, 0, 0, 1, 10, 0, 0, 2, 0x30, 0x39, 0, 80];

fn four(additions: &[u8]) -> Vec<u8> {
    v2(0x21, 0x11, &[&FOUR, additions].concat())
}

#[test]
fn lines_of_version_1() {
    let line = |text: &str| header(text.as_bytes());
    assert_eq!(line("PROXY TCP4 10.0.0.1 10.0.0.2 12345 80\r\n"), tcp("10.0.0.1:12345", "10.0.0.2:80"));
    assert_eq!(
        line("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n"),
        tcp("0.0.0.0:0", "255.255.255.255:65535")
    );
    assert_eq!(line("PROXY TCP6 2001:DB8::1 ::1 1 2\r\n"), tcp("[2001:db8::1]:1", "[::1]:2"));
    assert_eq!(line("PROXY TCP6 ::ffff:10.0.0.1 ::ffff:a00:2 1 2\r\n"), tcp("10.0.0.1:1", "10.0.0.2:2"));
    let long = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let end = format!("[{long}]:65535");
    assert_eq!(line(&format!("PROXY TCP6 {long} {long} 65535 65535\r\n")), tcp(&end, &end));
    assert_eq!(line("PROXY UNKNOWN\r\n"), Header::Local);
    assert_eq!(line(&format!("PROXY UNKNOWN {long} {long} 65535 65535\r\n")), Header::Local);
    assert_eq!(header(b"PROXY UNKNOWN \xff anything at all\r\n"), Header::Local);
}

#[test]
fn blocks_of_version_2() {
    assert_eq!(header(&four(b"")), tcp("10.0.0.1:12345", "10.0.0.2:80"));
    let six = |from: &str, to: &str| {
        let octets = |ip: &str| ip.parse::<Ipv6Addr>().unwrap().octets();
        v2(0x21, 0x21, &[&octets(from)[..], &octets(to), &[0, 1, 0, 2]].concat())
    };
    assert_eq!(header(&six("2001:db8::1", "::1")), tcp("[2001:db8::1]:1", "[::1]:2"));
    assert_eq!(header(&six("::ffff:10.0.0.1", "2001:db8::1")), tcp("10.0.0.1:1", "[2001:db8::1]:2"));
    assert_eq!(header(&v2(0x21, 0x31, &[1; 216])), Header::Unix);
    assert_eq!(header(&v2(0x20, 0, b"")), Header::Local);
}

#[test]
fn what_version_2_says_nothing_about_is_local() {
    // LOCAL with any family, and whatever else it brings; unspecified ones; datagrams.
    for (command, family) in
        [(0x20, 0x11), (0x20, 0xff), (0x21, 0), (0x21, 0x10), (0x21, 0x01), (0x21, 0x12), (0x21, 0x32)]
    {
        for block in [&b""[..], b"abc", &[9; 216]] {
            assert_eq!(header(&v2(command, family, block)), Header::Local, "{command:x} {family:x}");
        }
    }
}

#[test]
fn additions_are_walked_and_skipped() {
    let all = four(b"\x01\x00\x02h2\x04\x00\x00\x20\x00\x08\x01\x00\x00\x00\x00\x21\x00\x00\xea\x00\x01x");
    assert_eq!(header(&all), tcp("10.0.0.1:12345", "10.0.0.2:80"));
    let filler = [&[4u8][..], &(4096u16 - 15).to_be_bytes(), &[7; 4096 - 15]].concat();
    let longest = four(&filler);
    assert_eq!(longest.len(), LONGEST);
    assert!(matches!(parse(&longest), Parsed::Done { len: LONGEST, .. }));
    assert_eq!(parse(&longest[..LONGEST - 1]), Parsed::Incomplete);
    for cut in
        [&b"\x04"[..], b"\x04\x00", b"\x04\x00\x01", b"\x04\x00\x00\x04\xff\xff", b"\x03\x00\x04\x00\x00\x00"]
    {
        assert_eq!(bad(&four(cut)), "an addition to it is cut short", "{cut:?}");
    }
    assert_eq!(bad(&v2(0x21, 0x31, &[4; 218])), "an addition to it is cut short");
}

#[test]
fn a_checksum_that_is_there_must_be_right() {
    // The check value of CRC-32C.
    assert_eq!(crc32c(b"123456789", usize::MAX - 4), 0xe306_9283);
    let mut header_of = four(b"\x04\x00\x01x\x03\x00\x04\x00\x00\x00\x00\x04\x00\x00");
    let at = header_of.len() - 7;
    let sum = crc32c(&header_of, usize::MAX - 4);
    header_of[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(header(&header_of), tcp("10.0.0.1:12345", "10.0.0.2:80"));
    for wrong in [16, at, at + 3, at - 4] {
        let mut header = header_of.clone();
        header[wrong] ^= 1;
        assert_eq!(bad(&header), "its checksum is wrong", "{wrong}");
    }
    assert_eq!(bad(&four(b"\x03\x00\x03abc")), "its checksum is not of four bytes");
    assert_eq!(bad(&four(b"\x03\x00\x04abcd\x03\x00\x04abcd")), "it has two checksums");
}

#[test]
fn what_is_no_header_is_bad_at_once() {
    let none = "the connection does not begin with a PROXY protocol header";
    for text in [
        "G",
        "GET / HTTP/1.1\r\n\r\n",
        "PRI * HTTP/2.0\r\n",
        "PROXY\r\n",
        "PROXY\t",
        "proxy TCP4",
        " PROXY ",
        "\r\n\r\n\r\n",
        "\r\nGET",
        "\0",
        "\x16\x03\x01",
        "PROXYTCP4",
    ] {
        assert_eq!(bad(text.as_bytes()), none, "{text:?}");
    }
    assert_eq!(parse(b""), Parsed::Incomplete);
}

#[test]
fn bad_lines_of_version_1() {
    for (text, why) in [
        ("PROXY UNKNOWN\n", "without CR"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", "without CR"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r\n", "CR without LF"),
        ("PROXY UNKNOWN a\rb\r\n", "CR without LF"),
        ("PROXY TCP4\r\n", "six words"),
        ("PROXY \r\n", "six words"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "six words"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", "six words"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", "six words"),
        ("PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n", "six words"),
        ("PROXY UNKNOWNX\r\n", "six words"),
        ("PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", "none of TCP4"),
        ("PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n", "none of TCP4"),
        ("PROXY TCP4 ::1 ::1 1 2\r\n", "an address"),
        ("PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", "an address"),
        ("PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n", "an address"),
        ("PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", "an address"),
        ("PROXY TCP4 1.2.3.4 1.2.3.256 1 2\r\n", "an address"),
        ("PROXY TCP4 1.2.3.4\0 1.2.3.4 1 2\r\n", "an address"),
        ("PROXY TCP6 fe80::1%lo ::1 1 2\r\n", "an address"),
        ("PROXY TCP6 [::1] ::1 1 2\r\n", "an address"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", "a port"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", "a port"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 -2\r\n", "a port"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", "a port"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4 00 1\r\n", "a port"),
        ("PROXY TCP4 1.2.3.4 1.2.3.4  1\r\n", "a port"),
    ] {
        assert!(bad(text.as_bytes()).contains(why), "{text:?}: {}", bad(text.as_bytes()));
    }
    assert_eq!(bad(b"PROXY TCP4 \xff 1.2.3.4 1 2\r\n"), "its line is not ASCII");
    // 107 bytes are a line still, 108 are none.
    let line = |n: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(n - 16));
    assert_eq!(header(line(107).as_bytes()), Header::Local);
    assert_eq!(bad(line(108).as_bytes()), "its line is longer than 107 bytes");
    assert_eq!(bad(format!("PROXY {}", "x".repeat(101)).as_bytes()), "its line is longer than 107 bytes");
}

#[test]
fn bad_blocks_of_version_2() {
    for (bytes, why) in [
        (v2(0x11, 0x11, &FOUR), "its version"),
        (v2(0x31, 0x11, &FOUR), "its version"),
        (v2(0x01, 0x11, &FOUR), "its version"),
        (v2(0x22, 0x11, &FOUR), "its command"),
        (v2(0x2f, 0x11, &FOUR), "its command"),
        (v2(0x21, 0x41, &FOUR), "its address family"),
        (v2(0x21, 0x13, &FOUR), "its address family"),
        (v2(0x21, 0x11, &FOUR[..11]), "too short"),
        (v2(0x21, 0x11, b""), "too short"),
        (v2(0x21, 0x21, &[0; 35]), "too short"),
        (v2(0x21, 0x31, &[0; 215]), "too short"),
        (v2(0x21, 0x11, &[0; 4097]), "longer than"),
        (v2(0x20, 0x00, &[0; 65535]), "longer than"),
        ([&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff]].concat(), "longer than"),
    ] {
        let told = bad(&bytes[..bytes.len().min(64)]);
        assert!(told.contains(why), "{told} of {}", bytes.escape_ascii());
    }
}

#[test]
fn what_is_written() {
    let written = |version, source: &str, destination: &str| {
        let mut out = b"x".to_vec();
        let peer = |text: &str| text.parse().map_or(Peer::Unix, Peer::Tcp);
        write(version, peer(source), peer(destination), &mut out);
        out.remove(0);
        out
    };
    let text = |source, destination| String::from_utf8(written(Version::V1, source, destination)).unwrap();
    assert_eq!(text("10.0.0.1:12345", "10.0.0.2:80"), "PROXY TCP4 10.0.0.1 10.0.0.2 12345 80\r\n");
    assert_eq!(text("[2001:db8::1]:1", "[::1]:2"), "PROXY TCP6 2001:db8::1 ::1 1 2\r\n");
    assert_eq!(text("10.0.0.1:1", "[::1]:2"), "PROXY TCP6 ::ffff:a00:1 ::1 1 2\r\n");
    assert_eq!(text("unix", "unix"), "PROXY UNKNOWN\r\n");
    assert_eq!(text("10.0.0.1:1", "unix"), "PROXY UNKNOWN\r\n");
    assert_eq!(written(Version::V2, "10.0.0.1:12345", "10.0.0.2:80"), four(b""));
    assert_eq!(written(Version::V2, "unix", "unix"), v2(0x21, 0x31, &[0; 216]));
}

fn end() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![any::<Ipv4Addr>().prop_map(IpAddr::V4), any::<Ipv6Addr>().prop_map(IpAddr::V6)];
    (ip, any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(source in end(), destination in end(), first in any::<bool>()) {
        let mut out = Vec::new();
        let version = if first { Version::V1 } else { Version::V2 };
        write(version, Peer::Tcp(source), Peer::Tcp(destination), &mut out);
        let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
        let want = Header::Tcp { source: canonical(source), destination: canonical(destination) };
        prop_assert_eq!(header(&out), want);
    }

    #[test]
    fn any_split_of_anything_gives_the_same(
        start in prop::sample::select(vec![&b""[..], b"PROXY ", b"PROXY TCP4 1.2.3.4 ", b"PROXY UNKNOWN", SIGNATURE, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x14"]),
        rest in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..160),
            "[ 0-9.:TCP46\r\n]{0,130}".prop_map(String::into_bytes),
        ],
    ) {
        parsed(&[start, &rest].concat());
    }
}
