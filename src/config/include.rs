//! `include`: which further files a config consists of.
//!
//! Patterns know `*` and `?` in any part of the path; they do not match a leading dot, as in a
//! shell. Matches of one pattern come sorted, patterns in the order written, each file once and the
//! main file never. May block on dead mounts: the caller is a child with a deadline.
//! Errors: a folder that exists but can't be listed; a plain path that is missing is left for the
//! reader to report.

use std::io;
use std::path::{Component, Path, PathBuf};

/// The files that one entry of `include` stands for.
pub(super) fn expand(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    if !has_wildcard(pattern) {
        return Ok(vec![pattern.to_owned()]);
    }
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        found = match part {
            Component::Normal(name) if is_pattern(&name.to_string_lossy()) => {
                let mut next = Vec::new();
                for folder in &found {
                    next.extend(matches_in(folder, &name.to_string_lossy())?);
                }
                next
            }
            part => found.into_iter().map(|folder| folder.join(part)).collect(),
        };
    }
    // Parts after the last pattern were joined without looking.
    found.retain(|path| path.symlink_metadata().is_ok());
    found.sort();
    Ok(found)
}

fn has_wildcard(pattern: &Path) -> bool {
    is_pattern(&pattern.to_string_lossy())
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

fn matches_in(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let failed = |error: io::Error| format!("the folder {} cannot be listed: {error}", folder.display());
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = match std::fs::read_dir(here) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let text = name.to_string_lossy();
        if (!text.starts_with('.') || pattern.starts_with('.')) && fits(pattern, &text) {
            found.push(folder.join(&name));
        }
    }
    Ok(found)
}

/// Whether a name fits a pattern: one star is remembered and grown, so time is at most the product of the lengths.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("*.toml", "a.toml", true),
            ("*.toml", ".toml", true),
            ("*.toml", "a.toml~", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xaybz", true),
            ("*a*b*", "xbya", false),
            ("**", "", true),
            ("?", "é", true),
            ("[a]", "a", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
        assert!(!fits(&"*a".repeat(50), &"a".repeat(49)), "and ends in time");
    }
}
