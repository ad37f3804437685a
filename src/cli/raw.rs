//! The document inside a reply line, byte for byte.
//!
//! What is printed as JSON is the master's own text: reading it into our types and writing it again
//! would lose the keys of a newer master and the order of all.

use serde::de::IgnoredAny;

/// The value of the first `key` in `line`, one JSON object that was already read without error; the
/// whole line if it has no such key.
pub fn part<'a>(line: &'a str, key: &str) -> &'a str {
    // Inside a string the quotes would be escaped, so this is found only where it is a key.
    let pattern = format!("\"{key}\":");
    let Some(at) = line.find(&pattern) else { return line };
    let value = line[at + pattern.len()..].trim_start();
    let mut values = serde_json::Deserializer::from_str(value).into_iter::<IgnoredAny>();
    match values.next() {
        Some(Ok(_)) => &value[..values.byte_offset()],
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn the_document_comes_out_as_it_went_in() {
        let line = r#"{"reply":"status","status":{"zeta":1,"a":{"status":2},"s":"}\"status\":"},"more":3}"#;
        assert_eq!(part(line, "status"), r#"{"zeta":1,"a":{"status":2},"s":"}\"status\":"}"#);
        assert_eq!(part(r#"{"event": {"event":"ready"} }"#, "event"), r#"{"event":"ready"}"#);
        assert_eq!(part("{}", "status"), "{}");
    }
}
