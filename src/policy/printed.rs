//! What a program printed last before it failed, as part of a reason.
//!
//! `quoted` makes the lines that go with a sentence where there is room for them, `brief` puts the last one
//! into the sentence where there is not. Pure text; the lines were clamped when they came in.

/// What stands above the lines.
const HEAD: &str = "it printed last:";

/// The lines under their heading, indented; nothing if nothing was printed.
pub fn quoted(printed: &[String]) -> Vec<String> {
    if printed.iter().all(|line| line.trim().is_empty()) {
        return Vec::new();
    }
    let quoted = printed.iter().map(|line| format!("  {line}"));
    std::iter::once(HEAD.to_owned()).chain(quoted).collect()
}

/// The sentence, with the last of these lines if they are such a quotation.
pub fn brief(why: &str, lines: &[String]) -> String {
    let last = lines.iter().rev().map(|line| line.trim()).find(|line| !line.is_empty());
    match (lines.first(), last) {
        (Some(head), Some(last)) if head == HEAD && last != HEAD => format!("{why}; {HEAD} {last}"),
        _ => why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{brief, quoted};

    fn lines(of: &[&str]) -> Vec<String> {
        of.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn what_was_printed_stands_under_its_heading_and_its_last_line_in_the_sentence() {
        let printed = lines(&["Traceback:", "  File \"app.py\"", "ImportError: no app", ""]);
        let quoted = quoted(&printed);
        let expected =
            ["it printed last:", "  Traceback:", "    File \"app.py\"", "  ImportError: no app", "  "];
        assert_eq!(quoted, expected);
        let told = "exited with status 1; it printed last: ImportError: no app";
        assert_eq!(brief("exited with status 1", &quoted), told);
    }

    #[test]
    fn who_printed_nothing_is_not_quoted_and_other_lines_are_no_quotation() {
        assert_eq!(quoted(&lines(&["", " "])), Vec::<String>::new());
        assert_eq!(brief("why", &[]), "why");
        assert_eq!(brief("why", &lines(&["a.toml:1:1: unknown key", "  b"])), "why");
        assert_eq!(brief("why", &lines(&["it printed last:"])), "why");
    }
}
