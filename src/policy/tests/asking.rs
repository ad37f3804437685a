//! What a test may ask the simulated world.

use super::sim::Sim;
use crate::model::{ClientId, Moment, Phase, Seat, ServiceName, WorkerId};
use crate::policy::{Action, Answer};

impl Sim {
    pub fn ready(&self, name: &str) -> u32 {
        self.fleet.ready_count(&name.into())
    }

    /// The ready worker of `web` at a seat, the newest if there are two.
    pub fn worker_at(&self, seat: u32) -> WorkerId {
        let name = ServiceName::from("web");
        let found = self.fleet.at_seat(&name, Seat(seat)).filter(|(_, w)| w.phase == Phase::Ready);
        found.max_by_key(|(id, _)| *id).map(|(id, _)| id).expect("a ready worker is at the seat")
    }

    /// Generations of the ready workers of `web`, by seat.
    pub fn generations(&self) -> Vec<(u32, u64)> {
        let ready = self.fleet.workers.values().filter(|w| w.phase == Phase::Ready && w.service.0 == "web");
        let mut all: Vec<(u32, u64)> = ready.map(|w| (w.seat.0, w.generation.0)).collect();
        all.sort_unstable();
        all
    }

    /// How many logged actions satisfy a test.
    pub fn count(&self, test: impl Fn(&Action) -> bool) -> usize {
        self.log.iter().filter(|(_, a)| test(a)).count()
    }

    pub fn spawns(&self) -> usize {
        self.count(|a| matches!(a, Action::Spawn { .. }))
    }

    pub fn noted(&self, word: &str) -> usize {
        self.count(|a| matches!(a, Action::Note(n) if n.event == word))
    }

    pub fn note_text(&self, word: &str) -> String {
        let of = |(_, a): &(Moment, Action)| match a {
            Action::Note(n) if n.event == word => Some(n.text.clone()),
            _ => None,
        };
        self.log.iter().rev().find_map(of).unwrap_or_default()
    }

    pub fn forget_log(&mut self) {
        self.log.clear();
    }

    pub fn answer(&self, client: ClientId) -> &Answer {
        self.answers.get(&client).expect("the client has been answered")
    }

    pub fn refused(&self, client: ClientId) -> &str {
        let answer = self.answer(client);
        assert!(!answer.ok, "{}", answer.text);
        &answer.text
    }
}
