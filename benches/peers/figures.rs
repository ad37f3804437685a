//! Medians, and the tables they are shown in.

/// Samples of one figure, for masterd and nginx.
#[derive(Default)]
pub struct Pair {
    pub masterd: Vec<f64>,
    pub nginx: Vec<f64>,
}

impl Pair {
    pub fn push(&mut self, kind: super::server::Kind, value: f64) {
        match kind {
            super::server::Kind::Masterd => self.masterd.push(value),
            super::server::Kind::Nginx => self.nginx.push(value),
        }
    }
}

pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// Median with lowest and highest sample.
pub fn spread(samples: &[f64], digits: usize) -> String {
    let low = samples.iter().copied().fold(f64::INFINITY, f64::min);
    let high = samples.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let middle = median(samples);
    if samples.len() < 2 || low == high {
        format!("{middle:.digits$}")
    } else {
        format!("{middle:.digits$} ({low:.digits$}–{high:.digits$})")
    }
}

pub fn heading(title: &str, text: &str) {
    println!("\n### {title}\n\n{text}\n");
}

/// Begins a table of figures that both have.
pub fn table() {
    println!("| | masterd | nginx | masterd / nginx |\n|---|---|---|---|");
}

/// One line of it: median (lowest–highest) of each, and the ratio of the medians.
pub fn line(what: &str, pair: &Pair, digits: usize) {
    let ratio = median(&pair.masterd) / median(&pair.nginx);
    let shown = if ratio.is_finite() { format!("{ratio:.2}") } else { "–".to_owned() };
    println!("| {what} | {} | {} | {shown} |", spread(&pair.masterd, digits), spread(&pair.nginx, digits));
}
