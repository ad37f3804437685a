//! From the path of a request's target to a name beneath the root.
//!
//! Percent-encoding is undone exactly once. What is left must be plain: no empty and no dot segments,
//! so that dots and slashes give no file a second name. Dot segments are a client's business
//! (RFC 3986, 5.2.4), and whoever sends them is refused. A backslash is a letter like any other.
//! Never: touches the file system.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Relative to the root, without slash at the end; empty for the root itself.
    pub path: PathBuf,
    /// It ended in a slash: a folder is asked for.
    pub folder: bool,
}

/// Why a path names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is no path: bad encoding, a control byte, a step upwards. 400.
    Malformed,
    /// No file can have such a name here. 404.
    Absent,
}

/// Reads the path of a target (`Uri::path`), still percent-encoded.
pub fn named(path: &str) -> Result<Named, Refused> {
    let decoded = decode(path.as_bytes())?;
    let rest = decoded.strip_prefix(b"/").ok_or(Refused::Malformed)?;
    if rest.is_empty() {
        return Ok(Named { path: PathBuf::new(), folder: true });
    }
    let (name, folder) = match rest.strip_suffix(b"/") {
        Some(name) => (name, true),
        None => (rest, false),
    };
    for segment in name.split(|byte| *byte == b'/') {
        match segment {
            b".." => return Err(Refused::Malformed),
            b"" | b"." => return Err(Refused::Absent),
            _ => {}
        }
    }
    Ok(Named { path: PathBuf::from(OsString::from_vec(name.to_vec())), folder })
}

/// Undoes percent-encoding (RFC 3986, 2.1), once. An encoded slash would be part of a name: no file's.
fn decode(path: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.iter();
    while let Some(&byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || bytes.next().and_then(|digit| char::from(*digit).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else { return Err(Refused::Malformed) };
                match (high * 16 + low) as u8 {
                    b'/' => return Err(Refused::Absent),
                    byte => byte,
                }
            }
            byte => byte,
        };
        if byte.is_ascii_control() {
            return Err(Refused::Malformed);
        }
        decoded.push(byte);
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::ffi::OsStrExt;

    fn name(path: &str) -> Result<(String, bool), Refused> {
        named(path).map(|named| (named.path.to_string_lossy().into_owned(), named.folder))
    }

    #[test]
    fn a_path_is_decoded_once() {
        let file = |text: &str| Ok((text.to_owned(), false));
        assert_eq!(name("/a/b.html"), file("a/b.html"));
        assert_eq!(name("/%61%2e%68tml"), file("a.html"));
        assert_eq!(name("/a%20b%25%3f%23"), file("a b%?#"));
        assert_eq!(name("/%252e%252e"), file("%2e%2e"));
        assert_eq!(name("/a%5Cb\\c"), file("a\\b\\c"));
        assert_eq!(name("/..a/b../..."), file("..a/b../..."));
        assert_eq!(name("/"), Ok((String::new(), true)));
        assert_eq!(name("/a/b/"), Ok(("a/b".to_owned(), true)));
        assert_eq!(named("/%ff").unwrap().path.as_os_str().as_bytes(), b"\xff");
    }

    #[test]
    fn what_is_no_path_is_malformed() {
        for path in [
            "",
            "*",
            "a",
            "%2fa",
            "/%",
            "/%4",
            "/%4g",
            "/%g4",
            "/%+1",
            "/a%00b",
            "/%0a",
            "/%0D",
            "/%1f",
            "/%7f",
            "/a\0",
            "/..",
            "/../a",
            "/a/..",
            "/a/../b",
            "/a/../",
            "/%2e%2e/a",
            "/.%2E/a",
            "/%2e./a",
            "/a/%2e%2e",
        ] {
            let refused = if path == "%2fa" { Refused::Absent } else { Refused::Malformed };
            assert_eq!(name(path), Err(refused), "{path:?}");
        }
    }

    #[test]
    fn what_no_file_is_called_is_absent() {
        for path in [
            "/a%2fb", "/%2F", "/..%2fa", "//", "//a", "/a//b", "/a//", "/.", "/./a", "/a/.", "/a/./",
            "/%2e/a",
        ] {
            assert_eq!(name(path), Err(Refused::Absent), "{path:?}");
        }
    }

    proptest! {
        #[test]
        fn a_name_never_leads_up_or_out(path in "(/|%2e|%2f|%2E|%2F|%25|\\.|a|%|%00|\\\\|\u{1}|é){0,12}") {
            let Ok(named) = named(&path) else { return Ok(()) };
            prop_assert!(named.path.is_relative());
            let plain = named.path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
            prop_assert!(plain);
            let segments = path.trim_end_matches('/').matches('/').count();
            prop_assert_eq!(named.path.components().count(), segments);
        }
    }
}
