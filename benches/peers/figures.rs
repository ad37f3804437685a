//! Medians, and the tables they are shown in.

use super::server::Kind;

/// Samples of one figure, for masterd and nginx.
#[derive(Default)]
pub struct Pair {
    pub masterd: Vec<f64>,
    pub nginx: Vec<f64>,
}

impl Pair {
    pub fn push(&mut self, kind: Kind, value: f64) {
        match kind {
            Kind::Masterd => self.masterd.push(value),
            Kind::Nginx => self.nginx.push(value),
            Kind::Haproxy | Kind::Envoy => panic!("{} is no part of a pair", kind.name()),
        }
    }
}

/// Samples of one figure, for all three; none where there is nothing to compare.
#[derive(Default)]
pub struct Trio {
    pair: Pair,
    haproxy: Vec<f64>,
}

impl Trio {
    pub fn push(&mut self, kind: Kind, value: f64) {
        match kind {
            Kind::Masterd | Kind::Nginx => self.pair.push(kind, value),
            Kind::Haproxy => self.haproxy.push(value),
            Kind::Envoy => panic!("Envoy is no part of the three"),
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
    let Pair { masterd, nginx } = pair;
    let shown = ratio(masterd, nginx);
    println!("| {what} | {} | {} | {shown} |", spread(masterd, digits), spread(nginx, digits));
}

/// Begins a table of figures of all three.
pub fn table_of_three() {
    println!(
        "| | masterd | nginx | HAProxy | masterd / nginx | masterd / HAProxy |\n|---|---|---|---|---|---|"
    );
}

/// One line of that one; a dash where there are no samples.
pub fn line_of_three(what: &str, trio: &Trio, digits: usize) {
    let Trio { pair: Pair { masterd, nginx }, haproxy } = trio;
    let shown = [masterd, nginx, haproxy].map(|samples| spread_or_dash(samples, digits));
    println!("| {what} | {} | {} | {} |", shown.join(" | "), ratio(masterd, nginx), ratio(masterd, haproxy));
}

/// Nothing was measured where there are no samples.
pub fn spread_or_dash(samples: &[f64], digits: usize) -> String {
    if samples.is_empty() { "–".to_owned() } else { spread(samples, digits) }
}

/// Of the medians.
pub fn ratio(ours: &[f64], theirs: &[f64]) -> String {
    let ratio = median(ours) / median(theirs);
    if ratio.is_finite() { format!("{ratio:.2}") } else { "–".to_owned() }
}
