//! Lines and tables that fit a terminal of `WIDTH` columns.
//!
//! The views make `Line`s: text with one tone each, so that colour never enters the counting of
//! columns. Everything that goes in is cleaned and cut here. Pure.

use super::text::{clean, fit, width, wrap};

/// No line is wider than this, columns.
pub const WIDTH: usize = 100;

/// What a line means; colours it where there is colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    /// Table heads and what only matters to whoever looks for it.
    Faint,
    Good,
    Changing,
    Bad,
}

/// One line of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub text: String,
    pub tone: Tone,
}

impl Line {
    /// Cleaned and cut to `WIDTH`.
    pub fn new(tone: Tone, text: &str) -> Line {
        Line { text: fit(clean(text).trim_end(), WIDTH), tone }
    }

    /// A sentence in as many lines as it takes (but no more than `lines`), all indented, the first
    /// one behind `mark`.
    pub fn sentence(tone: Tone, mark: &str, text: &str, lines: usize) -> Vec<Line> {
        let indent = width(mark);
        wrap(&clean(text), WIDTH - indent, lines)
            .into_iter()
            .enumerate()
            .map(|(n, part)| {
                let text = if n == 0 { format!("{mark}{part}") } else { format!("{:indent$}{part}", "") };
                Line { text, tone }
            })
            .collect()
    }

    /// The line as it goes to the terminal.
    pub fn painted(&self, colour: bool) -> String {
        let code = match self.tone {
            _ if !colour => return self.text.clone(),
            Tone::Plain => return self.text.clone(),
            Tone::Faint => "2",
            Tone::Good => "32",
            Tone::Changing => "33",
            Tone::Bad => "31",
        };
        format!("\x1b[{code}m{}\x1b[0m", self.text)
    }
}

/// A table's column: numbers stand to the right.
pub struct Column {
    pub head: &'static str,
    pub right: bool,
    /// Columns its cells may take; longer ones are cut.
    pub most: usize,
}

/// One row and the lines that belong below it.
pub struct Row {
    pub cells: Vec<String>,
    pub tone: Tone,
    pub below: Vec<Line>,
}

/// The table, two columns in from the left. With all columns at their `most` it must fit `WIDTH`
/// with single gaps; it gets double ones where there is room.
pub fn table(columns: &[Column], rows: Vec<Row>) -> Vec<Line> {
    debug_assert!(columns.iter().map(|c| c.most + 1).sum::<usize>() < WIDTH, "the widest row fits");
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.cells.iter().zip(columns).map(|(cell, c)| fit(&clean(cell), c.most)).collect())
        .collect();
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(n, c)| cells.iter().map(|row| width(&row[n])).max().unwrap_or(0).max(width(c.head)))
        .collect();
    let gaps = columns.len();
    let gap = if widths.iter().sum::<usize>() + 2 * gaps <= WIDTH { 2 } else { 1 };
    let heads: Vec<String> = columns.iter().map(|c| c.head.to_owned()).collect();
    let mut lines = vec![Line::new(Tone::Faint, &aligned(columns, &widths, gap, &heads))];
    for (row, cells) in rows.into_iter().zip(&cells) {
        lines.push(Line::new(row.tone, &aligned(columns, &widths, gap, cells)));
        lines.extend(row.below);
    }
    lines
}

fn aligned(columns: &[Column], widths: &[usize], gap: usize, cells: &[String]) -> String {
    let mut line = String::new();
    for ((column, room), cell) in columns.iter().zip(widths).zip(cells) {
        let before = if line.is_empty() { 2 } else { gap };
        let padding = room.saturating_sub(width(cell));
        let (left, right) = if column.right { (before + padding, 0) } else { (before, padding) };
        line.push_str(&format!("{:left$}{cell}{:right$}", "", ""));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_aligned_cut_and_cleaned() {
        let columns =
            [Column { head: "NAME", right: false, most: 6 }, Column { head: "N", right: true, most: 5 }];
        let row = |name: &str, n: &str| Row {
            cells: vec![name.into(), n.into()],
            tone: Tone::Plain,
            below: vec![],
        };
        let lines = table(&columns, vec![row("a", "12345"), row("東京東京", "1"), row("\x07", "22")]);
        let text: Vec<&str> = lines.iter().map(|l| l.text.as_str()).collect();
        assert_eq!(text, ["  NAME       N", "  a      12345", "  東京…      1", "  \\x07      22"]);
    }

    #[test]
    fn gaps_shrink_before_lines_are_cut() {
        let columns = ["A", "B", "C"].map(|head| Column { head, right: true, most: 32 });
        let filled = |n: usize| {
            let row = Row { cells: vec!["x".repeat(n); 3], tone: Tone::Plain, below: vec![] };
            table(&columns, vec![row])[1].text.clone()
        };
        let cell = "x".repeat(31);
        assert_eq!(filled(31), format!("  {cell}  {cell}  {cell}"));
        assert_eq!(filled(32), format!("  {cell}x {cell}x {cell}x"), "100 columns are just enough");
        assert_eq!(filled(33), format!("  {cell}… {cell}… {cell}…"));
    }

    #[test]
    fn sentences_hang_behind_their_mark() {
        let lines = Line::sentence(Tone::Bad, "  ! ", &"word ".repeat(40), 9);
        assert_eq!(lines.len(), 3);
        assert!(lines[0].text.starts_with("  ! word") && lines[1].text.starts_with("    word"));
        assert!(lines.iter().all(|l| width(&l.text) <= WIDTH && l.tone == Tone::Bad));
    }

    #[test]
    fn colour_only_where_it_is_wanted() {
        let line = Line::new(Tone::Bad, "x");
        assert_eq!(line.painted(false), "x");
        assert_eq!(line.painted(true), "\x1b[31mx\x1b[0m");
    }
}
